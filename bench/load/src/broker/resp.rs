//! Redis' protocol, version 2: values found in bytes without being copied.

use std::ops::Range;

use anyhow::{Context, Result, bail};

use crate::note::{number, position};

/// A whole value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A simple string, a number, or a bulk string: where it lies.
    Text(Range<usize>),
    Error(Range<usize>),
    Nothing,
    List(Vec<Value>),
}

/// The value that begins at `at`, and where it ends; none while it is incomplete.
pub(crate) fn value(bytes: &[u8], at: usize) -> Result<Option<(Value, usize)>> {
    let Some(line_bytes) = bytes.get(at..).and_then(|rest| position(rest, b"\r\n")) else {
        return Ok(None);
    };
    let line = at + 1..at + line_bytes;
    let after = at + line_bytes + 2;
    let counted = |bytes: &[u8]| -> Result<Option<usize>> {
        if bytes == b"-1" {
            return Ok(None);
        }
        Ok(Some(number(bytes).context("a mangled length")?.try_into()?))
    };
    match bytes[at] {
        b'+' | b':' => Ok(Some((Value::Text(line), after))),
        b'-' => Ok(Some((Value::Error(line), after))),
        b'$' => {
            let Some(length) = counted(&bytes[line])? else {
                return Ok(Some((Value::Nothing, after)));
            };
            let end = after + length + 2;
            Ok((end <= bytes.len()).then_some((Value::Text(after..after + length), end)))
        }
        b'*' => {
            let Some(count) = counted(&bytes[line])? else {
                return Ok(Some((Value::Nothing, after)));
            };
            let (mut values, mut at) = (Vec::new(), after);
            for _ in 0..count {
                let Some((value, end)) = value(bytes, at)? else {
                    return Ok(None);
                };
                values.push(value);
                at = end;
            }
            Ok(Some((Value::List(values), at)))
        }
        other => bail!("a value begins with {other:#04x}"),
    }
}

/// Appends a command.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        out.extend(format!("${}\r\n", word.len()).bytes());
        out.extend(*word);
        out.extend(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_are_found_when_they_are_whole() {
        let bytes = b"*3\r\n$5\r\nhello\r\n*1\r\n:7\r\n$-1\r\n+OK\r\n";
        let first = bytes.len() - 5;
        for cut in 0..first {
            assert_eq!(value(&bytes[..cut], 0).expect("valid"), None);
        }
        let list = Value::List(vec![
            Value::Text(8..13),
            Value::List(vec![Value::Text(20..21)]),
            Value::Nothing,
        ]);
        assert_eq!(value(bytes, 0).expect("valid"), Some((list, first)));
        let text = Value::Text(first + 1..first + 3);
        assert_eq!(value(bytes, first).expect("valid"), Some((text, bytes.len())));
        assert!(value(b"?\r\n", 0).is_err());
    }

    #[test]
    fn a_command_is_a_list_of_bulk_strings() {
        let mut out = Vec::new();
        command(&mut out, &[b"XADD", b"k"]);
        assert_eq!(out, b"*2\r\n$4\r\nXADD\r\n$1\r\nk\r\n");
    }
}
