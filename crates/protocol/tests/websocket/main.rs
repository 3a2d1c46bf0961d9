//! WebSocket frames: the rules one by one, then any stream under any split, then against tungstenite.

mod client;
mod differential;
mod peer;
mod properties;
mod rules;
mod server;
