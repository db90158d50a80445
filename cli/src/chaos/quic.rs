//! Faults of QUIC: datagrams are dropped and delayed, which also reorders them, and a link that is cut
//! falls silent. Its client may open another one, even from the same port.

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
    ChaosSpec, IDLE, LINKS,
    decisions::{LinkDecisions, PacketDecision, PacketDecisions, Protocol},
};

/// Datagrams that are delayed at a time. More are dropped, as by any router.
const MAX_DELAYED: usize = 4096;

/// The largest UDP datagram.
const MAX_DATAGRAM: usize = 65_535;

/// Length of the connection ids of this gateway.
const ID_BYTES: usize = 8;

/// Connection ids remembered of one link, and of all links that were cut.
const LINK_IDS: usize = 64;
const CUT_IDS: usize = 64 * LINKS;

/// Pause after an error of a socket, which is no error of a link.
const PAUSE: Duration = Duration::from_millis(100);

type QuicConnectionId = Vec<u8>;

/// A client's link. The gateway sees each from a port of its own.
struct ProxiedLink {
    gateway: Arc<UdpSocket>,
    packets: PacketDecisions,
    /// Connection ids by which the client has addressed the gateway.
    ids: VecDeque<QuicConnectionId>,
    /// Cancelled when nothing is forwarded any more.
    ended: CancellationToken,
    number: u64,
}

struct QuicProxy {
    spec: ChaosSpec,
    clients: Arc<UdpSocket>,
    to: SocketAddr,
    links: HashMap<SocketAddr, ProxiedLink>,
    /// Connections whose link was cut stay cut, even if the client uses its port for another one.
    cut: HashSet<QuicConnectionId>,
    cut_in_order: VecDeque<QuicConnectionId>,
    delayed: Arc<Semaphore>,
    opened: u64,
}

/// Forwards datagrams between clients and the gateway.
pub(super) async fn forward(spec: ChaosSpec, clients: UdpSocket, to: SocketAddr) {
    let mut proxy = QuicProxy::new(spec, clients, to);
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match proxy.clients.recv_from(&mut buffer).await {
            Ok((length, client)) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                proxy.forward(client, datagram).await;
            }
            // The system may report the fate of an earlier datagram. The socket is fine.
            Err(error) => {
                debug!(%error, "receiving failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl QuicProxy {
    fn new(spec: ChaosSpec, clients: UdpSocket, to: SocketAddr) -> Self {
        Self {
            spec,
            clients: Arc::new(clients),
            to,
            links: HashMap::new(),
            cut: HashSet::new(),
            cut_in_order: VecDeque::new(),
            delayed: Arc::new(Semaphore::new(MAX_DELAYED)),
            opened: 0,
        }
    }

    async fn forward(&mut self, client: SocketAddr, datagram: &[u8]) {
        let Some(id) = destination(datagram) else { return };
        if self.links.get(&client).is_none_or(|link| link.ended.is_cancelled()) {
            self.forget_cut_links();
        }
        if self.cut.contains(id) {
            return;
        }
        if !self.links.contains_key(&client) {
            let Some(link) = self.open(client).await else { return };
            self.links.insert(client, link);
        }
        let Some(link) = self.links.get_mut(&client) else { return };
        if !link.ids.iter().any(|known| known == id) {
            if link.ids.len() == LINK_IDS {
                link.ids.pop_front();
            }
            link.ids.push_back(id.to_owned());
        }
        let packet = link.packets.next();
        let path = UdpPath {
            socket: &link.gateway,
            to: self.to,
            ended: &link.ended,
            delayed: &self.delayed,
        };
        path.send(datagram, packet, link.number, "to gateway").await;
    }

    /// Closes the sockets of links that were cut, and remembers their connection ids.
    fn forget_cut_links(&mut self) {
        let ended = self.links.extract_if(|_, link| link.ended.is_cancelled());
        for id in ended.flat_map(|(_, link)| link.ids) {
            if self.cut.insert(id.clone()) {
                self.cut_in_order.push_back(id);
            }
        }
        while self.cut_in_order.len() > CUT_IDS
            && let Some(oldest) = self.cut_in_order.pop_front()
        {
            self.cut.remove(&oldest);
        }
    }

    async fn open(&mut self, client: SocketAddr) -> Option<ProxiedLink> {
        if self.links.len() >= LINKS {
            warn!(%client, "datagram dropped: too many QUIC links");
            return None;
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let gateway = match socket {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                warn!(%client, %error, "QUIC link not opened: no socket");
                return None;
            }
        };
        self.opened += 1;
        let number = self.opened;
        let LinkDecisions { lifetime, cut, to_gateway, to_client: packets } =
            LinkDecisions::new(self.spec, Protocol::Quic, number);
        let ended = CancellationToken::new();
        info!(protocol = "quic", link = number, %client, "link opened");
        let to_client = ToClient {
            gateway: gateway.clone(),
            clients: self.clients.clone(),
            client,
            packets,
            ended: ended.clone(),
            delayed: self.delayed.clone(),
            number,
        };
        let cut_at = lifetime.map(|lifetime| Instant::now() + lifetime);
        tokio::spawn(async move {
            let ended = to_client.ended.clone();
            tokio::select! {
                () = to_client.forward() => {
                    debug!(protocol = "quic", link = number, "link idle; forgotten");
                }
                () = at(cut_at) => {
                    info!(protocol = "quic", link = number, how = cut.name(), "link cut");
                }
            }
            ended.cancel();
        });
        Some(ProxiedLink { gateway, packets: to_gateway, ids: VecDeque::new(), ended, number })
    }
}

/// The task that forwards datagrams of the gateway to one client.
struct ToClient {
    gateway: Arc<UdpSocket>,
    clients: Arc<UdpSocket>,
    client: SocketAddr,
    packets: PacketDecisions,
    ended: CancellationToken,
    delayed: Arc<Semaphore>,
    number: u64,
}

impl ToClient {
    /// Forwards datagrams until the gateway falls silent.
    async fn forward(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        while let Ok(received) = timeout(IDLE, self.gateway.recv_from(&mut buffer)).await {
            let Ok((length, _)) = received else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            let packet = self.packets.next();
            let Self { clients: socket, client, ended, delayed, number, .. } = &self;
            let path = UdpPath { socket, to: *client, ended, delayed };
            path.send(datagram, packet, *number, "to client").await;
        }
    }
}

/// The path of datagrams in one direction, until their link is cut.
struct UdpPath<'a> {
    socket: &'a Arc<UdpSocket>,
    to: SocketAddr,
    ended: &'a CancellationToken,
    delayed: &'a Arc<Semaphore>,
}

impl UdpPath<'_> {
    async fn send(
        &self,
        datagram: &[u8],
        packet: PacketDecision,
        link: u64,
        direction: &'static str,
    ) {
        let PacketDecision { lost, delay } = packet;
        if lost {
            info!(protocol = "quic", link, direction, bytes = datagram.len(), "datagram dropped");
            return;
        }
        if delay.is_zero() {
            let _ = self.socket.send_to(datagram, self.to).await;
            return;
        }
        let Ok(permit) = self.delayed.clone().try_acquire_owned() else {
            info!(protocol = "quic", link, direction, "datagram dropped: too many are delayed");
            return;
        };
        debug!(protocol = "quic", link, direction, ?delay, "datagram delayed");
        let (socket, to, ended) = (self.socket.clone(), self.to, self.ended.clone());
        let (datagram, due) = (datagram.to_vec(), Instant::now() + delay);
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = sleep_until(due) => {
                    let _ = socket.send_to(&datagram, to).await;
                }
            }
            drop(permit);
        });
    }
}

/// The destination connection id of a client's datagram (RFC 8999). A long header contains its length; in
/// a short header it is an id of the gateway, whose length is known.
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return rest.get(..ID_BYTES);
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
    async fn cut_links_hold_no_socket_and_stay_cut() {
        let gateway = socket().await;
        let spec = "cut=1ms,delay=0,drop=0".parse().unwrap();
        let mut proxy = QuicProxy::new(spec, socket().await, gateway.local_addr().unwrap());
        let client = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for port in 1..=50 {
            proxy.forward(client(port), &packet(1)).await;
            if let Some(link) = proxy.links.get(&client(port)) {
                link.ended.clone().cancelled().await;
            }
            assert!(proxy.links.len() <= 1, "{} after {port}", proxy.links.len());
        }
        assert_eq!(proxy.opened, 1, "its connection is cut on every port");
        proxy.forward(client(1), &packet(2)).await;
        assert_eq!((proxy.opened, proxy.links.len()), (2, 1), "another connection is forwarded");
    }

    #[tokio::test]
    async fn dropped_datagrams_do_not_arrive_and_the_others_do() {
        let gateway = socket().await;
        let spec = "cut=0,delay=1ms,drop=0.5,seed=7".parse().unwrap();
        let mut proxy = QuicProxy::new(spec, socket().await, gateway.local_addr().unwrap());
        let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        for _ in 0..100 {
            proxy.forward(client, &packet(1)).await;
        }
        // Each delayed datagram holds a permit until it is sent.
        let all = u32::try_from(MAX_DELAYED).unwrap();
        drop(proxy.delayed.acquire_many(all).await.unwrap());
        let mut packets = LinkDecisions::new(spec, Protocol::Quic, 1).to_gateway;
        let expected = (0..100).filter(|_| !packets.next().lost).count();
        let mut buffer = [0; 64];
        let arrived = std::iter::from_fn(|| gateway.try_recv(&mut buffer).ok());
        gateway.readable().await.unwrap();
        assert_eq!(arrived.count(), expected);
    }
}
