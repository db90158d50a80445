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
    /// Connection ids that QUIC packets bear, of both ends.
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

    /// Cuts all connections. When this returns, nothing gets through them any more.
    pub async fn cut(&self) {
        let links = {
            let mut state = self.state.lock();
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
        let to = state.lock().to.0;
        // Towards another gateway it is another socket, or that would take it for a migration.
        let gateway: &Arc<UdpSocket> = match ways.entry((client, to)) {
            std::collections::hash_map::Entry::Occupied(way) => way.into_mut(),
            std::collections::hash_map::Entry::Vacant(way) => {
                let gateway = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
                gateway.connect(to).await.unwrap();
                tasks.spawn(answers(gateway.clone(), clients.clone(), client, state.clone()));
                way.insert(gateway)
            }
        };
        if state.lock().passes(datagram) {
            let _ = gateway.send(datagram).await;
        }
    }
}

async fn answers(
    gateway: Arc<UdpSocket>,
    clients: Arc<UdpSocket>,
    client: SocketAddr,
    state: Arc<Mutex<State>>,
) {
    let mut datagram = [0; 2048];
    loop {
        // A gateway that is gone is an error here, and may come back.
        let Ok(length) = gateway.recv(&mut datagram).await else { continue };
        let datagram = &datagram[..length];
        if state.lock().passes(datagram) {
            let _ = clients.send_to(datagram, client).await;
        }
    }
}

impl State {
    /// Whether a QUIC datagram gets through. After the handshake packets have short headers, in
    /// which their connection's id is where it always is (RFC 8999).
    fn passes(&mut self, datagram: &[u8]) -> bool {
        if self.quic_blocked {
            return false;
        }
        let Some((first, rest)) = datagram.split_first() else { return false };
        let Some(id) = rest.first_chunk().filter(|_| first & 0x80 == 0) else { return true };
        self.quic_ids.insert(*id);
        !self.quic_dead.contains(id)
    }
}
