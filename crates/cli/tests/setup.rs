//! `edge-sync setup` against the simulated Cloudflare over HTTP: what is made, what is left alone, what a
//! killed run leaves behind, and what a removal takes away.

use std::process::{Command, Output};
use std::sync::{MutexGuard, PoisonError};

use edge_sync_core::api::cloudflare::Account as CloudflareAccount;
use edge_sync_core::settings::Settings;

use edge_sync::setup::{
    Applied, BAN_LIST, CAPTCHA_LIST, Client, NAMESPACE, Plan, Wish, apply, observe, plan,
    plan_removal,
};
use simulator::front::{Ports, Running, serve};
use simulator::options::Permission;
use simulator::{CloudflareOptions, Options, RuleView, Service, Simulator};

const BAN: &str = "crowdsec_edge_sync_ban";
const CAPTCHA: &str = "crowdsec_edge_sync_captcha";

/// Waits for `call` while another thread lets the simulator answer.
fn wait<T>(call: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(call))
}

/// An account with the zone example.com, and what is wished for it.
struct Account {
    running: Running,
    access: [(&'static str, String); 3],
    zone: String,
    wish: Wish,
}

impl Account {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut CloudflareOptions)) -> Self {
        let mut options = Options::default();
        options.cloudflare.waf_own_ref_prefix = "crowdsec_edge_sync_".to_owned();
        change(&mut options.cloudflare);
        let cloudflare = options.cloudflare.clone();
        let mut simulator = Simulator::new(options);
        let zone = simulator.cloudflare().create_zone("example.com");
        let running = serve(simulator.shared(), Ports::default()).await.expect("loopback ports");
        let access = [
            ("cf_api_url", running.url(Service::Cloudflare)),
            ("cf_account_id", cloudflare.account_id),
            ("cf_api_token", cloudflare.api_token),
        ];
        let mut wish = Wish::new(BAN_LIST, Some(CAPTCHA_LIST)).unwrap();
        (wish.namespace, wish.zones) = (true, vec!["example.com".to_owned()]);
        Self { running, access, zone, wish }
    }

    fn simulator(&self) -> MutexGuard<'_, Simulator> {
        self.running.world().lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Client {
        let value = |name: &str| match name {
            "lapi_url" => Some("http://lapi.invalid".to_owned()),
            "lapi_key" => Some("none".to_owned()),
            "cf_ban_list_id" => Some("0".repeat(32)),
            name => self.access.iter().find(|(of, _)| *of == name).map(|(_, value)| value.clone()),
        };
        let settings = Settings::parse(value, std::time::SystemTime::now()).unwrap();
        let account = CloudflareAccount::new(settings.cloudflare, settings.account, settings.token);
        Client::new(account, spin_app::ClientTls::default())
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let client = self.client();
        wait(async { plan(&self.wish, &observe(&client, &self.wish, None).await?) })
    }

    fn removal(&self) -> anyhow::Result<Plan> {
        let client = self.client();
        wait(async {
            Ok(plan_removal(&self.wish, &observe(&client, &self.wish, Some("ip:")).await?))
        })
    }

    fn apply(&self, plan: &Plan) -> anyhow::Result<Applied> {
        let client = self.client();
        wait(apply(&client, plan, |_| {}))
    }

    fn set_up(&self) -> anyhow::Result<Applied> {
        self.apply(&self.plan()?)
    }

    fn remove(&self) -> anyhow::Result<Applied> {
        self.apply(&self.removal()?)
    }

    fn add_foreign_rule(&self, expression: &str) -> String {
        self.simulator().cloudflare().add_rule(&self.zone, "skip", expression)
    }

    fn rules(&self) -> Vec<RuleView> {
        self.simulator().cloudflare().rules(&self.zone).unwrap_or_default()
    }

    fn references(&self) -> Vec<String> {
        self.rules().into_iter().map(|rule| rule.reference).collect()
    }

    /// Everything that setup is about, without the ids that differ each time.
    fn state(&self) -> String {
        let mut simulator = self.simulator();
        let cloudflare = simulator.cloudflare();
        let names = |pairs: Vec<(String, String)>| -> Vec<String> {
            pairs.into_iter().map(|(_, name)| name).collect()
        };
        let rules = cloudflare.rules(&self.zone).map(|rules| {
            let text = |rule: RuleView| {
                let RuleView { reference, expression, action, enabled, .. } = rule;
                format!("{reference} {expression} {action} {enabled}")
            };
            rules.into_iter().map(text).collect::<Vec<_>>()
        });
        let (lists, namespaces) = (names(cloudflare.lists()), names(cloudflare.namespaces()));
        format!("{lists:?} {namespaces:?} {rules:?}")
    }

    /// The requests since the last time, as `POST /path`.
    fn requests(&self) -> Vec<String> {
        let mut simulator = self.simulator();
        let requests = simulator.journal().iter();
        let requests = requests.map(|entry| format!("{} {}", entry.method, entry.target)).collect();
        assert_eq!(simulator.violations(), [""; 0], "setup breaks no rule of the API");
        simulator.reset_records();
        requests
    }

    fn writes(&self) -> usize {
        self.requests().iter().filter(|request| !request.starts_with("GET ")).count()
    }

    /// The program itself.
    fn tool(&self, arguments: &[&str]) -> Output {
        self.tool_with(arguments, &[])
    }

    /// The same with more variables.
    fn tool_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        let run =
            || {
                Command::new(env!("CARGO_BIN_EXE_edge-sync"))
                    .arg("setup")
                    .args(arguments)
                    .envs(self.access.iter().map(|(name, value)| {
                        (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value)
                    }))
                    .envs(more.iter().copied())
                    .output()
                    .unwrap()
            };
        let output = tokio::task::block_in_place(run);
        for text in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(text).contains(&self.access[2].1), "no secret");
        }
        output
    }
}

fn text(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_account_set_up_has_everything_and_the_second_run_finds_nothing_to_do() {
    let account = Account::new().await;
    account.set_up().unwrap();
    assert_eq!(account.writes(), 4, "two lists, a namespace, a ruleset");
    assert_eq!(
        account.state(),
        "[\"crowdsec_ban\", \"crowdsec_captcha\"] [\"crowdsec-edge-sync\"] \
         Some([\"crowdsec_edge_sync_ban (ip.src in $crowdsec_ban) block true\", \
         \"crowdsec_edge_sync_captcha (ip.src in $crowdsec_captcha) managed_challenge true\"])"
    );
    let second = account.plan().unwrap();
    assert_eq!(second.steps().count(), 0, "{second}");
    account.apply(&second).unwrap();
    assert_eq!(account.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_rules_keep_id_order_and_definition() {
    let account = Account::new().await;
    account.add_foreign_rule("ip.src eq 192.0.2.1");
    account.add_foreign_rule("http.host eq \"a\"");
    let before = account.rules();
    account.set_up().unwrap();
    let after = account.rules();
    assert_eq!(after[..2], before, "in their places, before ours");
    assert_eq!(account.references()[2..], [BAN, CAPTCHA]);
    // Later rules of the owner stay behind ours.
    account.add_foreign_rule("http.host eq \"b\"");
    account.requests();
    account.set_up().unwrap();
    assert_eq!(account.writes(), 0);
    account.remove().unwrap();
    assert_eq!(account.rules().len(), 3);
    assert_eq!(account.rules()[..2], before);
    assert_eq!(account.requests().iter().filter(|request| request.starts_with("PUT")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_ours_is_mended_without_overtaking_the_owners_rules() {
    let account = Account::new().await;
    account.set_up().unwrap();
    let middle = account.add_foreign_rule("http.host eq \"a\"");
    account.simulator().cloudflare().move_rule_to_end(&account.zone, BAN);
    let last = account.add_foreign_rule("http.host eq \"b\"");
    assert_eq!(account.references(), [CAPTCHA, &middle, BAN, &last]);
    account.requests();
    account.set_up().unwrap();
    assert_eq!(account.references(), [middle.as_str(), BAN, CAPTCHA, &last]);
    assert_eq!(account.writes(), 1);

    // The block is gone: it comes back at the end, and the challenge follows it.
    let gone = |rule: &mut RuleView| rule.reference = "renamed by hand".to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, gone);
    account.set_up().unwrap();
    let expected = [middle.as_str(), "renamed by hand", &last, BAN, CAPTCHA];
    assert_eq!(account.references(), expected);
    assert_eq!(account.plan().unwrap().steps().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_changed_by_hand_is_corrected_with_its_page_and_one_switched_off_stays_off() {
    let account = Account::new().await;
    account.set_up().unwrap();
    let page = serde_json::json!({ "response": {
        "status_code": 403, "content": "no", "content_type": "text/plain",
    }});
    let edit = |rule: &mut RuleView| {
        rule.expression = "(ip.src in $crowdsec_ban and http.host eq \"x\")".to_owned();
        rule.extra.insert("action_parameters".to_owned(), page.clone());
        rule.enabled = false;
    };
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, edit);
    account.set_up().unwrap();
    let ban = account.rules().remove(0);
    assert_eq!((ban.expression.as_str(), ban.enabled), ("(ip.src in $crowdsec_ban)", false));
    assert_eq!(ban.extra["action_parameters"], page);
    let plan = account.plan().unwrap();
    assert_eq!(plan.steps().count(), 0);
    assert!(plan.to_string().contains("is switched off and stays so"), "{plan}");
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_a_run_changes_while_the_plan_is_read_is_not_touched_and_said() {
    let account = Account::new().await;
    account.set_up().unwrap();
    let by_hand = |rule: &mut RuleView| rule.action = "log".to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, by_hand);
    let plan = account.plan().unwrap();
    let by_a_run = |rule: &mut RuleView| rule.expression = DELTA.to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, by_a_run);
    let error = format!("{:#}", account.apply(&plan).unwrap_err());
    assert!(error.contains("it was changed meanwhile") && error.contains("run again"), "{error}");
    assert_eq!(account.rules()[0].expression, DELTA);
    account.set_up().unwrap();
    let ban = account.rules().remove(0);
    assert_eq!((ban.expression.as_str(), ban.action.as_str()), (DELTA, "block"));
    account.requests();
}

/// What a run has put on top of the list of bans.
const DELTA: &str =
    "(ip.src in $crowdsec_ban and not ip.src in {192.0.2.1}) or ip.src in {192.0.2.7}";

#[tokio::test(flavor = "multi_thread")]
async fn delta_of_the_runs_outlives_every_change_of_its_rule_but_that_of_its_list() {
    let mut account = Account::new().await;
    account.set_up().unwrap();
    let edit = |rule: &mut RuleView| rule.expression = DELTA.to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, edit);
    account.requests();
    let plan = account.plan().unwrap();
    assert!(plan.to_string().contains("= rule crowdsec_edge_sync_ban, with its delta"), "{plan}");
    account.apply(&plan).unwrap();
    assert_eq!(account.writes(), 0);

    // Another action, another order: both are mended, and the expression is sent as it was read.
    let edit = |rule: &mut RuleView| rule.action = "log".to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, BAN, edit);
    account.simulator().cloudflare().move_rule_to_end(&account.zone, BAN);
    account.requests();
    account.set_up().unwrap();
    assert_eq!(account.writes(), 2);
    assert_eq!(account.references(), [BAN, CAPTCHA]);
    let ban = account.rules().remove(0);
    assert_eq!((ban.expression.as_str(), ban.action.as_str()), (DELTA, "block"));
    // A rule that is added beside it does not touch it either.
    let gone = |rule: &mut RuleView| rule.reference = "renamed by hand".to_owned();
    account.simulator().cloudflare().edit_rule(&account.zone, CAPTCHA, gone);
    account.set_up().unwrap();
    assert_eq!(account.rules().remove(0).expression, DELTA);

    // Bans are now to be on another list: the delta was on top of the first.
    let zones = account.wish.zones.clone();
    account.wish = Wish::new("other_list", Some(CAPTCHA_LIST)).unwrap();
    account.wish.zones = zones;
    let plan = account.plan().unwrap();
    assert!(plan.to_string().contains("; drops its delta (1 fresh, 1 lifted)"), "{plan}");
    account.apply(&plan).unwrap();
    assert_eq!(account.rules().remove(0).expression, "(ip.src in $other_list)");
    assert_eq!(account.plan().unwrap().steps().count(), 0);
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn list_that_is_there_is_used_and_not_removed() {
    let account = Account::new().await;
    account.simulator().cloudflare().create_list(BAN_LIST);
    account.set_up().unwrap();
    assert!(account.plan().unwrap().to_string().contains("(not made by setup"));
    account.remove().unwrap();
    assert_eq!(account.state(), "[\"crowdsec_ban\"] [] None");
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn free_plan_refuses_the_second_list_and_ban_only_goes_on() {
    let mut account = Account::with(|options| {
        options.lists_max = 1;
        options.waf_rules_max = 5;
    })
    .await;
    let error = text(&account.set_up().unwrap_err());
    assert!(error.contains("+ list crowdsec_captcha; if the account has no room"), "{error}");
    assert!(error.contains("use --ban-only"), "{error}");
    let zones = account.wish.zones.clone();
    account.wish = Wish::new(BAN_LIST, None).unwrap();
    account.wish.zones = zones;
    account.set_up().unwrap();
    assert_eq!(account.references(), [BAN]);
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn zone_full_of_rules_says_so() {
    let account = Account::with(|options| options.waf_rules_max = 2).await;
    account.add_foreign_rule("http.host eq \"a\"");
    account.add_foreign_rule("http.host eq \"b\"");
    let error = text(&account.set_up().unwrap_err());
    assert!(error.contains("five custom rules"), "{error}");
    assert_eq!(account.rules().len(), 2);
    account.requests();
}

/// Runs, killed at each of its requests in turn, and again; that must end where an unharmed run does.
/// `check` sees the error of the killed one.
async fn killed_anywhere(
    prepare: fn(&Account),
    run: fn(&Account) -> anyhow::Result<Applied>,
    check: fn(&str),
) {
    let unharmed = Account::new().await;
    prepare(&unharmed);
    unharmed.requests();
    run(&unharmed).unwrap();
    let count = unharmed.requests().len();
    assert!(count >= 5, "{count} requests");
    for fault in ["drop-before-effect", "drop-after-effect"] {
        for at in 0..count {
            let account = Account::new().await;
            prepare(&account);
            let fault = format!("cloudflare skip={at} times=1: {fault}");
            account.simulator().inject(fault.parse().unwrap());
            check(&text(&run(&account).expect_err(&fault)));
            run(&account).unwrap();
            assert_eq!(account.state(), unharmed.state(), "{fault}");
            account.requests();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_up_killed_at_each_request_and_run_again_converges() {
    let says_whether_it_may_have_happened = |error: &str| {
        let was_a_read = error.contains("no answer to GET");
        assert_eq!(error.starts_with("could not confirm: +"), !was_a_read, "{error}");
        assert_eq!(error.starts_with("failed to read"), was_a_read, "{error}");
    };
    killed_anywhere(|_| {}, Account::set_up, says_whether_it_may_have_happened).await;
    let with_a_rule = |account: &Account| drop(account.add_foreign_rule("http.host eq \"a\""));
    killed_anywhere(with_a_rule, Account::set_up, says_whether_it_may_have_happened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_killed_at_each_request_and_run_again_converges() {
    let set_up = |account: &Account| drop(account.set_up().unwrap());
    killed_anywhere(set_up, Account::remove, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_undoes_exactly_what_was_made() {
    let account = Account::new().await;
    {
        let mut simulator = account.simulator();
        let cloudflare = simulator.cloudflare();
        cloudflare.create_list("own_list");
        cloudflare.create_namespace("own namespace");
    }
    let before = account.state();
    account.set_up().unwrap();
    let (list, namespace) = {
        let mut simulator = account.simulator();
        (
            simulator.cloudflare().lists()[1].0.clone(),
            simulator.cloudflare().namespaces()[1].0.clone(),
        )
    };
    account.simulator().cloudflare().preload(&list, ["192.0.2.1", "192.0.2.2"]);
    account.simulator().cloudflare().kv_put(&namespace, "ip:192.0.2.1", "ban", None, None);
    account.requests();
    let plan = account.removal().unwrap();
    assert!(plan.to_string().contains("- list crowdsec_ban with 2 items"), "{plan}");
    assert_eq!(account.writes(), 0, "a plan changes nothing");
    account.apply(&plan).unwrap();
    assert_eq!(account.state(), before);
    assert_eq!(account.removal().unwrap().steps().count(), 0);
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn list_that_another_rule_uses_stays_and_the_reason_is_said() {
    // In the same zone, in another zone, and where no rule shows it.
    let account = Account::new().await;
    account.set_up().unwrap();
    account.add_foreign_rule("ip.src in $crowdsec_ban");
    let plan = account.removal().unwrap();
    assert!(plan.to_string().contains("! list crowdsec_ban stays: rule"), "{plan}");
    assert!(account.apply(&plan).unwrap().left.is_empty());
    assert!(account.state().starts_with("[\"crowdsec_ban\"] [] Some"), "{}", account.state());

    let account = Account::new().await;
    account.set_up().unwrap();
    let other = account.simulator().cloudflare().create_zone("example.org");
    account.simulator().cloudflare().add_rule(&other, "log", "ip.src in $crowdsec_captcha");
    let plan = account.removal().unwrap();
    assert!(plan.to_string().contains("1 of its 2 rules are in zones"), "{plan}");

    // Cloudflare's count comes late, or another product uses the list.
    let account = Account::new().await;
    account.set_up().unwrap();
    let plan = account.removal().unwrap();
    let list = account.simulator().cloudflare().lists()[0].0.clone();
    account.simulator().cloudflare().set_referencing_filters(&list, 1);
    let left = account.apply(&plan).unwrap().left;
    assert!(left[0].contains("list crowdsec_ban stays") && left[0].contains("10031"), "{left:?}");
    assert_eq!(account.state(), "[\"crowdsec_ban\"] [] None", "everything else is gone");
    account.requests();
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_with_other_keys_stays() {
    let account = Account::new().await;
    account.set_up().unwrap();
    let namespace = account.simulator().cloudflare().namespaces()[0].0.clone();
    account.simulator().cloudflare().kv_put(&namespace, "zzz", "precious", None, None);
    let plan = account.removal().unwrap();
    assert!(plan.to_string().contains("it holds the key \"zzz\""), "{plan}");
    account.apply(&plan).unwrap();
    assert!(account.state().contains(NAMESPACE));
    account.requests();
}

/// A prefix of nothing would make every key ours, other people's too.
#[tokio::test(flavor = "multi_thread")]
async fn key_prefix_set_to_nothing_is_the_default_when_everything_is_removed() {
    let nothing = [("SPIN_VARIABLE_KV_KEY_PREFIX", "")];
    for (key, is_ours) in [("zzz", false), ("ip:203.0.113.7", true), ("ip:s16:0", true)] {
        let account = Account::new().await;
        account.set_up().unwrap();
        let namespace = account.simulator().cloudflare().namespaces()[0].0.clone();
        account.simulator().cloudflare().kv_put(&namespace, key, "ban", None, None);
        let removed =
            account.tool_with(&["--kv", "--remove", "--apply", "--zone", &account.zone], &nothing);
        assert!(removed.status.success(), "{key}: {removed:?}");
        assert_eq!(account.state().contains(NAMESPACE), !is_ours, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_missing_is_named() {
    type Change = fn(&mut CloudflareOptions);
    let cases: [(Change, &str); 4] = [
        (|options| options.permission = Permission::None, "Account Rule Lists Write"),
        (|options| options.kv_permission = Permission::None, "Workers KV Storage Write"),
        (|options| options.waf_permission = Permission::Read, "Zone WAF Write"),
        (|options| options.zone_permission = Permission::None, "name the zone by its id"),
    ];
    for (change, permission) in cases {
        let account = Account::with(change).await;
        let error = text(&account.set_up().unwrap_err());
        assert!(error.contains(permission), "{error}");
    }
    let mut account = Account::new().await;
    account.wish.zones = vec!["example.net".to_owned()];
    let error = text(&account.plan().unwrap_err());
    assert!(error.contains("failed to read zone example.net"), "{error}");
    account.wish.zones = vec![account.zone.clone(), "example.com".to_owned()];
    account.set_up().unwrap();
    assert_eq!(account.references(), [BAN, CAPTCHA], "one zone, named twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_that_is_not_the_apis_is_shown_as_such() {
    for (fault, says) in [
        ("cloudflare: answer 502 <html> bad gateway", "502"),
        ("cloudflare: answer 429 slow down", "run again"),
        (
            "cloudflare: answer 200 {\"success\":false,\"errors\":[{\"code\":7,\"message\":\"m\"}]}",
            ": 7 m",
        ),
    ] {
        let account = Account::new().await;
        account.simulator().inject(fault.parse().unwrap());
        let error = text(&account.plan().unwrap_err());
        assert!(error.contains(says), "{error}");
    }
    // The client speaks TLS: a server that does not is no reason to send the token in the clear.
    let mut account = Account::new().await;
    account.access[0].1 = account.access[0].1.replace("http://", "https://");
    let error = text(&account.plan().unwrap_err());
    assert!(error.contains("no answer to GET"), "{error}");
    assert_eq!(account.requests(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn program_shows_first_does_when_told_and_prints_the_settings() {
    let account = Account::new().await;
    let output = |arguments: &[&str]| {
        let output = account.tool(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let dry = output(&["--zone", "example.com"]);
    assert!(dry.contains("+ list crowdsec_ban\n"), "{dry}");
    assert!(dry.contains("nothing was changed: run again with --apply"), "{dry}");
    assert!(dry.contains("# SPIN_VARIABLE_CF_BAN_LIST_ID: known after --apply"), "{dry}");
    assert_eq!(account.writes(), 0);

    let applied = output(&["--zone", "example.com", "--apply"]);
    let ids: Vec<String> =
        account.simulator().cloudflare().lists().into_iter().map(|l| l.0).collect();
    let settings = format!(
        "all done\nexport SPIN_VARIABLE_CF_BAN_LIST_ID={}\nexport SPIN_VARIABLE_CF_CAPTCHA_LIST_ID={}\n",
        ids[0], ids[1]
    );
    let optional = format!(
        "# optional: with it the rules of these zones say what the lists lack, so that a\n\
         # change is in force within one run, also while the lists cannot be written; the\n\
         # runs' token then needs the permission Zone > Zone WAF > Edit (in the API: Zone\n\
         # WAF Write) on them for good\n\
         # export SPIN_VARIABLE_CF_RULES_ZONES={}\n",
        account.zone
    );
    assert!(applied.ends_with(&(settings.clone() + &optional)), "{applied}");

    let env = output(&["--zone", "example.com", "--format", "env"]);
    assert!(
        env.ends_with(
            &(settings.replace("all done", "nothing to do") + &optional).replace("export ", "")
        ),
        "{env}"
    );
    // The settings can be pasted into a shell.
    let lines: Vec<_> = applied.lines().filter(|line| line.starts_with("export ")).collect();
    let script = format!("{}\nprintenv SPIN_VARIABLE_CF_CAPTCHA_LIST_ID", lines.join("\n"));
    let pasted = Command::new("sh").args(["-euc", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&pasted.stdout).trim(), ids[1]);

    let json: serde_json::Value =
        serde_json::from_str(&output(&["--zone", "example.com", "--json"])).unwrap();
    assert_eq!(json["settings"]["SPIN_VARIABLE_CF_BAN_LIST_ID"], ids[0]);
    assert_eq!((&json["changes"], &json["applied"]), (&0.into(), &false.into()));
    let optional = &json["optional_settings"][0];
    assert_eq!(optional["name"], "SPIN_VARIABLE_CF_RULES_ZONES");
    assert_eq!(optional["value"], account.zone);
    assert!(optional["what"].as_str().unwrap().contains("Zone WAF Write"), "{optional}");
    assert_eq!(json["plan"][0]["mark"], "=");

    let removal = output(&["--zone", &account.zone, "--remove"]);
    assert!(removal.contains("- rule crowdsec_edge_sync_ban"), "{removal}");
    assert!(!removal.contains("optional"), "{removal}");
    assert!(!output(&[]).contains("optional"), "no zone, no setting of zones");
    account.requests();
    output(&["--zone", &account.zone, "--remove", "--apply"]);
    assert_eq!(account.state(), "[] [] None");

    let without = Command::new(env!("CARGO_BIN_EXE_edge-sync")).arg("setup").env_clear().output();
    let said = String::from_utf8(without.unwrap().stderr).unwrap();
    for missing in ["SPIN_VARIABLE_CF_ACCOUNT_ID: is empty", "SPIN_VARIABLE_CF_API_TOKEN: is empty"]
    {
        assert!(said.contains(missing), "all at once: {said}");
    }

    let failed = account.tool(&["--zone", "example.net"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("example.net"));
}

/// A token for KV alone, as somebody has it who uses no list.
#[tokio::test(flavor = "multi_thread")]
async fn kv_only_makes_the_namespace_without_a_permission_for_lists_and_takes_it_away_again() {
    let mut account = Account::with(|options| {
        options.permission = Permission::None;
        options.waf_permission = Permission::None;
    })
    .await;
    account.wish = Wish::kv_only();
    account.set_up().unwrap();
    let namespace = account.simulator().cloudflare().namespaces()[0].0.clone();
    // Everything that the sync writes, in both layouts.
    for key in ["ip:192.0.2.1", "ip:2001:DB8::1", "ranges", "ip:wide", "ip:s16:0", "ip:s16:f"] {
        account.simulator().cloudflare().kv_put(&namespace, key, "ban", None, None);
    }
    account.simulator().cloudflare().kv_put(&namespace, "ip:hello", "mine", None, None);
    let plan = account.removal().unwrap();
    assert!(plan.to_string().contains("it holds the key \"ip:hello\""), "{plan}");
    account.simulator().cloudflare().kv_clear(&namespace);
    for key in ["ip:192.0.2.1", "ranges", "ip:wide", "ip:s16:0"] {
        account.simulator().cloudflare().kv_put(&namespace, key, "ban", None, None);
    }
    let plan = account.removal().unwrap();
    account.apply(&plan).unwrap();
    assert!(account.simulator().cloudflare().namespaces().is_empty());
    account.requests();
}
