//! `cargo xtask demo`: a few syncs, as a person would want to see them, without an account.

use crate::tools::{self, Tools};
use crate::world::World;
use crate::{build, workspace};
use anyhow::{Context, Result};
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

/// Watch the component keep a simulated Cloudflare in step with a simulated CrowdSec.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// One act: what happens in the world, told and done.
struct Act {
    title: &'static str,
    happens: fn(&World) -> Result<()>,
    /// What to look at afterwards.
    remark: &'static str,
}

const ACTS: [Act; 7] = [
    Act {
        title: "CrowdSec has banned two addresses and challenges a third",
        happens: |world| {
            world.post(
                "/decisions",
                r#"[{"value":"203.0.113.7","type":"ban","duration":"4h","scenario":"crowdsecurity/ssh-bf"},
                    {"value":"2001:DB8::BAD","type":"ban","duration":"4h","scenario":"crowdsecurity/http-probing"},
                    {"value":"198.51.100.9","type":"captcha","duration":"1h","scenario":"crowdsecurity/http-crawl"}]"#,
            )
        },
        remark: "Both lists were empty: one POST each, and each is watched until Cloudflare has done it.",
    },
    Act {
        title: "Two minutes later nothing has changed",
        happens: |_| Ok(()),
        remark: "No drift, no write. Cloudflare throttles list writes, so the best write is none.",
    },
    Act {
        title: "The challenged address misbehaves and is banned; another ban is lifted",
        happens: |world| {
            world.delete("/decisions?value=203.0.113.7")?;
            world.post("/decisions", r#"[{"value":"198.51.100.9","type":"ban","duration":"4h"}]"#)
        },
        remark: "One PUT changes the ban list in both directions; only then is the address taken off the other list.",
    },
    Act {
        title: "LAPI goes down",
        happens: |world| world.post("/faults", "lapi: refuse"),
        remark: "Unreadable is not \"no decisions\": the edge stays as it is, and the run says so.",
    },
    Act {
        title: "LAPI is back, with values that nobody should have typed in",
        happens: |world| {
            world.delete("/faults")?;
            world.post(
                "/decisions",
                r#"[{"value":"203.0.113.20/32","type":"ban"},{"value":"::ffff:203.0.113.20","type":"ban"},
                    {"value":"0.0.0.0/0","type":"ban"},{"value":"not-an-address","type":"ban"},
                    {"value":"FR","scope":"Country","type":"ban"}]"#,
            )
        },
        remark: "Two spellings are one address. What cannot be sent is named, and harms no other.",
    },
    Act {
        title: "All bans are lifted, or LAPI has lost its database: it looks the same",
        happens: |world| world.delete("/decisions"),
        remark: "The guard holds such removals back, and says how to let them go.",
    },
    Act {
        title: "LAPI still says so",
        happens: |_| Ok(()),
        remark: "Found in two runs in a row (by default five, over half an hour), they go: an un-ban reaches the edge by itself.",
    },
];

pub(crate) fn execute(Args {}: Args) -> Result<()> {
    let component = build::component()?;
    play(&component, &Tools::build(tools::PROFILE)?)
}

/// All acts, in order.
pub(crate) fn play(component: &Path, tools: &Tools) -> Result<()> {
    let state = workspace::fresh_state("demo");
    let mut world = World::start(tools, &["--operation-delay".into(), "300ms".into()])?;
    world.set("removal_confirm_runs", "2");
    world.set("removal_confirm_seconds", "0");
    println!(
        "\n{} in Wasmtime, against a simulated LAPI and a simulated Cloudflare on loopback.\n",
        component.strip_prefix(workspace::root()).unwrap_or(component).display()
    );
    for (at, act) in ACTS.iter().enumerate() {
        println!("{}", heading(&format!("{}. {}", at + 1, act.title)));
        (act.happens)(&world)?;
        run_component(tools, &world, &state)?;
        for (name, setting) in [("ban", "cf_ban_list_id"), ("captcha", "cf_captcha_list_id")] {
            let items = world.list(world.setting(setting))?;
            let items = if items.is_empty() { "(empty)".to_owned() } else { items.join("  ") };
            println!("      {name:<8}{items}");
        }
        println!("      {}\n", act.remark);
    }
    println!(
        "That was real: the same component file runs under `spin up`. See the README for the settings.\n\
         To play with the world yourself: cargo run -p simulator -- serve"
    );
    Ok(())
}

/// One run by the host, its lines as they come.
fn run_component(tools: &Tools, world: &World, state: &Path) -> Result<()> {
    let mut host = Command::new(&tools.host);
    host.args(["run", "--once", "--state-dir"]).arg(state);
    host.envs(world.environment()).current_dir(workspace::root()).stdin(Stdio::null());
    let status = host.status().context("failed to start the host")?;
    if !status.success() {
        println!("      (exit code {})", status.code().unwrap_or(-1));
    }
    Ok(())
}

fn heading(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
