//! `POST /api/v1/users/{user}/join`, `…/leave` and `GET …/channels`: the channels that a back end puts a user into, on all of
//! the user's connections, and those to come.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request};
use serde::{Deserialize, Serialize};
use tidings::{Code, Error, Grant, Result};

use super::users::{name, of};
use super::{Api, LATE, body};
use crate::access::check_name;
use crate::client::{Client, put_into, take_out_of};
use crate::members::Members;
use crate::rules::{Action, OWN_CHANNEL_PREFIX};

/// The longest body: a channel's name and what JSON puts around it, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 4_096;

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `channel`")]
struct Which {
    channel: String,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Changed {
    /// The connections of the user that it has reached.
    connections: usize,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Listed {
    /// By their names.
    channels: Vec<Arc<str>>,
}

pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    user: Result<Path<String>, PathRejection>,
) -> Result<Json<Listed>> {
    api.admin_key(&headers)?;
    let channels = api.members.channels(&name(user)?);
    Ok(Json(Listed { channels }))
}

pub(super) async fn join(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Json<Changed>> {
    let (user, channel) = asked(&api, user, request).await?;
    if channel.starts_with(OWN_CHANNEL_PREFIX) && channel.get(OWN_CHANNEL_PREFIX.len()..) != Some(&user) {
        return Err(Error::forbidden(format!(
            "{channel:?} is its user's own; nobody else can be put into it"
        )));
    }
    if api.io.is_socket_id(&channel) {
        return Err(Error::coded(
            Code::InvalidChannel,
            "this is the own room of a Socket.IO client",
        ));
    }
    let connections = change(&api, user, channel, Members::join, true).await?;
    Ok(Json(Changed { connections }))
}

pub(super) async fn leave(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Json<Changed>> {
    let (user, channel) = asked(&api, user, request).await?;
    let connections = change(&api, user, channel, Members::leave, false).await?;
    Ok(Json(Changed { connections }))
}

/// A change, as it is kept.
type Keep = fn(&Members, &str, &str) -> Result<()>;

/// Keeps a change, and has it reach those that are there: one after another, and to its end also when nobody waits for the answer.
async fn change(api: &Arc<Api>, user: String, channel: String, keep: Keep, joins: bool) -> Result<usize> {
    let api = Arc::clone(api);
    let whole = tokio::spawn(async move {
        let _one_at_a_time = api.members_change.lock().await;
        let kept = (Arc::clone(&api.members), user.clone(), channel.clone());
        tokio::task::spawn_blocking(move || keep(&kept.0, &kept.1, &kept.2)).await??;
        let connections = if joins {
            // Who is just coming in may have asked before it was kept, and be there after it was looked: so it is looked twice.
            api.join(&user, &channel).await?;
            api.join(&user, &channel).await?
        } else {
            let connections = api.leave(&user, &channel, |_| true).await?;
            // After those who are here: who has gone away meanwhile is among these.
            api.io.leave_sessions(&user, &channel)?;
            tokio::spawn(leave_late(Arc::clone(&api), user.clone(), channel.clone()));
            connections
        };
        tracing::debug!(user, channel, joins, connections, "a user's channels have changed");
        Ok(connections)
    });
    whole.await?
}

/// Who asked just before it was kept may have got in since: then out again, but for who may be there by the rules.
async fn leave_late(api: Arc<Api>, user: String, channel: String) {
    for pause in LATE {
        tokio::time::sleep(pause).await;
        let (access, name) = (Arc::clone(&api.access), channel.clone());
        let is_lost = move |client: &Client| access.check_client(Action::Subscribe, &name, client).is_err();
        if let Err(error) = api.leave(&user, &channel, is_lost).await {
            tracing::error!(%error, "a user could not be taken out of a channel");
        }
    }
}

/// Which user and which channel.
async fn asked(
    api: &Api,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<(String, String)> {
    let (head, body) = request.into_parts();
    api.admin_key(&head.headers)?;
    let user = name(user)?;
    let json = body::read(body, BODY_BYTES_MAX).await?;
    let Which { channel } = body::parse(&json)?;
    check_name(&channel)?;
    Ok((user, channel))
}

impl Api {
    /// Those that are there now.
    async fn join(&self, user: &str, channel: &str) -> Result<usize> {
        for socket in of(self, user.to_owned()).sockets().await {
            socket.try_join(channel)?;
            put_into(&self.access, &socket, channel)?;
            // It may have ended meanwhile, and its end been dealt with.
            if !socket.is_connected() {
                take_out_of(&socket, channel);
            }
        }
        let decision = self.access.rules().decide(Action::Subscribe, channel, None);
        let grant = Grant::new().presence(decision.presence);
        of(self, user.to_owned()).join(channel, grant).await
    }

    async fn leave<F>(&self, user: &str, channel: &str, which: F) -> Result<usize>
    where
        F: Fn(&Client) -> bool + Clone + Send + Sync + 'static,
    {
        let those = || {
            let (user, which) = (user.to_owned(), which.clone());
            self.io
                .connections(move |client: &Client| client.is_of(&user) && which(client))
        };
        for socket in those().sockets().await {
            take_out_of(&socket, channel);
        }
        those().leave(channel).await
    }
}
