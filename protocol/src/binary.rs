//! Messages as postcard (<https://postcard.jamesmunns.com/wire-format>).

use crate::message::Message;

/// A message as postcard, without spare capacity.
pub fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_len(message));
    encode_into(message, &mut out);
    out
}

/// Appends a message as postcard.
pub(crate) fn encode_into<'a>(message: &impl Message<'a>, out: &mut Vec<u8>) {
    let written = postcard::to_extend(message, Appender(out));
    // The wire types have no maps, no unsized sequences and no serializers that fail, and a
    // vector takes all it is given: there is nothing left that could go wrong.
    debug_assert!(written.is_ok(), "a wire message always encodes");
}

/// Number of bytes that [`encode`] yields.
pub(crate) fn encoded_len<'a>(message: &impl Message<'a>) -> usize {
    // As in `encode_into`: wire messages always encode. The length is only used as a capacity
    // and as the frame prefix, and a frame is checked against it when it is built.
    postcard::experimental::serialized_size(message).unwrap_or_default()
}

/// The bytes are not a message. This is a fault of their sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// They are incomplete, or contain a value that the message cannot have (invalid UTF-8, a bad
    /// tag …).
    #[error("malformed message")]
    Malformed,
    /// There are bytes after the message.
    #[error("{0} bytes follow the message")]
    TrailingBytes(usize),
}

/// Reads one message, which must fill `bytes`. `None` is a variant that this version does not
/// know, from a newer sender; the caller skips it.
///
/// # Errors
/// [`BinaryError`] if the bytes are not a message. Never panics, and allocates no more than
/// the size of the bytes.
pub fn decode<'a, M: Message<'a>>(bytes: &'a [u8]) -> Result<Option<M>, BinaryError> {
    let (tag, _) = postcard::take_from_bytes::<u32>(bytes).map_err(|_| BinaryError::Malformed)?;
    if usize::try_from(tag).is_ok_and(|tag| tag >= M::NAMES.len()) {
        return Ok(None);
    }
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(|_| BinaryError::Malformed)?;
    if rest.is_empty() { Ok(Some(message)) } else { Err(BinaryError::TrailingBytes(rest.len())) }
}

/// A borrowed buffer for `postcard::to_extend`, which takes its target by value.
struct Appender<'v>(&'v mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}
