//! A proxy in front of a server, for UDP and TCP: delays traffic, loses datagrams, cuts
//! connections. It needs no privileges.
//!
//! Clients connect to the addresses of the [`Proxy`] instead of the server's. The server sees a
//! socket of the proxy for each address of a client, so that a client that moves to another address
//! has moved for the server, too.
//!
//! | part of the [`LinkModel`] | UDP | TCP |
//! |---|---|---|
//! | delay, jitter | each datagram | each piece of the stream, and the connection's set-up |
//! | rate, queue | dropped if the queue is full | the sender waits if the queue is full |
//! | loss, reorder | yes | no: the proxy sees a stream, not packets. Use [`namespace`] |
//!
//! Each UDP flow and each TCP connection has a link of its own. Timers are those of tokio: a
//! delay takes up to two milliseconds longer than the model says.
//!
//! [`namespace`]: crate::namespace
//!
//! ```
//! # use std::{io, net::SocketAddr, time::Duration};
//! # async fn example(udp: SocketAddr, tcp: SocketAddr) -> io::Result<()> {
//! use signalbox_netem::{LinkModel, LossModel, proxy::{Proxy, Targets}};
//!
//! let link = LinkModel {
//!     delay: Duration::from_millis(20),
//!     loss: LossModel::bursts(0.02, 4.0),
//!     ..LinkModel::default()
//! };
//! let proxy = Proxy::start_with_links(Targets { udp, tcp }, link, link, 1).await?;
//! // Clients connect to proxy.udp() and proxy.tcp().
//! proxy.cut_connections().await;
//! # Ok(())
//! # }
//! ```

mod quic;
mod runtime;
mod tcp;
mod udp;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::Instant,
};

use self::quic::QuicPackets;
pub use self::runtime::ProxyRuntime;
use crate::{LinkModel, SimulatedLink, link::nanos};

/// The addresses of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// The destination of datagrams.
    pub udp: SocketAddr,
    /// The destination of TCP connections.
    pub tcp: SocketAddr,
}

/// The server's datagrams that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassingAnswers {
    /// All of them.
    All,
    /// Those of QUIC handshakes.
    Handshakes,
    /// None.
    None,
}

/// A running proxy. Dropping it ends all connections.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<Mutex<ProxyState>>,
    udp: SocketAddr,
    tcp: SocketAddr,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct ProxyState {
    targets: Targets,
    links: Links,
    passes_udp: bool,
    passes_tcp: bool,
    answers: PassingAnswers,
    quic: QuicPackets,
    /// TCP connections so far.
    tcp_connections: usize,
    epoch: Epoch,
}

/// The links of flows and connections.
#[derive(Debug)]
struct Links {
    to_client: LinkModel,
    to_server: LinkModel,
    seed: u64,
    /// Links made so far.
    count: u64,
}

/// The period since the last cut. Its flows and connections subscribe, and end when a cut is sent.
type Epoch = Arc<watch::Sender<Option<CutKind>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutKind {
    Path,
    Connections,
}

impl Proxy {
    /// Starts a proxy with perfect links.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub async fn start(targets: Targets) -> io::Result<Self> {
        Self::start_with_links(targets, LinkModel::default(), LinkModel::default(), 0).await
    }

    /// Starts a proxy with a link model for each direction. The same seed loses the same datagrams
    /// of the n-th flow, counted from the first of each direction.
    ///
    /// # Errors
    /// If the system has no socket left.
    pub async fn start_with_links(
        targets: Targets,
        to_client: LinkModel,
        to_server: LinkModel,
        seed: u64,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (udp, tcp) = (socket.local_addr()?, listener.local_addr()?);
        let state = Arc::new(Mutex::new(ProxyState {
            targets,
            links: Links { to_client, to_server, seed, count: 0 },
            passes_udp: true,
            passes_tcp: true,
            answers: PassingAnswers::All,
            quic: QuicPackets::default(),
            tcp_connections: 0,
            epoch: Epoch::default(),
        }));
        let mut tasks = JoinSet::new();
        tasks.spawn(udp::forward(socket, state.clone()));
        tasks.spawn(tcp::forward(listener, state.clone()));
        Ok(Self { state, udp, tcp, _tasks: tasks })
    }

    /// The address for clients over UDP.
    pub fn udp(&self) -> SocketAddr {
        self.udp
    }

    /// The address for clients over TCP.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Cuts all connections. Data in flight is lost. TCP connections are closed without a close of
    /// the protocol above, such as TLS. Packets of QUIC connections are dropped from now on, from
    /// any address, and neither end is told. New connections pass.
    ///
    /// When this returns, nothing passes any more. QUIC connections are known by their connection
    /// ids, which must have 8 bytes, as quinn's have.
    pub async fn cut_connections(&self) {
        self.cut(CutKind::Connections).await;
    }

    /// Cuts the network path of all clients. Data in flight is lost. Neither end is told, over TCP
    /// either. New TCP connections, QUIC handshakes, and datagrams from new addresses
    /// pass: a QUIC client can migrate.
    ///
    /// When this returns, nothing passes any more.
    pub async fn cut_path(&self) {
        self.cut(CutKind::Path).await;
    }

    async fn cut(&self, cut: CutKind) {
        let epoch = {
            let mut state = self.state.lock();
            if cut == CutKind::Connections {
                state.quic.cut();
            }
            std::mem::take(&mut state.epoch)
        };
        epoch.send_replace(Some(cut));
        // A task may be in the middle of something on another thread.
        while epoch.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether datagrams, and new TCP connections, pass.
    pub fn allow(&self, udp: bool, tcp: bool) {
        let mut state = self.state.lock();
        (state.passes_udp, state.passes_tcp) = (udp, tcp);
    }

    /// Selects the server's datagrams that pass.
    pub fn pass_answers(&self, answers: PassingAnswers) {
        self.state.lock().answers = answers;
    }

    /// Sends datagrams and new TCP connections to another server.
    pub fn redirect(&self, targets: Targets) {
        self.state.lock().targets = targets;
    }

    /// The number of TCP connections so far.
    pub fn tcp_connections(&self) -> usize {
        self.state.lock().tcp_connections
    }

    /// The number of QUIC connections that clients have begun, which changes as they begin more.
    pub fn quic_connections(&self) -> watch::Receiver<usize> {
        self.state.lock().quic.begun()
    }

    /// Datagrams of clients so far that have early data (0-RTT) in them.
    pub fn early_data(&self) -> Vec<Vec<u8>> {
        self.state.lock().quic.early_data()
    }

    /// Replays the first packets of clients that sent early data, as somebody could who has
    /// captured them: from another address. Returns when the server has answered.
    ///
    /// # Errors
    /// If a socket fails.
    pub async fn replay_early_data(&self) -> io::Result<()> {
        let (server, captured) = {
            let state = self.state.lock();
            (state.targets.udp, state.quic.captured())
        };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        loop {
            for datagram in &captured {
                socket.send_to(datagram, server).await?;
            }
            let mut answer = [0; 2048];
            let answer = socket.recv_from(&mut answer);
            // While the server still has the connection, it takes the packets for duplicates.
            if tokio::time::timeout(Duration::from_millis(50), answer).await.is_ok() {
                return Ok(());
            }
        }
    }
}

impl ProxyState {
    /// Whether a client's datagram passes.
    fn passes(&mut self, datagram: &[u8]) -> bool {
        self.quic.client_sent(datagram) && self.passes_udp
    }

    /// Whether a server's datagram passes.
    fn answer_passes(&mut self, datagram: &[u8]) -> bool {
        self.quic.server_sent(datagram);
        let passes = match self.answers {
            PassingAnswers::All => true,
            PassingAnswers::Handshakes => quic::is_handshake(datagram),
            PassingAnswers::None => false,
        };
        passes && self.passes_udp
    }
}

impl Links {
    /// A pair of links for datagrams: to the client, and to the server.
    fn pair(&mut self) -> [SimulatedLink; 2] {
        let stream = 2 * self.count;
        self.count += 1;
        [
            SimulatedLink::new(self.to_client, self.seed, stream),
            SimulatedLink::new(self.to_server, self.seed, stream + 1),
        ]
    }
}

/// The time of the links of one flow or connection.
#[derive(Debug, Clone, Copy)]
struct LinkClock(Instant);

impl LinkClock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now_ns(self) -> u64 {
        nanos(self.0.elapsed())
    }

    /// Never, if there is no time.
    async fn wait_until(self, at_ns: Option<u64>) {
        match at_ns {
            Some(at_ns) => {
                tokio::time::sleep_until(self.0 + Duration::from_nanos(at_ns)).await;
            }
            None => std::future::pending().await,
        }
    }
}
