//! A network between clients and a gateway that can be cut: what was under way is lost, and
//! neither end is told. Over TCP the connections end without a close of what they carried, over
//! QUIC their packets go nowhere any more; new ones get through.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{Carrier, World};

/// Length of the connection ids that quinn makes, at both ends.
const ID: usize = 8;

/// A way to a gateway.
pub struct Proxy {
    state: Arc<Mutex<State>>,
    quic: SocketAddr,
    tcp: SocketAddr,
    _tasks: JoinSet<()>,
}

struct State {
    /// The gateway's own ports.
    to: (SocketAddr, SocketAddr),
    quic_blocked: bool,
    tcp_blocked: bool,
    /// Whether the gateway's answers over QUIC get lost.
    quic_unanswered: bool,
    /// The same, but handshakes get through.
    quic_silent: bool,
    /// What clients sent over QUIC before their handshakes were over.
    quic_early: Vec<Vec<u8>>,
    /// How many QUIC connections they have begun.
    quic_begun: watch::Sender<usize>,
    /// How often all was cut.
    cuts: u64,
    /// Connection ids by which clients address the gateway.
    quic_ids: HashSet<[u8; ID]>,
    /// Those of connections that have been cut.
    quic_dead: HashSet<[u8; ID]>,
    tcp_links: Vec<AbortHandle>,
    /// TCP connections so far.
    tcp_count: usize,
}

impl Proxy {
    /// To the gateway of a world.
    pub async fn new(world: &World) -> Self {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (quic, tcp) = (udp.local_addr().unwrap(), listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            to: (world.addresses().quic, world.addresses().tcp),
            quic_blocked: false,
            tcp_blocked: false,
            quic_unanswered: false,
            quic_silent: false,
            quic_early: Vec::new(),
            quic_begun: watch::Sender::new(0),
            cuts: 0,
            quic_ids: HashSet::new(),
            quic_dead: HashSet::new(),
            tcp_links: Vec::new(),
            tcp_count: 0,
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_tcp(listener, state.clone()));
        tasks.spawn(carry_quic(Arc::new(udp), state.clone()));
        Self { state, quic, tcp, _tasks: tasks }
    }

    /// The gateway's URL for a carrier, this way.
    pub fn url(&self, carrier: Carrier) -> String {
        match carrier {
            Carrier::Quic | Carrier::QuicSingle => format!("quic://{}", self.quic),
            Carrier::Postcard | Carrier::Json => format!("wss://{}", self.tcp),
        }
    }

    /// The gateway's port for a carrier, this way.
    pub fn address(&self, carrier: Carrier) -> SocketAddr {
        match carrier {
            Carrier::Quic | Carrier::QuicSingle => self.quic,
            Carrier::Postcard | Carrier::Json => self.tcp,
        }
    }

    /// Cuts all connections. When this returns, nothing gets through them any more.
    pub async fn cut(&self) {
        let links = {
            let mut state = self.state.lock();
            state.cuts += 1;
            let ids = std::mem::take(&mut state.quic_ids);
            state.quic_dead.extend(ids);
            std::mem::take(&mut state.tcp_links)
        };
        links.iter().for_each(AbortHandle::abort);
        // One may be in the middle of something on another thread.
        while !links.iter().all(AbortHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    }

    /// Whether QUIC, and whether TCP, gets through at all.
    pub fn open(&self, quic: bool, tcp: bool) {
        let mut state = self.state.lock();
        (state.quic_blocked, state.tcp_blocked) = (!quic, !tcp);
    }

    /// Whether the gateway's answers over QUIC get lost.
    pub fn lose_answers(&self, lose: bool) {
        self.state.lock().quic_unanswered = lose;
    }

    /// Whether the gateway's answers over QUIC get lost that are no part of a handshake.
    pub fn lose_answers_after_handshakes(&self, lose: bool) {
        self.state.lock().quic_silent = lose;
    }

    /// Waits until clients have begun so many QUIC connections.
    pub async fn quic_begun(&self, count: usize) {
        let mut begun = self.state.lock().quic_begun.subscribe();
        crate::soon("another QUIC connection", begun.wait_for(|begun| *begun >= count))
            .await
            .unwrap();
    }

    /// Datagrams so far with early data (0-RTT) of clients in them.
    pub fn early(&self) -> Vec<Vec<u8>> {
        let all = &self.state.lock().quic_early;
        all.iter().filter(|datagram| has_early_data(datagram)).cloned().collect()
    }

    /// What somebody can capture and play again to the gateway, from another address: the first
    /// packets of clients that sent early data. The gateway has looked at it when this returns.
    pub async fn replay(&self) {
        let early = self.early();
        let ids: HashSet<_> = early.iter().map(|datagram| destination(datagram)).collect();
        let (to, mut captured) = {
            let state = self.state.lock();
            (state.to.0, state.quic_early.clone())
        };
        captured.retain(|datagram| ids.contains(destination(datagram)));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut answer = [0; 2048];
        let answered = async {
            // As long as it knows the connection, it takes them for duplicates.
            loop {
                for datagram in &captured {
                    socket.send_to(datagram, to).await.unwrap();
                }
                let soon = std::time::Duration::from_millis(50);
                let answer = tokio::time::timeout(soon, socket.recv_from(&mut answer)).await;
                if answer.is_ok() {
                    break;
                }
            }
        };
        crate::soon("an answer to what was played again", answered).await;
    }

    /// New connections go to another gateway.
    pub fn lead_to(&self, world: &World) {
        self.state.lock().to = (world.addresses().quic, world.addresses().tcp);
    }

    /// TCP connections that there have been.
    pub fn tcp_count(&self) -> usize {
        self.state.lock().tcp_count
    }
}

async fn carry_tcp(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut links = JoinSet::new();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut state = state.lock();
        if state.tcp_blocked {
            continue;
        }
        let to = state.to.1;
        let link = links.spawn(async move {
            if let Ok(mut gateway) = TcpStream::connect(to).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut gateway).await;
            }
        });
        state.tcp_links.push(link);
        state.tcp_count += 1;
    }
}

async fn carry_quic(clients: Arc<UdpSocket>, state: Arc<Mutex<State>>) {
    let mut ways = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut datagram = [0; 2048];
    loop {
        let (length, client) = clients.recv_from(&mut datagram).await.unwrap();
        let datagram = &datagram[..length];
        let (to, cuts) = {
            let state = state.lock();
            (state.to.0, state.cuts)
        };
        // Towards another gateway it is another socket, or that would take it for a migration. And
        // after a cut: the gateway may address an old connection by ids that nobody has seen yet.
        let gateway: &Arc<UdpSocket> = match ways.entry((client, to, cuts)) {
            std::collections::hash_map::Entry::Occupied(way) => way.into_mut(),
            std::collections::hash_map::Entry::Vacant(way) => {
                let gateway = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                gateway.connect(to).await.unwrap();
                let ends = (gateway.clone(), clients.clone());
                tasks.spawn(answers(ends, client, state.clone(), cuts));
                way.insert(gateway)
            }
        };
        let passes = state.lock().takes(datagram);
        if passes {
            let _ = gateway.send(datagram).await;
        }
    }
}

async fn answers(
    (gateway, clients): (Arc<UdpSocket>, Arc<UdpSocket>),
    client: SocketAddr,
    state: Arc<Mutex<State>>,
    cuts: u64,
) {
    let mut datagram = [0; 2048];
    loop {
        // A gateway that is gone is an error here, and may come back.
        let Ok(length) = gateway.recv(&mut datagram).await else { continue };
        let datagram = &datagram[..length];
        let passes = state.lock().answers(datagram, cuts);
        if passes {
            let _ = clients.send_to(datagram, client).await;
        }
    }
}

/// Whether a datagram has early data in it: whether one of the packets in it says so, in its long
/// header (RFC 9000 §17.2).
fn has_early_data(mut datagram: &[u8]) -> bool {
    while let Some((first, rest)) = datagram.split_first() {
        if first & 0x80 == 0 {
            return false;
        }
        if first & 0x30 == 0x10 {
            return true;
        }
        let mut rest = rest.get(4..).unwrap_or_default();
        for _ in 0..2 {
            let Some((length, more)) = rest.split_first() else { return false };
            rest = more.get(usize::from(*length)..).unwrap_or_default();
        }
        if first & 0x30 == 0 {
            let token = varint(&mut rest);
            rest = rest.get(token..).unwrap_or_default();
        }
        let length = varint(&mut rest);
        datagram = rest.get(length..).unwrap_or_default();
    }
    false
}

/// The connection id to which a long header is addressed.
fn destination(datagram: &[u8]) -> &[u8] {
    let Some((length, rest)) = datagram.get(5..).and_then(<[_]>::split_first) else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// The connection id of the sender of a long header; nothing for a short one.
fn source(datagram: &[u8]) -> &[u8] {
    let long = datagram.first().is_some_and(|first| first & 0x80 != 0);
    let after = datagram.get(6 + destination(datagram).len()..).filter(|_| long);
    let Some((length, rest)) = after.and_then(<[_]>::split_first) else { return &[] };
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// A number in QUIC's form (RFC 9000 §16), taken off the bytes.
fn varint(bytes: &mut &[u8]) -> usize {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    let (tail, rest) = rest.split_at_checked((1 << (first >> 6)) - 1).unwrap_or_default();
    *bytes = rest;
    tail.iter().fold(usize::from(first & 0x3f), |number, byte| number << 8 | usize::from(*byte))
}

impl State {
    /// Whether a datagram of a client gets through.
    fn takes(&mut self, datagram: &[u8]) -> bool {
        let Some((first, rest)) = datagram.split_first() else { return false };
        if first & 0x80 != 0 {
            self.quic_early.push(datagram.to_vec());
            let ids: HashSet<_> = self.quic_early.iter().map(|it| source(it)).collect();
            self.quic_begun.send_replace(ids.len());
            return !self.quic_blocked;
        }
        // In a short header the connection's id is where it always is (RFC 8999).
        let Some(id) = rest.first_chunk() else { return false };
        self.quic_ids.insert(*id);
        !self.quic_blocked && !self.quic_dead.contains(id)
    }

    /// Whether a datagram of the gateway gets through, on a way that was found after so many cuts.
    fn answers(&mut self, datagram: &[u8], cuts: u64) -> bool {
        self.quic_ids.extend(source(datagram).first_chunk());
        let lost = self.quic_unanswered || self.quic_silent && source(datagram).is_empty();
        !lost && !self.quic_blocked && cuts == self.cuts
    }
}
