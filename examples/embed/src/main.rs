//! Tidings in an axum app that is already there: its state, its routes and its middleware stay as they are.
//!
//! `cargo run -p example-embed` listens on 127.0.0.1:3000, or on the address given after `--`, and ends in order with Ctrl-C.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tidings::{Data, Io, Result, Socket, Tidings};

#[derive(Clone, Serialize, Deserialize)]
struct Todo {
    text: String,
}

/// What the app had before.
#[derive(Clone, Default)]
struct Todos {
    list: Arc<Mutex<Vec<Todo>>>,
    requests: Arc<AtomicU64>,
}

impl Todos {
    fn add(&self, todo: Todo) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(todo);
    }

    fn all(&self) -> Vec<Todo> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The app's state gets one field more.
#[derive(Clone)]
struct App {
    todos: Todos,
    io: Io,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let todos = Todos::default();

    // The same state for handlers of events.
    let io = Tidings::builder().state(todos.clone()).build();
    io.on_connect(async |socket: Socket| {
        socket.emit("connections", socket.io().socket_count());
    });
    io.on("todo:add", add_by_event);

    let app = Router::new()
        .route("/todos", get(list).post(add_by_request))
        .with_state(App {
            todos: todos.clone(),
            io: io.clone(),
        })
        .merge(io.router())
        // Around everything, the handshakes and polls of Socket.IO too.
        .layer(from_fn_with_state(todos, count_requests));

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready http://{}", listener.local_addr()?);
    // axum's own server does as well; `tidings::serve` adds limits on request heads and tells the clients' addresses by itself.
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            // Without signals there is no Ctrl-C to wait for; then this is the end.
            let _ = tokio::signal::ctrl_c().await;
            // Clients come back by themselves, to the next process.
            io.close().await;
        })
        .await
}

async fn list(State(app): State<App>) -> Json<Vec<Todo>> {
    Json(app.todos.all())
}

/// A change over HTTP reaches everyone who has a page open.
async fn add_by_request(State(app): State<App>, Json(todo): Json<Todo>) {
    app.todos.add(todo.clone());
    app.io.emit("todo:added", &todo);
}

/// The same by an event: all others hear of it, who asked has the ack.
async fn add_by_event(socket: Socket, Data(todo): Data<Todo>, todos: tidings::State<Todos>) -> Result<usize> {
    todos.0.add(todo.clone());
    socket.broadcast().emit("todo:added", &todo);
    Ok(todos.0.all().len())
}

/// A middleware as any app has some.
async fn count_requests(State(todos): State<Todos>, request: Request, next: Next) -> Response {
    let number = todos.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-request-number", number.into());
    response
}
