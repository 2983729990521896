//! The addresses of a day: few enough that they meet again and again, in every spelling.

use fastrand::Rng;

use super::pick;

/// Which values there are.
pub(super) struct Pool {
    values: Vec<String>,
    /// The operator's own.
    pub(super) own: Vec<String>,
    next: u32,
}

impl Pool {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let count = *pick(rng, &[3, 6, 12, 24]);
        let mut values = Vec::new();
        for n in 0..count {
            values.push(match rng.u32(..20) {
                0..9 => format!("198.51.100.{}", n + 1),
                9..13 => format!("203.0.113.{}", rng.u32(..8)),
                13..15 => format!("2001:db8::{:x}", n + 1),
                15 => {
                    (*pick(rng, &["203.0.113.0/24", "203.0.113.0/29", "203.0.113.4/30"])).to_owned()
                }
                16 => {
                    (*pick(rng, &["2001:db8::/64", "2001:db8::/48", "198.51.100.0/28"])).to_owned()
                }
                17 => (*pick(rng, &["203.0.113.7/24", "198.51.100.3/31", "2001:db8::1/64"]))
                    .to_owned(),
                18 => (*pick(
                    rng,
                    &["2001:DB8::1", "198.51.100.2/32", "::ffff:198.51.100.3", " 198.51.100.4"],
                ))
                .to_owned(),
                _ => (*pick(
                    rng,
                    &[
                        "no address",
                        "010.1.2.3",
                        "198.51.100.5/33",
                        "10.1.2.3",
                        "::1",
                        "0.0.0.0/0",
                        "fe80::1",
                    ],
                ))
                .to_owned(),
            });
        }
        let own = match rng.u32(..3) {
            0 => vec!["192.0.2.7".to_owned()],
            1 => vec!["192.0.2.7".to_owned(), "192.0.2.128/30".to_owned()],
            _ => vec!["203.0.113.6".to_owned(), "2001:db8::5".to_owned()],
        };
        Self { values, own, next: 0 }
    }

    pub(super) fn value(&self, rng: &mut Rng) -> String {
        pick(rng, &self.values).clone()
    }

    /// One as a list can hold it: not all that is asked for can be there.
    pub(super) fn item(&self, rng: &mut Rng) -> String {
        let value = self.value(rng);
        value.trim().trim_start_matches("::ffff:").to_owned()
    }

    pub(super) fn own(&self, rng: &mut Rng) -> String {
        pick(rng, &self.own).clone()
    }

    /// One that was not there before.
    pub(super) fn fresh(&mut self, rng: &mut Rng) -> String {
        self.next += 1;
        match rng.u32(..8) {
            0 => format!("2001:db8:f::{:x}", self.next),
            _ => format!("100.0.{}.{}", self.next >> 8, self.next & 255),
        }
    }

    /// What no list takes by its API, and is there all the same.
    pub(super) fn foreign(&self, rng: &mut Rng) -> String {
        (*pick(rng, &["example.com", "not-an-address", "2001:DB8:0:0::9", "198.51.100.9/32"]))
            .to_owned()
    }
}
