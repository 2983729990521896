//! `edge-sync setup`: the Cloudflare side of the sync, made or taken away through the API. Only flags,
//! environment and printing; the rest is [`crate::setup`].

use super::print;
use crate::setup::{
    Applied, BAN_LIST, CAPTCHA_LIST, Client, Optional, Plan, Report, Wish, apply, observe,
    optional_settings, plan, plan_removal, settings, wrangler_toml,
};
use crate::words::{harmless, wrapped};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use edge_sync_core::api::cloudflare::Account;
use edge_sync_core::settings::{KV_PREFIX, Settings};
use spin_app::ClientTls;
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
    /// A Workers KV namespace and nothing else; the token needs no permission for lists and rules.
    #[arg(long, conflicts_with_all = ["zone", "ban_list", "captcha_list", "ban_only"])]
    kv_only: bool,
    /// Write a wrangler.toml for the edge Worker (deploy/worker/) here, once the namespace is there.
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    wrangler: Option<std::path::PathBuf>,
    /// A route for it, such as example.com/*; repeatable.
    #[arg(long, value_name = "PATTERN", requires = "wrangler")]
    route: Vec<String>,
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
    /// Spin's runtime configuration; only its [[client_tls]] counts here: whom TLS believes.
    #[arg(long, value_name = "FILE", env = "RUNTIME_CONFIG_FILE")]
    runtime_config_file: Option<std::path::PathBuf>,
}

/// The component whose [[client_tls]] it is: its id in every manifest of ours. Setup needs no manifest.
const COMPONENT: &str = "crowdsec-edge-sync";

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
    let tls = args.runtime_config_file.as_deref();
    let tls = tls.map(|file| ClientTls::read(file, COMPONENT)).transpose()?.unwrap_or_default();
    let client = Client::new(account()?, tls);
    let captcha_list = (!args.ban_only).then_some(args.captcha_list.as_str());
    let wish = match args.kv_only {
        true => Wish::kv_only(),
        false => {
            let mut wish = Wish::new(&args.ban_list, captcha_list)?;
            wish.namespace = args.kv || args.wrangler.is_some();
            wish.zones = args.zone;
            wish
        }
    };
    let prefix = variable("kv_key_prefix").filter(|prefix| !prefix.is_empty());
    let prefix = prefix.unwrap_or_else(|| KV_PREFIX.to_owned());

    let plan = match args.remove {
        false => plan(&wish, &observe(&client, &wish, None).await?)?,
        true => plan_removal(&wish, &observe(&client, &wish, Some(&prefix)).await?),
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
    if let Some(file) = &args.wrangler {
        let known = settings(&plan, applied.as_ref().unwrap_or(&Applied::default()));
        let id = known.into_iter().find(|(name, _)| name.ends_with("CF_KV_NAMESPACE_ID"));
        // Without --apply there is none to name yet.
        if let Some((_, Some(id))) = id {
            write_wrangler(file, &wrangler_toml(&id, &prefix, &args.route)?)?;
        }
    }
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

/// Somebody else's work in the file is not overwritten.
fn write_wrangler(file: &std::path::Path, text: &str) -> Result<()> {
    match std::fs::read_to_string(file) {
        Ok(there) if there == text => return Ok(()),
        Ok(there) if !there.contains("REPLACE_WITH_YOUR_KV_NAMESPACE_ID") => bail!(
            "{} is there and says something else: move it away, or name another file",
            file.display()
        ),
        _ => {}
    }
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
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
    // As comments, so that what is pasted changes nothing that was not asked for.
    for Optional { name, value, what } in optional_settings(plan) {
        let lines = wrapped(&format!("# optional: {what}"), 2);
        text.extend(lines.lines().map(|line| format!("#{}\n", &line[1..])));
        let _ = writeln!(text, "# {export}{name}={value}");
    }
    text
}
