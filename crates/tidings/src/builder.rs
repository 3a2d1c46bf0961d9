//! How a server is set up.

use std::any::{Any, TypeId};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::handshake::KeepHeaders;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::log::Durability;
use crate::log::local::{HistoryOf, Storage};
use crate::log::retention::Retention;
use crate::log::store::StoreError;
use crate::network::Networks;
use crate::origin::Origins;
use crate::pacing::{self, Pacing, PacingOf};
use crate::server::{Config, Server};
use crate::shard::run;
use crate::slow::Slow;
use crate::socketio::io::Io;
use crate::socketio::recovery::Recovery;
use crate::transport::http::{Request, RequestDecision};
use crate::wire::Envelope;

/// How a server is set up; from [`Io::builder`]. Every default is the one of Node's `socket.io`, unless said otherwise.
#[must_use = "nothing is set up until `build`"]
pub struct Builder {
    config: Config,
    limits: Limits,
    shards: Option<usize>,
    store: Option<PathBuf>,
    durability: Durability,
    history: HistoryOf,
    pacing: Option<PacingOf>,
    states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            config: Config {
                path: "/socket.io".to_owned(),
                ping_interval: Duration::from_secs(25),
                ping_timeout: Duration::from_secs(20),
                upgrade_timeout: Duration::from_secs(10),
                connect_timeout: Duration::from_secs(45),
                handshake_timeout: Duration::from_secs(10),
                ack_timeout: Duration::from_secs(10),
                polling: true,
                websocket: true,
                upgrades: true,
                serve_client: true,
                compression: true,
                cookie: None,
                token_cookie: None,
                allow_request: None,
                origins: Origins::default(),
                trusted_proxies: Networks::default(),
                keep_headers: KeepHeaders::All,
                envelope: Envelope::None,
                recovery: None,
                report_errors: false,
                presence_grace: Duration::from_secs(2),
                slow: None,
            },
            limits: Limits::default(),
            shards: None,
            store: None,
            durability: Durability::Process,
            history: Arc::new(|_| None),
            pacing: None,
            states: HashMap::new(),
        }
    }
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store can't be opened.
    #[error(transparent)]
    Store(StoreError),
    /// The operating system has no thread or file descriptor left.
    #[error("the threads that deliver can't be started ({0})")]
    Threads(std::io::Error),
}

/// The transports of Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transports {
    /// HTTP long-polling and WebSocket. The default.
    Both,
    /// HTTP long-polling alone.
    Polling,
    /// WebSocket alone.
    WebSocket,
}

impl Builder {
    /// Lets pages of this origin in (`https://app.example`), besides those of the server's own host. `"*"` lets all in; do that
    /// only where no cookie carries a token. May be called for several. A request without an `Origin` header is no page's.
    pub fn allowed_origin(mut self, origin: impl Into<String>) -> Self {
        self.config.origins.allow(origin.into());
        self
    }

    /// How the setting is called in the message that a refused origin gets; `allowed_origin` by default.
    pub fn origin_setting(mut self, name: &'static str) -> Self {
        self.config.origins.setting = name;
        self
    }

    /// For development: only pages and host names of this machine are let in (`localhost`, `127.0.0.1`, `[::1]`), on any port.
    pub fn loopback_only(mut self) -> Self {
        self.config.origins.loopback_only = true;
        self
    }

    /// The path, `/socket.io` by default.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        let path: String = path.into();
        self.config.path = format!("/{}", path.trim_matches('/'));
        self
    }

    /// Which transports there are.
    pub fn transports(mut self, transports: Transports) -> Self {
        self.config.polling = transports != Transports::WebSocket;
        self.config.websocket = transports != Transports::Polling;
        self
    }

    /// Whether a polling session may move to a WebSocket. Default true.
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.upgrades = allow;
        self
    }

    /// How often clients are pinged. Default 25 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// How long an answer to a ping may take. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.ping_timeout = timeout;
        self
    }

    /// How long an upgrade may take before it is given up (the polling session goes on). Default 10 s.
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.upgrade_timeout = timeout;
        self
    }

    /// How long a client may take to enter its first namespace. Default 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long the client of a plain WebSocket may take to say who it is, if its request did not. Default 10 s; zero is no limit.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.handshake_timeout = timeout;
        self
    }

    /// How long to wait for an acknowledgement where no other time is given. Default 10 s.
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.ack_timeout = timeout;
        self
    }

    /// Whether the browser client is served under the path (`/socket.io/socket.io.js` and its variants). Default true.
    pub fn serve_client(mut self, serve: bool) -> Self {
        self.config.serve_client = serve;
        self
    }

    /// Whether polling answers of at least 1 KiB are compressed. Default true.
    pub fn http_compression(mut self, compress: bool) -> Self {
        self.config.compression = compress;
        self
    }

    /// Sends a cookie of this name with the session id, for load balancers that go by it. Default none.
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.config.cookie = Some(name.into());
        self
    }

    /// The cookie in which [`Handshake::token`](crate::Handshake::token) looks for a token, last of all places. Default none.
    pub fn token_cookie(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.token_cookie = Some(name.into());
        self
    }

    /// Decides about each new session by its request, before any of it is kept. A refusal is 403 with its message.
    pub fn allow_request<F>(mut self, decide: F) -> Self
    where
        F: Fn(&Request<'_>) -> RequestDecision + Send + Sync + 'static,
    {
        self.config.allow_request = Some(Arc::new(decide));
        self
    }

    /// A network (`10.0.0.0`, 8) whose `X-Forwarded-For` tells the client's address. May be called for several.
    pub fn trusted_proxy(mut self, network: IpAddr, prefix_bits: u8) -> Self {
        self.config.trusted_proxies.push(network, prefix_bits);
        self
    }

    /// What a client may cost.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A value for handlers to extract with [`State`](crate::State). One of each type.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Box::new(value));
        self
    }

    /// Lets go of a client's headers and `auth` once it is in: [`Socket::handshake`](crate::Socket::handshake) then tells address
    /// and time only. Saves up to a KiB a connection.
    pub fn forget_headers(mut self) -> Self {
        self.config.keep_headers = KeepHeaders::Credentials;
        self
    }

    /// Adds `{channel, time, user}` and the event's id after the arguments of every delivered event.
    pub fn with_metadata(mut self) -> Self {
        self.config.envelope = Envelope::Metadata;
        self
    }

    /// Lets clients that lost their connection come back to their sockets: `socket.recovered` is true in the browser and
    /// [`Socket::recovered`](crate::Socket::recovered) here, rooms and registered state are restored, and what was missed comes
    /// first. With a [store](Builder::store) also after the process was killed. Every event then carries its id as its last
    /// argument, which the client does not take off. Off by default, as in Node.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.config.recovery = Some(recovery);
        self
    }

    /// Tells a client of each of its events that failed and had no acknowledgement, with the event `tidings:error`
    /// (`{code, message}`). Default false: in Node nobody is told.
    pub fn report_errors(mut self, report: bool) -> Self {
        self.config.report_errors = report;
        self
    }

    /// How long a user who has lost the last connection stays in [`Io::presence`]: a page that is loaded again makes no noise then.
    /// Default 2 s; zero for not at all.
    pub fn presence_grace(mut self, grace: Duration) -> Self {
        self.config.presence_grace = grace;
        self
    }

    /// Says what becomes of a client that is too slow for a channel, when its outbox is full. It is asked when a channel gets its
    /// first subscriber of a shard, so it should answer at once. Default [`Slow::Lag`].
    ///
    /// ```
    /// # use tidings::{Slow, Tidings};
    /// # let builder = Tidings::builder().shards(1);
    /// let io = builder
    ///     .slow(|channel| if channel.starts_with("ticker:") { Slow::Drop } else { Slow::Lag })
    ///     .build();
    /// ```
    pub fn slow(mut self, slow: impl Fn(&str) -> Slow + Send + Sync + 'static) -> Self {
        self.config.slow = Some(Arc::new(slow));
        self
    }

    /// How many threads deliver. Default: one for each core the process may use.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards.clamp(1, usize::from(u16::MAX)));
        self
    }

    /// Keeps events in this folder, which is made if need be: of the channels that [`Builder::history`] names all that it
    /// says, of the others what is needed to tell a client that it missed something. Sequence and ids then go on where they
    /// were when the server is started again. Default: everything is in memory, and ids begin anew at each start.
    pub fn store(mut self, folder: impl Into<PathBuf>) -> Self {
        self.store = Some(folder.into());
        self
    }

    /// What events of channels with history survive once a publish is answered. [`Durability::Power`] waits for the disk;
    /// with [`Durability::Memory`] the store is not used at all. Default [`Durability::Process`]: `kill -9`, not a loss of power.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Says how much of a channel is kept in the store; `None` for a channel that is not. It is asked when a channel is
    /// first published to and when the store is opened, and again and again for channels that are not kept, so it
    /// should answer at once. It gets the names of namespaces' channels too (`/`, `/n,room`), and those of sockets.
    ///
    /// ```no_run
    /// # use tidings::{Retention, Tidings};
    /// let io = Tidings::builder()
    ///     .store("./tidings-data")
    ///     .history(|channel| channel.starts_with("room:").then(|| Retention::new().keep(1_000)))
    ///     .build();
    /// ```
    pub fn history(mut self, history: impl Fn(&str) -> Option<Retention> + Send + Sync + 'static) -> Self {
        self.history = Arc::new(history);
        self
    }

    /// Says how often what is published in a channel is passed on; `None` for a channel where each event counts. It is asked
    /// for each publish and each new subscription, so it should answer at once, and always the same.
    ///
    /// What is held is answered before it has an id: the receipt is `None`, as that of a volatile event is. An event for several
    /// channels of which one is paced goes to that one by itself: who is subscribed to two of them may get it twice.
    /// Events that ask for acknowledgements, and those to a single socket, are not paced. A [key](crate::Broadcast::key) is an error there.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidings::{Pacing, Tidings};
    /// # let builder = Tidings::builder().shards(1);
    /// let io = builder
    ///     .pacing(|channel| channel.starts_with("price:").then(|| Pacing::conflate(Duration::from_millis(100))))
    ///     .build();
    /// ```
    pub fn pacing(mut self, pacing: impl Fn(&str) -> Option<Pacing> + Send + Sync + 'static) -> Self {
        self.pacing = Some(Arc::new(pacing));
        self
    }

    /// Opens the store, if there is one, and starts the server's threads.
    ///
    /// # Panics
    /// When that fails; see [`Builder::try_build`].
    pub fn build(self) -> Io {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Builder::build`].
    ///
    /// # Errors
    /// When the store can't be opened, or the operating system has no thread or file descriptor left.
    pub fn try_build(self) -> Result<Io, StartError> {
        let mut config = self.config;
        if config.envelope == Envelope::None && config.recovery.is_some() {
            config.envelope = Envelope::Id { otherwise: 0 };
        }
        let shards = self
            .shards
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let storage = self.store.filter(|_| self.durability != Durability::Memory);
        let storage = storage.map(|path| Storage {
            path,
            durability: self.durability,
            history: self.history,
        });
        let hub = Hub::new(self.limits, shards, storage).map_err(StartError::Store)?;
        let server = Arc::new(Server::new(hub, config, self.pacing, self.states));
        run::spawn(&server).map_err(StartError::Threads)?;
        pacing::spawn(&server).map_err(StartError::Threads)?;
        Ok(Io::root(server))
    }
}
