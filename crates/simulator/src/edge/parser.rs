//! Text to [`Node`]: the part of the rules language that conditions about visitors are written in, read
//! as strictly as the open parser of the language reads it, and more strictly where that is unknown
//! (facts: cloudflare-rules.md 1.2 and 1.3). Functions, maps and arrays are not simulated.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::expression::{Dialect, Node};
use super::fields::{Field, Type};
use super::values::{IntSet, IpSet, parse_ip_range};

/// Parentheses and negations within one another.
const DEPTH_MAX: usize = 128;

/// Why a text is no condition, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// Byte of the text.
    at: usize,
    pub(crate) reason: String,
    /// It may be one for the real service.
    pub(crate) is_not_simulated: bool,
}

impl ParseError {
    /// Line, column and a mark below the text, as the real service tells it.
    pub(crate) fn describe(&self, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let shown = text.split('\n').nth(line).unwrap_or_default();
        let (line, mark, reason) = (line + 1, " ".repeat(column), &self.reason);
        format!("Filter parsing error ({line}:{}):\n{shown}\n{mark}^ {reason}", column + 1)
    }
}

pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Node, ParseError> {
    let mut parser = Parser { text, at: 0, depth: 0, dialect };
    let node = parser.disjunction()?;
    parser.skip_blanks();
    match parser.rest() {
        "" => Ok(node),
        _ => Err(parser.error("unrecognised input")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    dialect: Dialect,
}

/// How a field and a value are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// One of those that only texts have.
    OfText,
    In,
}

type Parsed<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn disjunction(&mut self) -> Parsed<Node> {
        self.chain("or", "||", Node::Or, |parser| {
            parser.chain("xor", "^^", Node::Xor, |parser| {
                parser.chain("and", "&&", Node::And, Self::negation)
            })
        })
    }

    /// Parts with one operator between them.
    fn chain(
        &mut self,
        word: &str,
        symbol: &str,
        joined: impl FnOnce(Vec<Node>) -> Node,
        part: impl Fn(&mut Self) -> Parsed<Node>,
    ) -> Parsed<Node> {
        let mut parts = vec![part(self)?];
        loop {
            self.skip_blanks();
            if !self.eat_word(word) && !self.eat(symbol) {
                break;
            }
            parts.push(part(self)?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => joined(parts),
        })
    }

    fn negation(&mut self) -> Parsed<Node> {
        self.skip_blanks();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("maximum nesting depth exceeded"));
        }
        let is_negated = self.eat_word("not") || (!self.rest().starts_with("!=") && self.eat("!"));
        let node = if is_negated {
            Node::Not(Box::new(self.negation()?))
        } else if self.eat("(") {
            let inner = self.disjunction()?;
            self.skip_blanks();
            match self.eat(")") {
                true => inner,
                false => return Err(self.error("expected ')'")),
            }
        } else {
            self.condition()?
        };
        self.depth -= 1;
        Ok(node)
    }

    /// One field and what is said about it.
    fn condition(&mut self) -> Parsed<Node> {
        let from = self.at;
        let name = self.take_while(is_of_identifier);
        let unknown = |parser: &mut Self, reason: &str| {
            parser.at = from;
            Err(parser.error(reason))
        };
        match name {
            "" => return Err(self.error("expected a field, '(' or 'not'")),
            "true" => return Ok(Node::Constant(true)),
            "false" => return Ok(Node::Constant(false)),
            _ if self.rest().starts_with(['(', '[']) => return Err(self.not_simulated(from)),
            _ => {}
        }
        let Some(field) = Field::named(name) else { return unknown(self, "unknown identifier") };
        if field.holds() == Type::Flag {
            return Ok(Node::Unknown);
        }
        self.skip_blanks();
        let comparison = self.comparison(field.holds())?;
        self.skip_blanks();
        let node = match (field.holds(), comparison) {
            (Type::Ip, Comparison::In) if self.eat("$") => Node::SourceOnList(self.list_name()?),
            (Type::Ip, Comparison::In) => Node::SourceIn(IpSet::of(self.set(Self::ip_range)?)),
            (Type::Ip, _) => {
                let address = self.address()?;
                self.expect_end_of_value(false)?;
                self.ip_condition(comparison, address)
            }
            (Type::Int, Comparison::In) => Node::AsNumberIn(IntSet::of(self.set(Self::int_range)?)),
            (Type::Int, _) => {
                let number = self.integer()?;
                self.expect_end_of_value(false)?;
                int_condition(comparison, number)
            }
            (_, Comparison::In) => Node::CountryIn(self.set(Self::string)?.into_iter().collect()),
            (_, Comparison::Equal | Comparison::NotEqual) => {
                let text = self.string()?;
                self.expect_end_of_value(false)?;
                let is_it = Node::CountryIn(BTreeSet::from([text]));
                negated_if(comparison == Comparison::NotEqual, is_it)
            }
            (_, _) => {
                self.string()?;
                self.expect_end_of_value(false)?;
                Node::Unknown
            }
        };
        // What was read is well-formed; whether it holds is known of three fields only.
        Ok(match field {
            Field::Source | Field::Country | Field::AsNumber => node,
            _ => Node::Unknown,
        })
    }

    fn ip_condition(&self, comparison: Comparison, address: IpAddr) -> Node {
        let it = || Node::SourceIn(IpSet::of([(address, address)]));
        match comparison {
            Comparison::Equal => it(),
            Comparison::NotEqual => negated_if(true, it()),
            // Addresses have an order; nobody has a use for it here.
            _ => Node::Unknown,
        }
    }

    fn comparison(&mut self, of: Type) -> Parsed<Comparison> {
        use Comparison as C;
        let symbols = [
            ("==", C::Equal),
            ("!=", C::NotEqual),
            ("<=", C::LessOrEqual),
            (">=", C::GreaterOrEqual),
            ("<", C::Less),
            (">", C::Greater),
            ("~", C::OfText),
        ];
        let words = [
            ("eq", C::Equal),
            ("ne", C::NotEqual),
            ("lt", C::Less),
            ("le", C::LessOrEqual),
            ("gt", C::Greater),
            ("ge", C::GreaterOrEqual),
            ("in", C::In),
            ("contains", C::OfText),
            ("matches", C::OfText),
            ("wildcard", C::OfText),
        ];
        let from = self.at;
        let found = symbols.into_iter().find(|(symbol, _)| self.eat(symbol));
        let found = found.or_else(|| words.into_iter().find(|(word, _)| self.eat_word(word)));
        match found {
            Some((_, C::OfText)) if of != Type::Text => {
                self.at = from;
                Err(self.error("this comparison is one of texts"))
            }
            Some((_, comparison)) => Ok(comparison),
            None => Err(self.error("expected a comparison operator")),
        }
    }

    fn set<T>(&mut self, value: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let from = self.at;
        if !self.eat("{") {
            return Err(self.error("expected '{'"));
        }
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            if self.eat("}") {
                break;
            }
            values.push(value(self)?);
            self.expect_end_of_value(true)?;
        }
        if values.is_empty() && !self.dialect.has_empty_sets {
            self.at = from;
            return Err(self.error("a set without values"));
        }
        Ok(values)
    }

    fn ip_range(&mut self) -> Parsed<(IpAddr, IpAddr)> {
        let from = self.at;
        let text = self.take_while(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '/'));
        parse_ip_range(text).map_err(|reason| {
            self.at = from;
            self.error(reason)
        })
    }

    /// An address alone: a prefix can stand only in a set.
    fn address(&mut self) -> Parsed<IpAddr> {
        let from = self.at;
        let text = self.take_while(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
        text.parse().map_err(|_| {
            self.at = from;
            self.error("expected an IP address")
        })
    }

    fn int_range(&mut self) -> Parsed<(u64, u64)> {
        let from = self.at;
        let first = self.integer()?;
        let last = if self.eat("..") { self.integer()? } else { first };
        match first <= last {
            true => Ok((first, last)),
            false => {
                self.at = from;
                Err(self.error("invalid range: the smaller number goes first"))
            }
        }
    }

    fn integer(&mut self) -> Parsed<u64> {
        let from = self.at;
        let number = match self.eat("0x") {
            true => u64::from_str_radix(self.take_while(|c| c.is_ascii_hexdigit()), 16),
            false => self.take_while(|c| c.is_ascii_digit()).parse(),
        };
        number.map_err(|_| {
            self.at = from;
            self.error("expected a number")
        })
    }

    fn string(&mut self) -> Parsed<String> {
        let from = self.at;
        if !self.eat("\"") {
            return Err(self.error("expected a text in quotes"));
        }
        let mut text = String::new();
        loop {
            let mut rest = self.rest().chars();
            match (rest.next(), rest.next()) {
                (Some('"'), _) => break,
                (Some('\\'), Some(escaped @ ('"' | '\\'))) => {
                    text.push(escaped);
                    self.at += 2;
                }
                (Some('\\'), Some(_)) => return Err(self.error("unknown escape")),
                (Some(other), _) => {
                    text.push(other);
                    self.at += other.len_utf8();
                }
                (None, _) => {
                    self.at = from;
                    return Err(self.error("missing the closing quote"));
                }
            }
        }
        self.at += 1;
        Ok(text)
    }

    fn list_name(&mut self) -> Parsed<String> {
        let from = self.at;
        let name = self
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.'));
        if name.is_empty() || name.starts_with('.') || name.ends_with('.') {
            self.at = from;
            return Err(self.error("invalid list name"));
        }
        let name = name.to_owned();
        self.expect_end_of_value(false)?;
        Ok(name)
    }

    /// Nothing may touch a value that could be a part of it, or be taken for one. In a set only blanks
    /// separate.
    fn expect_end_of_value(&self, is_in_set: bool) -> Parsed<()> {
        match self.rest().chars().next() {
            None | Some(' ' | '\r' | '\n') => Ok(()),
            Some('}') if is_in_set => Ok(()),
            Some(')' | '&' | '|' | '^') if !is_in_set => Ok(()),
            Some(',') => Err(self.error("values are separated by blanks")),
            Some(_) => Err(self.error("unrecognised input behind a value")),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// A tabulator is no blank.
    fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\r' | '\n'));
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn eat(&mut self, symbol: &str) -> bool {
        let is_there = self.rest().starts_with(symbol);
        if is_there {
            self.at += symbol.len();
        }
        is_there
    }

    /// A whole word, not the beginning of a longer one.
    fn eat_word(&mut self, word: &str) -> bool {
        let is_there = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|after| !after.starts_with(is_of_identifier));
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    fn error(&self, reason: impl Into<String>) -> ParseError {
        ParseError { at: self.at, reason: reason.into(), is_not_simulated: false }
    }

    fn not_simulated(&self, at: usize) -> ParseError {
        let reason = "functions, maps and arrays are not simulated".to_owned();
        ParseError { at, reason, is_not_simulated: true }
    }
}

fn is_of_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.')
}

fn negated_if(condition: bool, node: Node) -> Node {
    if condition { Node::Not(Box::new(node)) } else { node }
}

fn int_condition(comparison: Comparison, number: u64) -> Node {
    use Comparison as C;
    let range = match comparison {
        C::Equal => Some((number, number)),
        C::NotEqual => return negated_if(true, int_condition(C::Equal, number)),
        C::Less => number.checked_sub(1).map(|last| (0, last)),
        C::LessOrEqual => Some((0, number)),
        C::Greater => number.checked_add(1).map(|first| (first, u64::MAX)),
        C::GreaterOrEqual => Some((number, u64::MAX)),
        C::OfText | C::In => None,
    };
    Node::AsNumberIn(IntSet::of(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Dialect = Dialect { has_empty_sets: false };

    #[test]
    fn text_of_each_good_form_is_accepted() {
        for text in [
            "(ip.src in $crowdsec_ban)",
            "((ip.src in $ban and not ip.src in {192.0.2.1}) or ip.src in {198.51.100.7 2001:db8::/32})",
            "ip.src in{192.0.2.1 192.0.2.1/32 192.0.2.0/24 10.0.0.1..10.0.0.9}",
            "ip.src in { 192.0.2.1\r\n192.0.2.2 }",
            " \n ip.src in $a \r\n ",
            "not(ip.src in $a)or(ip.src in $b)",
            "!ip.src in $a&&!(ip.src in $b)||ip.src==192.0.2.1^^true",
            "ip.src in {0.0.0.0/0 ::/0}",
            "ip.src eq 2001:DB8::1",
            "ip.src < 192.0.2.1",
            "ip.src.country in {\"CN\" \"T1\"} and ip.src.asnum in {64496 64500..64510 0x1}",
            "http.host eq \"a\\\"b\\\\\" and http.request.uri.path contains \"/wp-login\"",
            "http.user_agent matches \"é\" or http.host wildcard \"*.example.com\" or not ssl",
            "cf.threat_score gt 10 and cf.client.bot",
        ] {
            assert!(parse(text, STRICT).is_ok(), "{text}: {:?}", parse(text, STRICT));
        }
    }

    #[test]
    fn text_of_each_bad_form_is_refused_where_it_is_bad() {
        for (text, at, reason) in [
            ("ip.src in {192.0.2.5/24}", 11, "host part"),
            ("ip.src in {192.0.2.1, 192.0.2.2}", 20, "separated by blanks"),
            ("ip.src in {192.0.2.1\t192.0.2.2}", 20, "behind a value"),
            ("\tip.src in $a", 0, "expected a field"),
            ("ip.src\tin $a", 6, "comparison"),
            ("ip.src in {}", 10, "without values"),
            ("ip.src in {fe80::1%eth0}", 18, "behind a value"),
            ("ip.src in {\"192.0.2.1\"}", 11, "invalid IP"),
            ("ip.src in 192.0.2.1", 10, "expected '{'"),
            ("ip.src in {192.0.2.1", 20, "invalid IP"),
            ("ip.src eq 192.0.2.0/24", 19, "behind a value"),
            ("ip.src eq \"192.0.2.1\"", 10, "expected an IP"),
            ("ip.src in $Ban", 11, "invalid list name"),
            ("ip.src in $", 11, "invalid list name"),
            ("ip.src in $a.", 11, "invalid list name"),
            ("ip.src in $a-b", 12, "behind a value"),
            ("ip.src in $a AND true", 13, "unrecognised input"),
            ("ip.src in $a or", 15, "expected a field"),
            ("ip.src in $a)", 12, "unrecognised input"),
            ("(ip.src in $a", 13, "expected ')'"),
            ("ip.src", 6, "comparison"),
            ("ip.src contains \"1\"", 7, "one of texts"),
            ("ip.source in $a", 0, "unknown identifier"),
            ("IP.src in $a", 0, "unknown identifier"),
            ("notip.src in $a", 0, "unknown identifier"),
            ("ip.src not in $a", 7, "comparison"),
            ("ip.src.country eq CN", 18, "in quotes"),
            ("ip.src.country in {\"CN\"\"DE\"}", 23, "behind a value"),
            ("ip.src.country in $a", 18, "expected '{'"),
            ("ip.src.country eq \"CN", 18, "closing quote"),
            ("ip.src.country eq \"\\x\"", 19, "escape"),
            ("ip.src.asnum in {AS64496}", 17, "a number"),
            ("ip.src.asnum in {5..1}", 17, "smaller"),
            ("ip.src.asnum in {\"1\"}", 17, "a number"),
            ("ip.src.asnum eq 99999999999999999999", 16, "a number"),
            ("lower(http.host) eq \"a\"", 0, "not simulated"),
            ("true false", 5, "unrecognised"),
            ("!= true", 0, "expected a field"),
            ("", 0, "expected a field"),
        ] {
            let error = parse(text, STRICT).expect_err(text);
            assert!(error.at == at && error.reason.contains(reason), "{text}: {error:?}");
        }
    }

    #[test]
    fn text_nested_deeper_than_the_limit_is_refused_and_crashes_nothing() {
        let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX - 1), STRICT).is_ok());
        assert!(parse(&nested(DEPTH_MAX), STRICT).is_err());
        assert!(parse(&nested(1_000_000), STRICT).unwrap_err().reason.contains("nesting"));
        assert!(parse(&"not ".repeat(1_000_000), STRICT).is_err());
        let flat = vec!["true"; 100_000].join(" and ");
        assert!(parse(&flat, STRICT).is_ok(), "a long chain is not deep");
    }

    #[test]
    fn mistake_described_shows_line_and_column() {
        let text = "ip.src in $a or\n  ip.src in {192.0.2.5/24}";
        let error = parse(text, STRICT).unwrap_err();
        let expected = "Filter parsing error (2:14):\n  ip.src in {192.0.2.5/24}\n             ^ invalid \
                        network: host part of address was not zero";
        assert_eq!(error.describe(text), expected);
    }

    #[test]
    fn text_cut_or_changed_anywhere_is_parsed_or_refused_without_a_panic() {
        let text =
            "(ip.src in $é and not ip.src in {192.0.2.1 ::/9 1..2}) or ip.src.country eq \"\\é\"";
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for (index, end) in ends.iter().enumerate() {
            for begin in &ends[..index] {
                let _ = parse(&text[*begin..*end], STRICT).map_err(|error| error.describe(text));
            }
            for inserted in ["\0", "\t", "é", "(", "\"", "{", "}", "$", "!", "/", ".."] {
                let changed = format!("{}{inserted}{}", &text[..*end], &text[*end..]);
                let _ = parse(&changed, STRICT).map_err(|error| error.describe(&changed));
            }
        }
    }
}
