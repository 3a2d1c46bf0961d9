//! The HTTP routes by which a test looks at the server and acts from outside.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::Query;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tidings::{Broadcast, Io, Socket};
use tokio::sync::Notify;

use crate::events::{User, data_of};
use crate::journal::Journal;
use crate::op::{self, Op};

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: usize,
}

#[derive(Deserialize)]
struct OnSockets {
    nsp: Option<String>,
    #[serde(default, rename = "in")]
    within: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    op: SetOp,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    close: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SetOp {
    Fetch,
    Join,
    Leave,
    Disconnect,
}

pub(crate) fn router(io: &Io, journal: &Arc<Journal>, closing: &Arc<Notify>) -> Router {
    let log = Arc::clone(journal);
    let gates = Arc::clone(journal);
    let closing = Arc::clone(closing);
    let (stats, emitting, acting) = (io.clone(), io.clone(), io.clone());
    Router::new()
        .route(
            "/__log",
            get(async move |Query(After { after }): Query<After>| {
                let entries = log.after(after);
                Json(json!({ "next": after + entries.len(), "entries": entries }))
            }),
        )
        .route(
            "/__stats",
            get(async move || {
                let counts = stats.counts();
                Json(json!({ "connections": counts.connections, "sockets": counts.sockets }))
            }),
        )
        .route(
            "/__emit",
            post(async move |Json(op): Json<Op>| {
                let io = emitting.of(op.nsp.as_deref().unwrap_or("/"));
                Json(op::from_io(&io, &op, &[]).await)
            }),
        )
        .route(
            "/__sockets",
            post(async move |Json(asked): Json<OnSockets>| Json(on_sockets(&acting, asked).await)),
        )
        .route(
            "/__release",
            post(async move || Json(json!({ "released": gates.release() }))),
        )
        .route(
            "/__close",
            post(async move || {
                closing.notify_waiters();
                ([(header::CONNECTION, "close")], Json(json!({}))).into_response()
            }),
        )
}

async fn on_sockets(io: &Io, asked: OnSockets) -> Value {
    let nsp = asked.nsp.as_deref().unwrap_or("/");
    let mut set = io.of(nsp).everyone();
    for room in &asked.within {
        set = set.within(room);
    }
    for room in &asked.except {
        set = set.except(room);
    }
    match asked.op {
        SetOp::Fetch if nsp == "/auth" => return json!({ "sockets": described::<User>(&set).await }),
        SetOp::Fetch => return json!({ "sockets": described::<()>(&set).await }),
        SetOp::Join => {
            for room in &asked.rooms {
                set.join(room).await;
            }
        }
        SetOp::Leave => {
            for room in &asked.rooms {
                set.leave(room).await;
            }
        }
        SetOp::Disconnect => set.disconnect(asked.close).await,
    }
    json!({})
}

async fn described<U: Send + Sync + 'static>(set: &Broadcast) -> Vec<Value> {
    let sockets: Vec<Socket<U>> = set.sockets().await;
    let describe = |socket: &Socket<U>| {
        json!({
            "id": socket.id(),
            "nsp": socket.namespace(),
            "rooms": socket.rooms(),
            "data": data_of(socket),
        })
    };
    sockets.iter().map(describe).collect()
}
