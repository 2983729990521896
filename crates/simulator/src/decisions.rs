//! Made-up decisions in the mix that a LAPI with community lists shows (facts: crowdsec.md 1.1, 1.8).
//! The first `n` of a longer series are the series of length `n`, so a test can preload a list with
//! one slice and give LAPI another, which overlaps as much as it wants.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::lapi::Decision;
use crate::random::Random;

/// What [`generate_mix`] mixes. Percentages are of all decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// IPv6 addresses.
    pub ipv6_percent: u8,
    /// Type `captcha`. The community's lists hold bans only, so these are local.
    pub captcha_percent: u8,
    /// Rows that say again what an earlier row said about the same address, maybe with another type.
    pub duplicate_percent: u8,
    /// Addresses in a spelling that is not the canonical one: long or upper-case IPv6, `/32`, `/128`,
    /// IPv4-mapped.
    pub odd_percent: u8,
    /// The shortest life of a decision, from the simulator's start.
    pub life_min: Duration,
    /// The longest.
    pub life_max: Duration,
}

impl Default for Mix {
    /// No duplicates, no odd spellings: each decision is one item of a list.
    fn default() -> Self {
        Self {
            ipv6_percent: 10,
            captcha_percent: 5,
            duplicate_percent: 0,
            odd_percent: 0,
            life_min: Duration::from_secs(3_600),
            life_max: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

impl Mix {
    /// What a LAPI with importers looks like: one row in ten is a duplicate, one in twenty is odd.
    pub fn untidy() -> Self {
        Self { duplicate_percent: 10, odd_percent: 5, ..Self::default() }
    }
}

/// `count` decisions in the default mix.
pub fn generate(count: usize, seed: u64) -> Vec<Decision> {
    generate_mix(count, seed, &Mix::default())
}

/// `count` decisions in this mix. Their ids are left to [`crate::Lapi::add_all`].
pub fn generate_mix(count: usize, seed: u64, mix: &Mix) -> Vec<Decision> {
    let mut random = Random::new(seed, "decisions");
    let mut used = HashSet::with_capacity(count);
    let mut addresses: Vec<Address> = Vec::with_capacity(count);
    (0..count)
        .map(|_| {
            let address = if !addresses.is_empty() && random.percent(mix.duplicate_percent) {
                addresses[random.below(addresses.len() as u64) as usize]
            } else {
                let fresh = std::iter::repeat_with(|| Address::draw(&mut random, mix.ipv6_percent))
                    .find(|address| used.insert(*address))
                    .expect("there are more addresses than decisions");
                addresses.push(fresh);
                fresh
            };
            let spelling = random.percent(mix.odd_percent).then(|| random.below(3));
            decision(address.spelled(spelling), &mut random, mix)
        })
        .collect()
}

fn decision(value: String, random: &mut Random, mix: &Mix) -> Decision {
    let life = mix.life_max.saturating_sub(mix.life_min).as_millis() as u64 + 1;
    let decision =
        Decision::ban(value).until(mix.life_min + Duration::from_millis(random.below(life)));
    if random.percent(mix.captcha_percent) {
        return decision.kind("captcha").origin("crowdsec").scenario("crowdsecurity/http-crawl");
    }
    match random.below(100) {
        0..70 => decision.origin("CAPI").scenario("http:scan"),
        70..90 => decision.origin("lists").scenario("firehol_cruzit_web_attacks"),
        90..98 => decision.origin("crowdsec").scenario("crowdsecurity/ssh-bf"),
        _ => decision.origin("cscli").scenario("manual 'ban' from 'simulator'"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Address {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl Address {
    /// Public-looking addresses: IPv4 from 11.0.0.0 to 99.255.255.255, IPv6 from 2a00::/12.
    fn draw(random: &mut Random, ipv6_percent: u8) -> Self {
        if random.percent(ipv6_percent) {
            let bits = random.next_u128() >> 12 | 0x2a0 << 116;
            return Self::V6(Ipv6Addr::from(bits));
        }
        let bits = (11 << 24) + random.below(89 << 24);
        Self::V4(Ipv4Addr::from(bits as u32))
    }

    fn spelled(self, spelling: Option<u64>) -> String {
        match (self, spelling) {
            (Self::V4(address), None) => address.to_string(),
            (Self::V6(address), None) => address.to_string(),
            (Self::V4(address), Some(0)) => format!("::ffff:{address}"),
            (Self::V4(address), Some(_)) => format!("{address}/32"),
            (Self::V6(address), Some(0)) => format!("{address}/128"),
            (Self::V6(address), Some(1)) => address.to_string().to_uppercase(),
            (Self::V6(address), Some(_)) => {
                let segments = address.segments().map(|segment| format!("{segment:04x}"));
                segments.join(":")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_generated_twice_are_the_same_and_a_prefix_of_more() {
        let some = generate_mix(500, 7, &Mix::untidy());
        assert_eq!(some, generate_mix(500, 7, &Mix::untidy()));
        assert_eq!(some, generate_mix(900, 7, &Mix::untidy())[..500]);
        assert_ne!(some, generate_mix(500, 8, &Mix::untidy()));
    }

    #[test]
    fn decisions_in_default_mix_are_one_canonical_address_each() {
        let decisions = generate(5_000, 1);
        let values: HashSet<String> = decisions
            .iter()
            .map(|decision| {
                let address: std::net::IpAddr = decision.value.parse().expect("a bare address");
                assert_eq!(address.to_string(), decision.value);
                decision.value.clone()
            })
            .collect();
        assert_eq!(values.len(), 5_000);
        let share = |condition: &dyn Fn(&Decision) -> bool| {
            decisions.iter().filter(|decision| condition(decision)).count() * 100 / 5_000
        };
        assert!((3..=7).contains(&share(&|decision| decision.kind == "captcha")));
        assert!((8..=12).contains(&share(&|decision| decision.value.contains(':'))));
        assert!(share(&|decision| decision.origin == "CAPI") > 50);
        let capi_bans_only = |d: &Decision| d.origin != "CAPI" || d.kind == "ban";
        assert!(decisions.iter().all(capi_bans_only), "CAPI decisions are always bans");
    }
}
