//! A plain closure instead of an async one.

use tidings::{Data, Tidings};

fn main() {
    let io = Tidings::builder().build();
    io.on("log", |Data(text): Data<String>| println!("{text}"));
}
