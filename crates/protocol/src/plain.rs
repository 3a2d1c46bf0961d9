//! stub
#![allow(missing_docs)]
use std::borrow::Cow;
#[derive(Clone, Copy)]
pub struct RequestId<'a>(&'a str);
impl<'a> RequestId<'a> {
    pub fn of_json(json: &'a str) -> Option<Self> {
        Some(Self(json))
    }
    pub fn to_json(self) -> Box<str> {
        self.0.into()
    }
}
pub struct Request<'a> {
    pub id: Option<RequestId<'a>>,
    pub kind: Kind<'a>,
}
pub struct Error<'a> {
    pub id: Option<RequestId<'a>>,
    pub code: &'static str,
    pub message: String,
}
pub enum Kind<'a> {
    Subscribe {
        channels: Vec<Cow<'a, str>>,
        since: Option<Cow<'a, str>>,
    },
    Unsubscribe {
        channels: Vec<Cow<'a, str>>,
    },
    Publish {
        channel: Cow<'a, str>,
        event: Cow<'a, str>,
        data: &'a str,
        key: Option<Cow<'a, str>>,
        volatile: bool,
    },
    History {
        channel: Cow<'a, str>,
        before: Option<Cow<'a, str>>,
        after: Option<Cow<'a, str>>,
        limit: Option<u64>,
    },
    Presence {
        channel: Cow<'a, str>,
        after: Option<Cow<'a, str>>,
        limit: Option<u64>,
    },
    Read {
        channel: Cow<'a, str>,
        id: Cow<'a, str>,
    },
    Unread {
        channel: Cow<'a, str>,
    },
    Auth {
        token: Cow<'a, str>,
    },
    Ping,
}
pub fn parse(_: &str) -> Result<Request<'_>, Error<'_>> {
    unimplemented!()
}
pub fn request_id(_: &str) -> Option<RequestId<'_>> {
    None
}
pub fn ok(_: RequestId<'_>, _: &str) -> Vec<u8> {
    unimplemented!()
}
pub fn error(_: Option<RequestId<'_>>, _: &str, _: &str) -> Vec<u8> {
    unimplemented!()
}
pub fn welcome(_: Option<&str>, _: u64) -> Vec<u8> {
    unimplemented!()
}
pub fn gap(_: &[&str], _: &str) -> Vec<u8> {
    unimplemented!()
}
pub fn expiring() -> Vec<u8> {
    unimplemented!()
}
