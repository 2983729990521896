//! The HTTP front on real sockets: what a client sees of each fault on the wire. The requests are
//! written by hand, so that no client library hides a broken answer.

use std::time::Duration;

use simulator::front::{Ports, Running, serve};
use simulator::{Decision, Fate, Options, Service, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start(rows: usize) -> Running {
    let mut simulator = Simulator::new(Options::default());
    let decision = |n| Decision::ban(std::net::Ipv4Addr::from(n as u32).to_string());
    simulator.lapi().add_all((0..rows).map(decision));
    serve(simulator.shared(), Ports::default()).await.expect("loopback ports")
}

fn inject(running: &Running, fault: &str) {
    running.world().lock().unwrap().inject(fault.parse().unwrap());
}

/// Sends one request for the decisions and reads until the connection ends.
async fn decisions(running: &Running) -> std::io::Result<String> {
    let head = "GET /v1/decisions HTTP/1.1\r\nhost: lapi\r\nconnection: close\r\n\
                user-agent: test/v1\r\nx-api-key: simulated-bouncer-key\r\n\r\n";
    let mut stream = TcpStream::connect(running.lapi).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn control(running: &Running, method: &str, path: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(running.control).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn answer_small_has_a_length_and_large_comes_in_chunks() {
    let small = decisions(&start(1).await).await.unwrap();
    assert!(small.contains("content-length: ") && !small.contains("chunked"), "{small}");
    let large = decisions(&start(2_000).await).await.unwrap();
    assert!(large.contains("transfer-encoding: chunked"));
    assert!(!large.contains("content-length"));
    assert!(large.ends_with("0\r\n\r\n"), "the last chunk");
}

#[tokio::test]
async fn answer_cut_arrives_up_to_the_cut_and_no_further() {
    for (rows, keep) in [(1, 10), (2_000, 10), (2_000, 200_000)] {
        let running = start(rows).await;
        inject(&running, &format!("lapi: cut-body {keep}"));
        let answer = decisions(&running).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"));
        if head.contains("chunked") {
            assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk must be missing");
            assert!((keep..keep + 100).contains(&body.len()), "{} of {keep}", body.len());
        } else {
            assert_eq!(body.len(), keep);
        }
    }
}

#[tokio::test]
async fn answer_made_while_it_is_read_arrives_whole_and_cut_like_any_other() {
    let running = start(1).await;
    running.world().lock().unwrap().lapi().set_lazy_rows(5_000);
    let answer = decisions(&running).await.unwrap();
    assert!(answer.contains("chunked") && answer.ends_with("0\r\n\r\n"));
    assert_eq!(answer.matches("\"value\":").count(), 5_001);
    inject(&running, "lapi: cut-body 300000");
    let answer = decisions(&running).await.unwrap();
    assert!(!answer.ends_with("0\r\n\r\n"), "the last chunk must be missing");
    assert!((300_000..300_500).contains(&answer.len()), "{}", answer.len());
}

#[tokio::test]
async fn connection_dropped_after_effect_ends_without_a_byte() {
    let running = start(1).await;
    inject(&running, "lapi times=1: drop-after-effect");
    assert_eq!(decisions(&running).await.unwrap(), "");
    assert!(decisions(&running).await.unwrap().contains("0.0.0.0"));
    assert_eq!(running.world().lock().unwrap().journal()[0].fate, Fate::Closed);
}

#[tokio::test]
async fn connection_refused_once_is_reset_and_refused_for_all_is_not_accepted() {
    let running = start(1).await;
    inject(&running, "lapi times=1: refuse");
    let error = decisions(&running).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    // The port closes and opens soon after, not at once.
    inject(&running, "lapi: refuse");
    eventually(async || {
        let error = decisions(&running).await.err();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    running.world().lock().unwrap().clear_faults();
    eventually(async || decisions(&running).await.is_ok_and(|body| body.contains("0.0.0.0"))).await;
}

async fn eventually(condition: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not happen within ten seconds");
}

#[tokio::test]
async fn connection_silent_stays_open_until_the_world_stops() {
    let running = start(1).await;
    inject(&running, "lapi: silent");
    let patience = Duration::from_millis(300);
    assert!(tokio::time::timeout(patience, decisions(&running)).await.is_err());
    let address = running.lapi;
    running.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn control_endpoint_changes_and_shows_the_world() {
    let running = start(0).await;
    let list = running.world().lock().unwrap().cloudflare().create_list("ban");
    control(&running, "POST", "/decisions", r#"[{"value":"192.0.2.1","duration":"4h"}]"#).await;
    control(&running, "POST", "/decisions/generate", r#"{"count":10}"#).await;
    assert!(decisions(&running).await.unwrap().contains("192.0.2.1"));
    control(&running, "POST", "/clock", "5h").await;
    assert!(!decisions(&running).await.unwrap().contains("192.0.2.1"), "expired");
    control(&running, "POST", &format!("/lists/{list}/items"), "192.0.2.1\n192.0.2.2\n").await;
    assert!(control(&running, "GET", "/lists", "").await.contains("192.0.2.2"));
    control(&running, "POST", "/faults", "lapi times=1: answer 503 busy\n").await;
    assert_eq!(control(&running, "GET", "/faults", "").await, "lapi times=1: answer 503 busy\n");
    assert!(decisions(&running).await.unwrap().ends_with("busy"));
    let counters = control(&running, "GET", "/counters", "").await;
    let counters: serde_json::Value = serde_json::from_str(&counters).unwrap();
    assert_eq!(counters["lapi"]["requests"], 3);
    for path in ["/", "/options", "/journal", "/violations", "/operations", "/edge-history"] {
        control(&running, "GET", path, "").await;
    }
    control(&running, "DELETE", "/faults", "").await;
    control(&running, "DELETE", "/decisions", "").await;
    assert!(decisions(&running).await.unwrap().ends_with("null"));
    assert_eq!(running.url(Service::Lapi), format!("http://{}", running.lapi));
}

#[tokio::test]
async fn control_endpoint_fills_shows_and_empties_kv() {
    let running = start(0).await;
    let namespace = running.world().lock().unwrap().cloudflare().create_namespace("crowdsec");
    let path = format!("/kv/{namespace}");
    let entries = r#"{"ip:192.0.2.1":{"value":"ban","expiration":4000000000,"metadata":{"v":1}},
                      "ip:192.0.2.2":{"value":"captcha"}}"#;
    control(&running, "POST", &path, entries).await;
    let shown = control(&running, "GET", "/kv", "").await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let expected: serde_json::Value = serde_json::from_str(entries).unwrap();
    assert_eq!(shown[&namespace], expected);
    control(&running, "DELETE", &path, "").await;
    assert_eq!(control(&running, "GET", "/kv", "").await, format!("{{\"{namespace}\":{{}}}}"));
    let history = control(&running, "GET", &format!("{path}/history"), "").await;
    let history: serde_json::Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 4);
    let counters = control(&running, "GET", "/kv-counters", "").await;
    assert!(counters.contains("\"pairs_written\":0"), "none of this was a request: {counters}");
}
