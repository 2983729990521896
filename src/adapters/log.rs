//! Log lines on stdout, which Spin and Kubernetes collect.

use std::io::Write;

use edge_sync_core::log::{Line, Style};
use edge_sync_core::ports::Log;

use super::Spin;

/// For a person if stdout is a terminal. Spin's own pipes are none, so there it is key=value.
pub(super) fn style() -> Style {
    match wasi::cli::terminal_stdout::get_terminal_stdout() {
        Some(_) => Style::Terminal,
        None => Style::KeyValue,
    }
}

impl Log for Spin {
    fn log(&self, line: &Line) {
        // A closed stdout must not end a sync in its middle, as `println!` would.
        let _ = writeln!(std::io::stdout(), "{}", line.render(self.style));
    }
}
