//! Kubernetes' resources as values: how they are looked through, and what holds among them that no schema
//! knows.

use serde_json::Value;

/// The resource of a kind with a name.
pub fn find<'a>(resources: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    resources.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name)
}

/// The resources of a kind.
pub fn all<'a>(resources: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    resources.iter().filter(move |one| one["kind"] == kind)
}

/// The elements; none if it is no array.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text; empty if it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The pods that the resources start.
pub fn pods(resources: &[Value]) -> Vec<&Value> {
    let jobs = all(resources, "CronJob").map(|job| &job["spec"]["jobTemplate"]["spec"]["template"]);
    jobs.chain(all(resources, "Deployment").map(|deployment| &deployment["spec"]["template"]))
        .collect()
}

/// Panics unless every name that a resource refers to is the name of another, and whatever chooses pods finds
/// one. A name in `elsewhere` is made by somebody else.
#[track_caller]
pub fn assert_names_exist(resources: &[Value], elsewhere: &[&str]) {
    let exists = |kind: &str, name: &Value| {
        let is_there = find(resources, kind, text(name)).is_some();
        assert!(is_there || elsewhere.contains(&text(name)), "there is no {kind} {name}");
    };
    for pod in pods(resources) {
        let spec = &pod["spec"];
        for volume in list(&spec["volumes"]) {
            if let Some(secret) = volume.get("secret") {
                exists("Secret", &secret["secretName"]);
            }
            if let Some(claim) = volume.get("persistentVolumeClaim") {
                exists("PersistentVolumeClaim", &claim["claimName"]);
            }
        }
        for secret in list(&spec["imagePullSecrets"]) {
            exists("Secret", &secret["name"]);
        }
        for container in list(&spec["containers"]) {
            for from in list(&container["envFrom"]) {
                if let Some(reference) = from.get("configMapRef") {
                    exists("ConfigMap", &reference["name"]);
                }
                if let Some(reference) = from.get("secretRef") {
                    exists("Secret", &reference["name"]);
                }
            }
            for mount in list(&container["volumeMounts"]) {
                let volumes = list(&spec["volumes"]);
                assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
            }
        }
    }
    // Policies and services choose pods by label: each must find one.
    let pods = pods(resources);
    let labels = || pods.iter().map(|pod| &pod["metadata"]["labels"]);
    for policy in all(resources, "NetworkPolicy") {
        let selector = &policy["spec"]["podSelector"];
        assert!(labels().any(|labels| selects(selector, labels)), "no pod has {selector}");
    }
    for service in all(resources, "Service") {
        let selector = serde_json::json!({ "matchLabels": service["spec"]["selector"] });
        assert!(labels().any(|labels| selects(&selector, labels)), "no pod has {selector}");
    }
}

/// Whether a selector chooses what has these labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object();
    let is_equal = equal.is_none_or(|all| all.iter().all(|(name, value)| labels[name] == *value));
    is_equal
        && list(&selector["matchExpressions"]).iter().all(|one| {
            assert_eq!(one["operator"], "In", "the only one that is known here");
            list(&one["values"]).contains(&labels[text(&one["key"])])
        })
}
