//! The server API: what back ends publish with and look at.

pub(crate) mod keys;
