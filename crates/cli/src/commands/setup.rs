//! `host setup`: the Cloudflare side of the sync, made or taken away through the API. Only flags,
//! environment and printing; the rest is [`crate::setup`].

use crate::setup::{
    Access, Applied, BAN_LIST, CAPTCHA_LIST, Client, Plan, Report, Wish, apply, observe, plan,
    plan_removal, settings,
};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// Make the lists, the KV namespace and the WAF rules at Cloudflare that the sync needs.
///
/// Shows what is there and what it would do, and changes nothing without --apply. The account comes
/// from SPIN_VARIABLE_CF_ACCOUNT_ID and SPIN_VARIABLE_CF_API_TOKEN; the token needs, for as long as
/// this command runs, also the permission Zone > Zone WAF > Edit. Whatever setup did not make stays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A zone, by id or name, that gets the two rules; repeatable. None = no rules.
    #[arg(long, value_name = "ID_OR_NAME")]
    zone: Vec<String>,
    /// The list of bans.
    #[arg(long, value_name = "NAME", default_value = BAN_LIST)]
    ban_list: String,
    /// The list of challenges.
    #[arg(long, value_name = "NAME", default_value = CAPTCHA_LIST)]
    captcha_list: String,
    /// No list and no rule for challenges: the Free plan has room for one list.
    #[arg(long, conflicts_with = "captcha_list")]
    ban_only: bool,
    /// A Workers KV namespace as well.
    #[arg(long)]
    kv: bool,
    /// Take away again what setup made; with the same other flags.
    #[arg(long)]
    remove: bool,
    /// Do it.
    #[arg(long)]
    apply: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Plans, and applies if asked to.
pub async fn execute(args: Args) -> Result<ExitCode> {
    // The requests block, one after the other.
    tokio::task::spawn_blocking(|| run(args)).await.context("setup ended early")?
}

fn run(args: Args) -> Result<ExitCode> {
    let variable = |name: &str| std::env::var(format!("SPIN_VARIABLE_{name}"));
    let needed = |name| {
        variable(name).with_context(|| format!("set SPIN_VARIABLE_{name} in the environment"))
    };
    let client = Client::new(Access {
        url: variable("CF_API_URL").unwrap_or_else(|_| "https://api.cloudflare.com".to_owned()),
        account: needed("CF_ACCOUNT_ID")?,
        token: needed("CF_API_TOKEN")?,
    })?;
    let captcha_list = (!args.ban_only).then_some(args.captcha_list.as_str());
    let mut wish = Wish::new(&args.ban_list, captcha_list)?;
    (wish.namespace, wish.zones) = (args.kv, args.zone);

    let plan = match args.remove {
        false => plan(&wish, &observe(&client, &wish, None)?)?,
        true => {
            let own_keys = variable("KV_KEY_PREFIX").unwrap_or_else(|_| "ip:".to_owned());
            plan_removal(&wish, &observe(&client, &wish, Some(&own_keys))?)
        }
    };
    if !args.json {
        print(&format!("{plan}\n"))?;
    }
    let applied = match args.apply {
        true => Some(apply(&client, &plan, |step| {
            // A line lost to a closed pipe must not end the work half-way.
            if !args.json {
                let _ = print(&format!("done: {step}\n"));
            }
        })?),
        false => None,
    };
    match args.json {
        true => {
            print(&format!("{:#}\n", Report { plan: &plan, applied: applied.as_ref() }.to_json()))?
        }
        false => print(&ending(&plan, applied.as_ref()))?,
    }
    let is_done = applied.is_none_or(|applied| applied.left.is_empty());
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ending(plan: &Plan, applied: Option<&Applied>) -> String {
    let mut text = String::new();
    let has_steps = plan.steps().next().is_some();
    for left in applied.into_iter().flat_map(|applied| &applied.left) {
        let _ = writeln!(text, "! {left}");
    }
    let _ = match (has_steps, applied) {
        (false, _) => writeln!(text, "nothing to do"),
        (true, None) => writeln!(text, "nothing was changed: run again with --apply"),
        (true, Some(applied)) if applied.left.is_empty() => writeln!(text, "all done"),
        (true, Some(_)) => writeln!(text, "done but for what stays"),
    };
    for (name, value) in settings(plan, applied.unwrap_or(&Applied::default())) {
        let _ = match value {
            Some(value) => writeln!(text, "{name}={value}"),
            None => writeln!(text, "# {name}: known after --apply"),
        };
    }
    text
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("failed to print")
}
