//! A bare value instead of `Data(value): Data<T>`.

use tidings::{Socket, Tidings};

fn main() {
    let io = Tidings::builder().build();
    io.on("message", async |socket: Socket, text: String| {
        socket.emit("message", &text);
    });
}
