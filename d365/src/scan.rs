//! Takes the text of a JSON document, gives its parts one after another without building any.
//!
//! This is for speed alone. It reads the documents that Dataverse writes and gives up, with
//! `None`, on what is wrong or only unusual: [`crate::json()`] then says what it is. So it may
//! refuse too much, but must never take what that refuses.

use std::borrow::Cow;

/// Levels of nesting that are read; [`crate::json()`] reads 127.
const DEEPEST: u8 = 100;

/// A place in a document. After a `None` it stands anywhere.
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

/// A text of the document, its quotes left off, its escapes still in it.
#[derive(Clone, Copy)]
pub(crate) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Scan {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// The first byte of what comes next, blanks skipped.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte()?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Nothing but blanks is left.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// An object, each member of which `member` has to read. Its name is given without
    /// escapes: one that has any is unusual.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.list_of(b'{', b'}', |scan| {
            scan.peek().filter(|byte| *byte == b'"')?;
            let name = scan.text()?.bare()?;
            // The names that mean something to serde_json begin so.
            if name.starts_with('$') {
                return None;
            }
            scan.expect(b':')?;
            member(scan, name)
        })
    }

    /// A list, each item of which `item` has to read.
    pub(crate) fn list(&mut self, item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.list_of(b'[', b']', item)
    }

    fn list_of(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        if self.peek()? != close {
            item(self)?;
            while self.peek()? == b',' {
                self.at += 1;
                item(self)?;
            }
        }
        self.depth -= 1;
        self.expect(close)
    }

    /// A text or null.
    pub(crate) fn text_or_null(&mut self) -> Option<Option<Text<'a>>> {
        match self.peek()? {
            b'"' => self.text().map(Some),
            _ => self.null().map(|()| None),
        }
    }

    /// A whole number of 64 bits in its shortest spelling, or null.
    pub(crate) fn integer_or_null(&mut self) -> Option<Option<i64>> {
        if self.peek()? == b'n' {
            return self.null().map(|()| None);
        }
        let digits = self.number()?;
        (digits != "-0")
            .then(|| digits.parse().ok())
            .flatten()
            .map(Some)
    }

    pub(crate) fn null(&mut self) -> Option<()> {
        self.word("null")
    }

    /// A value that is no object and no list.
    pub(crate) fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => self.number().map(drop),
        }
    }

    /// A text; the next byte is its quote.
    pub(crate) fn text(&mut self) -> Option<Text<'a>> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        let bytes = self.text.as_bytes();
        loop {
            at = plain_until(bytes, at);
            match *bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at += match *bytes.get(at + 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        b'u' => {
                            character(self.text.get(at + 2..at + 6)?)?;
                            6
                        }
                        _ => return None,
                    };
                }
                // A control character.
                _ => return None,
            }
        }
        self.at = at + 1;
        Some(Text {
            raw: self.text.get(start..at)?,
            escaped,
        })
    }

    fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip(b"-");
        match self.byte()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.skip(b"+-");
            self.digits()?;
        }
        self.text.get(start..self.at)
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn skip(&mut self, any_of: &[u8]) {
        if self.byte().is_some_and(|byte| any_of.contains(&byte)) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
        })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

impl<'a> Text<'a> {
    /// The text, if nothing in it is escaped.
    pub(crate) fn bare(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }

    /// The text.
    pub(crate) fn unescaped(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return Some(Cow::Borrowed(self.raw));
        }
        let mut plain = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some((before, from)) = rest.split_once('\\') {
            plain.push_str(before);
            let (c, length) = match from.bytes().next()? {
                b'b' => ('\u{8}', 1),
                b'f' => ('\u{c}', 1),
                b'n' => ('\n', 1),
                b'r' => ('\r', 1),
                b't' => ('\t', 1),
                b'u' => (character(from.get(1..5)?)?, 5),
                itself => (char::from(itself), 1),
            };
            plain.push(c);
            rest = from.get(length..)?;
        }
        plain.push_str(rest);
        Some(Cow::Owned(plain))
    }
}

/// Where, from this place on, the first quote, backslash or control character is; the end, or
/// near it, if there is none. Eight bytes are looked at at a time: most of a body is texts.
fn plain_until(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let mut at = from;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        // The high bit of each byte that is below `limit`, and maybe of bytes after such a one.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = is(b'"') | is(b'\\') | below(word, 0x20);
        if found != 0 {
            // At most 7.
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// The character of these four hexadecimal digits; none for half of a surrogate pair.
fn character(digits: &str) -> Option<char> {
    let sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let point = u32::from_str_radix(digits, 16).ok().filter(|_| sound)?;
    char::from_u32(point)
}
