//! An outgoing stream with the queue of frames that it has not accepted yet.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quinn::{Connection, SendStream, StoppedError, VarInt, WriteError};

use super::{
    chunks::{Chunks, SMALL},
    connection_error,
};
use crate::link::transport::LinkError;

/// Bytes up to which frames are added to a chunk. It exceeds them by one frame at most.
const FULL: usize = 4096;

/// A stream with its own queue, so that a blocked stream delays no other. Queued frames still count
/// against the receiver's outbox, which bounds them.
pub(super) struct StreamQueue {
    stream: SendStream,
    /// The bytes that the stream is given next.
    chunk: Bytes,
    /// The frames and bytes of `chunk`, by the outbox's count.
    counts: WrittenCount,
    /// The frames behind the chunk.
    backlog: VecDeque<QueuedFrame>,
}

/// A frame that has not been written.
pub(super) struct QueuedFrame {
    bytes: Bytes,
    /// Its size by the outbox's count; none if it did not come from the outbox.
    cost: Option<usize>,
}

impl QueuedFrame {
    /// A frame from the outbox, which counts it as `cost` bytes.
    pub(super) fn counted(bytes: Bytes, cost: usize) -> Self {
        Self { bytes, cost: Some(cost) }
    }

    /// A frame that the link itself makes.
    pub(super) fn own(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), cost: None }
    }
}

/// Frames and bytes that have left a queue, by the outbox's count.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct WrittenCount {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl WrittenCount {
    /// Counts one frame of the outbox.
    pub(super) fn add(&mut self, cost: usize) {
        self.frames += 1;
        self.bytes += cost;
    }
}

impl StreamQueue {
    pub(super) fn new(stream: SendStream) -> Self {
        Self {
            stream,
            chunk: Bytes::new(),
            counts: WrittenCount::default(),
            backlog: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, frame: QueuedFrame) {
        self.backlog.push_back(frame);
    }

    /// Moves all of these frames to the end of the queue.
    pub(super) fn append(&mut self, frames: &mut VecDeque<QueuedFrame>) {
        self.backlog.append(frames);
    }

    /// Yields the client's code when the client has stopped the stream.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + use<> {
        self.stream.stopped()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.chunk.is_empty() && self.backlog.is_empty()
    }

    /// Writes as much as the stream accepts. Ready when the queue is empty. What was written is
    /// added to `written` in either case.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
        chunks: &mut Chunks,
        written: &mut WrittenCount,
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
                // Dropping `write_chunks` is safe: it writes bytes or registers the waker.
                let write = pin!(self.stream.write_chunks(chunk));
                ready!(write.poll(cx))
            };
            if let Err(error) = progress {
                return Poll::Ready(Err(write_error(error)));
            }
            chunks.written(len);
            if self.chunk.is_empty() {
                let WrittenCount { frames, bytes } = std::mem::take(&mut self.counts);
                written.frames += frames;
                written.bytes += bytes;
            }
        }
    }

    /// Ends the stream after the written bytes. If frames are still queued, the stream is reset with
    /// this code, so that its end does not look clean.
    pub(super) fn finish(&mut self, reset_code: VarInt) {
        // Both calls fail only if the stream has already ended, which is fine.
        let _ = if self.is_idle() { self.stream.finish() } else { self.stream.reset(reset_code) };
    }
}

/// Adds queued frames to a small chunk, as QUIC's cost is per chunk. A single frame becomes the
/// chunk without a copy, which is the usual case.
fn gather(chunk: &mut Bytes, counts: &mut WrittenCount, backlog: &mut VecDeque<QueuedFrame>) {
    if chunk.is_empty() {
        let Some(QueuedFrame { bytes, cost }) = backlog.pop_front() else { return };
        *chunk = bytes;
        cost.into_iter().for_each(|cost| counts.add(cost));
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
    // With exactly this capacity: unused capacity would be retained as well.
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(chunk);
    for frame in backlog.drain(..more) {
        bytes.extend_from_slice(&frame.bytes);
        frame.cost.into_iter().for_each(|cost| counts.add(cost));
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

    fn frames(lengths: &[usize]) -> VecDeque<QueuedFrame> {
        let frame = |len: &usize| QueuedFrame::counted(vec![7; *len].into(), *len);
        lengths.iter().map(frame).collect()
    }

    /// The length of the next chunk, and the number of frames in it.
    fn next(chunk: &mut Bytes, backlog: &mut VecDeque<QueuedFrame>) -> (usize, usize) {
        let mut counts = WrittenCount::default();
        gather(chunk, &mut counts, backlog);
        assert_eq!(counts.bytes, chunk.len());
        (std::mem::take(chunk).len(), counts.frames)
    }

    #[test]
    fn a_frame_alone_is_not_copied() {
        let mut backlog = frames(&[20]);
        let at = backlog[0].bytes.as_ptr();
        let mut chunk = Bytes::new();
        gather(&mut chunk, &mut WrittenCount::default(), &mut backlog);
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
        let mut counts = WrittenCount { frames: 1, bytes: 10 };
        gather(&mut chunk, &mut counts, &mut frames(&[20, 30]));
        assert_eq!((chunk.len(), counts.frames, counts.bytes), (60, 3, 60));
    }
}
