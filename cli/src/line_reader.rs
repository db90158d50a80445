//! Line reader for standard input, in bounded memory.

use std::{fmt, io};

use bytes::BytesMut;
use signalbox_protocol::limits::DATA_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _, Stdin};
use tokio_util::codec::{Decoder as _, LinesCodec, LinesCodecError};

/// Bytes of a line beside the data of a signal: the longest command of `join` (`/type TYPE`, with a type
/// of 128 bytes) and a line end of two bytes.
const COMMAND_BYTES: usize = 256;

/// Bytes of a line. A longer one cannot be sent.
const LINE_BYTES: usize = DATA_BYTES + COMMAND_BYTES;

/// Bytes of one read.
const READ_BYTES: usize = 8 * 1024;

/// A source of numbered lines.
pub(crate) struct LineReader<R = Stdin> {
    input: R,
    buffer: BytesMut,
    codec: LinesCodec,
    number: u64,
    ended: bool,
}

/// One line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: Result<String, LineError>,
}

/// The reason for which a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineError {
    NotUtf8,
    TooLong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::TooLong => {
                write!(f, "longer than a signal may be ({DATA_BYTES} bytes of data)")
            }
        }
    }
}

impl LineReader {
    pub(crate) fn stdin() -> Self {
        Self::new(tokio::io::stdin())
    }
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    fn new(input: R) -> Self {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES);
        Self { input, buffer: BytesMut::new(), codec, number: 0, ended: false }
    }

    /// The next line; none at the end of the input. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let decoded = if self.ended {
                self.codec.decode_eof(&mut self.buffer)
            } else {
                self.codec.decode(&mut self.buffer)
            };
            let text = match decoded {
                Ok(Some(line)) => Ok(line),
                Ok(None) if self.ended => return Ok(None),
                Ok(None) => {
                    self.buffer.reserve(READ_BYTES);
                    self.ended = self.input.read_buf(&mut self.buffer).await? == 0;
                    continue;
                }
                Err(LinesCodecError::MaxLineLengthExceeded) => Err(LineError::TooLong),
                // The codec does no I/O: it reports invalid UTF-8 by this variant.
                Err(LinesCodecError::Io(_)) => Err(LineError::NotUtf8),
            };
            self.number += 1;
            return Ok(Some(Line { number: self.number, text }));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn all(input: &[u8]) -> Vec<(u64, Result<String, LineError>)> {
        // A pipe of a few bytes, so that lines arrive in pieces.
        let (mut writer, reader) = tokio::io::duplex(7);
        let write = async move { writer.write_all(input).await.unwrap() };
        let read = async {
            let (mut lines, mut found) = (LineReader::new(reader), Vec::new());
            while let Some(Line { number, text }) = lines.next().await.unwrap() {
                found.push((number, text));
                assert!(lines.buffer.capacity() <= 4 * LINE_BYTES);
            }
            found
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn an_invalid_line_does_not_affect_the_others() {
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(
            all(b"one\ntw\xffo\r\n\nfour\r\nf\xc3").await,
            [
                (1, text("one")),
                (2, Err(LineError::NotUtf8)),
                (3, text("")),
                (4, text("four")),
                (5, Err(LineError::NotUtf8)),
            ]
        );
        assert_eq!(all(b"").await, []);
    }

    #[tokio::test]
    async fn the_rest_of_a_long_line_is_not_kept() {
        let longest = "x".repeat(LINE_BYTES);
        let input = format!("{longest}\n{}\nthree\n{}", longest.repeat(20), longest.repeat(20));
        assert_eq!(
            all(input.as_bytes()).await,
            [
                (1, Ok(longest)),
                (2, Err(LineError::TooLong)),
                (3, Ok("three".into())),
                (4, Err(LineError::TooLong)),
            ]
        );
    }
}
