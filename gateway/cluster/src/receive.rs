//! Messages of the bus, applied to the cluster as this gateway sees it.

use std::{collections::HashSet, time::Duration};

use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};
use signalbox_relay::{Applied, Backplane as _, Instance, ProjectUse, SessionUpdate};
use tracing::{error, info};

use crate::{
    cluster::{Cluster, LEASE},
    message::{BusMessage, BusMessageError, ChannelMessage, LinkStatus, hash},
};

impl Cluster {
    /// Applies a message of the bus.
    ///
    /// # Errors
    /// [`BusMessageError`]. The message is ignored; if it contains several, only those that are
    /// malformed.
    pub fn receive(&self, payload: &[u8], now: Duration) -> Result<(), BusMessageError> {
        let here = self.links.instance();
        match BusMessage::decode(payload)? {
            BusMessage::Heartbeat { from, links, usage } => self.heard(&from, &links, usage, now),
            BusMessage::Goodbye { from } if self.links.is_live(&from) => {
                info!(gateway = %from, "gateway left");
                self.lose(&from, now);
            }
            BusMessage::Data { from, to, incarnation, first, fragments } if to == here.epoch => {
                let messages = self.links.accept(&from, incarnation, first, &fragments);
                // One that is malformed takes no other with it.
                let handle =
                    |result, message: &Vec<u8>| self.handle(&from, message, now).and(result);
                return messages.iter().fold(Ok(()), handle);
            }
            BusMessage::Missing { from, to, incarnation, expected } if to == here.epoch => {
                self.links.resend(&from, incarnation, expected);
            }
            // For an earlier run of this gateway, or the goodbye of one that is lost already.
            _ => {}
        }
        Ok(())
    }

    fn heard(
        &self,
        from: &Instance,
        links: &[LinkStatus],
        usage: Vec<(ProjectKey, ProjectUse)>,
        now: Duration,
    ) {
        let here = self.links.instance();
        if from == here {
            let mut state = self.state.lock();
            let since = match state.echoed {
                Some((at, since)) if now.saturating_sub(at) < LEASE => since,
                Some(_) => {
                    // The others have lost this gateway meanwhile.
                    self.links.break_channels();
                    now
                }
                None => now,
            };
            state.echoed = Some((now, since));
            return;
        }
        if from.gateway == here.gateway {
            let mut state = self.state.lock();
            if state.duplicate.as_ref().is_none_or(|(known, _)| known != from) {
                error!(other = %from, here = %here, "duplicate gateway name found: set `name` of one");
            }
            state.duplicate = Some((from.clone(), now));
            return;
        }
        if !self.links.is_live(from) {
            let peers = self.links.peers();
            for earlier in peers.iter().filter(|peer| peer.gateway == from.gateway) {
                info!(gateway = %earlier, "gateway restarted");
                self.lose(earlier, now);
            }
            info!(gateway = %from, "gateway joined");
            self.links.connect(from, &self.relay.sessions(), now);
            self.send_shared_state(from);
            self.state.lock().barriers.returned(from);
        }
        self.links.heard(from, links, usage, now);
    }

    fn handle(
        &self,
        from: &Instance,
        message: &[u8],
        now: Duration,
    ) -> Result<(), BusMessageError> {
        let (message, rest) =
            postcard::take_from_bytes(message).map_err(|_| BusMessageError::Malformed)?;
        match message {
            ChannelMessage::Sessions { hashes, last } => {
                if let Some(listed) = self.links.listed(from, hashes, last) {
                    self.match_sessions(from, &listed, now);
                }
            }
            ChannelMessage::Open { session } => {
                self.send_evicted(from, Some(&session));
                if !self.relay.share(&session, from, now) {
                    self.say_absent(from, session);
                }
            }
            ChannelMessage::Absent { session, destroyed } => {
                self.leave(&session, from, destroyed, now);
                self.answered(&session, from);
            }
            ChannelMessage::Update { session } => {
                let update: SessionUpdate<'_> =
                    postcard::from_bytes(rest).map_err(|_| BusMessageError::Malformed)?;
                let is_part = update.is_part();
                match self.relay.apply(&session, from, update, now) {
                    Applied::Done => {}
                    Applied::Orphans => {
                        self.state.lock().orphaned.insert(session.clone().into_owned());
                    }
                    Applied::NotOpen if is_part => {
                        self.say_absent(from, session.clone().into_owned());
                    }
                    Applied::NotOpen => {}
                }
                if is_part {
                    self.answered(&session, from);
                }
            }
            ChannelMessage::HistoryRequest { session } => {
                let history = self.relay.export_history(&session).unwrap_or_default();
                self.links.send(from, &ChannelMessage::History { session, history: &history });
            }
            ChannelMessage::History { session, history } => {
                if !history.is_empty() {
                    let imported = self.relay.import_history(&session, history, now);
                    imported.map_err(|_| BusMessageError::Malformed)?;
                }
                self.answered(&session, from);
            }
            ChannelMessage::Barrier { id } => {
                let mut state = self.state.lock();
                state.openings.add_barrier(from, id);
                self.answer_barriers(&mut state);
            }
            ChannelMessage::Reached { id } => self.state.lock().barriers.reached(id, from),
            ChannelMessage::Lost { gateway } => {
                if !self.links.is_live(&gateway) {
                    self.relay.share_orphans(&gateway, from, now);
                    let answer = ChannelMessage::LostToo { gateway: gateway.clone() };
                    self.links.send(from, &answer);
                }
                // Now it can answer this gateway's question.
                if self.state.lock().barriers.awaits(&gateway, from) {
                    self.links.send(from, &ChannelMessage::Lost { gateway });
                }
            }
            ChannelMessage::LostToo { gateway } => {
                self.state.lock().barriers.agreed(&gateway, from);
            }
            ChannelMessage::State { message } if !self.shared.apply(message) => {
                return Err(BusMessageError::Malformed);
            }
            ChannelMessage::State { .. } => {}
            ChannelMessage::Evicted { tickets } => {
                let imported = self.relay.import_evicted(tickets);
                imported.map_err(|_| BusMessageError::Malformed)?;
            }
            ChannelMessage::Adopt { session } => self.adopt(session, from, now),
            ChannelMessage::Adopted { session } => self.state.lock().handovers.done(&session),
        }
        Ok(())
    }

    /// Shares the sessions that a peer has open as well, and ends the sharing of all others.
    fn match_sessions(&self, peer: &Instance, listed: &HashSet<u64>, now: Duration) {
        for session in self.relay.sessions() {
            if listed.contains(&hash(&session)) {
                self.relay.share(&session, peer, now);
            } else {
                self.leave(&session, peer, Vec::new(), now);
            }
        }
        for session in self.relay.closed_sessions() {
            if listed.contains(&hash(&session)) {
                self.say_absent(peer, session);
            }
        }
    }

    /// Tells a peer that one of its sessions is not open here.
    fn say_absent(&self, peer: &Instance, session: SessionId) {
        let destroyed = self.relay.destroyed(&session);
        self.links.send(peer, &ChannelMessage::Absent { session, destroyed });
    }

    /// A peer does not have a session.
    fn leave(
        &self,
        session: &SessionId,
        peer: &Instance,
        destroyed: Vec<ConnectionId>,
        now: Duration,
    ) {
        if self.relay.peer_left(session, peer, destroyed, now) {
            self.state.lock().orphaned.insert(session.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_protocol::MediaMode;
    use signalbox_relay::{Relay, Settings};

    use super::*;
    use crate::{Links, message::Fragment};

    #[test]
    fn a_malformed_message_takes_no_other_with_it() {
        let gateway = |name: &str| Instance { gateway: name.parse().unwrap(), epoch: 7 };
        let (here, other) = (gateway("a"), gateway("b"));
        let links = Arc::new(Links::new(here.clone(), || {}));
        let relay =
            Relay::clustered(Settings::default(), Arc::new(()), here.clone(), links.clone());
        let cluster = Cluster::new(relay.clone(), links);
        let now = Duration::ZERO;
        let heartbeat =
            BusMessage::Heartbeat { from: other.clone(), links: Vec::new(), usage: Vec::new() };
        cluster.receive(&heartbeat.encode(), now).unwrap();

        let key = "1".parse().unwrap();
        let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [0; 24]);
        let open = ChannelMessage::Adopt { session: session.clone() }.encode();
        let fragments = [&[0xff; 3][..], &open].map(|bytes| Fragment { last: true, bytes });
        let (from, to) = (other, here.epoch);
        let data =
            BusMessage::Data { from, to, incarnation: 1, first: 1, fragments: fragments.into() };
        let received = cluster.receive(&data.encode(), now);
        assert_eq!(received, Err(BusMessageError::Malformed));
        assert_eq!(relay.sessions(), [session], "the second message was applied");
    }
}
