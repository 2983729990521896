//! An application that can be run: manifest resolved, component compiled and linked. Owns the way from
//! what `spin_app` found to an instance; the instance's own state is `guest`.

use crate::bindings::spin::cron::cron_types;
use crate::bindings::{self, CronGuestPre};
use crate::guest::{ComponentVariables, Guest, HasVariables, MemoryMeter};
use crate::key_value::{HasKeyValue, KeyValue};
use crate::outbound::{self, BrokenOff, Hooks, Kill, OnRequest, Outbound};
use crate::run::{Outcome, Output, Run, Trigger};
use crate::schedule::Schedule;
use crate::stubs;
use anyhow::{Context, Result, anyhow};
use spin_app::{AllowedHosts, ClientTls, Resolved, Variables};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Cache, CacheConfig, Config, Engine, Store, WasmBacktrace};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

/// The most that is captured of each output stream.
const CAPTURE_BYTES_MAX: usize = 64 << 20;

/// What to load and how. Start from `Options { manifest, ..Options::default() }`.
#[derive(Clone, Default)]
pub struct Options {
    /// The `spin.toml`.
    pub manifest: PathBuf,
    /// Which of the manifest's components; needed only if its triggers name more than one.
    pub component: Option<String>,
    /// This file instead of the component's `source`.
    pub component_override: Option<PathBuf>,
    /// Values for the manifest's variables. The default has none: the environment is read only by
    /// [`Variables::from_env`].
    pub variables: Variables,
    /// Where the key-value store persists; default `.spin` beside the manifest.
    pub state_dir: Option<PathBuf>,
    /// Spin's runtime configuration; it may put the key-value store elsewhere, and say whom to believe in TLS.
    pub runtime_config: Option<PathBuf>,
    /// Where compiled code is kept; default `compiled` in the state directory.
    pub cache_dir: Option<PathBuf>,
    /// Asked about every outgoing request, to break a run off at one of them.
    pub on_request: Option<OnRequest>,
}

impl Options {
    fn app(&self) -> spin_app::Options {
        spin_app::Options {
            manifest: self.manifest.clone(),
            component: self.component.clone(),
            variables: self.variables.clone(),
            state_dir: self.state_dir.clone(),
            runtime_config: self.runtime_config.clone(),
        }
    }
}

/// A loaded application. Runs are independent of each other and may overlap.
pub struct App {
    engine: Engine,
    component: Component,
    instance: InstancePre<Guest>,
    id: Arc<str>,
    environment: Vec<(String, String)>,
    allowed_hosts: Arc<AllowedHosts>,
    client_tls: ClientTls,
    variables: ComponentVariables,
    key_value: KeyValue,
    on_request: Option<OnRequest>,
    cron_expressions: Vec<String>,
}

impl App {
    /// Reads the manifest, resolves its variables, and compiles the component, or finds it compiled.
    pub fn load(options: Options) -> Result<Self> {
        let app = options.app();
        let resolved = Resolved::read(&app)?;
        let source = options.component_override.unwrap_or(resolved.source);
        let state_dir = spin_app::state_dir(&app);
        let default = spin_app::store(&app)?;
        let cache_dir = options.cache_dir.unwrap_or_else(|| state_dir.join("compiled"));
        let engine = engine(&cache_dir)?;
        let component = compile(&engine, &source)?;
        let instance = linker(&engine, &component)
            .and_then(|linker| linker.instantiate_pre(&component))
            .map_err(|error| {
                anyhow!(error).context(format!("failed to link {}", source.display()))
            })?;

        Ok(Self {
            engine,
            component,
            instance,
            environment: resolved.environment.into_iter().collect(),
            allowed_hosts: Arc::new(resolved.allowed_hosts),
            client_tls: resolved.client_tls,
            variables: ComponentVariables(Arc::new(resolved.variables)),
            key_value: KeyValue { allowed: Arc::new(resolved.key_value_stores), default },
            on_request: options.on_request,
            cron_expressions: resolved.cron_expressions,
            id: resolved.id.into(),
        })
    }

    /// The interfaces that the component imports, sorted.
    pub fn imports(&self) -> Vec<String> {
        let ty = self.component.component_type();
        let mut names: Vec<_> = ty.imports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The functions and interfaces that the component exports, sorted.
    pub fn exports(&self) -> Vec<String> {
        let ty = self.component.component_type();
        let mut names: Vec<_> = ty.exports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The schedules of the component's cron triggers.
    pub fn schedules(&self) -> Result<Vec<Schedule>> {
        self.cron_expressions.iter().map(|expression| Schedule::parse(expression)).collect()
    }

    /// Whether the manifest has a cron trigger for the component.
    pub fn has_cron_trigger(&self) -> bool {
        !self.cron_expressions.is_empty()
    }

    /// Runs a fresh instance once. What goes wrong inside it is the run's outcome; an error means
    /// that the component cannot be called so. Dropping the future ends the instance.
    pub async fn run(&self, trigger: Trigger, output: Output) -> Result<Run> {
        // Before the clock starts: whether there is anything to call.
        let entry = Entry::find(&self.instance, trigger)
            .with_context(|| format!("component {:?}", self.id))?;

        let kill = Arc::new(Kill::default());
        let streams = Streams::new(output);
        let guest = Guest {
            table: ResourceTable::new(),
            wasi: streams.wasi(&self.environment),
            http: WasiHttpCtx::new(),
            outbound: Outbound {
                allowed_hosts: Arc::clone(&self.allowed_hosts),
                component: Arc::clone(&self.id),
                on_request: self.on_request.clone(),
                remark: streams.remark(),
                requests: 0,
                hooks: Hooks::new(Arc::clone(&kill), self.client_tls.clone()),
            },
            key_value: self.key_value.clone(),
            variables: self.variables.clone(),
            memory: MemoryMeter::default(),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.memory);

        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = entry.call(&mut store) => outcome,
            broken_off = kill.wait() => Outcome::Trapped(broken_off.to_string()),
        };
        let wall = started.elapsed();
        let guest = store.into_data();
        let (memory_peak_bytes, requests) = (guest.memory.bytes, guest.outbound.requests);
        // Ends the instance's requests and closes its streams before these are read.
        drop(guest);
        let (stdout, stderr) = streams.captured();
        Ok(Run { outcome, stdout, stderr, memory_peak_bytes, wall, requests })
    }
}

impl fmt::Debug for App {
    /// Nothing of the variables: some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("component", &self.id).finish_non_exhaustive()
    }
}

fn engine(cache_dir: &Path) -> Result<Engine> {
    let mut cache = CacheConfig::new();
    // Wasmtime takes only an absolute path.
    cache.with_directory(std::path::absolute(cache_dir)?);
    let mut config = Config::new();
    // The cron handler's type is `async`, though the component lifts it synchronously.
    config.wasm_component_model_async(true);
    config.cache(Some(Cache::new(cache)?));
    Ok(Engine::new(&config)?)
}

fn compile(engine: &Engine, source: &Path) -> Result<Component> {
    let bytes = std::fs::read(source).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::NotFound => "; `cargo xtask build` makes it",
            _ => "",
        };
        anyhow!(error).context(format!("failed to read the component {}{hint}", source.display()))
    })?;
    Component::new(engine, bytes).map_err(|error| {
        anyhow!(error).context(format!("{} is not a component that runs here", source.display()))
    })
}

fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    outbound::add_to_linker(&mut linker)?;
    bindings::fermyon::spin::variables::add_to_linker::<_, HasVariables>(
        &mut linker,
        Guest::variables,
    )?;
    bindings::fermyon::spin::key_value::add_to_linker::<_, HasKeyValue>(
        &mut linker,
        Guest::key_value,
    )?;
    stubs::add_to_linker(&mut linker, engine, component)?;
    Ok(linker)
}

/// `wasi:cli/run`'s error carries no text, and some hosts drop even the error.
const RUN_FAILED: &str = "wasi:cli/run returned an error (SpinKube's shim would take that for \
                          success; only an exit with a code fails there)";

/// The export that a trigger calls.
enum Entry {
    Cron(CronGuestPre<Guest>, u64),
    Command(CommandPre<Guest>),
}

impl Entry {
    fn find(instance: &InstancePre<Guest>, trigger: Trigger) -> Result<Self> {
        match trigger {
            Trigger::Cron { timestamp } => CronGuestPre::new(instance.clone())
                .map(|pre| Entry::Cron(pre, timestamp))
                .map_err(|error| {
                    anyhow!(error).context("does not export handle-cron-event of spin:cron@3.0.0")
                }),
            Trigger::Command => CommandPre::new(instance.clone())
                .map(Entry::Command)
                .map_err(|error| anyhow!(error).context("does not export wasi:cli/run@0.2")),
        }
    }

    async fn call(&self, store: &mut Store<Guest>) -> Outcome {
        match self.try_call(store).await {
            Ok(None) => Outcome::Ok,
            Ok(Some(message)) => Outcome::Failed(message),
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(code)) => Outcome::Exited(*code),
                None => Outcome::Trapped(describe_trap(&error)),
            },
        }
    }

    /// The message of the error that the handler returned, if it did.
    async fn try_call(&self, store: &mut Store<Guest>) -> wasmtime::Result<Option<String>> {
        match self {
            Entry::Cron(pre, timestamp) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let event = cron_types::Metadata { timestamp: *timestamp };
                let result = store
                    .run_concurrent(async |accessor| {
                        guest.call_handle_cron_event(accessor, event).await
                    })
                    .await??;
                Ok(result.err().map(|cron_types::Error::Other(message)| message))
            }
            Entry::Command(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let result = guest.wasi_cli_run().call_run(&mut *store).await?;
                Ok(result.err().map(|()| RUN_FAILED.to_owned()))
            }
        }
    }
}

/// The cause on the first line, the component's stack on those below.
fn describe_trap(error: &wasmtime::Error) -> String {
    let cause = error.root_cause();
    if cause.is::<BrokenOff>() {
        // Asked for: where the component was is of no interest.
        return cause.to_string();
    }
    match error.downcast_ref::<WasmBacktrace>() {
        Some(stack) => format!("{cause}\n{stack}").trim_end().to_owned(),
        None => cause.to_string(),
    }
}

/// Where the instance's output goes.
struct Streams {
    captured: Option<(MemoryOutputPipe, MemoryOutputPipe)>,
}

impl Streams {
    fn new(output: Output) -> Self {
        let pipe = || MemoryOutputPipe::new(CAPTURE_BYTES_MAX);
        Self { captured: (output == Output::Captured).then(|| (pipe(), pipe())) }
    }

    fn wasi(&self, environment: &[(String, String)]) -> WasiCtx {
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(environment);
        match &self.captured {
            Some((stdout, stderr)) => wasi.stdout(stdout.clone()).stderr(stderr.clone()),
            None => wasi.inherit_stdout().inherit_stderr(),
        };
        wasi.build()
    }

    /// For the host's own words about this instance: they go with its stderr.
    fn remark(&self) -> Box<dyn Fn(fmt::Arguments<'_>) + Send> {
        match &self.captured {
            None => Box::new(|remark| eprintln!("host: {remark}")),
            Some((_, stderr)) => {
                let stderr = stderr.clone();
                Box::new(move |remark| {
                    use wasmtime_wasi::p2::OutputStream;
                    // A full pipe loses the remark; the run's outcome does not depend on it.
                    let _ = stderr.clone().write(format!("host: {remark}\n").into());
                })
            }
        }
    }

    fn captured(self) -> (String, String) {
        let text = |pipe: MemoryOutputPipe| String::from_utf8_lossy(&pipe.contents()).into_owned();
        self.captured.map_or_else(Default::default, |(out, err)| (text(out), text(err)))
    }
}
