//! Lines to a gateway that take time and can be cut: every datagram, and all bytes of a TCP
//! connection, are passed on a while after they came. The gateway sees the line's sockets, one for
//! each address of a client, so that a client that moves has moved for the gateway, too.
//!
//! A line never loses or reorders anything unless it is cut, and has no rate. It needs no rights.
//! The runtime's timers tick in milliseconds, so a way may take up to two more than it should.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

/// What may be under way in one direction; a datagram more is dropped, and bytes wait.
const UNDER_WAY: usize = 4096;

/// The longest datagram, and the longest piece of TCP.
const PIECE: usize = 64 * 1024;

/// The ports of a server.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// Where UDP goes.
    pub udp: SocketAddr,
    /// Where TCP goes.
    pub tcp: SocketAddr,
}

/// A thread that runs proxies, so that they do not use the time of the caller's thread.
#[derive(Debug)]
pub struct ProxyRuntime(Option<Runtime>);

/// A proxy in front of a server, for one client or several. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    udp: SocketAddr,
    tcp: SocketAddr,
    cuts: Arc<watch::Sender<()>>,
    _tasks: JoinSet<io::Result<()>>,
}

impl ProxyRuntime {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn new() -> anyhow::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        Ok(Self(Some(runtime.context("cannot start the thread of the proxies")?)))
    }

    /// A proxy that delays everything by `delay` in each direction.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub async fn proxy(&self, targets: Targets, delay: Duration) -> anyhow::Result<Proxy> {
        let runtime = self.0.as_ref().context("the thread of the proxies has ended")?;
        let cuts = Arc::new(watch::Sender::new(()));
        let opened = {
            let cuts = cuts.clone();
            runtime.spawn(async move {
                let udp = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
                let tcp = TcpListener::bind("127.0.0.1:0").await?;
                let addresses = (udp.local_addr()?, tcp.local_addr()?);
                let mut tasks = JoinSet::new();
                tasks.spawn(carry_datagrams(udp, targets.udp, delay, cuts.clone()));
                tasks.spawn(carry_connections(tcp, targets.tcp, delay, cuts));
                io::Result::Ok((addresses, tasks))
            })
        };
        let ((udp, tcp), tasks) = opened.await?.context("cannot open a proxy")?;
        Ok(Proxy { udp, tcp, cuts, _tasks: tasks })
    }
}

impl Drop for ProxyRuntime {
    fn drop(&mut self) {
        // To wait for it is not allowed where other tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Proxy {
    /// Where clients reach the server over UDP.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// Where clients reach the server over TCP.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Cuts the path of all clients. Nothing more passes to or from their current addresses, what
    /// is under way is lost, and neither end is told. New TCP connections, new QUIC handshakes and
    /// packets from new addresses pass.
    pub fn cut_path(&self) {
        self.cuts.send_replace(());
    }
}

/// Bytes and when they arrive.
type Piece = (Instant, Vec<u8>);

async fn arrival((due, bytes): Piece) -> Vec<u8> {
    if due > Instant::now() {
        tokio::time::sleep_until(due).await;
    }
    bytes
}

async fn carry_datagrams(
    outside: Arc<UdpSocket>,
    gateway: SocketAddr,
    delay: Duration,
    cuts: Arc<watch::Sender<()>>,
) -> io::Result<()> {
    let mut flows: HashMap<SocketAddr, mpsc::Sender<Piece>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let (length, client) = outside.recv_from(&mut buffer).await?;
        let Some(datagram) = buffer.get(..length) else { continue };
        let opens = match flows.get(&client) {
            None => true,
            Some(flow) => flow.is_closed() && is_handshake(datagram),
        };
        if opens {
            let inside = UdpSocket::bind("127.0.0.1:0").await?;
            inside.connect(gateway).await?;
            let (there, from_client) = mpsc::channel(UNDER_WAY);
            let mut cut = cuts.subscribe();
            let outside = outside.clone();
            tasks.spawn(async move {
                tokio::select! {
                    _ = cut.changed() => {}
                    _ = carry_flow(from_client, &inside, &outside, client, delay) => {}
                }
            });
            flows.insert(client, there);
        }
        if let Some(flow) = flows.get(&client) {
            // Of a flow that was cut nothing gets through.
            let _ = flow.try_send((Instant::now() + delay, datagram.to_vec()));
        }
    }
}

/// Whether it is a packet with a long header (RFC 9000 §17.2), as only handshakes have.
fn is_handshake(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

async fn carry_flow(
    mut from_client: mpsc::Receiver<Piece>,
    inside: &UdpSocket,
    outside: &UdpSocket,
    client: SocketAddr,
    delay: Duration,
) -> io::Result<()> {
    let (back, mut from_gateway) = mpsc::channel(UNDER_WAY);
    let there = async {
        while let Some(piece) = from_client.recv().await {
            inside.send(&arrival(piece).await).await?;
        }
        Ok(())
    };
    let read = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = inside.recv(&mut buffer).await?;
            let datagram = buffer.get(..length).unwrap_or_default().to_vec();
            let _ = back.try_send((Instant::now() + delay, datagram));
        }
    };
    let write = async {
        while let Some(piece) = from_gateway.recv().await {
            outside.send_to(&arrival(piece).await, client).await?;
        }
        Ok(())
    };
    tokio::select! {
        result = there => result,
        result = read => result,
        result = write => result,
    }
}

async fn carry_connections(
    outside: TcpListener,
    gateway: SocketAddr,
    delay: Duration,
    cuts: Arc<watch::Sender<()>>,
) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    loop {
        let (client, _) = outside.accept().await?;
        // The system has accepted it at once: the round trip that this takes on a real line
        // passes before anything that the client says goes its way.
        let connected = Instant::now() + 2 * delay;
        let mut cut = cuts.subscribe();
        tasks.spawn(async move {
            let inside = TcpStream::connect(gateway).await?;
            client.set_nodelay(true)?;
            inside.set_nodelay(true)?;
            let (client_read, client_write) = client.into_split();
            let (inside_read, inside_write) = inside.into_split();
            let both = async {
                tokio::try_join!(
                    carry_bytes(client_read, inside_write, delay, connected),
                    carry_bytes(inside_read, client_write, delay, connected),
                )
            };
            tokio::pin!(both);
            tokio::select! {
                ended = &mut both => ended.map(|_| ()),
                // Neither end hears anything, not even that it has ended.
                _ = cut.changed() => std::future::pending().await,
            }
        });
    }
}

async fn carry_bytes(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    connected: Instant,
) -> io::Result<()> {
    let (way, mut pieces) = mpsc::channel::<Piece>(UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = from.read(&mut buffer).await?;
            let piece = buffer.get(..length).unwrap_or_default().to_vec();
            let due = Instant::now().max(connected) + delay;
            // An empty piece is the end.
            if way.send((due, piece)).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some(piece) = pieces.recv().await {
            let bytes = arrival(piece).await;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(30);
    const PATIENCE: Duration = Duration::from_secs(5);

    /// As a gateway's packet with a short header.
    const SHORT: &[u8] = &[0x40, 1, 2, 3];
    const LONG: &[u8] = &[0xc0, 1, 2, 3];

    async fn udp() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.unwrap()
    }

    async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 100];
        let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut buffer));
        let (length, from) = received.await.unwrap().unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    #[tokio::test]
    async fn a_datagram_takes_its_time_and_after_a_cut_only_what_begins_anew_gets_through() {
        let (gateway, outside) = (udp().await, Arc::new(udp().await));
        let (to, line) = (gateway.local_addr().unwrap(), outside.local_addr().unwrap());
        let cuts = Arc::new(watch::Sender::new(()));
        let _line = JoinSet::from_iter([carry_datagrams(outside, to, DELAY, cuts.clone())]);
        let (client, moved) = (udp().await, udp().await);

        let begun = Instant::now();
        client.send_to(SHORT, line).await.unwrap();
        let (bytes, first) = receive(&gateway).await;
        gateway.send_to(&bytes, first).await.unwrap();
        assert_eq!(receive(&client).await.0, SHORT);
        assert!(begun.elapsed() >= 2 * DELAY);

        cuts.send_replace(());
        // What the tasks do next they do before anything else arrives.
        while cuts.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
        client.send_to(SHORT, line).await.unwrap();
        moved.send_to(SHORT, line).await.unwrap();
        let (bytes, second) = receive(&gateway).await;
        assert_eq!(bytes, SHORT);
        assert_ne!(first, second, "it has moved");
        gateway.send_to(SHORT, first).await.unwrap();
        gateway.send_to(LONG, second).await.unwrap();
        assert_eq!(receive(&moved).await.0, LONG);

        client.send_to(LONG, line).await.unwrap();
        let (bytes, third) = receive(&gateway).await;
        assert_eq!(bytes, LONG, "and nothing of what was cut");
        gateway.send_to(LONG, third).await.unwrap();
        assert_eq!(receive(&client).await.0, LONG);
    }

    #[tokio::test]
    async fn tcp_takes_two_round_trips_to_the_first_answer_and_says_nothing_of_a_cut() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, line) = (gateway.local_addr().unwrap(), outside.local_addr().unwrap());
        let cuts = Arc::new(watch::Sender::new(()));
        let _line = JoinSet::from_iter([carry_connections(outside, to, DELAY, cuts.clone())]);

        let begun = Instant::now();
        let mut client = TcpStream::connect(line).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let (mut inside, _) = gateway.accept().await.unwrap();
        let mut bytes = [0; 4];
        inside.read_exact(&mut bytes).await.unwrap();
        inside.write_all(b"pong").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"pong");
        assert!(begun.elapsed() >= 4 * DELAY);

        cuts.send_replace(());
        inside.write_all(b"gone").await.unwrap();
        drop(inside);
        let silent = tokio::time::timeout(4 * DELAY, client.read(&mut bytes)).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}
