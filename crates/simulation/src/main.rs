//! `simulate`: plays many seeds and says what broke.

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use simulation::generate::{Focus, generate};
use simulation::script::Script;
use simulation::search::{Search, search};
use simulation::{play, shrink};

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
    /// Prints everything that was met.
    #[arg(long)]
    marks: bool,
}

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
    let began = Instant::now();
    let of = Search {
        from: args.from,
        seeds: args.seeds,
        jobs: args.jobs,
        focus,
        found_max: args.found.max(1),
    };
    let mut found = search(of, || {});
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
    for (seed, violation) in &found.violations {
        println!("seed {seed}: {}: {}", violation.promise, violation.text);
    }
    let Some((seed, _)) = found.violations.first() else { return Ok(ExitCode::SUCCESS) };
    let shrunk = shrink(&generate(*seed, focus), args.shrink);
    println!("\nseed {seed}, shrunk:");
    tell(&shrunk);
    if let Some(path) = &args.out {
        fs::write(path, serde_json::to_string_pretty(&shrunk)?)?;
        println!("written to {}", path.display());
    }
    Ok(ExitCode::FAILURE)
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
