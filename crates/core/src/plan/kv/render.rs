//! A KV plan as one line for people, and as JSON.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::log::thousands;
use crate::plan::Why;

use super::{KvPlan, Put};

/// One line: `new_ban 3, lifted 1 =4,996; 2 left to expire`.
impl fmt::Display for KvPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = Why::ALL
            .into_iter()
            .filter(|why| self.count(*why) > 0)
            .map(|why| format!("{} {}", why.as_str(), thousands(self.count(why))))
            .collect();
        let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        write!(f, "{parts} ={}", thousands(self.keep))?;
        if self.running_out > 0 {
            write!(f, "; {} left to expire", thousands(self.running_out))?;
        }
        Ok(())
    }
}

impl Serialize for KvPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let put = |put: &Put| (put.address, put.value, put.ttl_secs, put.why.as_str());
        let puts: Vec<_> = self.puts.iter().map(put).collect();
        let deletes: Vec<_> = self.deletes.iter().map(|d| (&d.key, d.why.as_str())).collect();
        let ranges = &self.ranges;
        let range_puts: Vec<_> = ranges.puts().iter().map(put).collect();
        let range_removals: Vec<_> =
            ranges.removals().iter().map(|gone| (gone.range, gone.why.as_str())).collect();
        let held_ranges = ranges.held().iter().map(|gone| gone.range.to_string());
        let held: Vec<_> =
            self.held.iter().map(|delete| delete.key.clone()).chain(held_ranges).collect();
        let mut out = serializer.serialize_struct("KvPlan", 7)?;
        out.serialize_field("drift", &self.drift())?;
        out.serialize_field("keep", &self.keep)?;
        out.serialize_field("put", &puts)?;
        out.serialize_field("delete", &deletes)?;
        out.serialize_field("put_ranges", &range_puts)?;
        out.serialize_field("delete_ranges", &range_removals)?;
        out.serialize_field("held", &held)?;
        out.end()
    }
}
