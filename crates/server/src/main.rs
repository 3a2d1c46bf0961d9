//! The `tidings` binary.

#[allow(dead_code, unused_imports, reason = "`serve` uses them")]
mod rules;
#[allow(dead_code, unused_imports, reason = "`serve` uses them")]
mod token;

fn main() {}
