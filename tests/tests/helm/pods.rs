//! What runs: the job, the deployment, their store and their secrets.

use super::*;

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

/// What it looks at is what a run meets: the same settings, secrets, store, authority and way out.
#[test]
fn doctor_comes_when_it_has_an_image_and_has_all_that_a_run_has() {
    let Some(helm) = helm() else { return };
    const DOCTOR: &str = "crowdsec-edge-sync-doctor";
    assert!(find(&installed(&helm, filled_in()), "CronJob", DOCTOR).is_none());
    let resources = installed(
        &helm,
        with(json!({
            "doctor": { "image": { "repository": "registry.example.com/edge-sync" } },
            "imagePullSecrets": ["registry-of-mine"],
            "clientTls": { "existingSecret": "tls-of-mine" },
        })),
    );
    let of = |name: &str| &find(&resources, "CronJob", name).unwrap()["spec"];
    assert_eq!(of(DOCTOR)["suspend"], true);
    let [run, doctor] = [NAME, DOCTOR].map(|name| &of(name)["jobTemplate"]["spec"]["template"]);
    for part in ["volumes", "imagePullSecrets"] {
        assert_eq!(doctor["spec"][part], run["spec"][part], "{part}");
    }
    let [of_run, container] = [run, doctor].map(|pod| &pod["spec"]["containers"][0]);
    for part in ["envFrom", "volumeMounts"] {
        assert_eq!(container[part], of_run[part], "{part}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"], format!("registry.example.com/edge-sync:{version}"));
    assert_eq!(container["env"][0]["value"], container["volumeMounts"][0]["mountPath"]);
    let labels = &doctor["metadata"]["labels"];
    for policy in [NAME, "crowdsec-edge-sync-redis"] {
        let policy = &find(&resources, "NetworkPolicy", policy).unwrap()["spec"];
        let chooses = [&policy["podSelector"], &policy["ingress"][0]["from"][0]["podSelector"]];
        assert!(chooses.into_iter().any(|one| one.is_object() && selects(one, labels)), "{policy}");
    }
    // It is none of a Service's pods, and none of Redis'.
    let services = all(&resources, "Service").map(|one| &one["spec"]["selector"]);
    let deployments =
        all(&resources, "Deployment").map(|one| &one["spec"]["selector"]["matchLabels"]);
    for selector in services.chain(deployments) {
        assert!(!selects(&json!({ "matchLabels": selector }), labels), "{selector}");
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
