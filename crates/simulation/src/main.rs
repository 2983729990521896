//! `simulate`: plays many seeds and says what broke.

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use simulation::defects::{Defect, plant};
use simulation::generate::{Focus, generate};
use simulation::script::Script;
use simulation::search::{Search, search};
use simulation::{play, shrink};

/// A quarter of the time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deterministic simulation of the whole system.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only these targets: lists, kv, rules, separated by commas.
    #[arg(long)]
    only: Option<Focus>,
    /// The longest time that the faults last, in days; 0 = as each seed wants.
    #[arg(long, default_value_t = 0)]
    days: u64,
    /// Ends after so many seeds that broke a promise.
    #[arg(long, default_value_t = 10)]
    found: usize,
    /// Plays one seed and tells its history.
    #[arg(long)]
    tell: Option<u64>,
    /// Plays a file and tells its history.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Where the script of a violation is written, shrunk.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Plays at most so many scripts to shrink one.
    #[arg(long, default_value_t = 600)]
    shrink: usize,
    /// Leaves out violations whose text has this: what is known already.
    #[arg(long)]
    except: Vec<String>,
    /// Plants each defect in turn, and says in which seed it is found; fails if one is not.
    #[arg(long)]
    defects: bool,
    /// Plants this defect.
    #[arg(long)]
    defect: Option<String>,
    /// Prints everything that was met.
    #[arg(long)]
    marks: bool,
}

/// From so many seeds on everything must have been met.
const MARKED_FROM_SEEDS: u64 = 10_000;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    // What panics in a simulation is told by its violation.
    panic::set_hook(Box::new(|_| {}));
    let focus = Focus { days: args.days, ..args.only.unwrap_or_default() };
    if let Some(path) = &args.replay {
        let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        return Ok(tell(&serde_json::from_str(&text)?));
    }
    if let Some(seed) = args.tell {
        return Ok(tell(&generate(seed, focus)));
    }
    if args.defects {
        return Ok(find_defects(&args));
    }
    let defect = match &args.defect {
        None => None,
        Some(name) => {
            let found = Defect::ALL.iter().find(|(_, known, _)| known == name);
            Some(found.with_context(|| format!("there is no defect {name:?}"))?.0)
        }
    };
    plant(defect);
    let began = Instant::now();
    let of = Search {
        from: args.from,
        seeds: args.seeds,
        jobs: args.jobs,
        focus,
        found_max: args.found.max(1),
    };
    let mut found = search(of, || plant(defect));
    found.violations.retain(|(_, violation)| {
        let text = format!("{}: {}", violation.promise, violation.text);
        !args.except.iter().any(|known| text.contains(known))
    });
    let seconds = began.elapsed().as_secs_f64();
    if args.marks {
        for (what, count) in found.marks.iter() {
            println!("{count:>10}  {what}");
        }
    }
    println!(
        "{} seeds, {} runs, {} requests in {seconds:.1} s: {:.0} runs a second with {} jobs; digest {:016x}",
        found.seeds,
        found.runs,
        found.requests,
        found.runs as f64 / seconds,
        args.jobs,
        found.digest
    );
    let is_all = args.only.is_none() && found.seeds >= MARKED_FROM_SEEDS;
    let lacking = if is_all { found.marks.lacking() } else { Vec::new() };
    for (what, count) in &lacking {
        println!("met only {count} times, which proves nothing: {what}");
    }
    for (seed, violation) in &found.violations {
        println!("seed {seed}: {}: {}", violation.promise, violation.text);
    }
    let Some((seed, _)) = found.violations.first() else {
        return Ok(if lacking.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let shrunk = shrink(&generate(*seed, focus), args.shrink);
    println!("\nseed {seed}, shrunk:");
    tell(&shrunk);
    if let Some(path) = &args.out {
        fs::write(path, serde_json::to_string_pretty(&shrunk)?)?;
        println!("written to {}", path.display());
    }
    Ok(ExitCode::FAILURE)
}

/// Every defect must be found, and by what it breaks: a promise that nobody breaks without it.
fn find_defects(args: &Args) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (defect, name, only) in Defect::ALL {
        let Ok(focus) = only.parse::<Focus>() else { continue };
        let mut found = None;
        let mut from = args.from;
        while found.is_none() && from < args.from + args.seeds {
            let seeds = 50.min(args.from + args.seeds - from);
            let (jobs, found_max) = (args.jobs, 50);
            let of = Search { from, seeds, jobs, focus, found_max };
            let with = search(of, || plant(Some(defect))).violations;
            plant(None);
            // What breaks without it proves nothing.
            found = with.into_iter().find(|(seed, violation)| {
                let without = play(&generate(*seed, focus), false).violation;
                without.is_none_or(|without| without.promise != violation.promise)
            });
            from += seeds;
        }
        match found {
            Some((seed, violation)) => {
                println!("{name:<24} seed {seed:>4}: {}", violation.promise);
            }
            None => {
                println!("{name:<24} NOT FOUND within {} seeds", args.seeds);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn tell(script: &Script) -> ExitCode {
    for (name, value) in &script.settings {
        println!("setting {name}={value}");
    }
    for knob in &script.knobs {
        println!("knob {knob}");
    }
    for item in &script.before {
        println!("before {:?} {} {}", item.place, item.name, item.value);
    }
    let played = play(script, true);
    for line in &played.story {
        println!("{line}");
    }
    match played.violation {
        Some(violation) => {
            println!("BROKEN: {}: {}", violation.promise, violation.text);
            ExitCode::FAILURE
        }
        None => {
            println!("every promise was kept");
            ExitCode::SUCCESS
        }
    }
}
