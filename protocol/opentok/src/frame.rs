//! Frames: one in each binary message of the WebSocket.
//!
//! ```text
//! 4 bytes   length of the rest, big-endian, as all numbers
//! 2         zero
//! 1         kind
//! 1         number of addresses; each: length (2), text
//! 1         number of headers; each: length (2), name, length (2), value
//! the rest  body
//! ```

use std::str;

/// Length of the shortest frame, in bytes.
const SHORTEST: usize = 9;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The client subscribes to a session, once. It expects no answer.
    Subscribe,
    /// The client unsubscribes.
    Unsubscribe,
    /// A request of a client, or a message to it. The body is JSON.
    Message,
    /// The first frame of a new connection.
    Connect,
    /// The client leaves this WebSocket, for good or to resume on another.
    Disconnect,
    /// A ping of a client.
    Ping,
    /// The answer to a ping, which the gateway also sends unasked.
    Pong,
    /// The answer to a request, or the confirmation of a message.
    Status,
}

impl FrameKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Message,
        Self::Connect,
        Self::Disconnect,
        Self::Ping,
        Self::Pong,
        Self::Status,
    ];

    /// Its number in a frame.
    pub const fn number(self) -> u8 {
        match self {
            Self::Subscribe => 0,
            Self::Unsubscribe => 1,
            Self::Message => 2,
            Self::Connect => 3,
            Self::Disconnect => 4,
            // 5 and 6 are unassigned.
            Self::Ping => 7,
            Self::Pong => 8,
            Self::Status => 9,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// The bytes are not a frame. This is a fault of their sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// It is shorter than any frame.
    #[error("malformed frame: it has {0} bytes, at least {SHORTEST} are needed")]
    TooShort(usize),
    /// The length at its beginning is wrong.
    #[error("malformed frame: it announces {announced} bytes, and {found} follow")]
    Length {
        /// The length that it states.
        announced: u32,
        /// The number of bytes that follow.
        found: usize,
    },
    /// The two bytes before the kind are not zero.
    #[error("malformed frame: the two bytes after the length must be zero")]
    Reserved,
    /// There is no such kind of frame.
    #[error("malformed frame: there is no kind {0}")]
    UnknownKind(u8),
    /// An address or a header reaches beyond its end.
    #[error("malformed frame: an address or a header reaches beyond its end")]
    Truncated,
    /// An address, a header or the body is not UTF-8.
    #[error("malformed frame: a text is not UTF-8")]
    NotUtf8,
    /// A header that matters is there twice.
    #[error("malformed frame: the header {0} is there twice")]
    DoubledHeader(&'static str),
    /// A header is missing.
    #[error("malformed frame: the header {0} is missing")]
    MissingHeader(&'static str),
}

/// A frame whose parts have been checked. It borrows from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its kind.
    pub kind: FrameKind,
    /// Its body, empty if there is none.
    pub body: &'a str,
    addresses: TextList<'a>,
    headers: TextList<'a>,
}

impl<'a> Frame<'a> {
    /// Reads the frame in a message of the WebSocket.
    ///
    /// # Errors
    /// The first [`FrameFault`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameFault> {
        let short = FrameFault::TooShort(bytes.len());
        let (length, rest) = bytes.split_first_chunk().ok_or(short)?;
        let [zero @ .., kind, addresses] = rest.first_chunk::<4>().ok_or(short)?;
        if bytes.len() < SHORTEST {
            return Err(short);
        }
        let announced = u32::from_be_bytes(*length);
        if usize::try_from(announced) != Ok(rest.len()) {
            return Err(FrameFault::Length { announced, found: rest.len() });
        }
        if *zero != [0, 0] {
            return Err(FrameFault::Reserved);
        }
        let kind = FrameKind::from_number(*kind).ok_or(FrameFault::UnknownKind(*kind))?;
        let rest = rest.get(4..).unwrap_or_default();
        let (addresses, rest) = TextList::split(usize::from(*addresses), rest)?;
        let (headers, rest) = rest.split_first().ok_or(FrameFault::Truncated)?;
        let (headers, body) = TextList::split(2 * usize::from(*headers), rest)?;
        let body = str::from_utf8(body).map_err(|_| FrameFault::NotUtf8)?;
        Ok(Self { kind, body, addresses, headers })
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &'a str> {
        self.addresses
    }

    /// Its headers, as names and values.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut fields = self.headers;
        std::iter::from_fn(move || Some((fields.next()?, fields.next()?)))
    }

    /// The value of a header. Names are compared byte by byte.
    ///
    /// # Errors
    /// [`FrameFault::DoubledHeader`].
    pub fn header(&self, name: &'static str) -> Result<Option<&'a str>, FrameFault> {
        let mut values = self.headers().filter(|(other, _)| *other == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(FrameFault::DoubledHeader(name)),
        }
    }

    /// The value of a header that must be there.
    ///
    /// # Errors
    /// [`FrameFault::MissingHeader`] or [`FrameFault::DoubledHeader`].
    pub fn required(&self, name: &'static str) -> Result<&'a str, FrameFault> {
        self.header(name)?.ok_or(FrameFault::MissingHeader(name))
    }
}

/// A list of texts, each after its length. The texts have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TextList<'a>(&'a [u8]);

impl<'a> TextList<'a> {
    /// Checks a list of `count` texts, and returns it and the rest.
    fn split(count: usize, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FrameFault> {
        let mut rest = bytes;
        for _ in 0..count {
            let text;
            (text, rest) = split_text(rest).ok_or(FrameFault::Truncated)?;
            str::from_utf8(text).map_err(|_| FrameFault::NotUtf8)?;
        }
        let length = bytes.len() - rest.len();
        Ok((Self(bytes.get(..length).unwrap_or_default()), rest))
    }
}

impl<'a> Iterator for TextList<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text;
        (text, self.0) = split_text(self.0)?;
        str::from_utf8(text).ok()
    }
}

fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A frame under construction.
#[derive(Debug)]
pub(crate) struct FrameBuilder(Vec<u8>);

impl FrameBuilder {
    /// A frame with these headers and no address. `body` is the expected length of the body.
    pub(crate) fn new(kind: FrameKind, headers: &[(&str, &str)], body: usize) -> Self {
        let fields: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
        let mut bytes = Vec::with_capacity(SHORTEST + fields + body);
        bytes.extend([0, 0, 0, 0, 0, 0, kind.number(), 0]);
        bytes.push(u8::try_from(headers.len()).unwrap_or(u8::MAX));
        for text in headers.iter().flat_map(|(name, value)| [*name, *value]) {
            // Names and values are ids of at most some hundred bytes.
            bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        Self(bytes)
    }

    /// The place for the body.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The finished frame.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        for (to, from) in self.0.iter_mut().zip(length.to_be_bytes()) {
            *to = from;
        }
        self.0
    }
}
