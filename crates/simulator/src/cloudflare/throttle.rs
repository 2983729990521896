//! The limits that Cloudflare documents and users run into: requests of a token in five minutes, after which
//! everything is refused for a while (facts: cloudflare.md 3), and what may be written to lists in twelve hours
//! (1.8). Off unless the options say otherwise; the hidden limiter of lists is the lists' own.

use std::collections::VecDeque;
use std::time::Duration;

use super::codes::{self, ApiError};
use crate::options::CloudflareOptions;

/// What is counted within the last so many seconds.
#[derive(Debug, Default)]
struct Window(VecDeque<(Duration, u64)>);

impl Window {
    fn sum(&mut self, now: Duration, length: Duration) -> u64 {
        while self.0.front().is_some_and(|(at, _)| at.saturating_add(length) <= now) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn add(&mut self, now: Duration, count: u64) {
        match self.0.back_mut() {
            Some((at, counted)) if *at == now => *counted += count,
            _ => self.0.push_back((now, count)),
        }
    }
}

/// The API's limit for all requests.
#[derive(Debug, Default)]
pub(super) struct RequestLimit {
    window: Window,
    blocked_until: Duration,
}

impl RequestLimit {
    /// Lets a request in, or not.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        options: &CloudflareOptions,
    ) -> Result<(), ApiError> {
        if options.requests_max == 0 {
            return Ok(());
        }
        let refusal = || {
            match options.requests_code {
            10_100 => codes::TOO_MANY_REQUESTS.with(format!(
                "More than {} requests per {} seconds reached. Please wait and consider throttling your \
                 request speed",
                options.requests_max,
                options.requests_window.as_secs()
            )),
            _ => codes::THROTTLED.into(),
        }
        };
        if now < self.blocked_until {
            return Err(refusal());
        }
        if self.window.sum(now, options.requests_window) >= options.requests_max {
            // Whatever was counted has had its punishment when that is over.
            self.window = Window::default();
            self.blocked_until = now + options.requests_block;
            return Err(refusal());
        }
        self.window.add(now, 1);
        Ok(())
    }

    /// How many are left, as the `ratelimit` header says it.
    pub(super) fn left(&mut self, now: Duration, options: &CloudflareOptions) -> u64 {
        match options.requests_max {
            0 => 1_199,
            _ if now < self.blocked_until => 0,
            max => max.saturating_sub(self.window.sum(now, options.requests_window)),
        }
    }
}

/// The lists' limits for half a day. What a refused write is told is unknown; 10040 is the likely one.
#[derive(Debug, Default)]
pub(super) struct ListLimits {
    requests: Window,
    items: Window,
}

impl ListLimits {
    /// Whether a write of so many items is within the limits.
    pub(super) fn check(
        &mut self,
        now: Duration,
        items: u64,
        options: &CloudflareOptions,
    ) -> Result<(), ApiError> {
        let length = options.list_window;
        let exceeded = |max: u64, sum: u64| max > 0 && sum > max;
        let requests = self.requests.sum(now, length) + 1;
        let items = self.items.sum(now, length) + items;
        match exceeded(options.list_writes_max, requests)
            || exceeded(options.list_modifications_max, items)
        {
            true => Err(codes::RATE_LIMITED.into()),
            false => Ok(()),
        }
    }

    /// Counts a write that was accepted: each item that it names is one modification.
    pub(super) fn count(&mut self, now: Duration, items: u64) {
        self.requests.add(now, 1);
        self.items.add(now, items);
    }
}
