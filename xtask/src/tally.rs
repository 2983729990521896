//! What passed, failed and was skipped, over all steps and all tests, and the line that says so at the end.

use anyhow::Result;

/// The result of everything so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    skipped: u64,
    /// What each failure is called.
    failures: Vec<String>,
}

impl Tally {
    /// Counts a step; a failure is printed, and the next step comes all the same.
    pub(crate) fn step(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                eprintln!("error: {error:#}");
                self.failures.push(name.to_owned());
            }
        }
    }

    /// Counts tests: how many passed, how many were skipped, and the names of those that failed.
    pub(crate) fn tests(&mut self, passed: u64, skipped: u64, failed: Vec<String>) {
        self.passed += passed;
        self.skipped += skipped;
        self.failures.extend(failed);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// The names of what failed, then the sum on a line of its own; nothing is to be printed after it.
    pub(crate) fn text(&self) -> String {
        let names = self.failures.iter().map(|name| format!("failed: {name}\n"));
        let (passed, failed, skipped) = (self.passed, self.failures.len(), self.skipped);
        let sum = format!("total: {passed} passed, {failed} failed, {skipped} skipped");
        names.chain([sum]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn tally_of_steps_and_tests_ends_with_one_sum() {
        let mut tally = Tally::default();
        assert_eq!(tally.text(), "total: 0 passed, 0 failed, 0 skipped");
        tally.step("formatting", Ok(()));
        tally.tests(140, 2, Vec::new());
        assert!(tally.is_good());
        tally.step("lints", Err(anyhow!("3 warnings")));
        tally.tests(0, 0, vec!["tests/laws.rs: a_law".into()]);
        assert!(!tally.is_good());
        assert_eq!(
            tally.text(),
            "failed: lints\nfailed: tests/laws.rs: a_law\ntotal: 141 passed, 2 failed, 2 skipped"
        );
    }
}
