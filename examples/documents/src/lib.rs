//! The Rust code in the repository's documents, compiled as doc tests, so that it can't go stale.

/// The README's chat server.
#[doc = include_str!("../../../README.md")]
pub mod readme {}

/// The guide from Node to Rust.
#[doc = include_str!("../../../docs/guide.md")]
pub mod guide {}

/// Channels on every transport.
#[doc = include_str!("../../../docs/channels.md")]
pub mod channels {}
