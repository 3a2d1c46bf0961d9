//! Socket.IO packets. Where a table does not say otherwise, npm's `socket.io-parser` 4.2.7 answers the same.

use proptest::prelude::*;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tidings_protocol::socketio::{
    Error, Packet, PacketType, ack_arguments, check_placeholders, count_arguments, decode, event, is_reserved_event,
    split_arguments, write_ack, write_connect, write_connect_error, write_disconnect, write_event,
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
fn placeholders_name_an_attachment() {
    for (value, attachments, valid) in [
        (r#"{"_placeholder":true,"num":0}"#, 1, true),
        (r#"{"num":0,"_placeholder":true}"#, 1, true),
        (r#"{ "_placeholder" : true , "num" : 0 }"#, 1, true),
        (r#"{"_placeholder":true,"num":1}"#, 1, false),
        (r#"{"_placeholder":true,"num":1}"#, 2, true),
        (r#"{"_placeholder":true,"num":0}"#, 0, false),
        (r#"{"_placeholder":true,"num":-1}"#, 1, false),
        (r#"{"_placeholder":true,"num":"0"}"#, 1, false),
        (r#"{"_placeholder":true,"num":null}"#, 1, false),
        (r#"{"_placeholder":true,"num":[0]}"#, 1, false),
        (r#"{"_placeholder":true,"num":{"num":0}}"#, 1, false),
        (r#"{"_placeholder":true,"num":99999999999999999999999}"#, 1, false),
        (r#"{"_placeholder":true}"#, 1, false),
        (r#"{"_placeholder":true,"x":{"num":0}}"#, 1, false),
        (r#"{"_placeholder":true,"x":1,"num":0}"#, 1, true),
        (r#"{"_placeholder":1,"num":9}"#, 1, true),
        (r#"{"_placeholder":false,"num":9}"#, 1, true),
        (r#"{"_placeholder":"true","num":9}"#, 1, true),
        (r#"{"_placeholder":[true],"num":9}"#, 1, true),
        (r#"["_placeholder",true,"num",9]"#, 1, true),
        (r#"[[{"x":{"_placeholder":true,"num":0}}]]"#, 1, true),
        (r#"[[{"x":{"_placeholder":true,"num":5}}]]"#, 1, false),
        (r#"{"\u005fplaceholder":true,"num":5}"#, 1, false),
        (r#"{"_placeholder":true,"\u006eum":0}"#, 1, true),
        // The last of two keys counts.
        (r#"{"_placeholder":true,"_placeholder":false,"num":5}"#, 1, true),
        (r#"{"_placeholder":false,"_placeholder":true,"num":5}"#, 1, false),
        (r#"{"_placeholder":true,"num":5,"num":0}"#, 1, true),
        (r#"{"_placeholder":true,"num":0,"num":5}"#, 1, false),
        (
            r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#,
            1,
            true,
        ),
        (
            r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#,
            1,
            false,
        ),
        // The reference takes the first of these for `undefined`; the others are numbers to it.
        (r#"{"_placeholder":true,"num":0.5}"#, 1, false),
        (r#"{"_placeholder":true,"num":0.0}"#, 1, false),
        (r#"{"_placeholder":true,"num":0e0}"#, 1, false),
        (r#"{"_placeholder":true,"num":-0}"#, 1, false),
    ] {
        let expect = if valid {
            Ok(())
        } else {
            Err(Error::Placeholder { attachments })
        };
        let list = check_placeholders(value, attachments);
        assert_eq!(list, expect, "{value}");
        let data = format!("[\"a\",{value}]");
        let data = check_placeholders(&data, attachments);
        assert_eq!(data, expect, "{value}");
    }
    assert_eq!(check_placeholders("", 1), Ok(()));
    assert_eq!(check_placeholders("[1", 1), Err(Error::Json { at: 2 }));
}

#[test]
fn arguments_come_as_they_were_sent() {
    for arguments in [
        r#""\ud800""#,
        r#""\ud83d\ude00\udc00""#,
        "123456789012345678901234567890123456789012345678901234567890",
        "-1.5E+400,1e-999,-0.0",
        r#"{"b":1,"a":2,"b":3}"#,
        "{ \"a\" :\t[ 1 ,\n2 ] } ,  null",
        "\"\u{7f}é\u{1F600}\u{2028}\"",
        r#""\/\b\f\n\r\t\"\\""#,
        r#"{"_placeholder":true,"num":99}"#,
        "[],{},\"\",0",
    ] {
        let data = format!("[ \"name\" , {arguments} ] ");
        let event = event(&data).unwrap();
        assert!(matches!(event.name, Cow::Borrowed("name")));
        assert_eq!(event.arguments, arguments);
        let data = format!("\n[\t{arguments}\r]");
        assert_eq!(ack_arguments(&data), Ok(arguments));

        let mut out = Vec::new();
        write_event(&mut out, "/", None, 0, "name", arguments, &[]);
        assert_eq!(out, format!("2[\"name\",{arguments}]").as_bytes());
    }
}

#[test]
fn names_are_decoded_and_borrowed_where_they_can_be() {
    for (data, name) in [
        (r#"["a b"]"#, "a b"),
        (r#"[""]"#, ""),
        ("[\"é\u{1F600}\"]", "é\u{1F600}"),
        ("[1]", "1"),
        ("[-1.50e3,2]", "-1.50e3"),
    ] {
        let event = event(data).unwrap();
        assert!(
            matches!(event.name, Cow::Borrowed(borrowed) if borrowed == name),
            "{data}"
        );
    }
    for (data, name) in [
        (r#"["\u0061\n\"\\\/"]"#, "a\n\"\\/"),
        (r#"["\ud83d\ude00"]"#, "\u{1F600}"),
    ] {
        let event = event(data).unwrap();
        assert!(matches!(&event.name, Cow::Owned(owned) if owned == name), "{data}");
    }
    for data in [r#"["\ud800"]"#, r#"["\udc00\ud800"]"#, r#"["a\ud83dx"]"#] {
        assert_eq!(event(data), Err(Error::EventName), "{data}");
    }
}

#[test]
fn six_names_are_reserved() {
    for name in [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ] {
        assert!(is_reserved_event(name), "{name}");
        assert!(!is_reserved_event(&format!("{name}2")), "{name}");
    }
    assert!(!is_reserved_event("error"));
    assert!(!is_reserved_event(""));
}

#[test]
fn arguments_are_counted_and_split() {
    for (list, values) in [
        ("", &[][..]),
        (" \n", &[]),
        ("1", &["1"]),
        (r#""a,b",[1,2],{"c":[3,4]}"#, &[r#""a,b""#, "[1,2]", r#"{"c":[3,4]}"#]),
        (" null , -0.5e1 ,\"]\" ", &["null", "-0.5e1", "\"]\""]),
    ] {
        assert_eq!(count_arguments(list), values.len(), "{list:?}");
        let split = split_arguments(list).unwrap();
        let split: Vec<_> = split.iter().map(|value| value.get()).collect();
        assert_eq!(split, values, "{list:?}");
    }
    for list in [",", "1,", ",1", "1 2", "1]", "[", "1,,2", "\"a", "tru", "1,{]"] {
        assert!(split_arguments(list).is_err(), "{list:?}");
    }
    assert_eq!(count_arguments("1,2,x,3"), 2);
}

/// A megabyte of brackets, on a stack that a recursion a bracket would overflow.
#[test]
fn deep_nesting_costs_no_stack() {
    const DEPTH: usize = 1_000_000;
    let run = || {
        let open = "[".repeat(DEPTH);
        let close = "]".repeat(DEPTH);
        let objects = "{\"a\":".repeat(DEPTH) + "1" + &"}".repeat(DEPTH);
        let arrays = open.clone() + &close;

        let unclosed = format!("[\"a\",{open}");
        assert_eq!(event(&unclosed), Err(Error::Json { at: unclosed.len() }));
        assert_eq!(ack_arguments(&open), Err(Error::Json { at: DEPTH }));
        assert_eq!(check_placeholders(&open, 1), Err(Error::Json { at: DEPTH }));
        assert_eq!(count_arguments(&open), 0);
        assert!(split_arguments(&open).is_err());
        for value in [&arrays, &objects] {
            let data = format!("[\"a\",{value}]");
            assert_eq!(event(&data).map(|event| event.arguments), Ok(value.as_str()));
            assert_eq!(ack_arguments(&data).map(count_arguments), Ok(2));
            assert_eq!(check_placeholders(&data, 1), Ok(()));
            assert_eq!(split_arguments(value).unwrap()[0].get(), value);
        }
        let connect = format!("0{objects}");
        assert_eq!(decode(&connect, 10).map(|packet| packet.data), Ok(&*objects));
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

/// Arrays and objects in turn around the places where 64 levels fill a word.
#[test]
fn nesting_keeps_its_kinds_apart_at_any_depth() {
    for depth in (1..200).chain([1023, 1024, 1025]) {
        let mut value = String::new();
        for level in 0..depth {
            value.push_str(if level % 3 == 0 { "{\"a\":" } else { "[" });
        }
        value.push('1');
        for level in (0..depth).rev() {
            value.push(if level % 3 == 0 { '}' } else { ']' });
        }
        assert_eq!(ack_arguments(&format!("[{value}]")), Ok(&*value), "{depth}");
        // The innermost bracket of the other kind.
        let closing = value.find('1').unwrap() + 1;
        let wrong = if value.as_bytes()[closing] == b'}' { "]" } else { "}" };
        let mut data = format!("[{value}]");
        data.replace_range(closing + 1..closing + 2, wrong);
        assert_eq!(ack_arguments(&data), Err(Error::Json { at: closing + 1 }), "{depth}");
    }
}

/// Strings are read eight bytes at a time: each length, and each byte at each place in it.
#[test]
fn strings_end_where_they_end() {
    for length in 0..40 {
        let plain = "x".repeat(length);
        assert_eq!(event(&format!("[\"{plain}\",1]")).unwrap().name, plain);
        for at in 0..length {
            for byte in 0..=127_u8 {
                let mut name = plain.clone();
                name.replace_range(at..=at, &char::from(byte).to_string());
                let data = format!("[\"n\",\"{name}\"]");
                assert_eq!(
                    event(&data).is_ok(),
                    serde_json::from_str::<&RawValue>(&data).is_ok(),
                    "{data:?}"
                );
            }
            let mut name = plain.clone();
            name.replace_range(at..=at, "é\u{ff}\u{1F600}");
            assert_eq!(event(&format!("[\"{name}\"]")).unwrap().name, name);
        }
    }
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
