//! Packets: which parts they have, which are refused, how they are written.

use tidings_protocol::socketio::{
    Error, Packet, PacketType, ack_arguments, check_placeholders, decode, event, write_ack, write_connect,
    write_connect_error, write_disconnect, write_event,
};

/// A packet as a server takes it: parts first, then the payload by kind; in one line. An error is `None`.
fn read(text: &str) -> Result<String, Error> {
    let packet = decode(text, 10)?;
    match packet.kind {
        PacketType::Event | PacketType::BinaryEvent if !packet.data.is_empty() => {
            event(packet.data)?;
        }
        PacketType::Ack | PacketType::BinaryAck => {
            ack_arguments(packet.data)?;
        }
        _ => {}
    }
    check_placeholders(packet.data, packet.attachments.max(1))?;
    let Packet {
        kind,
        namespace,
        id,
        attachments,
        data,
    } = packet;
    let id = id.map_or("-".to_owned(), |id| id.to_string());
    Ok(format!("{kind:?} {namespace} {id} {attachments} {data}"))
}

#[test]
fn packets_read_as_the_reference_reads_them() {
    for (text, expect) in [
        ("0", "Connect / - 0 "),
        (r#"0{"token":1}"#, r#"Connect / - 0 {"token":1}"#),
        ("0/admin", "Connect /admin - 0 "),
        ("0/admin,", "Connect /admin - 0 "),
        ("0/admin,{}", "Connect /admin - 0 {}"),
        ("0/custom?x=1,", "Connect /custom?x=1 - 0 "),
        ("0/,{}", "Connect / - 0 {}"),
        ("01", "Connect / 1 0 "),
        ("0{} ", "Connect / - 0 {} "),
        ("1", "Disconnect / - 0 "),
        ("1/admin,", "Disconnect /admin - 0 "),
        ("1/admin", "Disconnect /admin - 0 "),
        ("15", "Disconnect / 5 0 "),
        ("2", "Event / - 0 "),
        ("2/a,", "Event /a - 0 "),
        ("25", "Event / 5 0 "),
        (r#"2["a"]"#, r#"Event / - 0 ["a"]"#),
        (r#"2/a,["a"]"#, r#"Event /a - 0 ["a"]"#),
        (r#"2/a["a"]"#, r#"Event /a["a"] - 0 "#),
        (r#"27["a",1]"#, r#"Event / 7 0 ["a",1]"#),
        (r#"20["a"]"#, r#"Event / 0 0 ["a"]"#),
        (r#"2007["a"]"#, r#"Event / 7 0 ["a"]"#),
        (r#"2/a,5["x"]"#, r#"Event /a 5 0 ["x"]"#),
        ("2[1]", "Event / - 0 [1]"),
        ("2[1.5,2]", "Event / - 0 [1.5,2]"),
        ("2[-0]", "Event / - 0 [-0]"),
        (r#"2["error"]"#, r#"Event / - 0 ["error"]"#),
        (r#"2["Connect"]"#, r#"Event / - 0 ["Connect"]"#),
        (r#"2["a"] "#, r#"Event / - 0 ["a"] "#),
        (r#"2[ "a" , 1 ]"#, r#"Event / - 0 [ "a" , 1 ]"#),
        (r#"2["a","\ud800"]"#, r#"Event / - 0 ["a","\ud800"]"#),
        (r#"2["a",1e999]"#, r#"Event / - 0 ["a",1e999]"#),
        ("3", "Ack / - 0 "),
        ("35", "Ack / 5 0 "),
        ("3[]", "Ack / - 0 []"),
        ("35[1,2]", "Ack / 5 0 [1,2]"),
        ("3/a,5[1]", "Ack /a 5 0 [1]"),
        (r#"51-["a"]"#, r#"BinaryEvent / - 1 ["a"]"#),
        (r#"510-["a"]"#, r#"BinaryEvent / - 10 ["a"]"#),
        (r#"501-["a"]"#, r#"BinaryEvent / - 1 ["a"]"#),
        (
            r#"51-/a,7["a",{"_placeholder":true,"num":0}]"#,
            r#"BinaryEvent /a 7 1 ["a",{"_placeholder":true,"num":0}]"#,
        ),
        (
            r#"61-5[{"_placeholder":true,"num":0}]"#,
            r#"BinaryAck / 5 1 [{"_placeholder":true,"num":0}]"#,
        ),
        ("61-[]", "BinaryAck / - 1 []"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expect), "{text:?}");
    }
}

#[test]
fn what_the_reference_refuses_is_an_error() {
    use Error::{AttachmentCount, EventName, Json, Payload, ReservedEvent, TooManyAttachments, UnknownType};
    for (text, error) in [
        ("0[]", Payload("an object")),
        (r#"0"a""#, Payload("an object")),
        ("0null", Payload("an object")),
        ("0{", Json { at: 1 }),
        ("0{}x", Json { at: 2 }),
        ("0{} {}", Json { at: 3 }),
        (r#"0{"a":1,}"#, Json { at: 7 }),
        (r#"0{a:1}"#, Json { at: 1 }),
        (r#"0{"a"}"#, Json { at: 4 }),
        (r#"0{"a":}"#, Json { at: 5 }),
        (r#"0{"a":1]"#, Json { at: 6 }),
        ("1{}", Payload("absent")),
        ("1null", Payload("absent")),
        (r#"1"""#, Payload("absent")),
        ("2[]", EventName),
        ("2[null]", EventName),
        ("2[true]", EventName),
        (r#"2[["a"]]"#, EventName),
        (r#"2[,"a"]"#, EventName),
        ("2{}", Payload("an array")),
        (r#"2"a""#, Payload("an array")),
        (r#"2-["a"]"#, Payload("an array")),
        (r#"2/a,b["x"]"#, Payload("an array")),
        (r#"2["a""#, Json { at: 4 }),
        (r#"2["a"#, Json { at: 3 }),
        (r#"2["a"]x"#, Json { at: 5 }),
        (r#"2["a"]["b"]"#, Json { at: 5 }),
        (r#"2["a",]"#, Json { at: 5 }),
        (r#"2["a",,1]"#, Json { at: 5 }),
        (r#"2["a" 1]"#, Json { at: 5 }),
        (r#"2["a",01]"#, Json { at: 6 }),
        (r#"2["a",.5]"#, Json { at: 5 }),
        (r#"2["a",1.]"#, Json { at: 7 }),
        (r#"2["a",1e]"#, Json { at: 7 }),
        (r#"2["a",-]"#, Json { at: 6 }),
        (r#"2["a",+1]"#, Json { at: 5 }),
        (r#"2["a",NaN]"#, Json { at: 5 }),
        (r#"2["a",nul]"#, Json { at: 5 }),
        (r#"2["a",truee]"#, Json { at: 9 }),
        (r#"2["a",[1}]"#, Json { at: 7 }),
        (r#"2["a",[1]"#, Json { at: 8 }),
        (r#"2["a",'b']"#, Json { at: 5 }),
        ("2[\"a\",\"\t\"]", Json { at: 6 }),
        ("2[\"a\",\u{a0}1]", Json { at: 5 }),
        (r#"2["\x"]"#, Json { at: 2 }),
        (r#"2["a","\u00g0"]"#, Json { at: 6 }),
        (r#"2["a","\u00"#, Json { at: 6 }),
        (r#"2["connect"]"#, ReservedEvent("connect")),
        (r#"2["connect_error"]"#, ReservedEvent("connect_error")),
        (r#"2["disconnect"]"#, ReservedEvent("disconnect")),
        (r#"2["disconnecting"]"#, ReservedEvent("disconnecting")),
        (r#"2["newListener"]"#, ReservedEvent("newListener")),
        (r#"2["removeListener"]"#, ReservedEvent("removeListener")),
        (r#"2["\u0064isconnect"]"#, ReservedEvent("disconnect")),
        ("35{}", Payload("an array")),
        (r#"35"a""#, Payload("an array")),
        ("35null", Payload("an array")),
        ("5", AttachmentCount),
        (r#"5["a"]"#, AttachmentCount),
        (r#"50-["a"]"#, AttachmentCount),
        (r#"5-["a"]"#, AttachmentCount),
        (r#"51["a"]"#, AttachmentCount),
        (r#"5x-["a"]"#, AttachmentCount),
        (r#"51.5-["a"]"#, AttachmentCount),
        (r#"5-1-["a"]"#, AttachmentCount),
        ("60-[]", AttachmentCount),
        (r#"511-["a"]"#, TooManyAttachments { max: 10 }),
        (r#"599999999999999999999999-["a"]"#, TooManyAttachments { max: 10 }),
        ("7", UnknownType('7')),
        (r#"9["a"]"#, UnknownType('9')),
        ("b", UnknownType('b')),
        ("-1", UnknownType('-')),
        ("é", UnknownType('é')),
        ("\u{1F600}", UnknownType('\u{1F600}')),
    ] {
        assert_eq!(read(text), Err(error), "{text:?}");
    }
}

/// Each of these the reference's parser takes, and no client sends.
#[test]
fn stricter_than_the_reference() {
    for (text, error) in [
        ("", Error::Empty),
        // Its server, not its parser, closes on a client's CONNECT_ERROR.
        (r#"4{"message":"x"}"#, Error::ConnectErrorFromClient),
        (r#"4"x""#, Error::ConnectErrorFromClient),
        ("4", Error::ConnectErrorFromClient),
        // It waits for the attachments, and then has an event without a name.
        ("51-", Error::Payload("an array")),
        ("61-/a,5", Error::Payload("an array")),
        // It rounds, and the answer goes to nobody.
        (r#"218446744073709551616["a"]"#, Error::IdTooLarge),
        (r#"2["\ud800"]"#, Error::EventName),
        // Over WebSocket it is taken; over polling it would be the end of the packet.
        ("0/a\u{1e}b,", Error::Namespace),
        ("0/a\u{1e}", Error::Namespace),
        // JavaScript takes spaces and exponents for numbers.
        (r#"51e0-["a"]"#, Error::AttachmentCount),
        (r#"5 1-["a"]"#, Error::AttachmentCount),
    ] {
        assert_eq!(read(text), Err(error), "{text:?}");
    }
    // A space is a zero there, and so the id 0.
    assert_eq!(read("0 {}").as_deref(), Ok("Connect / - 0  {}"));
}

#[test]
fn the_largest_id_passes_and_the_next_does_not() {
    let packet = decode("318446744073709551615[]", 0);
    assert_eq!(packet.map(|packet| packet.id), Ok(Some(u64::MAX)));
    assert_eq!(decode("318446744073709551616[]", 0), Err(Error::IdTooLarge));
}

#[test]
fn attachments_are_counted_against_the_limit_that_is_given() {
    for max in [1, 2, 10, 1000] {
        let at = format!("5{max}-[\"a\"]");
        assert_eq!(decode(&at, max).map(|packet| packet.attachments), Ok(max));
        let past = format!("5{}-[\"a\"]", max + 1);
        assert_eq!(decode(&past, max), Err(Error::TooManyAttachments { max }));
    }
    assert_eq!(decode("51-[\"a\"]", 0), Err(Error::TooManyAttachments { max: 0 }));
}

#[test]
fn packets_are_written_as_the_reference_writes_them() {
    let check = |write: &dyn Fn(&mut Vec<u8>), expect: &str| {
        // Appended: what is there stays.
        let mut out = b"4".to_vec();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("4{expect}"));
    };
    check(&|out| write_connect(out, "/", "x", None), r#"0{"sid":"x"}"#);
    check(
        &|out| write_connect(out, "/admin", "x", Some("p\"")),
        r#"0/admin,{"sid":"x","pid":"p\""}"#,
    );
    check(
        &|out| write_connect_error(out, "/random", "Invalid namespace", None),
        r#"4/random,{"message":"Invalid namespace"}"#,
    );
    check(
        &|out| write_connect_error(out, "/", "a\nb\u{1e}\u{1}\\", Some("[1]")),
        r#"4{"message":"a\nb\u001e\u0001\\","data":[1]}"#,
    );
    check(&|out| write_disconnect(out, "/"), "1");
    check(&|out| write_disconnect(out, "/admin"), "1/admin,");
    check(&|out| write_event(out, "/", None, 0, "a", "", &[]), r#"2["a"]"#);
    check(
        &|out| write_event(out, "/n", Some(u64::MAX), 0, "é\"", "1,{}", &["2", "\"id\""]),
        r#"2/n,18446744073709551615["é\"",1,{},2,"id"]"#,
    );
    check(
        &|out| write_event(out, "/", None, 0, "a", "", &["\"id\""]),
        r#"2["a","id"]"#,
    );
    check(
        &|out| write_event(out, "/", Some(0), 2, "a", "1", &[]),
        r#"52-0["a",1]"#,
    );
    check(
        &|out| write_event(out, "/n", None, 12, "a", "1", &[]),
        r#"512-/n,["a",1]"#,
    );
    check(&|out| write_ack(out, "/", 3, 0, ""), "33[]");
    check(&|out| write_ack(out, "/n", 3, 0, "1,2"), "3/n,3[1,2]");
    check(&|out| write_ack(out, "/", 30, 1, "1"), "61-30[1]");
}
