//! The chat server of the documentation, as an application would write it: that it compiles is the test of the API's shape;
//! that it runs, the test of its meaning.

mod support;

use serde::{Deserialize, Serialize};
use support::Client;
use tidings::{Data, Error, Handshake, Io, Result, Socket, Tidings};

struct User {
    id: String,
}

#[derive(Deserialize)]
struct RoomId(u64);

impl RoomId {
    fn channel(&self) -> String {
        format!("room:{}", self.0)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChatMessage {
    room_id: u64,
    content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SavedMessage {
    id: u64,
    room_id: u64,
    from: String,
    content: String,
}

async fn verify_token(token: &str) -> Result<User> {
    match token.strip_prefix("token-of-") {
        Some(id) => Ok(User { id: id.to_owned() }),
        None => Err(Error::unauthenticated("Authentication failed")),
    }
}

async fn may_enter(user: &User, room: &RoomId) -> Result<()> {
    match room.0 {
        13 => Err(Error::forbidden(format!("room 13 is not for {}", user.id))),
        _ => Ok(()),
    }
}

/// A database answers with an error of its own, which converts with `?`.
async fn save_message(user: &User, message: ChatMessage) -> std::io::Result<SavedMessage> {
    Ok(SavedMessage {
        id: 1,
        room_id: message.room_id,
        from: user.id.clone(),
        content: message.content,
    })
}

fn server(client_url: &str) -> Io {
    let io = Tidings::builder().allowed_origin(client_url).build();

    io.auth(async |handshake: Handshake| verify_token(handshake.token()?).await);

    io.on_connect(async |socket: Socket<User>| {
        socket.join(format!("user:{}", socket.user().id));
        socket.on("room:join", async |socket: Socket<User>, Data(room): Data<RoomId>| {
            may_enter(socket.user(), &room).await?;
            socket.join(room.channel());
            Ok(())
        });
        socket.on(
            "chat:message",
            async |socket: Socket<User>, io: Io, Data(msg): Data<ChatMessage>| {
                let saved = save_message(socket.user(), msg).await?;
                io.to(format!("room:{}", saved.room_id)).emit("chat:message", &saved);
                Ok(saved.id)
            },
        );
        socket.on_disconnect(async |socket, reason| {
            println!("{} left: {reason}", socket.user().id);
        });
    });
    io
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_documentation_is_served() {
    let io = server("https://app.example");
    let address = support::serve(&io).await;

    let mut client = Client::open(address);
    client.send(r#"40{"token":"token-of-ann"}"#);
    assert!(client.receive().starts_with(r#"40{"sid":""#));
    assert_eq!(client.ask(r#"["room:join",7]"#), "[]");
    assert_eq!(
        client.ask(r#"["room:join",13]"#),
        r#"[{"ok":false,"code":"forbidden","message":"room 13 is not for ann"}]"#
    );
    client.send(r#"421["chat:message",{"roomId":7,"content":"Hello!"}]"#);
    let mut received = [client.receive(), client.receive()];
    received.sort();
    let saved = r#"42["chat:message",{"id":1,"roomId":7,"from":"ann","content":"Hello!"}]"#;
    assert_eq!(received, [saved, "431[1]"]);
    drop(client);
    io.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_token_that_counts_hears_why() {
    let io = server("https://app.example");
    let address = support::serve(&io).await;

    let mut client = Client::open(address);
    client.send(r#"40{"token":"forged"}"#);
    assert_eq!(
        client.receive(),
        r#"44{"message":"Authentication failed","data":{"code":"unauthenticated"}}"#
    );
    drop(client);
    io.close().await;
}
