//! Notices: messages with one slot each, whose latest value replaces an earlier one.

use crate::outgoing::Outgoing;

/// Notices of one outbox. They are queued when the link takes them, so that they need no space in
/// the outbox before, and many confirmations become one.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Signals of the receiver that have been processed.
    accepted: Option<u64>,
    /// Milliseconds until the gateway closes the link.
    go_away: Option<u32>,
    /// Whether a heartbeat is to be answered.
    heartbeat: bool,
}

impl Notices {
    pub(super) fn accepted(&mut self, signals: u64) {
        self.accepted = Some(signals);
    }

    pub(super) fn go_away(&mut self, within_ms: u32) {
        self.go_away = Some(within_ms);
    }

    pub(super) fn heartbeat(&mut self) {
        self.heartbeat = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_none() && self.go_away.is_none() && !self.heartbeat
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes all notices, in the order in which they are sent.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Outgoing> + use<> {
        let accepted = self.accepted.take().map(|signals| Outgoing::Accepted { signals });
        let go_away = self.go_away.take().map(|within_ms| Outgoing::GoAway { within_ms });
        let heartbeat = std::mem::take(&mut self.heartbeat).then_some(Outgoing::Heartbeat);
        accepted.into_iter().chain(go_away).chain(heartbeat)
    }
}
