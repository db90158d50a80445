//! A lane: one outgoing stream and what could not be written to it yet.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quinn::{SendStream, StoppedError, VarInt, WriteError};
use signalbox_protocol::CloseReason;

use super::connection_error;
use crate::link::LinkError;

/// A stream with its own queue, so that a stream which is blocked holds up nobody else's frames.
/// What waits here still counts in the receiver's outbox, which bounds it.
pub(super) struct Lane {
    stream: SendStream,
    backlog: VecDeque<Bytes>,
    /// For each of `backlog`: what it counts as in the outbox, or none if it did not come from
    /// there.
    costs: VecDeque<Option<usize>>,
}

/// Frames and bytes that a lane got rid of.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Written {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Lane {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, backlog: VecDeque::new(), costs: VecDeque::new() }
    }

    /// Adds a frame that came from the outbox and counts there as `cost` bytes.
    pub(super) fn push(&mut self, frame: Bytes, cost: usize) {
        self.backlog.push_back(frame);
        self.costs.push_back(Some(cost));
    }

    /// Adds a frame of the link's own.
    pub(super) fn push_own(&mut self, frame: Vec<u8>) {
        self.backlog.push_back(frame.into());
        self.costs.push_back(None);
    }

    /// Yields the client's code when it has stopped the stream.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<VarInt>, StoppedError>> + Send + use<> {
        self.stream.stopped()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Writes as much as the stream takes now; ready when nothing waits any more. Adds what was
    /// written to `written` in both cases.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        written: &mut Written,
    ) -> Poll<Result<(), LinkError>> {
        while !self.backlog.is_empty() {
            let progress = {
                let chunks = self.backlog.make_contiguous();
                // `write_chunks` may be dropped: it writes something or registers the waker.
                let write = pin!(self.stream.write_chunks(chunks));
                ready!(write.poll(cx))
            };
            match progress {
                Ok(progress) => {
                    self.backlog.drain(..progress.chunks);
                    for cost in self.costs.drain(..progress.chunks).flatten() {
                        written.frames += 1;
                        written.bytes += cost;
                    }
                }
                Err(error) => return Poll::Ready(Err(write_error(error))),
            }
        }
        Poll::Ready(Ok(()))
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

fn write_error(error: WriteError) -> LinkError {
    match error {
        WriteError::Stopped(_) => LinkError::protocol("the client stopped a stream it must read"),
        WriteError::ConnectionLost(error) => connection_error(error),
        other => LinkError::Lost(other.to_string()),
    }
}
