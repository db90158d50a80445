//! TCP connections: each direction of a stream over a link that loses nothing.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
};

use super::{CutKind, Epoch, LinkClock, ProxyState};
use crate::{LinkModel, LossModel, SimulatedLink, link::nanos};

/// The largest piece of a stream that is delayed as a whole.
const PIECE: usize = 64 * 1024;

/// Bytes of a stream in flight, unless the model has a rate. More waits at its sender.
const MAX_IN_FLIGHT: u64 = 16 * 1024 * 1024;

/// Forwards the connections of all clients.
pub(super) async fn forward(listener: TcpListener, state: Arc<Mutex<ProxyState>>) {
    let mut connections = JoinSet::new();
    loop {
        // An error is about a connection that ended before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        let mut state = state.lock();
        if !state.passes_tcp {
            continue;
        }
        state.tcp_connections += 1;
        let links = state.links.pair().map(StreamLink::new);
        connections.spawn(forward_connection(
            client,
            state.targets.tcp,
            links,
            state.epoch.clone(),
        ));
        while connections.try_join_next().is_some() {}
    }
}

async fn forward_connection(
    mut client: TcpStream,
    target: SocketAddr,
    links: [StreamLink; 2],
    epoch: Epoch,
) {
    let mut cut = epoch.subscribe();
    let mut server = None;
    let forwarding = async {
        let [to_client, to_server] = links;
        let server = server.insert(TcpStream::connect(target).await?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        // The system has accepted the connection at once. What the client sends waits for the
        // round trip that the set-up takes on a real network.
        let connected_ns = nanos(to_client.delay() + to_server.delay());
        let clock = LinkClock::start();
        let (from_client, into_client) = client.split();
        let (from_server, into_server) = server.split();
        tokio::try_join!(
            to_server.forward(from_client, into_server, clock, connected_ns),
            to_client.forward(from_server, into_client, clock, connected_ns),
        )
    };
    let how = tokio::select! {
        biased;
        how = cut.wait_for(Option::is_some) => how.map_or(None, |how| *how),
        _ = forwarding => None,
    };
    if how == Some(CutKind::Path) {
        drop(cut);
        // Neither end is told, not even by the end of the connection.
        return std::future::pending().await;
    }
    // Closed before the cut counts as done.
    drop((client, server, cut));
}

/// A link for one direction of a stream. It loses and reorders nothing, and its queue makes the
/// sender wait.
struct StreamLink {
    link: SimulatedLink,
    /// Bytes in flight or in the queue at which the link takes no more.
    limit: u64,
}

impl StreamLink {
    fn new(mut link: SimulatedLink) -> Self {
        let LinkModel { delay, rate, queue, .. } = link.model;
        let limit = match rate {
            // The queue, and the bandwidth-delay product.
            Some(rate) => queue.saturating_add((delay.as_secs_f64() * rate as f64 / 8.0) as u64),
            None => MAX_IN_FLIGHT,
        };
        link.model.loss = LossModel::NONE;
        link.model.reorder = 0.0;
        link.model.queue = u64::MAX;
        Self { link, limit: limit.clamp(1, MAX_IN_FLIGHT) }
    }

    fn delay(&self) -> Duration {
        self.link.model.delay
    }

    /// Whether the link takes another piece.
    fn has_room(&self) -> bool {
        (self.link.in_flight_bytes() as u64) < self.limit
    }

    /// Forwards all bytes, and then the end of the stream.
    async fn forward(
        mut self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        clock: LinkClock,
        connected_ns: u64,
    ) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut at_end = false;
        loop {
            while let Some(piece) = self.link.poll(clock.now_ns()) {
                if piece.is_empty() {
                    return to.shutdown().await;
                }
                to.write_all(&piece).await?;
            }
            tokio::select! {
                length = from.read(&mut buffer), if !at_end && self.has_room() => {
                    let piece = buffer.get(..length?).unwrap_or_default();
                    // An empty piece is the end of the stream.
                    at_end = piece.is_empty();
                    self.link.handle(clock.now_ns().max(connected_ns), piece);
                }
                () = clock.wait_until(self.link.poll_at_ns()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Instant};

    use super::*;
    use crate::proxy::{Proxy, Targets};

    const DELAY: Duration = Duration::from_millis(30);

    async fn listener() -> (TcpListener, Targets) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let tcp = listener.local_addr().unwrap();
        (listener, Targets { udp: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), tcp })
    }

    async fn delayed(targets: Targets) -> Proxy {
        let slow = LinkModel { delay: DELAY, ..LinkModel::default() };
        Proxy::start_with_links(targets, slow, slow, 1).await.unwrap()
    }

    #[tokio::test]
    async fn the_first_answer_takes_two_round_trips_and_a_cut_path_is_silent() {
        let (listener, targets) = listener().await;
        let proxy = delayed(targets).await;
        let start = Instant::now();
        let mut client = TcpStream::connect(proxy.tcp()).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 4];
        server.read_exact(&mut bytes).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"pong");
        assert!(start.elapsed() >= 4 * DELAY);
        assert_eq!(proxy.tcp_connections(), 1);

        proxy.cut_path().await;
        server.write_all(b"lost").await.unwrap();
        drop(server);
        let silent = tokio::time::timeout(4 * DELAY, client.read(&mut bytes)).await;
        assert!(silent.is_err(), "{silent:?}");
    }

    #[tokio::test]
    async fn cut_connections_are_closed_and_new_ones_pass() {
        let (listener, targets) = listener().await;
        let proxy = Proxy::start(targets).await.unwrap();
        let mut client = TcpStream::connect(proxy.tcp()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        proxy.cut_connections().await;
        // The end of the stream, or a reset.
        assert!(matches!(client.read(&mut [0; 4]).await, Ok(0) | Err(_)));
        assert!(matches!(server.read(&mut [0; 4]).await, Ok(0) | Err(_)));

        let mut client = TcpStream::connect(proxy.tcp()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"ping");
    }

    #[test]
    fn a_full_queue_makes_the_sender_wait() {
        let delay = Duration::from_millis(10);
        let model =
            LinkModel { delay, rate: Some(8_000_000), queue: 10_000, ..LinkModel::default() };
        let mut link = StreamLink::new(SimulatedLink::new(model, 1, 0));
        // The queue, and 10,000 bytes on their way.
        link.link.handle(0, &[0; 19_999]);
        assert!(link.has_room());
        link.link.handle(0, &[0]);
        assert!(!link.has_room());
    }

    #[tokio::test]
    async fn a_rate_delays_a_stream_and_loses_nothing() {
        const BYTES: usize = 400_000;
        let (listener, targets) = listener().await;
        // 8 Mbit/s are a byte a microsecond.
        let narrow = LinkModel { rate: Some(8_000_000), queue: 100_000, ..LinkModel::default() };
        let proxy = Proxy::start_with_links(targets, narrow, narrow, 1).await.unwrap();
        let start = Instant::now();
        let mut client = TcpStream::connect(proxy.tcp()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let sent = async {
            client.write_all(&vec![7; BYTES]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut bytes = Vec::new();
        let (_, received) = tokio::join!(sent, server.read_to_end(&mut bytes));
        assert_eq!((received.unwrap(), bytes), (BYTES, vec![7; BYTES]));
        assert!(start.elapsed() >= Duration::from_millis(400));
    }
}
