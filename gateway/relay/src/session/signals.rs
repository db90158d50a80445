//! Signals of members and servers.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{ConnectionId, SessionId, Signal};

use super::{
    log_entry::{Audience, LogEntry},
    roster::{Member, MemberLink, MemberRecord},
    state::SessionState,
};
use crate::{
    encoding::SignalEncodings,
    error::{RejectionReason, SignalError},
    outgoing::Outgoing,
    recipients::Recipients,
    rejections::Rejection,
    seat::Seat,
    update::Update,
};

/// Signals of a session of which the latency of one is measured.
const MEASURED: u8 = 16;

/// Bytes of a signal that cost as much as another delivery.
const KIB: usize = 1024;

/// Deliveries that a signal to all counts for at least. It bounds the signals that each member of a
/// small session receives: to some 1500 per second by default, which any client can read.
const LEAST_DELIVERIES: usize = 64;

/// A signal of a member that was processed.
pub(crate) struct AcceptedSignal {
    pub(crate) seq: u64,
    pub(crate) cost: SignalCost,
}

/// What a signal has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalCost {
    /// Members to which it went, on all gateways.
    pub deliveries: usize,
    /// Time for which the sender should not be read, so that it keeps its limit of bytes and that of
    /// its session's deliveries. Mostly zero.
    pub wait: Duration,
}

impl SessionState {
    /// Processes a signal of a member, and pushes it to all members, the sender included, or to
    /// one. `transaction` is the id of the client's request, if the client repeats requests.
    pub(crate) fn signal(
        &mut self,
        seat: Seat,
        to: Option<ConnectionId>,
        signal: Signal<'_>,
        transaction: Option<&str>,
        now: Duration,
    ) -> Result<AcceptedSignal, SignalError> {
        let (index, sender) = self.roster.seated_at(seat).ok_or(SignalError::Closed)?;
        let seq = sender.count_signal();
        let rejected = |reason| SignalError::Rejected { seq, reason };
        sender.check_signal(&signal, now).map_err(rejected)?;
        let (audience, receivers) = match to {
            None => (Audience::All, self.roster.len()),
            Some(to) => {
                self.receiver(to).map_err(rejected)?;
                (Audience::One(to), 1)
            }
        };
        // The last check, so that a signal rejected otherwise takes no permit of the project.
        if !self.rate.take(now) {
            return Err(rejected(RejectionReason::ProjectRateLimited));
        }
        let wait = self.charge(index, &signal, receivers, now);
        let encodings = SignalEncodings::new(seat.id.into(), seq, signal);
        match transaction {
            None => self.publish_signal(&encodings, &audience),
            Some(transaction) => self.publish(|| {
                let signal = encodings.signal().clone();
                Update::Requested {
                    transaction,
                    from: seat.id,
                    seq,
                    audience: audience.clone(),
                    signal,
                }
            }),
        }
        self.deliver(encodings, audience, now);
        // Members are removed by `settle` only, so that the index is still valid.
        if let Some(sender) = self.roster.at(index) {
            sender.confirm_signals(seq);
        }
        Ok(AcceptedSignal { seq, cost: SignalCost { deliveries: receivers, wait } })
    }

    /// Charges a signal to its sender and to the session. Returns how long the sender must wait. It
    /// does not wait for the session's limit while it has its own share of it.
    fn charge(
        &mut self,
        sender: usize,
        signal: &Signal<'_>,
        receivers: usize,
        now: Duration,
    ) -> Duration {
        let bytes = signal.bytes();
        let counted = if receivers == 1 { 1 } else { receivers.max(LEAST_DELIVERIES) };
        let deliveries = counted * (1 + bytes / KIB);
        let common = self.deliveries.as_mut();
        let common = common.map_or(Duration::ZERO, |limiter| limiter.charge(deliveries, now));
        let Some(sender) = self.roster.at_mut(sender) else { return Duration::ZERO };
        let [for_bytes, for_share] = sender.charge(bytes, deliveries, now);
        for_bytes.max(common.min(for_share))
    }

    /// Pushes a signal of a server. Returns the listed recipients that are not members or do not
    /// receive signals.
    pub(crate) fn signal_from_server(
        &mut self,
        to: Recipients<'_>,
        signal: Signal<'_>,
        now: Duration,
    ) -> Result<Vec<ConnectionId>, RejectionReason> {
        if !self.rate.take(now) {
            return Err(RejectionReason::ProjectRateLimited);
        }
        let mut missing = Vec::new();
        let audience = match to {
            Recipients::All | Recipients::Except(_) if self.roster.is_empty() => {
                return Err(RejectionReason::EmptySession);
            }
            Recipients::All => Audience::All,
            Recipients::Except(ids) => Audience::Except(Arc::new(ids.clone())),
            Recipients::One(id) => {
                self.receiver(id)?;
                Audience::One(id)
            }
            Recipients::Only(ids) => {
                let reached =
                    |id: ConnectionId| self.roster.record(id).is_some_and(MemberRecord::receives);
                missing.extend(ids.iter().copied().filter(|id| !reached(*id)));
                if missing.len() == ids.len() {
                    return Err(RejectionReason::NoneReached);
                }
                Audience::Only(Arc::new(ids.clone()))
            }
        };
        let from = self.context.gateway.clone().into();
        let encodings = SignalEncodings::new(from, self.next_server_seq(), signal);
        self.publish_signal(&encodings, &audience);
        self.deliver(encodings, audience, now);
        Ok(missing)
    }

    /// A member that receives signals.
    fn receiver(&self, id: ConnectionId) -> Result<&MemberRecord, RejectionReason> {
        let member = self.roster.record(id).ok_or(RejectionReason::NotFound(id))?;
        if member.receives() { Ok(member) } else { Err(RejectionReason::DoesNotReceive(id)) }
    }

    /// Sends a signal to the other gateways of the session.
    fn publish_signal(&self, encodings: &SignalEncodings<'_>, audience: &Audience) {
        self.publish(|| {
            let (from, seq) = encodings.origin();
            let signal = encodings.signal().clone();
            Update::Signal { from, seq, audience: audience.clone(), signal }
        });
    }

    /// Pushes a signal to its audience, and records it for detached members.
    pub(super) fn deliver(
        &mut self,
        mut encodings: SignalEncodings<'_>,
        audience: Audience,
        now: Duration,
    ) {
        self.measure(&audience, now);
        let (from, seq) = encodings.origin();
        let mut receivers = 0_u64;
        let mut outgoing = |session: &SessionId, member: &Member, link: &MemberLink| {
            let encoding = link.encoding;
            member.receives().then(|| {
                receivers += 1;
                Outgoing::signal(&from, seq, encoding, encodings.get(encoding, session))
            })
        };
        match &audience {
            Audience::All => self.push_all(outgoing),
            Audience::One(id) => self.push_one(*id, outgoing),
            Audience::Only(ids) => ids.iter().for_each(|id| self.push_one(*id, &mut outgoing)),
            Audience::Except(ids) => self.push_all(|session, member, link| {
                if ids.contains(&member.id()) { None } else { outgoing(session, member, link) }
            }),
        }
        self.context.deliveries.add(receivers);
        let entry = || {
            let (encoding, frame) = encodings.any(&self.id);
            LogEntry::Signal { from, seq, audience, encoding, frame }
        };
        self.history.record(entry, self.roster.has_resumable(), now);
    }

    /// Measures the latency of the next signal.
    pub(crate) fn measure_next_signal(&mut self) {
        self.until_measured = 0;
    }

    /// Measures the latency of some signals: one of [`MEASURED`], and the first of each session, so
    /// that quiet sessions are measured, too.
    fn measure(&mut self, audience: &Audience, accepted: Duration) {
        if let Some(rest) = self.until_measured.checked_sub(1) {
            self.until_measured = rest;
            return;
        }
        self.until_measured = MEASURED - 1;
        let measure = |member: &Member| {
            if let Some(link) = member.link().filter(|_| member.receives()) {
                link.outbox.measure_next(accepted);
            }
        };
        let roster = &self.roster;
        match audience {
            Audience::All => roster.iter().for_each(measure),
            Audience::One(id) => roster.get(*id).into_iter().for_each(measure),
            Audience::Only(ids) => ids.iter().filter_map(|id| roster.get(*id)).for_each(measure),
            Audience::Except(ids) => {
                roster.iter().filter(|member| !ids.contains(&member.id())).for_each(measure);
            }
        }
    }

    /// Confirms a rejected signal of a member, and records the rejection if the member is resumable.
    pub(crate) fn record_rejection(&mut self, seat: Seat, rejection: Rejection) {
        let Some(member) = self.roster.seated(seat) else { return };
        member.confirm_signals(rejection.signal);
        if let Some(resumable) = member.resumable_mut() {
            resumable.record_rejection(rejection.clone());
            self.publish(|| Update::Rejected { id: seat.id, rejection });
        }
    }
}
