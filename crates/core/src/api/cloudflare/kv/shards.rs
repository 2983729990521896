//! The layout `shards`: 16 values that share the addresses, and one for everything else, which also says
//! which layout is served. `docs/kv.md` has the form of the values; the Worker reads the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::address::Address;
use crate::decision::Remediation;
use crate::ports::{Answer, Method, Request};
use crate::settings::Id;

use super::super::expression::{Asn, Country};
use super::super::{Account, CallError, not_the_api, raw};
use super::{RangeEntry, Ranges, Regions, path, write};

/// How many values share the addresses. Always so many: more of them are colder at each location, and the
/// free plan's reads of a day belong to the visitors.
pub const SHARDS: usize = 16;
/// All values of the layout: the shards, and the one beside them.
pub const UNITS: usize = SHARDS + 1;
/// Which of them is the one beside the shards.
pub const WIDE: usize = SHARDS;
/// The largest value that is written: a Worker on the free plan has 10 ms for a request.
pub const SHARD_BYTES_MAX: usize = 1 << 20;
/// The largest answer that holds all of them: JSON has two bytes for each line's end.
pub const ANSWER_BYTES_MAX: usize = 24 << 20;
/// The word for an exception, where others say what is done.
const NEVER: &str = "never";

/// The name of a value: `ip:s16:0` to `ip:s16:f`, and `ip:wide`.
pub fn unit_key(prefix: &str, unit: usize) -> String {
    if unit == WIDE { format!("{prefix}wide") } else { format!("{prefix}s16:{unit:x}") }
}

/// Whether this, behind the prefix, is the name of one of the values.
pub fn is_unit(name: &str) -> bool {
    unit_of(name).is_some()
}

/// Which of the values has this name behind the prefix.
fn unit_of(name: &str) -> Option<usize> {
    if name == "wide" {
        return Some(WIDE);
    }
    match name.strip_prefix("s16:")?.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        [digit @ b'a'..=b'f'] => Some(usize::from(digit - b'a') + 10),
        _ => None,
    }
}

/// The shard of a single address: FNV-1a over its 16 bytes, mixed once more, for the highest bits alone
/// would hardly see the last byte. The Worker computes the same (`docs/kv.md`).
pub fn shard(address: &Address) -> usize {
    let bytes = match address.net() {
        IpNet::V4(net) => net.addr().to_ipv6_mapped().octets(),
        IpNet::V6(net) => net.addr().octets(),
    };
    let mut hash = 0x811c_9dc5_u32;
    for byte in bytes {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    (hash >> 28) as usize
}

/// Which of the two layouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// A key for each address.
    #[default]
    Keys,
    /// 16 values for all of them.
    Shards,
}

impl Layout {
    /// Its name in the marker, as in `kv_layout`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Shards => "shards",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Keys => Self::Shards,
            Self::Shards => Self::Keys,
        }
    }
}

/// What Workers are to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marker {
    /// The layout that is served.
    pub serves: Layout,
    /// Since when, Unix seconds of our clock.
    pub since: u64,
    /// The other layout is gone.
    pub alone: bool,
}

/// One of the values, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Unit {
    /// There is no such key.
    #[default]
    Absent,
    /// What we wrote, at this time by our clock: its generation.
    Ours(u64),
    /// Something else: another tool's, or that of a later version of this program.
    Foreign,
}

impl Unit {
    /// When it was written; nothing counts as written before everything.
    pub fn at(&self) -> u64 {
        match self {
            Self::Ours(at) => *at,
            Self::Absent | Self::Foreign => 0,
        }
    }
}

/// The values of the layout, as they were read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Units {
    /// Each of them, [`WIDE`] the last.
    pub units: [Unit; UNITS],
    /// The marker; `None` = there is none that is ours.
    pub marker: Option<Marker>,
    /// The ranges and what stands beside them.
    pub ranges: Ranges,
}

/// POST: all values at once (facts cloudflare 2.3).
pub fn units(account: &Account, namespace: &Id, prefix: &str) -> Request {
    #[derive(Serialize)]
    struct Body {
        keys: Vec<String>,
        r#type: &'static str,
    }
    let keys = (0..UNITS).map(|unit| unit_key(prefix, unit)).collect();
    let path = format!("{}/bulk/get", path(namespace));
    write(account, Method::Post, path, &Body { keys, r#type: "text" })
}

/// Reads the answer to [`units`]. `each` takes what the shards hold: address, entry, when it was written.
/// That a key is not among the values is no sign that it is absent.
pub fn decode_units(
    answer: &Answer,
    prefix: &str,
    each: &mut dyn FnMut(Address, RangeEntry, u64),
) -> Result<Units, CallError> {
    let mut read = Units::default();
    let mut seen = [false; UNITS];
    // The values are read one after the other, and none is kept: together they may have megabytes.
    let mut values = Values { prefix, each, read: &mut read, seen: &mut seen };
    let text = raw(answer)?.map_or("", |result| result.get()).as_bytes();
    let taken = values.deserialize(&mut serde_json::Deserializer::from_slice(text));
    if taken.is_err() || seen.contains(&false) {
        return Err(not_the_api(answer));
    }
    if read.units[WIDE] == Unit::Foreign {
        read.ranges = Ranges::Foreign;
    }
    Ok(read)
}

/// Takes the values of the answer as they come: `{"values": {"<key>": "<text>" or null, …}}`.
struct Values<'a> {
    prefix: &'a str,
    each: &'a mut dyn FnMut(Address, RangeEntry, u64),
    read: &'a mut Units,
    seen: &'a mut [bool; UNITS],
}

impl Values<'_> {
    fn take(&mut self, key: &str, value: Option<&str>) {
        let Some(unit) = key.strip_prefix(self.prefix).and_then(unit_of) else { return };
        self.seen[unit] = true;
        let Some(text) = value else { return };
        let at = match unit {
            WIDE => read_wide(text, self.read),
            _ => read_shard(text, unit, self.each),
        };
        self.read.units[unit] = at.map_or(Unit::Foreign, Unit::Ours);
    }
}

impl<'de> DeserializeSeed<'de> for &mut Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "values" {
                map.next_value_seed(&mut *self)?;
            } else if key.starts_with(self.prefix) {
                let value: Option<Cow<'de, str>> = map.next_value()?;
                self.take(&key, value.as_deref());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// What of the first line follows kind and version; and the other lines.
fn opened<'a>(
    text: &'a str,
    kind: &str,
) -> Option<(std::str::Split<'a, char>, std::str::Split<'a, char>)> {
    // Cut off or added to, it would not end with a line.
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let mut head = lines.next()?.split(' ');
    let is_ours = head.next() == Some("edge-sync")
        && head.next() == Some(kind)
        && head.next() == Some(VERSION);
    is_ours.then_some((head, lines))
}

/// The version of the values.
const VERSION: &str = "1";

/// A line: of what, what is done, until when.
fn read_line(line: &str) -> Option<(&str, &str, u64)> {
    let mut words = line.split(' ');
    let parts = (words.next()?, words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(parts)
}

fn read_entry(word: &str, expires: u64) -> Option<RangeEntry> {
    Some(RangeEntry { value: Remediation::from_type(word)?, expires })
}

/// An address in the one spelling that is looked up.
fn read_address(text: &str) -> Option<Address> {
    let address: Address = text.parse().ok()?;
    (address.to_string() == text).then_some(address)
}

fn read_shard(
    text: &str,
    unit: usize,
    each: &mut dyn FnMut(Address, RangeEntry, u64),
) -> Option<u64> {
    let read = |line: &str| {
        let (address, word, expires) = read_line(line)?;
        let address = read_address(address)?;
        let is_here = address.is_single() && shard(&address) == unit;
        is_here.then_some((address, read_entry(word, expires)?))
    };
    let (mut head, lines) = opened(text, "shard")?;
    let at = head.next()?.parse().ok()?;
    // Twice, so that nothing of a value is taken that is in any part not ours.
    if head.next().is_some() || !lines.clone().all(|line| read(line).is_some()) {
        return None;
    }
    for (address, entry) in lines.filter_map(read) {
        each(address, entry, at);
    }
    Some(at)
}

/// What the value beside the shards says Workers are to read; `None` = it is not ours.
pub fn marker(text: &str) -> Option<Marker> {
    let mut units = Units::default();
    read_wide(text, &mut units)?;
    units.marker
}

fn read_wide(text: &str, into: &mut Units) -> Option<u64> {
    let (mut head, lines) = opened(text, "wide")?;
    let at = head.next()?.parse().ok()?;
    let serves = match head.next()? {
        "keys" => Layout::Keys,
        "shards" => Layout::Shards,
        _ => return None,
    };
    let since = head.next()?.parse().ok()?;
    let alone = match head.next()? {
        "alone" => true,
        "beside" => false,
        _ => return None,
    };
    if head.next().is_some() {
        return None;
    }
    let (mut entries, mut regions) = Default::default();
    for line in lines {
        read_one(line, &mut entries, &mut regions)?;
    }
    into.marker = Some(Marker { serves, since, alone });
    into.ranges = Ranges::Ours { written: at, entries, regions };
    Some(at)
}

/// One entry beside the addresses: a range, a region, or an exception from regions.
pub(super) fn read_one(
    line: &str,
    entries: &mut BTreeMap<Address, RangeEntry>,
    regions: &mut Regions,
) -> Option<()> {
    let (what, word, expires) = read_line(line)?;
    if word == NEVER {
        regions.never.push(read_address(what)?);
    } else if is_region(what) {
        regions.entries.push((what.to_owned(), read_entry(word, expires)?));
    } else {
        let range = read_address(what).filter(|range| !range.is_single())?;
        entries.insert(range, read_entry(word, expires)?);
    }
    Some(())
}

/// Whether this names a region as we do: `country:CN`, `as:64496`.
fn is_region(text: &str) -> bool {
    let is = |code: &str, own: Option<String>| own.as_deref() == Some(code);
    match text.split_once(':') {
        Some(("country", code)) => is(code, code.parse::<Country>().ok().map(|of| of.to_string())),
        Some(("as", number)) => is(number, number.parse::<Asn>().ok().map(|of| of.to_string())),
        _ => false,
    }
}

/// A line of an address, a range or a region.
pub fn push_line(body: &mut String, what: &str, value: Remediation, expires: u64) {
    push(body, what, value.as_str(), expires);
}

/// The lines of regions and of the exceptions from them, which are nothing without one.
pub fn push_regions(body: &mut String, regions: &Regions) {
    if regions.entries.is_empty() {
        return;
    }
    for address in &regions.never {
        push(body, &address.to_string(), NEVER, 0);
    }
    for (region, entry) in &regions.entries {
        push_line(body, region, entry.value, entry.expires);
    }
}

fn push(body: &mut String, what: &str, word: &str, number: u64) {
    for part in [what, " ", word, " ", &number.to_string(), "\n"] {
        body.push_str(part);
    }
}

/// A value's lines, and what its first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// Which value.
    pub unit: usize,
    /// Of [`WIDE`].
    pub marker: Option<Marker>,
    /// All lines but the first.
    pub body: String,
}

impl Lines {
    /// The value, as of `now`.
    pub(super) fn text(&self, now: u64) -> String {
        let head = match self.marker {
            None => format!("edge-sync shard {VERSION} {now}\n"),
            Some(Marker { serves, since, alone }) => {
                let (serves, alone) = (serves.as_str(), if alone { "alone" } else { "beside" });
                format!("edge-sync wide {VERSION} {now} {serves} {since} {alone}\n")
            }
        };
        head + &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Remediation::{Ban, Captcha};
    use crate::ports::ResponseHead;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn answer(values: &serde_json::Value) -> Answer {
        let body = serde_json::json!({ "success": true, "result": { "values": values } });
        Answer::of(200, body.to_string())
    }

    fn all(value: Option<&str>) -> serde_json::Value {
        (0..UNITS).map(|unit| (unit_key("ip:", unit), serde_json::json!(value))).collect()
    }

    fn read(values: &serde_json::Value) -> (Units, Vec<(String, RangeEntry)>) {
        let mut entries = Vec::new();
        let mut each = |address: Address, entry, _| entries.push((address.to_string(), entry));
        let read = decode_units(&answer(values), "ip:", &mut each).unwrap();
        (read, entries)
    }

    /// The same addresses are in the Worker's tests.
    #[test]
    fn golden_addresses_have_the_shards_that_the_worker_knows() {
        let golden = include_str!("../../../../../../tests/fixtures/kv-shards.json");
        let golden: BTreeMap<String, String> = serde_json::from_str(golden).unwrap();
        assert!(golden.len() >= 20);
        for (text, digit) in golden {
            assert_eq!(format!("{:x}", shard(&address(&text))), digit, "{text}");
        }
    }

    #[test]
    fn addresses_of_any_pattern_are_spread_evenly() {
        type Pattern = fn(u32) -> String;
        let patterns: [Pattern; 5] = [
            |n| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255),
            |n| format!("{}.{}.{}.1", 1 + (n >> 16), n >> 8 & 255, n & 255),
            |n| format!("{}.{}.0.0", 1 + (n >> 8 & 127), n & 255),
            |n| format!("2001:db8::{:x}", n + 1),
            |n| format!("2001:db8:{:x}::", n + 1),
        ];
        for pattern in patterns {
            let mut counts = [0_u32; SHARDS];
            (0..16_000).for_each(|n| counts[shard(&address(&pattern(n)))] += 1);
            assert!(counts.iter().all(|count| (700..1_300).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn values_written_and_read_again_are_the_same() {
        let (one, six) = (address("203.0.113.7"), address("2001:db8::1"));
        let mut values = all(None);
        for (address, value) in [(one, Ban), (six, Captcha)] {
            let mut body = String::new();
            push_line(&mut body, &address.to_string(), value, 500);
            let lines = Lines { unit: shard(&address), marker: None, body };
            values[unit_key("ip:", lines.unit)] = lines.text(100).into();
        }
        let marker = Marker { serves: Layout::Shards, since: 90, alone: true };
        let mut body = String::new();
        push_line(&mut body, "198.51.100.0/24", Ban, 600);
        let region = |name: &str, value, expires| (name.to_owned(), RangeEntry { value, expires });
        let entries = vec![region("country:CN", Captcha, 700), region("as:64496", Ban, 800)];
        push_regions(&mut body, &Regions { entries, never: vec![one] });
        let lines = Lines { unit: WIDE, marker: Some(marker), body };
        values[unit_key("ip:", WIDE)] = lines.text(101).into();
        assert_eq!(
            lines.text(101),
            "edge-sync wide 1 101 shards 90 alone\n198.51.100.0/24 ban 600\n203.0.113.7 never 0\ncountry:CN captcha 700\nas:64496 ban 800\n"
        );
        let (units, mut entries) = read(&values);
        entries.sort_by_key(|(_, entry)| entry.expires + u64::from(entry.value == Ban));
        let entry = |value| RangeEntry { value, expires: 500 };
        assert_eq!(entries, [(six.to_string(), entry(Captcha)), (one.to_string(), entry(Ban))]);
        assert_eq!((units.marker, units.units[WIDE].at()), (Some(marker), 101));
        assert_eq!(units.units[shard(&one)], Unit::Ours(100));
        let Ranges::Ours { written, entries, regions } = units.ranges else { panic!("not ours") };
        assert_eq!((written, entries.len(), regions.entries.len()), (101, 1, 2));
        assert_eq!(regions.never, [one]);
    }

    #[test]
    fn value_that_is_in_any_part_not_of_our_making_is_foreign_and_nothing_of_it_is_taken() {
        let here = (0..255).map(|n| format!("203.0.113.{n}"));
        let here = here.into_iter().find(|text| shard(&address(text)) == 3).unwrap();
        let there = (0..255).map(|n| format!("203.0.113.{n}"));
        let there = there.into_iter().find(|text| shard(&address(text)) != 3).unwrap();
        let mut values = all(None);
        for text in [
            "".to_owned(),
            "ban".to_owned(),
            "edge-sync shard 1 100".to_owned(),
            "edge-sync shard 2 100\n".to_owned(),
            "edge-sync shard 1 100 more\n".to_owned(),
            format!("edge-sync shard 1 100\n{here} ban 5"),
            format!("edge-sync shard 1 100\n{here} ban 5\n{there} ban 5\n"),
            format!("edge-sync shard 1 100\n{here} ban 5\n{here}/32 ban 5\n"),
            format!("edge-sync shard 1 100\n{here} ban 5\n{here} throttle 5\n"),
            format!("edge-sync shard 1 100\n{here} ban 5\n\n"),
            format!("edge-sync shard 1 100\n{here} ban 5 6\n"),
        ] {
            values["ip:s16:3"] = text.clone().into();
            let (units, entries) = read(&values);
            assert_eq!((&units.units[3], entries.len()), (&Unit::Foreign, 0), "{text:?}");
        }
        for text in [
            "edge-sync wide 1 100\n",
            "edge-sync wide 1 100 both 90 alone\n",
            "edge-sync wide 1 100 keys 90 alone\ncountry:cn ban 5\n",
            "edge-sync wide 1 100 keys 90 alone\ncountry:QQ ban 5\n",
            "edge-sync wide 1 100 keys 90 alone\nas:AS5 ban 5\n",
            "edge-sync wide 1 100 keys 90 alone\n203.0.113.7 ban 5\n",
            "edge-sync wide 1 100 keys 90 alone\n203.0.113.7/24 ban 5\n",
        ] {
            values["ip:wide"] = text.into();
            let (units, _) = read(&values);
            assert_eq!((&units.units[WIDE], units.marker), (&Unit::Foreign, None), "{text:?}");
            assert_eq!(units.ranges, Ranges::Foreign);
        }
    }

    #[test]
    fn answer_without_one_of_the_values_is_a_failure_and_no_absence() {
        let mut values = all(None);
        assert!(read(&values).0.units.iter().all(|unit| *unit == Unit::Absent));
        values.as_object_mut().unwrap().remove("ip:s16:a");
        let decode = |body: Answer| decode_units(&body, "ip:", &mut |_, _, _| {});
        assert!(decode(answer(&values)).is_err());
        let head = ResponseHead { status: 200, ..ResponseHead::default() };
        for body in [r#"{"success":true,"result":null}"#, r#"{"success":true,"result":{}}"#] {
            let answer = Answer { head: head.clone(), body: body.into() };
            assert!(decode(answer).is_err(), "{body}");
        }
    }
}
