//! Publishers: each content is published until it is answered where it has a key, else once.

mod api;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

pub(super) use api::Api;
pub(super) use websocket::WebSocket;

use super::content::{EVENT, content};
use super::read::passes;
use super::record::{Attempt, ChannelIndex, ContentId, Outcome, Publish};
use super::recorder::Recorder;
use super::stock::Stock;

/// How many publishes of a publisher may wait for their answers.
const UNDERWAY_MAX: usize = 16;

/// How often a content with a key is tried before that counts as a failure of the server.
const ATTEMPTS_MAX: usize = 500;

/// Numbers of contents that are offered under a key that is taken; whoever gets one got what must be refused.
const REFUSED: u32 = 1 << 31;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Answered {
        id: String,
        duplicate: bool,
        durability: Option<String>,
    },
    Refused {
        code: String,
        text: String,
    },
    /// Nothing did.
    None,
}

impl Reply {
    /// Reads the answer to a Socket.IO client: `{ok:true, id, duplicate}` or `{ok:false, code, message}`.
    pub(super) fn of_acknowledgement(answer: &Value) -> Self {
        match answer.get("ok").and_then(Value::as_bool) {
            Some(true) => Self::of_result(answer),
            _ => Self::of_error(answer),
        }
    }

    /// Reads `{id, duplicate, durability?}`.
    fn of_result(result: &Value) -> Self {
        let text = |key| result.get(key).and_then(Value::as_str).map(str::to_owned);
        match (text("id"), result.get("duplicate").and_then(Value::as_bool)) {
            (Some(id), Some(duplicate)) => Self::Answered {
                id,
                duplicate,
                durability: text("durability"),
            },
            _ => Self::Refused {
                code: String::new(),
                text: format!("answered with {result}"),
            },
        }
    }

    /// Reads `{code, …}`.
    fn of_error(error: &Value) -> Self {
        Self::Refused {
            code: error.get("code").and_then(Value::as_str).unwrap_or_default().to_owned(),
            text: error.to_string(),
        }
    }
}

/// A way to publish.
#[derive(Clone)]
pub(super) enum Line {
    Api(Arc<Api>),
    WebSocket(WebSocket),
    Stock(Arc<Stock>, String),
}

impl Line {
    async fn publish(&self, channels: &[&str], data: &Value, key: Option<&str>) -> Reply {
        match self {
            Self::Api(api) => {
                let mut body = match channels {
                    [channel] => json!({ "channel": channel }),
                    _ => json!({ "channels": channels }),
                };
                body["event"] = json!(EVENT);
                body["data"] = data.clone();
                if let Some(key) = key {
                    body["key"] = json!(key);
                }
                api.publish(&body).await
            }
            Self::WebSocket(socket) => {
                let mut message = json!({ "type": "publish", "channel": channels[0], "event": EVENT, "data": data });
                if let Some(key) = key {
                    message["key"] = json!(key);
                }
                socket.publish(message).await
            }
            Self::Stock(stock, name) => stock.publish(name, channels[0], EVENT, data, key).await,
        }
    }
}

/// A publisher.
pub(super) struct Publisher {
    pub(super) number: u16,
    pub(super) line: Line,
    pub(super) recorder: Arc<Recorder>,
    /// Where it publishes, each as often as it is named.
    pub(super) channels: Vec<ChannelIndex>,
    /// How long between two publishes.
    pub(super) every: Duration,
    /// Contents that get a key, of 100.
    pub(super) keyed_percent: u32,
    /// Whether it also sends keys again that were answered, takes them for other contents, and publishes to several
    /// channels at once. Only the server API can do all of that.
    pub(super) tease: bool,
}

impl Publisher {
    /// Publishes until `stop`, then waits for what is underway.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let this = Arc::new(self);
        let underway = Arc::new(Semaphore::new(UNDERWAY_MAX));
        let mut tasks = JoinSet::new();
        let mut ticks = tokio::time::interval_at(Instant::now() + this.every, this.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0.. {
            let permit = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                permit = async {
                    ticks.tick().await;
                    Arc::clone(&underway).acquire_owned().await
                } => permit,
            };
            let publisher = Arc::clone(&this);
            tasks.spawn(async move {
                let _permit = permit;
                publisher.publish_next(number).await;
            });
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn publish_next(&self, number: u32) {
        let mut channels = vec![self.channels[rand::random_range(0..self.channels.len())]];
        if self.tease && rand::random_ratio(1, 10) {
            // Of the same kind, so that one promise holds for the whole event.
            let kind = |channel: ChannelIndex| self.recorder.channels[usize::from(channel)].durable;
            let other = self.channels[rand::random_range(0..self.channels.len())];
            if !channels.contains(&other) && kind(other) == kind(channels[0]) {
                channels.push(other);
            }
        }
        let keyed = rand::random_range(0..100) < self.keyed_percent;
        self.publish(number, channels, keyed).await;
    }

    /// Publishes one content; gives its id if it was answered.
    pub(super) async fn publish(&self, number: u32, channels: Vec<ChannelIndex>, keyed: bool) -> ContentId {
        let id = ContentId {
            publisher: self.number,
            number,
        };
        let data = content(id);
        let names: Vec<&str> = channels.iter().map(|channel| self.recorder.name(*channel)).collect();
        // Keys of one user are no other's: they may be alike. All that use the server API's key are one publisher.
        let key = keyed.then(|| match self.line {
            Line::Api(_) => format!("{id}"),
            _ => format!("k{number}"),
        });
        let mut attempts = Vec::new();
        // An answer or the last attempt that there will be.
        loop {
            let attempt = self.attempt(&names, &data, key.as_deref()).await;
            let answered = attempt.outcome != Outcome::Unanswered;
            attempts.push(attempt);
            if !answered && keyed && attempts.len() < ATTEMPTS_MAX {
                pause_before_retry().await;
                continue;
            }
            if answered && keyed && self.tease && attempts.len() < ATTEMPTS_MAX && rand::random_ratio(1, 20) {
                pause_before_retry().await;
                continue;
            }
            if answered && keyed && self.tease && rand::random_ratio(1, 50) && self.is_durable(&channels) {
                self.take_key(number, &names, key.as_deref()).await;
            }
            break;
        }
        if keyed && attempts.iter().all(|attempt| attempt.outcome == Outcome::Unanswered) {
            self.recorder
                .flaw(format!("{id} was not answered in {ATTEMPTS_MAX} attempts"));
        }
        self.recorder.published(Publish {
            content: id,
            channels,
            attempts,
        });
        id
    }

    fn is_durable(&self, channels: &[ChannelIndex]) -> bool {
        channels
            .iter()
            .all(|channel| self.recorder.channels[usize::from(*channel)].durable)
    }

    async fn attempt(&self, names: &[&str], data: &Value, key: Option<&str>) -> Attempt {
        let began = self.recorder.now();
        let reply = self.line.publish(names, data, key).await;
        let ended = self.recorder.now();
        let outcome = match reply {
            Reply::Answered {
                id,
                duplicate,
                durability,
            } => match self.recorder.seq(&id) {
                Ok(seq) => Outcome::Answered {
                    seq,
                    duplicate,
                    durability,
                },
                Err(problem) => {
                    self.recorder.flaw(format!("a publish was answered with {problem}"));
                    Outcome::Unanswered
                }
            },
            Reply::Refused { code, text } => {
                if !passes(&code) {
                    self.recorder
                        .flaw(format!("a publish of p{} was refused: {text}", self.number));
                }
                Outcome::Unanswered
            }
            Reply::None => Outcome::Unanswered,
        };
        Attempt { began, ended, outcome }
    }

    /// Offers other content under a key that was answered.
    async fn take_key(&self, number: u32, names: &[&str], key: Option<&str>) {
        let other = ContentId {
            publisher: self.number,
            number: number | REFUSED,
        };
        match self.line.publish(names, &content(other), key).await {
            Reply::None => {}
            Reply::Refused { code, .. } if code == "key_conflict" || passes(&code) => {}
            reply => self
                .recorder
                .flaw(format!("other content under a key was answered with {reply:?}")),
        }
    }
}

async fn pause_before_retry() {
    let pause = Duration::from_millis(rand::random_range(20..300));
    tokio::time::sleep(pause).await;
}
