//! A KV plan as one line for people.

use std::fmt;

use crate::log::thousands;
use crate::plan::Why;

use super::KvPlan;

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
