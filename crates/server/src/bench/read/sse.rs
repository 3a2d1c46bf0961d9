//! `/sse`, as an EventSource reads it: `Last-Event-ID`, moved by bare `id:` lines too, and `retry`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;

use super::{Seat, pause};
use crate::bench::http::{Http, query};
use crate::bench::recorder::{WireEvent, WireGap};
use crate::event_stream::{Dispatch, EventStream};

/// What browsers wait before they connect again, until they are told otherwise.
const RETRY_MS: u64 = 3_000;

/// Heartbeats come every 15 s. A browser would wait for ever; so long, and somebody's proxy has given up.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) async fn read(seat: Seat) {
    let path = format!("/sse?{}", query(&seat.book.channels(), &[]));
    let mut retry_ms = RETRY_MS;
    loop {
        match run(&seat, &path, &mut retry_ms).await {
            Ok(()) => seat.book.note("disconnected"),
            // Where a browser gives up for good, the checker complains and tries again.
            Err(flaw) => seat.book.flaw(flaw),
        }
        pause(retry_ms, retry_ms + 50).await;
    }
}

async fn run(seat: &Seat, path: &str, retry_ms: &mut u64) -> Result<(), String> {
    // Over HTTP/1.1 a stream has its connection to itself.
    let mut http = Http::new(&seat.address, &seat.token);
    let last_id = seat.book.cursor();
    let mut headers = vec![("accept", "text/event-stream"), ("cache-control", "no-store")];
    if let Some(id) = &last_id {
        headers.push(("last-event-id", id));
    }
    let send = http.send(Method::GET, path, &headers, Bytes::new());
    let Ok(Ok(answer)) = tokio::time::timeout(SILENCE, send).await else {
        return Ok(());
    };
    if answer.status() != StatusCode::OK {
        return Err(format!("answered with {}", answer.status()));
    }
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if kind.and_then(|kind| kind.split(';').next()) != Some("text/event-stream") {
        return Err(format!("its content type is {kind:?}"));
    }
    seat.book.connected();
    let mut stream = EventStream::after(last_id.as_deref().unwrap_or_default());
    let mut body = answer.into_body();
    loop {
        let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, body.frame()).await else {
            return Ok(());
        };
        let Ok(bytes) = frame.into_data() else { continue };
        for dispatch in stream.push(&bytes) {
            take(seat, dispatch)?;
        }
        if let Some(ms) = stream.retry_ms {
            *retry_ms = ms;
        }
    }
}

fn take(seat: &Seat, dispatch: Dispatch) -> Result<(), String> {
    let book = &seat.book;
    let Dispatch { last_id, message } = dispatch;
    let Some(message) = message else {
        if !last_id.is_empty() && book.cursor().as_ref() != Some(&last_id) {
            book.moved(&last_id);
        }
        return Ok(());
    };
    let shape = |error: serde_json::Error| {
        let excerpt: String = message.data.chars().take(200).collect();
        format!("{error}: {excerpt}")
    };
    match &*message.name {
        "message" => book.event(
            &last_id,
            &serde_json::from_str::<WireEvent>(&message.data).map_err(shape)?,
        ),
        "gap" => {
            let gap: WireGap = serde_json::from_str(&message.data).map_err(shape)?;
            if gap.next != last_id {
                book.flaw(format!("a gap whose next is {} and whose id is {last_id}", gap.next));
            }
            book.gap(&gap);
        }
        "expiring" => {}
        other => book.flaw(format!("an event named {other:?}")),
    }
    Ok(())
}
