//! A reader of event streams, line by line as the HTML standard says it ("Parsing an event stream", "Interpreting an
//! event stream").

/// What a script is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) last_event_id: String,
}

/// What is left at the end of a stream.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) messages: Vec<Message>,
    pub(crate) last_event_id: String,
    pub(crate) retry_ms: Option<u64>,
    data: String,
    name: String,
    id: String,
}

/// Reads a whole stream.
pub(crate) fn read(stream: &[u8]) -> Client {
    let text = std::str::from_utf8(stream).expect("UTF-8");
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut client = Client::default();
    let mut rest = text;
    // A line that nothing ends is not looked at.
    while let Some(end) = rest.find(['\r', '\n']) {
        client.line(&rest[..end]);
        let ending = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
    client
}

impl Client {
    fn line(&mut self, line: &str) {
        if line.is_empty() {
            self.dispatch();
        } else if line.starts_with(':') {
            // A comment.
        } else if let Some((field, value)) = line.split_once(':') {
            self.field(field, value.strip_prefix(' ').unwrap_or(value));
        } else {
            self.field(line, "");
        }
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        self.last_event_id.clone_from(&self.id);
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        data.pop();
        self.messages.push(Message {
            name: if name.is_empty() { "message".to_owned() } else { name },
            data,
            last_event_id: self.last_event_id.clone(),
        });
    }
}
