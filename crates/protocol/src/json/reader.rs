//! A JSON reader that only walks: it checks a text against the grammar and builds nothing.
//!
//! Why not serde_json: a packet needs *where* its values lie (name, arguments, placeholders) more than what they are, in one pass,
//! without recursion. The grammar is RFC 8259; a test holds this reader against serde_json's on the same texts.

use std::borrow::Cow;

/// The deepest nesting of lists and objects. What is deeper would end parsers of those to whom it is passed on: Python's own
/// follows a thousand levels at the most.
pub const DEPTH_MAX: usize = 512;

/// The text is not JSON, is nested too deep, or has something behind its end; here, in bytes from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unexpected(pub(crate) usize);

/// Is told what a walk meets. What it leaves out costs nothing.
pub(crate) trait Visitor {
    /// What can be wrong with what it meets, besides that it is no JSON.
    type Error: From<Unexpected>;

    /// An array or an object begins, with its bracket at `_at`.
    fn open(&mut self, _object: bool, _at: usize) {}
    /// A key of the innermost object, in its quotes, as sent.
    fn key(&mut self, _raw: &str) {}
    /// A string, number, `true`, `false` or `null`, as sent.
    fn scalar(&mut self, _raw: &str) {}
    /// The innermost array or object ends, before `_end`.
    ///
    /// # Errors
    /// Whatever is wrong with it ends the walk.
    fn close(&mut self, _object: bool, _end: usize) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Only the grammar matters.
pub(crate) struct Skip;
impl Visitor for Skip {
    type Error = Unexpected;
}

/// A string where it lies.
pub(crate) struct RawString<'a> {
    /// With its quotes.
    pub(crate) raw: &'a str,
    /// Whether there is a backslash in it.
    pub(crate) escaped: bool,
}

/// What a string says; `raw` is the string as sent, in its quotes. Nothing for one that holds half a surrogate pair.
pub(crate) fn string_text(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(&raw[1..raw.len() - 1]))
    }
}

/// A place in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    /// Of what a client sent: each value may be [`DEPTH_MAX`] levels deep.
    pub(crate) fn new(text: &'a str) -> Self {
        Self::of_depth(text, DEPTH_MAX)
    }

    /// With values of so many levels.
    pub(crate) fn of_depth(text: &'a str, depth_max: usize) -> Self {
        let at = 0;
        Self { text, at, depth_max }
    }

    /// How far it has come, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes on by this many bytes, which another has read.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// The error for what stands here.
    pub(crate) fn unexpected(&self) -> Unexpected {
        Unexpected(self.at)
    }

    /// The next byte that is not space, not yet taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes `byte`, with the space before it, if it is next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Checks that only space is left.
    pub(crate) fn end(&mut self) -> Result<(), Unexpected> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Takes one value of any kind.
    pub(crate) fn value<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        let mut nesting = Nesting::default();
        loop {
            if let Some(object) = self.opens_or_scalar(visitor)? {
                nesting.push(object);
                if nesting.depth > self.depth_max {
                    return Err(self.unexpected().into());
                }
                if !self.closes(object) {
                    if object {
                        self.key(visitor)?;
                    }
                    continue;
                }
                nesting.pop();
                visitor.close(object, self.at)?;
            }
            // A value has ended here; what may follow is up to what it lies in.
            loop {
                let Some(object) = nesting.innermost() else {
                    return Ok(());
                };
                if self.take(b',') {
                    if object {
                        self.key(visitor)?;
                    }
                    break;
                }
                if !self.closes(object) {
                    return Err(self.unexpected().into());
                }
                nesting.pop();
                visitor.close(object, self.at)?;
            }
        }
    }

    /// Takes `[` (answers false), `{` (true), or a whole scalar (nothing).
    fn opens_or_scalar<V: Visitor>(&mut self, visitor: &mut V) -> Result<Option<bool>, Unexpected> {
        let first = self.peek();
        let raw = match first {
            Some(b'{' | b'[') => {
                let object = first == Some(b'{');
                self.at += 1;
                visitor.open(object, self.at - 1);
                return Ok(Some(object));
            }
            Some(b'"') => self.string()?.raw,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.unexpected()),
        };
        visitor.scalar(raw);
        Ok(None)
    }

    fn closes(&mut self, object: bool) -> bool {
        self.take(if object { b'}' } else { b']' })
    }

    /// Takes a key and its colon.
    fn key<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), Unexpected> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        let key = self.string()?;
        if !self.take(b':') {
            return Err(self.unexpected());
        }
        visitor.key(key.raw);
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<&'a str, Unexpected> {
        let rest = &self.text[self.at..];
        if !rest.starts_with(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(&rest[..word.len()])
    }

    /// Takes a string; its opening quote is next.
    pub(crate) fn string(&mut self) -> Result<RawString<'a>, Unexpected> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = plain_end(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    let raw = &self.text[start..self.at];
                    return Ok(RawString { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// Takes a backslash and what belongs to it. Halves of surrogate pairs pass: JSON allows them.
    fn escape(&mut self) -> Result<(), Unexpected> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.unexpected());
                }
                self.at += 6;
            }
            _ => return Err(self.unexpected()),
        }
        Ok(())
    }

    /// Takes a number; its first character is next.
    pub(crate) fn number(&mut self) -> Result<&'a str, Unexpected> {
        let start = self.at;
        self.take_any(b"-");
        if !self.take_any(b"0") {
            self.digits()?;
        }
        if self.take_any(b".") {
            self.digits()?;
        }
        if self.take_any(b"eE") {
            self.take_any(b"+-");
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// Takes one of these bytes if it stands right here.
    fn take_any(&mut self, of: &[u8]) -> bool {
        let next = self.text.as_bytes().get(self.at);
        let found = next.is_some_and(|byte| of.contains(byte));
        self.at += usize::from(found);
        found
    }

    /// Takes at least one digit.
    fn digits(&mut self) -> Result<(), Unexpected> {
        let rest = &self.text.as_bytes()[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Err(self.unexpected());
        }
        self.at += digits;
        Ok(())
    }
}

/// Where the plain text of a string that goes on at `at` ends: at a quote, a backslash, a control character, or at the
/// end of `bytes`. Eight bytes at a time, since strings are most of what is sent.
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // In each byte that is zero, and perhaps in some above the first of these, the high bit; so the lowest tells.
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = zeros(word ^ (ONES * b'"' as u64));
        let backslash = zeros(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    at + rest.iter().take_while(plain).count()
}

/// What the walk is inside of, a bit a level (1 is an object), the innermost lowest. Deeper than 64 levels, whole
/// words move to the heap.
#[derive(Default)]
struct Nesting {
    word: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.word);
        }
        self.word = self.word << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.word >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.word = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost level is an object; nothing outside of all.
    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}
