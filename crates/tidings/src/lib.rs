//! Tidings: a real-time server as a library. Publish once; every subscriber gets it, in order.
//!
//! Stock `socket.io-client` connects as it is, over WebSocket and HTTP long-polling; the server is part of an axum app.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use tidings::{Data, Handshake, Io, Result, Socket, Tidings};
//!
//! struct User { id: String }
//!
//! #[derive(Serialize, Deserialize)]
//! struct ChatMessage { room: u64, text: String }
//!
//! async fn verify_token(token: &str) -> Result<User> {
//!     // Check a JWT, ask a database …
//!     Ok(User { id: token.to_owned() })
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = Tidings::builder().allowed_origin("https://app.example").build();
//!
//!     io.auth(async |handshake: Handshake| verify_token(handshake.token()?).await);
//!
//!     io.on_connect(async |socket: Socket<User>| {
//!         socket.join(format!("user:{}", socket.user().id));
//!
//!         socket.on("room:join", async |socket: Socket<User>, Data(room): Data<u64>| {
//!             socket.join(format!("room:{room}"));
//!             Ok(())
//!         });
//!         socket.on("chat:message", async |io: Io, Data(message): Data<ChatMessage>| {
//!             io.to(format!("room:{}", message.room)).emit("chat:message", &message);
//!             Ok("sent")
//!         });
//!     });
//!
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     tidings::serve(listener, axum::Router::new().merge(io.router())).await
//! }
//! ```
//!
//! Begin with [`Io`] (also called [`Tidings`]), [`Socket`] and [`Handler`]. How it is built is told in the repository's
//! ARCHITECTURE.md.

mod access;
mod builder;
mod channel;
mod client_files;
mod connection;
mod connections;
mod credential;
mod error;
mod event;
mod handshake;
mod hub;
mod id;
mod inbox;
mod limits;
mod log;
mod meters;
mod network;
mod occupancy;
mod origin;
mod outbox;
mod pacing;
mod plain;
mod presence;
mod random;
mod refusals;
mod serve;
mod server;
mod shard;
mod slow;
mod socketio;
mod tight;
mod transport;
mod wire;

pub use access::{Action, Grant, Identity};
pub use builder::{Builder, StartError, Transports};
pub use channel::CHANNEL_BYTES_MAX;
pub use connections::{ConnectionId, ConnectionInfo, ConnectionKind, Connections};
pub use error::{Code, Error, Result};
pub use event::{EVENT_NAME_BYTES_MAX, check_name as check_event_name};
pub use handshake::Handshake;
pub use id::{Epoch, EventId, InvalidId};
pub use inbox::{Inbox, Unread};
pub use limits::Limits;
pub use log::retention::Retention;
pub use log::store::StoreError;
pub use log::{Durability, Receipt};
pub use meters::{Histogram, Metrics};
pub use occupancy::{ChannelsPage, Occupied};
pub use pacing::{Edge, Paced, Pacing};
pub use plain::history::{HistoryPage, HistoryQuery, Published};
pub use plain::sse::Sse;
pub use presence::{Presence, PresencePage, PresentUser};
pub use refusals::Refused;
pub use serve::{Listener, Serve, serve};
#[cfg(feature = "tls")]
pub use serve::{Tls, TlsError};
pub use server::Counts;
pub use slow::Slow;
pub use socketio::ack::{Ack, AckError, AckReply, BroadcastAckError};
pub use socketio::arguments::{Args, Binary, Emit, Raw};
pub use socketio::broadcast::{Applied, Broadcast, Emitted};
pub use socketio::extract::{CurrentUser, Data, Event, EventContext, FromEvent, State};
pub use socketio::handler::{Answer, Handler};
pub use socketio::io::{Close, Io};
pub use socketio::reason::Reason;
pub use socketio::recovery::Recovery;
pub use socketio::socket::{AckFailed, Socket, WithTimeout};
pub use transport::http::{Request, RequestDecision};

/// The name under which a server is set up: `Tidings::builder()`.
pub type Tidings = Io;
