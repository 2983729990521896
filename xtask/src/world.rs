//! A running simulator: its process, the settings that point the component at it, and its control
//! endpoint.

use crate::tools::Tools;
use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A simulator, ended when dropped.
pub(crate) struct World {
    process: Child,
    control: String,
    variables: BTreeMap<String, String>,
    /// The id of the KV namespace, which is a setting only after [`World::target_kv`].
    pub(crate) namespace: String,
}

/// What a run cost at one API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Counters {
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) writes_accepted: u64,
}

const VARIABLE: &str = "SPIN_VARIABLE_";

impl World {
    /// Starts `simulator serve` with these flags and waits until it says where it listens.
    pub(crate) fn start(tools: &Tools, flags: &[String]) -> Result<Self> {
        let mut process = Command::new(&tools.simulator)
            .arg("serve")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the simulator")?;
        let stdout = process.stdout.take().context("the simulator has no stdout")?;
        let (control, namespace) = (String::new(), String::new());
        let mut world = Self { process, control, variables: BTreeMap::new(), namespace };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(control) = line.strip_prefix("# control: ") {
                world.control = control.trim_end_matches('/').to_owned();
            }
            if let Some(namespace) = line.strip_prefix("# kv namespace: ") {
                world.namespace = namespace.to_owned();
            }
            let assignment = line.strip_prefix("export ").unwrap_or(&line);
            if let Some((name, value)) = assignment.split_once('=')
                && name.starts_with(VARIABLE)
            {
                world.variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            }
            // The last of them.
            if world.variables.contains_key("SPIN_VARIABLE_PUSHGATEWAY_URL") {
                return Ok(world);
            }
        }
        Err(anyhow!("the simulator ended before it listened; its words are above"))
    }

    /// Makes KV the only target of these settings.
    pub(crate) fn target_kv(&mut self) {
        for (name, value) in [
            ("CF_BAN_LIST_ID", ""),
            ("CF_CAPTCHA_LIST_ID", ""),
            ("CF_KV_NAMESPACE_ID", &self.namespace),
        ] {
            self.variables.insert(format!("{VARIABLE}{name}"), value.to_owned());
        }
    }

    /// Gives a setting, by its name in `spin.toml`, another value than its default.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(format!("{VARIABLE}{}", name.to_uppercase()), value.to_owned());
    }

    /// The settings that point the component at it, as environment variables.
    pub(crate) fn environment(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// One of these settings, by its name in `spin.toml`.
    pub(crate) fn setting(&self, name: &str) -> &str {
        let variable = format!("{VARIABLE}{}", name.to_uppercase());
        self.variables.get(&variable).map_or("", String::as_str)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let mut answer = ureq::get(self.url(path)).call().with_context(|| self.asked(path))?;
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string()?;
        serde_json::from_str(&text).with_context(|| self.asked(path))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Result<()> {
        let kind = if body.starts_with(['[', '{']) { "application/json" } else { "text/plain" };
        let request = ureq::post(self.url(path)).header("content-type", kind);
        request.send(body).with_context(|| self.asked(path))?;
        Ok(())
    }

    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        ureq::delete(self.url(path)).call().with_context(|| self.asked(path))?;
        Ok(())
    }

    /// What happened at LAPI and Cloudflare together since the journal was last cleared.
    pub(crate) fn counters(&self) -> Result<Counters> {
        let all: BTreeMap<String, Counters> = serde_json::from_value(self.get("/counters")?)?;
        let mut sum = Counters::default();
        for service in ["lapi", "cloudflare"] {
            let one = all.get(service).copied().unwrap_or_default();
            sum.requests += one.requests;
            sum.bytes_in += one.bytes_in;
            sum.bytes_out += one.bytes_out;
            sum.writes_accepted += one.writes_accepted;
        }
        Ok(sum)
    }

    /// The addresses on a list, in order.
    pub(crate) fn list(&self, id: &str) -> Result<Vec<String>> {
        let lists = self.get("/lists")?;
        let list = lists.as_array().into_iter().flatten().find(|list| list["id"] == id);
        let items = list.with_context(|| format!("the simulator has no list {id}"))?["items"]
            .as_array()
            .into_iter()
            .flatten();
        Ok(items.filter_map(|item| item["ip"].as_str()).map(str::to_owned).collect())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.control)
    }

    fn asked(&self, path: &str) -> String {
        format!("failed to ask the simulator's control endpoint for {path}")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
