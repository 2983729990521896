//! The values: every setting, by its name, and nothing misspelled.

use super::*;

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
        "doctor": { "image": { "repository": "registry.example.com:5000/edge-sync" } },
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
