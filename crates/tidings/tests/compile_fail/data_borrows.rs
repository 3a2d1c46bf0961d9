//! Data that borrows from the message, which is gone when the handler awaits.

use tidings::{Data, Tidings};

fn main() {
    let io = Tidings::builder().build();
    io.on("shout", async |Data(text): Data<&str>| Ok(text.to_uppercase()));
}
