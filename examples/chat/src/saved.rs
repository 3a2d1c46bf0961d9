//! What was said, in place of a database.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// A message as it is saved and sent.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) room_id: String,
    pub(crate) from: String,
    pub(crate) content: String,
}

/// The newest messages of all rooms, bounded as all that clients can make grow. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Saved(Arc<Mutex<VecDeque<Message>>>);

const MESSAGES_MAX: usize = 1_000;

impl Saved {
    /// A database may fail, with an error of its own; `?` in a handler turns it into one that tells the client nothing.
    pub(crate) async fn add(&self, room_id: String, from: String, content: String) -> io::Result<Message> {
        let mut messages = self.0.lock().map_err(|_| io::Error::other("the messages are broken"))?;
        let id = messages.back().map_or(1, |last| last.id + 1);
        let message = Message {
            id,
            room_id,
            from,
            content,
        };
        messages.push_back(message.clone());
        if messages.len() > MESSAGES_MAX {
            messages.pop_front();
        }
        Ok(message)
    }

    /// What is kept of one room, oldest first.
    pub(crate) fn newest(&self, room_id: &str) -> Vec<Message> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages
            .iter()
            .filter(|message| message.room_id == room_id)
            .cloned()
            .collect()
    }
}
