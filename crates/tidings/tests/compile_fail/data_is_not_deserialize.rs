//! A payload type without `#[derive(Deserialize)]`.

use tidings::{Data, Tidings};

struct Message {
    text: String,
}

fn main() {
    let io = Tidings::builder().build();
    io.on("message", async |Data(message): Data<Message>| Ok(message.text));
}
