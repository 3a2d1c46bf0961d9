//! The event stream format as the HTML standard has browsers read it, bare `id:` lines included.

/// Reads a stream, however its bytes are cut.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    line: Vec<u8>,
    /// Whether the last byte was a CR: a LF behind it belongs to the same line end.
    after_cr: bool,
    begun: bool,
    data: String,
    name: String,
    /// The id of the message that is being read, which outlives it.
    id: String,
    /// What `retry:` said last, in milliseconds.
    pub(crate) retry_ms: Option<u64>,
}

/// An empty line came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch {
    /// What `lastEventId` now is; empty when none was ever given.
    pub(crate) last_id: String,
    /// The message, if there was one: a bare `id:` has none, and fires nothing.
    pub(crate) message: Option<Message>,
}

/// A message that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The event's type, `message` by default.
    pub(crate) name: String,
    pub(crate) data: String,
}

impl EventStream {
    /// A new connection that goes on where an earlier one was.
    pub(crate) fn after(last_id: &str) -> Self {
        Self {
            id: last_id.to_owned(),
            ..Self::default()
        }
    }

    /// Takes the next bytes and gives what they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Dispatch> {
        let mut done = Vec::new();
        for byte in bytes {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = *byte == b'\r';
                    done.extend(self.line_ended());
                }
                _ => self.line.push(*byte),
            }
        }
        done
    }

    fn line_ended(&mut self) -> Option<Dispatch> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return Some(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Dispatch {
        let mut data = std::mem::take(&mut self.data);
        let name = std::mem::take(&mut self.name);
        let message = data.pop().map(|_| Message {
            name: if name.is_empty() { "message".to_owned() } else { name },
            data,
        });
        Dispatch {
            last_id: self.id.clone(),
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(last_id: &str, name: &str, data: &str) -> Dispatch {
        Dispatch {
            last_id: last_id.to_owned(),
            message: Some(Message {
                name: name.to_owned(),
                data: data.to_owned(),
            }),
        }
    }

    const STREAM: &str = "\u{feff}retry: 1500\r\nid: a-1\r\n\r\n: a comment\ndata: one\ndata:two\r\r\nevent: gap\nid:a-2\ndata: {}\n\nid: a\0b\ndata\n\nevent: none\n\n";

    fn expected() -> Vec<Dispatch> {
        vec![
            Dispatch {
                last_id: "a-1".to_owned(),
                message: None,
            },
            message("a-1", "message", "one\ntwo"),
            message("a-2", "gap", "{}"),
            message("a-2", "message", ""),
            Dispatch {
                last_id: "a-2".to_owned(),
                message: None,
            },
        ]
    }

    #[test]
    fn a_stream_is_read_alike_however_it_is_cut() {
        for size in 1..STREAM.len() {
            let mut stream = EventStream::default();
            let mut seen = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                seen.extend(stream.push(piece));
            }
            assert_eq!(seen, expected(), "in pieces of {size}");
            assert_eq!(stream.retry_ms, Some(1_500));
        }
    }

    #[test]
    fn a_message_without_its_empty_line_is_dropped_with_the_connection() {
        let mut stream = EventStream::after("a-7");
        assert_eq!(stream.push(b"id: a-8\ndata: x\n"), []);
        assert_eq!(
            EventStream::after("a-7").push(b"data: y\n\n"),
            [message("a-7", "message", "y")]
        );
    }
}
