//! A member: a connection as its session sees it, with or without a link.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{Codec, ConnectionInfo, Role, Signal, Transport};

use crate::{
    connection::Refused, encode::Encoding, kept::Kept, outbox::Outbox, rate::Bucket,
    relay::Settings,
};

/// A connection as its session sees it.
pub(crate) struct Member {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) role: Role,
    pub(crate) presence: bool,
    /// What carries it now; none while it is away.
    pub(crate) link: Option<Attached>,
    /// Transport of its last link.
    pub(crate) transport: Transport,
    /// Codec of its last link.
    pub(crate) codec: Codec,
    /// Counts its links: whoever holds an older one has nothing to say any more.
    pub(crate) generation: u64,
    /// Signals that it has sent, refused ones included: the last sequence number.
    pub(crate) sent: u64,
    pub(crate) bucket: Option<Bucket>,
    /// Where the backlog was when it joined, and how many presence events there had been.
    pub(crate) joined_at: u64,
    pub(crate) joined_event: u64,
    /// If its connection outlives its link.
    pub(crate) kept: Option<Kept>,
}

/// A link as its session sees it.
pub(crate) struct Attached {
    pub(crate) encoding: Encoding,
    pub(crate) outbox: Outbox,
}

impl Member {
    /// Whether it may send this signal now.
    pub(crate) fn allowed(
        &mut self,
        signal: &Signal<'_>,
        settings: &Settings,
        now: Duration,
    ) -> Result<(), Refused> {
        let may_send = match self.role {
            Role::Publisher | Role::Moderator => true,
            Role::Subscriber => settings.subscribers_may_send,
            Role::PublisherOnly => false,
        };
        if !may_send {
            return Err(Refused::MayNotSend(self.role));
        }
        if let Some(bucket) = &mut self.bucket
            && !bucket.take(now)
        {
            return Err(Refused::RateLimited(settings.signals_per_second));
        }
        Ok(signal.check()?)
    }

    /// Whether signals are for it at all.
    pub(crate) fn receives(&self) -> bool {
        self.role != Role::PublisherOnly
    }
}
