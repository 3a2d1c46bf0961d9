//! Notifications: the server speaks, from wherever something happens; here from an HTTP route and from a timer.
//!
//! `cargo run -p example-notifications` listens on 127.0.0.1:3000, or on the address given after `--`. Open it in a browser, then:
//!
//! ```sh
//! curl -X POST http://127.0.0.1:3000/users/ann/notifications -H 'Authorization: Bearer back-end-secret' \
//!   -H 'Content-Type: application/json' -d '{"title":"Your parcel has arrived"}'
//! ```

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidings::{Error, Handshake, Io, Socket, Tidings};

struct User {
    id: String,
}

#[derive(Serialize, Deserialize)]
struct Notification {
    title: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let io = Tidings::builder().build();

    // In place of a session or a JWT: the token is the user's name and its secret.
    io.auth(async |handshake: Handshake| match handshake.token()?.split_once('-') {
        Some((id, "secret")) => Ok(User { id: id.to_owned() }),
        _ => Err(Error::unauthenticated("Authentication failed")),
    });

    // A user may be here with several tabs and devices: the room is what they have in common.
    io.on_connect(async |socket: Socket<User>| socket.join(format!("user:{}", socket.user().id)));

    tokio::spawn(tell_how_many(io.clone()));

    let app = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/users/{user}/notifications", post(notify))
        .with_state(io.clone())
        .merge(io.router());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready http://{}", listener.local_addr()?);
    tidings::serve(listener, app).await
}

/// A route of the application: an `Io` is an axum state like any other. It answers how many devices were there to be told.
async fn notify(
    State(io): State<Io>,
    Path(user): Path<String>,
    headers: HeaderMap,
    Json(notification): Json<Notification>,
) -> Result<Json<serde_json::Value>, StatusCode> {
    // Whoever can call this can write to anybody's screen.
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    if key != Some("Bearer back-end-secret") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let room = io.to(format!("user:{user}"));
    // An awaited `emit` tells the event's id, and what was wrong with the room's name.
    room.emit("notification", &notification)
        .await
        .map_err(|_| StatusCode::BAD_REQUEST)?;
    let devices = room.sockets::<User>().await.len();
    Ok(Json(serde_json::json!({ "devices": devices })))
}

/// A timer: everyone hears how many are here. Volatile, since the next value makes the last worthless.
async fn tell_how_many(io: Io) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    while !io.is_closing() {
        second.tick().await;
        io.volatile().emit("online", io.socket_count());
    }
}
