//! The JSON inside: names, arguments, placeholders.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tidings_protocol::socketio::{
    Error, ack_arguments, check_placeholders, count_arguments, decode, event, is_reserved_event, split_arguments,
    write_event,
};

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

#[test]
fn depth_has_a_limit() {
    // A megabyte of brackets, on a stack that a recursion a bracket would overflow.
    let run = || {
        for depth in [513, 1_000_000] {
            let open = "[".repeat(depth);
            let unclosed = format!("[\"a\",{open}");
            // Of an argument: the list of them is one level more.
            assert_eq!(event(&unclosed), Err(Error::Json { at: 5 + 513 }));
            assert_eq!(ack_arguments(&open), Err(Error::Json { at: depth.min(514) }));
            assert_eq!(check_placeholders(&open, 1), Err(Error::Json { at: depth.min(514) }));
            assert_eq!(count_arguments(&open), 0);
            assert!(split_arguments(&open).is_err());
        }
        let depth = 512;
        let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        let arrays = "[".repeat(depth) + &"]".repeat(depth);
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
    for depth in (1..200).chain(505..=512) {
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
