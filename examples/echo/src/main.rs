//! The smallest server: it answers every `echo` with what came.
//!
//! Run it with `cargo run -p example-echo` and point a stock `socket.io-client` at <http://127.0.0.1:3000>.

use tidings::{Data, Socket, Tidings};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Tidings::builder().build();

    io.on_connect(async |socket: Socket| {
        socket.on("echo", async |socket: Socket, Data(value): Data<serde_json::Value>| {
            socket.emit("echo", &value);
            Ok(value)
        });
    });

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("ready http://{}", listener.local_addr()?);
    tidings::serve(listener, axum::Router::new().merge(io.router())).await
}
