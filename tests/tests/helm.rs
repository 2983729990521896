//! The Helm chart: rendered by Helm's own library, judged by Kubernetes' schemas, and compared with what
//! Kustomize builds and with the settings that the application declares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use end_to_end::helm::Helm;
use end_to_end::kubernetes::{Kubectl, find_schemas, resources, validate};
use end_to_end::resources::{all, assert_names_exist, find, list, pods, text};
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

/// A new setting that the chart does not have makes this fail; so does one that has gone.
#[test]
fn values_and_schema_have_every_setting_of_the_application_and_no_other() {
    let of = |secret: bool| -> BTreeSet<String> {
        let declared = declared().into_iter().filter(|(_, (_, is_secret))| *is_secret == secret);
        declared.map(|(name, _)| name).collect()
    };
    let values = yaml("values.yaml");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    for (part, expected) in [("settings", of(false)), ("secrets", of(true))] {
        assert_eq!(keys(&values[part]), expected, "values.yaml, {part}");
        let schema = &schema["properties"][part];
        assert_eq!(keys(&schema["properties"]), expected, "values.schema.json, {part}");
        assert_eq!(schema["additionalProperties"], false, "{part}");
    }
    assert_eq!(keys(&values), &keys(&schema["properties"]) - &BTreeSet::from(["global".into()]));
}

/// Every switch in both its positions; all of it judged at once, because the judge takes its time to start.
#[test]
fn installations_of_every_kind_are_what_kubernetes_takes() {
    let Some(helm) = helm() else { return };
    let everything = json!({
        "imagePullSecrets": ["registry-of-mine"],
        "nodeSelector": { "kubernetes.io/arch": "amd64" },
        "tolerations": [{ "key": "spin", "operator": "Exists" }],
        "cronJob": { "suspend": true },
        "networkPolicy": { "extraEgress": [{ "to": [{ "ipBlock": { "cidr": "10.0.0.5/32" } }] }] },
        "dashboard": { "enabled": true },
        "settings": { "pushgateway_url": "http://pg.monitoring.svc:9091" },
    });
    let mut text = String::new();
    for kind in ["CronJob", "Deployment"] {
        for other in [
            json!({}),
            everything.clone(),
            json!({ "redis": { "url": "redis://redis.cache:6379" } }),
            json!({ "redis": { "enabled": false }, "networkPolicy": { "enabled": false } }),
            json!({ "redis": { "enabled": false }, "volume": { "enabled": false } }),
            json!({ "clientTls": { "existingSecret": "tls-of-mine" } }),
            json!({ "clientTls": { "existingSecret": "tls-of-mine" }, "redis": { "enabled": false } }),
        ] {
            let mut values = with(other);
            values["kind"] = kind.into();
            text += &rendered(&helm, NAME, &values)[0];
        }
    }
    validate(&text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
    let one = &rendered(&helm, NAME, &filled_in())[0];
    let misspelled = one.replacen("backoffLimit:", "backOffLimit:", 1);
    assert_ne!(misspelled, *one);
    assert!(validate(&misspelled).is_err(), "it would take anything");
}

#[test]
fn settings_rendered_are_the_defaults_of_the_application() {
    let Some(helm) = helm() else { return };
    let rendered = settings(&installed(&helm, filled_in()));
    let filled_in = ["cf_account_id", "cf_ban_list_id"];
    for (name, (default, is_secret)) in declared() {
        if is_secret || filled_in.contains(&name.as_str()) {
            continue;
        }
        assert_eq!(rendered.get(&once::variable(&name)), Some(&default.unwrap()), "{name}");
    }
    assert_eq!(rendered.len(), declared().values().filter(|(_, secret)| !secret).count());
}

#[test]
fn numbers_flags_and_lists_rendered_are_the_text_that_the_component_reads() {
    let Some(helm) = helm() else { return };
    let rendered = settings(&installed(
        &helm,
        with(json!({ "settings": {
            "list_items_max": 1_000_000,
            "kv_daily_writes_max": "1000000",
            "dry_run": true,
            "captcha_as_ban": "true",
            "never_block": ["192.0.2.1", "2001:db8::/32"],
            "write_backoff_seconds": [60, 1_000_000],
            "kv_key_prefix": "a \"b\": #c",
        } })),
    ));
    for (name, text) in [
        ("list_items_max", "1000000"),
        ("kv_daily_writes_max", "1000000"),
        ("dry_run", "true"),
        ("captcha_as_ban", "true"),
        ("never_block", "192.0.2.1,2001:db8::/32"),
        ("write_backoff_seconds", "60,1000000"),
        ("kv_key_prefix", "a \"b\": #c"),
    ] {
        assert_eq!(rendered[&once::variable(name)], text, "{name}");
    }
}

#[test]
fn values_not_filled_in_are_all_named_at_once() {
    let Some(helm) = helm() else { return };
    let refused = refusal(&helm, &json!({ "clientTls": { "clientCertificate": true } }));
    for name in [
        "clientTls.existingSecret: the Secret with the client certificate",
        "image.repository",
        "settings.cf_account_id",
        "cf_ban_list_id, cf_captcha_list_id, cf_kv_namespace_id",
        "secrets.lapi_key, or existingSecret",
        "secrets.cf_api_token, or existingSecret",
    ] {
        assert!(refused.contains(name), "{name}: {refused}");
    }
    assert_eq!(helm.lint(&chart()).unwrap().iter().filter(|one| one["severity"] != 1).count(), 0);
}

#[test]
fn values_misspelled_or_out_of_form_are_refused_by_name() {
    let Some(helm) = helm() else { return };
    for (values, name) in [
        (json!({ "setings": {} }), "setings"),
        (json!({ "settings": { "dryrun": true } }), "dryrun"),
        (json!({ "settings": { "dry_run": "yes" } }), "/settings/dry_run"),
        (json!({ "settings": { "lapi_url": "http://lapi:8080/v1" } }), "/settings/lapi_url"),
        // Spin refuses an application whose allowed host is the empty string.
        (json!({ "settings": { "pushgateway_url": "" } }), "/settings/pushgateway_url"),
        (json!({ "settings": { "list_items_max": 1.5 } }), "/settings/list_items_max"),
        (json!({ "settings": { "cf_account_id": "0123" } }), "/settings/cf_account_id"),
        // Helm takes a value away that is null; the Job would end before its run.
        (json!({ "settings": { "run_budget_seconds": null } }), "run_budget_seconds"),
        (json!({ "settings": { "lapi_url": null } }), "lapi_url"),
        (json!({ "kind": "StatefulSet" }), "/kind"),
        (json!({ "image": { "repository": "registry.example.com/a:1" } }), "/image/repository"),
        (json!({ "redis": { "url": "http://redis" } }), "/redis/url"),
    ] {
        let refused = refusal(&helm, &with(values));
        assert!(refused.contains(name), "{name}: {refused}");
    }
}

/// What Kustomize builds from the example, with the same settings filled in.
fn kustomized(components: &[&str]) -> Option<Vec<Value>> {
    let kubectl = Kubectl::find();
    let kubectl =
        kubectl.inspect_err(|error| skip::for_want_of(format_args!("kubectl: {error:#}"))).ok()?;
    let folder = tempfile::tempdir().unwrap();
    let spinkube = workspace::root().join("deploy/spinkube");
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-r").arg(&spinkube).arg(folder.path()).status().unwrap().success());
    let example = folder.path().join("spinkube/example");
    let path = example.join("kustomization.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: String = components.iter().map(|one| format!("  - ../components/{one}\n")).collect();
    std::fs::write(&path, text.replacen("components:\n", &format!("components:\n{lines}"), 1))
        .unwrap();
    Some(resources(&kubectl.kustomize(&example).unwrap()).unwrap())
}

/// A resource without what both ways of installing do differently and may: labels, what chooses by them, annotations, the hash at
/// the end of generated names, and where the run's budget stands.
fn comparable(mut resource: Value, hashed: &[String]) -> Value {
    fn walk(value: &mut Value, hashed: &[String]) {
        match value {
            Value::Object(map) => {
                map.remove("labels");
                map.remove("annotations");
                map.remove("matchLabels");
                map.remove("selector");
                if let Some(Value::Array(env)) = map.get_mut("env") {
                    env.retain(|one| one["name"] != once::variable("run_budget_seconds"));
                    if env.is_empty() {
                        map.remove("env");
                    }
                }
                map.values_mut().for_each(|value| walk(value, hashed));
            }
            Value::Array(all) => all.iter_mut().for_each(|value| walk(value, hashed)),
            Value::String(text) if hashed.contains(text) => {
                let (name, _) = text.rsplit_once('-').unwrap();
                *text = name.to_owned();
            }
            _ => {}
        }
    }
    walk(&mut resource, hashed);
    resource
}

/// Names that end with a hash of the content.
fn hashed(resources: &[Value]) -> Vec<String> {
    let generated = all(resources, "ConfigMap").chain(all(resources, "Secret"));
    generated.map(|one| text(&one["metadata"]["name"]).to_owned()).collect()
}

#[test]
fn chart_with_the_values_of_the_example_is_what_kustomize_builds() {
    let Some(helm) = helm() else { return };
    for (kind, components) in [("CronJob", &[][..]), ("Deployment", &["deployment"])] {
        let Some(kustomized) = kustomized(components) else { return };
        let hashed = hashed(&kustomized);
        let installed = installed(&helm, with(json!({ "kind": kind })));
        let names = |resources: &[Value]| -> BTreeSet<(String, String)> {
            let named = resources.iter().filter(|resource| resource["kind"] != "Namespace");
            let named =
                named.map(|one| comparable(json!([one["kind"], one["metadata"]["name"]]), &hashed));
            named.map(|one| (text(&one[0]).to_owned(), text(&one[1]).to_owned())).collect()
        };
        assert_eq!(names(&installed), names(&kustomized), "{kind}");
        for (kind, name) in [
            (kind, NAME),
            ("Deployment", "crowdsec-edge-sync-redis"),
            ("Service", "crowdsec-edge-sync-redis"),
            ("NetworkPolicy", "crowdsec-edge-sync-redis"),
        ] {
            let [ours, theirs] = [&installed, &kustomized].map(|resources| {
                comparable(find(resources, kind, name).unwrap()["spec"].clone(), &hashed)
            });
            let pretty = |value| serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(pretty(ours), pretty(theirs), "{kind} {name}: chart left, Kustomize right");
        }
        // The settings that the example has are the chart's defaults but for the careful first run, and the
        // budget is the CronJob's.
        let map = all(&kustomized, "ConfigMap").next().unwrap();
        let example: BTreeMap<String, String> =
            serde_json::from_value(map["data"].clone()).unwrap();
        let ours = settings(&installed);
        for (name, value) in &example {
            assert!(ours.contains_key(name), "{name}");
            if !value.is_empty() && *name != once::variable("dry_run") {
                assert_eq!(ours.get(name), Some(value), "{name}");
            }
        }
        let secret = find(&installed, "Secret", "crowdsec-edge-sync-secret").unwrap();
        let theirs = all(&kustomized, "Secret")
            .find(|one| text(&one["metadata"]["name"]).starts_with("crowdsec-edge-sync-secret-"));
        assert_eq!(keys(&secret["stringData"]), keys(&theirs.unwrap()["data"]));
    }
}

#[test]
fn job_ends_40_seconds_after_its_budget_whatever_that_is() {
    let Some(helm) = helm() else { return };
    let default: u64 = declared()["run_budget_seconds"].0.as_ref().unwrap().parse().unwrap();
    for (values, budget) in [
        (json!({}), default),
        (json!({ "settings": { "run_budget_seconds": 250 } }), 250),
        (json!({ "settings": { "run_budget_seconds": "250" } }), 250),
    ] {
        let resources = installed(&helm, with(values));
        let job = &the(&resources, "CronJob")["spec"]["jobTemplate"]["spec"];
        assert_eq!(job["activeDeadlineSeconds"], budget + 40);
        assert_eq!(settings(&resources)[&once::variable("run_budget_seconds")], budget.to_string());
    }
}

/// The address in the runtime configuration of an installation.
fn store(resources: &[Value]) -> Table {
    let secret = find(resources, "Secret", "crowdsec-edge-sync-runtime-config").unwrap();
    let config: Table = text(&secret["stringData"]["runtime-config.toml"]).parse().unwrap();
    config["key_value_store"]["default"].as_table().unwrap().clone()
}

#[test]
fn redis_is_the_charts_own_or_another_or_none() {
    let Some(helm) = helm() else { return };
    let own = installed(&helm, filled_in());
    let service = the_redis_service(&own);
    let url = format!("redis://{service}.{NAME}.svc.cluster.local:6379");
    assert_eq!(store(&own)["url"].as_str(), Some(url.as_str()));
    assert_eq!(store(&own)["type"].as_str(), Some("redis"));

    // A password may hold what both YAML and TOML would take for their own.
    let odd = r#"redis://u:p"\#&<{{ x }}@redis.cache.svc:6380/3"#;
    let other = installed(&helm, with(json!({ "redis": { "url": odd } })));
    assert_eq!(store(&other)["url"].as_str(), Some(odd));
    assert_eq!(all(&other, "Service").count(), 0);
    assert!(allows(the(&other, "NetworkPolicy"), "cache", 6380));

    let existing = with(json!({ "redis": { "existingSecret": "redis-of-mine" } }));
    let existing = installed(&helm, existing);
    assert_eq!(all(&existing, "Service").count(), 0);
    let volumes = &pods(&existing)[0]["spec"]["volumes"];
    assert_eq!(volumes[0]["secret"]["secretName"], "redis-of-mine");

    let none = installed(&helm, with(json!({ "redis": { "enabled": false } })));
    let said = serde_json::to_string(&none).unwrap();
    assert!(!said.contains("redis") && !said.contains("runtime-config"), "{said}");
}

#[test]
fn tls_of_lapi_is_told_to_spin_with_redis_and_without_and_left_to_a_secret_of_ones_own() {
    let Some(helm) = helm() else { return };
    let tls = |kind: &str, other: Value| {
        let mut values = with(json!({
            "kind": kind,
            "clientTls": { "existingSecret": "tls-of-mine" },
            "settings": { "lapi_url": "https://lapi.crowdsec.svc:8080" },
        }));
        for (part, value) in other.as_object().unwrap() {
            for (key, value) in value.as_object().unwrap() {
                values[part][key] = value.clone();
            }
        }
        installed(&helm, values)
    };
    let config = |resources: &[Value]| -> Table {
        let secret = find(resources, "Secret", "crowdsec-edge-sync-runtime-config").unwrap();
        text(&secret["stringData"]["runtime-config.toml"]).parse().unwrap()
    };
    for kind in ["CronJob", "Deployment"] {
        for redis in [true, false] {
            let resources = tls(
                kind,
                json!({
                    "redis": { "enabled": redis },
                    "clientTls": { "clientCertificate": redis },
                }),
            );
            let config = config(&resources);
            assert_eq!(config.contains_key("key_value_store"), redis, "{kind}");
            let entry = config["client_tls"][0].as_table().unwrap();
            let said: Vec<_> = entry.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let mut expected = vec![
                "ca_roots_file=\"/client-tls/ca.crt\"",
                "client_cert_file=\"/client-tls/tls.crt\"",
                "client_private_key_file=\"/client-tls/tls.key\"",
                "component_ids=[\"crowdsec-edge-sync\"]",
                "hosts=[\"lapi.crowdsec.svc\"]",
            ];
            if !redis {
                expected.retain(|line| !line.starts_with("client_"));
            }
            assert_eq!(said, expected, "{kind}");
            let pod = &pods(&resources)[0]["spec"];
            let mounts = list(&pod["containers"][0]["volumeMounts"]);
            assert!(mounts.iter().any(|mount| mount["mountPath"] == "/client-tls"), "{kind}");
            let volumes = list(&pod["volumes"]);
            assert!(
                volumes.iter().any(|one| one["secret"]["secretName"] == "tls-of-mine"),
                "{kind}"
            );
        }
    }
    let hosts = json!({ "clientTls": { "hosts": ["a", "b"] } });
    assert_eq!(
        config(&tls("CronJob", hosts))["client_tls"][0]["hosts"].to_string(),
        "[\"a\", \"b\"]"
    );
    let foreign = tls("CronJob", json!({ "redis": { "existingSecret": "redis-of-mine" } }));
    assert!(find(&foreign, "Secret", "crowdsec-edge-sync-runtime-config").is_none());
    let volumes = list(&pods(&foreign)[0]["spec"]["volumes"]);
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "redis-of-mine"));
}

fn the_redis_service(resources: &[Value]) -> &str {
    let mut services = all(resources, "Service");
    text(&services.next().expect("a Service of Redis")["metadata"]["name"])
}

#[test]
fn deployment_without_redis_keeps_its_state_on_a_volume_unless_that_is_off_too() {
    let Some(helm) = helm() else { return };
    for (volume, expected) in [
        (json!({ "size": "1Gi", "storageClassName": "fast" }), 1),
        (json!({ "enabled": false }), 0),
    ] {
        let values =
            json!({ "kind": "Deployment", "redis": { "enabled": false }, "volume": volume });
        let resources = installed(&helm, with(values));
        let claims: Vec<_> = all(&resources, "PersistentVolumeClaim").collect();
        assert_eq!(claims.len(), expected);
        for claim in claims {
            assert_eq!(claim["spec"]["storageClassName"], "fast");
            assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "1Gi");
        }
        let mounts = list(&pods(&resources)[0]["spec"]["containers"][0]["volumeMounts"]);
        assert!(mounts.iter().any(|mount| mount["mountPath"] == "/state"));
    }
    // Neither has a use for it.
    for values in [json!({ "kind": "Deployment" }), json!({ "redis": { "enabled": false } })] {
        let resources = installed(&helm, with(values));
        assert_eq!(all(&resources, "PersistentVolumeClaim").count(), 0);
    }
}

#[test]
fn deployment_is_another_pod_for_another_setting_secret_or_store() {
    let Some(helm) = helm() else { return };
    let mut seen = BTreeSet::new();
    for change in [
        json!({}),
        json!({ "settings": { "dry_run": true } }),
        json!({ "secrets": { "cf_api_token": "another" } }),
        json!({ "redis": { "url": "redis://another:6379" } }),
        json!({ "clientTls": { "existingSecret": "tls-of-mine" } }),
        json!({ "clientTls": { "existingSecret": "tls-of-mine", "hosts": ["b"] } }),
    ] {
        let mut values = with(change);
        values["kind"] = "Deployment".into();
        let resources = installed(&helm, values);
        let pod = &the(&resources, "Deployment")["spec"]["template"];
        let said = serde_json::to_string(pod).unwrap();
        assert!(!said.contains("another"), "a secret in an annotation: {said}");
        assert!(seen.insert(said), "the pod stays");
    }
}

#[test]
fn secret_of_ones_own_is_used_and_none_is_made() {
    let Some(helm) = helm() else { return };
    let values = with(json!({
        "existingSecret": "secret-of-mine",
        "secrets": { "lapi_key": "", "cf_api_token": "" },
        "imagePullSecrets": ["registry-of-mine"],
    }));
    let resources = installed(&helm, values);
    let pod = &pods(&resources).into_iter().find(|pod| pod["spec"]["restartPolicy"] == "Never");
    let pod = &pod.unwrap()["spec"];
    assert_eq!(pod["containers"][0]["envFrom"][1]["secretRef"]["name"], "secret-of-mine");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "registry-of-mine" }]));
    assert_eq!(all(&resources, "Secret").count(), 1, "that of the runtime configuration");
    // The keys that the README has it made with.
    for (name, (_, is_secret)) in declared() {
        let key = format!("--from-literal={}=", once::variable(&name));
        assert_eq!(read("README.md").contains(&key), is_secret, "{name}");
    }
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

#[test]
fn network_policy_lets_out_to_what_the_settings_name() {
    let Some(helm) = helm() else { return };
    let policy = |settings: Value| {
        let resources = installed(&helm, with(json!({ "settings": settings })));
        the(&resources, "NetworkPolicy").clone()
    };
    let default = policy(json!({}));
    assert!(allows(&default, "crowdsec", 8080) && allows(&default, "kube-system", 53));
    assert!(!allows(&default, "kube-system", 443), "Kubernetes itself");
    assert_eq!(list(&default["spec"]["ingress"]), [] as [Value; 0]);
    // Redis, DNS, LAPI, Cloudflare: nothing for a Pushgateway that is not used.
    assert_eq!(list(&default["spec"]["egress"]).len(), 4);
    for (url, namespace, port) in [
        ("http://pg.monitoring.svc.cluster.local:9091", "monitoring", 9091),
        ("http://pg.monitoring.svc:9091/", "monitoring", 9091),
        ("http://pg.monitoring", "monitoring", 80),
        ("http://pg.monitoring/", "monitoring", 80),
        ("https://pg.monitoring.svc", "monitoring", 443),
    ] {
        let policy = policy(json!({ "pushgateway_url": url }));
        assert!(allows(&policy, namespace, port), "{url}: {policy}");
    }
    // A public host with https is let through as Cloudflare is; an address needs a rule of one's own.
    for url in
        ["https://pg.example.co.uk", "http://10.0.0.5:9091", "http://[::1]:9091", "http://pg:9091"]
    {
        let policy = policy(json!({ "pushgateway_url": url }));
        assert_eq!(list(&policy["spec"]["egress"]).len(), 4, "{url}: {policy}");
    }
    let rule = json!({
        "to": [{ "ipBlock": { "cidr": "10.0.0.5/32" } }],
        "ports": [{ "protocol": "TCP", "port": 9091 }],
    });
    let values = json!({ "networkPolicy": { "extraEgress": [rule] } });
    let resources = installed(&helm, with(values));
    assert!(list(&the(&resources, "NetworkPolicy")["spec"]["egress"]).contains(&rule));
    let off = installed(&helm, with(json!({ "networkPolicy": { "enabled": false } })));
    assert_eq!(all(&off, "NetworkPolicy").count(), 0);
}

#[test]
fn alerts_and_dashboard_are_those_of_monitoring_and_come_when_asked_for() {
    let Some(helm) = helm() else { return };
    for file in ["alerts.yaml", "dashboard.json"] {
        let original = workspace::root().join("deploy/monitoring").join(file);
        let original = std::fs::read_to_string(original).unwrap();
        let copy = chart().join("files").join(file);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&copy, &original).unwrap();
        }
        let is_same = std::fs::read_to_string(&copy).unwrap() == original;
        assert!(is_same, "files/{file} is older; BLESS=1 copies it");
    }
    let without = installed(&helm, filled_in());
    assert_eq!(all(&without, "PrometheusRule").count(), 0);
    let resources = installed(
        &helm,
        with(json!({
            "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
            "dashboard": { "enabled": true, "labels": { "folder": "CrowdSec" } },
        })),
    );
    let rule = the(&resources, "PrometheusRule");
    assert_eq!(rule["spec"], yaml("files/alerts.yaml"));
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let dashboard = find(&resources, "ConfigMap", "crowdsec-edge-sync-dashboard").unwrap();
    assert_eq!(dashboard["metadata"]["labels"]["folder"], "CrowdSec");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let data: BTreeMap<String, String> = serde_json::from_value(dashboard["data"].clone()).unwrap();
    assert_eq!(data["crowdsec-edge-sync.json"], read("files/dashboard.json"));
}

#[test]
fn two_releases_in_a_namespace_have_nothing_in_common() {
    let Some(helm) = helm() else { return };
    let [one, other] = ["first", NAME].map(|release| installed_as(&helm, release, &filled_in()));
    let names = |resources: &[Value]| -> BTreeSet<String> {
        resources.iter().map(|one| text(&one["metadata"]["name"]).to_owned()).collect()
    };
    assert!(names(&one).is_disjoint(&names(&other)));
    assert!(names(&one).iter().all(|name| name.starts_with("first-crowdsec-edge-sync")));
    assert_names_exist(&one, &[]);
    for policy in all(&one, "NetworkPolicy").chain(all(&one, "Service")) {
        let selector = match policy["kind"].as_str() {
            Some("Service") => &policy["spec"]["selector"],
            _ => &policy["spec"]["podSelector"]["matchLabels"],
        };
        assert_eq!(selector["app.kubernetes.io/instance"], "first", "{policy}");
    }
    // Kubernetes allows a CronJob's name 52 characters.
    let long = installed_as(&helm, &"a".repeat(53), &filled_in());
    let jobs: Vec<_> = all(&long, "CronJob").map(|job| text(&job["metadata"]["name"])).collect();
    assert!(jobs.len() == 1 && jobs[0].len() <= 52, "{jobs:?}");
}

#[test]
fn versions_are_those_of_the_application_and_the_tag_is_the_version() {
    let Some(helm) = helm() else { return };
    let manifest: Table = std::fs::read_to_string(once::manifest()).unwrap().parse().unwrap();
    let version = manifest["application"]["version"].as_str().unwrap();
    let chart = yaml("Chart.yaml");
    assert_eq!((text(&chart["version"]), text(&chart["appVersion"])), (version, version));
    let resources = installed(&helm, filled_in());
    let container = &the(&resources, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        ["containers"][0];
    assert_eq!(container["image"], format!("registry.example.com/crowdsec-edge-sync:{version}"));
}

#[test]
fn values_of_the_readme_are_an_installation() {
    let Some(helm) = helm() else { return };
    let readme = read("README.md");
    let (_, block) = readme.split_once("\n```yaml\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let values: Value = serde_yaml_ng::from_str(block).unwrap();
    let resources = installed_as(&helm, NAME, &values);
    assert_names_exist(&resources, &["edge-sync-secrets"]);
    assert_eq!(settings(&resources)[&once::variable("dry_run")], "true");
    // Every value that its table names is one.
    let known = yaml("values.yaml");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    for name in rows.flat_map(|cell| cell.trim_end_matches('`').split("`, `")) {
        let path = name.replace("<name>", "dry_run");
        let found = path.split('.').try_fold(&known, |at, key| at.get(key));
        assert!(found.is_some(), "there is no value {name}");
    }
}

/// From the values to the edge: what the chart gives a pod is what the component understands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pod_with_the_environment_of_the_chart_syncs() {
    let Some(helm) = helm() else { return };
    let world = World::new().await;
    world.ban(&["203.0.113.7"]);
    let of = |names: &[&str]| -> Value {
        names.iter().map(|name| ((*name).to_owned(), Value::from(world.setting(name)))).collect()
    };
    let resources = installed(
        &helm,
        with(json!({
            "settings": of(&[
                "lapi_url", "cf_api_url", "pushgateway_url",
                "cf_account_id", "cf_ban_list_id", "cf_captcha_list_id",
            ]),
            "secrets": of(&["lapi_key", "cf_api_token"]),
        })),
    );
    let secret = find(&resources, "Secret", "crowdsec-edge-sync-secret").unwrap();
    let secret: BTreeMap<String, String> =
        serde_json::from_value(secret["stringData"].clone()).unwrap();
    let environment = settings(&resources).into_iter().chain(secret);
    let run = once::run(env!("CARGO_BIN_EXE_once"), environment, &once::manifest()).await;
    assert_eq!(run.exit_code, Some(0), "{run:?}");
    assert!(run.stdout.contains("outcome=applied "), "{}", run.stdout);
    world.assert_edge(&["203.0.113.7"], &[]);
    world.assert_no_violations();
}
