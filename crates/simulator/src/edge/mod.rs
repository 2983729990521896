//! What the edge does with a visitor: the oracle that says whether what the client wrote has the effect
//! that it meant (facts: cloudflare-rules.md 1, 2 and 4.3). Lists and rules reach the edge with a lag;
//! [`Edge`] keeps every state that it was in, so that any moment can be asked about, also afterwards.
//!
//! ```text
//! rulesets ──(lag)──┐
//!                   ├── Edge: zone, moment, address, country, AS number ──> Verdict
//! lists ────(lag)───┘
//!                       expression (parser, fields, values): the language of the rules
//! ```
//!
//! The same parser decides which expressions the API takes. It shares nothing with the client.

mod expression;
mod fields;
mod oracle;
mod parser;
mod timeline;
mod touched;
mod values;

pub use oracle::{Edge, Verdict, Visitor};

pub(crate) use expression::{Dialect, Expression};
