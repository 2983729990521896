//! Outgoing HTTP by WASI: moves bytes, knows no API.
//!
//! Not by the client of the Spin SDK: it converts requests and answers to types of its own and of
//! two more libraries, and the component carries all of them.

use edge_sync_core::ports::{self, Body, Request, ResponseHead, Transport, TransportError};
use futures_util::future::join;
use wasi::http::outgoing_handler::handle;
use wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasi::io::streams::{InputStream, OutputStream, StreamError};

use super::{Spin, ready};

/// The most bytes of an answer that are taken at once.
const CHUNK_BYTES_MAX: u64 = 32 << 10;

impl Transport for Spin {
    type Body = Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Incoming), TransportError> {
        let (outgoing, sink) = outgoing(&request).ok_or_else(|| {
            TransportError::Other(format!("the runtime does not take the request {request:?}"))
        })?;
        let coming = handle(outgoing, None).map_err(error_code)?;
        // Side by side: a server may refuse a large write before it has read it, and its answer
        // says more than the broken pipe.
        let (answer, ()) = join(
            ready(|| coming.get().ok_or_else(|| coming.subscribe())),
            write(sink, request.body),
        )
        .await;
        let answer = answer.expect("an answer is taken once").map_err(error_code)?;
        let headers = answer.headers().entries();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Ok((ResponseHead::new(answer.status(), headers), Incoming::of(&answer)))
    }
}

/// The request for the runtime, and where its body is written to; `None` if a part of it is not
/// what WASI allows.
fn outgoing(request: &Request) -> Option<(OutgoingRequest, OutgoingBody)> {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let outgoing = OutgoingRequest::new(Fields::from_list(&headers).ok()?);
    let method = match request.method {
        ports::Method::Get => Method::Get,
        ports::Method::Post => Method::Post,
        ports::Method::Put => Method::Put,
        ports::Method::Patch => Method::Patch,
        ports::Method::Delete => Method::Delete,
    };
    let (scheme, rest) = match request.url.split_once("://")? {
        ("https", rest) => (Scheme::Https, rest),
        (_, rest) => (Scheme::Http, rest),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    outgoing.set_method(&method).ok()?;
    outgoing.set_scheme(Some(&scheme)).ok()?;
    outgoing.set_authority(Some(authority)).ok()?;
    outgoing.set_path_with_query(Some(path)).ok()?;
    let sink = outgoing.body().ok()?;
    Some((outgoing, sink))
}

/// Sends a request's body, as far as the server takes it.
async fn write(sink: OutgoingBody, body: Option<Vec<u8>>) {
    let stream = sink.write().expect("a body has one stream");
    if let Some(body) = body {
        // What went wrong, if anything, is said by the answer.
        let _ = write_all(&stream, &body).await;
    }
    // A body that is finished may have no stream any more.
    drop(stream);
    let _ = OutgoingBody::finish(sink, None);
}

async fn write_all(stream: &OutputStream, mut rest: &[u8]) -> Result<(), StreamError> {
    while !rest.is_empty() {
        let part = rest.len().min(room(stream).await?);
        stream.write(&rest[..part])?;
        rest = &rest[part..];
    }
    stream.flush()?;
    // There is room again when all has been flushed.
    room(stream).await.map(drop)
}

/// How many bytes may be written now; waits until it is more than none.
async fn room(stream: &OutputStream) -> Result<usize, StreamError> {
    ready(|| match stream.check_write() {
        Ok(0) => Err(stream.subscribe()),
        Ok(bytes) => Ok(Ok(usize::try_from(bytes).unwrap_or(usize::MAX))),
        Err(error) => Ok(Err(error)),
    })
    .await
}

/// A body on its way in.
pub(crate) struct Incoming {
    // In this order: the stream is a part of the body, and must be dropped before it.
    stream: InputStream,
    _body: IncomingBody,
}

impl Incoming {
    fn of(answer: &IncomingResponse) -> Self {
        let body = answer.consume().expect("an answer's body is taken once");
        Self { stream: body.stream().expect("a body has one stream"), _body: body }
    }
}

impl Body for Incoming {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        ready(|| match self.stream.read(CHUNK_BYTES_MAX) {
            Ok(bytes) if bytes.is_empty() => Err(self.stream.subscribe()),
            Ok(bytes) => Ok(Ok(Some(bytes))),
            Err(StreamError::Closed) => Ok(Ok(None)),
            Err(StreamError::LastOperationFailed(error)) => {
                Ok(Err(TransportError::Body(error.to_debug_string())))
            }
        })
        .await
    }
}

/// The runtime's codes in words: an operator reads them in a log line.
fn error_code(code: ErrorCode) -> TransportError {
    let connection = |what: &str| TransportError::Connection(what.to_owned());
    let tls = |what: &str| TransportError::Tls(what.to_owned());
    let other = |what: &str| TransportError::Other(what.to_owned());
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => TransportError::Denied,
        ErrorCode::DnsError(payload) => {
            TransportError::Dns(payload.rcode.unwrap_or_else(|| "there is no such name".to_owned()))
        }
        ErrorCode::DnsTimeout => TransportError::Dns("the name server does not answer".to_owned()),
        ErrorCode::TlsProtocolError => tls("the other side does not speak it, or not this version"),
        ErrorCode::TlsCertificateError => tls("the certificate is not trusted"),
        ErrorCode::TlsAlertReceived(_) => tls("the other side refused"),
        ErrorCode::ConnectionRefused => connection("refused: nothing listens there"),
        // What a connection that closes before the answer looks like.
        ErrorCode::ConnectionTerminated | ErrorCode::HttpProtocolError => {
            connection("closed before the answer")
        }
        ErrorCode::ConnectionTimeout => connection("timed out"),
        ErrorCode::ConnectionReadTimeout => connection("timed out while it was read"),
        ErrorCode::ConnectionWriteTimeout => connection("timed out while it was written"),
        ErrorCode::ConnectionLimitReached => connection("not possible: too many are open"),
        ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationIpUnroutable => {
            connection("not possible: the destination cannot be reached")
        }
        ErrorCode::HttpResponseTimeout => other("the answer did not come in time"),
        ErrorCode::HttpResponseIncomplete => other("the answer broke off"),
        ErrorCode::HttpResponseBodySize(_) => other("the runtime takes no answer of this size"),
        ErrorCode::HttpResponseHeaderSectionSize(_) | ErrorCode::HttpResponseHeaderSize(_) => {
            other("the runtime takes no headers of this size")
        }
        ErrorCode::HttpResponseTransferCoding(_) | ErrorCode::HttpResponseContentCoding(_) => {
            other("the answer's coding is not known to the runtime")
        }
        ErrorCode::HttpRequestUriInvalid => other("the runtime takes no such address"),
        ErrorCode::LoopDetected => other("the runtime found that the request comes back to itself"),
        ErrorCode::InternalError(Some(what)) => TransportError::Other(what),
        // What is about other requests than ours. Not by `Debug`, which is as large as all of this file.
        _ => other("the runtime could not send the request"),
    }
}
