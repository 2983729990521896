//! The history as a person reads it. Kept only for the one simulation that somebody wants to read.

use std::time::Duration;

use simulator::{Outcome, Reply};

use crate::judge::Sent;
use crate::script::{Event, What};

/// Lines, if they are kept at all; and a digest of them, which is always kept.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) is_told: bool,
    pub(crate) lines: Vec<String>,
    pub(crate) digest: Digest,
    /// What long ids are called.
    pub(crate) names: Vec<(String, String)>,
}

/// FNV-1a, of eight bytes at a time: the same bytes, the same number.
pub(crate) struct Digest(u64);

const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let mut add = |word: u64| {
            self.0 = (self.0 ^ word).wrapping_mul(PRIME).rotate_left(29);
        };
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| add(u64::from(*byte)));
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

impl Story {
    pub(crate) fn digest(&self) -> u64 {
        self.digest.value()
    }

    pub(crate) fn request(&mut self, sent: &Sent, reply: &Reply) {
        self.digest.add(sent.path.as_bytes());
        self.digest.add(&sent.body);
        self.digest.add(&sent.at.as_nanos().to_le_bytes());
        if !self.is_told {
            return;
        }
        let text = |bytes: &[u8], most: usize| {
            let text = String::from_utf8_lossy(bytes);
            let cut: String = text.chars().take(most).collect();
            if cut.len() < text.len() { format!("{cut}…") } else { cut }
        };
        if sent.service == simulator::Service::Pushgateway || sent.path.contains("usage-metrics") {
            return;
        }
        let came = match &reply.outcome {
            Outcome::Response(response) => {
                format!("{} {}", response.status().as_u16(), text(response.body(), 2_500))
            }
            Outcome::Streamed { .. } => "a stream".to_owned(),
            Outcome::CutBody { response, keep } => {
                format!("{} cut after {keep} bytes", response.status().as_u16())
            }
            Outcome::Refused => "refused".to_owned(),
            Outcome::Closed => "closed without an answer".to_owned(),
            Outcome::Silent => "silence".to_owned(),
        };
        let later = match reply.after.as_secs() {
            0 => String::new(),
            secs => format!(" after {secs} s"),
        };
        let body = match sent.body.len() {
            0 => String::new(),
            _ => format!(" {}", text(&sent.body, 600)),
        };
        let (at, run) = (moment(sent.at), sent.run);
        let line = format!(
            "{at}   run {run}: {} {} /{}{body}\n                  -> {came}{later}",
            sent.service, sent.method, sent.path
        );
        self.lines.push(self.names.iter().fold(line, |line, (id, name)| line.replace(id, name)));
    }

    pub(crate) fn line(&mut self, at: Duration, run: usize, text: &str) {
        self.digest.add(text.as_bytes());
        if self.is_told {
            self.lines.push(format!("{}   run {run} says: {text}", moment(at)));
        }
    }

    pub(crate) fn event(&mut self, at: Duration, run: usize, event: &Event) {
        if !self.is_told {
            return;
        }
        let text = match &event.what {
            What::Run(how) => format!("run {run} begins {}", described(how)),
            other => serde_json::to_string(other).unwrap_or_default(),
        };
        self.lines.push(format!("{} {text}", moment(at)));
    }

    pub(crate) fn say(&mut self, at: Duration, text: &str) {
        if self.is_told {
            self.lines.push(format!("{} {text}", moment(at)));
        }
    }
}

fn described(run: &crate::script::Run) -> String {
    match *run == crate::script::Run::default() {
        true => String::new(),
        false => serde_json::to_string(run).unwrap_or_default(),
    }
}

/// `2d03:04:05.678`.
pub(crate) fn moment(at: Duration) -> String {
    let seconds = at.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, left) = (seconds / 60 % 60, seconds % 60);
    format!("{days:>2}d{hours:02}:{minutes:02}:{left:02}.{:03}", at.subsec_millis())
}
