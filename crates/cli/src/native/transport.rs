//! Outgoing HTTP as the component's runtimes do it: HTTP/1.1, a connection for each request, TLS with the roots
//! of webpki or as the runtime configuration has it, no redirects, no proxies. So an address that works here works there.

use edge_sync_core::ports::{Answer, Body, Request, ResponseHead, Transport, TransportError};
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming as HyperBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use spin_app::{AllowedHosts, ClientTls, Origin};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// More than any answer to a single question: an account's lists are at most 1,000, a zone's rules too.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Sends requests.
#[derive(Clone)]
pub struct Http {
    /// `None` = everywhere.
    allowed_hosts: Option<Arc<AllowedHosts>>,
    tls: ClientTls,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    /// Sends to these hosts only, `None` = to all; whom it believes there, `tls` says.
    pub fn new(allowed_hosts: Option<AllowedHosts>, tls: ClientTls) -> Self {
        Self { allowed_hosts: allowed_hosts.map(Arc::new), tls }
    }

    /// Sends a request once and reads its whole answer, within `limit`.
    pub async fn ask(&self, request: Request, limit: Duration) -> Result<Answer, TransportError> {
        let answer = async {
            let (head, mut incoming) = self.send(request).await?;
            let mut body = Vec::new();
            while let Some(chunk) = incoming.chunk().await? {
                body.extend(chunk);
                if body.len() > ANSWER_BYTES_MAX {
                    return Err(TransportError::TooLarge(ANSWER_BYTES_MAX));
                }
            }
            Ok(Answer { head, body })
        };
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(TransportError::Timeout(limit)))
    }
}

impl Transport for Http {
    type Body = Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Incoming), TransportError> {
        let request = outgoing(request)?;
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned())
        else {
            return Err(TransportError::Other(format!("{uri} is not a whole address")));
        };
        if let Some(allowed) = &self.allowed_hosts
            && allowed.check(&Origin::new(scheme.as_str(), &authority)).is_err()
        {
            return Err(TransportError::Denied);
        }
        let is_tls = scheme == Scheme::HTTPS;
        let stream = connect(&authority, if is_tls { 443 } else { 80 }).await?;
        if is_tls {
            let connector = TlsConnector::from(self.tls.config(authority.host()));
            let name = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(name)
                .map_err(|error| TransportError::Tls(error.to_string()))?;
            let stream = connector.connect(name, stream).await;
            exchange(stream.map_err(|error| TransportError::Tls(error.to_string()))?, request).await
        } else {
            exchange(stream, request).await
        }
    }
}

async fn connect(authority: &Authority, default_port: u16) -> Result<TcpStream, TransportError> {
    let port = authority.port_u16().unwrap_or(default_port);
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<_> =
        found.map_err(|error| TransportError::Dns(error.to_string()))?.collect();
    TcpStream::connect(&*addresses).await.map_err(connection_error)
}

fn connection_error(error: io::Error) -> TransportError {
    TransportError::Connection(match error.kind() {
        ErrorKind::ConnectionRefused => "refused: nothing listens there".to_owned(),
        _ => format!("failed: {error}"),
    })
}

/// As it reads after the word `connection`.
fn broken(error: hyper::Error) -> TransportError {
    let text = error.to_string();
    TransportError::Connection(match text.strip_prefix("connection ") {
        Some(rest) => rest.to_owned(),
        None => format!("broke: {text}"),
    })
}

async fn exchange<S>(
    stream: S,
    request: http::Request<Full<Bytes>>,
) -> Result<(ResponseHead, Incoming), TransportError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = Connection(tokio::spawn(async move {
        // What goes wrong here, the body tells as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(in_origin_form(request)?).await.map_err(broken)?;
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let head = ResponseHead::new(response.status().as_u16(), headers);
    Ok((head, Incoming { body: response.into_body(), _connection: connection }))
}

/// The request with its host in a header.
fn outgoing(request: Request) -> Result<http::Request<Full<Bytes>>, TransportError> {
    let other = |error: http::Error| TransportError::Other(error.to_string());
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(request.url);
    for (name, value) in request.headers {
        builder = builder.header(name, value.as_ref());
    }
    let body = Full::new(Bytes::from(request.body.unwrap_or_default()));
    let mut request = builder.body(body).map_err(other)?;
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().parse().map_err(|error| other(http::Error::from(error)))?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// Only path and query in the first line: the whole address there is for proxies.
fn in_origin_form(
    mut request: http::Request<Full<Bytes>>,
) -> Result<http::Request<Full<Bytes>>, TransportError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = path
        .parse()
        .map_err(|error: http::uri::InvalidUri| TransportError::Other(error.to_string()))?;
    *request.uri_mut() = uri;
    Ok(request)
}

/// A body on its way in.
#[derive(Debug)]
pub struct Incoming {
    body: HyperBody,
    _connection: Connection,
}

/// The task that moves a connection's bytes; ends with the answer that it was for.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Body for Incoming {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| TransportError::Body(error.to_string()))?;
            // Anything else is trailers, which none of these APIs sends.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data.into()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_sync_core::ports::Method;

    fn request(url: &str) -> Request {
        Request::new(Method::Put, url).header("x-api-key", "key")
    }

    #[test]
    fn request_made_outgoing_keeps_all_and_names_its_host() {
        let made = outgoing(request("http://a:8080/v1/x?y=1")).unwrap();
        assert_eq!((made.method().as_str(), made.uri().path()), ("PUT", "/v1/x"));
        assert_eq!(
            (&made.headers()["host"], &made.headers()["x-api-key"]),
            (&"a:8080".parse().unwrap(), &"key".parse().unwrap())
        );
    }

    #[test]
    fn address_or_header_that_http_cannot_say_is_an_error_not_a_panic() {
        assert!(outgoing(request("http://a b/")).is_err());
        let broken = request("http://a/").header("x", "line\nbreak");
        assert!(matches!(outgoing(broken), Err(TransportError::Other(_))));
    }

    #[tokio::test]
    async fn name_unknown_and_port_closed_are_told_apart() {
        let http = Http::new(None, ClientTls::default());
        let answer = |url| http.ask(Request::new(Method::Get, url), Duration::from_secs(20));
        let unknown = answer("http://crowdsec.invalid:8080/").await;
        assert!(matches!(unknown, Err(TransportError::Dns(_))), "{unknown:?}");
        let closed = answer("http://127.0.0.1:1/").await;
        assert_eq!(
            closed,
            Err(TransportError::Connection("refused: nothing listens there".to_owned()))
        );
    }

    #[tokio::test]
    async fn server_that_speaks_no_tls_is_told_as_such() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let serve = async {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        };
        let http = Http::new(None, ClientTls::default());
        let ask = http.ask(Request::new(Method::Get, url), Duration::from_secs(20));
        let (answer, ()) = tokio::join!(ask, serve);
        assert!(matches!(answer, Err(TransportError::Tls(_))), "{answer:?}");
    }
}
