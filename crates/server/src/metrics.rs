//! `/metrics`: what Prometheus reads, in its text format 0.0.4.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tidings::{Code, ConnectionKind, Histogram, Io, Metrics};

use crate::hooks::Hooks;
use crate::log;
use crate::process::Process;

/// Of the format.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The path. It needs no login: it is on the admin address alone, and names neither users nor channels.
pub(crate) fn routes(io: &Io, hooks: Option<Arc<Hooks>>) -> Router {
    let io = io.clone();
    let metrics = async move |hooks: Option<Arc<Hooks>>| {
        let begin = Instant::now();
        let metrics = io.metrics().await;
        let scrape = Scrape {
            is_failing: io.failure().is_some(),
            is_draining: io.is_closing(),
            process: Process::read(),
            took_seconds: begin.elapsed().as_secs_f64(),
            metrics,
        };
        (
            [
                (header::CONTENT_TYPE, CONTENT_TYPE),
                (header::CACHE_CONTROL, "no-store"),
            ],
            scrape.text(hooks.as_deref()),
        )
    };
    Router::new().route("/metrics", get(async move || metrics(hooks).await.into_response()))
}

/// All that is told at once.
#[derive(Debug)]
struct Scrape {
    metrics: Metrics,
    is_failing: bool,
    is_draining: bool,
    process: Option<Process>,
    took_seconds: f64,
}

impl Scrape {
    fn text(self, hooks: Option<&Hooks>) -> String {
        let mut registry = Registry::default();
        if let Some(hooks) = hooks {
            hooks.register(&mut registry);
        }
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        if let Err(error) = prometheus_text::encode(&mut text, &registry) {
            tracing::error!(%error, "metrics can't be written");
        }
        text
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let version = [[("version", env!("CARGO_PKG_VERSION"))]];
        page.gauges(
            "tidings_build",
            "The version that runs",
            version.map(|label| (label, 1.0)),
        )?;
        self.state(&mut page)?;
        self.work(&mut page)?;
        if let Some(process) = &self.process {
            process.tell(&mut page)?;
        }
        page.gauge(
            "tidings_scrape_seconds",
            "What it took to gather all this",
            self.took_seconds,
        )
    }
}

impl Scrape {
    /// What there is.
    fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let Metrics { counts, .. } = &self.metrics;
        // Also those of which there is none, since a series that goes away is no zero.
        let kinds = KINDS.map(|kind| {
            let mut known = self.metrics.connections.iter();
            let count = known.find(|(known, _)| *known == kind).map_or(0, |(_, count)| *count);
            (kind, count)
        });
        page.gauges(
            "tidings_connections",
            "Connections by what they speak",
            kinds
                .into_iter()
                .map(|(kind, count)| ([("kind", name(kind))], number(count))),
        )?;
        for (name, help, value) in [
            (
                "tidings_connections_lagging",
                "Connections that are behind, and read on when they drain",
                self.metrics.lagging,
            ),
            (
                "tidings_outbox_bytes",
                "What waits to be written, over all connections",
                self.metrics.outbox_bytes,
            ),
            ("tidings_sockets", "Socket.IO sockets", counts.sockets),
            (
                "tidings_channels",
                "Channels that somebody is subscribed to",
                counts.channels,
            ),
            (
                "tidings_subscriptions",
                "Subscriptions, each socket's own room and namespace among them",
                counts.subscriptions,
            ),
            (
                "tidings_sessions_away",
                "Socket.IO sessions whose clients can come back to them",
                counts.sessions,
            ),
            ("tidings_acks_pending", "Acknowledgements that clients owe", counts.acks),
            (
                "tidings_handlers_waiting",
                "Handlers of clients' events that wait for something",
                counts.tasks,
            ),
            (
                "tidings_retained_events",
                "Events kept in memory",
                counts.retained_events,
            ),
            ("tidings_retained_bytes", "What they take, about", counts.retained_bytes),
        ] {
            page.gauge(name, help, number(value))?;
        }
        page.gauge(
            "tidings_log_position",
            "Place of the newest event in the log",
            count(self.metrics.log_position),
        )?;
        page.gauge(
            "tidings_log_failing",
            "1 while nothing can be published, as /readyz says",
            flag(self.is_failing),
        )?;
        page.gauge(
            "tidings_draining",
            "1 once the server has been told to end",
            flag(self.is_draining),
        )
    }

    /// What has been done.
    fn work(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        for (name, help, value) in [
            (
                "tidings_connections_opened",
                "Connections that were let in",
                metrics.opened,
            ),
            (
                "tidings_published",
                "Events that were published and logged",
                metrics.published,
            ),
            (
                "tidings_received",
                "Messages that clients sent over WebSocket and Socket.IO",
                metrics.received,
            ),
            (
                "tidings_delivered",
                "Events that were handed to connections",
                metrics.delivered,
            ),
            ("tidings_writes", "System calls that wrote to clients", metrics.writes),
            (
                "tidings_written_bytes",
                "Bytes that they wrote, before TLS",
                metrics.written_bytes,
            ),
            (
                "tidings_rate_limited",
                "Messages that were refused since their client sent too many",
                metrics.rate_limited,
            ),
            (
                "tidings_volatile_dropped",
                "Volatile events that a client could not take",
                metrics.volatile_dropped,
            ),
            (
                "tidings_slow_dropped",
                "Events that slow clients did not get, where the rule drops",
                metrics.slow_dropped,
            ),
            (
                "tidings_slow_closed",
                "Slow clients that were closed, where the rule closes",
                metrics.slow_closed,
            ),
            ("tidings_lagged", "Times that a connection fell behind", metrics.lagged),
            (
                "tidings_stalled",
                "Connections that were closed since they accepted no byte",
                metrics.stalled,
            ),
            (
                "tidings_log_lines_dropped",
                "Lines of the log (of what the server says of itself) that nobody took in time",
                log::dropped(),
            ),
            (
                "tidings_replays",
                "Times that a client was given what it had missed",
                metrics.replays,
            ),
            (
                "tidings_gaps",
                "Times that a client was told that it has a gap",
                metrics.gaps,
            ),
        ] {
            page.counter(name, help, value)?;
        }
        page.counters(
            "tidings_connections_ended",
            "Connections that ended, by reason",
            metrics
                .ended
                .iter()
                .map(|(reason, count)| ([("reason", reason.as_str())], *count)),
        )?;
        let of = |code: &str| {
            let mut known = metrics.refused.iter();
            known.find(|(known, _)| known == code).map_or(0, |(_, count)| *count)
        };
        let refused = Code::ALL.iter().map(|code| code.as_str()).chain(["other"]);
        let refused = refused.map(|code| (code, of(code)));
        page.counters(
            "tidings_refused",
            "Clients that were not let in, by the code that they were told",
            refused.map(|(code, count)| ([("code", code)], count)),
        )?;
        page.counters(
            "tidings_sessions_resumed",
            "Clients that asked for their Socket.IO session: whole, or not to be restored",
            [
                ([("outcome", "whole")], metrics.sessions_recovered),
                ([("outcome", "lost")], metrics.sessions_lost),
            ],
        )?;
        page.histogram(
            "tidings_delivery_seconds",
            "From an event's time to when it was written to those who could take it",
            &metrics.delay,
        )?;
        match &metrics.commits {
            Some(commits) => page.histogram(
                "tidings_log_commit_seconds",
                "What one write to the store took",
                commits,
            ),
            None => Ok(()),
        }
    }
}

/// The page that is being written.
pub(crate) struct Page<'a>(pub(crate) DescriptorEncoder<'a>);

/// What tells the values of one metric apart.
type Label<'a> = [(&'static str, &'a str); 1];

impl Page<'_> {
    fn begin<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.begin(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Gauge)?;
        for (label, value) in values {
            metric.encode_family(&label)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// The format adds `_total` to the name.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.begin(name, help, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(crate) fn counter_of_seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.begin(name, help, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, MetricType::Counter)?;
        for (label, value) in values {
            metric
                .encode_family(&label)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let bound = |us: u64| if us == u64::MAX { f64::INFINITY } else { seconds(us) };
        let buckets: Vec<(f64, u64)> = histogram
            .buckets
            .iter()
            .map(|(us, count)| (bound(*us), *count))
            .collect();
        self.begin(name, help, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(seconds(histogram.sum_us), histogram.count(), &buckets, None)
    }
}

/// All kinds of connections.
const KINDS: [ConnectionKind; 5] = [
    ConnectionKind::SocketioWebsocket,
    ConnectionKind::SocketioPolling,
    ConnectionKind::Websocket,
    ConnectionKind::Sse,
    ConnectionKind::Poll,
];

/// What a kind of connections is called.
pub(crate) fn name(kind: ConnectionKind) -> &'static str {
    match kind {
        ConnectionKind::SocketioWebsocket => "socketio-websocket",
        ConnectionKind::SocketioPolling => "socketio-polling",
        ConnectionKind::Websocket => "websocket",
        ConnectionKind::Sse => "sse",
        ConnectionKind::Poll => "poll",
        _ => "other",
    }
}

pub(crate) fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(crate) fn count(value: u64) -> f64 {
    value as f64
}

pub(crate) fn number(value: usize) -> f64 {
    count(u64::try_from(value).unwrap_or(u64::MAX))
}

fn seconds(us: u64) -> f64 {
    count(us) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_is_in_the_format_and_complete() {
        let io = tidings::Tidings::builder().shards(2).build();
        io.to("room").emit("hello", 1).await.unwrap();
        let scrape = Scrape {
            metrics: io.metrics().await,
            is_failing: false,
            is_draining: true,
            process: Process::read(),
            took_seconds: 0.001,
        };
        let text = scrape.text(None);
        let mut described = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (kind, rest) = comment.split_once(' ').unwrap();
                let name = rest.split(' ').next().unwrap();
                assert!(matches!(kind, "HELP" | "TYPE"), "{line}");
                described.insert(name.to_owned());
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
            let bare = name.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| bare.strip_suffix(end));
            assert!(
                described.contains(bare) || family.is_some_and(|family| described.contains(family)),
                "{line} has no description"
            );
        }
        for line in [
            "tidings_published_total 1",
            "tidings_draining 1",
            "tidings_log_position 1",
        ] {
            assert!(
                text.lines().any(|given| given.trim_end_matches(".0") == line),
                "{line} in\n{text}"
            );
        }
        let infinite = text
            .lines()
            .filter(|line| line.starts_with("tidings_delivery_seconds_bucket{le=\"+Inf\"}"));
        assert_eq!(infinite.count(), 1, "{text}");
        assert!(!text.contains("e+308"), "{text}");
        assert!(text.contains("tidings_connections{kind=\"sse\"} 0"), "{text}");
        assert!(text.contains("tidings_refused_total{code=\"forbidden\"} 0"), "{text}");
    }
}
