//! `edge-sync setup` where Cloudflare is met through a proxy with an authority of its own, as some companies have it:
//! believed by `[[client_tls]]` of Spin's runtime configuration, as the component believes it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use simulator::front::{Ports, serve};
use simulator::{Options, Service, Simulator};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Speaks TLS as `localhost` in front of a server that does not; its own certificate is the root to believe.
async fn tls_in_front_of(server: SocketAddr, root: &Path) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(root, certificate.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not believe us goes away; that is half of the test.
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudflare_behind_an_authority_of_ones_own_is_set_up_with_its_runtime_configuration_only()
{
    let options = Options::default();
    let cloudflare = options.cloudflare.clone();
    let running =
        serve(Simulator::new(options).shared(), Ports::default()).await.expect("loopback ports");
    let folder = tempfile::tempdir().unwrap();
    let plain = running.url(Service::Cloudflare).trim_start_matches("http://").parse().unwrap();
    let front = tls_in_front_of(plain, &folder.path().join("ca.pem")).await;
    let config = folder.path().join("runtime-config.toml");
    let of_component = |id: &str| {
        format!(
            "[[client_tls]]\ncomponent_ids = [\"{id}\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"\n"
        )
    };
    let set_up = async |arguments: &[&str], variable: Option<&Path>| -> Output {
        let mut tool = tokio::process::Command::new(env!("CARGO_BIN_EXE_edge-sync"));
        tool.args(["setup", "--apply"]).args(arguments).env_clear();
        tool.env("SPIN_VARIABLE_CF_API_URL", format!("https://localhost:{}", front.port()));
        tool.env("SPIN_VARIABLE_CF_ACCOUNT_ID", &cloudflare.account_id);
        tool.env("SPIN_VARIABLE_CF_API_TOKEN", &cloudflare.api_token);
        tool.envs(variable.map(|file| ("RUNTIME_CONFIG_FILE", file)));
        tool.output().await.unwrap()
    };
    let file = ["--runtime-config-file", config.to_str().unwrap()];

    let absent = set_up(&file, None).await;
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(said.contains("runtime-config.toml"), "a file that is named is there: {said}");

    std::fs::write(&config, of_component("another-component")).unwrap();
    for arguments in [&file[..], &[]] {
        let refused = set_up(arguments, None).await;
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("TLS"), "{arguments:?}: {said}");
    }
    let lists = || -> Vec<String> {
        let lists = running.world().lock().unwrap().cloudflare().lists();
        lists.into_iter().map(|(_, name)| name).collect()
    };
    assert_eq!(lists(), [""; 0], "nothing is sent to whom is not believed");

    std::fs::write(&config, of_component("crowdsec-edge-sync")).unwrap();
    let made = set_up(&file, None).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(lists(), ["crowdsec_ban", "crowdsec_captcha"]);
    let again = set_up(&[], Some(&config)).await;
    assert!(String::from_utf8_lossy(&again.stdout).contains("nothing to do"), "{again:?}");
}
