//! Helm without a cluster: its own library, in a wheel, renders a chart and says what it has against it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::python;

const HELM: python::Package = python::Package { name: "helm-python-sdk", version: "0.2.2" };

/// Takes what is asked as JSON on stdin, and answers with JSON on stdout.
const PROGRAM: &str = r#"
import json, sys
import helm_python as helm
asked = json.load(sys.stdin)
try:
    if asked["lint"]:
        print(json.dumps(helm.lint(asked["chart"])["messages"]))
    else:
        with helm.Chart.load(asked["chart"]) as chart:
            files = chart.render(asked["values"], name=asked["release"], namespace=asked["namespace"])
        print(json.dumps(files))
except helm.HelmError as error:
    sys.exit(str(error))
"#;

/// Helm's library, found.
#[derive(Debug)]
pub struct Helm(());

impl Helm {
    /// Fetches it.
    pub fn find() -> Result<Self> {
        HELM.folder().map(|_| Self(()))
    }

    /// What `helm template` would print, a text for each file of the chart. An error is what Helm says.
    pub fn render(
        &self,
        chart: &Path,
        release: &str,
        namespace: &str,
        values: &Value,
    ) -> Result<BTreeMap<String, String>> {
        let asked = json!({
            "lint": false,
            "chart": chart,
            "release": release,
            "namespace": namespace,
            "values": values,
        });
        Ok(serde_json::from_value(ask(&asked)?)?)
    }

    /// What `helm lint` has against the chart, a value for each finding.
    pub fn lint(&self, chart: &Path) -> Result<Vec<Value>> {
        Ok(serde_json::from_value(ask(&json!({ "lint": true, "chart": chart }))?)?)
    }
}

fn ask(asked: &Value) -> Result<Value> {
    let mut command = HELM.program_text(PROGRAM)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("failed to start Python")?;
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(asked.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}
