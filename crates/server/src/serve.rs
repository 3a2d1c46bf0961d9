//! `tidings serve`: from the configuration to the ready line, and on a signal to the end.

use std::future::{Future, IntoFuture as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, bail};
use axum::{Router, middleware};
use tidings::{Io, Listener};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::cli::{Exit, Failure, Serve};
use crate::config::{ADMIN_LISTEN, Config, Environment, Listen, Sources};
use crate::console::Settings;
use crate::hooks::Hooks;
use crate::reload::Reload;
use crate::swap::Swap;
use crate::token::{KeySet, NewToken, Source, sign};
use crate::{api, console, demo, health, log, loopback, metrics, problem, setup, unix_socket};

/// How long the token of `--dev` holds: for as long as anybody tries something out.
const DEV_TOKEN: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Serves until a signal ends it.
///
/// # Errors
/// When the configuration is wrong, an address can't be listened on, or clients had to be cut off at the end.
pub(crate) fn serve(options: &Serve, environment: Environment) -> Result<(), Failure> {
    let sources = Sources {
        file: options.config.clone(),
        environment,
        listen: options.listen.clone(),
        data: options.data.clone(),
        dev: options.dev,
    };
    let config = Config::load(&sources)?;
    log::start(options.json);
    let outcome = run(&config, sources);
    log::flush();
    outcome.map_err(|error| Failure {
        exit: Exit::Failed,
        message: format!("{error:#}"),
    })
}

#[tokio::main]
async fn run(config: &Config, sources: Sources) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    // Asks for the configuration to be read again.
    let mut hangup = signal(SignalKind::hangup()).context("signals can't be listened for")?;
    let (listener, address) = listen_for_clients(&config.listen).await?;
    let admin = listen_for_admin(config).await?;
    let keys = follow_keys(config).await;
    let hooks = config.hooks.as_ref().map(Hooks::start).transpose();
    let hooks = hooks.map_err(|problem| anyhow!("hooks: {problem}"))?;
    let (io, api, live) = setup::server(config, keys, hooks.clone())?;
    let shown = Arc::new(Swap::new(Settings::of(config)));
    let reload = Arc::new(Reload::new(sources, config.clone(), live, Arc::clone(&shown)));

    if let Some(admin) = admin {
        tracing::info!(address = %admin.local_addr()?, "/console/, /metrics and health are here");
        let routes = health::routes(&io).merge(metrics::routes(&io, hooks.clone()));
        let app = app(config, routes.merge(console::routes(config, &api, &shown)));
        tokio::spawn(server(admin, app, config).into_future());
    }
    if config.dev {
        tokio::spawn(demo::publish_status(io.clone()));
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let mut clients = server(listener, app(config, routes(config, &io, api::routes(&api))), config);
    if let Some(tls) = &config.tls {
        clients = clients.tls(tls.clone());
    }
    let clients = clients.patience(config.drain).with_graceful_shutdown(async move {
        // Never sent: it ends when `stop` is dropped.
        let _ = stopped.await;
    });
    let mut clients = tokio::spawn(clients.into_future());
    announce(config, &address)?;
    tracing::info!(%address, "accepting connections");

    loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "draining");
                break;
            }
            Some(()) = hangup.recv() => {
                let reload = Arc::clone(&reload);
                let done = tokio::task::spawn_blocking(move || reload.run());
                done.await.context("the configuration could not be read again")?;
            }
            ended = &mut clients => bail!("the server ended by itself: {ended:?}"),
        }
    }
    let drained = async {
        drop(stop);
        tokio::join!(io.close().within(config.drain).into_future(), clients)
    };
    if let Listen::Unix(path) = &address {
        unix_socket::remove(path);
    }
    let ended = async {
        let deadline = Instant::now() + config.drain;
        within(config.drain, drained).await;
        if let Some(hooks) = hooks {
            // Only now: the last that it is told is that these clients have gone.
            hooks.end(deadline).await;
        }
    };
    tokio::select! {
        () = ended => Ok(()),
        signal = signals.next() => Err(anyhow!("{signal} once more: clients were cut off")),
    }
}

/// The keys that change at any time, as they are now, and from now on.
async fn follow_keys(config: &Config) -> Option<Arc<KeySet>> {
    let source = config.auth.jwks.clone()?;
    if let Source::Url(url) = &source
        && !url.is_secure()
    {
        tracing::warn!(%url, "the keys of tokens come over plain HTTP: whoever is on the way can make tokens");
    }
    let keys = Arc::new(KeySet::new(source, config.data.as_deref()));
    keys.begin().await;
    let followed = Arc::clone(&keys);
    tokio::spawn(async move { followed.follow().await });
    Some(keys)
}

/// What clients find.
fn routes(config: &Config, io: &Io, api: Router) -> Router {
    let routes = health::routes(io)
        .merge(io.router())
        .merge(io.channel_router())
        .merge(api);
    if config.dev {
        routes.merge(demo::routes(&config.auth, io))
    } else {
        routes
    }
}

fn app(config: &Config, routes: Router) -> Router {
    let app = routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed);
    if config.dev {
        app.layer(middleware::from_fn(loopback::check_host))
    } else {
        app
    }
}

fn server(listener: impl Into<Listener>, app: Router, config: &Config) -> tidings::Serve {
    /// So many connections on which nothing is asked are left to an address beside those of its clients: who is over the limit
    /// is told so, for which it has to ask.
    const IDLE_MORE: usize = 256;
    const HEAD_BYTES_MAX: usize = 1 << 30;
    const HEAD_TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
    let limits = &config.limits;
    let head_bytes = match limits.headers_bytes {
        0 => HEAD_BYTES_MAX,
        bytes => bytes.min(HEAD_BYTES_MAX),
    };
    let head_timeout = match limits.handshake {
        Duration::ZERO => HEAD_TIMEOUT_MAX,
        time => time.min(HEAD_TIMEOUT_MAX),
    };
    let mut server = tidings::serve(listener, app)
        .head_bytes(head_bytes)
        .head_timeout(head_timeout);
    if limits.connections_per_ip > 0 {
        server = server.idle_per_address(limits.connections_per_ip.saturating_add(IDLE_MORE));
    }
    for network in &config.trusted_proxies {
        server = server.trusted_proxy(network.address(), network.prefix_bits());
    }
    server
}

/// Where clients connect, and what they call it: with the port that was free.
async fn listen_for_clients(wanted: &Listen) -> anyhow::Result<(Listener, Listen)> {
    match wanted {
        Listen::Tcp(address) => {
            let listener = listen(*address, "another address, with --listen or `listen`").await?;
            let address = Listen::Tcp(listener.local_addr()?);
            Ok((listener.into(), address))
        }
        Listen::Unix(path) => {
            let listener = unix_socket::listen(path).with_context(|| {
                format!("{wanted} can't be listened on; choose another path, with --listen or `listen`")
            })?;
            Ok((listener.into(), wanted.clone()))
        }
    }
}

async fn listen(address: SocketAddr, remedy: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} can't be listened on; choose {remedy}"))
}

/// A second server for trying out must start beside the first: it goes without the default address.
async fn listen_for_admin(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.admin_listen else {
        return Ok(None);
    };
    match listen(address, "another address with `listen` in `[admin]`, or \"off\"").await {
        Err(error) if config.dev && address == ADMIN_LISTEN && is_taken(&error) => {
            tracing::warn!("{address} is taken, so health is answered on the main address only");
            Ok(None)
        }
        listener => listener.map(Some),
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// What scripts and people read from stdout. The last line says that connections are accepted.
fn announce(config: &Config, address: &Listen) -> anyhow::Result<()> {
    let mut lines = String::new();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    if let Some(secret) = config.auth.secret.as_ref().filter(|_| config.dev) {
        let token = sign(secret, &dev_token(config)?, SystemTime::now())?;
        let key = config.api.key.as_ref().map(|key| String::from_utf8_lossy(key.bytes()));
        let key = key.unwrap_or_default();
        lines += &format!("token {token}\napi-key {key}\ndemo {scheme}://{address}/demo/\n");
    }
    lines += &match address {
        Listen::Tcp(address) => format!("tidings ready {scheme}://{address}\n"),
        Listen::Unix(_) => format!("tidings ready {address}\n"),
    };
    // Who closed stdout doesn't want to know.
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}

/// A token for all that a rule leaves to tokens.
fn dev_token(config: &Config) -> anyhow::Result<NewToken> {
    Ok(NewToken {
        user: "dev".to_owned(),
        subscribe: vec!["*".parse()?],
        publish: vec!["*".parse()?],
        info: None,
        expires_in: DEV_TOKEN,
        audience: config.auth.audience.first().cloned(),
        issuer: config.auth.issuer.first().cloned(),
    })
}

async fn within(time: Duration, work: impl Future) {
    if tokio::time::timeout(time, work).await.is_err() {
        tracing::warn!("clients that did not leave in time were cut off");
    }
}

/// The signals that end a server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals can't be listened for");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
