//! A plan for the lists as one line for people, and as JSON.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::address::Address;
use crate::log::thousands;

use super::{ListPlan, Plan, Removal};

/// One line: `ban +3 -1 =4,996, captcha +0 -0 =12`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, list) in self.lists.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            let [added, removed, keep] = [list.added(), list.removed(), list.keep].map(thousands);
            write!(f, "{} +{added} -{removed} ={keep}", list.list)?;
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
        out.serialize_field("set_aside", &self.set_aside.count)?;
        out.end()
    }
}

impl Serialize for ListPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let add: Vec<&Address> = self.additions.iter().map(|addition| &addition.address).collect();
        let mut out = serializer.serialize_struct("ListPlan", 7)?;
        out.serialize_field("list", &self.list)?;
        out.serialize_field("desired", &self.desired)?;
        out.serialize_field("keep", &self.keep)?;
        out.serialize_field("left_alone", &self.foreign)?;
        out.serialize_field("add", &add)?;
        out.serialize_field("remove", &Removals(&self.removals))?;
        out.serialize_field("held", &Removals(&self.held))?;
        out.end()
    }
}

struct Removals<'a>(&'a [Removal]);

impl Serialize for Removals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown =
            |removal: &Removal| Shown { address: removal.address, why: removal.why.as_str() };
        serializer.collect_seq(self.0.iter().map(shown))
    }
}

#[derive(serde::Serialize)]
struct Shown {
    address: Address,
    why: &'static str,
}
