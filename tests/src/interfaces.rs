//! The interfaces that the component may import and those that it exports: the reviewed list, and how a built
//! component is held against it. Imports are a part of the list, because which of them a build has depends on
//! the standard library that it is linked with; exports are the list.

use std::path::Path;

/// The highest WASI 0.2.x that may be asked for.
///
/// Wasmtime takes an import of any 0.2.x by what it has of 0.2, older or newer, and refuses only a function that
/// it lacks. The oldest host, Wasmtime 42, has 0.2.6; from there to 0.2.12 (Wasmtime 48) the interface files add
/// one function, [`NEWER_FUNCTION`]. For a higher number somebody has to look again.
pub const WASI_PATCH_MAX: u64 = 12;

/// In `wasi:cli/exit` since 0.2.12; a component that calls it does not start on an older host.
pub const NEWER_FUNCTION: &str = "exit-with-code";

/// The reviewed list.
#[derive(Debug)]
pub struct Interfaces {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Interfaces {
    /// Reads it from `golden/component-interfaces.txt`.
    pub fn reviewed() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/component-interfaces.txt");
        let text = std::fs::read_to_string(&path);
        Self::parse(&text.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A line is empty, a remark that begins with `#`, or `import NAME` or `export NAME`. A NAME that ends in a
    /// version of two numbers stands for every patch level up to [`WASI_PATCH_MAX`], any other for itself.
    fn parse(text: &str) -> Self {
        let mut list = Self { imports: Vec::new(), exports: Vec::new() };
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ') {
                Some(("import", name)) => list.imports.push(name.to_owned()),
                Some(("export", name)) => list.exports.push(name.to_owned()),
                _ => panic!("neither import nor export: {line:?}"),
            }
        }
        list
    }

    /// Those imports that are not allowed.
    pub fn refused<'a>(&self, imports: &'a [String]) -> Vec<&'a str> {
        let allowed = |name: &str| self.imports.iter().any(|entry| stands_for(entry, name));
        imports.iter().map(String::as_str).filter(|name| !allowed(name)).collect()
    }

    /// What is promised and not among these exports, and which of these nobody promised.
    pub fn exports_that_differ<'a>(&'a self, exports: &'a [String]) -> Vec<&'a str> {
        let missing =
            self.exports.iter().filter(|entry| !exports.iter().any(|name| stands_for(entry, name)));
        let unknown =
            exports.iter().filter(|name| !self.exports.iter().any(|entry| stands_for(entry, name)));
        missing.chain(unknown).map(String::as_str).collect()
    }
}

/// Whether an entry of the list means this interface.
fn stands_for(entry: &str, name: &str) -> bool {
    let version = entry.split_once('@').map_or("", |(_, version)| version);
    if version.matches('.').count() != 1 {
        return entry == name;
    }
    let patch = name.strip_prefix(entry).and_then(|rest| rest.strip_prefix('.'));
    // Digits only: `0.2.0-rc` is a version of its own for a host, and `+6` a number for Rust.
    let patch = patch.filter(|patch| patch.bytes().all(|byte| byte.is_ascii_digit()));
    patch.and_then(|patch| patch.parse::<u64>().ok()).is_some_and(|patch| patch <= WASI_PATCH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn import_of_either_standard_library_is_allowed_and_one_that_a_host_lacks_is_refused() {
        let list = Interfaces::reviewed();
        for (name, allowed) in [
            ("wasi:cli/terminal-stdin@0.2.6", true),
            ("wasi:filesystem/preopens@0.2.6", true),
            ("wasi:random/insecure-seed@0.2.4", true),
            ("wasi:cli/exit@0.2.0", true),
            ("wasi:cli/exit@0.2.12", true),
            ("wasi:cli/exit@0.2.13", false),
            ("wasi:cli/exit@0.3.0", false),
            ("wasi:cli/exit@0.2.0-rc-2023-11-10", false),
            ("wasi:cli/exit@0.2.", false),
            ("wasi:cli/exit@0.2.+6", false),
            ("wasi:cli/exit@0.2.99999999999999999999", false),
            ("wasi:cli/exit@0.2", false),
            ("wasi:cli/exit@0.20.1", false),
            ("wasi:cli/exit", false),
            ("wasi:sockets/tcp@0.2.6", false),
            ("wasi:http/incoming-handler@0.2.6", false),
            ("fermyon:spin/key-value@2.0.0", true),
            ("fermyon:spin/key-value@2.0.1", false),
            ("fermyon:spin/sqlite@2.0.0", false),
            ("spin:cron/cron-types@3.0.0", true),
            ("spin:cron/cron-types@3.0.1", false),
            ("env", false),
        ] {
            let imports = [name.to_owned()];
            assert_eq!(list.refused(&imports).is_empty(), allowed, "{name}");
        }
    }

    #[test]
    fn exports_missing_or_new_differ_and_a_patch_level_does_not() {
        let list = Interfaces::reviewed();
        let differ = |names: &[&str]| {
            let exports: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            list.exports_that_differ(&exports).join(" ")
        };
        assert_eq!(differ(&["handle-cron-event", "wasi:cli/run@0.2.0"]), "");
        assert_eq!(differ(&["wasi:cli/run@0.2.6", "handle-cron-event"]), "");
        assert_eq!(differ(&["handle-cron-event"]), "wasi:cli/run@0.2");
        assert_eq!(
            differ(&["handle-cron-event", "wasi:cli/run@0.3.0"]),
            "wasi:cli/run@0.2 wasi:cli/run@0.3.0"
        );
        assert_eq!(
            differ(&[
                "handle-cron-event",
                "wasi:cli/run@0.2.0",
                "wasi:http/incoming-handler@0.2.0"
            ]),
            "wasi:http/incoming-handler@0.2.0"
        );
    }

    #[test]
    #[should_panic(expected = "neither import nor export: \"imports a\"")]
    fn list_with_a_line_that_nobody_would_read_is_refused() {
        Interfaces::parse("# a remark\n\nimports a\n");
    }
}
