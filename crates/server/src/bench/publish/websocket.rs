//! `publish` on `/ws`: many at once on one connection, each answered by its number.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::Reply;
use crate::bench::read::open_websocket;

/// How long an answer may take: longer than the server is ever stopped for.
const ANSWER: Duration = Duration::from_secs(8);

/// What is to be published, and who wants to know.
type Order = (Value, oneshot::Sender<Reply>);

/// A connection that comes back; it ends with the last of its copies.
#[derive(Clone)]
pub(in crate::bench) struct WebSocket {
    orders: mpsc::Sender<Order>,
}

impl WebSocket {
    pub(in crate::bench) fn new(address: String, token: String) -> Self {
        let (orders, waiting) = mpsc::channel(1);
        tokio::spawn(stay(address, token, waiting));
        Self { orders }
    }

    pub(super) async fn publish(&self, message: Value) -> Reply {
        let (sender, receiver) = oneshot::channel();
        if self.orders.send((message, sender)).await.is_err() {
            return Reply::None;
        }
        match tokio::time::timeout(ANSWER, receiver).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Reply::None,
        }
    }
}

async fn stay(address: String, token: String, mut orders: mpsc::Receiver<Order>) {
    let mut number = 0_u64;
    loop {
        if let Ok(Ok(socket)) = tokio::time::timeout(ANSWER, open_websocket(&address, &token)).await
            && run(socket, &mut orders, &mut number).await.is_none()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(20..600))).await;
    }
}

/// Runs until the connection is lost, or there is nothing more to publish (`None`). What waits then has no answer.
async fn run(
    mut socket: WebSocketStream<TcpStream>,
    orders: &mut mpsc::Receiver<Order>,
    number: &mut u64,
) -> Option<()> {
    let mut waiting: HashMap<u64, oneshot::Sender<Reply>> = HashMap::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let (mut message, sender) = order?;
                *number += 1;
                message["id"] = json!(*number);
                waiting.insert(*number, sender);
                let sent = tokio::time::timeout(ANSWER, socket.send(Message::text(message.to_string()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Some(());
                }
            }
            message = tokio::time::timeout(2 * Duration::from_secs(25), socket.next()) => {
                let Ok(Some(Ok(message))) = message else {
                    return Some(());
                };
                if let Message::Text(text) = message
                    && let Ok(answer) = serde_json::from_str::<Value>(&text)
                    && let Some(sender) = answer.get("id").and_then(Value::as_u64).and_then(|id| waiting.remove(&id))
                {
                    let reply = match answer["type"].as_str() {
                        Some("ok") => Reply::of_result(&answer["result"]),
                        _ => Reply::of_error(&answer),
                    };
                    // Whoever asked may have given up.
                    let _ = sender.send(reply);
                }
            }
        }
    }
}
