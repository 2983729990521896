//! Something for each remediation that is in use.

use super::Remediation;

/// At most one `T` for each remediation, in the remediations' order: a map with two places. A tree of two
/// entries would be another six kilobytes of the component for every `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each<T> {
    captcha: Option<T>,
    ban: Option<T>,
}

impl<T> Each<T> {
    /// What is there for this one.
    pub fn get(&self, remediation: Remediation) -> Option<&T> {
        match remediation {
            Remediation::Captcha => self.captcha.as_ref(),
            Remediation::Ban => self.ban.as_ref(),
        }
    }

    /// Puts something there, and gives what was there before.
    pub fn insert(&mut self, remediation: Remediation, value: T) -> Option<T> {
        match remediation {
            Remediation::Captcha => self.captcha.replace(value),
            Remediation::Ban => self.ban.replace(value),
        }
    }

    /// All that is there, the weaker first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Remediation, &T)> {
        let all = [(Remediation::Captcha, &self.captcha), (Remediation::Ban, &self.ban)];
        all.into_iter().filter_map(|(remediation, value)| Some((remediation, value.as_ref()?)))
    }

    /// The same without what it is for.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self { captcha: None, ban: None }
    }
}

impl<T> Extend<(Remediation, T)> for Each<T> {
    fn extend<I: IntoIterator<Item = (Remediation, T)>>(&mut self, values: I) {
        for (remediation, value) in values {
            self.insert(remediation, value);
        }
    }
}

impl<T> FromIterator<(Remediation, T)> for Each<T> {
    fn from_iter<I: IntoIterator<Item = (Remediation, T)>>(values: I) -> Self {
        let mut each = Self::default();
        each.extend(values);
        each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_put_in_come_out_the_weaker_first_and_the_last_of_one_stays() {
        let all = [(Remediation::Ban, 1), (Remediation::Captcha, 2), (Remediation::Ban, 3)];
        let mut each: Each<_> = all.into_iter().collect();
        assert_eq!(
            each.iter().collect::<Vec<_>>(),
            [(Remediation::Captcha, &2), (Remediation::Ban, &3)]
        );
        assert_eq!(each.insert(Remediation::Captcha, 4), Some(2));
        assert_eq!((each.get(Remediation::Captcha), each.values().count()), (Some(&4), 2));
        assert_eq!(Each::<u8>::default().iter().next(), None);
    }
}
