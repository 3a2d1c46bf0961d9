//! No protocol: an event is a text message and nothing else. Its room is in the path.

use anyhow::Result;

use super::websocket::{Messages, WebSocket};
use super::{Heard, Listener, Place, Protocol, Speaker, Transport};

/// With `/room/NAME`, where messages go to everyone, and `/echo`.
pub(crate) struct Bare;

/// With Nchan's channels. Nothing there gives answers.
pub(crate) struct NchanWs;

impl Protocol for Bare {
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        let target = format!("/room/{}", place.room);
        Box::new(WebSocket::new(place.address, target, Texts { asks: false }))
    }

    fn asker(&self) -> Option<fn(Place) -> Box<dyn Speaker>> {
        Some(|place| Box::new(WebSocket::new(place.address, "/echo".into(), Texts { asks: true })))
    }
}

impl Protocol for NchanWs {
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        let target = format!("/ws/{}", place.room);
        Box::new(WebSocket::new(place.address, target, Texts { asks: false }))
    }
}

/// One that publishes to Nchan, and gets nothing.
pub(super) fn nchan_publisher(place: Place) -> Box<dyn Speaker> {
    let target = format!("/publish/{}", place.room);
    Box::new(WebSocket::new(place.address, target, Texts { asks: false }))
}

struct Texts {
    asks: bool,
}

impl Messages for Texts {
    fn opened(&mut self, listener: &mut Listener<'_>) {
        listener(Heard::Entered);
    }

    fn take(&mut self, text: &[u8], _: &mut Vec<Vec<u8>>, listener: &mut Listener<'_>) -> Result<()> {
        listener(if self.asks {
            Heard::Answer(Some(text))
        } else {
            Heard::Event(text)
        });
        Ok(())
    }

    fn say(&mut self, data: &[u8]) -> Vec<u8> {
        data.to_vec()
    }
}
