//! Outgoing HTTP by the component's own way: same rules, same TLS roots, no redirects, no proxies.

use super::Native;
use crate::allowed_hosts::Origin;
use edge_sync_core::ports::{Body, Request, ResponseHead, Transport, TransportError};
use http::header::HOST;
use http_body_util::{BodyExt, Full};
use std::io::ErrorKind;
use tokio::task::JoinHandle;
use wasmtime_wasi_http::{Error, WasiBody, default_send_request};

impl Transport for Native {
    type Body = Incoming;

    async fn send(&self, request: Request) -> Result<(ResponseHead, Incoming), TransportError> {
        let request = outgoing(request)?;
        let uri = request.uri();
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(TransportError::Other(format!("{uri} is not a whole address")));
        };
        if self.allowed_hosts.check(&Origin::new(scheme, authority)).is_err() {
            return Err(TransportError::Denied);
        }
        let (response, connection) =
            default_send_request(request, None).await.map_err(transport_error)?;
        let connection = Connection(tokio::spawn(async move {
            // What goes wrong here, the body tells as well.
            let _ = connection.await;
        }));
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let head = ResponseHead::new(response.status().as_u16(), headers);
        let body = response.into_body().boxed_unsync();
        Ok((head, Incoming { body, _connection: connection }))
    }
}

fn outgoing(request: Request) -> Result<http::Request<WasiBody>, TransportError> {
    let other = |error: http::Error| TransportError::Other(error.to_string());
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(request.url);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(request.body.unwrap_or_default().into());
    let body = body.map_err(|never| match never {}).boxed_unsync();
    let mut request = builder.body(body).map_err(other)?;
    if let Some(authority) = request.uri().authority() {
        let host = authority.as_str().parse().map_err(|error| other(http::Error::from(error)))?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// A body on its way in.
pub struct Incoming {
    body: WasiBody,
    _connection: Connection,
}

/// The task that moves a connection's bytes; ends with the answer that it was for.
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

fn transport_error(error: Error) -> TransportError {
    match error {
        // The resolver's error has no kind of its own.
        Error::Connect(error) if error.to_string().starts_with("failed to lookup address") => {
            TransportError::Dns(error.to_string())
        }
        Error::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => {
            TransportError::Connection("refused: nothing listens there".to_owned())
        }
        Error::Connect(error) => TransportError::Connection(error.to_string()),
        Error::Tls(error) => TransportError::Tls(error.to_string()),
        Error::InvalidDnsNameError(error) => TransportError::Tls(error.to_string()),
        // What a connection that closes before the answer looks like.
        Error::Hyper(error) => TransportError::Connection(error.to_string()),
        Error::ConnectionTimeout | Error::ConnectionTerminated => {
            TransportError::Connection(error.to_string())
        }
        other => TransportError::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_sync_core::ports::Method;
    use std::io;

    fn request(url: &str, body: Option<&[u8]>) -> Request {
        let headers = vec![("x-api-key", "key".to_owned())];
        Request {
            method: Method::Put,
            url: url.to_owned(),
            headers,
            body: body.map(Vec::from),
            may_be_absent: false,
        }
    }

    #[test]
    fn request_made_outgoing_keeps_all_and_names_its_host() {
        let made = outgoing(request("http://a:8080/v1/x?y=1", Some(b"body"))).unwrap();
        assert_eq!(made.method(), "PUT");
        assert_eq!(made.uri(), "http://a:8080/v1/x?y=1");
        assert_eq!(
            (&made.headers()["host"], &made.headers()["x-api-key"]),
            (&"a:8080".parse().unwrap(), &"key".parse().unwrap())
        );
    }

    #[test]
    fn address_or_header_that_http_cannot_say_is_an_error_not_a_panic() {
        assert!(outgoing(request("http://a b/", None)).is_err());
        let mut broken = request("http://a/", None);
        broken.headers.push(("x", "line\nbreak".to_owned()));
        assert!(matches!(outgoing(broken), Err(TransportError::Other(_))));
    }

    #[test]
    fn name_unknown_and_port_closed_are_told_apart() {
        let lookup = io::Error::other("failed to lookup address information: Name not known");
        assert!(matches!(transport_error(Error::Connect(lookup)), TransportError::Dns(_)));
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        assert!(matches!(transport_error(Error::Connect(refused)), TransportError::Connection(_)));
    }
}
