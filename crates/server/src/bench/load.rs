//! `tidings bench`: load without faults, and how long deliveries take.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::http::{Http, query};
use super::keys::Keys;
use super::options::Bench;
use super::plan::PlannedReader;
use super::process::Process;
use super::publish::{Api, Line, Publisher};
use super::record::{Channel, ChannelIndex, ContentId, Moment, Outcome, Record, Transport, What};
use super::recorder::Recorder;
use super::verify::start_stock;
use super::{judge, report};
use crate::cli::{Exit, Failure};

/// How many events a second one publisher gets out for sure.
const RATE_OF_ONE: u32 = 200;

const PUBLISHERS_MAX: u32 = 64;

/// Runs it; gives whether nothing was lost, repeated or out of order.
///
/// # Errors
/// When there is no server, or the token or the key is missing or refused.
pub(super) async fn load(options: &Bench) -> anyhow::Result<bool> {
    let folder = std::env::temp_dir().join(format!("tidings-bench-{}", std::process::id()));
    let keys = Keys::new()?;
    let (server, address, token, key) = match &options.url {
        Some(url) => {
            let token = options.token.clone();
            let token = token.context("a token to subscribe with is missing: --token or TIDINGS_TOKEN")?;
            let key = options.api_key.clone();
            let key = key.context("a key to publish with is missing: --api-key or TIDINGS_API_KEY")?;
            (None, host_and_port(url)?, token, key)
        }
        None => {
            let server = Process::start(&folder, &keys.config(&options.durability)).await?;
            let address = server.address.to_string();
            (Some(server), address, keys.token("bench")?, keys.api.clone())
        }
    };
    let outcome = measure(options, &address, &token, &key).await;
    if let Some(mut server) = server {
        server.stop(Duration::from_secs(30)).await?;
        std::fs::remove_dir_all(&folder)?;
    }
    outcome
}

fn host_and_port(url: &str) -> Result<String, Failure> {
    let rest = url.strip_prefix("http://").ok_or_else(|| Failure {
        exit: Exit::Usage,
        message: format!("{url} does not begin with http://, which is all that this command speaks"),
    })?;
    let host = rest.split('/').next().unwrap_or_default();
    Ok(match host.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => format!("{host}:80"),
    })
}

/// Asks whether the server is there and lets subscribers and publishers in, so that who must not begin is told why.
async fn knock(address: &str, token: &str, key: &str) -> Result<(), Failure> {
    let channel = ["bench:0".to_owned()];
    let doors = [
        (token, format!("/poll?{}", query(&channel, &[("wait", "0")]))),
        (key, "/api/v1/channels".to_owned()),
    ];
    for (bearer, path) in doors {
        let answer = Http::new(address, bearer)
            .request(Method::GET, &path, &[], Bytes::new())
            .await;
        let answer = answer.map_err(|error| Failure {
            exit: Exit::Unreachable,
            message: format!("no server answers at {address}: {error}"),
        })?;
        if answer.status != 200 {
            return Err(Failure {
                exit: Exit::Refused,
                message: format!("{path} was answered with {}: {}", answer.status, answer.excerpt()),
            });
        }
    }
    Ok(())
}

async fn measure(options: &Bench, address: &str, token: &str, key: &str) -> anyhow::Result<bool> {
    knock(address, token, key).await?;
    let channels: Vec<Channel> = (0..options.channels)
        .map(|number| Channel {
            name: format!("bench:{number}"),
            durable: true,
        })
        .collect();
    let count = (options.rate / RATE_OF_ONE).clamp(1, PUBLISHERS_MAX);
    let recorder = Recorder::new(channels, vec![None; count as usize]);
    let stock = start_stock(options, &recorder).await?;
    let mut crowd = Crowd::new(&recorder, stock);
    let transports = options.transports();
    for number in 0..options.clients {
        let transport = transports[usize::from(number) % transports.len()];
        let planned = PlannedReader {
            name: format!("{transport}-{number}"),
            transport,
            channels: (0..options.channels).collect(),
            upgrade: false,
        };
        crowd.add(planned, address.to_owned(), token.to_owned());
    }
    crowd.all_begun().await?;

    let (stop, stopped) = watch::channel(false);
    let mut publishers = JoinSet::new();
    for number in 0..count {
        let publisher = Publisher {
            number: number.try_into()?,
            line: Line::Api(Arc::new(Api::new(address, key))),
            recorder: Arc::clone(&recorder),
            channels: (0..options.channels).collect(),
            every: Duration::from_secs(count.into()) / options.rate,
            keyed_percent: 0,
            tease: false,
        };
        publishers.spawn(publisher.run(stopped.clone()));
    }
    let began = recorder.now();
    tokio::select! {
        () = sleep(options.time().unwrap_or_default()) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let _ = stop.send(true);
    while publishers.join_next().await.is_some() {}
    let published = recorder.record(&[]).publishes;
    let ids: Vec<(ChannelIndex, ContentId)> = last_of_each_channel(&published);
    crowd.all_have(&ids).await;

    let mut record = recorder.record(&crowd.leave());
    // What the server's rules say of these channels is not known here.
    for attempt in record.publishes.iter_mut().flat_map(|publish| &mut publish.attempts) {
        if let Outcome::Answered { durability, .. } = &mut attempt.outcome {
            *durability = None;
        }
    }
    let verdict = judge::judge(&record);
    let speed = Speed::of(&record, began);
    if options.json {
        println!("{}", report::json(&record, &verdict, json!({ "speed": speed.json() })));
    } else {
        println!("{}\n{}", report::table(&verdict), speed.text());
    }
    eprint!("{}", report::violations(&record, &verdict));
    Ok(verdict.holds())
}

/// What is answered last in a channel is delivered last, or nearly so.
fn last_of_each_channel(published: &[super::record::Publish]) -> Vec<(ChannelIndex, ContentId)> {
    let mut last: BTreeMap<ChannelIndex, (u64, ContentId)> = BTreeMap::new();
    for publish in published {
        for channel in &publish.channels {
            let entry = (publish.answered().unwrap_or(0), publish.content);
            let newest = last.entry(*channel).or_insert(entry);
            *newest = (*newest).max(entry);
        }
    }
    let answered = last.into_iter().filter(|(_, (seq, _))| *seq > 0);
    answered.map(|(channel, (_, content))| (channel, content)).collect()
}

/// How fast it was.
struct Speed {
    seconds: f64,
    published: usize,
    delivered: usize,
    answers: Times,
    deliveries: BTreeMap<Transport, Times>,
}

/// Times in microseconds, sorted.
struct Times(Vec<Moment>);

impl Times {
    fn new(mut times: Vec<Moment>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// In milliseconds.
    #[allow(clippy::cast_precision_loss, reason = "nothing takes that long")]
    fn percentile(&self, percent: usize) -> f64 {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or(0) as f64 / 1e3
    }
}

impl Speed {
    #[allow(clippy::cast_precision_loss, reason = "nothing takes that long")]
    fn of(record: &Record, began: Moment) -> Self {
        let begun: HashMap<ContentId, Moment> = record
            .publishes
            .iter()
            .map(|publish| (publish.content, publish.began()))
            .collect();
        let answers = record.publishes.iter().map(|publish| publish.ended() - publish.began());
        let mut deliveries: BTreeMap<Transport, Vec<Moment>> = BTreeMap::new();
        let mut ended = began;
        for reader in &record.readers {
            for entry in &reader.entries {
                if let What::Event { content, .. } = &entry.what
                    && let Some(begun) = begun.get(content)
                {
                    let times = deliveries.entry(reader.transport).or_default();
                    times.push(entry.at.saturating_sub(*begun));
                    ended = ended.max(entry.at);
                }
            }
        }
        Self {
            seconds: (ended - began).max(1) as f64 / 1e6,
            published: record.publishes.len(),
            delivered: deliveries.values().map(Vec::len).sum(),
            answers: Times::new(answers.collect()),
            deliveries: deliveries
                .into_iter()
                .map(|(transport, times)| (transport, Times::new(times)))
                .collect(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a run")]
    fn a_second(&self, count: usize) -> f64 {
        count as f64 / self.seconds
    }

    fn text(&self) -> String {
        use std::fmt::Write as _;
        let line = |times: &Times| format!("p50 {:.2} ms, p99 {:.2} ms", times.percentile(50), times.percentile(99));
        let mut text = format!(
            "answers: {:.0} a second, {}\ndeliveries: {:.0} a second",
            self.a_second(self.published),
            line(&self.answers),
            self.a_second(self.delivered)
        );
        for (transport, times) in &self.deliveries {
            let _ = write!(text, "\n  {transport:<17} {}", line(times));
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let times = |times: &Times| json!({ "p50_ms": times.percentile(50), "p99_ms": times.percentile(99) });
        let deliveries: serde_json::Map<_, _> = self
            .deliveries
            .iter()
            .map(|(transport, all)| (transport.to_string(), times(all)))
            .collect();
        json!({
            "seconds": self.seconds,
            "publishes_per_second": self.a_second(self.published),
            "deliveries_per_second": self.a_second(self.delivered),
            "answers": times(&self.answers),
            "deliveries": deliveries,
        })
    }
}
