//! Chaos for QUIC: datagrams are dropped and delayed, which also changes their order, and a link
//! that is cut falls silent. Its client may open another one, from the same port even.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UdpSocket,
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    IDLE, LINKS, Spec,
    fate::{Carrier, Fate, Packet, Packets},
};

/// Datagrams that may be on their way at a time; what comes then is dropped, as by any router.
const ON_THE_WAY: usize = 4096;

/// The largest UDP datagram.
const DATAGRAM: usize = 65_535;

/// Length of the connection ids by which clients address this gateway.
const ID: usize = 8;

/// Ids remembered of one link, and of all that were cut.
const IDS: usize = 64;
const DEAD_IDS: usize = 64 * LINKS;

/// After an error of a socket, which is no error of a link.
const PAUSE: Duration = Duration::from_millis(100);

type Id = Vec<u8>;

/// A client's way to the gateway. The gateway sees a port of its own for each.
struct Link {
    gateway: Arc<UdpSocket>,
    packets: Packets,
    /// By which its client has addressed the gateway.
    ids: VecDeque<Id>,
    /// Cancelled when nothing passes any more.
    over: CancellationToken,
    number: u64,
}

struct Proxy {
    spec: Spec,
    clients: Arc<UdpSocket>,
    to: SocketAddr,
    links: HashMap<SocketAddr, Link>,
    /// Connections whose link was cut stay dead, even if their client uses its port for another.
    dead: HashSet<Id>,
    dead_in_order: VecDeque<Id>,
    room: Arc<Semaphore>,
    opened: u64,
}

/// Carries datagrams between clients and the gateway.
pub(super) async fn carry(spec: Spec, clients: UdpSocket, to: SocketAddr) {
    let mut proxy = Proxy::new(spec, clients, to);
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match proxy.clients.recv_from(&mut buffer).await {
            Ok((length, client)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                proxy.forward(client, datagram).await;
            }
            // The system may report what became of a datagram that was sent. Nothing is wrong here.
            Err(error) => {
                debug!(%error, "receiving failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Proxy {
    fn new(spec: Spec, clients: UdpSocket, to: SocketAddr) -> Self {
        Self {
            spec,
            clients: Arc::new(clients),
            to,
            links: HashMap::new(),
            dead: HashSet::new(),
            dead_in_order: VecDeque::new(),
            room: Arc::new(Semaphore::new(ON_THE_WAY)),
            opened: 0,
        }
    }

    async fn forward(&mut self, client: SocketAddr, datagram: &[u8]) {
        let Some(id) = destination(datagram) else { return };
        if self.links.get(&client).is_none_or(|link| link.over.is_cancelled()) {
            self.bury();
        }
        if self.dead.contains(id) {
            return;
        }
        if !self.links.contains_key(&client) {
            let Some(link) = self.open(client).await else { return };
            self.links.insert(client, link);
        }
        let Some(link) = self.links.get_mut(&client) else { return };
        if !link.ids.iter().any(|known| known == id) {
            if link.ids.len() == IDS {
                link.ids.pop_front();
            }
            link.ids.push_back(id.to_owned());
        }
        let packet = link.packets.next();
        let way = Way { socket: &link.gateway, to: self.to, over: &link.over, room: &self.room };
        way.send(datagram, packet, link.number, "to gateway").await;
    }

    /// Forgets links that were cut, each of which holds a socket, and remembers their connections.
    fn bury(&mut self) {
        let over = self.links.extract_if(|_, link| link.over.is_cancelled());
        for id in over.flat_map(|(_, link)| link.ids) {
            if self.dead.insert(id.clone()) {
                self.dead_in_order.push_back(id);
            }
        }
        while self.dead_in_order.len() > DEAD_IDS
            && let Some(oldest) = self.dead_in_order.pop_front()
        {
            self.dead.remove(&oldest);
        }
    }

    async fn open(&mut self, client: SocketAddr) -> Option<Link> {
        if self.links.len() >= LINKS {
            warn!(%client, "no room for another QUIC link; datagram dropped");
            return None;
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let gateway = match socket {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                warn!(%client, %error, "QUIC link failed: no socket");
                return None;
            }
        };
        self.opened += 1;
        let number = self.opened;
        let Fate { lifetime, cut, to_gateway, to_client } =
            Fate::new(self.spec, Carrier::Quic, number);
        let over = CancellationToken::new();
        info!(carrier = "quic", link = number, %client, "link opened");
        let answers = Answers {
            gateway: gateway.clone(),
            clients: self.clients.clone(),
            client,
            packets: to_client,
            over: over.clone(),
            room: self.room.clone(),
            number,
        };
        let cut_at = lifetime.map(|lifetime| Instant::now() + lifetime);
        tokio::spawn(async move {
            let over = answers.over.clone();
            tokio::select! {
                () = answers.carry() => {
                    debug!(carrier = "quic", link = number, "link idle; forgotten");
                }
                () = at(cut_at) => {
                    info!(carrier = "quic", link = number, how = cut.name(), "link cut");
                }
            }
            over.cancel();
        });
        Some(Link { gateway, packets: to_gateway, ids: VecDeque::new(), over, number })
    }
}

/// The gateway's datagrams to one client.
struct Answers {
    gateway: Arc<UdpSocket>,
    clients: Arc<UdpSocket>,
    client: SocketAddr,
    packets: Packets,
    over: CancellationToken,
    room: Arc<Semaphore>,
    number: u64,
}

impl Answers {
    /// Until there has been none for long.
    async fn carry(mut self) {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok(received) = timeout(IDLE, self.gateway.recv_from(&mut buffer)).await {
            let Ok((length, _)) = received else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            let packet = self.packets.next();
            let Self { clients: socket, client, over, room, number, .. } = &self;
            let way = Way { socket, to: *client, over, room };
            way.send(datagram, packet, *number, "to client").await;
        }
    }
}

/// Where datagrams go, for as long as their link is not cut.
struct Way<'a> {
    socket: &'a Arc<UdpSocket>,
    to: SocketAddr,
    over: &'a CancellationToken,
    room: &'a Arc<Semaphore>,
}

impl Way<'_> {
    async fn send(&self, datagram: &[u8], packet: Packet, link: u64, direction: &'static str) {
        let Packet { lost, delay } = packet;
        if lost {
            info!(carrier = "quic", link, direction, bytes = datagram.len(), "datagram dropped");
            return;
        }
        if delay.is_zero() {
            let _ = self.socket.send_to(datagram, self.to).await;
            return;
        }
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            info!(carrier = "quic", link, direction, "datagram dropped: too many are delayed");
            return;
        };
        debug!(carrier = "quic", link, direction, ?delay, "datagram delayed");
        let (socket, to, over) = (self.socket.clone(), self.to, self.over.clone());
        let (datagram, due) = (datagram.to_vec(), Instant::now() + delay);
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = sleep_until(due) => {
                    let _ = socket.send_to(&datagram, to).await;
                }
            }
            drop(room);
        });
    }
}

/// The connection id that a client's datagram is addressed to (RFC 8999): its length is said in a
/// long header, and known of the gateway's own ids, which are in short ones.
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return rest.get(..ID);
    }
    let (length, rest) = rest.get(4..)?.split_first()?;
    rest.get(..usize::from(*length))
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn socket() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    /// A packet with a short header, addressed to a connection.
    fn packet(connection: u8) -> [u8; 20] {
        let mut packet = [connection; 20];
        packet[0] = 0x40;
        packet
    }

    #[tokio::test]
    async fn links_that_were_cut_hold_nothing_and_stay_cut() {
        let gateway = socket().await;
        let spec = "cut=1ms,delay=0,drop=0".parse().unwrap();
        let mut proxy = Proxy::new(spec, socket().await, gateway.local_addr().unwrap());
        let client = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for port in 1..=50 {
            proxy.forward(client(port), &packet(1)).await;
            if let Some(link) = proxy.links.get(&client(port)) {
                link.over.clone().cancelled().await;
            }
            assert!(proxy.links.len() <= 1, "{} after {port}", proxy.links.len());
        }
        assert_eq!(proxy.opened, 1, "its connection is dead, from whatever port it comes");
        proxy.forward(client(1), &packet(2)).await;
        assert_eq!((proxy.opened, proxy.links.len()), (2, 1), "another one gets through");
    }

    #[tokio::test]
    async fn what_is_dropped_or_delayed_too_much_does_not_arrive_and_the_rest_does() {
        let gateway = socket().await;
        let spec = "cut=0,delay=1ms,drop=0.5,seed=7".parse().unwrap();
        let mut proxy = Proxy::new(spec, socket().await, gateway.local_addr().unwrap());
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        for _ in 0..100 {
            proxy.forward(client, &packet(1)).await;
        }
        // Those that wait have a permit each, which they give back when they are sent.
        let all = u32::try_from(ON_THE_WAY).unwrap();
        drop(proxy.room.acquire_many(all).await.unwrap());
        let mut fate = Fate::new(spec, Carrier::Quic, 1).to_gateway;
        let expected = (0..100).filter(|_| !fate.next().lost).count();
        let mut buffer = [0; 64];
        let arrived = std::iter::from_fn(|| gateway.try_recv(&mut buffer).ok());
        gateway.readable().await.unwrap();
        assert_eq!(arrived.count(), expected);
    }
}
