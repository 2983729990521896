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
    /// The same, after runs that remember the lists; only of those with pages enough for that.
    Remembered,
    /// 1 % of the items are missing and as many are too much.
    Drift,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Self::InSync => "in sync",
            Self::Remembered => "remembered",
            Self::Drift => "1 % drift",
        }
    }
}

/// The least decisions that fill as many pages as are worth being remembered.
const REMEMBERED_MIN: usize = 2_000;

/// How many decisions are also measured with the latency of Cloudflare's API, and that.
const SLOW_DECISIONS: usize = 10_000;
const SLOW: &str = "150ms";

/// One case and what each program needed for it.
struct Row {
    decisions: usize,
    is_slow: bool,
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
    let cases = args.decisions.iter().map(|decisions| (*decisions, false));
    for (decisions, is_slow) in cases.chain([(SLOW_DECISIONS, true)]) {
        let world = step(&format!("a world of {decisions} decisions"), || {
            world(tools, decisions, is_slow)
        })?;
        let desired = Desired::of(&world)?;
        for start in [Start::InSync, Start::Remembered, Start::Drift] {
            if start == Start::Remembered && decisions < REMEMBERED_MIN {
                continue;
            }
            let slow = if is_slow { format!(" at {SLOW} a request") } else { String::new() };
            let name = format!("{decisions} decisions, {}{slow}", start.name());
            if start == Start::Remembered {
                step(&format!("{name}: what is remembered"), || desired.remember(&world, tools))?;
            }
            let mut ours = Vec::new();
            let mut theirs = Vec::new();
            step(&name, || {
                // In turn, so that a machine that slows down slows both. The first is not counted:
                // it compiles the component, as Spin does when it loads an application.
                for turn in 0..=args.runs {
                    let one = |program: &Program<'_>, into: &mut Vec<Measured>| -> Result<()> {
                        match start {
                            Start::Remembered => world.delete("/journal")?,
                            _ => desired.prepare(&world, start)?,
                        }
                        let measured = measure::run(program, &world)?;
                        desired.check(&world).with_context(|| format!("{name}: {program:?}"))?;
                        if turn > 0 {
                            into.push(measured);
                        }
                        Ok(())
                    };
                    let this = match start {
                        Start::Remembered => Program::Remembering(tools),
                        _ => Program::Ours(tools),
                    };
                    one(&this, &mut ours)?;
                    if let Some(path) = &seed {
                        one(&Program::Seed(path), &mut theirs)?;
                    }
                }
                Ok(())
            })?;
            let ours = Measured::median(&ours).context("no run was counted")?;
            rows.push(Row { decisions, is_slow, start, ours, seed: Measured::median(&theirs) });
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

fn world(tools: &Tools, decisions: usize, is_slow: bool) -> Result<World> {
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
    if is_slow {
        flags.push(format!("--set=cloudflare.latency={SLOW}"));
    }
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
                Start::InSync | Start::Remembered => 0,
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

    /// Lets the component write once, which shows that the lists' marks move, and read what it then remembers.
    fn remember(&self, world: &World, tools: &Tools) -> Result<()> {
        workspace::fresh_state(measure::REMEMBERED);
        self.prepare(world, Start::Drift)?;
        for _ in 0..2 {
            measure::run(&Program::Remembering(tools), world)?;
            world.post("/clock", "2m")?;
        }
        self.check(world)
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
