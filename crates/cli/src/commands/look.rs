//! What `plan` and `why` share: how everything is looked at, and how it is said what could not be read.

use crate::native::Native;
use crate::words::{GONE, ODD, duration, harmless, wrapped};
use anyhow::{Result, bail};
use edge_sync_core::address::Address;
use edge_sync_core::ports::Clock;
use edge_sync_core::run::{Inspection, Side, inspect};
use edge_sync_core::settings::Settings;
use spin_app::Options;
use std::fmt::Write as _;

/// What is not known without the store.
pub(crate) const UNKNOWN_WITHOUT_STORE: &str = "not known without it: whether writes wait, what the guard has \
     counted, how much of the day's KV budget is used, and whether what is there was ever CrowdSec's";

/// Looks as a run of the application would, at `address` in particular, and changes nothing.
pub async fn look(options: &Options, address: Option<Address>) -> Result<Inspection> {
    let native = Native::load(options)?;
    let settings = settings(&native)?;
    let mut inspection = inspect(&settings, &native, address).await;
    for side in inspection.sides.iter_mut().filter(|side| side.side == "store") {
        side.at = native.store_place();
    }
    Ok(inspection)
}

/// The settings, or all that is wrong with them.
pub(crate) fn settings(native: &Native) -> Result<Settings> {
    match Settings::parse(|name| native.variable(name), native.wall()) {
        Ok(settings) => Ok(settings),
        Err(error) => {
            let problems: Vec<_> = error.0.iter().map(|problem| format!("\n  {problem}")).collect();
            bail!("the settings cannot be used:{}", problems.concat());
        }
    }
}

/// Whether LAPI or the edge could not be read. Without the store, what is said is still true.
pub(super) fn is_blind(inspection: &Inspection) -> bool {
    let mut zones = inspection.rules.iter().flatten();
    inspection.sides.iter().any(|side| side.side != "store" && side.error.is_some())
        || zones.any(|zone| zone.error.is_some())
}

/// What could not be read, with where it is and what to do; then a run that is at work.
pub(super) fn sides(inspection: &Inspection) -> String {
    let mut shown = String::new();
    for side in &inspection.sides {
        let Side { side, at, error: Some(error), remedy } = side else { continue };
        let (style, what) = match *side {
            "lapi" => (GONE, "LAPI cannot be read"),
            "lists" => (GONE, "the lists cannot be read"),
            "kv" => (GONE, "KV cannot be read"),
            _ => (ODD, "the store cannot be read"),
        };
        let at = if *side == "store" { String::new() } else { format!(" ({at})") };
        let text = format!("{style}{what}{style:#}{at}: {}", harmless(error));
        let _ = writeln!(shown, "{}", wrapped(&text, 4));
        if *side == "store" {
            let _ = writeln!(shown, "{}", wrapped(&format!("    {UNKNOWN_WITHOUT_STORE}"), 4));
        }
        if let Some(remedy) = remedy {
            let _ = writeln!(shown, "{}", wrapped(&format!("    -> {remedy}"), 7));
        }
    }
    if let Some(left) = inspection.at_work_secs {
        let text = format!(
            "{ODD}a run is at work{ODD:#}, or was interrupted: its lease holds for at most {} more",
            duration(left)
        );
        let _ = writeln!(shown, "{}", wrapped(&text, 4));
    }
    shown
}
