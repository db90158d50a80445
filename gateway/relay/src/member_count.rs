//! Numbers of members and what waits for them.

use signalbox_protocol::{SessionId, Transport};

use crate::outbox::Outbox;

/// The members of one session on this gateway.
#[derive(Debug)]
pub struct SessionCount {
    /// The session.
    pub session: SessionId,
    by_transport: [MemberCount; Transport::ALL.len()],
}

/// The members of a session whose latest link has one transport.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MemberCount {
    /// Members with a link.
    pub attached: u64,
    /// Members whose link was lost, and whose client may resume.
    pub detached: u64,
    /// Frames in the outboxes.
    pub frames: u64,
    /// Bytes in the outboxes.
    pub bytes: u64,
    /// The fullest outbox: 1 is the bound of its frames or its bytes.
    pub fullest: f64,
}

impl MemberCount {
    /// Counts one member, attached if it has an outbox.
    pub(crate) fn of(outbox: Option<&Outbox>) -> Self {
        let Some(outbox) = outbox else { return Self { detached: 1, ..Self::default() } };
        let (frames, bytes) = outbox.load();
        let (frames, bytes) = (frames as u64, bytes as u64);
        Self { attached: 1, detached: 0, frames, bytes, fullest: outbox.fill() }
    }

    /// Adds the counts of other members.
    pub fn add(&mut self, other: Self) {
        self.attached += other.attached;
        self.detached += other.detached;
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.fullest = self.fullest.max(other.fullest);
    }
}

impl SessionCount {
    pub(crate) fn new(
        session: SessionId,
        by_transport: [MemberCount; Transport::ALL.len()],
    ) -> Self {
        Self { session, by_transport }
    }

    pub(crate) fn position(transport: Transport) -> usize {
        match transport {
            Transport::Quic => 0,
            Transport::WebSocket => 1,
            Transport::WebTransport => 2,
        }
    }

    /// The counts of each transport.
    pub fn by_transport(&self) -> impl Iterator<Item = (Transport, MemberCount)> {
        let count = |transport| self.by_transport.get(Self::position(transport));
        Transport::ALL.into_iter().map(move |it| (it, count(it).copied().unwrap_or_default()))
    }
}
