//! Tidings' `/ws`.

use anyhow::{Result, ensure};

use super::websocket::{Messages, WebSocket};
use super::{Heard, Listener, Place, Protocol, Speaker, Transport};
use crate::note::position;
use crate::token;

/// Before an event's data, on every transport.
pub(super) const BEFORE_DATA: &[u8] = br#","data":"#;

/// The channel that is the room.
pub(super) fn channel(place: Place) -> String {
    format!("room:{}", place.room)
}

/// With `publish` and `subscribe`; a question is a `ping`, whose answer brings nothing back.
pub(crate) struct TidingsWs;

impl Protocol for TidingsWs {
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        Box::new(speaker(place, Role::Member))
    }

    fn asker(&self) -> Option<fn(Place) -> Box<dyn Speaker>> {
        Some(|place| Box::new(speaker(place, Role::Asker)))
    }

    fn has_channels(&self) -> bool {
        true
    }

    fn member_with_token(&self, place: Place, user: usize) -> Box<dyn Speaker> {
        Box::new(speaker(place, Role::Member).with_token(&token::token(user)))
    }
}

/// One that only publishes.
pub(super) fn publisher(place: Place) -> Box<dyn Speaker> {
    Box::new(speaker(place, Role::Publisher))
}

fn speaker(place: Place, role: Role) -> WebSocket<Requests> {
    let requests = Requests {
        channel: channel(place),
        others: place.channels - 1,
        data_bytes: place.data_bytes,
        role,
        questions: 0,
        stage: Stage::Greeting,
    };
    WebSocket::new(place.address, "/ws".into(), requests)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Member,
    Publisher,
    Asker,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Subscribing,
    Entered,
}

struct Requests {
    channel: String,
    /// How many further channels a member is subscribed to.
    others: usize,
    data_bytes: usize,
    role: Role,
    /// How many were asked; each one's number is its id.
    questions: u64,
    stage: Stage,
}

impl Messages for Requests {
    fn opened(&mut self, _: &mut Listener<'_>) {}

    fn take(&mut self, text: &[u8], replies: &mut Vec<Vec<u8>>, listener: &mut Listener<'_>) -> Result<()> {
        let got = || String::from_utf8_lossy(text);
        match (self.stage, self.role) {
            (Stage::Greeting, role) => {
                ensure!(text.starts_with(br#"{"type":"welcome""#), "got {:?}", got());
                if role == Role::Member {
                    let others = (0..self.others).map(|other| format!(r#","{}.{other}""#, self.channel));
                    let others: String = others.collect();
                    let subscribe = format!(
                        r#"{{"type":"subscribe","id":0,"channels":["{}"{others}]}}"#,
                        self.channel
                    );
                    replies.push(subscribe.into_bytes());
                    self.stage = Stage::Subscribing;
                } else {
                    self.stage = Stage::Entered;
                    listener(Heard::Entered);
                }
            }
            (Stage::Subscribing, _) => {
                ensure!(text.starts_with(br#"{"type":"ok","id":0,"#), "got {:?}", got());
                self.stage = Stage::Entered;
                listener(Heard::Entered);
            }
            (Stage::Entered, Role::Asker) => {
                let answer = format!(r#"{{"type":"ok","id":{},"#, self.questions);
                ensure!(text.starts_with(answer.as_bytes()), "got {:?}", got());
                listener(Heard::Answer(None));
            }
            (Stage::Entered, _) => listener(Heard::Event(event_data(text, self.data_bytes))),
        }
        Ok(())
    }

    fn say(&mut self, data: &[u8]) -> Vec<u8> {
        if self.role == Role::Asker {
            self.questions += 1;
            return format!(r#"{{"type":"ping","id":{}}}"#, self.questions).into_bytes();
        }
        let begin = format!(
            r#"{{"type":"publish","channel":"{}","event":"event","data":"#,
            self.channel
        );
        [begin.as_bytes(), data, b"}"].concat()
    }
}

/// The data in the text of an event, or all of a text that isn't one.
pub(super) fn event_data(text: &[u8], data_bytes: usize) -> &[u8] {
    let begin = position(text, BEFORE_DATA).map(|at| at + BEFORE_DATA.len());
    begin
        .and_then(|begin| text.get(begin..begin + data_bytes))
        .unwrap_or(text)
}
