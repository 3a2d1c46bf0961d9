//! A `Result` whose error is not `tidings::Error`: `?` inside the handler converts it.

use tidings::{Data, Tidings};

fn main() {
    let io = Tidings::builder().build();
    io.on("parse", async |Data(text): Data<String>| text.parse::<u64>());
}
