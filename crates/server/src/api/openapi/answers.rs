//! The answers of an operation: the good one, and each status that the table of codes gives to what it can be refused with.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tidings::Code;

use super::Facts;

/// What can be said to everybody: no credential, and what went wrong here.
const ALWAYS: &[Code] = &[Code::Unauthenticated, Code::Internal];

/// With `--dev`, to who asks by a name that is not this machine's.
const IN_DEV: &[Code] = &[Code::OriginNotAllowed];

/// What else is said to pages and to who shows a user's token.
const TO_USERS: &[Code] = &[
    Code::TokenExpired,
    Code::TokenNotYetValid,
    Code::TokenSignature,
    Code::TokenAlgorithm,
    Code::TokenAudience,
    Code::TokenIssuer,
    Code::OriginNotAllowed,
    // The back end, or where keys come from, can't be asked.
    Code::Unavailable,
];

/// Those of an operation for back ends, which answers a schema.
pub(super) fn for_keys(facts: &Facts<'_>, answer: &str, refusals: &[Code]) -> Value {
    let in_dev = if facts.dev { IN_DEV } else { &[] };
    responses(answer, &[ALWAYS, in_dev, refusals], &[])
}

/// Those of an operation for users too.
pub(super) fn for_users(facts: &Facts<'_>, answer: &str, refusals: &[Code]) -> Value {
    // A back end says no with 401 or 403, and may name it as it likes.
    let named_by_back_end: &[u16] = if facts.hooks { &[401, 403] } else { &[] };
    responses(answer, &[ALWAYS, TO_USERS, refusals], named_by_back_end)
}

fn responses(answer: &str, refusals: &[&[Code]], named_by_back_end: &[u16]) -> Value {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    // In the order of the table.
    for code in Code::ALL {
        if refusals.iter().any(|some| some.contains(code)) {
            by_status.entry(code.status()).or_default().push(code.as_str());
        }
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), ok(answer));
    for (status, codes) in by_status {
        let response = refusal(status, &codes, named_by_back_end.contains(&status));
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn ok(answer: &str) -> Value {
    let schema = super::schemas::reference(answer);
    json!({ "description": "Done.", "content": { "application/json": { "schema": schema } } })
}

fn refusal(status: u16, codes: &[&str], named_by_back_end: bool) -> Value {
    let phrase = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut members = json!({ "status": { "type": "integer", "enum": [status] } });
    let mut description = format!("{}: `{}`", phrase.unwrap_or_default(), codes.join("`, `"));
    if named_by_back_end {
        description += ", or a code of the back end's own";
    } else {
        members["code"] = json!({ "type": "string", "enum": codes });
    }
    let problem = json!({ "allOf": [super::schemas::reference("Problem"), { "properties": members }] });
    let mut response = json!({
        "description": description,
        "content": { "application/problem+json": { "schema": problem } },
    });
    if status == StatusCode::UNAUTHORIZED.as_u16() {
        response["headers"] = json!({ "WWW-Authenticate": { "required": true, "schema": { "type": "string" } } });
    }
    response
}
