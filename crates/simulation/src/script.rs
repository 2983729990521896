//! A bad day, written down: everything that decides what a simulation meets, as one JSON file. A seed makes
//! one (`generate`), shrinking takes things out of it, and replaying one needs no seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that a simulation is made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Where it came from; also the seed of the simulator's identifiers.
    pub seed: u64,
    /// What it is about, or what it once broke: for the reader.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub story: String,
    /// Which targets are in use.
    pub targets: Targets,
    /// Settings that are not the defaults. Ids, keys and origins are filled in by the player.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Knobs of the simulator that are not the defaults, as `name=value`.
    #[serde(default)]
    pub knobs: Vec<String>,
    /// What is on the lists, or in the namespace, before the first run.
    #[serde(default)]
    pub before: Vec<Item>,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// The targets in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// The ban list.
    #[serde(default)]
    pub ban_list: bool,
    /// The captcha list.
    #[serde(default)]
    pub captcha_list: bool,
    /// The KV namespace.
    #[serde(default)]
    pub kv: bool,
    /// How many zones have rules of ours.
    #[serde(default)]
    pub zones: u8,
}

/// A place at the edge where others may do something, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The ban list.
    Ban,
    /// The captcha list.
    Captcha,
    /// A list that is not ours.
    OtherList,
    /// The KV namespace.
    Kv,
}

/// What is at the edge before anything happens, or is put there by others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Where.
    pub place: Place,
    /// The item's value, or the key.
    pub name: String,
    /// The key's value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// How long the key lasts, in seconds from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<u64>,
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Milliseconds since the start.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// CrowdSec decides.
    Decide(Decide),
    /// Every decision with this value is deleted.
    Lift(String),
    /// A row of LAPI's that is no decision.
    RawRow(String),
    /// LAPI comes back with an empty database.
    LoseDatabase,
    /// The database that was lost is back.
    RestoreDatabase,
    /// Every decision of this origin is inserted anew, and lasts this many seconds from now.
    Reinsert(String, u64),
    /// A fault, in the simulator's words.
    Fault(String),
    /// The faults end.
    FaultsEnd,
    /// A knob of Cloudflare's, as `name=value`.
    Knob(String),
    /// A setting is another from now on.
    Setting(String, String),
    /// Others put something at the edge.
    OthersPut(Item),
    /// Others take something off the edge.
    OthersTake(Place, String),
    /// Others empty a place.
    OthersEmpty(Place),
    /// Others change the rules of a zone.
    OthersEdit(u8, String),
    /// The clock of the host is put so many seconds ahead, or back.
    ClockStep(i64),
    /// The store forgets everything.
    StoreForgets,
    /// A value of the store becomes garbage.
    StoreGarbles(String, String),
    /// A run begins.
    Run(Run),
}

/// A decision of CrowdSec's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// As it stands in the database.
    pub value: String,
    /// `ban`, `captcha`, or anything.
    pub kind: String,
    /// `Ip`, `Range`, …
    pub scope: String,
    /// Who.
    pub origin: String,
    /// Why.
    pub scenario: String,
    /// Seconds.
    pub lasts: u64,
}

/// One run and what it meets of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// How its store is.
    #[serde(default)]
    pub store: StoreMood,
    /// It is killed at this request, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub killed_at: Option<u32>,
    /// The request that it is killed at still has its effect.
    #[serde(default)]
    pub killed_after_effect: bool,
    /// Its host's clock is off by so many seconds.
    #[serde(default)]
    pub skew: i64,
}

/// How a run's store behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreMood {
    /// It keeps what it is given.
    #[default]
    Works,
    /// The host has none.
    Absent,
    /// Every so many-th use of it is an error, from the n-th on.
    Errors(u32),
    /// The n-th value that is set is lost, and it says that all is well.
    LosesWrite(u32),
    /// The n-th value that is asked for is the one before the last.
    Stale(u32),
}
