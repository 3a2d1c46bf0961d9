//! `/ws`: `subscribe` with `since`, the last id that it got.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Seat, passes, pause};
use crate::bench::recorder::{WireEvent, WireGap};

/// Until the server's `welcome` says how often it shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(25);

/// Why a connection is over.
enum End {
    /// It was lost, or refused for now.
    Lost,
    /// No server may end it like this.
    Flaw(String),
}

pub(super) async fn read(seat: Seat) {
    loop {
        match run(&seat).await {
            End::Lost => seat.book.note("disconnected"),
            End::Flaw(text) => {
                seat.book.flaw(text);
                pause(1_000, 1_000).await;
            }
        }
        pause(20, 600).await;
    }
}

async fn run(seat: &Seat) -> End {
    let mut socket = match connect(&seat.address, &seat.token).await {
        Ok(socket) => socket,
        Err(end) => return end,
    };
    seat.book.connected();
    let since = seat.book.cursor();
    let mut subscribe = json!({ "type": "subscribe", "id": 1, "channels": seat.book.channels() });
    if let Some(since) = &since {
        subscribe["since"] = json!(since);
    }
    if socket.send(Message::text(subscribe.to_string())).await.is_err() {
        return End::Lost;
    }
    let mut heartbeat = HEARTBEAT;
    loop {
        // Pings arrive here too, so a server that is there is heard within its heartbeat.
        let message = match tokio::time::timeout(heartbeat * 2, socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) | Err(_) => return End::Lost,
        };
        let text = match message {
            Message::Text(text) => text,
            Message::Close(frame) => {
                return match frame.map(|frame| (u16::from(frame.code), frame.reason)) {
                    Some((code @ (1002..=1011 | 4401 | 4403 | 4413 | 4429), reason)) => {
                        End::Flaw(format!("closed with {code} {reason}"))
                    }
                    _ => End::Lost,
                };
            }
            Message::Binary(_) => return End::Flaw("a binary message".to_owned()),
            _ => continue,
        };
        match take(seat, &text, since.is_some()) {
            Ok(None) => {}
            Ok(Some(time)) => heartbeat = time,
            Err(end) => return end,
        }
    }
}

/// Opens a WebSocket with a token.
pub(in crate::bench) async fn open(address: &str, token: &str) -> Result<WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{address}/ws").into_client_request()?;
    let bearer = format!("Bearer {token}").parse().map_err(|_| Error::AttackAttempt)?;
    request.headers_mut().insert("authorization", bearer);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

async fn connect(address: &str, token: &str) -> Result<WebSocketStream<TcpStream>, End> {
    match tokio::time::timeout(HEARTBEAT, open(address, token)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(Error::Http(answer))) => match answer.status().as_u16() {
            429 | 503 => Err(End::Lost),
            status => Err(End::Flaw(format!("the handshake was answered with {status}"))),
        },
        Ok(Err(_)) | Err(_) => Err(End::Lost),
    }
}

#[derive(Deserialize)]
struct Welcome {
    heartbeat_ms: u64,
}

/// Takes one message; gives the heartbeat when it told one.
fn take(seat: &Seat, text: &str, resumed: bool) -> Result<Option<Duration>, End> {
    let book = &seat.book;
    let shape = |error: serde_json::Error| {
        let excerpt: String = text.chars().take(200).collect();
        End::Flaw(format!("{error}: {excerpt}"))
    };
    let mut value: Value = serde_json::from_str(text).map_err(shape)?;
    let kind = value.as_object_mut().and_then(|object| object.remove("type"));
    match kind.as_ref().and_then(Value::as_str).unwrap_or_default() {
        "event" => {
            let event: WireEvent = serde_json::from_value(value).map_err(shape)?;
            match &event.id {
                Some(id) => book.event(id, &event),
                None => book.flaw("an event without an id"),
            }
        }
        "gap" => book.gap(&serde_json::from_value::<WireGap>(value).map_err(shape)?),
        "welcome" => {
            let welcome: Welcome = serde_json::from_value(value).map_err(shape)?;
            return Ok(Some(Duration::from_millis(welcome.heartbeat_ms)));
        }
        "ok" => {
            let cursor = value.pointer("/result/cursor").and_then(Value::as_str);
            let Some(cursor) = cursor else {
                return Err(End::Flaw(format!("subscribed without a cursor: {text}")));
            };
            // With `since` it is where the replay begins; events that came before this answer have moved on.
            if !resumed && !book.has_begun() {
                book.moved(cursor);
            } else if let Err(problem) = book.is_not_past(cursor) {
                book.flaw(problem);
            }
        }
        "error" => {
            let code = value.get("code").and_then(Value::as_str).unwrap_or_default();
            return Err(if passes(code) {
                End::Lost
            } else {
                End::Flaw(format!("refused: {text}"))
            });
        }
        "expiring" | "join" | "leave" => {}
        other => book.flaw(format!("a message of type {other:?}")),
    }
    Ok(None)
}
