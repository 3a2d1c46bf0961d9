//! What a server said no with.

use http::StatusCode;
use serde::Deserialize;

use super::harmless;
use crate::cli::{Exit, Failure};

/// The server's no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Refusal {
    /// One of the codes of PRODUCT, or what stands for one.
    pub(in crate::cli) code: String,
    /// The reason, for people.
    pub(in crate::cli) detail: String,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Of an answer that is no problem document, what is shown at the most.
const LINE_BYTES_MAX: usize = 200;

impl Refusal {
    /// That of an answer over HTTP: a problem document, unless something else answered.
    pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(Problem { code, detail }) => Self { code, detail },
            Err(_) => Self {
                // Its own word, where that is one line: what speaks TLS says so, for one.
                code: match status.as_u16() {
                    429 | 502..=504 => "unavailable".to_owned(),
                    _ => format!("HTTP {}", status.as_u16()),
                },
                detail: match std::str::from_utf8(body).map(str::trim) {
                    Ok(line) if (1..=LINE_BYTES_MAX).contains(&line.len()) && !line.contains(['\n', '<']) => {
                        line.to_owned()
                    }
                    _ => format!(
                        "{} was answered, and not by a server of Tidings",
                        status.canonical_reason().unwrap_or("something unknown")
                    ),
                },
            },
        }
    }

    /// Whether it may be otherwise in a moment.
    pub(in crate::cli) fn passes(&self) -> bool {
        matches!(
            &*self.code,
            "draining" | "unavailable" | "too_many_connections" | "rate_limited" | "store_full" | "internal"
        )
    }

    /// What the command says, in one line with a hint, and how it ends. `credential` says how who asks can show who it is.
    pub(in crate::cli) fn failure(&self, credential: &str) -> Failure {
        let hint = match &*self.code {
            "unauthenticated" | "token_signature" | "token_algorithm" => credential,
            "token_expired" | "token_not_yet_valid" => "take a new token: `tidings token` makes one",
            "token_audience" => "take a token with the server's `audience`",
            "token_issuer" => "take a token of the server's `issuer`",
            "forbidden" => "the server's `[[channels]]` rules, and what the token or the key grants, decide",
            "key_conflict" => "choose another --key for another event",
            "invalid_id" => "take an id as an event has it, such as k3v9x1qa-42",
            "draining" | "unavailable" | "store_full" | "rate_limited" | "too_many_connections" => "try again later",
            "not_found" | "method_not_allowed" => "is --url the server's?",
            _ => "",
        };
        let (code, detail) = (harmless(&self.code), harmless(&self.detail));
        let message = match hint {
            "" => format!("refused: {code}: {detail}"),
            hint => format!("refused: {code}: {detail}; {hint}"),
        };
        Failure {
            exit: Exit::Refused,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_is_read_and_anything_else_named() {
        let body = br#"{"title":"Forbidden","status":403,"code":"forbidden","detail":"you may not"}"#;
        let refusal = Refusal::of_answer(StatusCode::FORBIDDEN, body);
        assert_eq!((&*refusal.code, &*refusal.detail), ("forbidden", "you may not"));
        let failure = refusal.failure("");
        assert_eq!(failure.exit, Exit::Refused);
        assert!(
            failure
                .message
                .starts_with("refused: forbidden: you may not; the server's")
        );
        for (status, code, passes) in [
            (404, "HTTP 404", false),
            (502, "unavailable", true),
            (401, "HTTP 401", false),
        ] {
            let refusal = Refusal::of_answer(StatusCode::from_u16(status).unwrap(), b"<html>");
            assert_eq!((&*refusal.code, refusal.passes()), (code, passes));
        }
    }

    #[test]
    fn who_is_not_known_is_told_how_to_be() {
        let refusal = Refusal {
            code: "unauthenticated".to_owned(),
            detail: "no token\u{1b}".to_owned(),
        };
        let message = refusal.failure("pass one with --token").message;
        assert_eq!(
            message,
            "refused: unauthenticated: no token\\u{1b}; pass one with --token"
        );
    }
}
