//! Receipts of members whose clients keep none.

use std::{collections::HashSet, time::Duration};

use signalbox_opentok::Receipt;
use signalbox_protocol::ConnectionId;

use super::{
    resumable::Resumable, state::SessionState, tombstones::MAX_TOMBSTONES, unseen::MAX_SERVERS,
};
use crate::{
    error::ResumeError,
    instance::Instance,
    receipts::{Answer, Confirmed, KnownPosition, Receipts},
    resume::TicketSecret,
    seat::Seat,
    update::Update,
};

impl SessionState {
    fn receipts_mut(&mut self, seat: Seat) -> Option<&mut Receipts> {
        self.roster.seated(seat)?.resumable_mut()?.receipts_mut()
    }

    /// The client has confirmed a message.
    pub(crate) fn confirm(&mut self, seat: Seat, receipt: &Receipt) {
        let Some(receipts) = self.receipts_mut(seat) else { return };
        receipts.confirm(receipt);
        // The other gateways are told later, of many confirmations together.
        if let Some(cluster) = &self.context.cluster
            && let Some(shared) = self.shared.as_mut().filter(|shared| !shared.peers.is_empty())
        {
            if shared.confirmed.is_empty() {
                cluster.confirmed.lock().insert(self.id.clone());
            }
            shared.confirmed.entry(seat.id).or_default().add(receipt);
        }
    }

    /// Tells the other gateways what clients have confirmed.
    pub(crate) fn publish_confirmed(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        let confirmed = std::mem::take(&mut shared.confirmed);
        if !confirmed.is_empty() {
            self.publish(|| Update::Confirmed(confirmed.into_iter().collect()));
        }
    }

    /// Clients have confirmed messages to another gateway.
    pub(super) fn confirmed_elsewhere(
        &mut self,
        at: &Instance,
        clients: &[(ConnectionId, Confirmed)],
    ) {
        let Self { roster, shared, .. } = self;
        let destroyed = shared.as_ref().map(|shared| &shared.destroyed);
        // The senders that can be known together: after forgetting all others there is room.
        let most = roster.records().count() + MAX_TOMBSTONES + MAX_SERVERS;
        let known: HashSet<ConnectionId> = roster.records().map(|it| it.info.id).collect();
        for (id, confirmed) in clients {
            let Some(member) = roster.get_remote(*id).filter(|it| it.home == *at) else { continue };
            let receipts = member.resumable.as_mut().and_then(Resumable::receipts_mut);
            let Some(receipts) = receipts else { continue };
            receipts.confirm_elsewhere(confirmed);
            if receipts.cursors().len() > most {
                receipts.retain_senders(|from| {
                    from.connection().is_none_or(|id| {
                        known.contains(&id) || destroyed.is_some_and(|it| it.contains(id))
                    })
                });
            }
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
        let start = resumable.presented(secret, u32::MAX)?.start.events;
        let receipts = resumable.receipts().ok_or(ResumeError::InvalidTicket)?;
        let record = self.roster.record(connection).ok_or(ResumeError::InvalidTicket)?;
        Ok(KnownPosition {
            events: receipts.events(self.epoch()).saturating_sub(start.unwrap_or_default()),
            sent: record.sent,
            cursors: receipts.cursors().clone(),
            greeted: receipts.greeted() && start.is_some(),
            presence: record.presence,
            unread_join: receipts.unread_join(),
        })
    }
}
