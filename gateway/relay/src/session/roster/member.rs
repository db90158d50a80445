//! A member: a connection as its session sees it.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{Codec, ConnectionId, ConnectionInfo, Role, Signal, Transport};

use crate::{
    encoding::Encoding, error::RejectionReason, outbox::Outbox, rate::RateLimiter, seat::Seat,
    session::resumable::Resumable, settings::Settings, summary::ConnectionSummary,
    token::TokenIdentity,
};

/// A connection as its session sees it.
pub(crate) struct Member {
    record: MemberRecord,
    limits: MemberLimits,
    residence: Residence,
    /// When it joined here; zero if it comes from a snapshot or another gateway.
    joined: Duration,
}

/// The limits of what a member may send, from the settings of when it came.
struct MemberLimits {
    /// Whether it may send as a subscriber.
    subscriber_may_send: bool,
    signals: Option<RateLimiter>,
    bytes: Option<RateLimiter>,
    /// Its share of the session's deliveries.
    deliveries: Option<RateLimiter>,
}

/// The part of the limit of a session's deliveries that is reserved for each sender. More senders than
/// this, all at full speed, cause more deliveries than the limit.
const SHARES: u32 = 8;

impl MemberLimits {
    fn new(settings: &Settings) -> Self {
        Self {
            subscriber_may_send: settings.subscribers_may_send,
            signals: RateLimiter::new(settings.signals_per_second),
            bytes: RateLimiter::new(settings.bytes_per_second),
            deliveries: RateLimiter::new(settings.deliveries_per_second.div_ceil(SHARES)),
        }
    }
}

/// The part of a member that outlives its links.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) role: Role,
    /// The token with which it joined.
    pub(crate) token: TokenIdentity,
    /// Whether it receives presence events.
    pub(crate) presence: bool,
    /// Transport of its latest link.
    pub(crate) transport: Transport,
    /// Codec of its latest link.
    pub(crate) codec: Codec,
    /// Number of resumes. Calls on behalf of an older link have no effect.
    pub(crate) generation: u64,
    /// The last sequence number: signals that it has sent, rejected ones included.
    pub(crate) sent: u64,
}

impl MemberRecord {
    pub(crate) fn summary(&self) -> ConnectionSummary {
        let Self { ref info, role, transport, codec, .. } = *self;
        ConnectionSummary { info: info.clone(), role, transport, codec }
    }

    /// Whether the role receives signals.
    pub(crate) fn receives(&self) -> bool {
        self.role != Role::PublisherOnly
    }
}

/// A connection, apart from its link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MemberState {
    pub(crate) record: MemberRecord,
    /// None if the connection ends with its link.
    pub(crate) resumable: Option<Resumable>,
}

impl MemberState {
    /// The state of a connection on another gateway. Its tickets count from this position of the
    /// history here.
    pub(crate) fn rebased(mut self, position: u64) -> Self {
        if let Some(resumable) = &mut self.resumable {
            resumable.rebase(position);
        }
        self
    }
}

/// The place of a member's connection.
enum Residence {
    /// It has a link to this gateway.
    Here { link: MemberLink, resumable: Option<Resumable> },
    /// It is detached: its link was lost, and its client may resume.
    Away(Resumable),
}

/// The link of a member.
pub(crate) struct MemberLink {
    pub(crate) encoding: Encoding,
    pub(crate) outbox: Outbox,
}

impl Member {
    /// A member with a link.
    pub(crate) fn new(
        record: MemberRecord,
        link: MemberLink,
        resumable: Option<Resumable>,
        settings: &Settings,
        joined: Duration,
    ) -> Self {
        let residence = Residence::Here { link, resumable };
        Self { record, limits: MemberLimits::new(settings), residence, joined }
    }

    /// A detached member, from a snapshot or another gateway.
    pub(crate) fn restored(
        record: MemberRecord,
        resumable: Resumable,
        settings: &Settings,
    ) -> Self {
        let (residence, joined) = (Residence::Away(resumable), Duration::ZERO);
        Self { record, limits: MemberLimits::new(settings), residence, joined }
    }

    pub(crate) fn into_parts(self) -> (MemberRecord, Option<Resumable>) {
        let resumable = match self.residence {
            Residence::Here { resumable, .. } => resumable,
            Residence::Away(resumable) => Some(resumable),
        };
        (self.record, resumable)
    }

    pub(crate) fn record(&self) -> &MemberRecord {
        &self.record
    }

    /// The state of the connection, for another gateway.
    pub(crate) fn state(&self) -> MemberState {
        MemberState { record: self.record.clone(), resumable: self.resumable().cloned() }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.record.info.id
    }

    /// When it joined here; zero if it comes from a snapshot or another gateway.
    pub(crate) fn joined(&self) -> Duration {
        self.joined
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat { id: self.id(), generation: self.record.generation }
    }

    /// Its link; none while it is detached.
    pub(crate) fn link(&self) -> Option<&MemberLink> {
        match &self.residence {
            Residence::Here { link, .. } => Some(link),
            Residence::Away(_) => None,
        }
    }

    pub(crate) fn resumable(&self) -> Option<&Resumable> {
        match &self.residence {
            Residence::Here { resumable, .. } => resumable.as_ref(),
            Residence::Away(resumable) => Some(resumable),
        }
    }

    pub(crate) fn resumable_mut(&mut self) -> Option<&mut Resumable> {
        match &mut self.residence {
            Residence::Here { resumable, .. } => resumable.as_mut(),
            Residence::Away(resumable) => Some(resumable),
        }
    }

    /// Whether its role receives signals.
    pub(crate) fn receives(&self) -> bool {
        self.record.receives()
    }

    /// Counts a signal that it sends. Returns the signal's sequence number.
    pub(crate) fn count_signal(&mut self) -> u64 {
        self.record.sent += 1;
        self.record.sent
    }

    /// Checks whether it may send this signal now.
    pub(crate) fn check_signal(
        &mut self,
        signal: &Signal<'_>,
        now: Duration,
    ) -> Result<(), RejectionReason> {
        let role = self.record.role;
        let may_send = match role {
            Role::Publisher | Role::Moderator => true,
            Role::Subscriber => self.limits.subscriber_may_send,
            Role::PublisherOnly => false,
        };
        if !may_send {
            return Err(RejectionReason::MayNotSend(role));
        }
        if let Some(limiter) = &mut self.limits.signals
            && !limiter.take(now)
        {
            return Err(RejectionReason::RateLimited(limiter.per_second()));
        }
        Ok(signal.check()?)
    }

    /// Charges a signal that it has sent. Returns how long it must wait for its limit of bytes, and
    /// for its share of the session's deliveries.
    pub(crate) fn charge(
        &mut self,
        bytes: usize,
        deliveries: usize,
        now: Duration,
    ) -> [Duration; 2] {
        let MemberLimits { bytes: byte_limit, deliveries: share, .. } = &mut self.limits;
        let charge = |limiter: &mut Option<RateLimiter>, permits| {
            limiter.as_mut().map_or(Duration::ZERO, |limiter| limiter.charge(permits, now))
        };
        [charge(byte_limit, bytes), charge(share, deliveries)]
    }

    /// Confirms that its signals up to this one have been processed. Only resumable members need
    /// to know.
    pub(crate) fn confirm_signals(&self, seq: u64) {
        if let Residence::Here { link, resumable: Some(_) } = &self.residence {
            link.outbox.notify_accepted(seq);
        }
    }

    /// Takes its link away if it is resumable.
    pub(super) fn detach(&mut self) -> Option<MemberLink> {
        let Residence::Here { resumable, .. } = &mut self.residence else { return None };
        let resumable = resumable.take()?;
        match std::mem::replace(&mut self.residence, Residence::Away(resumable)) {
            Residence::Here { link, .. } => Some(link),
            Residence::Away(_) => None,
        }
    }

    /// Gives it a new link, and returns the old one. `attempt` is the number of the attempt among
    /// all with the same ticket: of two gateways that accept one each, the later one prevails.
    pub(super) fn attach(
        &mut self,
        link: MemberLink,
        transport: Transport,
        attempt: u32,
    ) -> Option<MemberLink> {
        self.record.generation = self.record.generation.saturating_add(attempt.max(1).into());
        self.record.transport = transport;
        self.record.codec = link.encoding.codec();
        let attached = Residence::Here { link, resumable: None };
        let (old_link, kept) = match std::mem::replace(&mut self.residence, attached) {
            Residence::Here { link, resumable } => (Some(link), resumable),
            Residence::Away(resumable) => (None, Some(resumable)),
        };
        if let Residence::Here { resumable, .. } = &mut self.residence {
            *resumable = kept;
        }
        old_link
    }
}
