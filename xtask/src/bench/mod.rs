//! `cargo xtask bench`: what a sync costs, side by side with the programs that this one replaces,
//! against the same simulator, in the same minutes, as whole processes.
//!
//! The older programs are no part of the project: their folder is named by `EDGE_SYNC_SEEDS`, or is
//! `shared/seeds` beside the checkout; without them only our own figures are printed.

mod kv;
mod measure;
mod table;

use crate::progress::step;
use crate::tools::{MEASURED, Tools};
use crate::world::World;
use crate::{build, workspace};
use anyhow::{Context, Result, ensure};
use measure::{Measured, Program};

pub(crate) use measure::{AccountArgs, account};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Measure wall time, CPU time, memory, requests, bulk operations and bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of decisions to measure with.
    #[arg(long, value_delimiter = ',', default_value = "1000,15000,50000,150000")]
    decisions: Vec<usize>,
    /// Numbers of KV keys to measure with.
    #[arg(long, value_delimiter = ',', default_value = "15000,150000")]
    keys: Vec<usize>,
    /// Leave out the IP lists.
    #[arg(long)]
    kv_only: bool,
    /// Counted runs of each case; medians are printed.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// How far the edge is from what is desired when a measured run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    InSync,
    /// 1 % of the items are missing and as many are too much.
    Drift,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Self::InSync => "in sync",
            Self::Drift => "1 % drift",
        }
    }
}

/// One case and what each program needed for it.
struct Row {
    decisions: usize,
    start: Start,
    ours: Measured,
    seed: Option<Measured>,
}

pub(crate) fn execute(args: Args) -> Result<()> {
    ensure!(args.runs > 0, "--runs must be at least 1");
    let size = build::component()?.metadata()?.len();
    let tools = Tools::build(MEASURED)?;
    if !args.kv_only {
        lists(&args, &tools, size)?;
    }
    kv::execute(&args.keys, args.runs, &tools)
}

fn lists(args: &Args, tools: &Tools, size: u64) -> Result<()> {
    let seed = seed("lists_sync.py");
    let mut rows = Vec::new();
    for &decisions in &args.decisions {
        let world = step(&format!("a world of {decisions} decisions"), || world(tools, decisions))?;
        let desired = Desired::of(&world)?;
        for start in [Start::InSync, Start::Drift] {
            let name = format!("{decisions} decisions, {}", start.name());
            let mut ours = Vec::new();
            let mut theirs = Vec::new();
            step(&name, || {
                // In turn, so that a machine that slows down slows both. The first is not counted:
                // it compiles the component, as Spin does when it loads an application.
                for turn in 0..=args.runs {
                    let one = |program: &Program<'_>, into: &mut Vec<Measured>| -> Result<()> {
                        desired.prepare(&world, start)?;
                        let measured = measure::run(program, &world)?;
                        desired.check(&world).with_context(|| format!("{name}: {program:?}"))?;
                        if turn > 0 {
                            into.push(measured);
                        }
                        Ok(())
                    };
                    one(&Program::Ours(tools), &mut ours)?;
                    if let Some(path) = &seed {
                        one(&Program::Seed(path), &mut theirs)?;
                    }
                }
                Ok(())
            })?;
            let ours = Measured::median(&ours).context("no run was counted")?;
            rows.push(Row { decisions, start, ours, seed: Measured::median(&theirs) });
        }
    }
    table::print(&rows, size);
    Ok(())
}

/// The older program of this name, if it is here.
fn seed(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EDGE_SYNC_SEEDS")
        .map_or_else(|| workspace::root().join("../shared/seeds"), PathBuf::from);
    let path = Some(folder.join(name)).filter(|path| path.exists());
    match &path {
        Some(path) => eprintln!("beside {}", path.display()),
        None => eprintln!(
            "SKIPPED: the older program is not here (EDGE_SYNC_SEEDS names its folder); measuring only ours"
        ),
    }
    path
}

fn world(tools: &Tools, decisions: usize) -> Result<World> {
    // Lists that were last written a week ago; each write resets that for the items that it adds.
    let week_ago = humantime::format_rfc3339_seconds(
        std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 24 * 3600),
    );
    let knobs = [
        format!("start={week_ago}"),
        // The older program asks for pages of 1,000, which Cloudflare refuses. Tolerated here, but a
        // page never has more than 500: both pay for the same number of pages.
        "cloudflare.tolerate_large_pages=true".to_owned(),
        // Rendering LAPI's body is not what is measured.
        "lapi.body_cache=10m".to_owned(),
    ];
    let mut flags = vec![format!("--decisions={decisions}"), "--items-max=1000000".to_owned()];
    flags.extend(knobs.map(|knob| format!("--set={knob}")));
    let mut world = World::start(tools, &flags)?;
    // More than the default, which is what an account below Enterprise has.
    world.set("list_items_max", "500000");
    Ok(world)
}

/// What both lists should hold, read from LAPI's rows by themselves.
struct Desired {
    lists: [(String, BTreeSet<String>); 2],
}

impl Desired {
    fn of(world: &World) -> Result<Self> {
        let rows = world.get("/decisions")?;
        let values = |kind: &str| -> BTreeSet<String> {
            let rows = rows.as_array().into_iter().flatten();
            let rows = rows.filter(|row| row["type"] == kind || row["kind"] == kind);
            let rows = rows
                .filter(|row| row["scope"].as_str().is_some_and(|s| s.eq_ignore_ascii_case("ip")));
            rows.filter_map(|row| row["value"].as_str()).map(str::to_owned).collect()
        };
        let (ban, captcha) = (values("ban"), values("captcha"));
        ensure!(!ban.is_empty(), "the simulator made no bans");
        let captcha = captcha.difference(&ban).cloned().collect();
        let ids =
            ["cf_ban_list_id", "cf_captcha_list_id"].map(|name| world.setting(name).to_owned());
        let [ban_id, captcha_id] = ids;
        Ok(Self { lists: [(ban_id, ban), (captcha_id, captcha)] })
    }

    /// Puts the lists where a measured run is to start from.
    fn prepare(&self, world: &World, start: Start) -> Result<()> {
        for (at, (id, values)) in self.lists.iter().enumerate() {
            let moved = match start {
                Start::InSync => 0,
                Start::Drift => (values.len() / 100).max(1),
            };
            let too_much = (0..moved).map(|n| format!("100.{}.{}.{}", 64 + at, n / 256, n % 256));
            let kept = values.iter().skip(moved).cloned();
            let lines: Vec<_> = kept.chain(too_much).collect();
            world.delete(&format!("/lists/{id}/items"))?;
            world.post(&format!("/lists/{id}/items"), &lines.join("\n"))?;
        }
        world.delete("/journal")
    }

    /// A fast run that does not do its work is worth nothing.
    fn check(&self, world: &World) -> Result<()> {
        for (id, values) in &self.lists {
            let list: BTreeSet<String> = world.list(id)?.into_iter().collect();
            ensure!(
                list == *values,
                "the list {id} has {} items afterwards, {} of them as desired ({} are)",
                list.len(),
                list.intersection(values).count(),
                values.len()
            );
        }
        Ok(())
    }
}
