//! `tidings publish`: one event, or with `-` one for each line of stdin.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::remote::{Remote, Server, Trouble, body, send, unreachable};
use super::{Exit, Failure};

/// How who publishes shows who it is.
const CREDENTIAL: &str = "pass the server's API key, `key` in its `[api]`, with --api-key or TIDINGS_API_KEY";

/// Lines that wait while another is being published.
const LINES_MAX: usize = 16;

/// `tidings publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// The event's name
    #[arg(value_name = "EVENT")]
    event: String,
    /// The event's data, as JSON; `-` publishes each line of stdin
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    json: String,
    /// Publish the same content under this key once, however often it is tried in five minutes
    ///
    /// With `-` each line has a key of its own: this one and the line's number.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A key of the server's API
    #[arg(long, value_name = "KEY", env = "TIDINGS_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    #[command(flatten)]
    server: Server,
}

/// What is sent.
#[derive(Serialize)]
struct Draft<'a> {
    channel: &'a str,
    event: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// What is answered, and printed.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    /// None in a channel with a pace, which may not pass each event on.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    duplicate: bool,
    durability: String,
}

/// Publishes what was asked for.
///
/// # Errors
/// When what should be JSON is not, the server is not there, or says no.
pub(crate) fn publish(options: &Publish) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(run(options))
}

fn failed(message: String) -> Failure {
    Failure {
        exit: Exit::Failed,
        message,
    }
}

async fn run(options: &Publish) -> Result<(), Failure> {
    // A variable that is set to nothing is as good as none.
    let Some(api_key) = options.api_key.as_ref().filter(|key| !key.is_empty()) else {
        return Err(Failure {
            exit: Exit::Usage,
            message: format!("there is no key to publish with: {CREDENTIAL}; `tidings serve --dev` prints one"),
        });
    };
    let mut publisher = Publisher {
        options,
        remote: Remote::new(&options.server, Some(api_key))?,
        sender: None,
    };
    if options.json != "-" {
        let data = parse(&options.json).map_err(|problem| Failure {
            exit: Exit::Usage,
            message: format!("{problem}; a text needs quotes of its own: '\"hello\"'"),
        })?;
        let receipt = publisher.publish(data, options.key.as_deref()).await?;
        return publisher.print(&receipt);
    }
    publisher.publish_lines().await
}

/// JSON as it was given.
fn parse(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text.trim()).map_err(|error| format!("the data is no JSON: {error}"))
}

/// The lines of stdin, read on a thread of their own.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Publisher<'a> {
    options: &'a Publish,
    remote: Remote,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Publisher<'_> {
    async fn publish_lines(&mut self) -> Result<(), Failure> {
        let mut lines = lines();
        let mut number = 0;
        while let Some(line) = lines.recv().await {
            number += 1;
            let at_line = |failure: Failure| Failure {
                message: format!("line {number}: {}", failure.message),
                ..failure
            };
            let line = line.map_err(|error| at_line(failed(error.to_string())))?;
            if line.trim().is_empty() {
                continue;
            }
            let data = parse(&line).map_err(|problem| at_line(failed(problem)))?;
            let key = self.options.key.as_ref().map(|key| format!("{key}:{number}"));
            let receipt = self.publish(data, key.as_deref()).await.map_err(at_line)?;
            self.print(&receipt)?;
        }
        Ok(())
    }

    async fn publish(&mut self, data: &RawValue, key: Option<&str>) -> Result<Receipt, Failure> {
        let Publish { channel, event, .. } = self.options;
        let draft = Draft {
            channel,
            event,
            data,
            key,
        };
        let json = serde_json::to_vec(&draft).map_err(|error| failed(error.to_string()))?;
        let answer = self.ask(json.into()).await.map_err(|trouble| match trouble {
            Trouble::Unreachable(problem) => unreachable(&self.remote, &problem),
            Trouble::Refused(refusal) => refusal.failure(CREDENTIAL),
            Trouble::Lost(problem) => {
                let hint = match key {
                    Some(_) => "the same --key again is safe",
                    None => "with a --key it could be sent again safely",
                };
                Failure {
                    exit: Exit::Unreachable,
                    message: format!("{problem}: it may have been published, or not; {hint}"),
                }
            }
        })?;
        serde_json::from_slice(&answer)
            .map_err(|_| failed(format!("{} answered something else than a receipt", self.remote.url())))
    }

    async fn ask(&mut self, json: Bytes) -> Result<Bytes, Trouble> {
        let mut kept = self.sender.take();
        let is_there = match &mut kept {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        let mut sender = match kept.filter(|_| is_there) {
            Some(sender) => sender,
            None => self.remote.http().await?,
        };
        let request = self
            .remote
            .request(Method::POST, "/api/v1/publish")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(json))
            .map_err(|error| Trouble::Lost(error.to_string()))?;
        let answer = send(&mut sender, request, Duration::ZERO).await?;
        let answer = body(answer).await?;
        self.sender = Some(sender);
        Ok(answer)
    }

    fn print(&self, receipt: &Receipt) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        let line = if stdout.is_terminal() {
            pleasant(receipt, &self.options.channel)
        } else {
            serde_json::to_string(receipt).map_err(|error| failed(error.to_string()))?
        };
        writeln!(stdout, "{line}").map_err(|error| failed(format!("the answer can't be printed: {error}")))
    }
}

/// A receipt for people.
fn pleasant(receipt: &Receipt, channel: &str) -> String {
    let Receipt {
        id,
        duplicate,
        durability,
    } = receipt;
    let Some(id) = id else {
        return format!("taken: {channel} passes on the latest event, at its pace");
    };
    let what = if *duplicate { "already there" } else { "published" };
    let survives = match &**durability {
        "memory" => "in memory, gone when the server ends",
        "process" => "kept, also when the server is killed",
        "power" => "kept, also when power is lost",
        other => other,
    };
    format!("{what}: {id} in {channel} ({survives})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_it_means() {
        let receipt = |duplicate, durability: &str| Receipt {
            id: Some("k3v9x1qa-1".to_owned()),
            duplicate,
            durability: durability.to_owned(),
        };
        assert_eq!(
            pleasant(&receipt(false, "process"), "room:1"),
            "published: k3v9x1qa-1 in room:1 (kept, also when the server is killed)"
        );
        assert!(pleasant(&receipt(true, "memory"), "room:1").starts_with("already there: k3v9x1qa-1"));
    }

    #[test]
    fn data_is_sent_as_it_was_given() {
        let draft = Draft {
            channel: "c",
            event: "e",
            data: parse(" {\"a\": 1.50} \n").unwrap(),
            key: None,
        };
        let json = serde_json::to_string(&draft).unwrap();
        assert_eq!(json, r#"{"channel":"c","event":"e","data":{"a": 1.50}}"#);
        assert!(parse("hello").is_err() && parse("").is_err() && parse("1 2").is_err());
    }
}
