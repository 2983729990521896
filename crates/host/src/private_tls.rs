//! Requests over a TLS that was configured (`[[client_tls]]`): wasmtime-wasi-http's own sending knows the public
//! roots only. The same HTTP/1.1, the same time limits, the same errors.

use bytes::Bytes;
use http::Response;
use http::uri::{Authority, PathAndQuery};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// What wasmtime-wasi-http waits where the component says nothing.
const TIME_DEFAULT: Duration = Duration::from_secs(600);

/// Sends a request whose scheme is https.
pub(crate) async fn send(
    mut request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
    config: Arc<ClientConfig>,
) -> Result<Response<WasiBody>, Error> {
    let times = options.unwrap_or_default();
    let time = |configured: Option<Duration>| configured.unwrap_or(TIME_DEFAULT);
    let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?.clone();
    let connect = async {
        let stream = connected(&authority).await?;
        let name = ServerName::try_from(host(&authority).to_owned())?;
        TlsConnector::from(config).connect(name, stream).await.map_err(Error::Tls)
    };
    let connected = timeout(time(times.connect_timeout), connect).await;
    let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = Connection(tokio::spawn(async move {
        // What goes wrong here, the answer tells as well.
        let _ = connection.await;
    }));
    // Only path and query in the first line: the whole address there is for proxies.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
    let answer = timeout(time(times.first_byte_timeout), sender.send_request(request)).await;
    let answer = answer.map_err(|_| Error::ConnectionReadTimeout)??;
    let pause = time(times.between_bytes_timeout);
    Ok(answer.map(|incoming| {
        let body =
            Answer { incoming, pause, waits: Box::pin(sleep(pause)), _connection: connection };
        body.boxed_unsync()
    }))
}

async fn connected(authority: &Authority) -> Result<TcpStream, Error> {
    let port = authority.port_u16().unwrap_or(443);
    TcpStream::connect((host(authority), port)).await.map_err(Error::Connect)
}

/// Without the brackets of an IPv6 address.
fn host(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

/// A body on its way in, with its connection.
struct Answer {
    incoming: Incoming,
    /// The longest pause between two parts.
    pause: Duration,
    waits: Pin<Box<Sleep>>,
    _connection: Connection,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            let until = Instant::now() + self.pause;
            self.waits.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        ready!(self.waits.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The task that moves a connection's bytes; ends with the answer that it was for.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
