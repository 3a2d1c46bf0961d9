//! The shapes of what is taken and answered.

use serde_json::{Value, json};
use tidings::{CHANNEL_BYTES_MAX, Code, EVENT_NAME_BYTES_MAX};

use super::Facts;
use crate::api::batch::{EVENTS_MAX, MESSAGES_MAX};
use crate::api::publish::CHANNELS_MAX;
use crate::api::{inbox, members, users};
use crate::members::CHANNELS_MAX as JOINED_MAX;
use crate::token::JTI_BYTES_MAX;
use crate::token::USER_BYTES_MAX;

/// No control characters, C0 and C1.
const PRINTABLE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// As [`PRINTABLE`], and no `/` in front.
const CHANNEL: &str = "^[^/\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// What [`tidings::EventId`] says of itself.
const EVENT_ID: &str = "^[0-9a-z]{8}-(0|[1-9][0-9]{0,15})$";

/// Names that clients take for something else than an event; so are all that begin with `tidings:`.
pub(super) const RESERVED: [&str; 10] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
    "gap",
    "expiring",
    "open",
    "error",
];

/// The longest key of a publish, in bytes.
pub(super) const KEY_BYTES_MAX: usize = 128;

/// A schema that is named in the document.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(super) fn limit(default: usize, max: usize) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default })
}

/// All that are named.
pub(super) fn schemas(facts: &Facts<'_>) -> Value {
    let count = json!({ "type": "integer", "minimum": 0 });
    let milliseconds = json!({ "type": "integer", "minimum": 0, "description": "Unix milliseconds." });
    let several = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": CHANNELS_MAX,
        "items": reference("Channel"),
        "description": "Who is in two of them gets it once.",
    });
    let more = json!({ "type": "boolean", "description": "There are more in this direction." });
    json!({
        "Channel": text(CHANNEL_BYTES_MAX, CHANNEL, "A channel's name"),
        "User": text(USER_BYTES_MAX, PRINTABLE, "A user's id, the `sub` of its tokens"),
        "TokenId": {
            "type": "string",
            "minLength": 1,
            "maxLength": JTI_BYTES_MAX,
            "description": format!("A token's `jti`: 1 to {JTI_BYTES_MAX} bytes."),
        },
        "Connection": {
            "type": "string",
            "minLength": 1,
            "description": "The `id` of a connection, or the `connection` of a hook.",
        },
        "EventId": {
            "type": "string",
            "pattern": EVENT_ID,
            "description": "An event's place in the log, for example `k3v9x1qa-42`. One of another log, or that was not yet given, is `invalid_id`.",
        },
        "Event": { "oneOf": [reference("EventToOne"), reference("EventToSeveral")] },
        "EventToOne": event(facts, &reference("Channel"), &json!({ "type": "null" }), "channel"),
        "EventToSeveral": event(facts, &json!({ "type": "null" }), &several, "channels"),
        "Published": {
            "type": "object",
            "required": ["duplicate", "durability"],
            "properties": {
                "id": { "allOf": [reference("EventId")], "description": "None for what a pace conflates, holds or drops." },
                "duplicate": { "type": "boolean", "description": "It had been published before, under its key." },
                "durability": { "type": "string", "enum": ["memory", "process", "power"], "description": "What it survives." },
            },
        },
        "Batch": {
            "type": "object",
            "additionalProperties": false,
            "required": ["events"],
            "properties": { "events": { "type": "array", "maxItems": EVENTS_MAX, "items": reference("Event") } },
            "description": at_most("The body has", facts.message_bytes.map(|bytes| bytes.saturating_mul(MESSAGES_MAX)), "bytes"),
        },
        "BatchResults": {
            "type": "object",
            "required": ["results"],
            "properties": {
                "results": {
                    "type": "array",
                    "maxItems": EVENTS_MAX,
                    "items": { "oneOf": [reference("Published"), reference("Refusal")] },
                    "description": "One for each event, in their order.",
                },
            },
        },
        "Refusal": {
            "type": "object",
            "required": ["code", "message"],
            "properties": { "code": reference("Code"), "message": { "type": "string" } },
        },
        "Channels": {
            "type": "object",
            "required": ["channels", "more"],
            "properties": {
                "channels": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["channel", "subscribers"],
                        "properties": { "channel": reference("Channel"), "subscribers": count },
                    },
                },
                "more": more,
            },
        },
        "History": {
            "type": "object",
            "required": ["events", "more"],
            "properties": { "events": { "type": "array", "items": reference("Kept") }, "more": more },
        },
        "Kept": {
            "type": "object",
            "required": ["id", "channel", "event", "data", "time"],
            "properties": {
                "id": reference("EventId"),
                "channel": reference("Channel"),
                "event": { "type": "string" },
                "data": { "description": "Bytes in it are `{\"$bytes\": \"<base64>\"}`." },
                "time": milliseconds,
                "user": { "allOf": [reference("User")], "description": "Who published it, where a user did." },
            },
        },
        "Present": {
            "type": "object",
            "required": ["users", "count"],
            "properties": {
                "users": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["user"],
                        "properties": {
                            "user": reference("User"),
                            "info": { "description": "What others may know of the user." },
                        },
                    },
                },
                "count": { "type": "integer", "minimum": 0, "description": "How many there are in all." },
            },
        },
        "Connections": {
            "type": "object",
            "required": ["connections"],
            "properties": { "connections": { "type": "array", "items": reference("ConnectionInfo") } },
        },
        "ConnectionInfo": {
            "type": "object",
            "required": ["id", "user", "kind", "since", "channels", "waiting_bytes"],
            "properties": {
                "id": { "type": "string" },
                "user": { "type": ["string", "null"] },
                "kind": { "type": "string", "enum": ["socketio-websocket", "socketio-polling", "websocket", "sse", "poll"] },
                "since": milliseconds,
                "channels": count,
                "waiting_bytes": count,
            },
        },
        "Disconnect": {
            "type": "object",
            "additionalProperties": false,
            "properties": { "revoke": { "type": ["boolean", "null"] } },
            "description": at_most("The body has", Some(users::BODY_BYTES_MAX), "bytes"),
        },
        "SentAway": {
            "type": "object",
            "required": ["connections"],
            "properties": { "connections": { "type": "integer", "minimum": 0, "description": "How many there were." } },
        },
        "Membership": {
            "type": "object",
            "additionalProperties": false,
            "required": ["channel"],
            "properties": { "channel": reference("Channel") },
            "description": at_most("The body has", Some(members::BODY_BYTES_MAX), "bytes"),
        },
        "Reached": {
            "type": "object",
            "required": ["connections"],
            "properties": { "connections": { "type": "integer", "minimum": 0, "description": "The user's connections that it has reached." } },
        },
        "Joined": {
            "type": "object",
            "required": ["channels"],
            "properties": {
                "channels": { "type": "array", "items": reference("Channel"), "maxItems": JOINED_MAX },
            },
        },
        "Mark": {
            "type": "object",
            "additionalProperties": false,
            "required": ["id"],
            "properties": {
                "channel": {
                    "oneOf": [reference("Channel"), { "type": "null" }],
                    "description": "Without it `user:<user>`.",
                },
                "id": { "allOf": [reference("EventId")], "description": "Up to which it is read." },
            },
            "description": at_most("The body has", Some(inbox::BODY_BYTES_MAX), "bytes"),
        },
        "Unread": {
            "type": "object",
            "required": ["unread"],
            "properties": {
                "unread": { "type": "integer", "minimum": 0, "description": "Events of others after the mark." },
                "more": { "type": "boolean", "description": "There are more, or may be. Left out where not." },
                "read": { "allOf": [reference("EventId")], "description": "The mark, where there is one." },
            },
        },
        "Code": { "type": "string", "enum": Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>() },
        "Problem": problem(facts),
    })
}

/// An event to one channel, or to several. Two whole shapes, since that is what generators of clients can read; null counts as left
/// out.
fn event(facts: &Facts<'_>, channel: &Value, channels: &Value, required: &str) -> Value {
    let mut name = text(EVENT_NAME_BYTES_MAX, PRINTABLE, "The event's name");
    name["not"] = json!({ "anyOf": [{ "enum": RESERVED }, { "pattern": "^tidings:" }] });
    let key = text(KEY_BYTES_MAX, PRINTABLE, "Makes sending it again safe");
    let values = at_most(
        "Anything. Bytes are `{\"$bytes\": \"<base64>\"}`. It has",
        facts.attachments,
        "such values",
    );
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [required, "event"],
        "properties": {
            "channel": channel,
            "channels": channels,
            "event": name,
            "data": { "description": values },
            "key": { "oneOf": [key, { "type": "null" }] },
        },
        "description": at_most("The event has", facts.message_bytes, "bytes as JSON"),
    })
}

/// The problem document of all refusals.
fn problem(facts: &Facts<'_>) -> Value {
    let code = if facts.hooks {
        json!({ "anyOf": [reference("Code"), { "type": "string", "description": "The back end's own, with 401 or 403." }] })
    } else {
        reference("Code")
    };
    json!({
        "type": "object",
        "required": ["title", "status", "code", "detail"],
        "properties": {
            "title": { "type": "string", "description": "The phrase of the status." },
            "status": { "type": "integer" },
            "code": code,
            "detail": { "type": "string", "description": "What a person should read." },
        },
        "description": "What went wrong (RFC 9457).",
    })
}

fn text(bytes_max: usize, pattern: &str, what: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": bytes_max,
        "pattern": pattern,
        "description": format!("{what}: 1 to {bytes_max} bytes, no control characters."),
    })
}

fn at_most(what: &str, limit: Option<usize>, unit: &str) -> String {
    match limit {
        Some(limit) => format!("{what} {limit} {unit} at the most."),
        None => format!("{what} any number of {unit}."),
    }
}
