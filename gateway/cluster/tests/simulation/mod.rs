//! Gateways, a bus and clients in simulated time.

mod client;
mod node;

use std::{collections::BTreeMap, time::Duration};

use signalbox_cluster::{Address, LEASE};
use signalbox_protocol::{ConnectionId, MediaMode, SessionId};
use signalbox_relay::JoinError;

pub(crate) use self::{client::Client, node::Node};

/// The faults that a program may contain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The bus loses and repeats packets.
    pub(crate) lossy: bool,
    /// Gateways are cut off from the bus, for shorter and longer than the resume window.
    pub(crate) cuts: bool,
    /// Gateways are killed, and started again.
    pub(crate) kills: bool,
    /// Gateways do nothing for a while.
    pub(crate) stops: bool,
}

/// Numbers that depend on the seed alone (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

pub(crate) const WINDOW: Duration = Duration::from_secs(8);
const STEP: Duration = Duration::from_millis(10);
const GATEWAYS: usize = 3;
const SESSIONS: u8 = 2;

/// A packet on its way, and the time of its arrival.
type Packet = (Duration, Vec<u8>);

pub(crate) struct Simulation {
    random: Random,
    faults: Faults,
    now: Duration,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    /// Packets on their way, by sender and receiver, with the time of arrival.
    bus: BTreeMap<(usize, usize), Vec<Packet>>,
    next_id: u64,
    /// A lossless bus and no further faults, towards the end.
    calm: bool,
    trace: bool,
}

impl Simulation {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let nodes = (0..GATEWAYS).map(|n| Node::start(n, 1)).collect();
        Self {
            random: Random(seed),
            faults,
            now: Duration::ZERO,
            nodes,
            clients: Vec::new(),
            bus: BTreeMap::new(),
            next_id: 0,
            calm: false,
            trace: std::env::var_os("SIGNALBOX_TRACE").is_some(),
        }
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>8} {}", self.now.as_millis(), what());
        }
    }

    pub(crate) fn run(mut self) {
        self.pass(Duration::from_secs(1));
        let steps = 200 + self.random.below(400);
        for _ in 0..steps {
            self.act();
            let pause = if self.random.one_in(20) { 1000 } else { 30 };
            let pause = Duration::from_millis(self.random.below(pause) as u64);
            self.pass(pause);
        }
        self.calm = true;
        for n in 0..self.nodes.len() {
            self.nodes[n].cut = false;
            self.nodes[n].stopped_until = None;
            if self.nodes[n].dead {
                self.restart(n);
            }
        }
        self.note(|| "calm".into());
        self.pass(WINDOW + 3 * LEASE);
        self.settle();
        self.check();
    }

    /// A random action of a client, a server or the world.
    fn act(&mut self) {
        let kind = self.random.below(100);
        match kind {
            0..8 => self.join(),
            8..60 => self.signal(),
            60..66 => self.server_signal(),
            66..76 => self.lose_link(),
            76..80 => self.leave(),
            80..82 => self.kick(),
            82..100 => self.fault(),
            _ => unreachable!(),
        }
    }

    fn fault(&mut self) {
        let n = self.random.below(self.nodes.len());
        if self.nodes[n].dead {
            if self.random.one_in(3) {
                self.restart(n);
            }
        } else if self.faults.cuts && self.random.one_in(4) {
            self.nodes[n].cut = !self.nodes[n].cut;
            let cut = self.nodes[n].cut;
            self.note(|| format!("gateway {n} cut: {cut}"));
        } else if self.faults.kills && self.random.one_in(10) {
            self.note(|| format!("gateway {n} killed"));
            self.nodes[n].dead = true;
            for client in &mut self.clients {
                client.gateway_died(n, self.now);
            }
            self.nodes[n].detached.clear();
            self.bus.retain(|(from, to), _| *from != n && *to != n);
        } else if self.faults.stops && self.random.one_in(10) {
            let until = self.now + Duration::from_millis(self.random.below(6000) as u64);
            self.note(|| format!("gateway {n} stopped until {}", until.as_millis()));
            self.nodes[n].stopped_until = Some(until);
        } else if self.random.one_in(2) {
            let pause = self.random.below(4000) as u64;
            self.pass(Duration::from_millis(pause));
        }
    }

    fn restart(&mut self, n: usize) {
        self.note(|| format!("gateway {n} started"));
        let epoch = self.nodes[n].epoch + 1;
        self.nodes[n] = Node::start(n, epoch);
        // Its clock starts at zero in reality; here all share one, which no decision depends on.
    }

    fn session(&mut self) -> SessionId {
        let number = self.random.below(SESSIONS.into()) as u8;
        session(number)
    }

    fn join(&mut self) {
        let n = self.random.below(self.nodes.len());
        if !self.nodes[n].is_running(self.now) || self.clients.len() > 24 {
            return;
        }
        self.next_id += 1;
        let id = id(self.next_id);
        let session = self.session();
        let resumable = !self.random.one_in(4);
        self.note(|| format!("{} joins at {n}, resumable {resumable}", short(id)));
        let faults = self.faults;
        let client = Client::joining(id, session, n, resumable, faults, &self.nodes[n], self.now);
        self.clients.push(client);
    }

    fn attached(&mut self) -> Option<usize> {
        let attached: Vec<usize> = (0..self.clients.len())
            .filter(|c| {
                let node = self.clients[*c].attached_to();
                node.is_some_and(|n| self.nodes[n].is_running(self.now))
            })
            .collect();
        (!attached.is_empty()).then(|| attached[self.random.below(attached.len())])
    }

    fn signal(&mut self) {
        if let Some(c) = self.attached() {
            for _ in 0..=self.random.below(3) {
                self.clients[c].signal(self.now);
            }
        }
    }

    fn server_signal(&mut self) {
        let n = self.random.below(self.nodes.len());
        let session = self.session();
        if self.nodes[n].is_running(self.now) {
            self.nodes[n].serve(session, self.now);
        }
    }

    fn lose_link(&mut self) {
        let Some(c) = self.attached() else { return };
        let known = self.random.one_in(2);
        let id = self.clients[c].id;
        self.note(|| format!("{} loses its link, known {known}", short(id)));
        let Self { clients, nodes, now, .. } = self;
        clients[c].lose_link(known, nodes, *now);
    }

    fn leave(&mut self) {
        let Some(c) = self.attached() else { return };
        let id = self.clients[c].id;
        self.note(|| format!("{} leaves", short(id)));
        self.clients[c].leave(self.now);
    }

    fn kick(&mut self) {
        let n = self.random.below(self.nodes.len());
        if self.clients.is_empty() || !self.nodes[n].is_running(self.now) {
            return;
        }
        let target = self.random.below(self.clients.len());
        let (session, id) = (self.clients[target].session.clone(), self.clients[target].id);
        self.note(|| format!("{} kicked at {n}", short(id)));
        let kicked = self.nodes[n].relay.force_disconnect(&session, id, self.now);
        self.clients[target].kicked |= kicked.is_ok();
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STEP;
            self.carry();
            for n in 0..self.nodes.len() {
                if self.nodes[n].is_running(self.now) {
                    self.nodes[n].tick(self.now);
                }
            }
            let Self { clients, nodes, random, now, .. } = self;
            for client in clients.iter_mut() {
                client.step(nodes, random, *now);
            }
        }
    }

    /// Moves packets.
    fn carry(&mut self) {
        for from in 0..self.nodes.len() {
            if !self.nodes[from].is_running(self.now) || self.nodes[from].cut {
                continue;
            }
            while let Some(packet) = self.nodes[from].links.take() {
                for to in 0..self.nodes.len() {
                    let addressed = match &packet.to {
                        Address::All => true,
                        Address::Gateway(name) => *name == self.nodes[to].instance.gateway,
                    };
                    let lossy = self.faults.lossy && !self.calm;
                    if !addressed || (lossy && from != to && self.random.one_in(25)) {
                        continue;
                    }
                    let delay = Duration::from_millis(self.random.below(30) as u64);
                    let queue = self.bus.entry((from, to)).or_default();
                    let earliest = queue.last().map_or(Duration::ZERO, |(at, _)| *at);
                    let at = earliest.max(self.now + delay);
                    queue.push((at, packet.payload.clone()));
                    if lossy && self.random.one_in(25) {
                        queue.push((at, packet.payload.clone()));
                    }
                }
            }
        }
        for ((_, to), queue) in &mut self.bus {
            let node = &self.nodes[*to];
            if node.stopped(self.now) {
                continue;
            }
            let due = queue.iter().take_while(|(at, _)| *at <= self.now).count();
            for (_, payload) in queue.drain(..due) {
                if !node.dead && !node.cut {
                    node.cluster.receive(&payload, self.now).unwrap();
                }
            }
        }
    }

    /// Every attached client sends a last signal, and everything arrives.
    fn settle(&mut self) {
        for client in &mut self.clients {
            client.signal(self.now);
        }
        self.pass(Duration::from_secs(3));
    }

    /// Each gateway counts the connections of each user that are on it: one more may join if the
    /// limit is one more, and not otherwise.
    fn check_users(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            for user in USERS {
                let local = (0..SESSIONS).map(session).flat_map(|session| {
                    let connections = node.relay.connections(&session).into_iter();
                    connections.filter(move |it| node.relay.is_local(&session, it.info.id))
                });
                let open = local.filter(|it| it.info.data == user).count();
                for limit in [open, open + 1].into_iter().filter(|limit| *limit > 0) {
                    let joined = node.join_with_limit(user, limit, self.now);
                    let full = (limit == open).then_some(JoinError::UserFull);
                    assert_eq!(joined.err(), full, "{open} of {user} at gateway {n}");
                }
            }
        }
    }

    fn check(&self) {
        self.check_users();
        for client in &self.clients {
            assert!(client.is_settled(), "{} is neither attached nor ended", short(client.id));
            client.check(&self.clients);
        }
        for number in 0..SESSIONS {
            let session = session(number);
            let mut expected: Vec<ConnectionId> = self
                .clients
                .iter()
                .filter(|client| client.session == session && client.attached_to().is_some())
                .map(|client| client.id)
                .collect();
            expected.sort();
            for (n, node) in self.nodes.iter().enumerate() {
                let mut listed: Vec<_> =
                    node.relay.connections(&session).iter().map(|it| it.info.id).collect();
                listed.sort();
                if !listed.is_empty() || !node.relay.peers(&session).is_empty() {
                    assert_eq!(listed, expected, "at gateway {n}");
                }
            }
        }
    }
}

pub(crate) fn session(number: u8) -> SessionId {
    let key = "1".parse().unwrap();
    SessionId::mint(&key, MediaMode::Relayed, None, 0, [number; 24])
}

pub(crate) fn id(number: u64) -> ConnectionId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ConnectionId::from_bytes(bytes)
}

/// The connection data of clients.
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// The connection data of a client.
pub(crate) fn user(id: ConnectionId) -> &'static str {
    USERS[usize::from(id.as_bytes()[15]) % USERS.len()]
}

/// A short name for messages of the test.
pub(crate) fn short(id: ConnectionId) -> String {
    let text = id.to_string();
    format!("#{}", text[text.len() - 3..].trim_start_matches('0'))
}
