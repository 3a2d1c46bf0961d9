//! Over `/poll`, where each answer says where the next one begins.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use serde::Deserialize;

use super::End;
use super::session::{Event, Gap, Session};
use crate::cli::remote::{Remote, Trouble, body, send};

/// How long the server waits for something to answer with.
const WAIT_S: u64 = 25;

#[derive(Deserialize)]
struct Answer {
    events: Vec<Event>,
    next: String,
    #[serde(default)]
    gaps: Vec<String>,
}

/// Polls until the connection ends.
///
/// # Errors
/// Why it did.
pub(super) async fn read(remote: &Remote, session: &mut Session) -> Result<(), End> {
    let mut sender = remote.http().await?;
    let mut is_first = true;
    loop {
        let since = session.since();
        // The first answer comes at once, so that one sees that one is connected. Without `since` it does so anyway.
        let wait_s = match std::mem::take(&mut is_first) {
            true if since.is_some() => 0,
            _ => WAIT_S,
        };
        let wait = wait_s.to_string();
        let mut more = vec![("wait", &*wait)];
        more.extend(since.as_deref().map(|since| ("since", since)));
        let path = format!("/poll?{}", query(session.channels(), &more));
        let request = remote
            .request(Method::GET, &path)
            .body(Full::new(Bytes::new()))
            .map_err(|error| Trouble::Lost(error.to_string()))?;
        sender.ready().await.map_err(|error| Trouble::Lost(error.to_string()))?;
        let answer = send(&mut sender, request, Duration::from_secs(wait_s)).await?;
        let answer: Answer = serde_json::from_slice(&body(answer).await?).map_err(|error| {
            Trouble::Lost(format!(
                "the server answered something that is no poll's answer: {error}"
            ))
        })?;
        session.entered(&remote.url(), "poll");
        if !answer.gaps.is_empty() {
            session.gap(&Gap {
                channels: answer.gaps,
                next: answer.next.clone(),
            });
        }
        for event in &answer.events {
            session.event(event)?;
        }
        session.moved(&answer.next);
    }
}

/// A query that names channels, and more.
pub(super) fn query(channels: &[String], more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for channel in channels {
        query.append_pair("channel", channel);
    }
    for (name, value) in more {
        query.append_pair(name, value);
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_written_as_in_a_form() {
        let channels = ["room:1".to_owned(), "a&b=c d".to_owned()];
        assert_eq!(
            query(&channels, &[("wait", "0")]),
            "channel=room%3A1&channel=a%26b%3Dc+d&wait=0"
        );
    }
}
