//! `edge-sync setup`: the Cloudflare side of the sync, made or taken away through the API. Only flags,
//! environment and printing; the rest is [`crate::setup`].

use super::print;
use crate::setup::{
    Applied, BAN_LIST, CAPTCHA_LIST, Client, Plan, Report, Wish, apply, observe, plan,
    plan_removal, settings,
};
use crate::words::{harmless, wrapped};
use anyhow::{Result, bail};
use clap::ValueEnum;
use edge_sync_core::api::cloudflare::Account;
use edge_sync_core::settings::Settings;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

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
    /// How the settings are printed.
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    format: Format,
    /// Where Spin keeps the key-value store; taken as by the other commands, and not needed here.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<std::path::PathBuf>,
}

/// How settings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for a shell: export NAME=value.
    Shell,
    /// Lines NAME=value, for an env file (kustomize, docker).
    Env,
}

/// Plans, and applies if asked to.
pub async fn execute(args: Args) -> Result<ExitCode> {
    let client = Client::new(account()?);
    let captcha_list = (!args.ban_only).then_some(args.captcha_list.as_str());
    let mut wish = Wish::new(&args.ban_list, captcha_list)?;
    (wish.namespace, wish.zones) = (args.kv, args.zone);

    let plan = match args.remove {
        false => plan(&wish, &observe(&client, &wish, None).await?)?,
        true => {
            let own_keys = variable("kv_key_prefix").unwrap_or_else(|| "ip:".to_owned());
            plan_removal(&wish, &observe(&client, &wish, Some(&own_keys)).await?)
        }
    };
    if !args.json {
        print(&lines(&plan.to_string()))?;
    }
    let applied = match args.apply {
        true => {
            let done = |step: &crate::setup::Step| {
                // A line lost to a closed pipe must not end the work half-way.
                if !args.json {
                    let _ = print(&lines(&format!("done: {step}")));
                }
            };
            Some(apply(&client, &plan, done).await?)
        }
        false => None,
    };
    match args.json {
        true => {
            let report = Report { plan: &plan, applied: applied.as_ref() };
            print(&format!("{:#}\n", report.to_json()))?;
        }
        false => print(&ending(&plan, applied.as_ref(), args.format))?,
    }
    let is_done = applied.is_none_or(|applied| applied.left.is_empty());
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(spin_app::env_name(name)).ok()
}

/// What setup needs of the settings.
const NEEDED: [&str; 3] = ["cf_account_id", "cf_api_token", "cf_api_url"];

/// The account, by the same reading of the settings as a run's; or all that is wrong with it at once.
fn account() -> Result<Account> {
    let value = |name: &str| match name {
        "cf_api_url" => variable(name).or_else(|| Some("https://api.cloudflare.com".to_owned())),
        name if NEEDED.contains(&name) => variable(name),
        // The others are not there yet: setup is what makes them.
        "lapi_url" => Some("http://lapi.invalid".to_owned()),
        "lapi_key" => Some("none".to_owned()),
        "cf_ban_list_id" => Some("0".repeat(32)),
        _ => None,
    };
    let error = match Settings::parse(value, SystemTime::now()) {
        Ok(Settings { cloudflare, account, token, .. }) => {
            return Ok(Account::new(cloudflare, account, token));
        }
        Err(error) => error,
    };
    let problems = error.0.iter().map(|problem| {
        format!("\n  {}: {}", spin_app::env_name(problem.variable), problem.message)
    });
    let problems: Vec<_> = problems.collect();
    bail!("the account cannot be reached with these settings:{}", problems.concat());
}

/// Each line made harmless, and wrapped.
fn lines(text: &str) -> String {
    text.lines().map(|line| wrapped(&harmless(line), 4) + "\n").collect()
}

fn ending(plan: &Plan, applied: Option<&Applied>, format: Format) -> String {
    let mut text = String::new();
    let has_steps = plan.steps().next().is_some();
    for left in applied.into_iter().flat_map(|applied| &applied.left) {
        text.push_str(&lines(&format!("! {left}")));
    }
    let _ = match (has_steps, applied) {
        (false, _) => writeln!(text, "nothing to do"),
        (true, None) => writeln!(text, "nothing was changed: run again with --apply"),
        (true, Some(applied)) if applied.left.is_empty() => writeln!(text, "all done"),
        (true, Some(_)) => writeln!(text, "done but for what stays"),
    };
    let export = if format == Format::Shell { "export " } else { "" };
    for (name, value) in settings(plan, applied.unwrap_or(&Applied::default())) {
        let _ = match value {
            Some(value) => writeln!(text, "{export}{name}={value}"),
            None => writeln!(text, "# {name}: known after --apply"),
        };
    }
    text
}
