//! Datagrams: a flow for each client address and server.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use super::{CutKind, Epoch, LinkClock, ProxyState, quic};
use crate::SimulatedLink;

/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// Datagrams that may wait for the task of their flow.
const QUEUE: usize = 4096;

/// A client address, and a server. After a redirection the new server gets another socket, or it
/// would see a migration.
type FlowKey = (SocketAddr, SocketAddr);

/// The dispatcher's end of a flow.
struct FlowHandle {
    datagrams: mpsc::Sender<Vec<u8>>,
    epoch: Epoch,
}

/// Forwards the datagrams of all clients.
pub(super) async fn forward(clients: UdpSocket, state: Arc<Mutex<ProxyState>>) {
    let clients = Arc::new(clients);
    let mut flows: HashMap<FlowKey, FlowHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        // An error is about a datagram that was sent earlier.
        let Ok((length, client)) = clients.recv_from(&mut buffer).await else { continue };
        let datagram = buffer.get(..length).unwrap_or_default();
        let (server, epoch) = {
            let mut state = state.lock();
            if !state.passes(datagram) {
                continue;
            }
            (state.targets.udp, state.epoch.clone())
        };
        let key = (client, server);
        let is_open = match flows.get(&key).map(|flow| *flow.epoch.borrow()) {
            Some(None) => true,
            // The path from this address stays cut until the client begins a new connection.
            Some(Some(CutKind::Path)) if !quic::is_handshake(datagram) => continue,
            Some(Some(_)) | None => false,
        };
        if !is_open {
            let (datagrams, from_client) = mpsc::channel(QUEUE);
            let links = state.lock().links.pair();
            let flow = Flow { from_client, clients: clients.clone(), client, state: state.clone() };
            tasks.spawn(flow.run(server, links, epoch.clone()));
            flows.insert(key, FlowHandle { datagrams, epoch });
        }
        if let Some(flow) = flows.get(&key) {
            // Dropped if the queue is full, as by a router, or if the flow was cut just now.
            let _ = flow.datagrams.try_send(datagram.to_vec());
        }
    }
}

/// Datagrams between one address of a client and a socket of the proxy.
struct Flow {
    from_client: mpsc::Receiver<Vec<u8>>,
    clients: Arc<UdpSocket>,
    client: SocketAddr,
    state: Arc<Mutex<ProxyState>>,
}

impl Flow {
    /// Forwards datagrams until the flow is cut.
    async fn run(self, server: SocketAddr, links: [SimulatedLink; 2], epoch: Epoch) {
        let mut cut = epoch.subscribe();
        tokio::select! {
            biased;
            _ = cut.wait_for(Option::is_some) => {}
            _ = self.forward(server, links) => {}
        }
    }

    async fn forward(mut self, server: SocketAddr, links: [SimulatedLink; 2]) -> io::Result<()> {
        let [mut to_client, mut to_server] = links;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(server).await?;
        let clock = LinkClock::start();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            while let Some(datagram) = to_server.poll(clock.now_ns()) {
                // An error is that nobody listens there, or no longer. Somebody may again.
                let _ = socket.send(&datagram).await;
            }
            while let Some(datagram) = to_client.poll(clock.now_ns()) {
                let _ = self.clients.send_to(&datagram, self.client).await;
            }
            let next_ns = to_server.poll_at_ns().into_iter().chain(to_client.poll_at_ns()).min();
            tokio::select! {
                datagram = self.from_client.recv() => match datagram {
                    Some(datagram) => to_server.handle(clock.now_ns(), &datagram),
                    None => return Ok(()),
                },
                received = socket.recv(&mut buffer) => {
                    let datagram = buffer.get(..received.unwrap_or_default()).unwrap_or_default();
                    if !datagram.is_empty() && self.state.lock().answer_passes(datagram) {
                        to_client.handle(clock.now_ns(), datagram);
                    }
                }
                () = clock.wait_until(next_ns) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        LinkModel, LossModel,
        proxy::{PassingAnswers, Proxy, Targets},
    };

    const DELAY: Duration = Duration::from_millis(30);
    const PATIENCE: Duration = Duration::from_secs(5);

    /// A packet with a short header for a connection, and a number.
    fn packet(connection: u8, number: u8) -> Vec<u8> {
        [[0x40].as_slice(), &[connection; 8], &[number]].concat()
    }

    /// A packet with a long header from a client with this id.
    fn handshake(id: u8) -> Vec<u8> {
        [[0xc0, 0, 0, 0, 1, 8].as_slice(), &[9; 8], &[8], &[id; 8]].concat()
    }

    async fn socket() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
    }

    fn targets(server: &UdpSocket) -> Targets {
        let udp = server.local_addr().unwrap();
        Targets { udp, tcp: udp }
    }

    async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 100];
        let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer));
        let (length, from) = received.await.unwrap().unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    #[tokio::test]
    async fn datagrams_are_delayed() {
        let server = socket().await;
        let slow = LinkModel { delay: DELAY, ..LinkModel::default() };
        let proxy = Proxy::start_with_links(targets(&server), slow, slow, 1).await.unwrap();
        let client = socket().await;
        let start = Instant::now();
        client.send_to(b"ping", proxy.udp()).await.unwrap();
        let (ping, from) = receive(&server).await;
        assert_eq!(ping, b"ping");
        server.send_to(b"pong", from).await.unwrap();
        assert_eq!(receive(&client).await, (b"pong".to_vec(), proxy.udp()));
        assert!(start.elapsed() >= 2 * DELAY);
    }

    #[tokio::test]
    async fn datagrams_are_lost_by_the_model() {
        let server = socket().await;
        let lossy = LinkModel { loss: LossModel::bursts(0.3, 3.0), ..LinkModel::default() };
        let perfect = LinkModel::default();
        let proxy = Proxy::start_with_links(targets(&server), perfect, lossy, 7).await.unwrap();
        let client = socket().await;
        for number in 0..100 {
            client.send_to(&[number], proxy.udp()).await.unwrap();
        }
        let mut link = SimulatedLink::new(lossy, 7, 1);
        let expected = (0..100).filter(|number| {
            link.handle(0, &[*number]);
            link.poll(0).is_some()
        });
        for number in expected {
            assert_eq!(receive(&server).await.0, [number]);
        }
        assert!(link.counts().lost > 0);
    }

    #[tokio::test]
    async fn a_cut_path_passes_new_addresses_and_handshakes() {
        let server = socket().await;
        let proxy = Proxy::start(targets(&server)).await.unwrap();
        let (client, moved) = (socket().await, socket().await);
        client.send_to(&packet(1, 0), proxy.udp()).await.unwrap();
        let (_, first) = receive(&server).await;
        proxy.cut_path().await;

        client.send_to(&packet(1, 1), proxy.udp()).await.unwrap();
        moved.send_to(&packet(1, 2), proxy.udp()).await.unwrap();
        let (bytes, second) = receive(&server).await;
        assert_eq!(bytes, packet(1, 2));
        assert_ne!(first, second, "the client has moved");
        server.send_to(&packet(1, 3), first).await.unwrap();
        server.send_to(&packet(1, 4), second).await.unwrap();
        assert_eq!(receive(&moved).await.0, packet(1, 4));

        client.send_to(&handshake(2), proxy.udp()).await.unwrap();
        let (bytes, third) = receive(&server).await;
        assert_eq!(bytes, handshake(2), "and nothing of what was cut");
        server.send_to(&packet(2, 5), third).await.unwrap();
        assert_eq!(receive(&client).await.0, packet(2, 5));
    }

    #[tokio::test]
    async fn cut_connections_stay_cut_from_any_address() {
        let server = socket().await;
        let proxy = Proxy::start(targets(&server)).await.unwrap();
        let (client, moved) = (socket().await, socket().await);
        client.send_to(&packet(1, 0), proxy.udp()).await.unwrap();
        let (_, first) = receive(&server).await;
        proxy.cut_connections().await;

        client.send_to(&packet(1, 1), proxy.udp()).await.unwrap();
        moved.send_to(&packet(1, 2), proxy.udp()).await.unwrap();
        client.send_to(&packet(2, 3), proxy.udp()).await.unwrap();
        let (bytes, second) = receive(&server).await;
        assert_eq!(bytes, packet(2, 3), "another connection passes");
        server.send_to(&packet(1, 4), first).await.unwrap();
        server.send_to(&packet(2, 5), second).await.unwrap();
        assert_eq!(receive(&client).await.0, packet(2, 5));
    }

    #[tokio::test]
    async fn datagrams_pass_as_allowed() {
        let (server, other) = (socket().await, socket().await);
        let proxy = Proxy::start(targets(&server)).await.unwrap();
        let client = socket().await;
        proxy.allow(false, true);
        client.send_to(&packet(1, 0), proxy.udp()).await.unwrap();
        client.send_to(&handshake(1), proxy.udp()).await.unwrap();
        // It is counted even though it does not pass.
        let mut begun = proxy.quic_connections();
        begun.wait_for(|begun| *begun == 1).await.unwrap();
        proxy.allow(true, true);
        proxy.pass_answers(PassingAnswers::Handshakes);
        client.send_to(&packet(1, 1), proxy.udp()).await.unwrap();
        let (bytes, from) = receive(&server).await;
        assert_eq!(bytes, packet(1, 1));
        server.send_to(&packet(1, 2), from).await.unwrap();
        server.send_to(&handshake(3), from).await.unwrap();
        assert_eq!(receive(&client).await.0, handshake(3));
        proxy.redirect(targets(&other));
        client.send_to(&packet(1, 4), proxy.udp()).await.unwrap();
        assert_eq!(receive(&other).await.0, packet(1, 4));
    }
}
