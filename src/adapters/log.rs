//! Log lines on stdout, which Spin and Kubernetes collect.

use edge_sync_core::log::{Line, Style};
use edge_sync_core::ports::Log;
use wasi::cli::stdout::get_stdout;
use wasi::cli::terminal_stdout::get_terminal_stdout;

use super::Spin;

/// For a person if stdout is a terminal. Spin's own pipes are none, so there it is key=value.
pub(super) fn style() -> Style {
    match get_terminal_stdout() {
        Some(_) => Style::Terminal,
        None => Style::KeyValue,
    }
}

/// The most bytes that WASI takes at once.
const WRITE_BYTES_MAX: usize = 4096;

impl Log for Spin {
    fn log(&self, line: &Line) {
        let line = line.render(self.style) + "\n";
        let stdout = get_stdout();
        for part in line.as_bytes().chunks(WRITE_BYTES_MAX) {
            // A closed stdout must not end a sync in its middle, as `println!` would.
            let _ = stdout.blocking_write_and_flush(part);
        }
    }
}
