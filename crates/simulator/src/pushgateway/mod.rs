//! A Prometheus Pushgateway as far as a batch job meets it: groups of metrics by job and labels, PUT
//! replaces a group, POST merges by metric name, `GET /metrics` shows all. It owns the groups; the
//! text format is in its own module.

mod text_format;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};

pub use text_format::{Family, Sample};

use crate::journal::Judge;
use crate::query;
use crate::reply::{answer, bare};

/// The labels of a group, `job` among them.
pub type Grouping = BTreeMap<String, String>;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The sink for metrics.
#[derive(Debug, Default)]
pub struct Pushgateway {
    groups: BTreeMap<Grouping, Group>,
}

#[derive(Debug, Default)]
struct Group {
    pushed_at: Duration,
    families: BTreeMap<String, Family>,
}

impl Pushgateway {
    /// The value of a metric without labels of its own in the group of this job, if there is one.
    pub fn value(&self, job: &str, metric: &str) -> Option<f64> {
        let samples = &self.family(job, metric)?.samples;
        samples.iter().find(|sample| sample.labels.is_empty()).map(|sample| sample.value)
    }

    /// A metric in the group of this job, with its samples.
    pub fn family(&self, job: &str, metric: &str) -> Option<&Family> {
        let grouping = Grouping::from([("job".to_owned(), job.to_owned())]);
        self.groups.get(&grouping)?.families.get(metric)
    }

    /// The names of the metrics in the group of this job.
    pub fn metrics(&self, job: &str) -> Vec<&str> {
        let grouping = Grouping::from([("job".to_owned(), job.to_owned())]);
        let group = self.groups.get(&grouping);
        group.into_iter().flat_map(|group| group.families.keys().map(String::as_str)).collect()
    }

    /// When the group of this job was last pushed, since the simulator's start.
    pub fn pushed_at(&self, job: &str) -> Option<Duration> {
        let grouping = Grouping::from([("job".to_owned(), job.to_owned())]);
        self.groups.get(&grouping).map(|group| group.pushed_at)
    }

    /// What `GET /metrics` shows.
    pub fn exposition(&self) -> String {
        text_format::render(self.groups.iter().flat_map(|(grouping, group)| {
            group.families.iter().map(move |(name, family)| (name.as_str(), grouping, family))
        }))
    }

    pub(crate) fn handle(
        &mut self,
        now: Duration,
        request: &Request<Bytes>,
        judge: &mut Judge,
    ) -> Response<Bytes> {
        let path = request.uri().path();
        match (request.method(), path) {
            (&Method::GET, "/metrics") => answer(StatusCode::OK, TEXT, self.exposition()),
            (&Method::GET, "/-/ready" | "/-/healthy") => answer(StatusCode::OK, TEXT, "OK\n"),
            (method, path) => {
                let Some(path) = path.strip_prefix("/metrics/job/") else {
                    return answer(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
                };
                let grouping = match grouping(path) {
                    Ok(grouping) => grouping,
                    Err(error) => return bad_request(&error, judge),
                };
                match *method {
                    Method::PUT => self.push(now, grouping, request.body(), true, judge),
                    Method::POST => self.push(now, grouping, request.body(), false, judge),
                    Method::DELETE => {
                        self.groups.remove(&grouping);
                        bare(StatusCode::ACCEPTED)
                    }
                    _ => bare(StatusCode::METHOD_NOT_ALLOWED),
                }
            }
        }
    }

    fn push(
        &mut self,
        now: Duration,
        grouping: Grouping,
        body: &[u8],
        replace: bool,
        judge: &mut Judge,
    ) -> Response<Bytes> {
        let families = match text_format::parse(body) {
            Ok(families) => families,
            Err(error) => return bad_request(&error.to_string(), judge),
        };
        for (name, family) in &families {
            // The real one takes these as untyped and without help; nobody wants such metrics.
            if family.help.is_none() || family.kind.is_none() {
                judge.note(format_args!("metric {name} has samples without # HELP or # TYPE"));
            }
        }
        let group = self.groups.entry(grouping).or_default();
        if replace {
            group.families.clear();
        }
        group.families.extend(families);
        group.pushed_at = now;
        bare(StatusCode::OK)
    }
}

fn bad_request(error: &str, judge: &mut Judge) -> Response<Bytes> {
    judge.note(error);
    answer(StatusCode::BAD_REQUEST, TEXT, format!("{error}\n"))
}

/// `JOB{/LABEL/VALUE}`, percent-decoded.
fn grouping(path: &str) -> Result<Grouping, String> {
    let decode = |segment: &str| query::decode(&segment.replace('+', "%2B"));
    let mut segments = path.split('/').map(decode);
    let job = segments.next().filter(|job| !job.is_empty()).ok_or("job name is required")?;
    let mut grouping = Grouping::from([("job".to_owned(), job)]);
    while let Some(label) = segments.next() {
        let value = segments.next().ok_or("odd number of components in label string")?;
        if !text_format::is_label_name(&label) {
            return Err(format!("improper label name {label:?}"));
        }
        grouping.insert(label, value);
    }
    Ok(grouping)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Job {
        gateway: Pushgateway,
        judge: Judge,
    }

    impl Job {
        fn new() -> Self {
            Self { gateway: Pushgateway::default(), judge: Judge::default() }
        }

        fn send(&mut self, method: Method, target: &str, body: &str) -> u16 {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let request = Request::builder().method(method).uri(target).body(body).unwrap();
            self.gateway.handle(Duration::ZERO, &request, &mut self.judge).status().as_u16()
        }
    }

    const ONE: &str = "# HELP one First.\n# TYPE one gauge\none 1\n";
    const TWO: &str = "# HELP two Second.\n# TYPE two gauge\ntwo{kind=\"a\"} 2\ntwo 3\n";

    #[test]
    fn group_put_is_replaced_and_posted_is_merged_by_name() {
        let mut job = Job::new();
        assert_eq!(job.send(Method::PUT, "/metrics/job/sync", ONE), 200);
        assert_eq!(job.send(Method::POST, "/metrics/job/sync", TWO), 200);
        assert_eq!(job.gateway.metrics("sync"), ["one", "two"]);
        assert_eq!(job.gateway.value("sync", "two"), Some(3.0));
        assert_eq!(job.send(Method::PUT, "/metrics/job/sync", TWO), 200);
        assert_eq!(job.gateway.value("sync", "one"), None);
        assert_eq!(job.send(Method::DELETE, "/metrics/job/sync", ""), 202);
        assert!(job.gateway.metrics("sync").is_empty());
        assert!(job.judge.violations().is_empty());
    }

    #[test]
    fn metrics_shown_carry_their_group_as_labels() {
        let mut job = Job::new();
        job.send(Method::PUT, "/metrics/job/sync/shard/a%2Fb", TWO);
        let expected = "# HELP two Second.\n# TYPE two gauge\n\
                        two{instance=\"\",job=\"sync\",kind=\"a\",shard=\"a/b\"} 2\n\
                        two{instance=\"\",job=\"sync\",shard=\"a/b\"} 3\n";
        assert_eq!(job.gateway.exposition(), expected);
    }

    #[test]
    fn push_malformed_is_refused_and_changes_nothing() {
        let mut job = Job::new();
        job.send(Method::PUT, "/metrics/job/sync", ONE);
        assert_eq!(job.send(Method::PUT, "/metrics/job/sync", "one two\n"), 400);
        assert_eq!(job.send(Method::PUT, "/metrics/job//", ONE), 400);
        assert_eq!(job.send(Method::PUT, "/metrics/job/sync/label", ONE), 400);
        assert_eq!(job.send(Method::PUT, "/metrics", ONE), 404);
        assert_eq!(job.gateway.value("sync", "one"), Some(1.0));
    }

    #[test]
    fn samples_without_help_or_type_are_taken_with_a_note() {
        let mut job = Job::new();
        assert_eq!(job.send(Method::PUT, "/metrics/job/sync", "# TYPE one gauge\none 1\n"), 200);
        assert_eq!(job.judge.violations().len(), 1);
    }
}
