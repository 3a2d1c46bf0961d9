//! One server: its hub, its namespaces and how it is set up. All handles share it.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use tokio::runtime::Handle;

use crate::access::Access;
use crate::channel::Channel;
use crate::handshake::KeepHeaders;
use crate::hub::Hub;
use crate::inbox::Marks;
use crate::network::Networks;
use crate::origin::Origins;
use crate::pacing::{Pacer, PacingOf};
use crate::presence::Present;
use crate::random::SocketIds;
use crate::shard::command::Command;
use crate::slow::{Slow, SlowOf};
use crate::socketio::namespace::Namespaces;
use crate::socketio::recovery::{Recovery, Sessions};
use crate::transport::http::AllowRequest;
use crate::wire::Envelope;

/// A wave of connections that are told to come back, how many waves there are at the most, and the time between two.
const WAVE_CONNECTIONS: usize = 250;
const WAVES_MAX: usize = 20;
const WAVE_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Server {
    pub(crate) hub: Hub,
    /// Where channels may be paced.
    pub(crate) pacer: Option<Pacer>,
    pub(crate) config: Config,
    pub(crate) namespaces: Namespaces,
    pub(crate) access: Access,
    pub(crate) present: Present,
    pub(crate) marks: Marks,
    pub(crate) socket_ids: SocketIds,
    /// With recovery.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    /// The runtime that the application runs in, known from its first request.
    runtime: OnceLock<Handle>,
}

/// How the server is set up.
pub(crate) struct Config {
    pub(crate) path: String,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) upgrades: bool,
    pub(crate) serve_client: bool,
    pub(crate) compression: bool,
    pub(crate) cookie: Option<String>,
    pub(crate) token_cookie: Option<Arc<str>>,
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) origins: Origins,
    pub(crate) trusted_proxies: Networks,
    pub(crate) keep_headers: KeepHeaders,
    pub(crate) envelope: Envelope,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) report_errors: bool,
    pub(crate) presence_grace: Duration,
    pub(crate) slow: Option<SlowOf>,
}

impl Config {
    pub(crate) fn ping_interval_ms(&self) -> u64 {
        milliseconds(self.ping_interval)
    }

    pub(crate) fn ping_timeout_ms(&self) -> u64 {
        milliseconds(self.ping_timeout)
    }

    pub(crate) fn upgrade_timeout_ms(&self) -> u64 {
        milliseconds(self.upgrade_timeout)
    }

    pub(crate) fn connect_timeout_ms(&self) -> u64 {
        milliseconds(self.connect_timeout)
    }

    /// 0 is no limit.
    pub(crate) fn handshake_timeout_ms(&self) -> u64 {
        milliseconds(self.handshake_timeout)
    }

    pub(crate) fn allows_upgrade(&self) -> bool {
        self.upgrades && self.websocket
    }

    pub(crate) fn forgets_handshakes(&self) -> bool {
        matches!(self.keep_headers, KeepHeaders::Credentials)
    }

    /// Each connection is looked at sixteen times within the shortest time that matters, but not more often than that helps.
    pub(crate) fn sweep_tick(&self) -> Duration {
        let times = [
            self.ping_interval,
            self.ping_timeout,
            self.upgrade_timeout,
            self.connect_timeout,
        ];
        let shortest = times.into_iter().min().unwrap_or(Duration::from_secs(1));
        let round = (shortest / 16).clamp(Duration::from_millis(16), Duration::from_secs(1));
        round / crate::shard::SLICES
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Server {
    pub(crate) fn new(
        hub: Hub,
        config: Config,
        pacing: Option<PacingOf>,
        states: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    ) -> Self {
        let log = &hub.log;
        let sessions = config
            .recovery
            .clone()
            .map(|recovery| Sessions::new(recovery, Arc::clone(log)));
        let socket_ids = SocketIds::new(&**log);
        let marks = Marks::new(Arc::clone(log));
        Self {
            sessions,
            hub,
            pacer: pacing.map(Pacer::new),
            present: Present::new(config.presence_grace),
            config,
            namespaces: Namespaces::new(),
            access: Access::default(),
            marks,
            socket_ids,
            states,
            runtime: OnceLock::new(),
        }
    }

    pub(crate) fn state<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        self.states.get(&TypeId::of::<T>())?.downcast_ref::<T>().cloned()
    }

    /// What becomes of slow clients of a channel.
    pub(crate) fn slow(&self, channel: &Channel) -> Slow {
        let Some(slow) = &self.config.slow else {
            return Slow::Lag;
        };
        // On a shard's thread, which a panic of the application must not end.
        catch_unwind(AssertUnwindSafe(|| slow(channel.as_str()))).unwrap_or_else(|_| {
            tracing::error!(?channel, "what tells of slow clients panicked");
            Slow::Lag
        })
    }

    /// Notes the runtime that the caller runs in.
    pub(crate) fn note_runtime(&self) {
        self.runtime.get_or_init(Handle::current);
    }

    pub(crate) fn application_runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// Lets go of what nobody can ask for any more.
    pub(crate) fn expire(&self) {
        self.hub.log.expire();
        if let Some(sessions) = &self.sessions {
            sessions.expire();
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let gauges = &self.hub.gauges;
        let retained = self.hub.log.retained();
        Counts {
            connections: gauges.connections.load(Ordering::Acquire),
            sockets: gauges.sockets.load(Ordering::Acquire),
            channels: gauges.rooms.count(),
            subscriptions: gauges.subscriptions.load(Ordering::Acquire),
            acks: gauges.acks.load(Ordering::Acquire),
            tasks: gauges.tasks.load(Ordering::Acquire),
            sessions: self.sessions.as_ref().map_or(0, Sessions::away),
            retained_events: retained.events,
            retained_bytes: retained.bytes,
        }
    }

    /// Ends all connections. Waits until all sockets and handlers are gone, but not for longer than `patience`, and a
    /// moment for clients to hear of it.
    pub(crate) async fn close(&self, patience: Duration) {
        const FAREWELL: Duration = Duration::from_secs(1);
        self.hub.drain();
        if let Some(pacer) = &self.pacer {
            pacer.end(&self.hub);
        }
        self.close_in_waves(patience).await;
        self.wait(patience, |counts| counts.sockets == 0 && counts.tasks == 0)
            .await;
        self.wait(FAREWELL, |counts| counts.connections == 0).await;
        self.hub.send_all(|| Command::Stop);
        let log = Arc::clone(&self.hub.log);
        if tokio::task::spawn_blocking(move || log.close()).await.is_err() {
            tracing::error!("the log could not be closed in order");
        }
    }

    /// Ends all connections, many of them not all at once: they come back to another process, or to this one's successor.
    async fn close_in_waves(&self, patience: Duration) {
        let waves = (self.counts().connections / WAVE_CONNECTIONS).clamp(1, WAVES_MAX);
        let of = u32::try_from(waves).unwrap_or(1);
        let pause = WAVE_PAUSE.min(patience / 4 / of);
        for wave in 0..of {
            if wave > 0 {
                tokio::time::sleep(pause).await;
            }
            self.hub.send_all(|| Command::CloseWave { wave, of });
        }
        // Who was being let in.
        self.hub.send_all(|| Command::CloseWave { wave: 0, of: 1 });
    }

    async fn wait(&self, patience: Duration, is_over: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + patience;
        while !is_over(&self.counts()) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What a server holds at one moment. When the last client is gone, all but what is retained is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Transport-level clients.
    pub connections: usize,
    /// Sockets, over all namespaces.
    pub sockets: usize,
    /// Rooms with at least one subscriber; neither sockets' own-id rooms nor namespaces are among them.
    pub channels: usize,
    /// Subscriptions, each socket's own-id room and namespace among them.
    pub subscriptions: usize,
    /// Acknowledgements that clients owe.
    pub acks: usize,
    /// Handlers that wait for something.
    pub tasks: usize,
    /// Sessions whose clients are away and can come back to them.
    pub sessions: usize,
    /// Events in the memory tail.
    pub retained_events: usize,
    /// Their bytes, about.
    pub retained_bytes: usize,
}
