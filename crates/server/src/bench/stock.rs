//! Stock Socket.IO clients: they run in node, in `tests/checker/stock.mjs`, and talk to the checker in JSON lines.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::publish::Reply;
use super::read::Seat;
use super::record::Transport;
use super::recorder::{Book, Recorder, WireEvent, WireGap};

/// The process with the stock clients. It ends when this is dropped.
pub(super) struct Stock {
    orders: mpsc::UnboundedSender<Value>,
    shared: Arc<Shared>,
    next_reference: AtomicU64,
    // Killed when dropped.
    _child: Child,
}

#[derive(Default)]
struct Shared {
    books: Mutex<HashMap<String, Arc<Book>>>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
}

/// What the process says.
#[derive(Deserialize)]
#[serde(tag = "on", rename_all = "lowercase")]
enum Said {
    Connect {
        name: String,
        recovered: bool,
    },
    Disconnect {
        name: String,
        reason: String,
    },
    Subscribed {
        name: String,
        cursor: String,
        since: Option<String>,
    },
    Event {
        name: String,
        id: String,
        event: Value,
    },
    Gap {
        name: String,
        gap: Value,
    },
    Answer {
        #[serde(rename = "ref")]
        reference: u64,
        answer: Value,
    },
    Failed {
        #[serde(rename = "ref")]
        reference: u64,
    },
    Flaw {
        name: String,
        text: String,
    },
}

impl Stock {
    /// Starts node with the script.
    ///
    /// # Errors
    /// When there is no node, no script, or the npm package is not installed.
    pub(super) async fn start(script: &Path, recorder: &Arc<Recorder>) -> anyhow::Result<Arc<Self>> {
        if !script.is_file() {
            return Err(anyhow!("{} is not there", script.display()));
        }
        let package = script.with_file_name("../e2e/node_modules/sioc4");
        if !package.is_dir() {
            return Err(anyhow!(
                "{} is not there; tests/e2e/run.sh installs it",
                package.display()
            ));
        }
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node can't be started")?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(anyhow!("node has no pipes"));
        };
        let (orders, mut waiting) = mpsc::unbounded_channel::<Value>();
        tokio::spawn(async move {
            while let Some(order) = waiting.recv().await {
                if stdin.write_all(format!("{order}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let shared = Arc::new(Shared::default());
        tokio::spawn(listen(stdout, Arc::clone(&shared), Arc::clone(recorder)));
        Ok(Arc::new(Self {
            orders,
            shared,
            next_reference: AtomicU64::new(0),
            _child: child,
        }))
    }

    /// Subscribes, and stays so until [`close`](Self::close).
    pub(super) fn subscribe(&self, seat: &Seat) {
        let (name, channels) = (seat.book.name(), seat.book.channels());
        let transports = match (seat.book.transport(), seat.upgrade) {
            (Transport::SocketIoPolling, _) => json!(["polling"]),
            (_, true) => json!(["polling", "websocket"]),
            (_, false) => json!(["websocket"]),
        };
        self.shared.books.lock().insert(name.clone(), Arc::clone(&seat.book));
        self.order(json!({
            "do": "subscribe",
            "name": name,
            "url": format!("http://{}", seat.address),
            "token": seat.token,
            "transports": transports,
            "channels": channels,
        }));
    }

    /// Connects a client that is to publish.
    pub(super) fn connect(&self, name: &str, address: &str, token: &str) {
        self.order(json!({
            "do": "connect",
            "name": name,
            "url": format!("http://{address}"),
            "token": token,
            "transports": ["websocket"],
        }));
    }

    /// Publishes through a client that was connected.
    pub(super) async fn publish(
        &self,
        name: &str,
        channel: &str,
        event: &str,
        data: &Value,
        key: Option<&str>,
    ) -> Reply {
        let reference = self.next_reference.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shared.answers.lock().insert(reference, sender);
        let mut order = json!({
            "do": "publish",
            "name": name,
            "ref": reference,
            "channel": channel,
            "event": event,
            "data": data,
        });
        if let Some(key) = key {
            order["key"] = json!(key);
        }
        self.order(order);
        receiver.await.unwrap_or(Reply::None)
    }

    pub(super) fn close(&self, name: &str) {
        self.shared.books.lock().remove(name);
        self.order(json!({ "do": "close", "name": name }));
    }

    fn order(&self, order: Value) {
        // When node is gone, `listen` has said so.
        let _ = self.orders.send(order);
    }
}

async fn listen(stdout: ChildStdout, shared: Arc<Shared>, recorder: Arc<Recorder>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(said) => shared.heard(said),
            Err(error) => recorder.flaw(format!("the stock clients said {line:?}: {error}")),
        }
    }
    recorder.flaw("the process of the stock clients ended");
    shared.answers.lock().clear();
}

impl Shared {
    fn heard(&self, said: Said) {
        match said {
            Said::Answer { reference, answer } => self.answer(reference, Reply::of_acknowledgement(&answer)),
            Said::Failed { reference } => self.answer(reference, Reply::None),
            Said::Connect { name, recovered } => self.with(&name, |book| {
                book.connected();
                if recovered {
                    book.recovered();
                }
            }),
            Said::Disconnect { name, reason } => self.with(&name, |book| {
                book.note("disconnected");
                if reason == "parse error" {
                    book.flaw("disconnected by a parse error");
                }
            }),
            Said::Subscribed { name, cursor, since } => self.with(&name, |book| {
                if since.is_none() && !book.has_begun() {
                    book.moved(&cursor);
                } else if let Err(problem) = book.is_not_past(&cursor) {
                    book.flaw(problem);
                }
            }),
            Said::Event { name, id, event } => {
                self.with(&name, |book| match serde_json::from_value::<WireEvent>(event) {
                    Ok(event) => book.event(&id, &event),
                    Err(error) => book.flaw(format!("event {id}: {error}")),
                });
            }
            Said::Gap { name, gap } => self.with(&name, |book| match serde_json::from_value::<WireGap>(gap) {
                Ok(gap) => book.gap(&gap),
                Err(error) => book.flaw(format!("a gap: {error}")),
            }),
            Said::Flaw { name, text } => self.with(&name, |book| book.flaw(text)),
        }
    }

    /// Publishers have no book.
    fn with(&self, name: &str, write: impl FnOnce(&Book)) {
        let book = self.books.lock().get(name).cloned();
        if let Some(book) = book {
            write(&book);
        }
    }

    fn answer(&self, reference: u64, reply: Reply) {
        if let Some(sender) = self.answers.lock().remove(&reference) {
            // Whoever asked may have given up.
            let _ = sender.send(reply);
        }
    }
}
