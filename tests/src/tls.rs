//! Certificates of an authority of the tests' own, and TLS in front of a server that speaks none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An authority that nobody knows who was not told.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Files {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM, PKCS 8.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        std::fs::write(folder.path().join("ca.pem"), root.pem()).expect("a temporary file");
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// Its own certificate, PEM.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// For a server at `localhost` and 127.0.0.1.
    pub fn server(&self) -> Files {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let params = CertificateParams::new(names).expect("names and addresses");
        self.issue("server", params)
    }

    /// For a client with this name in this organisational unit.
    pub fn client(&self, name: &str, unit: &str) -> Files {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        self.issue(name, params)
    }

    fn issue(&self, name: &str, params: CertificateParams) -> Files {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |end: &str, text: String| {
            let path = self.folder.path().join(format!("{name}.{end}"));
            std::fs::write(&path, text).expect("a temporary file");
            path
        };
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        Files { certificate: file("pem", certificate), key: file("key", key) }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// A `[[client_tls]]` of the component for this host: this root, and this certificate if any.
pub fn client_tls(host: &str, root: &Path, client: Option<&Files>) -> String {
    let mut text = format!(
        "[[client_tls]]\ncomponent_ids = [\"crowdsec-edge-sync\"]\nhosts = [{host:?}]\nca_roots_file = {root:?}\n"
    );
    if let Some(Files { certificate, key }) = client {
        text.push_str(&format!(
            "client_cert_file = {certificate:?}\nclient_private_key_file = {key:?}\n"
        ));
    }
    text
}

/// Speaks TLS, and hands on what it hears to a server that does not.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// In front of `server`, with this certificate.
    pub async fn start(server: SocketAddr, files: &Files) -> io::Result<Self> {
        let certificate =
            CertificateDer::from_pem_file(&files.certificate).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not believe us goes away; that is the point of some tests.
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Its origin, by name.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
