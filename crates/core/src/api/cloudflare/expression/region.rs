//! Countries and autonomous systems, as a rule names them.
//!
//! Source: facts cloudflare-rules 2. What Cloudflare does with a code that is nobody's is unknown, so
//! only codes that somebody has exist here.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The codes that ISO 3166-1 alpha-2 assigns. Not the reserved ones: `UK` is one, and no address is
/// ever found there.
const ASSIGNED: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS \
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE \
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC \
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA \
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO \
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// Cloudflare's own: Tor, and where it does not know the country.
const CLOUDFLARES: [&str; 2] = ["T1", "XX"];

/// A country that Cloudflare can say of an address.
///
/// `Display` is the code in capitals; `FromStr` takes any case and white space around it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Country(&'static str);

impl Country {
    /// The code, in capitals.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// All of them: the assigned ones in order, then Cloudflare's own.
    fn all() -> impl Iterator<Item = Self> {
        // Each two letters and a blank.
        let assigned = (0..ASSIGNED.len()).step_by(3).map(|at| &ASSIGNED[at..at + 2]);
        assigned.chain(CLOUDFLARES).map(Self)
    }
}

impl FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let text = text.trim_ascii();
        Self::all().find(|country| country.0.eq_ignore_ascii_case(text)).ok_or(NotACountry)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The text is no country's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a country of ISO 3166-1 (two letters, assigned), T1 or XX")]
pub struct NotACountry;

/// The number of an autonomous system: 1 to 4294967295.
///
/// Not 0: nobody has it (RFC 7607), and it could stand for "not known" at the edge, which would be
/// a ban of everybody of whom it is not.
///
/// `Display` is the bare number; `FromStr` also takes `AS` before it, in any case, and white space
/// around it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asn(NonZeroU32);

impl Asn {
    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for Asn {
    type Err = NotAnAsn;

    fn from_str(text: &str) -> Result<Self, NotAnAsn> {
        let text = text.trim_ascii();
        let digits = match text.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("AS") => &text[2..],
            _ => text,
        };
        // `u32::from_str` would take "+8".
        match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().map(Self).map_err(|_| NotAnAsn),
            false => Err(NotAnAsn),
        }
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AS{}", self.0)
    }
}

/// The text is no number of an autonomous system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of an autonomous system (1 to 4294967295, with or without AS)")]
pub struct NotAnAsn;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_the_assigned_ones_once_each_and_in_order() {
        let codes: Vec<&str> = ASSIGNED.split(' ').collect();
        let all: Vec<&str> = Country::all().map(Country::as_str).collect();
        assert_eq!(all, [&codes[..], &CLOUDFLARES].concat());
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted_by(|a, b| a < b));
        let capitals =
            |code: &&str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
        assert!(codes.iter().all(capitals));
    }

    #[test]
    fn country_of_any_spelling_parsed_is_its_code_or_refused() {
        for (text, code) in [
            ("CN", Some("CN")),
            (" fr\n", Some("FR")),
            ("t1", Some("T1")),
            ("XX", Some("XX")),
            ("UK", None),
            ("EU", None),
            ("XK", None),
            ("A1", None),
            ("ZZ", None),
            ("", None),
            ("C", None),
            ("CHN", None),
            ("AD AE", None),
            ("D ", None),
            ("\"CN\"", None),
            ("ſS", None),
        ] {
            assert_eq!(text.parse().ok().map(Country::as_str), code, "{text:?}");
        }
    }

    #[test]
    fn asn_of_any_spelling_parsed_is_its_number_or_refused() {
        for (text, number) in [
            ("64496", Some(64_496)),
            ("AS64496", Some(64_496)),
            ("as1", Some(1)),
            (" aS4294967295 ", Some(u32::MAX)),
            ("AS4294967296", None),
            ("AS0", None),
            ("0", None),
            ("AS", None),
            ("", None),
            ("ASAS1", None),
            ("+1", None),
            ("AS-1", None),
            ("1.5", None),
            ("64500..64502", None),
            ("é1", None),
        ] {
            assert_eq!(text.parse().ok().map(Asn::get), number, "{text:?}");
        }
    }
}
