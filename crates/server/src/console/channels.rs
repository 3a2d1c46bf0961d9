//! Channels: which there are, what one is like, and publishing to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use serde::Serialize;
use tidings::{ChannelsPage, Error, EventId, HistoryPage, PresencePage, Result};

use super::{Console, NAME, settings};
use crate::access::check_name;
use crate::api;
use crate::api::publish::Published;

/// A channel.
#[derive(Serialize)]
pub(super) struct Channel {
    channel: String,
    /// Connections that are subscribed, the console's tails among them.
    subscribers: usize,
    /// How many users are in it; none where it does not keep who is.
    present: Option<usize>,
    /// What decides about it.
    rule: Option<String>,
    /// Where the log is: what is published from now on comes after this.
    cursor: EventId,
}

/// `GET /console/api/channels`: a page of those that have subscribers.
pub(super) async fn list(State(console): State<Arc<Console>>, RawQuery(query): RawQuery) -> Result<Json<ChannelsPage>> {
    api::channels::page(&console.api, &query.unwrap_or_default())
        .await
        .map(Json)
}

/// `GET /console/api/channels/{channel}`.
pub(super) async fn channel(
    State(console): State<Arc<Console>>,
    channel: Result<Path<String>, PathRejection>,
) -> Result<Json<Channel>> {
    let channel = name(channel)?;
    let (io, rules) = (&console.api.io, console.api.access.rules());
    let first = io
        .channels_with_prefix(&channel, None, 1)
        .await
        .channels
        .into_iter()
        .next();
    let subscribers = first
        .filter(|first| *first.channel == *channel)
        .map_or(0, |first| first.subscribers);
    let present = rules.keep_presence(&channel).then(|| io.presence().count(&channel));
    Ok(Json(Channel {
        subscribers,
        present,
        rule: rules.of(&channel).map(settings::rule),
        cursor: io.cursor(),
        channel,
    }))
}

/// `GET /console/api/channels/{channel}/presence`.
pub(super) async fn presence(
    State(console): State<Arc<Console>>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<PresencePage>> {
    api::presence::page(&console.api, &name(channel)?, &query.unwrap_or_default()).map(Json)
}

/// `GET /console/api/channels/{channel}/history`.
pub(super) async fn history(
    State(console): State<Arc<Console>>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<HistoryPage>> {
    let channel = name(channel)?;
    api::history::page(&console.api, &channel, &query.unwrap_or_default())
        .await
        .map(Json)
}

/// `POST /console/api/publish`, as `/api/v1/publish` has it.
pub(super) async fn publish(State(console): State<Arc<Console>>, request: Request) -> Result<Json<Published>> {
    let published = api::publish::publish_as(&console.api, None, request.into_body()).await?;
    tracing::info!(by = NAME, "an event is published by hand");
    Ok(Json(published))
}

/// A channel's name in the path.
pub(super) fn name(channel: Result<Path<String>, PathRejection>) -> Result<String> {
    let Path(channel) = channel.map_err(|_| Error::new("the channel's name in the path is not UTF-8"))?;
    check_name(&channel)?;
    Ok(channel)
}
