//! Reads the bodies of ruleset requests, strictly: a field that does not belong there refuses it all.
//! Which code the real service gives is unknown (facts 4); the judge says what was wrong. What an
//! expression may say is not looked at here.

use serde_json::{Map, Value};

use super::codes;
use super::store::RuleView;
use crate::cloudflare::codes::ApiError;
use crate::journal::Judge;
use crate::random::parse_hex_id;

/// A rule's definition, as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewRule {
    /// Only a PUT of all rules may carry one, to keep a rule that is there.
    pub(super) id: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) expression: String,
    pub(super) action: String,
    description: Option<String>,
    enabled: Option<bool>,
    extra: Map<String, Value>,
}

impl NewRule {
    /// A rule as the dashboard would make it: without a name of its own.
    pub(super) fn unnamed(expression: &str, action: &str) -> Self {
        Self {
            id: None,
            reference: None,
            expression: expression.to_owned(),
            action: action.to_owned(),
            description: None,
            enabled: None,
            extra: Map::new(),
        }
    }

    /// The rule; what was not sent has its default.
    pub(super) fn into_view(self, id: String) -> RuleView {
        RuleView {
            // "The rule ID by default".
            reference: self.reference.unwrap_or_else(|| id.clone()),
            id,
            expression: self.expression,
            action: self.action,
            description: self.description.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            extra: self.extra,
        }
    }

    /// The rule; what was not sent stays as it was.
    pub(super) fn over(self, old: &RuleView) -> RuleView {
        let mut extra = old.extra.clone();
        extra.extend(self.extra);
        RuleView {
            id: old.id.clone(),
            reference: self.reference.unwrap_or_else(|| old.reference.clone()),
            expression: self.expression,
            action: self.action,
            description: self.description.unwrap_or_else(|| old.description.clone()),
            enabled: self.enabled.unwrap_or(old.enabled),
            extra,
        }
    }

    /// What the rule had that was not sent, and that may be lost.
    pub(super) fn left_out(&self, old: &RuleView) -> Vec<&'static str> {
        let lacks = |name: &str| old.extra.contains_key(name) && !self.extra.contains_key(name);
        let fields = [
            ("ref", self.reference.is_none() && old.reference != old.id),
            ("description", self.description.is_none() && !old.description.is_empty()),
            ("enabled", self.enabled.is_none() && !old.enabled),
            ("action_parameters", lacks("action_parameters")),
            ("logging", lacks("logging")),
        ];
        fields.into_iter().filter(|(_, is_lost)| *is_lost).map(|(name, _)| name).collect()
    }
}

/// Where a rule is to stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Start,
    End,
    Before(String),
    After(String),
    /// From 1.
    Index(usize),
}

/// The body of POST and PATCH of one rule: a definition, a position, or both. One of them at least.
#[derive(Debug)]
pub(super) struct RuleRequest {
    pub(super) rule: Option<NewRule>,
    pub(super) place: Option<Place>,
}

pub(super) fn rule_request(body: &[u8], judge: &mut Judge) -> Result<RuleRequest, ApiError> {
    let mut object = object(body, judge)?;
    let place = match object.remove("position") {
        None => None,
        Some(position) => Some(place(&position, judge)?),
    };
    let rule = match object.is_empty() {
        true => None,
        false => Some(rule(object, false, judge)?),
    };
    if rule.is_none() && place.is_none() {
        return Err(invalid(judge, "neither a rule nor a position"));
    }
    Ok(RuleRequest { rule, place })
}

/// The body of POST `/rulesets` and of PUT. `None` = the body has no `rules`.
#[derive(Debug)]
pub(super) struct RulesetRequest {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) rules: Option<Vec<NewRule>>,
}

pub(super) fn ruleset_request(body: &[u8], judge: &mut Judge) -> Result<RulesetRequest, ApiError> {
    let mut object = object(body, judge)?;
    let rules = match object.remove("rules") {
        None => None,
        Some(Value::Array(rules)) => {
            let mut read = Vec::with_capacity(rules.len());
            for entry in rules {
                let Value::Object(entry) = entry else {
                    return Err(invalid(judge, "a rule is not an object"));
                };
                read.push(rule(entry, true, judge)?);
            }
            Some(read)
        }
        Some(_) => return Err(invalid(judge, "rules must be an array")),
    };
    let name = text(&mut object, "name", judge)?;
    let description = text(&mut object, "description", judge)?;
    let kind = text(&mut object, "kind", judge)?;
    let phase = text(&mut object, "phase", judge)?;
    nothing_left(&object, judge)?;
    Ok(RulesetRequest { name, description, kind, phase, rules })
}

fn rule(
    mut object: Map<String, Value>,
    may_have_id: bool,
    judge: &mut Judge,
) -> Result<NewRule, ApiError> {
    let id = match may_have_id {
        true => text(&mut object, "id", judge)?,
        false => None,
    };
    let reference = text(&mut object, "ref", judge)?;
    let description = text(&mut object, "description", judge)?;
    let (Some(expression), Some(action)) =
        (text(&mut object, "expression", judge)?, text(&mut object, "action", judge)?)
    else {
        // A PATCH gives the whole definition anew: fields that are left out do not stay.
        return Err(invalid(judge, "a rule must have an expression and an action"));
    };
    let enabled = match object.remove("enabled") {
        None => None,
        Some(Value::Bool(enabled)) => Some(enabled),
        Some(_) => return Err(invalid(judge, "enabled must be true or false")),
    };
    if reference.as_deref() == Some("") || action.is_empty() {
        return Err(invalid(judge, "ref and action must not be empty"));
    }
    let mut extra = Map::new();
    for name in ["action_parameters", "logging"] {
        match object.remove(name) {
            None => {}
            Some(value @ Value::Object(_)) => drop(extra.insert(name.to_owned(), value)),
            Some(_) => return Err(invalid(judge, &format!("{name} must be an object"))),
        }
    }
    nothing_left(&object, judge)?;
    Ok(NewRule { id, reference, expression, action, description, enabled, extra })
}

fn place(position: &Value, judge: &mut Judge) -> Result<Place, ApiError> {
    let entries = position.as_object().filter(|entries| entries.len() == 1);
    let Some((name, value)) = entries.and_then(|entries| entries.iter().next()) else {
        return Err(invalid(judge, "a position has exactly one of before, after, index"));
    };
    match (name.as_str(), value) {
        // An empty value means the top or the bottom.
        ("before", Value::String(id)) if id.is_empty() => Ok(Place::Start),
        ("after", Value::String(id)) if id.is_empty() => Ok(Place::End),
        ("before", Value::String(id)) if parse_hex_id(id).is_some() => {
            Ok(Place::Before(id.clone()))
        }
        ("after", Value::String(id)) if parse_hex_id(id).is_some() => Ok(Place::After(id.clone())),
        ("index", value) => match value.as_u64().and_then(|index| usize::try_from(index).ok()) {
            Some(index @ 1..) => Ok(Place::Index(index)),
            _ => Err(invalid(judge, "an index counts from 1")),
        },
        _ => Err(invalid(judge, "a position names a rule by its id")),
    }
}

fn object(body: &[u8], judge: &mut Judge) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(invalid(judge, "the body is not a JSON object")),
    }
}

fn text(
    object: &mut Map<String, Value>,
    name: &str,
    judge: &mut Judge,
) -> Result<Option<String>, ApiError> {
    match object.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(judge, &format!("{name} must be text"))),
    }
}

fn nothing_left(object: &Map<String, Value>, judge: &mut Judge) -> Result<(), ApiError> {
    match object.keys().next() {
        None => Ok(()),
        Some(name) => Err(invalid(judge, &format!("the field {name:?} does not belong here"))),
    }
}

fn invalid(judge: &mut Judge, why: &str) -> ApiError {
    judge.note(why);
    codes::INVALID_BODY.with(format!("simulator: invalid request body: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_body_of_each_shape_is_accepted_or_refused() {
        let id = "2c0fc9fa937b11eaa1b71c4d701ab86e";
        for (body, accepted) in [
            (r#"{"expression":"true","action":"log"}"#.to_owned(), true),
            (r#"{"expression":"true","action":"log","ref":"a","enabled":false}"#.to_owned(), true),
            (r#"{"position":{"index":1}}"#.to_owned(), true),
            (r#"{"position":{"after":""}}"#.to_owned(), true),
            (format!(r#"{{"position":{{"before":"{id}"}}}}"#), true),
            (r#"{"position":{"index":0}}"#.to_owned(), false),
            (r#"{"position":{"before":"short"}}"#.to_owned(), false),
            (format!(r#"{{"position":{{"before":"{id}","index":1}}}}"#), false),
            (r#"{"action":"log"}"#.to_owned(), false),
            (r#"{"expression":"true"}"#.to_owned(), false),
            (r#"{"expression":"","action":""}"#.to_owned(), false),
            (r#"{"expression":"true","action":"log","version":"1"}"#.to_owned(), false),
            (format!(r#"{{"expression":"true","action":"log","id":"{id}"}}"#), false),
            (r#"{"expression":"true","action":"log","enabled":"yes"}"#.to_owned(), false),
            ("{}".to_owned(), false),
            ("[]".to_owned(), false),
            (String::new(), false),
        ] {
            let mut judge = Judge::default();
            let result = rule_request(body.as_bytes(), &mut judge);
            assert_eq!(result.is_ok(), accepted, "{body}: {result:?}");
            assert_eq!(judge.violations().is_empty(), accepted, "{body}");
        }
    }
}
