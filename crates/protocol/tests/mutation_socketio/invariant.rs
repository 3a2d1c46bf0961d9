//! What holds for any text, used by the mutation test and by the cargo-fuzz target.

use serde_json::value::RawValue;
use tidings_protocol::socketio::{
    Packet, PacketType, ack_arguments, check_placeholders, count_arguments, decode, event, is_reserved_event,
    split_arguments, write_ack, write_disconnect, write_event,
};

/// Panics unless `text` is refused, or reads again as the same after it was written again.
pub(crate) fn check(text: &str) {
    json(text);
    let Ok(packet) = decode(text, 10) else {
        return;
    };
    assert_eq!(packet.attachments > 0, packet.kind.is_binary(), "{text:?}");
    assert!(packet.attachments <= 10, "{text:?}");
    match packet.kind {
        PacketType::Connect => {
            assert!(packet.data.is_empty() || packet.data.contains('{'), "{text:?}");
        }
        PacketType::Disconnect => disconnect(text, &packet),
        PacketType::Event | PacketType::BinaryEvent => an_event(text, &packet),
        PacketType::Ack | PacketType::BinaryAck => an_ack(text, &packet),
        PacketType::ConnectError => panic!("{text:?} is none of a client's"),
    }
}

/// The reader here and serde_json's agree on what is JSON.
fn json(text: &str) {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    let array = format!("[{text}]");
    let arguments = ack_arguments(&array);
    if is_json {
        assert_eq!(count_arguments(text), 1, "{text:?}");
        assert_eq!(arguments, Ok(text.trim_matches([' ', '\t', '\n', '\r'])), "{text:?}");
    }
    assert_eq!(
        arguments.is_ok(),
        serde_json::from_str::<&RawValue>(&array).is_ok(),
        "{text:?}"
    );
    assert_eq!(split_arguments(text).is_ok(), arguments.is_ok(), "{text:?}");
    // Must not panic on what is not JSON either.
    let placeholders = check_placeholders(text, 1);
    if is_json && !text.contains('_') && !text.contains('\\') {
        assert_eq!(placeholders, Ok(()), "{text:?}");
    }
}

fn disconnect(text: &str, packet: &Packet<'_>) {
    let mut out = Vec::new();
    write_disconnect(&mut out, packet.namespace);
    let out = String::from_utf8(out).expect("text");
    let expect = Packet { id: None, ..*packet };
    assert_eq!(decode(&out, 10), Ok(expect), "{text:?} was written as {out:?}");
}

fn an_event(text: &str, packet: &Packet<'_>) {
    let Ok(read) = event(packet.data) else {
        return;
    };
    // A number may be a name, and as a string it reads the same.
    assert!(!is_reserved_event(&read.name), "{text:?}");
    arguments(read.arguments);
    let mut out = Vec::new();
    write_event(
        &mut out,
        packet.namespace,
        packet.id,
        packet.attachments,
        &read.name,
        read.arguments,
        &[],
    );
    let out = String::from_utf8(out).expect("text");
    let again = decode(&out, 10).expect("what was written");
    assert_eq!(
        again,
        Packet {
            data: again.data,
            ..*packet
        },
        "{out:?}"
    );
    assert_eq!(event(again.data).as_ref(), Ok(&read), "{text:?} was written as {out:?}");
    assert_eq!(
        check_placeholders(packet.data, packet.attachments),
        check_placeholders(again.data, packet.attachments),
        "{text:?}"
    );
}

fn an_ack(text: &str, packet: &Packet<'_>) {
    let (Ok(read), Some(id)) = (ack_arguments(packet.data), packet.id) else {
        return;
    };
    arguments(read);
    let mut out = Vec::new();
    write_ack(&mut out, packet.namespace, id, packet.attachments, read);
    let out = String::from_utf8(out).expect("text");
    let again = decode(&out, 10).expect("what was written");
    assert_eq!(
        again,
        Packet {
            data: again.data,
            ..*packet
        },
        "{out:?}"
    );
    assert_eq!(ack_arguments(again.data), Ok(read), "{text:?} was written as {out:?}");
}

fn arguments(list: &str) {
    let values = split_arguments(list).expect("what was checked");
    assert_eq!(values.len(), count_arguments(list), "{list:?}");
    let joined = values.iter().map(|value| value.get()).collect::<Vec<_>>().join(",");
    let again = split_arguments(&joined).expect("joined again");
    assert!(
        values
            .iter()
            .map(|value| value.get())
            .eq(again.iter().map(|value| value.get())),
        "{list:?}"
    );
}
