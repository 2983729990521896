//! The same installation by Kustomize: one of the two would be forgotten.

use super::*;

const DOCTOR: &str = "crowdsec-edge-sync-doctor";

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
    for (kind, components) in
        [("CronJob", &["doctor"][..]), ("Deployment", &["deployment", "doctor"])]
    {
        let Some(kustomized) = kustomized(components) else { return };
        let hashed = hashed(&kustomized);
        let doctor = json!({ "image": { "repository": "edge-sync", "tag": "x" } });
        let mut installed = installed(&helm, with(json!({ "kind": kind, "doctor": doctor })));
        // The example has no image of the tool without being told.
        for one in installed.iter_mut().filter(|one| one["metadata"]["name"] == DOCTOR) {
            one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] =
                "edge-sync".into();
        }
        let names = |resources: &[Value]| -> BTreeSet<(String, String)> {
            let named = resources.iter().filter(|resource| resource["kind"] != "Namespace");
            let named =
                named.map(|one| comparable(json!([one["kind"], one["metadata"]["name"]]), &hashed));
            named.map(|one| (text(&one[0]).to_owned(), text(&one[1]).to_owned())).collect()
        };
        assert_eq!(names(&installed), names(&kustomized), "{kind}");
        for (kind, name) in [
            (kind, NAME),
            ("CronJob", DOCTOR),
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
