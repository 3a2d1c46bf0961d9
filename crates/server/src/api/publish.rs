//! `POST /api/v1/publish`: one event, to one channel or to several at once.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::{Code, Durability, Emitted, Error, EventId, Raw, Receipt, Result};

use super::keys::ApiKey;
use super::{Api, body};
use crate::access::check_name;

/// Channels of one event.
pub(super) const CHANNELS_MAX: usize = 128;

/// What is to be published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `channel`, `event` and `data`")]
pub(super) struct Draft<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    /// None where the channel's pace had no place for it in the log, or has it wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    /// Whether it had been published before, under its key.
    duplicate: bool,
    /// What it survives from now on.
    durability: Durability,
}

pub(super) async fn publish(State(api): State<Arc<Api>>, request: Request<Body>) -> Result<Json<Published>> {
    let (head, body) = request.into_parts();
    // Who has no key is not read from.
    let key = api.key(&head.headers)?;
    publish_as(&api, Some(&key), body).await.map(Json)
}

/// Publishes what a body says, with a key, or without one as who may do everything.
///
/// # Errors
/// When it can't be published.
pub(crate) async fn publish_as(api: &Api, key: Option<&ApiKey>, body: Body) -> Result<Published> {
    let json = body::read(body, api.message_bytes).await?;
    let emitted = emit(api, key, &body::parse(&json)?)?;
    Published::of(emitted).await
}

/// Publishes; the answer is still to come.
///
/// # Errors
/// When it can't be published, and was not.
pub(super) fn emit(api: &Api, key: Option<&ApiKey>, draft: &Draft<'_>) -> Result<Emitted> {
    let channels = draft.channels()?;
    for channel in channels {
        check_name(channel)?;
        if let Some(key) = key.filter(|key| !key.may_publish(channel)) {
            tracing::debug!(key = key.name(), %channel, "an API key may not publish there");
            return Err(Error::forbidden(format!("this API key may not publish to {channel:?}")));
        }
    }
    let mut to = api.io.everyone();
    for (at, channel) in channels.iter().enumerate() {
        if !channels[..at].contains(channel) {
            to = to.to(channel);
        }
    }
    if let Some(key) = &draft.key {
        to = to.key(&**key);
    }
    let data = draft.data.map_or("null", RawValue::get);
    Ok(to.emit(&draft.event, Raw::from_json(data, api.attachments)?))
}

impl<'a> Draft<'a> {
    fn channels(&self) -> Result<&[Cow<'a, str>]> {
        let channels = match (&self.channel, &self.channels) {
            (Some(channel), None) => std::slice::from_ref(channel),
            (None, Some(channels)) => channels,
            (None, None) => return Err(Error::new("`channel` is missing, or `channels`, a list of them")),
            (Some(_), Some(_)) => return Err(Error::new("`channel` and `channels` exclude each other")),
        };
        match channels.len() {
            0 => Err(Error::new("`channels` is empty: name one at least")),
            1..=CHANNELS_MAX => Ok(channels),
            _ => Err(Error::coded(
                Code::TooManyChannels,
                format!("an event goes to {CHANNELS_MAX} channels at the most"),
            )),
        }
    }
}

impl Published {
    /// Waits until the event is kept.
    ///
    /// # Errors
    /// When it can't be.
    pub(super) async fn of(emitted: Emitted) -> Result<Self> {
        Ok(match emitted.receipt().await? {
            Some(Receipt {
                id,
                duplicate,
                durability,
                ..
            }) => Self {
                id: Some(id),
                duplicate,
                durability,
            },
            None => Self {
                id: None,
                duplicate: false,
                durability: Durability::Memory,
            },
        })
    }
}
