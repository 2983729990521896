//! The routes under `/zones` (facts 4). Every change of one rule answers with the whole ruleset, and a
//! PUT with rules replaces all of them: the judge notes each one that gets lost. The order of the checks
//! is ours: zone, limiter, ruleset, body, expression, place; the real one is unknown.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, NewRule, Place, RuleRequest};
use super::store::{Ruleset, Zone};
use super::{PHASE, Rulesets, codes};
use crate::cloudflare::codes::{ApiError, FORBIDDEN, no_route};
use crate::cloudflare::envelope::{page, success};
use crate::cloudflare::kv::codes::NOT_SIMULATED;
use crate::cloudflare::lists::refusal_by_limiter;
use crate::cloudflare::{Call, method_not_allowed};
use crate::edge::{Dialect, Expression};
use crate::journal::Judge;
use crate::options::{DryRun, OmittedFields};
use crate::random::{hex_id, parse_hex_id};
use crate::reply::bare;

type Answer = Result<Response<Bytes>, Vec<ApiError>>;

impl Rulesets {
    /// `lists` are the names of the account's ip lists.
    pub(in crate::cloudflare) fn handle(
        &mut self,
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let (zone_id, path) = match call.path {
            [] if call.method == Method::GET => return self.get_zones(call, judge),
            [] => return Err(method_not_allowed(call.method).into()),
            [zone_id, "rulesets", path @ ..] if parse_hex_id(zone_id).is_some() => (zone_id, path),
            _ => return Err(no_route(call.full_path)),
        };
        let Some(zone) = self.zones.iter().position(|zone| zone.id == *zone_id) else {
            judge.note("a zone that does not exist");
            return Err(FORBIDDEN.into());
        };
        if call.method == Method::GET {
            return self.handle_zone(zone, path, call, lists, judge);
        }
        let last = self.zones[zone].written;
        let floor = self.options.waf_write_floor;
        if last.is_some_and(|last| self.now < last.saturating_add(floor)) {
            return refusal_by_limiter(codes::THROTTLED.into(), self.options.waf_limiter_body);
        }
        if is_dry_run(call, judge)? && self.options.waf_dry_run == DryRun::Honoured {
            return self.dry_run(zone, path, call, lists, judge);
        }
        let answer = self.handle_zone(zone, path, call, lists, judge);
        if answer.is_ok() {
            self.zones[zone].written = Some(self.now);
        }
        answer
    }

    /// Checks everything and keeps nothing (facts: cloudflare-rules.md 4.1).
    fn dry_run(
        &mut self,
        zone: usize,
        path: &[&str],
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let (ruleset, random) = (self.zones[zone].ruleset.clone(), self.random.clone());
        let answer = self.handle_zone(zone, path, call, lists, judge);
        (self.zones[zone].ruleset, self.random) = (ruleset, random);
        answer.map(|_| success(StatusCode::OK, Value::Null))
    }

    fn handle_zone(
        &mut self,
        zone: usize,
        path: &[&str],
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        match (call.method, path) {
            (&Method::GET, []) => Ok(self.get_rulesets(zone)),
            (&Method::POST, []) => self.post_ruleset(zone, call, lists, judge),
            (_, []) => Err(method_not_allowed(call.method).into()),
            (method, ["phases", phase, "entrypoint"]) => {
                if *phase != PHASE {
                    return Err(NOT_SIMULATED.into());
                }
                match *method {
                    Method::GET => self.get_ruleset(zone).ok_or(codes::NO_ENTRY_POINT.into()),
                    Method::PUT => self.put_ruleset(zone, call, lists, judge),
                    _ => Err(method_not_allowed(method).into()),
                }
            }
            (method, [ruleset_id, path @ ..]) if parse_hex_id(ruleset_id).is_some() => {
                let known = self.zones[zone].ruleset.as_ref().map(|ruleset| &ruleset.id);
                if known.is_none_or(|known| known != ruleset_id) {
                    return Err(codes::RULESET_NOT_FOUND.into());
                }
                match (method, path) {
                    (&Method::GET, []) => {
                        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
                    }
                    (&Method::PUT, []) => self.put_ruleset(zone, call, lists, judge),
                    (&Method::DELETE, []) => Ok(self.delete_ruleset(zone, judge)),
                    (&Method::POST, ["rules"]) => self.post_rule(zone, call, lists, judge),
                    (&Method::PATCH, ["rules", id]) => {
                        self.patch_rule(zone, id, call, lists, judge)
                    }
                    (&Method::DELETE, ["rules", id]) => self.delete_rule(zone, id, judge),
                    (_, [] | ["rules"] | ["rules", _]) => {
                        Err(method_not_allowed(call.method).into())
                    }
                    _ => Err(no_route(call.full_path)),
                }
            }
            _ => Err(no_route(call.full_path)),
        }
    }

    fn get_zones(&self, call: &Call<'_>, judge: &mut Judge) -> Answer {
        for name in call.query.names() {
            if !matches!(name, "name" | "account.id" | "page" | "per_page" | "status") {
                judge.note(format_args!("the parameter {name:?} does not exist"));
            }
        }
        let fits = |wanted: Option<&str>, is: &str| wanted.is_none_or(|wanted| wanted == is);
        let account = &self.options.account_id;
        let describe = |zone: &Zone| {
            json!({
                "id": zone.id,
                "name": zone.name,
                "status": "active",
                "account": { "id": account, "name": "simulated" },
            })
        };
        let zones: Vec<Value> = self
            .zones
            .iter()
            .filter(|zone| fits(call.query.first("name"), &zone.name))
            .filter(|_| fits(call.query.first("account.id"), account))
            .map(describe)
            .collect();
        let count = zones.len();
        let info = json!({
            "count": count, "page": 1, "per_page": 20, "total_count": count, "total_pages": 1,
        });
        Ok(page(StatusCode::OK, zones, Some(info)))
    }

    fn get_rulesets(&self, zone: usize) -> Response<Bytes> {
        let rulesets = self.zones[zone].ruleset.iter();
        let echo = self.options.waf_echo;
        let shown: Vec<_> = rulesets.map(|one| one.describe(self.start, false, echo)).collect();
        success(StatusCode::OK, shown)
    }

    fn get_ruleset(&self, zone: usize) -> Option<Response<Bytes>> {
        let ruleset = self.zones[zone].ruleset.as_ref()?;
        Some(success(StatusCode::OK, ruleset.describe(self.start, true, self.options.waf_echo)))
    }

    fn post_ruleset(
        &mut self,
        zone: usize,
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let request = body::ruleset_request(call.body, judge)?;
        let (Some(name), Some(rules)) = (request.name, request.rules) else {
            judge.note("a new ruleset must have a name and rules");
            return Err(codes::INVALID_BODY.into());
        };
        if request.kind.as_deref() != Some("zone") || request.phase.as_deref() != Some(PHASE) {
            return Err(NOT_SIMULATED.into());
        }
        if self.zones[zone].ruleset.is_some() {
            return Err(codes::TOO_MANY_RULESETS.into());
        }
        self.check_rules(&rules, lists, judge)?;
        let id = hex_id(self.random.next_u128());
        let description = request.description.unwrap_or_default();
        let mut ruleset = Ruleset::new(id, name, description, self.now);
        for rule in rules {
            ruleset.add(rule, None, self.now, &mut self.random);
        }
        self.zones[zone].ruleset = Some(ruleset);
        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
    }

    /// PUT of the entry point makes one where there is none.
    fn put_ruleset(
        &mut self,
        zone: usize,
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let request = body::ruleset_request(call.body, judge)?;
        if let Some(rules) = &request.rules {
            self.check_rules(rules, lists, judge)?;
        }
        let id = hex_id(self.random.next_u128());
        let (now, random) = (self.now, &mut self.random);
        let ruleset = self.zones[zone]
            .ruleset
            .get_or_insert_with(|| Ruleset::new(id, "default".to_owned(), String::new(), now));
        if let Some(name) = request.name {
            ruleset.name = name;
        }
        if let Some(description) = request.description {
            ruleset.description = description;
        }
        // Without rules it changes only the ruleset's own fields.
        if let Some(rules) = request.rules {
            judge.note("a PUT of rules, which replaces also what others wrote meanwhile");
            let kept = |rule: &NewRule, id: &str| rule.id.as_deref() == Some(id);
            for old in &ruleset.rules {
                if !rules.iter().any(|rule| kept(rule, &old.view.id)) {
                    judge.note(format_args!("the rule {:?} is lost", old.view.reference));
                }
            }
            let mut old = std::mem::take(&mut ruleset.rules);
            for rule in rules {
                match old.iter().position(|known| kept(&rule, &known.view.id)) {
                    Some(index) => {
                        ruleset.rules.push(old.remove(index));
                        ruleset.edit(ruleset.rules.len() - 1, now, |view| {
                            *view = rule.into_view(view.id.clone());
                        });
                    }
                    // Also a rule that stays has a new id if its old one was not sent.
                    None => drop(ruleset.add(rule, None, now, random)),
                }
            }
        }
        ruleset.touch(now);
        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
    }

    fn delete_ruleset(&mut self, zone: usize, judge: &mut Judge) -> Response<Bytes> {
        for rule in self.zones[zone].ruleset.take().into_iter().flat_map(|ruleset| ruleset.rules) {
            judge.note(format_args!("the rule {:?} goes with its ruleset", rule.view.reference));
        }
        bare(StatusCode::NO_CONTENT)
    }

    fn post_rule(
        &mut self,
        zone: usize,
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let RuleRequest { rule, place } = body::rule_request(call.body, judge)?;
        let Some(rule) = rule else {
            judge.note("a new rule without a definition");
            return Err(codes::INVALID_BODY.into());
        };
        self.check_expression(&rule, lists, judge)?;
        let rules_max = self.options.waf_rules_max;
        let ruleset = self.zones[zone].ruleset.as_mut().ok_or(codes::RULESET_NOT_FOUND)?;
        if ruleset.rules.len() >= rules_max {
            return Err(codes::TOO_MANY_RULES.into());
        }
        check_reference(ruleset, rule.reference.as_ref(), None)?;
        check_place(ruleset, place.as_ref(), None)?;
        ruleset.add(rule, place, self.now, &mut self.random);
        ruleset.touch(self.now);
        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
    }

    fn patch_rule(
        &mut self,
        zone: usize,
        rule_id: &str,
        call: &Call<'_>,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Answer {
        let RuleRequest { rule, place } = body::rule_request(call.body, judge)?;
        if let Some(rule) = &rule {
            self.check_expression(rule, lists, judge)?;
        }
        let options = &self.options;
        let ruleset = self.zones[zone].ruleset.as_mut().ok_or(codes::RULESET_NOT_FOUND)?;
        let index = ruleset.find(rule_id).ok_or(codes::RULE_NOT_FOUND)?;
        check_place(ruleset, place.as_ref(), Some(rule_id))?;
        let old = ruleset.rules[index].view.clone();
        judge_own(&old.reference, &options.waf_own_ref_prefix, judge);
        // A move is always a change; a definition is one if it says something else.
        let mut is_changed = place.is_some();
        if let Some(rule) = rule {
            for field in rule.left_out(&old) {
                judge.note(format_args!(
                    "{field} of {:?} is left out, and may be lost",
                    old.reference
                ));
            }
            let new = match options.waf_patch_omitted {
                OmittedFields::Reset => rule.into_view(old.id.clone()),
                OmittedFields::Keep => rule.over(&old),
            };
            check_reference(ruleset, Some(&new.reference), Some(rule_id))?;
            if new.reference != old.reference {
                judge.note(format_args!("the rule {:?} gets another ref", old.reference));
            }
            if new != old || options.waf_equal_patch_bumps {
                is_changed = true;
                ruleset.edit(index, self.now, |view| *view = new);
            }
        }
        if let Some(place) = place {
            ruleset.move_to(index, &place);
        }
        if is_changed {
            ruleset.touch(self.now);
        }
        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
    }

    fn delete_rule(&mut self, zone: usize, rule_id: &str, judge: &mut Judge) -> Answer {
        let ruleset = self.zones[zone].ruleset.as_mut().ok_or(codes::RULESET_NOT_FOUND)?;
        let index = ruleset.find(rule_id).ok_or(codes::RULE_NOT_FOUND)?;
        let rule = ruleset.rules.remove(index);
        judge_own(&rule.view.reference, &self.options.waf_own_ref_prefix, judge);
        ruleset.touch(self.now);
        self.get_ruleset(zone).ok_or(codes::RULESET_NOT_FOUND.into())
    }

    /// Checks the rules of a request that names all rules of a ruleset.
    fn check_rules(
        &self,
        rules: &[NewRule],
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Result<(), ApiError> {
        if rules.len() > self.options.waf_rules_max {
            return Err(codes::TOO_MANY_RULES.into());
        }
        let mut references = BTreeSet::new();
        for rule in rules {
            self.check_expression(rule, lists, judge)?;
            if rule.reference.as_ref().is_some_and(|reference| !references.insert(reference)) {
                return Err(codes::DUPLICATE_REF.into());
            }
        }
        Ok(())
    }

    fn check_expression(
        &self,
        rule: &NewRule,
        lists: &BTreeSet<String>,
        judge: &mut Judge,
    ) -> Result<(), ApiError> {
        if rule.reference.is_none() {
            judge.note("a rule without a ref, which cannot be recognised later");
        }
        let text = &rule.expression;
        if text.chars().all(char::is_whitespace) {
            judge.note("a rule with a blank expression");
            let message = format!("'{text}' {}", codes::BLANK_EXPRESSION.message);
            return Err(codes::BLANK_EXPRESSION.with(message));
        }
        // Characters or bytes is unknown; the stricter of both.
        if text.len() > self.options.waf_expression_max {
            judge.note(format_args!("an expression of {} bytes", text.len()));
            return Err(codes::LONG_EXPRESSION.into());
        }
        let dialect = Dialect { has_empty_sets: self.options.waf_accepts_empty_sets };
        let expression = Expression::parse(text, dialect).map_err(|error| {
            let what = error.describe(text);
            if error.is_not_simulated {
                return NOT_SIMULATED.with(format!("simulator: {what}"));
            }
            judge.note(format_args!("an expression that is none: {what}"));
            let message = format!("'{text}' {}: {what}", codes::INVALID_EXPRESSION.message);
            codes::INVALID_EXPRESSION.with(message)
        })?;
        if self.options.waf_accepts_unknown_lists {
            return Ok(());
        }
        match expression.lists().into_iter().find(|name| !lists.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                judge.note(format_args!("a rule for the list {name}, which does not exist"));
                Err(codes::UNKNOWN_LIST.with(format!("{} ${name}", codes::UNKNOWN_LIST.message)))
            }
        }
    }
}

fn is_dry_run(call: &Call<'_>, judge: &mut Judge) -> Result<bool, ApiError> {
    match call.query.first("dry_run") {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            judge.note("dry_run is neither true nor false");
            Err(codes::INVALID_DRY_RUN.into())
        }
    }
}

/// A `ref` names one rule of its ruleset.
fn check_reference(
    ruleset: &Ruleset,
    new: Option<&String>,
    own: Option<&str>,
) -> Result<(), ApiError> {
    let mut others = ruleset.rules.iter().filter(|rule| Some(rule.view.id.as_str()) != own);
    match others.any(|other| Some(&other.view.reference) == new) {
        true => Err(codes::DUPLICATE_REF.into()),
        false => Ok(()),
    }
}

/// The neighbour in a position must be another rule of the ruleset.
fn check_place(
    ruleset: &Ruleset,
    place: Option<&Place>,
    own: Option<&str>,
) -> Result<(), ApiError> {
    match place {
        Some(Place::Before(id) | Place::After(id))
            if ruleset.find(id).is_none() || own == Some(id.as_str()) =>
        {
            Err(codes::RULE_NOT_FOUND.into())
        }
        _ => Ok(()),
    }
}

fn judge_own(reference: &str, own_prefix: &str, judge: &mut Judge) {
    if !reference.starts_with(own_prefix) {
        judge.note(format_args!(
            "the rule {reference:?} is not the client's: its ref does not begin with {own_prefix}"
        ));
    }
}
