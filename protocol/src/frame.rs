//! Frames: messages delimited by their length on a QUIC stream.
//!
//! A frame is the message's length in bytes as a varint (LEB128, as postcard writes integers;
//! at most 4 bytes, shortest form), then the message. On a WebSocket the transport delimits
//! messages, and there is no length.

use crate::{
    binary::{encode_into, encoded_len},
    message::Message,
};

/// Longest length prefix, in bytes: lengths up to 2^28 - 1.
pub const MAX_PREFIX_BYTES: usize = 4;

/// A message as a frame, in one allocation.
pub fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_to(message, &mut out);
    out
}

/// Appends a message as a frame, with at most one allocation.
pub fn encode_to<'a>(message: &impl Message<'a>, out: &mut Vec<u8>) {
    let len = encoded_len(message);
    // Exact for a single frame, and doubling as usual when many are gathered.
    if out.is_empty() {
        out.reserve_exact(prefix_len(len) + len);
    }
    append_prefix(len, out);
    let start = out.len();
    encode_into(message, out);
    debug_assert_eq!(out.len() - start, len, "the prefix tells the truth");
}

/// Length of a frame's prefix, in bytes; the message follows.
pub fn prefix_len(message_len: usize) -> usize {
    match message_len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => MAX_PREFIX_BYTES,
    }
}

/// The message in a frame that [`encode`] made, without its length.
pub fn message_of(frame: &[u8]) -> &[u8] {
    let prefix = frame.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    frame.get(prefix..).unwrap_or_default()
}

fn append_prefix(mut len: usize, out: &mut Vec<u8>) {
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// The stream does not continue with a valid frame. This is a fault of its writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The declared length is over the limit, or its varint is longer than 4 bytes.
    #[error("frame of more than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// The length is written in more bytes than it needs.
    #[error("frame length is not in its shortest form")]
    Length,
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
}

/// Divides the bytes of a stream into frames. Holds at most one frame of the maximum length, plus
/// the bytes of the last [`FrameBuffer::push`].
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    /// Start of the next frame; everything before it has been taken.
    start: usize,
    max: usize,
}

/// Capacity that an empty buffer may retain, in bytes: a few short signals. A hello with its token,
/// or a rare long frame, must not use memory for the rest of the connection.
const KEEP_BYTES: usize = 256;

impl FrameBuffer {
    /// A buffer for frames whose message has at most `max` bytes. Allocates nothing yet.
    pub const fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, max }
    }

    /// Adds bytes that were read from the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Takes the next message, without its prefix, if it is complete.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] and [`FrameError::Length`], as soon as the prefix has been
    /// read, before the frame. The stream cannot be used after that.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some((prefix, len)) = self.peek()? else {
            return Ok(None);
        };
        let from = self.start + prefix;
        if self.bytes.len() - from < len {
            return Ok(None);
        }
        self.start = from + len;
        Ok(self.bytes.get(from..from + len))
    }

    /// Whether a whole frame or a bad prefix is buffered, so that [`FrameBuffer::next_frame`]
    /// returns a frame or an error.
    pub fn is_ready(&self) -> bool {
        match self.peek() {
            Ok(Some((prefix, len))) => self.bytes.len() - self.start >= prefix + len,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Ends the buffer after the end of the stream.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if it ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.start == self.bytes.len() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    /// Frees the memory of a long frame, if no part of a frame is buffered.
    pub fn shrink(&mut self) {
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Length of the prefix and of the message, if the prefix is complete.
    fn peek(&self) -> Result<Option<(usize, usize)>, FrameError> {
        let mut len = 0usize;
        for (index, byte) in self.bytes.iter().skip(self.start).take(MAX_PREFIX_BYTES).enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * index);
            if len > self.max {
                return Err(FrameError::TooLarge { max: self.max });
            }
            if byte & 0x80 == 0 {
                if *byte == 0 && index > 0 {
                    return Err(FrameError::Length);
                }
                return Ok(Some((index + 1, len)));
            }
        }
        if self.bytes.len() - self.start >= MAX_PREFIX_BYTES {
            return Err(FrameError::TooLarge { max: self.max });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_prefix(message.len(), &mut out);
        out.extend_from_slice(message);
        out
    }

    #[test]
    fn absurd_lengths_are_refused_on_their_prefix() {
        // 2^62 as LEB128: nine bytes, of which the first four are enough.
        let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
        let mut buffer = FrameBuffer::new(1024);
        buffer.push(&huge[..3]);
        assert_eq!(buffer.next_frame(), Ok(None));
        buffer.push(&huge[3..4]);
        assert_eq!(buffer.next_frame(), Err(FrameError::TooLarge { max: 1024 }));

        let mut buffer = FrameBuffer::new(1024);
        buffer.push(&[0x81, 0x08]); // 1025
        assert_eq!(buffer.next_frame(), Err(FrameError::TooLarge { max: 1024 }));
    }

    #[test]
    fn lengths_have_one_spelling() {
        let mut buffer = FrameBuffer::new(1024);
        buffer.push(&[0x81, 0x00, b'x']);
        assert_eq!(buffer.next_frame(), Err(FrameError::Length));
    }

    #[test]
    fn an_end_inside_a_frame_is_noticed() {
        for (bytes, end) in [
            (&[][..], Ok(())),
            (&[1, b'x'][..], Ok(())),
            (&[2, b'x'][..], Err(FrameError::Truncated)),
            (&[0x80][..], Err(FrameError::Truncated)),
        ] {
            let mut buffer = FrameBuffer::new(1024);
            buffer.push(bytes);
            while buffer.next_frame().unwrap().is_some() {}
            assert_eq!(buffer.finish(), end, "{bytes:?}");
        }
    }

    #[test]
    fn memory_of_a_long_frame_is_given_back() {
        let mut buffer = FrameBuffer::new(100_000);
        buffer.push(&frame(&[7; 90_000]));
        assert_eq!(buffer.next_frame().unwrap().map(<[u8]>::len), Some(90_000));
        buffer.shrink();
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1usize..40, 1..50),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| frame(m)).collect();
            let mut buffer = FrameBuffer::new(300);
            let mut seen = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                rest = tail;
                buffer.push(chunk);
                while buffer.is_ready() {
                    seen.push(buffer.next_frame().unwrap().unwrap().to_vec());
                }
                buffer.shrink();
            }
            prop_assert_eq!(seen, messages);
            prop_assert_eq!(buffer.finish(), Ok(()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = FrameBuffer::new(50);
            buffer.push(&bytes);
            while let Ok(Some(message)) = buffer.next_frame() {
                prop_assert!(message.len() <= 50);
            }
        }
    }
}
