//! Reads an expression of ours; the grammar is in the parent's header. One pass, no recursion, and no
//! text that makes it fail otherwise than with [`NotOurs`].

use std::str::FromStr;

use crate::address::Address;
use crate::order::Gather;

use super::region::{Asn, Country};
use super::{ADDRESS, ASN, AddressSet, COUNTRY, Clause, Expression, ListName, Parts, TooWide};

/// The expression is not one that we write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It is in our form and about another list.
    #[error("it does not use the list ${wanted}")]
    OtherList {
        /// The list that it should use.
        wanted: ListName,
    },
    /// It matches more than we would ever write.
    #[error(transparent)]
    TooWide(#[from] TooWide),
    /// It is not in our form.
    #[error("it is not in the form that we write: {expected} expected at character {}", .at + 1)]
    Form {
        /// Where, counted from 0.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

pub(super) fn parse(text: &str, list: &ListName) -> Result<Expression, NotOurs> {
    let mut tokens = Tokens::new(text);
    let mut parts = Parts::default();
    let lifted = tokens.part(|tokens| {
        tokens.word(ADDRESS)?;
        tokens.word("in")?;
        tokens.list(list)
    })?;
    parts.lifted = lifted.except;
    // Each at most once, and in this order.
    let mut next = 0;
    while tokens.take("or") {
        let field = tokens.field_ahead();
        let position = [ADDRESS, COUNTRY, ASN].iter().position(|known| *known == field);
        let Some(position) = position.filter(|position| *position >= next) else {
            return Err(tokens.expected("the next clause"));
        };
        next = position + 1;
        match position {
            0 => {
                parts.fresh = tokens.clause(ADDRESS, |tokens| Ok(tokens.set(address)?.collect()))?
            }
            1 => {
                parts.countries =
                    tokens.clause(COUNTRY, |tokens| Ok(tokens.set(quoted::<Country>)?.gather()))?
            }
            _ => {
                parts.asns =
                    tokens.clause(ASN, |tokens| Ok(tokens.set(canonical::<Asn>)?.gather()))?
            }
        }
    }
    if tokens.peek().is_some() {
        return Err(tokens.expected("the end"));
    }
    Ok(Expression::new(list.clone(), parts)?)
}

fn address(token: &str) -> Option<Address> {
    canonical(token)
}

/// A value in the spelling that we write. Another one is not what an echo would make of it: ours is
/// the normal form.
fn canonical<T: FromStr + ToString>(token: &str) -> Option<T> {
    token.parse().ok().filter(|value: &T| value.to_string() == token)
}

fn quoted<T: FromStr + ToString>(token: &str) -> Option<T> {
    canonical(token.strip_prefix('"')?.strip_suffix('"')?)
}

/// The words of a text. Parentheses and brackets are words, and so is a quoted text with its quotes.
#[derive(Clone)]
struct Tokens<'a> {
    text: &'a str,
    /// Where the next word begins; the text's end if there is none.
    at: usize,
    /// Where it ends.
    end: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        let mut tokens = Self { text, at: 0, end: 0 };
        tokens.advance();
        tokens
    }

    /// Goes to the next word.
    fn advance(&mut self) {
        let rest = &self.text[self.end..];
        let word = rest.trim_start_matches([' ', '\r', '\n']);
        self.at = self.text.len() - word.len();
        let is_border = |c: char| matches!(c, ' ' | '\r' | '\n' | '(' | ')' | '{' | '}' | '"');
        let len = match word.chars().next() {
            None => 0,
            Some('(' | ')' | '{' | '}') => 1,
            Some('"') => word[1..].find('"').map_or(word.len(), |len| len + 2),
            Some(_) => word.find(is_border).unwrap_or(word.len()),
        };
        self.end = self.at + len;
    }

    fn peek(&self) -> Option<&'a str> {
        Some(&self.text[self.at..self.end]).filter(|word| !word.is_empty())
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.peek() == Some(word);
        if is_there {
            self.advance();
        }
        is_there
    }

    fn word(&mut self, word: &'static str) -> Result<(), NotOurs> {
        if self.take(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    fn expected(&self, expected: &'static str) -> NotOurs {
        NotOurs::Form { at: self.text[..self.at].chars().count(), expected }
    }

    /// The field that the next clause is about.
    fn field_ahead(&self) -> &'a str {
        let mut ahead = self.clone();
        ahead.take("(");
        ahead.peek().unwrap_or_default()
    }

    fn list(&mut self, list: &ListName) -> Result<(), NotOurs> {
        match self.peek().and_then(|word| word.strip_prefix('$')) {
            Some(name) if name == list.as_str() => {
                self.advance();
                Ok(())
            }
            Some(name) if name.parse::<ListName>().is_ok() => {
                Err(NotOurs::OtherList { wanted: list.clone() })
            }
            _ => Err(self.expected("a list")),
        }
    }

    /// A part between two `or`: what matches, and the exception, in parentheses or not.
    fn part<T>(
        &mut self,
        of: impl FnOnce(&mut Self) -> Result<T, NotOurs>,
    ) -> Result<Clause<T>, NotOurs> {
        let is_open = self.take("(");
        let of = of(self)?;
        let mut except = AddressSet::default();
        if self.take("and") {
            for word in ["not", ADDRESS, "in"] {
                self.word(word)?;
            }
            except = self.set(address)?.collect();
        }
        if is_open {
            self.word(")")?;
        }
        Ok(Clause { of, except })
    }

    fn clause<S>(
        &mut self,
        field: &'static str,
        set: impl FnOnce(&mut Self) -> Result<S, NotOurs>,
    ) -> Result<Clause<S>, NotOurs> {
        self.part(|tokens| {
            tokens.word(field)?;
            tokens.word("in")?;
            set(tokens)
        })
    }

    /// A set, which is never empty.
    fn set<T>(
        &mut self,
        entry: fn(&str) -> Option<T>,
    ) -> Result<impl Iterator<Item = T> + use<T>, NotOurs> {
        self.word("{")?;
        let mut entries = Vec::new();
        loop {
            match self.peek().and_then(entry) {
                Some(value) => entries.push(value),
                None => return Err(self.expected("an entry of the set")),
            }
            self.advance();
            if self.take("}") {
                return Ok(entries.into_iter());
            }
        }
    }
}
