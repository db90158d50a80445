//! The links of this gateway: one channel to, and one from, each other gateway.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Bound,
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{GatewayId, ProjectKey, SessionId};
use signalbox_relay::{Backplane, Instance, ProjectUse, SessionUpdate};

use crate::{
    channel::{Inbound, Outbound},
    message::{BusMessage, ChannelMessage, Fragment, LinkStatus, encode_update, hash},
    status::PeerStatus,
};

/// Bytes of a packet, roughly; NATS accepts 1 MiB.
const PACKET_BYTES: usize = 512 * 1024;

/// Hashes in one `Sessions` message.
const HASHES: usize = 16_384;

/// The receivers of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// All gateways of the cluster, this one included.
    All,
    /// One gateway.
    Gateway(GatewayId),
}

/// A message for the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPacket {
    /// Its receivers.
    pub to: Address,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The links of this gateway. Its lock is an inner one: nothing else is locked under it.
pub struct Links {
    instance: Instance,
    state: Mutex<LinksState>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct LinksState {
    peers: BTreeMap<Instance, Peer>,
    incarnations: u64,
    /// Fragments that were sent again.
    resent: u64,
    /// The peer that has received the latest packet. The others come first.
    last_served: Option<Instance>,
    /// Messages outside channels. Bounded: heartbeats replace each other, and there is at most one
    /// report of missing fragments for each peer and packet received.
    control: VecDeque<BusPacket>,
}

struct Peer {
    heard: Duration,
    outbound: Outbound,
    inbound: Inbound,
    /// Position of the inbound channel at the last heartbeat.
    position: (u64, u64),
    /// Usage of projects on the peer.
    usage: Vec<(ProjectKey, ProjectUse)>,
    /// Sessions of the peer, as far as they have been listed.
    listed: HashSet<u64>,
}

/// Control messages that wait for the bus. More are dropped, and made again.
const MAX_CONTROL: usize = 1024;

impl Links {
    /// The links of a gateway without peers. `wake` is called when there may be packets; it must
    /// return at once.
    pub fn new(instance: Instance, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { instance, state: Mutex::default(), wake: Box::new(wake) }
    }

    /// This run of this gateway.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The next packet for the bus.
    pub fn take(&self) -> Option<BusPacket> {
        let mut state = self.state.lock();
        if let Some(packet) = state.control.pop_front() {
            return Some(packet);
        }
        let peer = state.next_peer()?;
        let outbound = &mut state.peers.get_mut(&peer)?.outbound;
        let (incarnation, _) = outbound.end();
        let (first, taken) = outbound.take(PACKET_BYTES)?;
        let fragments = taken.iter().map(|(last, bytes)| Fragment { last: *last, bytes }).collect();
        let (from, to) = (self.instance.clone(), peer.epoch);
        let data = BusMessage::Data { from, to, incarnation, first, fragments };
        let to = Address::Gateway(peer.gateway.clone());
        state.last_served = Some(peer);
        Some(BusPacket { to, payload: data.encode() })
    }

    /// The live gateways, apart from this one.
    pub(crate) fn peers(&self) -> Vec<Instance> {
        self.state.lock().peers.keys().cloned().collect()
    }

    /// The status of each peer, and the number of fragments that were sent again.
    pub(crate) fn status(&self, now: Duration) -> (Vec<PeerStatus>, u64) {
        let state = self.state.lock();
        let status = |(peer, link): (&Instance, &Peer)| {
            let (sent, confirmed) = link.outbound.progress();
            let (_, expected) = link.inbound.position();
            PeerStatus {
                instance: peer.clone(),
                heartbeat_age: now.saturating_sub(link.heard),
                sent,
                confirmed,
                unconfirmed: link.outbound.unconfirmed(),
                received: expected.saturating_sub(1),
            }
        };
        (state.peers.iter().map(status).collect(), state.resent)
    }

    /// Adds a peer. The channel to it begins with the sessions of this gateway.
    pub(crate) fn connect(&self, peer: &Instance, sessions: &[SessionId], now: Duration) {
        let mut state = self.state.lock();
        state.incarnations += 1;
        let mut link = Peer {
            heard: now,
            outbound: Outbound::new(state.incarnations),
            inbound: Inbound::default(),
            position: (0, 0),
            usage: Vec::new(),
            listed: HashSet::new(),
        };
        push_sessions(&mut link.outbound, sessions);
        state.peers.insert(peer.clone(), link);
        drop(state);
        (self.wake)();
    }

    pub(crate) fn disconnect(&self, peer: &Instance) {
        self.state.lock().peers.remove(peer);
    }

    /// Usage of projects on all peers, and the number of peers.
    pub(crate) fn usage(&self) -> (HashMap<ProjectKey, ProjectUse>, u32) {
        let state = self.state.lock();
        let mut sum = HashMap::<ProjectKey, ProjectUse>::new();
        for (project, used) in state.peers.values().flat_map(|link| &link.usage) {
            let entry = sum.entry(project.clone()).or_default();
            *entry = entry.plus(*used);
        }
        (sum, u32::try_from(state.peers.len()).unwrap_or(u32::MAX))
    }

    /// Peers that have not been heard since this time.
    pub(crate) fn silent_since(&self, time: Duration) -> Vec<Instance> {
        let state = self.state.lock();
        state.peers.iter().filter(|(_, it)| it.heard < time).map(|(peer, _)| peer.clone()).collect()
    }

    /// Applies a heartbeat of a peer.
    pub(crate) fn heard(
        &self,
        peer: &Instance,
        links: &[LinkStatus],
        usage: Vec<(ProjectKey, ProjectUse)>,
        now: Duration,
    ) {
        let mut state = self.state.lock();
        let Some(link) = state.peers.get_mut(peer) else { return };
        link.heard = now;
        link.usage = usage;
        let Some(status) = links.iter().find(|status| status.peer == self.instance) else { return };
        let (incarnation, expected) = status.receiving;
        link.outbound.confirm(incarnation, expected);
        // Fragments that have made no progress since the last heartbeat are lost.
        let position = link.inbound.position();
        let missing = position < status.sending && position == link.position;
        link.position = position;
        if missing {
            self.report_missing(&mut state, peer, position);
        }
        drop(state);
        (self.wake)();
    }

    fn report_missing(&self, state: &mut LinksState, peer: &Instance, position: (u64, u64)) {
        let (from, to) = (self.instance.clone(), peer.epoch);
        let (incarnation, expected) = position;
        let missing = BusMessage::Missing { from, to, incarnation, expected };
        let to = Address::Gateway(peer.gateway.clone());
        state.push_control(BusPacket { to, payload: missing.encode() });
    }

    /// Accepts fragments of a peer. Returns the messages that they complete.
    pub(crate) fn accept(
        &self,
        peer: &Instance,
        incarnation: u64,
        first: u64,
        fragments: &[Fragment<'_>],
    ) -> Vec<Vec<u8>> {
        let mut state = self.state.lock();
        let Some(link) = state.peers.get_mut(peer) else { return Vec::new() };
        let (before, _) = link.inbound.position();
        let accepted = link.inbound.accept(incarnation, first, fragments);
        let position = link.inbound.position();
        if position.0 != before {
            link.listed.clear();
        }
        accepted.unwrap_or_else(|_| {
            self.report_missing(&mut state, peer, position);
            drop(state);
            (self.wake)();
            Vec::new()
        })
    }

    /// A peer lacks fragments of the channel to it.
    pub(crate) fn resend(&self, peer: &Instance, incarnation: u64, expected: u64) {
        let mut state = self.state.lock();
        let link = state.peers.get_mut(peer);
        state.resent += link.map_or(0, |link| link.outbound.resend(incarnation, expected));
        drop(state);
        (self.wake)();
    }

    /// A peer lists its sessions. Returns the whole list once it is complete.
    pub(crate) fn listed(
        &self,
        peer: &Instance,
        hashes: Vec<u64>,
        last: bool,
    ) -> Option<HashSet<u64>> {
        let mut state = self.state.lock();
        let link = state.peers.get_mut(peer)?;
        link.listed.extend(hashes);
        last.then(|| std::mem::take(&mut link.listed))
    }

    /// Makes all channels start over.
    pub(crate) fn break_channels(&self) {
        self.state.lock().peers.values_mut().for_each(|link| link.outbound.abandon());
    }

    /// Peers to which the channel must start over.
    pub(crate) fn broken(&self) -> Vec<Instance> {
        let state = self.state.lock();
        let broken = state.peers.iter().filter(|(_, link)| link.outbound.is_broken());
        broken.map(|(peer, _)| peer.clone()).collect()
    }

    /// Starts the channel to a peer over.
    pub(crate) fn restart(&self, peer: &Instance, sessions: &[SessionId]) {
        let mut state = self.state.lock();
        state.incarnations += 1;
        let incarnation = state.incarnations;
        if let Some(link) = state.peers.get_mut(peer) {
            link.outbound.restart(incarnation);
            push_sessions(&mut link.outbound, sessions);
        }
    }

    /// All parts have been sent since the channel to a peer has started over.
    pub(crate) fn finish_restart(&self, peer: &Instance) {
        if let Some(link) = self.state.lock().peers.get_mut(peer) {
            link.outbound.finish_restart();
        }
        (self.wake)();
    }

    /// Queues a message for a peer.
    pub(crate) fn send(&self, peer: &Instance, message: &ChannelMessage<'_>) {
        if let Some(link) = self.state.lock().peers.get_mut(peer) {
            link.outbound.push(&message.encode());
        }
        (self.wake)();
    }

    /// Queues a heartbeat.
    pub(crate) fn send_heartbeat(&self, usage: Vec<(ProjectKey, ProjectUse)>) {
        let mut state = self.state.lock();
        let links = state.peers.iter().map(|(peer, link)| LinkStatus {
            peer: peer.clone(),
            sending: link.outbound.end(),
            receiving: link.inbound.position(),
        });
        let (from, links) = (self.instance.clone(), links.collect());
        let heartbeat = BusMessage::Heartbeat { from, links, usage };
        let payload = heartbeat.encode();
        state.control.retain(|packet| packet.to != Address::All);
        state.push_control(BusPacket { to: Address::All, payload });
        drop(state);
        (self.wake)();
    }

    /// Queues a goodbye.
    pub(crate) fn send_goodbye(&self) {
        let goodbye = BusMessage::Goodbye { from: self.instance.clone() };
        let packet = BusPacket { to: Address::All, payload: goodbye.encode() };
        self.state.lock().push_control(packet);
        (self.wake)();
    }
}

impl LinksState {
    /// The peer that receives the next packet. They take turns, so that a peer that lacks much does
    /// not hold up the others.
    fn next_peer(&self) -> Option<Instance> {
        let after = self.last_served.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = self.peers.range((after, Bound::Unbounded)).chain(&self.peers);
        let mut waiting = in_turn.filter(|(_, link)| link.outbound.has_next());
        waiting.next().map(|(peer, _)| peer.clone())
    }

    fn push_control(&mut self, packet: BusPacket) {
        if self.control.len() < MAX_CONTROL {
            self.control.push_back(packet);
        }
    }
}

fn push_sessions(outbound: &mut Outbound, sessions: &[SessionId]) {
    let hashes: Vec<u64> = sessions.iter().map(hash).collect();
    let mut chunks = hashes.chunks(HASHES).peekable();
    loop {
        let hashes = chunks.next().unwrap_or_default().to_vec();
        let last = chunks.peek().is_none();
        outbound.push(&ChannelMessage::Sessions { hashes, last }.encode());
        if last {
            return;
        }
    }
}

impl Backplane for Links {
    fn is_live(&self, gateway: &Instance) -> bool {
        self.state.lock().peers.contains_key(gateway)
    }

    fn publish(&self, session: &SessionId, peers: &[Instance], update: &SessionUpdate<'_>) {
        let (message, hash) = (encode_update(session, update), hash(session));
        let mut state = self.state.lock();
        for peer in peers {
            if let Some(link) = state.peers.get_mut(peer) {
                link.outbound.push_update(hash, update.is_part(), &message);
            }
        }
        drop(state);
        (self.wake)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(number: u64) -> Instance {
        Instance { gateway: format!("gw-{number}").parse().unwrap(), epoch: 1 }
    }

    #[test]
    fn peers_take_turns() {
        let links = Links::new(gateway(0), || {});
        links.connect(&gateway(1), &[], Duration::ZERO);
        links.connect(&gateway(2), &[], Duration::ZERO);
        let history = vec![0; PACKET_BYTES];
        let long = ChannelMessage::History { session: session(), history: &history };
        links.send(&gateway(1), &long);
        links.send(&gateway(1), &long);
        links.send(&gateway(2), &long);
        let packets = std::iter::from_fn(|| links.take());
        let receivers: Vec<_> = packets.map(|packet| packet.to).collect();
        let to = |number| Address::Gateway(gateway(number).gateway);
        assert_eq!(receivers[..4], [to(1), to(2), to(1), to(2)]);
        assert!(receivers[4..].iter().all(|receiver| *receiver == to(1)), "{receivers:?}");
    }

    fn session() -> SessionId {
        let key = "1".parse().unwrap();
        SessionId::mint(&key, signalbox_protocol::MediaMode::Relayed, None, 0, [0; 24])
    }
}
