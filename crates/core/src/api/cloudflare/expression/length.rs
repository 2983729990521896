//! How long an expression's text is, from the lengths of its entries: what finds room is decided entry
//! by entry, and the text is built once.

use std::fmt::{self, Write};
use std::ops::{AddAssign, SubAssign};

use super::{ADDRESS, ASN, COUNTRY, Expression, ListName, Quoted};

/// The length of an expression's text, in characters, by parts.
///
/// Each part but `list` is the sum of [`entry`](Self::entry) over what is in it; 0 = it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    list: usize,
    /// LIFTED.
    pub lifted: usize,
    /// FRESH.
    pub fresh: ClauseLength,
    /// Countries.
    pub countries: ClauseLength,
    /// Autonomous systems.
    pub asns: ClauseLength,
}

/// The lengths of a clause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClauseLength {
    /// Of what matches.
    pub of: usize,
    /// Of what is excepted. Counts only if something matches.
    pub except: usize,
}

impl AddAssign for ClauseLength {
    fn add_assign(&mut self, more: Self) {
        self.of += more.of;
        self.except += more.except;
    }
}

impl SubAssign for ClauseLength {
    fn sub_assign(&mut self, less: Self) {
        self.of -= less.of;
        self.except -= less.except;
    }
}

impl Length {
    /// Of the list alone.
    pub fn of_list(list: &ListName) -> Self {
        let none = ClauseLength::default();
        let list = list.as_str().len();
        Self { list, lifted: 0, fresh: none, countries: none, asns: none }
    }

    /// Of an expression.
    pub fn of(expression: &Expression) -> Self {
        let parts = &expression.parts;
        Self {
            lifted: Self::sum(&parts.lifted),
            fresh: ClauseLength {
                of: Self::sum(&parts.fresh.of),
                except: Self::sum(&parts.fresh.except),
            },
            countries: ClauseLength {
                of: Self::sum(parts.countries.of.iter().map(|country| Quoted(*country))),
                except: Self::sum(&parts.countries.except),
            },
            asns: ClauseLength {
                of: Self::sum(&parts.asns.of),
                except: Self::sum(&parts.asns.except),
            },
            ..Self::of_list(&expression.list)
        }
    }

    /// What one entry of a set takes: its text, and the blank or the bracket behind it.
    pub fn entry(entry: impl fmt::Display) -> usize {
        struct Count(usize);
        impl Write for Count {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 += text.len();
                Ok(())
            }
        }
        let mut count = Count(1);
        // Counting cannot fail, and neither can the text of an entry.
        let _ = write!(count, "{entry}");
        count.0
    }

    /// What one country takes.
    pub fn country(country: super::Country) -> usize {
        Self::entry(Quoted(country))
    }

    /// What the entries of a set take together.
    pub fn sum<T: fmt::Display>(entries: impl IntoIterator<Item = T>) -> usize {
        entries.into_iter().map(Self::entry).sum()
    }

    /// What the clauses of countries and autonomous systems take of it.
    pub fn regions(&self) -> usize {
        clause(COUNTRY, self.countries) + clause(ASN, self.asns)
    }

    /// All of it.
    pub fn total(&self) -> usize {
        let base = "(".len() + ADDRESS.len() + " in $".len() + self.list + ")".len();
        base + except(self.lifted) + clause(ADDRESS, self.fresh) + self.regions()
    }
}

fn clause(field: &str, length: ClauseLength) -> usize {
    if length.of == 0 {
        return 0;
    }
    let parentheses = if length.except == 0 { 0 } else { "()".len() };
    " or ".len() + field.len() + " in {".len() + length.of + except(length.except) + parentheses
}

fn except(length: usize) -> usize {
    if length == 0 { 0 } else { " and not ".len() + ADDRESS.len() + " in {".len() + length }
}
