//! Outgoing HTTP: `wasi:http/outgoing-handler` with Spin's rules in front of it. Owns the refusal of
//! hosts that are not allowed, the count of requests and the hook that tests use to break a run off;
//! wasmtime-wasi-http does the sending (TLS with the webpki roots, no redirects followed), but to a host whose TLS
//! was configured, where `private_tls` does.

use crate::guest::Guest;
use crate::private_tls;
use http::uri::{self, Authority};
use spin_app::{AllowedHosts, ClientTls, Origin};
use std::fmt;
use std::io;
use std::sync::Arc;
use tokio::sync::Notify;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode, Scheme};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p2::{HttpError, HttpResult};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

/// An outgoing request that passed `allowed_outbound_hosts`, before it is sent.
#[derive(Clone, Debug)]
pub struct RequestSeen {
    /// Counts the run's requests from 1.
    pub number: u64,
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole address.
    pub url: String,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is sent.
    Continue,
    /// It is not sent: the component traps as it tries.
    TrapBefore,
    /// It is sent, and has its effect; when the answer's head is there the component is killed, so
    /// it never sees it.
    TrapAfter,
}

/// Decides on each request; see [`Options::on_request`](crate::Options::on_request).
pub type OnRequest = Arc<dyn Fn(&RequestSeen) -> Decision + Send + Sync>;

/// One instance's outgoing HTTP.
pub(crate) struct Outbound {
    pub(crate) allowed_hosts: Arc<AllowedHosts>,
    pub(crate) component: Arc<str>,
    pub(crate) on_request: Option<OnRequest>,
    /// Says to the person that runs the component what was refused.
    pub(crate) remark: Box<dyn Fn(fmt::Arguments<'_>) + Send>,
    pub(crate) requests: u64,
    pub(crate) hooks: Hooks,
}

/// Defines `wasi:http/types` as wasmtime-wasi-http has it, and the outgoing handler with our rules.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), Guest::http)?;
    // By hand: the generated way would have us implement all of `types` again. The linker gives any
    // 0.2 to a component that asks for another.
    linker.instance("wasi:http/outgoing-handler@0.2.0")?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, Guest>, (request, options): HandleParams| {
            Ok((match store.data_mut().outbound().handle(request, options) {
                Ok(response) => Ok(response),
                Err(error) => Err(error.downcast()?),
            },))
        },
    )
}

type HandleParams = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);

/// One instance's outgoing HTTP with what it works on, borrowed from the guest's state.
pub(crate) struct OutboundView<'a> {
    pub(crate) outbound: &'a mut Outbound,
    pub(crate) http: &'a mut WasiHttpCtx,
    pub(crate) table: &'a mut ResourceTable,
}

impl OutboundView<'_> {
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        let outbound = &mut *self.outbound;
        let seen = self.table.get(&request)?;
        let scheme = match &seen.scheme {
            Some(Scheme::Http) => "http",
            Some(Scheme::Https) | None => "https",
            Some(Scheme::Other(other)) => other,
        };
        let authority: Authority = seen
            .authority
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|_| ErrorCode::HttpRequestUriInvalid)?;

        let origin = Origin::new(scheme, &authority);
        if let Err(reason) = outbound.allowed_hosts.check(&origin) {
            (outbound.remark)(format_args!(
                "request to {origin} denied by allowed_outbound_hosts of component {:?}: {reason}",
                outbound.component
            ));
            self.table.delete(request)?;
            return Err(ErrorCode::HttpRequestDenied.into());
        }

        let number = outbound.requests + 1;
        let decision = outbound.on_request.as_ref().map_or(Decision::Continue, |decide| {
            let method: Result<http::Method, _> = seen.method.clone().try_into();
            let path = seen.path_with_query.as_deref().unwrap_or("/");
            decide(&RequestSeen {
                number,
                method: method.map_or_else(|_| "?".to_owned(), |method| method.to_string()),
                url: format!("{scheme}://{authority}{path}"),
            })
        });
        if decision == Decision::TrapBefore {
            return Err(HttpError::trap(BrokenOff { number, when: "before" }));
        }
        outbound.requests = number;
        outbound.hooks.kill_after = (decision == Decision::TrapAfter).then_some(number);
        WasiHttpCtxView { ctx: self.http, table: self.table, hooks: &mut outbound.hooks }
            .handle(request, options)
    }
}

/// Why a run ended that `on_request` broke off, before or after the request with this number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokenOff {
    number: u64,
    when: &'static str,
}

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken off {} request {}, as asked", self.when, self.number)
    }
}

impl std::error::Error for BrokenOff {}

/// Ends a run from within a request.
#[derive(Default)]
pub(crate) struct Kill {
    request: std::sync::OnceLock<u64>,
    signal: Notify,
}

impl Kill {
    /// Resolves when the run is to end.
    pub(crate) async fn wait(&self) -> BrokenOff {
        self.signal.notified().await;
        BrokenOff { number: self.request.get().copied().unwrap_or_default(), when: "after" }
    }
}

/// How wasmtime-wasi-http sends for us, and how it words what goes wrong.
pub(crate) struct Hooks {
    kill: Arc<Kill>,
    tls: ClientTls,
    /// The number of the request about to be sent, if the run ends with its answer.
    kill_after: Option<u64>,
}

impl Hooks {
    pub(crate) fn new(kill: Arc<Kill>, tls: ClientTls) -> Self {
        Self { kill, tls, kill_after: None }
    }
}

type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// An answer whose connection the caller drives.
fn with_io<B, I>((response, io): (http::Response<B>, I)) -> Sent
where
    B: hyper::body::Body<Data = bytes::Bytes, Error = Error> + Send + 'static,
    I: Future<Output = Result<(), Error>> + Send + 'static,
{
    (response.map(http_body_util::BodyExt::boxed_unsync), Box::new(io))
}

/// An answer that brings its connection along.
fn without_io(response: http::Response<WasiBody>) -> Sent {
    (response, Box::new(std::future::ready(Ok(()))))
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = wasmtime_wasi_http::Result<Sent>> + Send> {
        let kill_after = self.kill_after.take().map(|number| (number, Arc::clone(&self.kill)));
        let is_tls = request.uri().scheme() == Some(&uri::Scheme::HTTPS);
        let configured = request.uri().host().filter(|_| is_tls);
        let configured = configured.and_then(|host| self.tls.configured(host)).cloned();
        Box::new(async move {
            let sent = match configured {
                Some(config) => private_tls::send(request, options, config).await.map(without_io),
                None => {
                    wasmtime_wasi_http::default_send_request(request, options).await.map(with_io)
                }
            };
            if let Some((number, kill)) = kill_after {
                kill.request.get_or_init(|| number);
                kill.signal.notify_one();
                // The run is dropped, and this with it; the component must not see an answer before.
                std::future::pending::<()>().await;
            }
            sent
        })
    }

    /// Finer than the default, which calls all of these refused. Names that are not found have been
    /// told apart before.
    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                ErrorCode::DestinationIpUnroutable
            }
            _ => ErrorCode::DestinationUnavailable,
        }
    }
}
