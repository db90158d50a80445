//! A lane: one outgoing stream and what could not be written to it yet.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quinn::{Connection, SendStream, StoppedError, VarInt, WriteError};
use signalbox_protocol::CloseReason;

use super::{
    chunks::{Chunks, SMALL},
    connection_error,
};
use crate::link::LinkError;

/// A chunk to which more is added has no more bytes than this, and one frame.
const FULL: usize = 4096;

/// A stream with its own queue, so that a stream which is blocked holds up nobody else's frames.
/// What waits here still counts in the receiver's outbox, which bounds it.
pub(super) struct Lane {
    stream: SendStream,
    /// What the stream is given next, if anything waits.
    chunk: Bytes,
    /// What the frames in it count as.
    counts: Written,
    /// Frames behind it.
    backlog: VecDeque<Frame>,
}

/// A frame that waits.
struct Frame {
    bytes: Bytes,
    /// What it counts as in the outbox, or none if it did not come from there.
    cost: Option<usize>,
}

/// Frames and bytes that a lane got rid of.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Written {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Written {
    fn add(&mut self, cost: Option<usize>) {
        if let Some(cost) = cost {
            self.frames += 1;
            self.bytes += cost;
        }
    }
}

impl Lane {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, chunk: Bytes::new(), counts: Written::default(), backlog: VecDeque::new() }
    }

    /// Adds a frame that came from the outbox and counts there as `cost` bytes.
    pub(super) fn push(&mut self, frame: Bytes, cost: usize) {
        self.backlog.push_back(Frame { bytes: frame, cost: Some(cost) });
    }

    /// Adds a frame of the link's own.
    pub(super) fn push_own(&mut self, frame: Vec<u8>) {
        self.backlog.push_back(Frame { bytes: frame.into(), cost: None });
    }

    /// Yields the client's code when it has stopped the stream.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + use<> {
        self.stream.stopped()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.chunk.is_empty() && self.backlog.is_empty()
    }

    /// Writes as much as the stream takes now; ready when nothing waits any more. Adds what was
    /// written to `written` in both cases.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        chunks: &mut Chunks,
        written: &mut Written,
    ) -> Poll<Result<(), LinkError>> {
        loop {
            gather(&mut self.chunk, &mut self.counts, &mut self.backlog);
            let len = self.chunk.len();
            if len == 0 {
                return Poll::Ready(Ok(()));
            }
            chunks.prepare(connection, len);
            let progress = {
                let chunk = std::slice::from_mut(&mut self.chunk);
                // `write_chunks` may be dropped: it writes something or registers the waker.
                let write = pin!(self.stream.write_chunks(chunk));
                ready!(write.poll(cx))
            };
            if let Err(error) = progress {
                return Poll::Ready(Err(write_error(error)));
            }
            chunks.given(len);
            if self.chunk.is_empty() {
                let Written { frames, bytes } = std::mem::take(&mut self.counts);
                written.frames += frames;
                written.bytes += bytes;
            }
        }
    }

    /// Ends the stream after what has been written. If something still waits, the end must not
    /// look like a clean one: the stream is reset.
    pub(super) fn finish(&mut self) {
        // Both fail only if the stream has ended already, which is what is wanted.
        let _ = if self.is_idle() {
            self.stream.finish()
        } else {
            self.stream.reset(CloseReason::InternalError.quic_code().into())
        };
    }
}

/// Adds frames that wait to a chunk that is small, as every chunk costs QUIC the same. A frame alone
/// becomes the chunk without a copy, which is the usual case.
fn gather(chunk: &mut Bytes, counts: &mut Written, backlog: &mut VecDeque<Frame>) {
    if chunk.is_empty() {
        let Some(Frame { bytes, cost }) = backlog.pop_front() else { return };
        *chunk = bytes;
        counts.add(cost);
    }
    if chunk.len() >= SMALL || backlog.is_empty() {
        return;
    }
    let mut len = chunk.len();
    let more = backlog.iter().take_while(|frame| {
        let fits = len < FULL;
        len += if fits { frame.bytes.len() } else { 0 };
        fits
    });
    let more = more.count();
    // Of exactly that size: what is not used would be held as well.
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(chunk);
    for frame in backlog.drain(..more) {
        bytes.extend_from_slice(&frame.bytes);
        counts.add(frame.cost);
    }
    *chunk = bytes.into();
}

fn write_error(error: WriteError) -> LinkError {
    match error {
        WriteError::Stopped(_) => LinkError::protocol("the client stopped a stream it must read"),
        WriteError::ConnectionLost(error) => connection_error(error),
        other => LinkError::Lost(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(lengths: &[usize]) -> VecDeque<Frame> {
        let frame = |len: &usize| Frame { bytes: vec![7; *len].into(), cost: Some(*len) };
        lengths.iter().map(frame).collect()
    }

    /// How long the next chunk is, and how many frames are in it.
    fn next(chunk: &mut Bytes, backlog: &mut VecDeque<Frame>) -> (usize, usize) {
        let mut counts = Written::default();
        gather(chunk, &mut counts, backlog);
        assert_eq!(counts.bytes, chunk.len());
        (std::mem::take(chunk).len(), counts.frames)
    }

    #[test]
    fn a_frame_alone_is_not_copied() {
        let mut backlog = frames(&[20]);
        let at = backlog[0].bytes.as_ptr();
        let mut chunk = Bytes::new();
        gather(&mut chunk, &mut Written::default(), &mut backlog);
        assert_eq!(chunk.as_ptr(), at);
        // And neither are long ones, however many.
        let mut backlog = frames(&[SMALL, SMALL]);
        assert_eq!(next(&mut Bytes::new(), &mut backlog), (SMALL, 1));
    }

    #[test]
    fn small_frames_become_few_chunks() {
        let mut backlog = frames(&[5; 10_000]);
        let mut chunks = 0;
        while !backlog.is_empty() {
            next(&mut Bytes::new(), &mut backlog);
            chunks += 1;
        }
        assert_eq!(chunks, 10_000 * 5 / FULL + 1);
    }

    #[test]
    fn a_small_frame_takes_a_long_one_along() {
        let mut backlog = frames(&[5, 8000, 5, 8000]);
        assert_eq!(next(&mut Bytes::new(), &mut backlog), (8005, 2));
        assert_eq!(next(&mut Bytes::new(), &mut backlog), (8005, 2));
        assert_eq!(next(&mut Bytes::new(), &mut backlog), (0, 0));
    }

    #[test]
    fn a_small_chunk_that_waits_grows() {
        let mut chunk = Bytes::from_static(&[7; 10]);
        let mut counts = Written { frames: 1, bytes: 10 };
        gather(&mut chunk, &mut counts, &mut frames(&[20, 30]));
        assert_eq!((chunk.len(), counts.frames, counts.bytes), (60, 3, 60));
    }
}
