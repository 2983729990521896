//! Log lines on stderr: stdout is the command's result.

use super::Native;
use edge_sync_core::log::Line;
use edge_sync_core::ports::Log;
use std::io::Write;

impl Log for Native {
    fn log(&self, line: &Line) {
        // A closed stderr must not end the command, as `eprintln!` would.
        let _ = writeln!(std::io::stderr(), "{}", line.render(self.style));
    }
}
