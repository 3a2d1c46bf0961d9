//! Tidings with its defaults: everyone joins one room, `event` goes to the room.

use std::io::Read;

use serde_json::value::RawValue;
use tidings::{Data, Io, Socket, Tidings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let io = Tidings::builder().build();
    io.on_connect(async |socket: Socket| {
        socket.join("room");
        socket.on("event", async |io: Io, Data(data): Data<Box<RawValue>>| {
            io.to("room").emit("event", &data);
        });
    });

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?);
    exit_with_stdin();
    tidings::serve(listener, io.router()).await
}

/// The load generator holds our stdin open; when it is gone, so are we.
fn exit_with_stdin() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}
