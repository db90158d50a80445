//! Notices: messages with one slot each, whose latest value replaces an earlier one.

use crate::outgoing::Outgoing;

/// Notices of one outbox. They are queued when the link takes them, so that they need no space in
/// the outbox before, and many confirmations become one.
///
/// Which ones wait is in one byte, because every link asks each time it drains its outbox.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: u8,
    /// Milliseconds until the gateway closes the link.
    go_away: u32,
    /// Signals of the receiver that have been processed.
    accepted: u64,
}

const ACCEPTED: u8 = 1;
const GO_AWAY: u8 = 2;
const HEARTBEAT: u8 = 4;

impl Notices {
    pub(super) fn accepted(&mut self, signals: u64) {
        self.accepted = signals;
        self.waiting |= ACCEPTED;
    }

    pub(super) fn go_away(&mut self, within_ms: u32) {
        self.go_away = within_ms;
        self.waiting |= GO_AWAY;
    }

    pub(super) fn heartbeat(&mut self) {
        self.waiting |= HEARTBEAT;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes all notices, in the order in which they are sent.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Outgoing> + use<> {
        let Self { waiting, go_away: within_ms, accepted: signals } = std::mem::take(self);
        let all = [
            (ACCEPTED, Outgoing::Accepted { signals }),
            (GO_AWAY, Outgoing::GoAway { within_ms }),
            (HEARTBEAT, Outgoing::Heartbeat),
        ];
        all.into_iter().filter(move |(notice, _)| waiting & notice != 0).map(|(_, message)| message)
    }
}
