//! What stands beside the pods, and other releases.

use super::*;

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
