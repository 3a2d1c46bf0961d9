//! The paths, with what each takes and answers.

use serde_json::{Value, json};
use tidings::Code;

use super::answers::{for_keys, for_users};
use super::schemas::reference;
use super::{Facts, schemas};
use crate::api::{channels, history};
use crate::events::presence;

pub(super) fn paths(facts: &Facts<'_>) -> Value {
    json!({
        "/api/v1/publish": { "post": publish(facts) },
        "/api/v1/batch": { "post": batch(facts) },
        "/api/v1/channels": { "get": occupied(facts) },
        "/api/v1/channels/{channel}/history": { "get": history(facts), "parameters": [path("channel", "Channel")] },
        "/api/v1/channels/{channel}/presence": { "get": presence(facts), "parameters": [path("channel", "Channel")] },
        "/api/v1/users/{user}/connections": { "get": connections(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/disconnect": { "post": disconnect_user(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/channels": { "get": joined(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/join": { "post": join(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/leave": { "post": leave(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/read": { "post": read(facts), "parameters": [path("user", "User")] },
        "/api/v1/users/{user}/unread": { "get": unread(facts), "parameters": [path("user", "User")] },
        "/api/v1/tokens/{jti}/revoke": { "post": revoke(facts), "parameters": [path("jti", "TokenId")] },
        "/api/v1/connections/{connection}/disconnect": {
            "post": disconnect(facts),
            "parameters": [path("connection", "Connection")],
        },
    })
}

fn publish(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "publish",
        "tags": ["publish"],
        "summary": "Publish an event, to one channel or to several at once",
        "description": "The key needs the scope `publish:<pattern>` for each channel. Answered when the event is kept. With a `key` it can \
            be sent again within five minutes, and is published once.",
        "security": [{ "apiKey": ["publish"] }],
        "requestBody": body("Event", true),
        "responses": for_keys(facts, "Published", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidJson,
            Code::InvalidChannel,
            Code::TooManyChannels,
            Code::KeyConflict,
            Code::TooLarge,
            Code::Draining,
            Code::Unavailable,
            Code::StoreFull,
        ]),
    })
}

fn batch(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "publishBatch",
        "tags": ["publish"],
        "summary": "Publish many events, in their order",
        "description": "Each is answered for itself: one that is refused, or is none, has a `code` in its place of `results`, and the \
            others are published.",
        "security": [{ "apiKey": ["publish"] }],
        "requestBody": body("Batch", true),
        "responses": for_keys(facts, "BatchResults", &[Code::BadRequest, Code::InvalidJson, Code::TooLarge]),
    })
}

fn occupied(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "listChannels",
        "tags": ["channels"],
        "summary": "Which channels have subscribers, in the order of their names",
        "security": [{ "apiKey": ["read"] }],
        "parameters": [
            query("after", "The last channel of the page before.", &json!({ "type": "string" })),
            query("prefix", "Channels whose names begin so.", &json!({ "type": "string" })),
            limit(channels::CHANNELS, channels::CHANNELS_MAX),
        ],
        "responses": for_keys(facts, "Channels", &[Code::BadRequest, Code::Forbidden]),
    })
}

fn history(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "readHistory",
        "tags": ["channels"],
        "summary": "What a channel retains, oldest first",
        "description": "Without `before` and `after` the newest page. `before` and `after` exclude each other.",
        "security": for_key_or_user(facts, "read"),
        "parameters": [
            query("before", "The newest events before this one.", &reference("EventId")),
            query("after", "The oldest events after this one.", &reference("EventId")),
            limit(history::EVENTS, history::EVENTS_MAX),
        ],
        "responses": for_users(facts, "History", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidId,
            Code::InvalidChannel,
        ]),
    })
}

fn presence(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "listPresent",
        "tags": ["channels"],
        "summary": "Which users are in a channel, in the order of their names",
        "description": "404 where the channel's rule keeps no presence.",
        "security": [{ "apiKey": ["read"] }],
        "parameters": [
            query("after", "The last user of the page before.", &json!({ "type": "string" })),
            limit(presence::USERS, presence::USERS_MAX),
        ],
        "responses": for_keys(facts, "Present", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidChannel,
            Code::NotFound,
        ]),
    })
}

fn connections(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "listConnections",
        "tags": ["users"],
        "summary": "The connections of a user on all transports, the oldest first",
        "security": [{ "apiKey": ["admin"] }],
        "responses": for_keys(facts, "Connections", &[Code::BadRequest, Code::Forbidden]),
    })
}

fn disconnect_user(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "disconnectUser",
        "tags": ["users"],
        "summary": "Send a user away on all transports",
        "description": "With `revoke` the user's tokens that were issued until now hold no more. The body may be empty.",
        "security": [{ "apiKey": ["admin"] }],
        "requestBody": body("Disconnect", false),
        "responses": for_keys(facts, "SentAway", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidJson,
            Code::TooLarge,
            Code::Unavailable,
            Code::StoreFull,
        ]),
    })
}

fn joined(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "listJoined",
        "tags": ["users"],
        "summary": "The channels that a user was put into, in the order of their names",
        "security": [{ "apiKey": ["admin"] }],
        "responses": for_keys(facts, "Joined", &[Code::BadRequest, Code::Forbidden]),
    })
}

fn join(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "join",
        "tags": ["users"],
        "summary": "Put a user into a channel, whatever the rules say",
        "description": "On all connections of Socket.IO and `/ws`, and those to come, until `leave`; on event streams and polls the user may \
            name it.",
        "security": [{ "apiKey": ["admin"] }],
        "requestBody": body("Membership", true),
        "responses": for_keys(facts, "Reached", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidJson,
            Code::InvalidChannel,
            Code::TooManyChannels,
            Code::TooLarge,
            Code::Unavailable,
            Code::StoreFull,
        ]),
    })
}

fn leave(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "leave",
        "tags": ["users"],
        "summary": "Take a user out of a channel, on all connections",
        "description": "Also where it came in by itself; whether it may come back is for the rules to say.",
        "security": [{ "apiKey": ["admin"] }],
        "requestBody": body("Membership", true),
        "responses": for_keys(facts, "Reached", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidJson,
            Code::InvalidChannel,
            Code::TooLarge,
            Code::Unavailable,
        ]),
    })
}

fn read(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "markRead",
        "tags": ["users"],
        "summary": "A user has read a channel up to an event",
        "description": "The mark never goes back. With a token it is for the token's own user, in a channel whose history that may read.",
        "security": for_key_or_user(facts, "admin"),
        "requestBody": body("Mark", true),
        "responses": for_users(facts, "Unread", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::InvalidJson,
            Code::InvalidId,
            Code::InvalidChannel,
            Code::TooLarge,
            Code::Draining,
            Code::StoreFull,
        ]),
    })
}

fn unread(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "countUnread",
        "tags": ["users"],
        "summary": "How much of a channel a user has not read",
        "description": "With a token it is for the token's own user, in a channel whose history that may read.",
        "security": for_key_or_user(facts, "read"),
        "parameters": [query("channel", "Without it `user:<user>`.", &reference("Channel"))],
        "responses": for_users(facts, "Unread", &[Code::BadRequest, Code::Forbidden, Code::InvalidChannel]),
    })
}

fn revoke(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "revokeToken",
        "tags": ["users"],
        "summary": "One token holds no more",
        "description": "Who came with it is sent away.",
        "security": [{ "apiKey": ["admin"] }],
        "responses": for_keys(facts, "SentAway", &[
            Code::BadRequest,
            Code::Forbidden,
            Code::Unavailable,
            Code::StoreFull,
        ]),
    })
}

fn disconnect(facts: &Facts<'_>) -> Value {
    json!({
        "operationId": "disconnect",
        "tags": ["users"],
        "summary": "Send one connection away",
        "description": "404 where there is none of this id.",
        "security": [{ "apiKey": ["admin"] }],
        "responses": for_keys(facts, "SentAway", &[Code::Forbidden, Code::NotFound]),
    })
}

/// What shows who asks, where users may ask too.
fn for_key_or_user(facts: &Facts<'_>, scope: &str) -> Value {
    let mut any = vec![
        json!({ "apiKey": [scope] }),
        json!({ "userToken": [] }),
        json!({ "userTokenInQuery": [] }),
    ];
    if facts.cookie.is_some() {
        any.push(json!({ "userTokenInCookie": [] }));
    }
    if facts.anonymous {
        any.push(json!({}));
    }
    any.into()
}

fn path(name: &str, schema: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": reference(schema) })
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn limit(default: usize, max: usize) -> Value {
    query("limit", "How many at the most.", &schemas::limit(default, max))
}

fn body(schema: &str, required: bool) -> Value {
    json!({ "required": required, "content": { "application/json": { "schema": reference(schema) } } })
}
