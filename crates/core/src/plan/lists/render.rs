//! A plan for the lists as one line for people.

use std::fmt;

use crate::log::thousands;

use super::Plan;

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
