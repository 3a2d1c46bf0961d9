//! Over `/sse`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, Full};

use super::End;
use super::poll::query;
use super::screen;
use super::session::{Event, Gap, Session};
use crate::cli::remote::{Remote, Trouble, body, send};
use crate::event_stream::{Dispatch, EventStream};

/// The server shows every 15 s that it is there.
const SILENCE: Duration = Duration::from_secs(45);

/// Reads until the connection ends.
///
/// # Errors
/// Why it did.
pub(super) async fn read(remote: &Remote, session: &mut Session) -> Result<(), End> {
    let mut sender = remote.http().await?;
    let since = session.since();
    let mut request = remote
        .request(Method::GET, &format!("/sse?{}", query(session.channels(), &[])))
        .header(header::ACCEPT, "text/event-stream");
    if let Some(since) = &since {
        request = request.header("last-event-id", since);
    }
    let request = request
        .body(Full::new(Bytes::new()))
        .map_err(|error| Trouble::Lost(error.to_string()))?;
    let answer = send(&mut sender, request, Duration::ZERO).await?;
    if !answer.status().is_success() {
        body(answer).await?;
        return Ok(());
    }
    let mut stream = EventStream::after(since.as_deref().unwrap_or_default());
    let mut body = answer.into_body();
    loop {
        let Ok(frame) = tokio::time::timeout(SILENCE, body.frame()).await else {
            return Err(Trouble::Lost("the server has gone silent".to_owned()).into());
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(Trouble::Lost(error.to_string()).into()),
            None => return Ok(()),
        };
        let Ok(bytes) = frame.into_data() else { continue };
        for dispatch in stream.push(&bytes) {
            take(remote, session, dispatch)?;
        }
        if let Some(ms) = stream.retry_ms {
            session.set_retry(ms);
        }
    }
}

fn take(remote: &Remote, session: &mut Session, dispatch: Dispatch) -> Result<(), End> {
    let Dispatch { last_id, message } = dispatch;
    let Some(message) = message else {
        // The cursor of who has seen no event yet; what only says `retry` has none.
        if !last_id.is_empty() {
            session.entered(&remote.url(), "sse");
            session.moved(&last_id);
        }
        return Ok(());
    };
    let strange =
        |error: serde_json::Error| Trouble::Lost(format!("the server sent something that is no event: {error}"));
    session.entered(&remote.url(), "sse");
    match &*message.name {
        "message" => {
            let event: Event = serde_json::from_str(&message.data).map_err(strange)?;
            session.event(&Event {
                id: Some(last_id),
                ..event
            })?;
        }
        "gap" => session.gap(&serde_json::from_str::<Gap>(&message.data).map_err(strange)?),
        "expiring" => screen::note("the token ends in a minute"),
        _ => {}
    }
    Ok(())
}
