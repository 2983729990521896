//! Every bad day that once broke a promise, played again.

use std::fs;
use std::path::Path;

use simulation::play;
use simulation::script::Script;

fn scripts(folder: &str) -> Vec<(String, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    // Nothing is open where there is no such folder.
    let mut scripts: Vec<(String, Script)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}")))
        })
        .collect();
    scripts.sort_by(|one, other| one.0.cmp(&other.0));
    scripts
}

#[test]
fn bad_days_of_the_past_played_again_keep_every_promise() {
    let scripts = scripts("regressions");
    assert!(scripts.len() > 20, "they are all read");
    let broken: Vec<String> = scripts
        .iter()
        .filter_map(|(name, script)| {
            let violation = play(script, false).violation?;
            Some(format!("{name}: {}: {}", violation.promise, violation.text))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Those that are not mended yet; who mends one moves it to `regressions`.
#[test]
fn bad_days_that_are_open_played_are_still_read() {
    for (name, script) in scripts("open") {
        match play(&script, false).violation {
            Some(violation) => println!("open: {name}: {}: {}", violation.promise, violation.text),
            None => println!("MENDED, move it to regressions: {name}"),
        }
    }
}
