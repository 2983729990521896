//! `simulator serve`: the world on loopback ports, for demos, benchmarks and for trying the component
//! by hand. It only reads flags and prints; everything else is the library.

use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use simulator::decisions::{Mix, generate_mix};
use simulator::front::{Ports, Running, serve};
use simulator::{Fault, Like, Options, Service, Simulator};

/// CrowdSec's Local API, Cloudflare's lists, KV and WAF rules, and a Pushgateway, simulated.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve them on loopback ports until interrupted.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Serve {
    /// Port of CrowdSec's Local API; 0 = any that is free.
    #[arg(long, default_value_t = 0)]
    lapi_port: u16,
    /// Port of Cloudflare's API.
    #[arg(long, default_value_t = 0)]
    cloudflare_port: u16,
    /// Port of the Pushgateway.
    #[arg(long, default_value_t = 0)]
    pushgateway_port: u16,
    /// Port of the control endpoint; GET / there lists what it can do.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// How many made-up decisions LAPI has.
    #[arg(long, default_value_t = 0)]
    decisions: usize,
    /// Mix duplicates and odd spellings into them.
    #[arg(long)]
    untidy: bool,
    /// Decides identifiers and made-up decisions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A Cloudflare as somebody with this plan meets it: cloudflare-free, cloudflare-pro or
    /// cloudflare-enterprise. What is given beside it goes before it.
    #[arg(long)]
    like: Option<Like>,
    /// How long a bulk operation takes, such as 700ms.
    #[arg(long, value_parser = humantime::parse_duration)]
    operation_delay: Option<Duration>,
    /// What a write meets while another is unfinished: reject or queue.
    #[arg(long)]
    pending_mode: Option<String>,
    /// Most items in a list and in the account, where Cloudflare has 10000.
    #[arg(long)]
    items_max: Option<usize>,
    /// A fault, repeatable: "SERVICE [METHOD] [/path part] [skip=N] [times=N]: ACTION", where SERVICE is
    /// lapi, cloudflare or pushgateway and ACTION is one of: refuse | delay 5s | drop-before-effect |
    /// drop-after-effect | cut-body BYTES | answer STATUS [header: value] BODY |
    /// answer-after-effect STATUS [header: value] BODY | silent | null-result | no-result |
    /// stuck-operation | slow-operation 26h | fail-operation TEXT | vanish-operation |
    /// operation-state TEXT | repeat-cursor | repeat-page | repeat-item | empty-page-with-cursor |
    /// insert-item VALUE | remove-item VALUE | edit-rules EDIT | unsuccessful-keys N; EDIT is one of:
    /// add ACTION EXPRESSION | set REF EXPRESSION | act REF ACTION | disable REF | enable REF |
    /// move-first REF | move-last REF | delete REF | double REF | renew-ids | delete-all. Example:
    /// "cloudflare PUT /items times=1: drop-after-effect".
    #[arg(long, value_name = "FAULT", verbatim_doc_comment)]
    fault: Vec<Fault>,
    /// Any other knob, repeatable, as name=value in the form that is printed at the start.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Serve(arguments) => run(arguments).await,
    }
}

async fn run(arguments: Serve) -> Result<()> {
    let mut simulator = Simulator::new(options(&arguments)?);
    let ban = simulator.cloudflare().create_list("crowdsec_ban");
    let captcha = simulator.cloudflare().create_list("crowdsec_captcha");
    let namespace = simulator.cloudflare().create_namespace("crowdsec");
    simulator.cloudflare().create_zone("example.com");
    let mix = if arguments.untidy { Mix::untidy() } else { Mix::default() };
    simulator.lapi().add_all(generate_mix(arguments.decisions, arguments.seed, &mix));
    let options = simulator.options().clone();
    let faults: Vec<String> = arguments.fault.iter().map(Fault::to_string).collect();
    arguments.fault.into_iter().for_each(|fault| simulator.inject(fault));

    let ports = Ports {
        lapi: arguments.lapi_port,
        cloudflare: arguments.cloudflare_port,
        pushgateway: arguments.pushgateway_port,
        control: arguments.control_port,
    };
    let running = serve(simulator.shared(), ports).await.context("failed to listen")?;
    announce(&options, &faults, arguments.decisions, &running, [&ban, &captcha], &namespace)?;
    tokio::signal::ctrl_c().await.context("failed to wait for an interrupt")?;
    running.stop().await;
    Ok(())
}

fn options(arguments: &Serve) -> Result<Options> {
    // Whole seconds, so that the printed start can be set again.
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let mut options = Options {
        seed: arguments.seed,
        start: SystemTime::UNIX_EPOCH + Duration::from_secs(start),
        ..Options::default()
    };
    if let Some(like) = arguments.like {
        like.apply(&mut options.cloudflare);
    }
    if let Some(delay) = arguments.operation_delay {
        options.cloudflare.operation_delay = delay;
    }
    if let Some(items_max) = arguments.items_max {
        options.cloudflare.list_items_max = items_max;
        options.cloudflare.account_items_max = items_max;
    }
    let mode = arguments.pending_mode.iter().map(|mode| format!("cloudflare.pending_mode={mode}"));
    for assignment in mode.chain(arguments.set.iter().cloned()) {
        options.set(&assignment).map_err(|error| anyhow!(error))?;
    }
    Ok(options)
}

/// Everything that is needed to repeat this world and to point the component at it.
fn announce(
    options: &Options,
    faults: &[String],
    decisions: usize,
    running: &Running,
    [ban, captcha]: [&str; 2],
    namespace: &str,
) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "# {decisions} decisions; knobs (each can be given as --set name=value):")?;
    for (name, value) in options.knobs() {
        writeln!(out, "#   {name}={value}")?;
    }
    for fault in faults {
        writeln!(out, "#   fault {}", fault.escape_debug())?;
    }
    writeln!(out, "# control: http://{}/", running.control)?;
    // Not a setting like those below: naming it turns the component's KV target on.
    writeln!(out, "# kv namespace: {namespace}")?;
    writeln!(out, "# zone: example.com")?;
    for (name, value) in [
        ("LAPI_URL", running.url(Service::Lapi).as_str()),
        ("LAPI_KEY", &options.lapi.key),
        ("CF_API_URL", &running.url(Service::Cloudflare)),
        ("CF_ACCOUNT_ID", &options.cloudflare.account_id),
        ("CF_API_TOKEN", &options.cloudflare.api_token),
        ("CF_BAN_LIST_ID", ban),
        ("CF_CAPTCHA_LIST_ID", captcha),
        ("PUSHGATEWAY_URL", &running.url(Service::Pushgateway)),
    ] {
        writeln!(out, "export SPIN_VARIABLE_{name}={value}")?;
    }
    out.flush().context("failed to print")
}
