//! The house as `lib.rs` draws it, held against what the modules import: no room uses one above it, no
//! rooms use each other in a circle, and the map is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// For each room, the rooms that it uses and a place where it does.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// The sources of core, and those of its ground floor, a crate of its own.
fn sources() -> [PathBuf; 2] {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    [core.join("src"), core.join("../values/src")]
}

/// Core's `lib.rs`, which has the map.
fn lib() -> String {
    read(&sources()[0].join("lib.rs"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rooms of the table in `lib.rs`, with their floors, in its order.
fn map(lib: &str) -> Vec<(String, u32)> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! |"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let rooms = cells.filter_map(|cells| {
        let floor = cells.first()?.parse().ok()?;
        let room = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        assert_eq!(cells.len(), 5, "{room}: floor, room, owns, not");
        Some((room.to_owned(), floor))
    });
    rooms.collect()
}

/// The modules that a `lib.rs` declares.
fn modules(lib: &str) -> BTreeSet<String> {
    let declared = lib.lines().filter_map(|line| {
        line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.strip_suffix(';')
    });
    declared.map(str::to_owned).collect()
}

/// The files of a folder and of the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// The code without comments and without what is only for tests. Relies on the form that `cargo fmt`
/// gives: an item ends at the first closing brace that stands where the item began.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line.split(" // ").next().unwrap());
            kept.push('\n');
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        for line in lines.by_ref() {
            let begins_here = line.strip_prefix(indent).is_some_and(|l| !l.starts_with(' '));
            let is_end = line.trim_end().ends_with([';', '}']) && begins_here;
            if is_end && !line.trim_start().starts_with("#[") {
                break;
            }
        }
    }
    kept
}

/// The files that are only for tests: declared under `#[cfg(test)]`.
fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
}

/// What follows each `root` (`crate::`), at its first level: `crate::{a::b, c}` names `a` and `c`.
fn named_after(root: &str, code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let word = |text: &str| {
            let text = text.trim_start();
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
            text[..end].to_owned()
        };
        let Some(group) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => parts.push(String::new()),
                c => parts.last_mut().unwrap().push(c),
            }
        }
        names.extend(parts.iter().map(|part| word(part)).filter(|name| !name.is_empty()));
    }
    names
}

/// What every room uses, over all of its files.
fn uses() -> Uses {
    let mut uses = Uses::new();
    let of_each = sources().map(|src| files(&src).into_iter().map(move |path| (src.clone(), path)));
    for (src, path) in of_each.into_iter().flatten() {
        let inside = path.strip_prefix(&src).unwrap().with_extension("");
        let mut modules: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        if modules == ["lib"] || is_test_file(&path) {
            continue;
        }
        if modules.last() == Some(&"mod") {
            modules.pop();
        }
        let code = without_tests(&read(&path));
        // As many steps up as the module is deep end at the crate's root.
        let root_by_super = "super::".repeat(modules.len());
        let mut named = named_after("crate::", &code);
        named.extend(named_after(&root_by_super, &code));
        let room = uses.entry(modules[0].to_owned()).or_default();
        for other in named.into_iter().filter(|other| other != modules[0]) {
            room.entry(other)
                .or_insert_with(|| path.strip_prefix(&src).unwrap().display().to_string());
        }
    }
    uses
}

/// Every use of a room above, or of one that is not on the map.
fn upward(map: &[(String, u32)], uses: &Uses) -> Vec<String> {
    let floors: BTreeMap<_, _> = map.iter().cloned().collect();
    let mut wrong = Vec::new();
    for (room, others) in uses {
        for (other, place) in others {
            match (floors.get(room), floors.get(other)) {
                (Some(here), Some(there)) if there <= here => {}
                (Some(here), Some(there)) => {
                    wrong.push(format!("{place}: {room} ({here}) uses {other} ({there})"));
                }
                _ => wrong.push(format!("{place}: {room} or {other} is not on the map")),
            }
        }
    }
    wrong
}

/// Rooms that use each other in a circle. What never uses a room that is left is taken away, until
/// nothing changes; what stays is in a circle, or uses one.
fn circle(uses: &Uses) -> BTreeSet<String> {
    let mut left: BTreeSet<String> = uses.keys().cloned().collect();
    loop {
        let is_in = |room: &String| uses[room].keys().any(|other| left.contains(other));
        let still: BTreeSet<_> = left.iter().filter(|room| is_in(room)).cloned().collect();
        if still == left {
            return left;
        }
        left = still;
    }
}

#[test]
fn map_names_every_module_once_in_the_order_of_the_floors() {
    let map = map(&lib());
    assert!(map.is_sorted_by_key(|(_, floor)| *floor), "{map:?}");
    let rooms: BTreeSet<_> = map.iter().map(|(room, _)| room.clone()).collect();
    assert_eq!(rooms.len(), map.len(), "a room is there twice");
    let [core, ground] = sources().map(|src| modules(&read(&src.join("lib.rs"))));
    let on_the_ground = map.iter().filter(|(_, floor)| *floor == 1).map(|(room, _)| room.clone());
    assert_eq!(on_the_ground.collect::<BTreeSet<_>>(), ground);
    assert_eq!(rooms, &core | &ground);
    let on_disk: BTreeSet<_> = uses().into_keys().collect();
    assert_eq!(rooms, on_disk, "files that no module declares, or the other way round");
}

#[test]
fn no_room_uses_one_above_it() {
    let wrong = upward(&map(&lib()), &uses());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_rooms_use_each_other_in_a_circle() {
    let (uses, left) = (uses(), circle(&uses()));
    let involved: Vec<_> = left.iter().map(|room| (room, &uses[room])).collect();
    assert!(left.is_empty(), "{involved:#?}");
}

#[test]
fn imports_are_seen_in_each_of_their_forms_and_those_of_tests_are_not() {
    let code = "\
use crate::log::{Line, clip};
use crate::{
    address::{Address, NotAnAddress}, ports::Host,
    state,
};
pub(crate) fn a() -> crate::run::Report { crate::guard::b() } // crate::comment
// use crate::commented::Out;
#[cfg(test)]
use crate::only::InTests;
#[cfg(test)]
#[derive(Debug)]
struct OnlyInTests {
    field: crate::fields::Field,
}
#[cfg(test)]
mod tests {
    use crate::also::InTests;

    fn a() {
        crate::there::b();
    }
}
fn after() {
    #[cfg(test)]
    let x = crate::local::x();
    super::super::apply::c(other_crate::d());
}
";
    let code = without_tests(code);
    let named: Vec<_> = named_after("crate::", &code);
    assert_eq!(named, ["log", "address", "ports", "state", "run", "guard"]);
    assert_eq!(named_after("super::super::", &code), ["apply"]);
}

#[test]
fn upward_use_and_a_circle_are_found() {
    let map = [("a", 1), ("b", 1), ("c", 2), ("d", 3)];
    let map: Vec<_> = map.map(|(room, floor)| (room.to_owned(), floor)).into();
    let uses_of = |uses: &[(&str, &str)]| {
        let mut all: Uses = map.iter().map(|(room, _)| (room.clone(), BTreeMap::new())).collect();
        for (room, other) in uses {
            all.get_mut(*room).unwrap().insert((*other).to_owned(), "x.rs".to_owned());
        }
        all
    };
    let house = uses_of(&[("c", "a"), ("b", "a"), ("d", "c")]);
    assert_eq!((upward(&map, &house), circle(&house)), (vec![], BTreeSet::new()));
    assert_eq!(upward(&map, &uses_of(&[("a", "c")])), ["x.rs: a (1) uses c (2)"]);
    assert_eq!(upward(&map, &uses_of(&[("a", "e")])).len(), 1);
    let circular = circle(&uses_of(&[("a", "b"), ("b", "a"), ("d", "c")]));
    assert!(circular.iter().eq(["a", "b"]), "{circular:?}");
}
