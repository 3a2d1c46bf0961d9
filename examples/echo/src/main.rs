//! The smallest server: it answers every `echo` with what came.
//!
//! Run it with `cargo run -p example-echo` and point a stock `socket.io-client` at <http://127.0.0.1:3000>; another address goes
//! after `--`.

use tidings::{Data, Socket, Tidings};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let io = Tidings::builder().build();

    io.on_connect(async |socket: Socket| {
        socket.on("echo", async |socket: Socket, Data(value): Data<serde_json::Value>| {
            socket.emit("echo", &value);
            Ok(value)
        });
    });

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready http://{}", listener.local_addr()?);
    tidings::serve(listener, axum::Router::new().merge(io.router())).await
}
