//! Where events are printed: JSON lines for programs, something to read for people. Notes go to stderr.

use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::session::Event;
use crate::cli::remote::harmless;

/// Where events go, and in which form.
pub(super) struct Screen {
    form: Form,
    out: Box<dyn Write + Send>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A JSON object a line.
    Json,
    /// For a terminal, with colours or without.
    Pleasant { colours: bool },
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    channel: &'a str,
    event: &'a str,
    data: &'a RawValue,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

impl Screen {
    /// The process's stdout.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        let form = if stdout.is_terminal() {
            let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            Form::Pleasant { colours }
        } else {
            Form::Json
        };
        Self {
            form,
            out: Box::new(stdout),
        }
    }

    /// Prints an event, and sees to it that it is out.
    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        let line = match self.form {
            Form::Json => json(event)?,
            Form::Pleasant { colours } => pleasant(event, colours),
        };
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    #[cfg(test)]
    pub(super) fn to_memory() -> (Self, std::sync::Arc<std::sync::Mutex<Vec<u8>>>) {
        #[derive(Clone, Default)]
        struct Memory(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Memory {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let memory = Memory::default();
        let screen = Self {
            form: Form::Json,
            out: Box::new(memory.clone()),
        };
        (screen, memory.0)
    }
}

/// Says something about the connection.
pub(super) fn note(text: &str) {
    // There is nobody left to tell when stderr is gone.
    let _ = writeln!(io::stderr(), "{}", harmless(text));
}

fn json(event: &Event) -> io::Result<String> {
    let line = serde_json::to_string(&Line {
        id: event.id.as_deref(),
        channel: &event.channel,
        event: &event.event,
        data: &event.data,
        time: event.time,
        user: event.user.as_deref(),
    })?;
    // Data comes as its publisher wrote it. Between its values may be line ends; in strings they are always escaped.
    Ok(line.replace(['\n', '\r'], " "))
}

fn pleasant(event: &Event, colours: bool) -> String {
    let paint = |code: &str, text: &str| match colours {
        true => format!("\u{1b}[{code}m{}\u{1b}[0m", harmless(text)),
        false => harmless(text),
    };
    let data = event.data.get().replace(['\n', '\r'], " ");
    let mut parts = vec![
        paint("2", &clock(event.time)),
        paint("36", &event.channel),
        paint("1", &event.event),
    ];
    parts.extend(event.user.as_deref().map(|user| paint("33", user)));
    parts.push(harmless(&data));
    parts.join("  ")
}

/// The time of day in UTC.
fn clock(time_ms: u64) -> String {
    let seconds = time_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str, user: Option<&str>) -> Event {
        Event {
            id: Some("k3v9x1qa-1".to_owned()),
            channel: "room:1".to_owned(),
            event: "said".to_owned(),
            data: RawValue::from_string(data.to_owned()).unwrap(),
            time: 1_795_568_584_123,
            user: user.map(str::to_owned),
        }
    }

    #[test]
    fn a_line_is_an_event_and_its_data_as_it_was_published() {
        assert_eq!(
            json(&event("{\"a\":\r\n 1.50}", None)).unwrap(),
            r#"{"id":"k3v9x1qa-1","channel":"room:1","event":"said","data":{"a":   1.50},"time":1795568584123}"#
        );
        assert!(json(&event("1", Some("ann"))).unwrap().ends_with(r#","user":"ann"}"#));
    }

    #[test]
    fn people_read_who_said_what_and_nothing_steers_their_terminal() {
        assert_eq!(
            pleasant(&event("{\"a\":\n1}", Some("ann")), false),
            "01:03:04Z  room:1  said  ann  {\"a\": 1}"
        );
        let painted = pleasant(&event("\"\u{9b}2J\"", None), true);
        assert!(painted.contains("\u{1b}[36mroom:1\u{1b}[0m"), "{painted}");
        assert!(painted.ends_with("\"\\u{9b}2J\""), "{painted}");
    }
}
