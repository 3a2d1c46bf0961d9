//! A chat: who comes says who they are, gets what is said in their rooms, and what they say is saved and goes to the room.
//!
//! `cargo run -p example-chat` listens on 127.0.0.1:3000, or on the address given after `--`. A stock client:
//!
//! ```js
//! const socket = io("http://127.0.0.1:3000", { auth: { token: "ann-secret" } });
//! socket.on("chat:message", (message) => console.log(message.from, message.content));
//! socket.emit("chat:message", { roomId: "1", content: "Hello!" });
//! ```

mod saved;

use serde::Deserialize;
use tidings::{Data, Error, Handshake, Io, Result, Socket, State, Tidings};

use saved::{Message, Saved};

/// What `io.auth` finds out about a client; every handler can have it.
struct User {
    id: String,
}

/// What a client says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    room_id: String,
    content: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    // Pages from elsewhere are refused; the front end's development server is let in.
    let client_url = std::env::var("CLIENT_URL").unwrap_or_else(|_| "http://localhost:5173".to_owned());
    let io = Tidings::builder()
        .allowed_origin(client_url)
        .state(Saved::default())
        .build();
    set_up(&io);

    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready http://{}", listener.local_addr()?);
    tidings::serve(listener, axum::Router::new().merge(io.router())).await
}

fn set_up(io: &Io) {
    // Nobody comes in without a token that counts; the client's `connect_error` has the message.
    io.auth(async |handshake: Handshake| verify_token(handshake.token()?).await);

    io.on_connect(async |socket: Socket<User>| {
        let user = socket.user();
        println!("{} connected", user.id);
        // One room for all devices of a user, and one for each room the user is a member of.
        socket.join(format!("user:{}", user.id));
        for room in rooms_of(user) {
            socket.join(format!("room:{room}"));
        }
        socket.on_disconnect(async |socket, reason| println!("{} disconnected: {reason}", socket.user().id));
    });

    // These are registered once for all sockets; `socket.on` inside `on_connect` would do as well.
    io.on("chat:message", say);
    io.on(
        "chat:history",
        async |socket: Socket<User>, Data(room): Data<String>, State(saved): State<Saved>| {
            may_enter(&socket, &room)?;
            Ok(saved.newest(&room))
        },
    );
}

/// Saves first, tells the room then: who reads a message can rely on its being there. The client's ack is the message's number.
async fn say(socket: Socket<User>, io: Io, Data(said): Data<Said>, State(saved): State<Saved>) -> Result<u64> {
    may_enter(&socket, &said.room_id)?;
    if said.content.trim().is_empty() {
        return Err(Error::new("there is nothing to say in this message"));
    }
    let message: Message = saved.add(said.room_id, socket.user().id.clone(), said.content).await?;
    // All in the room get it, who said it too.
    io.to(format!("room:{}", message.room_id))
        .emit("chat:message", &message);
    Ok(message.id)
}

fn may_enter(socket: &Socket<User>, room: &str) -> Result<()> {
    match socket.is_in(&format!("room:{room}")) {
        true => Ok(()),
        false => Err(Error::forbidden("you are not in this room")),
    }
}

/// In place of a JWT's signature or a session in a database.
async fn verify_token(token: &str) -> Result<User> {
    let id = match token {
        "ann-secret" => "ann",
        "bob-secret" => "bob",
        _ => return Err(Error::unauthenticated("Authentication failed")),
    };
    Ok(User { id: id.to_owned() })
}

/// In place of a table of members.
fn rooms_of(user: &User) -> &'static [&'static str] {
    match user.id.as_str() {
        "ann" => &["1", "2"],
        _ => &["1"],
    }
}
