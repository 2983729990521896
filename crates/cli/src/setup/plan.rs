//! What to do, from what is wanted and what is there. Pure: apply makes no choice.
//!
//! Where our rules stand: at the end, block before challenge, so that a rule of the owner that lets
//! something through keeps its place before them. The order of our two is mended by moving the
//! challenge behind the block, never by moving one of ours ahead of somebody else's rule.

use super::observed::{ListSeen, Observed, RuleSeen, RulesetSeen, ZoneSeen};
use super::{LIST_DESCRIPTION, NAMESPACE, RULESET_DESCRIPTION, Remediation, Wish, expression};
use anyhow::{Result, ensure};

/// What will be done and what will not, in order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order in which they are shown, and done.
    pub entries: Vec<Entry>,
    /// Ids of what is there already, for the settings.
    pub(super) known: Vec<(&'static str, String)>,
    /// Settings that the wish is about, in the order in which they are shown.
    pub(super) settings: Vec<&'static str>,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The zone's label; `None` = it is about the account.
    pub zone: Option<String>,
    /// What about it.
    pub what: What,
}

/// What a line of the plan says.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A change.
    Do(Step),
    /// It is as it should be.
    Keep(String),
    /// It is not, or not ours, and is left as it is. Says why.
    Leave(String),
}

/// One change, which is one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Makes a list.
    CreateList {
        /// What it is for.
        remediation: Remediation,
        /// Its name.
        name: String,
    },
    /// Makes the KV namespace.
    CreateNamespace,
    /// Makes a zone's ruleset with our rules, where there is none.
    CreateRuleset {
        /// The zone's id.
        zone: String,
        /// Our rules, in their order.
        rules: Vec<NewRule>,
    },
    /// Adds a rule at the end.
    AddRule {
        /// The path of the ruleset's rules.
        rules: RulesPath,
        /// The rule.
        rule: NewRule,
    },
    /// Gives our rule its definition back.
    CorrectRule {
        /// The path of the ruleset's rules.
        rules: RulesPath,
        /// The rule as it is. What is not ours to say is kept: whether it is enabled, for example.
        seen: Box<RuleSeen>,
        /// The rule as it should be.
        rule: NewRule,
    },
    /// Moves our challenge behind our block.
    MoveRule {
        /// The path of the ruleset's rules.
        rules: RulesPath,
        /// The challenge's id.
        id: String,
        /// The block's id; `None` = to the end, behind the block that was just added there.
        after: Option<String>,
    },
    /// Removes our rule.
    RemoveRule {
        /// The path of the ruleset's rules.
        rules: RulesPath,
        /// The rule's id.
        id: String,
        /// Its `ref`.
        reference: String,
    },
    /// Removes the ruleset that setup made, if it is empty then.
    RemoveRuleset {
        /// The path of the ruleset's rules.
        rules: RulesPath,
    },
    /// Removes our list.
    RemoveList {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// How many items go with it.
        items: u64,
    },
    /// Removes our namespace.
    RemoveNamespace {
        /// Its id.
        id: String,
    },
}

/// Where the rules of a ruleset are.
#[derive(Clone, Debug, PartialEq)]
pub struct RulesPath {
    /// The zone's id.
    pub zone: String,
    /// The ruleset's id.
    pub ruleset: String,
}

/// A rule of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRule {
    /// What it does.
    pub remediation: Remediation,
    /// To the addresses on the list of this name.
    pub list: String,
}

impl NewRule {
    /// When it applies.
    pub fn expression(&self) -> String {
        expression(&self.list)
    }

    fn is_as_seen(&self, seen: &RuleSeen) -> bool {
        // The dashboard may write the parentheses or leave them out.
        let plain = |text: &str| text.replace(['(', ')'], "").trim().to_owned();
        seen.action == self.remediation.action()
            && plain(&seen.expression) == plain(&self.expression())
    }
}

impl Plan {
    /// The changes.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Do(step) => Some(step),
            What::Keep(_) | What::Leave(_) => None,
        })
    }

    fn push(&mut self, zone: Option<&ZoneSeen>, what: What) {
        let zone = zone.map(|zone| zone.label.clone());
        self.entries.push(Entry { zone, what });
    }

    fn know(&mut self, setting: &'static str, id: Option<&str>) {
        self.settings.push(setting);
        self.known.extend(id.map(|id| (setting, id.to_owned())));
    }
}

/// What makes the account as it is wished. Fails if a name is taken by something of another kind.
pub fn plan(wish: &Wish, observed: &Observed) -> Result<Plan> {
    let mut plan = Plan::default();
    for (remediation, name) in wish.lists() {
        let seen = find_list(observed, name);
        plan.know(remediation.setting(), seen.map(|list| list.id.as_str()));
        let what = match seen {
            None => What::Do(Step::CreateList { remediation, name: name.to_owned() }),
            Some(list) => {
                ensure!(
                    list.kind == "ip",
                    "there is a list {name} that holds {} items, not addresses: name another list",
                    list.kind
                );
                What::Keep(format!("list {name}{}", origin_of(list)))
            }
        };
        plan.push(None, what);
    }
    let new_lists = plan.steps().count();
    if new_lists > 0 && observed.lists.len() + new_lists > 1 {
        let text = "the Free plan has room for one list only: use --ban-only there".to_owned();
        plan.push(None, What::Leave(text));
    }
    if wish.namespace {
        let seen = observed.namespace.as_ref();
        plan.know("cf_kv_namespace_id", seen.map(|namespace| namespace.id.as_str()));
        let what = match seen {
            None => What::Do(Step::CreateNamespace),
            Some(_) => What::Keep(format!("KV namespace {NAMESPACE}")),
        };
        plan.push(None, what);
    }
    let rules: Vec<NewRule> = wish
        .lists()
        .map(|(remediation, list)| NewRule { remediation, list: list.to_owned() })
        .collect();
    for zone in &observed.zones {
        match &zone.ruleset {
            None => {
                let step = Step::CreateRuleset { zone: zone.id.clone(), rules: rules.clone() };
                plan.push(Some(zone), What::Do(step));
            }
            Some(ruleset) => plan_rules(&mut plan, zone, ruleset, &rules),
        }
    }
    Ok(plan)
}

fn plan_rules(plan: &mut Plan, zone: &ZoneSeen, ruleset: &RulesetSeen, wanted: &[NewRule]) {
    let rules = RulesPath { zone: zone.id.clone(), ruleset: ruleset.id.clone() };
    let find = |remediation: Remediation| {
        ruleset.rules.iter().position(|seen| seen.reference == remediation.reference())
    };
    for rule in wanted {
        let reference = rule.remediation.reference();
        let what = match find(rule.remediation).map(|index| &ruleset.rules[index]) {
            None => What::Do(Step::AddRule { rules: rules.clone(), rule: rule.clone() }),
            Some(seen) if !rule.is_as_seen(seen) => What::Do(Step::CorrectRule {
                rules: rules.clone(),
                seen: Box::new(seen.clone()),
                rule: rule.clone(),
            }),
            Some(seen) if seen.enabled => What::Keep(format!("rule {reference}")),
            Some(_) => What::Leave(format!(
                "rule {reference} is switched off and stays so: somebody did that; switch it on at \
                 the dashboard"
            )),
        };
        plan.push(Some(zone), what);
    }
    let (ban, captcha) = (find(Remediation::Ban), find(Remediation::Captcha));
    let is_wanted = wanted.iter().any(|rule| rule.remediation == Remediation::Captcha);
    if let Some(captcha) = captcha.filter(|_| is_wanted)
        && ban.is_none_or(|ban| captcha < ban)
    {
        let id = ruleset.rules[captcha].id.clone();
        let after = ban.map(|ban| ruleset.rules[ban].id.clone());
        plan.push(Some(zone), What::Do(Step::MoveRule { rules, id, after }));
    }
    for (rule, foreign) in wanted.iter().flat_map(|rule| {
        let others = ruleset.rules.iter().filter(|seen| !is_our_rule(seen));
        others.filter(|seen| uses(seen, &rule.list)).map(move |seen| (rule, seen))
    }) {
        let text = format!("{} also uses ${} and stays as it is", name(foreign), rule.list);
        plan.push(Some(zone), What::Leave(text));
    }
}

/// What takes away again what [`plan`] made, in the zones that were asked for.
pub fn plan_removal(wish: &Wish, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    for zone in &observed.zones {
        let Some(ruleset) = &zone.ruleset else { continue };
        let rules = RulesPath { zone: zone.id.clone(), ruleset: ruleset.id.clone() };
        let ours: Vec<&RuleSeen> =
            ruleset.rules.iter().filter(|seen| is_wished_rule(wish, seen)).collect();
        for seen in &ours {
            let step = Step::RemoveRule {
                rules: rules.clone(),
                id: seen.id.clone(),
                reference: seen.reference.clone(),
            };
            plan.push(Some(zone), What::Do(step));
        }
        if ruleset.description == RULESET_DESCRIPTION && ours.len() == ruleset.rules.len() {
            plan.push(Some(zone), What::Do(Step::RemoveRuleset { rules }));
        }
    }
    if let Some(namespace) = &observed.namespace {
        let what = match &namespace.foreign_key {
            None => What::Do(Step::RemoveNamespace { id: namespace.id.clone() }),
            Some(key) => What::Leave(format!(
                "KV namespace {NAMESPACE} stays: it holds the key {key:?}, which is not the sync's"
            )),
        };
        plan.push(None, what);
    }
    for (_, name) in wish.lists() {
        if let Some(list) = find_list(observed, name) {
            plan.push(None, plan_list_removal(wish, observed, list));
        }
    }
    plan
}

fn plan_list_removal(wish: &Wish, observed: &Observed, list: &ListSeen) -> What {
    if !is_ours(list) {
        return What::Leave(format!("list {} stays: setup did not make it", list.name));
    }
    let rules = observed.zones.iter().flat_map(|zone| {
        let rules = zone.ruleset.iter().flat_map(|ruleset| &ruleset.rules);
        rules.filter(|seen| uses(seen, &list.name)).map(move |seen| (zone, seen))
    });
    let (going, staying): (Vec<_>, Vec<_>) =
        rules.partition(|(_, seen)| is_wished_rule(wish, seen));
    if let Some((zone, first)) = staying.first() {
        return What::Leave(format!(
            "list {} stays: {} of zone {} uses it; change or remove that rule, then run again",
            list.name,
            name(first),
            zone.label
        ));
    }
    // Cloudflare counts the rules of all zones.
    if list.references > going.len() as f64 {
        return What::Leave(format!(
            "list {} stays: {} of its {} rules are in zones that were not named; give them with \
             --zone, or remove those rules, then run again",
            list.name,
            list.references - going.len() as f64,
            list.references,
        ));
    }
    let items = list.items as u64;
    What::Do(Step::RemoveList { id: list.id.clone(), name: list.name.clone(), items })
}

fn find_list<'a>(observed: &'a Observed, name: &str) -> Option<&'a ListSeen> {
    observed.lists.iter().find(|list| list.name == name)
}

fn is_ours(list: &ListSeen) -> bool {
    list.description == LIST_DESCRIPTION
}

/// What there is to say of a list that is there already. Setup does not read LAPI: what is on a list that it
/// did not make is somebody's, until CrowdSec asks for it.
fn origin_of(list: &ListSeen) -> String {
    match (is_ours(list), list.items as u64) {
        (true, _) => String::new(),
        (false, 0) => " (not made by setup)".to_owned(),
        (false, items) => format!(
            " (not made by setup; its {items} item{} {} not CrowdSec's, as far as setup can tell: those that \
             CrowdSec does not want go with the first syncs)",
            if items == 1 { "" } else { "s" },
            if items == 1 { "is" } else { "are" },
        ),
    }
}

fn is_our_rule(seen: &RuleSeen) -> bool {
    [Remediation::Ban, Remediation::Captcha].iter().any(|one| one.reference() == seen.reference)
}

fn is_wished_rule(wish: &Wish, seen: &RuleSeen) -> bool {
    wish.lists().any(|(remediation, _)| remediation.reference() == seen.reference)
}

/// Whether a rule names the list.
fn uses(seen: &RuleSeen, list: &str) -> bool {
    seen.expression.split('$').skip(1).any(|rest| {
        rest.strip_prefix(list).is_some_and(|rest| {
            !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        })
    })
}

/// A rule of somebody else, as they would recognise it.
fn name(seen: &RuleSeen) -> String {
    match seen.description.as_str() {
        "" => format!("rule {}", seen.reference),
        description => format!("rule {description:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::observed::NamespaceSeen;
    use super::super::{BAN_LIST, CAPTCHA_LIST};
    use super::*;

    fn wish() -> Wish {
        Wish::new(BAN_LIST, Some(CAPTCHA_LIST)).unwrap()
    }

    fn list(name: &str, description: &str) -> ListSeen {
        ListSeen {
            id: format!("id of {name}"),
            name: name.to_owned(),
            kind: "ip".to_owned(),
            description: description.to_owned(),
            ..ListSeen::default()
        }
    }

    fn ours(remediation: Remediation, list: &str) -> RuleSeen {
        RuleSeen {
            id: format!("id of {}", remediation.reference()),
            reference: remediation.reference().to_owned(),
            expression: expression(list),
            action: remediation.action().to_owned(),
            enabled: true,
            ..RuleSeen::default()
        }
    }

    fn ban() -> RuleSeen {
        ours(Remediation::Ban, BAN_LIST)
    }

    fn captcha() -> RuleSeen {
        ours(Remediation::Captcha, CAPTCHA_LIST)
    }

    fn foreign(id: &str) -> RuleSeen {
        RuleSeen { id: id.to_owned(), reference: id.to_owned(), ..RuleSeen::default() }
    }

    /// An account with both lists and one zone that has these rules.
    fn with_rules(rules: Vec<RuleSeen>) -> Observed {
        let ruleset = RulesetSeen { id: "r".to_owned(), rules, ..RulesetSeen::default() };
        Observed {
            lists: vec![list(BAN_LIST, LIST_DESCRIPTION), list(CAPTCHA_LIST, LIST_DESCRIPTION)],
            namespace: None,
            zones: vec![ZoneSeen {
                id: "z".to_owned(),
                label: "example.com".to_owned(),
                ruleset: Some(ruleset),
            }],
        }
    }

    /// The changes, as they are shown.
    fn steps(plan: &Plan) -> Vec<String> {
        plan.steps().map(ToString::to_string).collect()
    }

    /// What is left alone, and why.
    fn left(plan: &Plan) -> Vec<&str> {
        let entries = plan.entries.iter();
        entries
            .filter_map(|entry| match &entry.what {
                What::Leave(text) => Some(text.as_str()),
                What::Do(_) | What::Keep(_) => None,
            })
            .collect()
    }

    #[test]
    fn account_as_wished_plan_is_empty() {
        let plan = plan(&wish(), &with_rules(vec![foreign("a"), ban(), foreign("b"), captcha()]));
        assert_eq!(steps(&plan.unwrap()), [""; 0]);
    }

    #[test]
    fn rules_of_each_zone_planned_go_to_the_end_and_keep_block_before_challenge() {
        let add_ban = "+ rule crowdsec_edge_sync_ban: (ip.src in $crowdsec_ban) -> block";
        let add_captcha = "+ rule crowdsec_edge_sync_captcha: (ip.src in $crowdsec_captcha) -> \
                           managed_challenge";
        let mend = "~ rule crowdsec_edge_sync_captcha: behind crowdsec_edge_sync_ban";
        for (rules, expected) in [
            (vec![], vec![add_ban, add_captcha]),
            (vec![foreign("a")], vec![add_ban, add_captcha]),
            (vec![ban(), foreign("a")], vec![add_captcha]),
            (vec![captcha(), foreign("a")], vec![add_ban, mend]),
            (vec![captcha(), foreign("a"), ban()], vec![mend]),
            (vec![ban(), captcha()], vec![]),
        ] {
            let planned = plan(&wish(), &with_rules(rules.clone())).unwrap();
            assert_eq!(steps(&planned), expected, "{rules:?}");
            for step in planned.steps() {
                if let Step::MoveRule { after, .. } = step {
                    let expected = rules.iter().any(|rule| rule.reference == ban().reference);
                    assert_eq!(after.is_some(), expected, "behind the block, wherever it is");
                }
            }
        }
    }

    #[test]
    fn rule_changed_by_somebody_is_corrected_and_switched_off_is_left() {
        let changed = RuleSeen { action: "log".to_owned(), ..ban() };
        let off = RuleSeen { enabled: false, ..captcha() };
        let planned = plan(&wish(), &with_rules(vec![changed, off])).unwrap();
        assert_eq!(steps(&planned), ["~ rule crowdsec_edge_sync_ban: action log -> block"]);
        assert!(left(&planned)[0].contains("switched off and stays so"), "{planned:?}");

        let narrowed = RuleSeen { expression: "(ip.src in $other)".to_owned(), ..ban() };
        let planned = plan(&wish(), &with_rules(vec![narrowed, captcha()])).unwrap();
        let expected = "~ rule crowdsec_edge_sync_ban: expression (ip.src in $other) -> \
                        (ip.src in $crowdsec_ban)";
        assert_eq!(steps(&planned), [expected]);
        let bare = RuleSeen { expression: "ip.src in $crowdsec_ban".to_owned(), ..ban() };
        let planned = plan(&wish(), &with_rules(vec![bare, captcha()])).unwrap();
        assert_eq!(steps(&planned), [""; 0], "the same without parentheses");
    }

    #[test]
    fn foreign_rule_with_our_list_is_named_and_left() {
        let mut other = foreign("other");
        other.expression = "ip.src in $crowdsec_ban and http.host eq \"x\"".to_owned();
        other.description = "mine".to_owned();
        let planned = plan(&wish(), &with_rules(vec![other, ban(), captcha()])).unwrap();
        assert_eq!(left(&planned), ["rule \"mine\" also uses $crowdsec_ban and stays as it is"]);
        let mut longer = foreign("longer");
        longer.expression = "ip.src in $crowdsec_ban_2".to_owned();
        let planned = plan(&wish(), &with_rules(vec![longer, ban(), captcha()])).unwrap();
        assert_eq!(left(&planned), [""; 0]);
    }

    #[test]
    fn list_of_another_kind_plan_refuses_and_second_list_is_warned_of() {
        let mut observed = Observed { lists: vec![list(BAN_LIST, "")], ..Observed::default() };
        let planned = plan(&wish(), &observed).unwrap();
        assert_eq!(steps(&planned), ["+ list crowdsec_captcha"]);
        assert!(left(&planned)[0].contains("--ban-only"));
        observed.lists[0].kind = "asn".to_owned();
        assert!(plan(&wish(), &observed).unwrap_err().to_string().contains("name another list"));
        let ban_only = Wish::new(BAN_LIST, None).unwrap();
        let planned = plan(&ban_only, &Observed::default()).unwrap();
        assert_eq!((steps(&planned).len(), left(&planned).len()), (1, 0));
    }

    #[test]
    fn removal_takes_what_is_ours_and_says_why_it_leaves_the_rest() {
        let mut observed = with_rules(vec![foreign("a"), captcha(), ban()]);
        observed.lists[0].references = 1.0;
        observed.lists[0].items = 7.0;
        observed.lists[1].description = "by hand".to_owned();
        observed.namespace = Some(NamespaceSeen { id: "n".to_owned(), foreign_key: None });
        let planned = plan_removal(&wish(), &observed);
        assert_eq!(
            steps(&planned),
            [
                "- rule crowdsec_edge_sync_captcha",
                "- rule crowdsec_edge_sync_ban",
                "- KV namespace crowdsec-edge-sync with all its keys",
                "- list crowdsec_ban with 7 items",
            ]
        );
        assert_eq!(left(&planned), ["list crowdsec_captcha stays: setup did not make it"]);

        observed.lists[0].references = 3.0;
        observed.namespace =
            Some(NamespaceSeen { foreign_key: Some("x".into()), ..Default::default() });
        let planned = plan_removal(&wish(), &observed);
        assert_eq!(steps(&planned).len(), 2, "the rules only");
        assert!(left(&planned)[0].contains("the key \"x\""), "{planned:?}");
        assert!(left(&planned)[1].contains("2 of its 3 rules"), "{planned:?}");
    }

    #[test]
    fn ruleset_made_by_setup_goes_with_its_last_rule_only() {
        let mut observed = with_rules(vec![ban(), captcha()]);
        let last = |observed: &Observed| steps(&plan_removal(&wish(), observed)).concat();
        assert!(!last(&observed).contains("ruleset"), "it was there before");
        let ruleset = observed.zones[0].ruleset.as_mut().unwrap();
        ruleset.description = RULESET_DESCRIPTION.to_owned();
        assert!(last(&observed).contains("- ruleset"));
        observed.zones[0].ruleset.as_mut().unwrap().rules.push(foreign("a"));
        assert!(!last(&observed).contains("ruleset"), "somebody else's rule is in it");
    }
}
