//! A relay between two runs of its gateway: what those need who come back to the next one.
//!
//! A gateway that is replaced by a newer one need not end its connections. Those that are kept when
//! they lose their link have lost it then, and no more: their sessions are turned into bytes, and
//! the next run takes them up where they were. The others' connections end.
//!
//! The bytes follow from the types that are put away here. [`FORMAT`] is for that run to see that
//! it is not of the same mind, so it is raised with every change of them (a test notices).

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{CloseReason, Codec, ConnectionInfo, Role, SessionId, Transport};

use crate::{
    backlog::Backlog,
    kept::Kept,
    member::Member,
    rate::Bucket,
    relay::{Relay, Settings},
    resume::Away,
    session::Members,
};

/// Of the bytes.
const FORMAT: u16 = 4;

/// A relay that has been put away.
pub struct Frozen {
    /// For [`Relay::thaw`]. They hold the secrets of tickets.
    pub bytes: Vec<u8>,
    /// Connections in them.
    pub connections: usize,
    /// Connections that would have been kept, but found no room.
    pub left_out: usize,
    whose: Vec<(SessionId, Vec<Arc<ConnectionInfo>>)>,
}

/// The bytes are of no use, and their connections lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// They are of another format.
    #[error("it has the format {0}, and this version knows {FORMAT}")]
    Format(u16),
    /// They are no frozen relay.
    #[error("it makes no sense")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct FrozenSession {
    id: String,
    members: Vec<FrozenMember>,
    server_seq: u64,
    events: u64,
    backlog: Backlog,
}

#[derive(Serialize, Deserialize)]
struct FrozenMember {
    info: Arc<ConnectionInfo>,
    role: Role,
    presence: bool,
    transport: Transport,
    codec: Codec,
    generation: u64,
    sent: u64,
    joined_at: u64,
    joined_event: u64,
    kept: Kept,
}

impl Relay {
    /// Ends every connection that is not kept, as [`Relay::shut_down`] does, and takes the others
    /// away without a word to the observer; their links are ended with
    /// [`CloseReason::ShuttingDown`]. Lets nobody in any more.
    ///
    /// What is taken away has at most so many bytes. A session that does not fit is ended.
    pub fn freeze(&self, max_bytes: usize, now: Duration) -> Frozen {
        let bytes = postcard::to_stdvec(&FORMAT).unwrap_or_default();
        let mut frozen = Frozen { bytes, connections: 0, left_out: 0, whose: Vec::new() };
        for session in self.0.close() {
            session.with(&self.0, |members| {
                members.end_others(now);
                let infos: Vec<_> = members.by_id.values().map(|it| it.info.clone()).collect();
                if infos.is_empty() {
                    return;
                }
                // It is made of what can be written; if it were not, it would be as if too large.
                let state = postcard::to_stdvec(&FrozenSession::of(members)).ok();
                let room = max_bytes.saturating_sub(frozen.bytes.len());
                if let Some(state) = state.filter(|state| state.len() <= room) {
                    frozen.bytes.extend(state);
                    frozen.connections += infos.len();
                    frozen.whose.push((session.id().clone(), infos));
                } else {
                    frozen.left_out += infos.len();
                    members.tell_end_of(&infos);
                }
            });
        }
        frozen
    }

    /// Tells the observer of the end of all connections in it: nobody can come back to them.
    pub fn abandon(&self, frozen: &Frozen) {
        for (session, infos) in &frozen.whose {
            let reason = CloseReason::ShuttingDown.disconnect_reason();
            infos.iter().for_each(|info| self.0.observer.destroyed(session, info, reason));
        }
    }

    /// Takes up what [`Relay::freeze`] has put away, before anybody joins. The connections are
    /// away; each ends unless its client comes back before what is returned for it is dropped. No
    /// limit keeps them out, as they have been let in before.
    ///
    /// # Errors
    /// [`Unusable`], and then nothing has changed.
    pub fn thaw(&self, bytes: &[u8], now: Duration) -> Result<Vec<Away>, Unusable> {
        let damaged = |_| Unusable::Damaged;
        let (format, mut rest) = postcard::take_from_bytes::<u16>(bytes).map_err(damaged)?;
        if format != FORMAT {
            return Err(Unusable::Format(format));
        }
        let mut sessions = Vec::new();
        while !rest.is_empty() {
            let (session, after) =
                postcard::take_from_bytes::<FrozenSession>(rest).map_err(damaged)?;
            let id: SessionId = session.id.parse().map_err(|_| Unusable::Damaged)?;
            sessions.push((id, session));
            rest = after;
        }
        let mut all = Vec::new();
        for (id, state) in sessions {
            let Some(session) = self.0.reopen(&id, state.members.len()) else { continue };
            let who: Vec<_> =
                state.members.iter().map(|member| (member.info.id, member.generation)).collect();
            session.with(&self.0, |members| state.thaw(members, &self.0.settings, now));
            let away = |who| Away::new(self.clone(), session.clone(), who, now);
            all.extend(who.into_iter().map(away));
        }
        Ok(all)
    }
}

impl Members {
    /// Ends those who are not kept; the others are told when they come back.
    fn end_others(&mut self, now: Duration) {
        let others = self.by_id.values().filter(|member| member.kept.is_none());
        let others: Vec<_> = others.map(|member| member.info.id).collect();
        for id in others {
            self.remove(id, CloseReason::ShuttingDown, now);
        }
    }

    /// Tells the observer that it is over for these.
    fn tell_end_of(&self, infos: &[Arc<ConnectionInfo>]) {
        let reason = CloseReason::ShuttingDown.disconnect_reason();
        infos.iter().for_each(|info| self.observer.destroyed(self.id(), info, reason));
    }
}

impl FrozenSession {
    /// Takes all members, who must be kept, out of the session.
    fn of(members: &mut Members) -> Self {
        let mut frozen = Vec::with_capacity(members.by_id.len());
        for (_, member) in members.by_id.drain(..) {
            if let Some(link) = &member.link {
                link.outbox.end(CloseReason::ShuttingDown);
            }
            members.removed += 1;
            frozen.extend(FrozenMember::of(member));
        }
        members.kept = 0;
        Self {
            id: members.id().to_string(),
            members: frozen,
            server_seq: members.server_seq,
            events: members.events,
            backlog: std::mem::replace(&mut members.backlog, Backlog::new()),
        }
    }

    fn thaw(self, members: &mut Members, settings: &Settings, now: Duration) {
        members.server_seq = self.server_seq;
        members.events = self.events;
        members.backlog = self.backlog;
        members.backlog.thaw(now);
        members.kept = self.members.len();
        for member in self.members {
            members.by_id.insert(member.info.id, member.thaw(settings));
        }
    }
}

impl FrozenMember {
    fn of(member: Member) -> Option<Self> {
        let Member { info, role, presence, transport, codec, generation, sent, .. } = member;
        let Member { joined_at, joined_event, .. } = member;
        let kept = member.kept?;
        Some(Self {
            info,
            role,
            presence,
            transport,
            codec,
            generation,
            sent,
            joined_at,
            joined_event,
            kept,
        })
    }

    fn thaw(self, settings: &Settings) -> Member {
        let Self { info, role, presence, transport, codec, generation, sent, .. } = self;
        Member {
            info,
            role,
            presence,
            link: None,
            transport,
            codec,
            generation,
            sent,
            bucket: Bucket::new(settings.signals_per_second),
            joined_at: self.joined_at,
            joined_event: self.joined_event,
            kept: Some(self.kept),
        }
    }
}
