//! A world with zones whose rules are ours among others, and questions to its edge.

#![allow(unreachable_pub, reason = "a module of one program")]

use std::net::IpAddr;
use std::ops::{Deref, DerefMut, Range};
use std::time::Duration;

use edge_sync_core::failure::Failure;
use edge_sync_core::log::Level;
use simulator::cloudflare::rulesets::RuleView;
use simulator::{Entry, Options, Service, Verdict, Visitor};

use crate::common::World;

pub const INTERVAL: Duration = Duration::from_secs(120);
pub const BAN: &str = "crowdsec_edge_sync_ban";
pub const CAPTCHA: &str = "crowdsec_edge_sync_captcha";

pub struct Zones {
    world: World,
    pub ids: Vec<String>,
}

impl Deref for Zones {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Zones {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Zones {
    /// Zones with our two rules, as setup makes them, between rules of others; and one ban and one challenge
    /// that stay, so that no list is ever to be emptied, which the guard would hold back.
    pub fn new(zones: usize) -> Self {
        Self::with(zones, |_| {})
    }

    pub fn with(zones: usize, change: impl FnOnce(&mut Options)) -> Self {
        let mut world = World::with(|options| {
            options.cloudflare.waf_own_ref_prefix = "crowdsec_edge_sync_".to_owned();
            change(options);
        });
        let ids: Vec<String> = (0..zones).map(|n| make_zone(&world, n)).collect();
        world.set("cf_rules_zones", &ids.join(","));
        world.ban("192.0.2.1");
        world.captcha("192.0.2.2");
        Self { world, ids }
    }

    /// One more zone with our rules, which the settings do not name.
    pub fn add_unnamed(&mut self) {
        make_zone(&self.world, 99);
    }

    /// Cloudflare takes no write to the lists from now on.
    pub fn lock(&self) {
        for method in ["POST", "PUT", "DELETE"] {
            self.fault(&format!("cloudflare {method} /items: answer 429 slow down"));
        }
    }

    /// It takes them again; all other faults end too.
    pub fn unlock(&self) {
        self.front.world().clear_faults();
    }

    pub fn lift(&self, value: &str) {
        assert!(self.front.world().lapi().remove_value(value) > 0, "{value}");
    }

    /// Waits for the next run's time, and runs.
    pub async fn next(&self) -> Result<(), Failure> {
        tokio::time::sleep(INTERVAL).await;
        let _ = self.take_lines();
        self.run().await
    }

    pub fn verdict_in(&self, zone: usize, ip: &str) -> Verdict {
        let ip: IpAddr = ip.parse().unwrap();
        self.front.world().edge().decide(&self.ids[zone], ip, &Visitor::default())
    }

    pub fn verdict_of(&self, ip: &str, country: &str, asn: u32) -> Verdict {
        let ip: IpAddr = ip.parse().unwrap();
        self.front.world().edge().decide(&self.ids[0], ip, &Visitor::from(country, asn))
    }

    /// What the address meets in every zone, which is the same.
    #[track_caller]
    pub fn verdict(&self, ip: &str) -> Verdict {
        let first = self.verdict_in(0, ip);
        for zone in 1..self.ids.len() {
            assert_eq!(self.verdict_in(zone, ip), first, "{ip} in zone {zone}");
        }
        first
    }

    #[track_caller]
    pub fn assert_verdicts(&self, wanted: &[(&str, Verdict)]) {
        for (ip, verdict) in wanted {
            assert_eq!(self.verdict(ip), *verdict, "{ip}: {:#?}", self.expressions(0));
        }
    }

    /// For how long the address met something else in the first zone.
    pub fn time_not(&self, ip: &str, span: Range<Duration>, wanted: Verdict) -> Duration {
        let ip: IpAddr = ip.parse().unwrap();
        let mut world = self.front.world();
        world.edge().time_while(&self.ids[0], ip, &Visitor::default(), span, |is| is != wanted)
    }

    pub fn rule(&self, zone: usize, reference: &str) -> RuleView {
        let rules = self.front.world().cloudflare().rules(&self.ids[zone]).unwrap();
        rules.into_iter().find(|rule| rule.reference == reference).unwrap()
    }

    /// What is on the ban list besides what always is.
    pub fn ban_list(&self) -> Vec<String> {
        self.edge().0.into_iter().filter(|address| address != "192.0.2.1").collect()
    }

    pub fn operations(&self) -> usize {
        self.front.world().cloudflare().operations().len()
    }

    pub fn expression(&self, zone: usize, reference: &str) -> String {
        self.rule(zone, reference).expression
    }

    pub fn expressions(&self, zone: usize) -> [String; 2] {
        [BAN, CAPTCHA].map(|reference| self.expression(zone, reference))
    }

    /// Whether no rule says more than its list.
    pub fn is_drained(&self) -> bool {
        (0..self.ids.len()).all(|zone| {
            self.expressions(zone) == ["(ip.src in $crowdsec_ban)", "(ip.src in $crowdsec_captcha)"]
        })
    }

    /// The rules of others in every zone.
    pub fn others(&self) -> Vec<RuleView> {
        let mut world = self.front.world();
        let rules = self.ids.iter().flat_map(|id| world.cloudflare().rules(id).unwrap());
        rules.filter(|rule| ![BAN, CAPTCHA].contains(&rule.reference.as_str())).collect()
    }

    pub fn patches(&self) -> Vec<Entry> {
        self.journal(|e| e.service == Service::Cloudflare && e.method == "PATCH")
    }

    pub fn list_writes(&self) -> usize {
        self.journal(|e| {
            e.service == Service::Cloudflare && e.method != "GET" && e.target.contains("/items")
        })
        .len()
    }

    pub fn edit(&self, zone: usize, edit: &str) {
        let edit = edit.parse().unwrap();
        assert!(self.front.world().cloudflare().edit_rules(&self.ids[zone], &edit), "{edit}");
    }

    #[track_caller]
    pub fn assert_says(&self, level: Level, part: &str) {
        let texts = self.texts(level);
        assert!(texts.iter().any(|text| text.contains(part)), "{part:?} in {texts:#?}");
    }

    pub fn success(&self) -> bool {
        self.metric("crowdsec_cf_list_sync_success").unwrap() == 1.0
    }

    /// A metric of one rule.
    pub fn rule_metric(&self, zone: usize, rule: &str, name: &str) -> f64 {
        let name = format!("crowdsec_cf_list_sync_rules_{name}");
        let mut world = self.front.world();
        let family = world.pushgateway().family("crowdsec-cf-list-sync", &name).unwrap();
        let of = |label: &str, value: &str, sample: &simulator::pushgateway::Sample| {
            sample.labels.get(label).is_some_and(|is| is == value)
        };
        let mut samples = family.samples.iter();
        let sample = samples.find(|s| of("zone", &self.ids[zone], s) && of("rule", rule, s));
        sample.unwrap_or_else(|| panic!("{name} {rule}")).value
    }
}

fn make_zone(world: &World, n: usize) -> String {
    let mut simulator = world.front.world();
    let cloudflare = simulator.cloudflare();
    let zone = cloudflare.create_zone(&format!("zone-{n}.example"));
    cloudflare.add_rule(&zone, "log", "http.host eq \"a.example\"");
    for (action, list, name) in
        [("block", "crowdsec_ban", BAN), ("managed_challenge", "crowdsec_captcha", CAPTCHA)]
    {
        let id = cloudflare.add_rule(&zone, action, &format!("(ip.src in ${list})"));
        cloudflare.edit_rule(&zone, &id, |rule| {
            rule.reference = name.to_owned();
            rule.description = format!("CrowdSec: {action}");
        });
    }
    cloudflare.add_rule(&zone, "log", "ip.src in {192.0.2.99}");
    zone
}

/// A world that ran once and is in step, and whose lists are locked then.
pub async fn locked(zones: usize) -> Zones {
    let zones = Zones::new(zones);
    zones.run().await.unwrap();
    zones.lock();
    zones
}
