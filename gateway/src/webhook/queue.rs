//! The queue of one project's events: bounded in bytes, and ordered within each session.
//!
//! Sessions are spread over a few shards. The events of a shard are posted one after another, and
//! the shards in parallel, so that an endpoint's round trip does not bound the whole project.

use std::{collections::VecDeque, time::Duration};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use signalbox_protocol::ConnectionId;

use crate::trace::TraceParent;

/// Number of shards, and so of requests of one project at a time.
const SHARDS: usize = 8;

/// An event that the endpoint has not accepted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedEvent {
    /// The `webhook-id`: the same for all attempts, and on all gateways of a cluster, so that the
    /// receiver can detect repetitions.
    pub(super) id: String,
    pub(super) body: Bytes,
    /// Unix time of the event.
    pub(super) at: Duration,
    /// The span that has caused the event.
    pub(super) cause: Option<TraceParent>,
}

impl QueuedEvent {
    pub(super) fn new(event: &str, connection: ConnectionId, body: Bytes, at: Duration) -> Self {
        // Each event happens to a connection once.
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(connection.as_bytes());
        hash.update(event.as_bytes());
        let id = URL_SAFE_NO_PAD.encode(hash.finish());
        Self { id: format!("msg_{id}"), body, at, cause: None }
    }

    fn cost(&self) -> usize {
        self.id.len() + self.body.len()
    }
}

/// The next event of a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NextEvent {
    pub(super) event: QueuedEvent,
    /// Dropped events that this request is to report.
    pub(super) dropped: u64,
}

/// Events of one project, oldest first in each shard.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    shards: [Shard; SHARDS],
    bytes: usize,
    max_bytes: usize,
    /// Dropped events that no request has reported yet.
    dropped: u64,
    /// Whether the last attempt failed, so that only the first of many failures is logged.
    failing: bool,
    counts: QueueCounts,
}

/// What has happened to a queue's events, and how many there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    pub(crate) queued: u64,
    pub(crate) bytes: u64,
    pub(crate) failing: bool,
    pub(crate) accepted: u64,
    pub(crate) attempts_failed: u64,
    pub(crate) dropped: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// The event that is being posted, until the endpoint accepts it.
    posting: Option<QueuedEvent>,
    waiting: VecDeque<QueuedEvent>,
    /// Whether a task posts the events of this shard.
    busy: bool,
}

impl EventQueue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Replaces the bound. It applies when the next event is added.
    pub(super) fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Adds an event. If the queue is full, the oldest events that are not being posted are dropped:
    /// a receiver that missed a beginning can ignore the end of an unknown connection, but one that
    /// missed an end would keep that connection for ever.
    ///
    /// Returns the event's shard if no task posts its events. The caller must then start one.
    pub(super) fn push(&mut self, session_hash: u64, event: QueuedEvent) -> Option<usize> {
        self.bytes += event.cost();
        let index = (session_hash % SHARDS as u64) as usize;
        let shard = self.shards.get_mut(index)?;
        if std::mem::replace(&mut shard.busy, true) {
            shard.waiting.push_back(event);
            while self.bytes > self.max_bytes && self.drop_oldest() {}
            return None;
        }
        shard.posting = Some(event);
        while self.bytes > self.max_bytes && self.drop_oldest() {}
        Some(index)
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = |shard: &&mut Shard| shard.waiting.front().map(|event| event.at);
        let shards = self.shards.iter_mut().filter(|shard| !shard.waiting.is_empty());
        let Some(oldest) = shards.min_by_key(oldest).and_then(|shard| shard.waiting.pop_front())
        else {
            return false;
        };
        self.bytes -= oldest.cost();
        self.dropped += 1;
        self.counts.dropped += 1;
        true
    }

    /// The event to post in a shard. `None` if the shard is empty; it then has no task any more.
    pub(super) fn next(&mut self, shard: usize) -> Option<NextEvent> {
        let shard = self.shards.get_mut(shard)?;
        if shard.posting.is_none() {
            shard.posting = shard.waiting.pop_front();
        }
        shard.busy = shard.posting.is_some();
        let event = shard.posting.clone()?;
        Some(NextEvent { event, dropped: std::mem::take(&mut self.dropped) })
    }

    /// The endpoint has accepted a shard's event. Returns whether the attempt before had failed.
    pub(super) fn accepted(&mut self, shard: usize) -> bool {
        self.remove_posting(shard);
        self.counts.accepted += 1;
        std::mem::replace(&mut self.failing, false)
    }

    /// The endpoint has not accepted an event, nor the report of dropped ones. Returns whether it is
    /// the first failure after a success.
    pub(super) fn failed(&mut self, reported: u64) -> bool {
        self.dropped += reported;
        self.counts.attempts_failed += 1;
        !std::mem::replace(&mut self.failing, true)
    }

    /// Drops the event that a shard is posting.
    pub(super) fn give_up(&mut self, shard: usize, reported: u64) {
        self.dropped += reported + 1;
        self.counts.dropped += 1;
        self.remove_posting(shard);
    }

    fn remove_posting(&mut self, shard: usize) {
        if let Some(event) = self.shards.get_mut(shard).and_then(|shard| shard.posting.take()) {
            self.bytes -= event.cost();
        }
    }

    /// Its counts now.
    pub(super) fn counts(&self) -> QueueCounts {
        let (queued, bytes) = (self.len() as u64, self.bytes as u64);
        QueueCounts { queued, bytes, failing: self.failing, ..self.counts }
    }

    pub(super) fn len(&self) -> usize {
        let len = |shard: &Shard| shard.waiting.len() + usize::from(shard.posting.is_some());
        self.shards.iter().map(len).sum()
    }
}
