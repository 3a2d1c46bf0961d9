//! What is written reads back, whatever it is.

use proptest::prelude::*;
use serde_json::value::RawValue;
use tidings_protocol::socketio::{
    Packet, PacketType, ack_arguments, count_arguments, decode, event, is_reserved_event, split_arguments, write_ack,
    write_connect, write_connect_error, write_disconnect, write_event,
};

/// JSON texts in all the spellings a sender may choose.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,5})?",
        "\"([ -!#-\\[\\]-~é]|\\\\[\"/\\\\bfnrt]|\\\\u[0-9a-fA-F]{4}){0,20}\"",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let space = "[ \t\r\n]{0,2}";
    scalar.prop_recursive(4, 32, 5, move |inner| {
        let list = prop::collection::vec((space, inner.clone(), space), 0..5);
        let members = prop::collection::vec((space, any::<String>(), space, inner), 0..5);
        prop_oneof![
            list.prop_map(|values| {
                let values: Vec<_> = values
                    .into_iter()
                    .map(|(before, value, after)| before + &value + &after)
                    .collect();
                format!("[{}]", values.join(","))
            }),
            members.prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(before, key, after, value)| {
                        format!("{before}{}{after}:{value}", serde_json::Value::from(key))
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,\u{1e}]{1,12}"]
}

proptest! {
    #[test]
    fn an_event_reads_as_it_was_written(
        namespace in namespace(),
        id: Option<u64>,
        attachments in 0..=10_usize,
        name: String,
        values in prop::collection::vec(json(), 0..5),
        extra in prop::collection::vec(json(), 0..3),
    ) {
        prop_assume!(!is_reserved_event(&name));
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let mut out = Vec::new();
        write_event(&mut out, &namespace, id, attachments, &name, &values.join(","), &extra);
        prop_assert!(!out.contains(&0x1e), "safe in a polling payload");
        let text = String::from_utf8(out).unwrap();
        let packet = decode(&text, 10).unwrap();
        let kind = if attachments > 0 { PacketType::BinaryEvent } else { PacketType::Event };
        prop_assert_eq!(packet, Packet { kind, namespace: &namespace, id, attachments, data: packet.data });
        let event = event(packet.data).unwrap();
        prop_assert_eq!(&*event.name, &*name);
        let sent: Vec<&str> = values.iter().map(String::as_str).chain(extra).collect();
        prop_assert_eq!(event.arguments, sent.join(","));
        prop_assert_eq!(count_arguments(event.arguments), sent.len());
        let split = split_arguments(event.arguments).unwrap();
        prop_assert!(split.iter().map(|value| value.get()).eq(sent));
    }

    #[test]
    fn an_ack_reads_as_it_was_written(
        namespace in namespace(),
        id: u64,
        attachments in 0..=10_usize,
        values in prop::collection::vec(json(), 0..5),
    ) {
        let arguments = values.join(",");
        let mut out = Vec::new();
        write_ack(&mut out, &namespace, id, attachments, &arguments);
        let text = String::from_utf8(out).unwrap();
        let packet = decode(&text, 10).unwrap();
        let kind = if attachments > 0 { PacketType::BinaryAck } else { PacketType::Ack };
        prop_assert_eq!(packet, Packet { kind, namespace: &namespace, id: Some(id), attachments, data: packet.data });
        prop_assert_eq!(ack_arguments(packet.data), Ok(&*arguments));
    }

    #[test]
    fn the_other_packets_read_as_they_were_written(
        namespace in namespace(),
        sid: String,
        pid: Option<String>,
        message: String,
        data in prop::option::of(json()),
    ) {
        let mut out = Vec::new();
        write_disconnect(&mut out, &namespace);
        let text = String::from_utf8(out).unwrap();
        let kind = PacketType::Disconnect;
        let bare = Packet { kind, namespace: &namespace, id: None, attachments: 0, data: "" };
        prop_assert_eq!(decode(&text, 10), Ok(bare));

        let mut out = Vec::new();
        write_connect(&mut out, &namespace, &sid, pid.as_deref());
        let text = String::from_utf8(out).unwrap();
        let packet = decode(&text, 10).unwrap();
        prop_assert_eq!(packet, Packet { kind: PacketType::Connect, data: packet.data, ..bare });
        let read: serde_json::Value = serde_json::from_str(packet.data).unwrap();
        prop_assert_eq!(read["sid"].as_str(), Some(&*sid));
        prop_assert_eq!(read.get("pid").and_then(|pid| pid.as_str()), pid.as_deref());

        // For clients; read here as the CONNECT that it would be.
        let mut out = Vec::new();
        write_connect_error(&mut out, &namespace, &message, data.as_deref());
        prop_assert_eq!(out[0], PacketType::ConnectError.as_byte());
        out[0] = PacketType::Connect.as_byte();
        let text = String::from_utf8(out).unwrap();
        let packet = decode(&text, 10).unwrap();
        let suffix = data.as_deref().map_or(String::new(), |data| format!(",\"data\":{data}"));
        let message = serde_json::Value::from(message);
        prop_assert_eq!(packet.data, format!("{{\"message\":{message}{suffix}}}"));
    }

    #[test]
    fn what_json_is_does_not_depend_on_who_reads(text in "[\\[\\]{}\",:\\\\0-9eE+. \ntruefalsnl-]{0,24}", value in json()) {
        for text in [text, value] {
            let data = format!("[{text}]");
            prop_assert_eq!(
                ack_arguments(&data).is_ok(),
                serde_json::from_str::<&RawValue>(&data).is_ok(),
                "{}", data
            );
        }
    }
}
