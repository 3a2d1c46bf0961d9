//! The server API's history as one more reader: all that the store has kept, in pages.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use http::Method;
use serde::Deserialize;

use super::publish::Api;
use super::record::{ChannelIndex, Transport};
use super::recorder::{Book, Recorder, WireEvent};

/// Fewer than the most, so that there are several pages.
const LIMIT: &str = "200";

#[derive(Deserialize)]
struct Page {
    events: Vec<WireEvent>,
    more: bool,
}

/// Reads all of a channel's history, from the oldest on, after this id.
///
/// # Errors
/// When the server does not answer, or not with a page.
pub(super) async fn read(
    api: &Api,
    recorder: &Arc<Recorder>,
    channel: ChannelIndex,
    start: &str,
) -> anyhow::Result<Arc<Book>> {
    let name = recorder.name(channel).to_owned();
    let book = recorder.reader(format!("history of {name}"), Transport::History, vec![channel]);
    book.moved(start);
    book.connected();
    let path: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    loop {
        let after = book.cursor().unwrap_or_default();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("after", &after)
            .append_pair("limit", LIMIT)
            .finish();
        let url = format!("/api/v1/channels/{path}/history?{query}");
        let answer = api
            .request(Method::GET, &url, String::new())
            .await
            .with_context(|| format!("{url} was not answered"))?;
        if answer.status != 200 {
            bail!("{url} was answered with {}: {}", answer.status, answer.excerpt());
        }
        let page: Page = serde_json::from_slice(&answer.body).with_context(|| answer.excerpt())?;
        for event in &page.events {
            match &event.id {
                Some(id) => book.event(id, event),
                None => book.flaw("an event without an id"),
            }
        }
        if !page.more {
            return Ok(book);
        }
        if page.events.is_empty() {
            bail!("{url} was answered with an empty page and `more`");
        }
    }
}
