//! Receipts of members whose clients keep none.

use std::time::Duration;

use signalbox_opentok::Receipt;
use signalbox_protocol::ConnectionId;

use super::state::SessionState;
use crate::{
    error::ResumeError,
    receipts::{Answer, KnownPosition, Receipts},
    resume::TicketSecret,
    seat::Seat,
};

impl SessionState {
    fn receipts_mut(&mut self, seat: Seat) -> Option<&mut Receipts> {
        self.roster.seated(seat)?.resumable_mut()?.receipts_mut()
    }

    /// The client has confirmed a message.
    pub(crate) fn confirm(&mut self, seat: Seat, receipt: &Receipt) {
        if let Some(receipts) = self.receipts_mut(seat) {
            receipts.confirm(receipt);
        }
    }

    /// The answer to a request that the client has sent before.
    pub(crate) fn answered(&mut self, seat: Seat, transaction: &str) -> Option<Answer> {
        self.receipts_mut(seat)?.answered(transaction).cloned()
    }

    /// Keeps the answer to a request.
    pub(crate) fn answer(&mut self, seat: Seat, transaction: &str, answer: Answer, now: Duration) {
        if let Some(receipts) = self.receipts_mut(seat) {
            receipts.answer(transaction, answer, now);
        }
    }

    /// The position of a client that shows this secret, by its receipts.
    pub(crate) fn known_position(
        &self,
        connection: ConnectionId,
        secret: &TicketSecret,
    ) -> Result<KnownPosition, ResumeError> {
        let resumable = self.roster.resumable(connection).ok_or(ResumeError::InvalidTicket)?;
        let start = resumable.presented(secret, u32::MAX)?.start.events.unwrap_or_default();
        let receipts = resumable.receipts().ok_or(ResumeError::InvalidTicket)?;
        let sent = self.roster.record(connection).map_or(0, |record| record.sent);
        let events = receipts.events(self.epoch()).saturating_sub(start);
        let (cursors, greeted) = (receipts.cursors().clone(), receipts.greeted());
        Ok(KnownPosition { events, sent, cursors, greeted })
    }
}
