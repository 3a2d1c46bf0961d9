//! What the server saw, and what it keeps for later: acks that are held, clients that wait to be let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings::{Ack, Reason, Socket};
use tokio::sync::oneshot;

/// The app's memory, shared by all its handlers.
pub(crate) struct Journal {
    entries: Mutex<Vec<Value>>,
    held_acks: Mutex<Vec<Ack>>,
    slow_gates: Mutex<Vec<oneshot::Sender<()>>>,
    saved_messages: AtomicU64,
    /// The path of the server's requests, with a slash at its end: a handshake doesn't tell it.
    pub(crate) url: String,
}

impl Journal {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            entries: Mutex::default(),
            held_acks: Mutex::default(),
            slow_gates: Mutex::default(),
            saved_messages: AtomicU64::new(0),
            url: format!("/{}/", path.trim_matches('/')),
        }
    }

    /// Notes something about a socket.
    pub(crate) fn note<U: Send + Sync + 'static>(&self, kind: &str, socket: &Socket<U>, more: Value) {
        let mut entry = json!({ "type": kind, "nsp": socket.namespace(), "id": socket.id() });
        if let (Value::Object(entry), Value::Object(more)) = (&mut entry, more) {
            entry.extend(more);
        }
        self.entries.lock().push(entry);
    }

    /// The entries from a position on.
    pub(crate) fn after(&self, position: usize) -> Vec<Value> {
        self.entries.lock().iter().skip(position).cloned().collect()
    }

    pub(crate) fn hold(&self, ack: Ack) {
        self.held_acks.lock().push(ack);
    }

    /// A gate that opens at the next release.
    pub(crate) fn gate(&self) -> oneshot::Receiver<()> {
        let (opener, gate) = oneshot::channel();
        self.slow_gates.lock().push(opener);
        gate
    }

    /// Opens the gates and answers the acks that are held; tells how many.
    pub(crate) fn release(&self) -> usize {
        for gate in self.slow_gates.lock().drain(..) {
            let _ = gate.send(()); // its client may be gone
        }
        let held = std::mem::take(&mut *self.held_acks.lock());
        let released = held.len();
        for ack in held {
            if let Err(error) = ack.send("late") {
                eprintln!("an ack can't be sent: {error}");
            }
        }
        released
    }

    /// The number of a chat message, from 1.
    pub(crate) fn next_message(&self) -> u64 {
        self.saved_messages.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Notes the beginning and the end of a socket.
pub(crate) fn observe<U: Send + Sync + 'static>(journal: &Arc<Journal>, socket: &Socket<U>) {
    journal.note("connection", socket, json!({ "rooms": socket.rooms() }));
    let ending = Arc::clone(journal);
    socket.on_disconnecting(async move |socket: Socket<U>, reason: Reason| {
        let more = json!({ "reason": reason.as_str(), "rooms": socket.rooms() });
        ending.note("disconnecting", &socket, more);
    });
    let ended = Arc::clone(journal);
    socket.on_disconnect(async move |socket: Socket<U>, reason: Reason| {
        ended.note("disconnect", &socket, json!({ "reason": reason.as_str() }));
    });
}
