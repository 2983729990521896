//! Outgoing HTTP by the Spin SDK: moves bytes, knows no API.

use std::pin::Pin;

use edge_sync_core::ports::{Body, Transport, TransportError};
use edge_sync_core::wire::{Method, Request, ResponseHead};
use futures_util::future::join;
use futures_util::{SinkExt, Stream, StreamExt};
use spin_sdk::http::conversions::TryIntoOutgoingRequest;
use spin_sdk::http::{self, ErrorCode, IncomingResponse, SendError};

use super::Spin;

impl Transport for Spin {
    type Body = Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Incoming), TransportError> {
        let method = match request.method {
            Method::Get => http::Method::Get,
            Method::Post => http::Method::Post,
            Method::Put => http::Method::Put,
            Method::Delete => http::Method::Delete,
        };
        let mut builder = http::Request::builder();
        builder.method(method).uri(request.url);
        for (name, value) in request.headers {
            builder.header(name, value);
        }
        let (outgoing, _) = builder
            .build()
            .try_into_outgoing_request()
            .map_err(|error| TransportError::Other(error.to_string()))?;
        let mut sink = outgoing.take_body();
        // Side by side: a server may refuse a large write before it has read it, and its answer
        // says more than the broken pipe.
        let (answer, _) = join(http::send(outgoing), async move {
            match request.body {
                Some(body) => sink.send(body).await,
                None => Ok(()),
            }
        })
        .await;
        let answer: IncomingResponse = answer.map_err(send_error)?;
        let headers = answer.headers().entries();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let head = ResponseHead::new(answer.status(), headers);
        Ok((head, Incoming(Box::pin(answer.take_body_stream()))))
    }
}

/// A body on its way in.
pub(crate) struct Incoming(Pin<Box<dyn Stream<Item = Result<Vec<u8>, wasi::io::streams::Error>>>>);

impl Body for Incoming {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let chunk = self.0.next().await.transpose();
        chunk.map_err(|error| TransportError::Body(error.to_debug_string()))
    }
}

fn send_error(error: SendError) -> TransportError {
    match error {
        SendError::Http(code) => error_code(code),
        // The server hung up while we were sending.
        SendError::Io(error) => TransportError::Connection(format!("{error:?}")),
        SendError::RequestConversion(error) => TransportError::Other(error.to_string()),
        SendError::ResponseConversion(error) => TransportError::Other(error.to_string()),
    }
}

fn error_code(code: ErrorCode) -> TransportError {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => TransportError::Denied,
        ErrorCode::DnsError(_) | ErrorCode::DnsTimeout => TransportError::Dns(format!("{code:?}")),
        ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => TransportError::Tls(format!("{code:?}")),
        ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTerminated
        // What a connection that closes before the answer looks like.
        | ErrorCode::HttpProtocolError
        | ErrorCode::ConnectionTimeout
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationNotFound => TransportError::Connection(format!("{code:?}")),
        other => TransportError::Other(format!("{other:?}")),
    }
}
