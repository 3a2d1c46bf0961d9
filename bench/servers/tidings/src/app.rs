//! Tidings with its defaults: whoever connects joins the room it names, `event` goes to that room, `ask` is answered with
//! what it brings.

use std::io::Read;

use axum::Router;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::{Data, Io, Socket, Tidings};

#[derive(Deserialize)]
struct Auth {
    room: String,
}

/// Serves it, with `more` beside it, until the load generator is gone.
pub(crate) async fn serve(more: Router) -> std::io::Result<()> {
    let io = Tidings::builder().build();
    io.on_connect(async |socket: Socket| {
        let Ok(Auth { room }) = socket.handshake().auth() else {
            return;
        };
        socket.join(&room);
        socket.on("event", move |io: Io, Data(data): Data<Box<RawValue>>| {
            io.to(&room).emit("event", &data);
            std::future::ready(())
        });
        socket.on("ask", async |Data(data): Data<Box<RawValue>>| Ok(data));
    });

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?);
    exit_with_stdin();
    tidings::serve(listener, io.router().merge(more)).await
}

/// The load generator holds our stdin open; when it is gone, so are we.
fn exit_with_stdin() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}
