//! Signals that some gateways of a shared session have seen, and others have not.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use signalbox_opentok::message;
use signalbox_protocol::{
    ConnectionId, DisconnectReason, GatewayId, GatewayMessage, Sender, SessionId, message::Lost,
};

use super::state::SessionState;
use crate::{
    encoding::{Encoding, EventEncodings},
    error::ResumeError,
    instance::Instance,
    outgoing::Outgoing,
    resume::ResumeRequest,
};

/// Numbers that this gateway's servers skip when the session is opened again. The previous run of
/// this gateway may have sent signals that no other gateway has seen.
const SERVER_SEQ_STEP: u64 = 1_000_000;

/// Signals of one sender that a client may have received, or have confirmations of, and that no
/// remaining gateway has seen. A client that claims more is rejected.
const MAX_UNSEEN: u64 = 65_536;

/// The same for servers, which skip numbers.
const MAX_UNSEEN_OF_SERVERS: u64 = 8 * SERVER_SEQ_STEP;

/// Gateways of which a session counts the servers' signals.
pub(super) const MAX_SERVERS: usize = 256;

impl SessionState {
    /// The last known signal of each gateway's servers.
    pub(super) fn server_counts(&self) -> impl Iterator<Item = (GatewayId, u64)> {
        let others = self.shared.iter().flat_map(|shared| shared.servers.clone());
        others.chain([(self.context.gateway.clone(), self.server_seq)])
    }

    /// The last known signal of a gateway's servers.
    pub(super) fn server_count(&self, gateway: &GatewayId) -> Option<u64> {
        if *gateway == self.context.gateway {
            return Some(self.server_seq);
        }
        self.shared.as_ref()?.servers.get(gateway).copied()
    }

    /// The last signal of each sender.
    pub(super) fn sent_counts(&self) -> impl Iterator<Item = (Sender, u64)> {
        let members = self.roster.records().map(|it| (it.info.id.into(), it.sent));
        members.chain(self.server_counts().map(|(gateway, seq)| (Sender::Server(gateway), seq)))
    }

    /// Checks the position of a client in a shared session. The client may have received signals
    /// that only a lost gateway has seen, which are lost for everybody else.
    pub(super) fn check_shared_position(
        &mut self,
        request: &ResumeRequest<'_>,
    ) -> Result<(), ResumeError> {
        let own = self.roster.record(request.connection).map_or(0, |record| record.sent);
        if request.accepted > own {
            if self.roster.get(request.connection).is_some() {
                return Err(ResumeError::CursorAhead);
            }
            check_unseen(&request.connection.into(), own, request.accepted)?;
        }
        let mut unseen = Vec::new();
        for (from, seq) in request.cursors {
            let (sent, lost) = match from {
                Sender::Connection(id) => {
                    let Some(record) = self.roster.record(*id) else { continue };
                    let sent = record.sent;
                    let remote = self.roster.get_remote(*id);
                    (sent, remote.is_some_and(|remote| remote.orphan_until.is_some()))
                }
                Sender::Server(gateway) => {
                    let live = self.peers().iter().any(|peer| peer.gateway == *gateway);
                    (self.server_count(gateway).unwrap_or(0), !live)
                }
            };
            if *seq > sent {
                check_unseen(from, sent, *seq)?;
                if !lost {
                    return Err(ResumeError::Behind);
                }
                unseen.push((from, *seq));
            }
        }
        for (from, seq) in unseen {
            match from {
                Sender::Connection(id) => self.catch_up(*id, seq),
                Sender::Server(gateway) if *gateway == self.context.gateway => {
                    self.server_seq = seq;
                    self.skip_server_seqs = true;
                }
                Sender::Server(gateway) => {
                    if let Some(shared) = &mut self.shared
                        && (shared.servers.contains_key(gateway)
                            || shared.servers.len() < MAX_SERVERS)
                    {
                        let after = shared.servers.insert(gateway.clone(), seq).unwrap_or(0);
                        self.lose(Sender::Server(gateway.clone()), after, seq);
                    }
                }
            }
        }
        Ok(())
    }

    /// Another gateway knows of signals of a gateway's servers up to this one.
    pub(super) fn server_advanced(&mut self, gateway: GatewayId, seq: u64, by: &Instance) {
        if gateway == self.context.gateway {
            if seq > self.server_seq {
                self.server_seq = seq;
                self.skip_server_seqs = true;
            }
            return;
        }
        let Some(shared) = &mut self.shared else { return };
        let last = shared.servers.entry(gateway.clone()).or_default();
        let (after, own) = (*last, gateway == by.gateway);
        *last = seq.max(after);
        if seq <= after {
            return;
        }
        // A live gateway's own count is exact; what others know of it may still be on its way.
        let live = self.peers().iter().any(|peer| peer.gateway == gateway);
        if own || after == 0 || !live {
            self.lose(Sender::Server(gateway), after, seq);
        }
    }

    /// Signals of a remote member up to this one have been sent. Those that have not arrived are
    /// lost.
    pub(super) fn catch_up(&mut self, id: ConnectionId, sent: u64) {
        let Some(member) = self.roster.get_remote(id) else { return };
        let after = member.record.sent;
        if sent > after {
            member.record.sent = sent;
            self.lose(Sender::Connection(id), after, sent);
        }
    }

    /// Reports lost signals to the members of this gateway.
    pub(super) fn lose(&mut self, from: Sender, after: u64, until: u64) {
        if let Some(cluster) = &self.context.cluster {
            cluster.gaps.fetch_add(1, Ordering::Relaxed);
        }
        let lost = vec![Lost { from: from.clone(), after, until }];
        let mut gap =
            EventEncodings::other(GatewayMessage::Gap { lost, presence: false, present: 0 });
        self.push_all(|session, member, link| {
            let frame = match link.encoding {
                // The SDK cannot be told of a gap, so its session ends.
                Encoding::OpenTok => Some(own_end(session, member.id())),
                encoding => gap.get(encoding, session),
            };
            frame.filter(|_| member.receives()).map(Outgoing::Frame)
        });
        // For detached members, and for those of other gateways whose clients resume here.
        self.history.record_loss(from, until, self.roster.has_resumable());
    }

    /// The number of the next signal of this gateway's servers.
    pub(super) fn next_server_seq(&mut self) -> u64 {
        let step = if std::mem::take(&mut self.skip_server_seqs) { SERVER_SEQ_STEP } else { 1 };
        self.server_seq = self.server_seq.saturating_add(step);
        self.server_seq
    }
}

/// The end of the receiver's own connection, for a client of the vendor's SDK. It then leaves.
fn own_end(session: &SessionId, id: ConnectionId) -> Bytes {
    message::deleted(session, None, id, DisconnectReason::NetworkDisconnected).into()
}

fn check_unseen(from: &Sender, seen: u64, claimed: u64) -> Result<(), ResumeError> {
    let most = if from.is_server() { MAX_UNSEEN_OF_SERVERS } else { MAX_UNSEEN };
    if claimed - seen > most { Err(ResumeError::CursorAhead) } else { Ok(()) }
}
