//! What `kubectl apply -k` would apply: built by Kustomize, judged by Kubernetes' schemas, and by
//! the rules that schemas cannot know: names that are referred to exist, and the CronJob fits the
//! component.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::kubernetes::{Kubectl, find_schemas, resources, validate};
use end_to_end::resources::{all, assert_names_exist, find, list, pods, selects, text};
use end_to_end::{once, skip, workspace};
use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

const NAMESPACE: &str = "crowdsec-edge-sync";

/// `deploy/spinkube` with a `mine/` in it, as the README has it made.
struct Installation {
    folder: TempDir,
    kubectl: Kubectl,
}

impl Installation {
    /// Copies the example, or skips the test where kubectl or the schemas cannot be had.
    fn new() -> Option<Self> {
        let kubectl = match find_schemas().and_then(|()| Kubectl::find()) {
            Ok(kubectl) => kubectl,
            Err(error) => {
                skip::for_want_of(format_args!("kubectl and Kubernetes' schemas: {error:#}"));
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        for part in ["base", "components", "example"] {
            copy(&spinkube().join(part), &folder.path().join(part));
        }
        copy(&spinkube().join("example"), &folder.path().join("mine"));
        Some(Self { folder, kubectl })
    }

    fn mine(&self, file: &str) -> PathBuf {
        self.folder.path().join("mine").join(file)
    }

    /// Replaces a part of a file of `mine/`, which must be there.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.mine(file)).unwrap();
        assert!(text.contains(from), "{file}: no {from:?}");
        std::fs::write(self.mine(file), text.replacen(from, to, 1)).unwrap();
    }

    /// The resources, after the schemas had nothing against them.
    fn resources(&self) -> Vec<Value> {
        let yaml = self.kubectl.kustomize(&self.mine("")).unwrap();
        validate(&yaml).unwrap_or_else(|error| panic!("{error:#}\n{yaml}"));
        self.built()
    }

    /// The same without the schemas, which take their time.
    fn built(&self) -> Vec<Value> {
        let resources = resources(&self.kubectl.kustomize(&self.mine("")).unwrap()).unwrap();
        assert_names_exist(&resources, &[]);
        for resource in &resources {
            match text(&resource["kind"]) {
                "Namespace" => assert_eq!(resource["metadata"]["name"], NAMESPACE),
                _ => assert_eq!(resource["metadata"]["namespace"], NAMESPACE, "{resource}"),
            }
        }
        resources
    }

    /// Puts a component before the others.
    fn add(&self, component: &str) {
        let list = "components:\n";
        self.edit("kustomization.yaml", list, &format!("{list}  - ../components/{component}\n"));
    }

    /// Takes Redis out, as the README says.
    fn without_redis(&self, instead: &str) {
        self.edit("kustomization.yaml", "  - ../components/redis\n", instead);
        self.edit("kustomization.yaml", "  - ../components/redis-server\n", "");
        let generator =
            "  - name: crowdsec-edge-sync-runtime-config\n    files: [runtime-config.toml]\n";
        self.edit("kustomization.yaml", generator, "");
        if instead.is_empty() {
            self.edit("kustomization.yaml", "components:\n", "components: []\n");
        }
    }
}

fn spinkube() -> PathBuf {
    workspace::root().join("deploy/spinkube")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn spin_manifest() -> Table {
    std::fs::read_to_string(once::manifest()).unwrap().parse().unwrap()
}

fn variables(file: &str) -> BTreeMap<String, String> {
    once::variables_of(&spinkube().join("example").join(file))
}

#[test]
fn example_built_is_what_kubernetes_takes() {
    let Some(installation) = Installation::new() else { return };
    let resources = installation.resources();
    let kinds: Vec<_> = resources.iter().map(|resource| text(&resource["kind"])).collect();
    let mut sorted = kinds.clone();
    sorted.sort_unstable();
    let expected = [
        "ConfigMap",
        "CronJob",
        "Deployment",
        "Namespace",
        "NetworkPolicy",
        "NetworkPolicy",
        "Secret",
        "Secret",
        "Service",
    ];
    assert_eq!(sorted, expected);
    let cronjob = find(&resources, "CronJob", NAMESPACE).unwrap();
    let container = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/crowdsec-edge-sync:0.1.0");
}

#[test]
fn example_without_redis_built_has_nothing_of_it() {
    let Some(installation) = Installation::new() else { return };
    installation.without_redis("");
    let yaml = installation.kubectl.kustomize(&installation.mine("")).unwrap();
    assert!(!yaml.contains("redis") && !yaml.contains("6379"), "{yaml}");
    assert_eq!(all(&installation.resources(), "Deployment").count(), 0);
}

#[test]
fn example_with_the_deployment_built_has_it_in_the_place_of_the_cronjob() {
    let Some(installation) = Installation::new() else { return };
    installation.without_redis("  - ../components/deployment\n  - ../components/state-volume\n");
    let resources = installation.resources();
    assert_eq!(all(&resources, "CronJob").count(), 0);
    let deployment = find(&resources, "Deployment", NAMESPACE).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["runtimeClassName"], Value::Null, "an ordinary container");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    // What the Dockerfile writes to.
    let mounts: BTreeSet<_> =
        list(&container["volumeMounts"]).iter().map(|mount| text(&mount["mountPath"])).collect();
    assert_eq!(mounts, BTreeSet::from(["/state", "/tmp"]));
    let volumes = list(&pod["volumes"]);
    let state = volumes.iter().find(|volume| volume["name"] == "state").unwrap();
    let expected = serde_json::json!({
        "name": "state",
        "persistentVolumeClaim": { "claimName": "crowdsec-edge-sync-state" },
    });
    assert_eq!(*state, expected, "what Spin remembers outlives the pod");
}

#[test]
fn deployment_with_redis_built_tells_spin_where_its_store_is() {
    let Some(installation) = Installation::new() else { return };
    installation.add("deployment");
    let resources = installation.resources();
    let deployment = find(&resources, "Deployment", NAMESPACE).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mounts = list(&container["volumeMounts"]);
    let config = mounts.iter().find(|mount| mount["name"] == "runtime-config").unwrap();
    let expected = serde_json::json!([
        { "name": "RUNTIME_CONFIG_FILE", "value": config["mountPath"] },
    ]);
    assert_eq!(container["env"], expected);
    // The pod's labels are those that Redis lets in.
    let redis = find(&resources, "NetworkPolicy", "crowdsec-edge-sync-redis").unwrap();
    let allowed = &redis["spec"]["ingress"][0]["from"][0]["podSelector"];
    assert!(selects(allowed, &deployment["spec"]["template"]["metadata"]["labels"]), "{allowed}");
}

/// A look from where the runs are: with their settings, their store and their way out.
#[test]
fn doctor_built_has_all_that_a_run_has_and_begins_by_itself_never() {
    let Some(installation) = Installation::new() else { return };
    for (from, to) in [
        ("  # - ../components/doctor", "  - ../components/doctor"),
        ("  # - ../components/pull-secret", "  - ../components/pull-secret"),
        ("  # - name: crowdsec-edge-sync-registry\n", "  - name: crowdsec-edge-sync-registry\n"),
        ("  #   type: kub", "    type: kub"),
        ("  #   files", "    files"),
        ("  # - name: edge-sync\n", "  - name: edge-sync\n"),
        ("  #   newName", "    newName"),
        ("  #   newTag", "    newTag"),
    ] {
        installation.edit("kustomization.yaml", from, to);
    }
    std::fs::write(installation.mine("registry.json"), "{}").unwrap();
    let resources = installation.resources();
    let of = |name: &str| &find(&resources, "CronJob", name).unwrap()["spec"];
    let (run, doctor) = (of(NAMESPACE), of("crowdsec-edge-sync-doctor"));
    assert_eq!(doctor["suspend"], true);
    let pod = |job: &'static str| {
        let job = if job == "run" { run } else { doctor };
        &job["jobTemplate"]["spec"]["template"]
    };
    let container = |job| &pod(job)["spec"]["containers"][0];
    let image = text(&container("doctor")["image"]);
    assert_eq!(image, "registry.example.com/edge-sync:0.1.0");
    assert_eq!(container("doctor")["args"], serde_json::json!(["doctor"]));
    for part in ["envFrom", "volumeMounts"] {
        assert_eq!(container("doctor")[part], container("run")[part], "{part}");
    }
    for part in ["volumes", "imagePullSecrets"] {
        assert_eq!(pod("doctor")["spec"][part], pod("run")["spec"][part], "{part}");
        assert!(pod("run")["spec"][part].is_array(), "{part}");
    }
    let mount = &container("doctor")["volumeMounts"][0];
    assert_eq!(container("doctor")["env"][0]["value"], mount["mountPath"]);
    // The way out, and to Redis; and in nobody's way.
    let labels = &pod("doctor")["metadata"]["labels"];
    let policy = find(&resources, "NetworkPolicy", NAMESPACE).unwrap();
    assert!(selects(&policy["spec"]["podSelector"], labels));
    let redis = find(&resources, "NetworkPolicy", "crowdsec-edge-sync-redis").unwrap();
    assert!(selects(&redis["spec"]["ingress"][0]["from"][0]["podSelector"], labels));
    for pod in
        pods(&resources).iter().filter(|one| one["spec"]["containers"][0]["name"] == "doctor")
    {
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        let context = &pod["spec"]["containers"][0]["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

/// A pod that stays has the settings of its start; only another pod has new ones.
#[test]
fn setting_or_secret_changed_is_another_pod() {
    let Some(installation) = Installation::new() else { return };
    installation.add("deployment");
    let pod = || {
        let resources = installation.built();
        find(&resources, "Deployment", NAMESPACE).unwrap()["spec"]["template"].clone()
    };
    let before = pod();
    assert_eq!(pod(), before);
    installation.edit("settings.env", "DRY_RUN=true", "DRY_RUN=false");
    let with_setting = pod();
    assert_ne!(with_setting, before);
    installation.edit("secret.env", "API_TOKEN=", "API_TOKEN=another");
    let with_secret = pod();
    assert_ne!(with_secret, with_setting);
    installation.edit("runtime-config.toml", ":6379", ":6380");
    assert_ne!(pod(), with_secret);
}

/// Names that change leave the old ones behind; the README's `kubectl apply --prune` looks for a label.
#[test]
fn everything_built_has_the_label_by_which_what_is_left_behind_is_found() {
    let Some(installation) = Installation::new() else { return };
    let readme = std::fs::read_to_string(spinkube().join("README.md")).unwrap();
    let label = "app.kubernetes.io/name";
    assert!(readme.contains(&format!("--prune -l {label}={NAMESPACE} ")));
    for resource in installation.resources() {
        assert_eq!(resource["metadata"]["labels"][label], NAMESPACE, "{resource}");
    }
}

#[test]
fn registry_with_a_password_built_has_its_secret_before_the_first_pod() {
    let Some(installation) = Installation::new() else { return };
    installation.edit(
        "kustomization.yaml",
        "  # - ../components/pull-secret",
        "  - ../components/pull-secret",
    );
    let generator = [
        "- name: crowdsec-edge-sync-registry\n",
        "  type: kubernetes.io/dockerconfigjson\n",
        "  files: [.dockerconfigjson=registry.json]\n",
    ];
    let remarks: String = generator.iter().map(|line| format!("  # {line}")).collect();
    let lines: String = generator.iter().map(|line| format!("  {line}")).collect();
    installation.edit("kustomization.yaml", &remarks, &lines);
    std::fs::write(installation.mine("registry.json"), r#"{"auths":{}}"#).unwrap();
    for kind in ["CronJob", "Deployment"] {
        if kind == "Deployment" {
            installation.add("deployment");
        }
        // That the names exist is checked for all resources.
        let resources = installation.resources();
        let pods = pods(&resources).into_iter().map(|pod| &pod["spec"]);
        let with: Vec<_> = pods.filter(|pod| pod.get("imagePullSecrets").is_some()).collect();
        assert_eq!(with.len(), 1, "{kind}, and not Redis, whose image is public");
        assert_eq!(with[0]["containers"][0]["name"], "sync");
    }
}

#[test]
fn dockerfile_puts_the_component_where_the_manifest_looks_for_it() {
    let path = spinkube().join("components/deployment/Dockerfile");
    let dockerfile = std::fs::read_to_string(path).unwrap();
    let manifest: Table = std::fs::read_to_string(workspace::manifest()).unwrap().parse().unwrap();
    let source = manifest["component"]["crowdsec-edge-sync"]["source"].as_str().unwrap();
    let (folder, _) = source.rsplit_once('/').unwrap();
    assert!(dockerfile.contains(&format!("COPY {source} {folder}/\n")), "{source}");
    assert!(dockerfile.contains("COPY spin.toml ./\n"));
}

/// Kustomize refuses a name that stands in a file twice.
#[test]
fn lines_of_terraform_appended_as_its_readme_has_it_are_settings() {
    let Some(installation) = Installation::new() else { return };
    let terraform = workspace::root().join("deploy/terraform/README.md");
    let terraform = std::fs::read_to_string(terraform).unwrap();
    let sed = terraform.lines().find(|line| line.starts_with("sed -i ")).unwrap();
    let sed = sed.replace("deploy/spinkube/", "");
    let mut shell = Command::new("sh");
    let status = shell.args(["-euc", &sed]).current_dir(installation.folder.path()).status();
    assert!(status.unwrap().success());
    let lines = [
        (
            "settings.env",
            ["CF_ACCOUNT_ID", "CF_BAN_LIST_ID", "CF_CAPTCHA_LIST_ID", "CF_KV_NAMESPACE_ID"]
                .as_slice(),
        ),
        ("secret.env", ["CF_API_TOKEN"].as_slice()),
    ];
    for (file, names) in lines {
        let mut text = std::fs::read_to_string(installation.mine(file)).unwrap();
        text.extend(names.iter().map(|name| format!("SPIN_VARIABLE_{name}=made\n")));
        std::fs::write(installation.mine(file), text).unwrap();
    }
    let resources = installation.resources();
    let settings = all(&resources, "ConfigMap").next().unwrap();
    assert_eq!(settings["data"]["SPIN_VARIABLE_CF_ACCOUNT_ID"], "made");
    assert_eq!(settings["data"]["SPIN_VARIABLE_DRY_RUN"], "true", "the others stay");
}

#[test]
fn secret_not_made_kustomize_names_the_file() {
    let Some(installation) = Installation::new() else { return };
    std::fs::remove_file(installation.mine("secret.env")).unwrap();
    let error = installation.kubectl.kustomize(&installation.mine("")).unwrap_err();
    assert!(error.to_string().contains("secret.env"), "{error}");
}

/// The field that schemas would let through in silence is the one that is spelled wrong.
#[test]
fn field_misspelled_is_refused() {
    let Some(installation) = Installation::new() else { return };
    let yaml = installation.kubectl.kustomize(&installation.mine("")).unwrap();
    let error = validate(&yaml.replace("backoffLimit:", "backOffLimit:")).unwrap_err();
    assert!(error.to_string().contains("backOffLimit"), "{error}");
}

/// The seconds that a run has, and those after which Kubernetes ends its Job.
fn budget_and_deadline(cronjob: &Value) -> (u64, u64) {
    let job = &cronjob["jobTemplate"]["spec"];
    let variables = list(&job["template"]["spec"]["containers"][0]["env"]);
    let name = once::variable("run_budget_seconds");
    let budget = variables.iter().find(|variable| variable["name"] == name).expect(&name);
    let budget = text(&budget["value"]).parse().expect("seconds");
    (budget, job["activeDeadlineSeconds"].as_u64().expect("seconds"))
}

#[test]
fn budget_patched_as_the_readme_has_it_takes_the_deadline_and_the_schedule_with_it() {
    let Some(installation) = Installation::new() else { return };
    let readme = std::fs::read_to_string(spinkube().join("README.md")).unwrap();
    let (_, patch) = readme.split_once("```yaml\npatches:\n").unwrap();
    let (patch, _) = patch.split_once("```").unwrap();
    installation.edit("kustomization.yaml", "images:\n", &format!("patches:\n{patch}images:\n"));
    let resources = installation.resources();
    let cronjob = &find(&resources, "CronJob", NAMESPACE).unwrap()["spec"];
    assert_eq!(budget_and_deadline(cronjob), (250, 290));
    assert_eq!(cronjob["schedule"], "*/5 * * * *");
}

#[test]
fn cronjob_fits_the_component_and_leaves_a_pod_nothing_that_it_can_do_without() {
    let Some(installation) = Installation::new() else { return };
    let resources = installation.resources();
    let cronjob = &find(&resources, "CronJob", NAMESPACE).unwrap()["spec"];
    // The same schedule as the cron trigger's, which has a field for seconds before it.
    let spin: Table = std::fs::read_to_string(workspace::manifest()).unwrap().parse().unwrap();
    let expression = spin["trigger"]["cron"][0]["cron_expression"].as_str().unwrap();
    assert_eq!(expression.strip_prefix("0 "), cronjob["schedule"].as_str());
    assert_eq!(cronjob["concurrencyPolicy"], "Forbid");
    // Below ten seconds, the controller's own rhythm makes it miss runs.
    assert!(cronjob["startingDeadlineSeconds"].as_u64().unwrap() >= 10);
    assert!(cronjob["failedJobsHistoryLimit"].as_u64().unwrap() >= 1, "failures can be looked at");

    let job = &cronjob["jobTemplate"]["spec"];
    assert_eq!(job["backoffLimit"], 0);
    assert!(job["ttlSecondsAfterFinished"].is_u64());
    let pod = &job["template"]["spec"];
    let default = &spin["variables"]["run_budget_seconds"]["default"];
    let (budget, deadline) = budget_and_deadline(cronjob);
    assert_eq!(default.as_str(), Some(budget.to_string().as_str()));
    assert_eq!(deadline, budget + 40);
    let name = once::variable("run_budget_seconds");
    assert!(!variables("settings.env").contains_key(&name), "it has no effect there");

    assert_eq!(pod["runtimeClassName"], "wasmtime-spin-v2");
    assert_eq!(pod["restartPolicy"], "Never");
    let container = &pod["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["/"]));
    assert!(container["resources"]["requests"]["memory"].is_string());
}

#[test]
fn pods_have_no_privilege_and_no_access_to_kubernetes() {
    let Some(installation) = Installation::new() else { return };
    let resources = installation.resources();
    let pods = pods(&resources);
    assert_eq!(pods.len(), 2);
    for pod in pods.into_iter().map(|pod| &pod["spec"]) {
        assert_eq!(pod["automountServiceAccountToken"], false, "{pod}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{pod}");
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[key], Value::Null, "{pod}");
        }
        for container in list(&pod["containers"]) {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(
                context["capabilities"],
                serde_json::json!({ "drop": ["ALL"] }),
                "{container}"
            );
            assert_ne!(context["privileged"], true, "{container}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
            // User 0 only where the shim must write to the root.
            let is_shim = pod["runtimeClassName"].is_string();
            let is_ordinary = pod["securityContext"]["runAsNonRoot"] == true
                && context["readOnlyRootFilesystem"] == true;
            assert_eq!(is_ordinary, !is_shim, "{container}");
        }
    }
}

/// Whether a policy lets its pods out to a port of a namespace.
fn allows(policy: &Value, namespace: &str, port: u64) -> bool {
    list(&policy["spec"]["egress"]).iter().any(|rule| {
        let to = list(&rule["to"]).iter().any(|peer| {
            peer.get("namespaceSelector").is_some_and(|selector| {
                let label = &selector["matchLabels"]["kubernetes.io/metadata.name"];
                label.is_null() || label == namespace
            })
        });
        to && list(&rule["ports"]).iter().any(|one| one["port"] == port)
    })
}

#[test]
fn network_policy_lets_out_to_what_the_settings_name_and_lets_nothing_in() {
    let Some(installation) = Installation::new() else { return };
    let resources = installation.resources();
    let policy = find(&resources, "NetworkPolicy", NAMESPACE).unwrap();
    assert_eq!(policy["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
    assert_eq!(list(&policy["spec"]["ingress"]), [] as [Value; 0]);
    // The default of lapi_url: http://<service>.<namespace>.svc.cluster.local:<port>.
    let manifest = spin_manifest();
    let lapi = manifest["variables"]["lapi_url"]["default"].as_str().unwrap();
    assert_eq!(variables("settings.env")["SPIN_VARIABLE_LAPI_URL"], lapi);
    let (host, port) = lapi.strip_prefix("http://").unwrap().rsplit_once(':').unwrap();
    let namespace = host.split('.').nth(1).unwrap();
    let port: u64 = port.parse().unwrap();
    assert!(allows(policy, namespace, port), "{lapi}");
    assert!(!allows(policy, "another", port), "{port} in that namespace only");
    assert!(allows(policy, "monitoring", 9091), "the Pushgateway");
    assert!(allows(policy, NAMESPACE, 6379), "Redis");
    assert!(allows(policy, "kube-system", 53), "names");
    assert!(!allows(policy, "kube-system", 443), "Kubernetes itself");
    let public = list(&policy["spec"]["egress"]).iter().flat_map(|rule| {
        let blocks = list(&rule["to"]).iter().filter_map(|peer| peer.get("ipBlock"));
        blocks.map(move |block| (text(&block["cidr"]), list(&block["except"]), &rule["ports"]))
    });
    for (cidr, except, ports) in public.filter(|(cidr, _, _)| cidr.ends_with("/0")) {
        assert!(!except.is_empty(), "{cidr} without the private ranges");
        assert_eq!(list(ports).len(), 1, "{cidr}");
        assert_eq!(ports[0]["port"], 443, "{cidr}");
    }
}

#[test]
fn runtime_configuration_is_where_the_shim_looks_and_names_the_redis_beside_it() {
    let Some(installation) = Installation::new() else { return };
    let resources = installation.resources();
    let cronjob = find(&resources, "CronJob", NAMESPACE).unwrap();
    let pod = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let mount = &list(&pod["containers"][0]["volumeMounts"])[0];
    assert_eq!(mount["mountPath"], "/runtime-config.toml");
    let key = text(&mount["subPath"]);
    let secret =
        find(&resources, "Secret", text(&pod["volumes"][0]["secret"]["secretName"])).unwrap();
    assert!(secret["data"][key].is_string(), "the secret has {key}");

    let config = std::fs::read_to_string(installation.mine("runtime-config.toml")).unwrap();
    let config: Table = config.parse().unwrap();
    let stores = config["key_value_store"].as_table().unwrap();
    let manifest = spin_manifest();
    let declared =
        manifest["component"]["crowdsec-edge-sync"]["key_value_stores"].as_array().unwrap();
    let declared: Vec<_> = declared.iter().filter_map(toml::Value::as_str).collect();
    assert_eq!(stores.keys().map(String::as_str).collect::<Vec<_>>(), declared);
    let store = &stores["default"];
    assert_eq!(store["type"].as_str(), Some("redis"));
    let service = all(&resources, "Service").next().unwrap();
    let expected = format!(
        "redis://{}.{NAMESPACE}.svc.cluster.local:{}",
        text(&service["metadata"]["name"]),
        service["spec"]["ports"][0]["port"]
    );
    assert_eq!(store["url"].as_str(), Some(expected.as_str()));
}

#[test]
fn settings_of_the_example_are_variables_of_the_application_and_its_secrets_are_empty() {
    let (settings, secrets) = (variables("settings.env"), variables("secret.env"));
    assert!(secrets.keys().all(|name| !settings.contains_key(name)), "a secret among the settings");
    let secret: BTreeSet<_> = once::secret_variables().into_iter().collect();
    assert_eq!(secrets.keys().cloned().collect::<BTreeSet<_>>(), secret);
    once::assert_is_example(&settings.into_iter().chain(secrets).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn example_not_filled_in_fails_the_run_and_names_what_is_missing() {
    let environment = variables("settings.env").into_iter().chain(variables("secret.env"));
    let run = once::run(env!("CARGO_BIN_EXE_once"), environment, &once::manifest()).await;
    assert_eq!(run.exit_code, Some(1), "{run:?}");
    for name in ["lapi_key", "cf_api_token", "cf_account_id", "cf_ban_list_id"] {
        assert!(run.stdout.contains(name), "{name}: {}", run.stdout);
    }
}

#[test]
fn installation_of_ones_own_is_not_committed() {
    let mut git = Command::new("git");
    git.current_dir(spinkube()).args(["check-ignore", "--no-index", "mine/secret.env"]);
    match git.output() {
        Ok(output) if output.status.code() == Some(128) => {
            skip::say("SKIPPED: this is not a git repository");
        }
        Ok(output) => assert!(output.status.success(), "mine/secret.env would be committed"),
        Err(error) => skip::for_want_of(format_args!("git: {error}")),
    }
}
