//! The Helm chart: rendered by Helm's own library, judged by Kubernetes' schemas, and compared with what
//! Kustomize builds and with the settings that the application declares.

mod beside;
mod installation;
mod kustomize;
mod pods;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use end_to_end::helm::Helm;
use end_to_end::kubernetes::{Kubectl, find_schemas, resources, validate};
use end_to_end::resources::{all, assert_names_exist, find, list, pods, selects, text};
use end_to_end::{World, once, skip, workspace};
use serde_json::{Value, json};
use toml::Table;

/// Release and namespace: those with which the chart's names are Kustomize's.
const NAME: &str = "crowdsec-edge-sync";

fn chart() -> PathBuf {
    workspace::root().join("deploy/helm")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(chart().join(file)).unwrap()
}

fn yaml(file: &str) -> Value {
    serde_yaml_ng::from_str(&read(file)).unwrap()
}

fn helm() -> Option<Helm> {
    let helm = find_schemas().and_then(|()| Helm::find());
    helm.inspect_err(|error| skip::for_want_of(format_args!("Helm: {error:#}"))).ok()
}

/// What somebody fills in.
fn filled_in() -> Value {
    json!({
        "image": { "repository": "registry.example.com/crowdsec-edge-sync" },
        "secrets": { "lapi_key": "a-key", "cf_api_token": "a-token" },
        "settings": {
            "cf_account_id": "0123456789abcdef0123456789abcdef",
            "cf_ban_list_id": "123456789abcdef0123456789abcdef0",
        },
    })
}

/// [`filled_in`] with other values laid over it.
fn with(other: Value) -> Value {
    fn lay(over: Value, under: &mut Value) {
        match (over, under) {
            (Value::Object(over), Value::Object(under)) => {
                for (key, value) in over {
                    lay(value, under.entry(key).or_insert(Value::Null));
                }
            }
            (over, under) => *under = over,
        }
    }
    let mut values = filled_in();
    lay(other, &mut values);
    values
}

/// The texts of an installation's resources. Those of Prometheus' operator have no schema here, and are apart.
fn rendered(helm: &Helm, release: &str, values: &Value) -> [String; 2] {
    let files = helm.render(&chart(), release, NAME, values);
    let files = files.unwrap_or_else(|error| panic!("{values}: {error}"));
    let mut texts = [String::new(), String::new()];
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".yaml")) {
        // A file that is switched off is blank, or a remark.
        if resources(text).is_ok_and(|resources| resources.iter().any(|one| !one.is_null())) {
            let is_of_operator = path.ends_with("/prometheusrule.yaml");
            texts[usize::from(is_of_operator)] += &format!("---\n{text}\n");
        }
    }
    texts
}

fn installed_as(helm: &Helm, release: &str, values: &Value) -> Vec<Value> {
    let text = rendered(helm, release, values).concat();
    resources(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn installed(helm: &Helm, values: Value) -> Vec<Value> {
    let resources = installed_as(helm, NAME, &values);
    assert_names_exist(
        &resources,
        &["secret-of-mine", "registry-of-mine", "redis-of-mine", "tls-of-mine"],
    );
    resources
}

fn refusal(helm: &Helm, values: &Value) -> String {
    helm.render(&chart(), NAME, NAME, values).expect_err("it must be refused").to_string()
}

fn the<'a>(resources: &'a [Value], kind: &str) -> &'a Value {
    find(resources, kind, NAME).unwrap_or_else(|| panic!("no {kind}"))
}

fn settings(resources: &[Value]) -> BTreeMap<String, String> {
    let map = find(resources, "ConfigMap", "crowdsec-edge-sync-settings").unwrap();
    serde_json::from_value(map["data"].clone()).unwrap()
}

/// The variables of the application: name, default and whether it is a secret.
fn declared() -> BTreeMap<String, (Option<String>, bool)> {
    let manifest = std::fs::read_to_string(once::manifest()).unwrap();
    let manifest: Table = manifest.parse().unwrap();
    let variables = manifest["variables"].as_table().unwrap().iter();
    let read = variables.map(|(name, variable)| {
        let default = variable.get("default").and_then(toml::Value::as_str).map(str::to_owned);
        let is_secret = variable.get("secret").and_then(toml::Value::as_bool) == Some(true);
        (name.clone(), (default, is_secret))
    });
    read.collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// Whether a policy lets its pods out to a port of a namespace.
fn allows(policy: &Value, namespace: &str, port: u64) -> bool {
    list(&policy["spec"]["egress"]).iter().any(|rule| {
        let to = list(&rule["to"]).iter().any(|peer| {
            let labels = &peer["namespaceSelector"]["matchLabels"];
            labels["kubernetes.io/metadata.name"] == namespace
        });
        to && list(&rule["ports"]).iter().any(|one| one["port"] == port)
    })
}
