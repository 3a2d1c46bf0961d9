//! `socketioxide` on axum with its defaults: whoever connects joins the room it names, `event` goes to that room, `ask` is
//! answered with what it brings.
//!
//! One runtime thread: with more, socketioxide reorders the events of a socket.

use std::io::Read;

use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", async |socket: SocketRef, Data::<Value>(auth)| {
        let room = auth["room"].as_str().unwrap_or_default().to_owned();
        socket.join(room.clone());
        socket.on("event", move |io: SocketIo, Data::<Value>(data)| {
            let room = room.clone();
            async move {
                if let Err(error) = io.to(room).emit("event", &data).await {
                    eprintln!("socketioxide: {error}");
                }
            }
        });
        socket.on("ask", async |Data::<Value>(data), ack: AckSender| {
            if let Err(error) = ack.send(&data) {
                eprintln!("socketioxide: {error}");
            }
        });
    });

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?);
    exit_with_stdin();
    axum::serve(tap_nodelay(listener), axum::Router::new().layer(layer)).await
}

/// The load generator holds our stdin open; when it is gone, so are we.
fn exit_with_stdin() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
}

/// Without `TCP_NODELAY` latency would measure Nagle's algorithm.
fn tap_nodelay(listener: tokio::net::TcpListener) -> impl axum::serve::Listener<Addr = std::net::SocketAddr> {
    use axum::serve::ListenerExt;
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("socketioxide: {error}");
        }
    })
}
