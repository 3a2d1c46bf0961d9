//! Over `/ws`.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::End;
use super::screen;
use super::session::{Event, Gap, Session};
use crate::cli::remote::{Refusal, Remote, Trouble};

/// Until the server says how often it shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(25);

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Welcome {
    heartbeat_ms: u64,
}

#[derive(Deserialize)]
struct Subscribed {
    result: Cursor,
}

#[derive(Deserialize)]
struct Cursor {
    cursor: String,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    message: String,
}

/// Reads until the connection ends.
///
/// # Errors
/// Why it did.
pub(super) async fn read(remote: &Remote, session: &mut Session) -> Result<(), End> {
    let mut socket = remote.websocket("/ws").await?;
    let mut subscribe = json!({ "type": "subscribe", "id": 1, "channels": session.channels() });
    if let Some(since) = session.since() {
        subscribe["since"] = json!(since);
    }
    socket
        .send(Message::text(subscribe.to_string()))
        .await
        .map_err(|error| Trouble::Lost(error.to_string()))?;
    let url = remote.url();
    let mut heartbeat = HEARTBEAT;
    loop {
        // Its pings arrive here too.
        let Ok(message) = tokio::time::timeout(heartbeat * 2, socket.next()).await else {
            return Err(Trouble::Lost("the server has gone silent".to_owned()).into());
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if let Some(ms) = take(&url, session, &text)? {
                    heartbeat = Duration::from_millis(ms);
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1005, |frame| u16::from(frame.code));
                return Err(closed(code).into());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Trouble::Lost(error.to_string()).into()),
            None => return Ok(()),
        }
    }
}

fn closed(code: u16) -> Trouble {
    let refused = |code: &str, detail: &str| {
        Trouble::Refused(Refusal {
            code: code.to_owned(),
            detail: detail.to_owned(),
        })
    };
    match code {
        1012 => Trouble::Lost("the server is going down".to_owned()),
        4401 => refused("token_expired", "the token has ended, or is no longer accepted"),
        4403 => refused("forbidden", "the server has ended this user's connections"),
        code => Trouble::Lost(format!("closed with {code}")),
    }
}

/// Takes a message. Answers the heartbeat where it tells one.
fn take(url: &str, session: &mut Session, text: &str) -> Result<Option<u64>, End> {
    fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, End> {
        serde_json::from_str(text).map_err(|error| {
            Trouble::Lost(format!(
                "the server sent something that is no message of Tidings: {error}"
            ))
            .into()
        })
    }
    match &*parse::<Head>(text)?.kind {
        // Before the answer to `subscribe` only the user's own channel speaks, which nobody asked for. Its ids are no place
        // to come back to: what was missed comes after the answer.
        "event" if session.is_in() => session.event(&parse::<Event>(text)?)?,
        "gap" => session.gap(&parse::<Gap>(text)?),
        "welcome" => return Ok(Some(parse::<Welcome>(text)?.heartbeat_ms)),
        "ok" => {
            let Subscribed { result } = parse(text)?;
            session.entered(url, "ws");
            session.moved(&result.cursor);
        }
        "error" => {
            let Refused { code, message } = parse(text)?;
            return Err(Trouble::Refused(Refusal { code, detail: message }).into());
        }
        "expiring" => screen::note("the token ends in a minute"),
        _ => {}
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The user's own channel speaks from the start; what was missed comes after the answer.
    #[test]
    fn what_comes_before_the_answer_is_no_place_to_come_back_to() {
        let (mut session, written) = Session::to_memory(Some("aaaaaaaa-5"));
        let event = |seq: u64, channel: &str| {
            format!(r#"{{"type":"event","id":"aaaaaaaa-{seq}","channel":"{channel}","event":"e","data":1,"time":2}}"#)
        };
        let mut heard = |text: &str| take("http://127.0.0.1:1", &mut session, text).map_err(|_| ()).unwrap();
        assert_eq!(
            heard(r#"{"type":"welcome","user":"ann","heartbeat_ms":25000}"#),
            Some(25_000)
        );
        heard(&event(9, "user:ann"));
        heard(r#"{"type":"ok","id":1,"result":{"cursor":"aaaaaaaa-5"}}"#);
        heard(&event(7, "c"));
        assert_eq!(session.since().as_deref(), Some("aaaaaaaa-7"));
        let printed = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(
            printed.contains("aaaaaaaa-7") && !printed.contains("aaaaaaaa-9"),
            "{printed}"
        );
    }
}
