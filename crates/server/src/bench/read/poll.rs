//! `/poll`, long and short: `since` is the last `next`.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use super::{Seat, pause};
use crate::bench::http::{Http, query};
use crate::bench::recorder::{WireEvent, WireGap};

/// What a long poll waits, in seconds: short enough for several in a run.
pub(super) const LONG_WAIT_S: u64 = 10;

/// How long an answer may be late.
const LATE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    events: Vec<WireEvent>,
    next: String,
    gap: bool,
    gaps: Vec<String>,
}

pub(super) async fn read(seat: Seat, wait_s: u64) {
    let mut http = Http::new(&seat.address, &seat.token);
    let channels = seat.book.channels();
    let mut failing = false;
    let mut connects = 0;
    loop {
        let since = seat.book.cursor();
        let wait = wait_s.to_string();
        let mut more = vec![("wait", wait.as_str())];
        if let Some(since) = &since {
            more.push(("since", since));
        }
        let path = format!("/poll?{}", query(&channels, &more));
        let request = http.request(Method::GET, &path, &[], Bytes::new());
        let answer = tokio::time::timeout(Duration::from_secs(wait_s) + LATE, request).await;
        let Ok(Ok(answer)) = answer else {
            http.forget();
            if !std::mem::replace(&mut failing, true) {
                seat.book.note("disconnected");
            }
            pause(20, 600).await;
            continue;
        };
        match answer.status.as_u16() {
            200 => match serde_json::from_slice::<Page>(&answer.body) {
                Ok(page) => {
                    failing = false;
                    if std::mem::replace(&mut connects, http.connects) < http.connects {
                        seat.book.connected();
                    }
                    take(&seat, page, since);
                }
                Err(error) => {
                    seat.book.flaw(format!("{error}: {}", answer.excerpt()));
                    pause(1_000, 1_000).await;
                }
            },
            429 | 503 => pause(200, 1_000).await,
            status => {
                seat.book.flaw(format!("answered with {status}: {}", answer.excerpt()));
                pause(1_000, 1_000).await;
            }
        }
        if wait_s == 0 {
            pause(100, 700).await;
        }
    }
}

fn take(seat: &Seat, page: Page, since: Option<String>) {
    let book = &seat.book;
    if page.gap == page.gaps.is_empty() {
        book.flaw(format!("gap is {} and gaps are {:?}", page.gap, page.gaps));
    }
    let Some(since) = since else {
        // Without `since` a short poll shows the newest events; what comes after `next` is its due.
        return book.moved(&page.next);
    };
    if page.gap {
        book.gap(&WireGap {
            channels: page.gaps,
            next: since,
        });
    }
    for event in &page.events {
        match &event.id {
            Some(id) => book.event(id, event),
            None => book.flaw("an event without an id"),
        }
    }
    if let Err(problem) = book.is_not_before(&page.next) {
        book.flaw(problem);
    }
    book.moved(&page.next);
}
