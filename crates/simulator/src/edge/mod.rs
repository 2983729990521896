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
//!
//! ```
//! use std::time::Duration;
//! use simulator::{Options, Simulator, Verdict, Visitor};
//!
//! let mut world = Simulator::new(Options::default());
//! let zone = world.cloudflare().create_zone("example.com");
//! let list = world.cloudflare().create_list("ban");
//! world.cloudflare().add_rule(&zone, "block", "ip.src in $ban and not ip.src in {192.0.2.7}");
//! world.advance(Duration::from_secs(60));
//! world.cloudflare().preload(&list, ["192.0.2.0/24"]);
//! world.advance(Duration::from_secs(60));
//!
//! let (ip, lifted) = ("192.0.2.1".parse().unwrap(), "192.0.2.7".parse().unwrap());
//! let (nobody, span) = (Visitor::default(), Duration::ZERO..world.now());
//! let edge = world.edge();
//! assert_eq!(edge.decide(&zone, ip, &nobody), Verdict::Block);
//! let open = edge.time_while(&zone, ip, &nobody, span.clone(), |verdict| verdict == Verdict::Pass);
//! assert_eq!(open, Duration::from_secs(60));
//! assert_eq!(edge.verdicts_over(&zone, lifted, &nobody, span), [(Duration::ZERO, Verdict::Pass)]);
//! ```

mod expression;
mod fields;
mod oracle;
mod parser;
mod timeline;
mod touched;
mod values;

pub use oracle::{Edge, Verdict, Visitor};

pub(crate) use expression::{Dialect, Expression};
