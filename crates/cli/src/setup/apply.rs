//! Does the steps of a plan, one request each, in order, and stops at the first that fails: the next
//! run looks at what is there and goes on. A list or namespace that cannot be removed yet is no reason
//! to stop.

use anyhow::{Error, Result};
use edge_sync_core::ports::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Answer, Area, CallError, Client};
use super::observed::{RuleSeen, RulesetSeen};
use super::plan::{NewRule, Plan, RulesPath, Step};
use super::{LIST_DESCRIPTION, NAMESPACE, PHASE, RULESET_DESCRIPTION};

/// A rule uses the list.
const LIST_IN_USE: i64 = 10031;
/// A Worker uses the namespace.
const NAMESPACE_IN_USE: i64 = 10052;

/// What came of the steps.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The ids of what was made, by setting.
    pub(super) made: Vec<(&'static str, String)>,
    /// What could not be removed, and why.
    pub left: Vec<String>,
}

/// Does the steps; `after` hears of each that was done.
pub async fn apply(client: &Client, plan: &Plan, mut after: impl FnMut(&Step)) -> Result<Applied> {
    let mut applied = Applied::default();
    for step in plan.steps() {
        match run(client, step, &mut applied).await {
            Ok(()) => after(step),
            Err(error) => match reason_to_leave(step, &error) {
                Some(reason) => applied.left.push(reason),
                None => return Err(explained(step, error)),
            },
        }
    }
    Ok(applied)
}

async fn run(client: &Client, step: &Step, applied: &mut Applied) -> Result<(), StepError> {
    let account = client.account();
    match step {
        Step::CreateList { remediation, name } => {
            let body = json!({ "name": name, "kind": "ip", "description": LIST_DESCRIPTION });
            let path = format!("/accounts/{account}/rules/lists");
            let answer = client.call(Area::Lists, Method::Post, &path, Some(&body)).await?;
            applied.made.push((remediation.setting(), id_of(answer)?));
        }
        Step::CreateNamespace => {
            let body = json!({ "title": NAMESPACE });
            let path = format!("/accounts/{account}/storage/kv/namespaces");
            let answer = client.call(Area::Kv, Method::Post, &path, Some(&body)).await?;
            applied.made.push(("cf_kv_namespace_id", id_of(answer)?));
        }
        Step::CreateRuleset { zone, rules } => {
            let body = json!({
                "name": "default",
                "description": RULESET_DESCRIPTION,
                "kind": "zone",
                "phase": PHASE,
                "rules": rules.iter().map(definition).collect::<Value>(),
            });
            let path = format!("/zones/{zone}/rulesets");
            client.call(Area::Waf, Method::Post, &path, Some(&body)).await?;
        }
        Step::AddRule { rules, rule } => {
            let body = definition(rule);
            client.call(Area::Waf, Method::Post, &rules.path(), Some(&body)).await?;
        }
        Step::CorrectRule { rules, seen, rule, expression, .. } => {
            look_again(client, rules, seen).await?;
            let body = corrected(seen, rule, expression);
            client.call(Area::Waf, Method::Patch, &rules.of(&seen.id), Some(&body)).await?;
        }
        Step::MoveRule { rules, id, after } => {
            // The empty id means the end.
            let body = json!({ "position": { "after": after.as_deref().unwrap_or_default() } });
            client.call(Area::Waf, Method::Patch, &rules.of(id), Some(&body)).await?;
        }
        Step::RemoveRule { rules, id, .. } => {
            client.call(Area::Waf, Method::Delete, &rules.of(id), None).await?;
        }
        Step::RemoveRuleset { rules } => remove_ruleset(client, rules).await?,
        Step::RemoveList { id, .. } => {
            let path = format!("/accounts/{account}/rules/lists/{id}");
            client.call(Area::Lists, Method::Delete, &path, None).await?;
        }
        Step::RemoveNamespace { id } => {
            let path = format!("/accounts/{account}/storage/kv/namespaces/{id}");
            client.call(Area::Kv, Method::Delete, &path, None).await?;
        }
    }
    Ok(())
}

/// There is no lock, and a person thinks before he says yes: what a run, or somebody, has written into the rule
/// meanwhile would be undone.
async fn look_again(client: &Client, path: &RulesPath, seen: &RuleSeen) -> Result<(), StepError> {
    let RulesPath { zone, ruleset } = path;
    let answer = client.get(Area::Waf, &format!("/zones/{zone}/rulesets/{ruleset}")).await?;
    let now: RulesetSeen =
        serde_json::from_value(answer.result).map_err(|_| StepError::Unexpected)?;
    match now.rules.contains(seen) {
        true => Ok(()),
        false => Err(StepError::Changed),
    }
}

/// Deleting a ruleset deletes all rules that are in it, so it is looked at once more.
async fn remove_ruleset(client: &Client, path: &RulesPath) -> Result<(), StepError> {
    let RulesPath { zone, ruleset } = path;
    let path = format!("/zones/{zone}/rulesets/{ruleset}");
    let answer = client.get(Area::Waf, &path).await?;
    let seen: RulesetSeen =
        serde_json::from_value(answer.result).map_err(|_| StepError::Unexpected)?;
    if !seen.rules.is_empty() {
        return Err(StepError::NotEmpty);
    }
    client.call(Area::Waf, Method::Delete, &path, None).await?;
    Ok(())
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer does not say what was made")]
    Unexpected,
    #[error("a rule was added meanwhile")]
    NotEmpty,
    #[error("it was changed meanwhile, by a run or by somebody else; nothing of it was touched")]
    Changed,
}

impl RulesPath {
    fn path(&self) -> String {
        format!("/zones/{}/rulesets/{}/rules", self.zone, self.ruleset)
    }

    fn of(&self, rule: &str) -> String {
        format!("{}/{rule}", self.path())
    }
}

fn definition(rule: &NewRule) -> Value {
    json!({
        "ref": rule.remediation.reference(),
        "description": rule.remediation.description(),
        "expression": rule.expression(),
        "action": rule.remediation.action(),
        "enabled": true,
    })
}

/// A PATCH gives the whole definition anew: what somebody added to our rule must be sent again.
fn corrected(seen: &RuleSeen, rule: &NewRule, expression: &str) -> Value {
    let mut body = definition(rule);
    body["expression"] = json!(expression);
    body["enabled"] = json!(seen.enabled);
    body["description"] = json!(seen.description);
    // The parameters belong to the action.
    let parameters = seen.action_parameters.as_ref().filter(|_| seen.action == body["action"]);
    let kept = [("action_parameters", parameters), ("logging", seen.logging.as_ref())];
    for (name, value) in kept {
        if let Some(value) = value {
            body[name] = value.clone();
        }
    }
    body
}

fn id_of(answer: Answer) -> Result<String, StepError> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let made: Made = serde_json::from_value(answer.result).map_err(|_| StepError::Unexpected)?;
    Ok(made.id)
}

/// Why a removal waits, if that is all that is wrong.
fn reason_to_leave(step: &Step, error: &StepError) -> Option<String> {
    match (step, error) {
        (Step::RemoveList { name, .. }, StepError::Call(error)) if error.is_code(LIST_IN_USE) => {
            Some(format!(
                "list {name} stays: Cloudflare says that a rule uses it (code {LIST_IN_USE}). After \
                 the removal of rules that may need some minutes; else a zone that was not named, or \
                 another product, has such a rule. Run again then"
            ))
        }
        (Step::RemoveNamespace { .. }, StepError::Call(error))
            if error.is_code(NAMESPACE_IN_USE) =>
        {
            Some(format!(
                "KV namespace {NAMESPACE} stays: a Worker is bound to it (code {NAMESPACE_IN_USE}). \
                 Remove the binding, then run again"
            ))
        }
        (Step::RemoveRuleset { .. }, StepError::NotEmpty) => {
            Some("the zone's ruleset stays: a rule was added to it meanwhile".to_owned())
        }
        _ => None,
    }
}

fn explained(step: &Step, error: StepError) -> Error {
    let call = match &error {
        StepError::Call(call) => Some(call),
        StepError::Unexpected | StepError::NotEmpty | StepError::Changed => None,
    };
    let is_refused = call.is_some_and(CallError::is_about_the_request);
    let context = match step {
        Step::CreateList { .. } if is_refused => format!(
            "failed: {step}; if the account has no room for it (the Free plan has one list), use \
             --ban-only"
        ),
        Step::AddRule { .. } | Step::CreateRuleset { .. } if is_refused => format!(
            "failed: {step}; if the zone has no room for it (the Free plan has five custom rules), \
             remove one or use --ban-only"
        ),
        _ if matches!(error, StepError::Changed) => {
            format!("failed: {step}; run again, setup looks first at what is there")
        }
        _ if call.is_some_and(CallError::is_refused) => format!("failed: {step}"),
        _ => format!("could not confirm: {step}; run again, setup looks first at what is there"),
    };
    Error::new(error).context(context)
}
