//! The plan for people (text) and for programs (JSON).

use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::address::Address;
use crate::log::{plural, thousands};

use super::{Change, ListPlan, Operation, Plan};

/// One line: `ban +3 -1 =4,996, captcha +0 -0 =12; 2 bulk operations`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, list) in self.lists.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            let [added, removed, keep] = [list.added(), list.removed(), list.keep].map(thousands);
            write!(f, "{} +{added} -{removed} ={keep}", list.list)?;
        }
        write!(f, "; {}", plural(self.operations.len() as u64, "bulk operation"))
    }
}

impl Plan {
    /// The changes and the operations, a line each, at most `changes_max` changes.
    pub fn describe(&self, changes_max: usize) -> String {
        let mut out = String::new();
        let changes = self.lists.iter().flat_map(|l| l.changes.iter().map(move |c| (l.list, c)));
        for (list, change) in changes.take(changes_max) {
            let _ = match change {
                Change::Add(address) => writeln!(out, "+ {address} ({list})"),
                Change::Remove(address, why) => {
                    writeln!(out, "- {address} ({list}; {})", why.as_str())
                }
            };
        }
        let more = self.drift().saturating_sub(changes_max as u64);
        if more > 0 {
            let _ = writeln!(out, "… and {}", plural(more, "more change"));
        }
        for (at, operation) in self.operations.iter().enumerate() {
            let _ = writeln!(out, "{}. {operation}", at + 1);
        }
        out
    }
}

/// `PUT ban: 5,000 items (+3 -1)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = self.effect();
        write!(f, "{} {}: {}", self.verb(), effect.list, plural(self.len() as u64, "item"))?;
        if let Self::Replace { .. } = self {
            write!(f, " (+{} -{})", thousands(effect.added), thousands(effect.removed))?;
        }
        Ok(())
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Plan", 4)?;
        out.serialize_field("drift", &self.drift())?;
        out.serialize_field("lists", &self.lists)?;
        out.serialize_field("origins", &self.origins)?;
        out.serialize_field("operations", &self.operations)?;
        out.end()
    }
}

impl Serialize for ListPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut add, mut remove) = (Vec::new(), Vec::new());
        for change in &self.changes {
            match change {
                Change::Add(address) => add.push(address),
                Change::Remove(address, why) => remove.push(Removal { address, why: why.as_str() }),
            }
        }
        let mut out = serializer.serialize_struct("ListPlan", 6)?;
        out.serialize_field("list", &self.list)?;
        out.serialize_field("desired", &self.desired)?;
        out.serialize_field("keep", &self.keep)?;
        out.serialize_field("left_alone", &self.foreign)?;
        out.serialize_field("add", &add)?;
        out.serialize_field("remove", &remove)?;
        out.end()
    }
}

#[derive(serde::Serialize)]
struct Removal<'a> {
    address: &'a Address,
    why: &'static str,
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let effect = self.effect();
        let mut out = serializer.serialize_struct("Operation", 5)?;
        out.serialize_field("method", self.verb())?;
        out.serialize_field("list", &effect.list)?;
        out.serialize_field("items", &self.len())?;
        out.serialize_field("added", &effect.added)?;
        out.serialize_field("removed", &effect.removed)?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use crate::desired::Desired;
    use crate::observed::lists::{Observed, ObservedList};
    use crate::plan::lists::{Plan, Rules, diff};

    fn plan() -> Plan {
        let desired = Desired::of(&["203.0.113.7", "198.51.100.1"], &["192.0.2.9"]);
        let observed =
            Observed::of(ObservedList::of(&["198.51.100.1"]), ObservedList::of(&["203.0.113.7"]));
        diff(&desired, &observed, Rules::at(SystemTime::UNIX_EPOCH))
    }

    #[test]
    fn plan_shown_as_text_reads_as_a_story() {
        assert_eq!(plan().to_string(), "ban +1 -0 =1, captcha +1 -1 =0; 2 bulk operations");
        insta::assert_snapshot!(plan().describe(2), @r"
        + 203.0.113.7 (ban)
        + 192.0.2.9 (captcha)
        … and 1 more change
        1. POST ban: 1 item
        2. PUT captcha: 1 item (+1 -1)
        ");
    }

    #[test]
    fn plan_shown_as_json_says_the_same() {
        insta::assert_snapshot!(serde_json::to_string(&plan()).unwrap(), @r#"{"drift":3,"lists":[{"list":"ban","desired":2,"keep":1,"left_alone":0,"add":["203.0.113.7"],"remove":[]},{"list":"captcha","desired":1,"keep":0,"left_alone":0,"add":["192.0.2.9"],"remove":[{"address":"203.0.113.7","why":"moved"}]}],"origins":[{"origin":"cscli","ipv4":3,"ipv6":0,"dropped":0}],"operations":[{"method":"POST","list":"ban","items":1,"added":1,"removed":0},{"method":"PUT","list":"captcha","items":1,"added":1,"removed":1}]}"#);
    }
}
