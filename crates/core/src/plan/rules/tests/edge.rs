//! What the edge does with a text: a second reading of the rules' language, which shares nothing with
//! the first. It knows more than we write, and panics at what Cloudflare would refuse.

use std::net::IpAddr;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) country: &'static str,
    pub(super) asn: u32,
}

impl Client {
    /// From nowhere that a region names.
    pub(super) fn at(address: IpAddr) -> Self {
        Self { address, country: "AQ", asn: 1 }
    }
}

/// A prefix as a rule or a list names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    network: u128,
    /// 32 or 128.
    size: u32,
    host_bits: u32,
}

impl Prefix {
    /// Panics if it is none, or if host bits are set.
    pub(super) fn new(text: &str) -> Self {
        let (network, length) = text.split_once('/').unwrap_or((text, ""));
        let (bits, size) = bits(network.parse().expect(text));
        let length = if length.is_empty() { size } else { length.parse().expect(text) };
        let host_bits = size - length;
        let network = bits.checked_shr(host_bits).unwrap_or(0);
        assert_eq!(network.checked_shl(host_bits).unwrap_or(0), bits, "{text}");
        Self { network, size, host_bits }
    }

    /// Each address and range, by its text.
    pub(super) fn all<T: ToString>(addresses: impl IntoIterator<Item = T>) -> Vec<Self> {
        addresses.into_iter().map(|address| Self::new(&address.to_string())).collect()
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        let (bits, size) = bits(address);
        size == self.size && bits.checked_shr(self.host_bits).unwrap_or(0) == self.network
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// Whether a rule with this expression applies to the client.
pub(super) fn applies(expression: &str, list: (&str, &[Prefix]), client: Client) -> bool {
    let spaced = ["(", ")", "{", "}"]
        .iter()
        .fold(expression.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let mut words = spaced.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>();
    words.reverse();
    let mut reader = Reader { words, list, client };
    let applies = reader.any();
    assert!(reader.words.is_empty(), "{expression}");
    applies
}

struct Reader<'a> {
    /// The next is the last.
    words: Vec<&'a str>,
    list: (&'a str, &'a [Prefix]),
    client: Client,
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> bool {
        let mut applies = self.all();
        while self.take("or") {
            applies |= self.all();
        }
        applies
    }

    fn all(&mut self) -> bool {
        let mut applies = self.one();
        while self.take("and") {
            applies &= self.one();
        }
        applies
    }

    fn one(&mut self) -> bool {
        if self.take("not") {
            return !self.one();
        }
        if self.take("(") {
            let applies = self.any();
            assert!(self.take(")"));
            return applies;
        }
        let field = self.words.pop().unwrap();
        assert!(self.take("in"));
        if self.take("{") {
            return self.set(field);
        }
        let (name, items) = self.list;
        assert_eq!(self.words.pop().unwrap().strip_prefix('$'), Some(name));
        assert_eq!(field, "ip.src");
        items.iter().any(|item| item.holds(self.client.address))
    }

    fn set(&mut self, field: &str) -> bool {
        let mut entries = Vec::new();
        while !self.take("}") {
            entries.push(self.words.pop().unwrap());
        }
        assert!(!entries.is_empty());
        // Each of them is read, so that none can hide that is wrong.
        let hits = entries.iter().filter(|entry| match field {
            "ip.src" => Prefix::new(entry).holds(self.client.address),
            "ip.src.country" => {
                let code = entry.strip_prefix('"').and_then(|entry| entry.strip_suffix('"'));
                code.expect(entry) == self.client.country
            }
            "ip.src.asnum" => entry.parse::<u32>().unwrap() == self.client.asn,
            _ => panic!("{field}"),
        });
        hits.count() > 0
    }

    fn take(&mut self, word: &str) -> bool {
        self.words.pop_if(|next| *next == word).is_some()
    }
}

#[test]
fn expression_of_any_form_is_evaluated_as_cloudflare_says() {
    let items = Prefix::all(["192.0.2.0/24", "2001:db8::1"]);
    let at = |address: &str| Client::at(address.parse().unwrap());
    for (expression, address, does_apply) in [
        ("ip.src in $l", "192.0.2.9", true),
        ("ip.src in $l", "192.0.3.9", false),
        ("ip.src in $l", "2001:db8::1", true),
        ("(ip.src in $l and not ip.src in {192.0.2.9 192.0.2.8})", "192.0.2.9", false),
        ("ip.src in $l and not ip.src in {192.0.2.9} or ip.src in {192.0.2.9}", "192.0.2.9", true),
        ("ip.src in $l and not (ip.src in {::/0} or ip.src in {0.0.0.0/0})", "192.0.2.9", false),
        (r#"ip.src.country in {"CN" "AQ"} and ip.src.asnum in {1}"#, "::1", true),
    ] {
        assert_eq!(applies(expression, ("l", &items), at(address)), does_apply, "{expression}");
    }
}
