//! LAPI and Cloudflare over TLS with an authority that is only the runtime configuration's, and a certificate
//! in the place of the bouncer key.

use edge_sync::doctor::examine;
use end_to_end::tls::{Authority, TlsFront, client_tls};
use end_to_end::{RealLapi, World, workspace};
use simulator::Service;

/// What `lapi_key` is set to where a certificate stands for it: required by the settings, read by nobody.
const PLACEHOLDER: &str = "a-client-certificate-stands-for-it";

/// A world whose LAPI is this one.
async fn world_with(lapi: &RealLapi) -> World {
    let mut world = World::new().await;
    world.set("lapi_url", lapi.url());
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_lapi_with_a_bouncers_certificate_and_no_key_is_read_by_component_and_tool() {
    let authority = Authority::new();
    let Some(lapi) = RealLapi::start_with_tls(&authority).await else { return };
    let mut world = world_with(&lapi).await;
    world.set("lapi_key", PLACEHOLDER);
    let bouncer = authority.client("edge-sync", RealLapi::BOUNCERS);
    world.runtime_config(&client_tls("127.0.0.1", &authority.root(), Some(&bouncer)));
    lapi.cscli("decisions add --ip 203.0.113.7");
    world.run_well().await;
    world.assert_edge(&["203.0.113.7"], &[]);
    world.assert_no_violations();

    let bouncers = lapi.cscli("bouncers list -o json");
    let bouncers: serde_json::Value = serde_json::from_str(&bouncers).unwrap();
    let ours = bouncers.as_array().unwrap().iter().find(|bouncer| bouncer["auth_type"] == "tls");
    let ours = ours.unwrap_or_else(|| panic!("nobody came by certificate: {bouncers}"));
    assert_eq!(ours["name"], "edge-sync@127.0.0.1", "{bouncers}");

    let found = examine(&world.for_the_tool()).await.expect("a manifest");
    let said = edge_sync::commands::doctor::render(&found);
    assert!(said.contains(" 0 failed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_lapi_with_a_private_authority_and_a_key_is_read() {
    let authority = Authority::new();
    let Some(lapi) = RealLapi::start_with_tls(&authority).await else { return };
    let mut world = world_with(&lapi).await;
    world.set("lapi_key", RealLapi::KEY);
    world.runtime_config(&client_tls("127.0.0.1", &authority.root(), None));
    lapi.cscli("decisions add --ip 203.0.113.7");
    world.run_well().await;
    world.assert_edge(&["203.0.113.7"], &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_lapi_that_refuses_the_certificate_or_is_not_believed_leaves_the_edge() {
    let authority = Authority::new();
    let Some(lapi) = RealLapi::start_with_tls(&authority).await else { return };
    let mut world = world_with(&lapi).await;
    world.set("lapi_key", PLACEHOLDER);
    world.preload(&["192.0.2.1"], &[]);
    let another = Authority::new();
    let stranger = authority.client("stranger", "somebody-else");
    for (config, says) in [
        // Of the right authority, in the wrong unit.
        (client_tls("127.0.0.1", &authority.root(), Some(&stranger)), "403"),
        (client_tls("127.0.0.1", &authority.root(), None), "403"),
    ] {
        world.runtime_config(&config);
        let ran = world.run().await;
        ran.assert_failed("LAPI refuses the key, and has never taken it");
        assert!(ran.run.stdout.contains(says), "{config}: {}", ran.run.stdout);
        world.assert_edge(&["192.0.2.1"], &[]);
    }
    for config in [
        client_tls("127.0.0.1", &another.root(), None),
        // Nothing is said about this host, and the public roots do not know it.
        client_tls("localhost", &authority.root(), None),
    ] {
        world.runtime_config(&config);
        let ran = world.run().await;
        ran.assert_skipped("LAPI could not be read");
        assert!(ran.run.stdout.contains("TLS"), "{config}: {}", ran.run.stdout);
        world.assert_edge(&["192.0.2.1"], &[]);
    }
    assert_eq!(world.operations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudflare_over_tls_of_a_private_authority_is_synced_and_of_another_one_not() {
    let authority = Authority::new();
    let mut world = World::new().await;
    let plain = |world: &World, service| {
        let url = world.setting(service).to_owned();
        url.trim_start_matches("http://").parse().expect("an address and a port")
    };
    let server = authority.server();
    let cloudflare = TlsFront::start(plain(&world, "cf_api_url"), &server).await.unwrap();
    let lapi = TlsFront::start(plain(&world, "lapi_url"), &server).await.unwrap();
    world.set("cf_api_url", cloudflare.url());
    world.set("lapi_url", lapi.url());
    world.ban(&["203.0.113.7"]);

    let another = Authority::new();
    world.runtime_config(&client_tls("localhost", &another.root(), None));
    world.run().await.assert_failed("TLS failed");
    let requests = world.simulator().counters(Service::Cloudflare).requests;
    assert_eq!(requests, 0, "no token is sent to whom is not believed");

    world.runtime_config(&client_tls("localhost", &authority.root(), None));
    world.run_well().await;
    world.assert_edge(&["203.0.113.7"], &[]);
    world.two_minutes_later();
    world.captcha(&["203.0.113.8"]);
    world.run_well().await;
    world.assert_edge(&["203.0.113.7"], &["203.0.113.8"]);
    world.assert_no_violations();

    let found = examine(&world.for_the_tool()).await.expect("a manifest");
    let said = edge_sync::commands::doctor::render(&found);
    assert!(said.contains(" 0 failed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answer_over_tls_is_read_whole() {
    let authority = Authority::new();
    let mut world = World::new().await;
    let address = world.setting("lapi_url").trim_start_matches("http://").parse().unwrap();
    let lapi = TlsFront::start(address, &authority.server()).await.unwrap();
    world.set("lapi_url", lapi.url());
    world.runtime_config(&client_tls("localhost", &authority.root(), None));
    let many: Vec<String> = (0..5_000).map(|n| format!("45.0.{}.{}", n / 250, n % 250)).collect();
    world.ban(&many.iter().map(String::as_str).collect::<Vec<_>>());
    world.run_well().await;
    assert_eq!(world.edge().0.len(), 5_000);

    // The front hangs up without a word of TLS, as a proxy does that dies.
    world.two_minutes_later();
    world.fault("lapi times=9: cut-body 20000");
    world.run().await.assert_skipped("LAPI could not be read");
    assert_eq!(world.edge().0.len(), 5_000);
}

/// The file that the document shows, with files that hold what it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_configuration_of_the_document_loads() {
    let document = workspace::root().join("docs/operations.md");
    let document = std::fs::read_to_string(document).unwrap();
    let blocks = document.split("\n```toml\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("\n```").next());
    let example = blocks.find(|block| block.contains("[[client_tls]]")).expect("the example");

    let authority = Authority::new();
    let mut world = World::new().await;
    world.runtime_config(example);
    let error = format!("{:#}", world.load().unwrap_err());
    assert!(error.contains("ca.pem"), "{error}");
    let folder = world.for_the_tool().runtime_config.unwrap();
    let folder = folder.parent().unwrap().to_owned();
    let bouncer = authority.client("bouncer", RealLapi::BOUNCERS);
    std::fs::copy(authority.root(), folder.join("ca.pem")).unwrap();
    std::fs::copy(bouncer.certificate, folder.join("bouncer.pem")).unwrap();
    std::fs::copy(bouncer.key, folder.join("bouncer.key")).unwrap();
    world.load().unwrap();
    let resolved = spin_app::Resolved::read(&world.for_the_tool()).unwrap();
    assert!(resolved.client_tls.configured("lapi.internal").is_some(), "{:?}", resolved.client_tls);
}
