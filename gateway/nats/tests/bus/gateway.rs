//! Gateways of a test, without listeners, and their clients.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use signalbox_cluster::{Cluster, Links};
use signalbox_nats::{Bus, BusClock, BusMonitor, NatsError, NatsOptions};
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, MediaMode, Role, SessionId, Signal,
    Transport, binary, frame,
};
use signalbox_relay::{
    Connection, Encoding, Instance, Join, Outbox, Outgoing, Relay, Settings, TokenIdentity,
};
use signalbox_test_nats::NatsServer;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// Time for anything that a test awaits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Epochs of gateways, and ids of connections.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// A gateway with a running bus.
pub(crate) struct Gateway {
    relay: Relay,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) monitor: BusMonitor,
    clock: BusClock,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), NatsError>>,
}

/// A new session.
pub(crate) fn new_session() -> SessionId {
    let number = NUMBERS.fetch_add(1, Relaxed);
    SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, number, [1; 24])
}

impl Gateway {
    pub(crate) async fn try_start(name: &str, options: &NatsOptions) -> Result<Self, NatsError> {
        let gateway = name.parse().unwrap();
        let instance = Instance { gateway, epoch: NUMBERS.fetch_add(1, Relaxed) };
        let ready = Arc::new(Notify::new());
        let wake = ready.clone();
        let links = Arc::new(Links::new(instance.clone(), move || wake.notify_one()));
        // Faster than applications send.
        let settings =
            Settings { signals_per_second: 0, bytes_per_second: 0, ..Settings::default() };
        let relay = Relay::clustered(settings, Arc::new(()), instance, links.clone());
        let cluster = Arc::new(Cluster::new(relay.clone(), links));
        let started = Instant::now();
        let clock: BusClock = Arc::new(move || started.elapsed());
        let bus = Bus::connect(options, cluster.clone(), ready, clock.clone()).await?;
        let (monitor, shutdown) = (bus.monitor(), CancellationToken::new());
        let running = tokio::spawn(bus.run(shutdown.clone()));
        Ok(Self { relay, cluster, monitor, clock, shutdown, running })
    }

    /// Starts gateways with these names, and waits until they know each other.
    pub(crate) async fn start<const N: usize>(
        names: [&str; N],
        options: &NatsOptions,
    ) -> [Self; N] {
        let started = names.map(|name| Self::try_start(name, options));
        let mut gateways = Vec::new();
        for gateway in started {
            gateways.push(gateway.await.unwrap());
        }
        let gateways: [Self; N] = gateways.try_into().ok().unwrap();
        await_peers(&gateways).await;
        gateways
    }

    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    pub(crate) fn peers(&self) -> usize {
        self.cluster.status(self.now()).peers.len()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.monitor.status().connected
    }

    pub(crate) async fn join(&self, session: &SessionId) -> Client {
        let _hold = self.cluster.open(session, self.now()).unwrap();
        timeout(PATIENCE, poll_fn(|cx| self.cluster.poll_opened(session, cx))).await.unwrap();
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&NUMBERS.fetch_add(1, Relaxed).to_be_bytes());
        let id = ConnectionId::from_bytes(bytes);
        let join = Join {
            session: session.clone(),
            info: ConnectionInfo { id, created_at: 1, data: String::new() },
            role: Role::Publisher,
            token: TokenIdentity::default(),
            presence: true,
            encoding: Encoding::Shared,
            transport: Transport::WebSocket,
            resume: None,
        };
        let joined = self.relay.join(join, self.now()).unwrap();
        let present = joined.present.iter().map(|info| info.id).collect();
        Client {
            id,
            connection: joined.connection,
            outbox: joined.outbox,
            present,
            taken: VecDeque::new(),
        }
    }

    pub(crate) async fn shut_down(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }
}

/// Waits until all gateways know each other.
pub(crate) async fn await_peers(gateways: &[Gateway]) {
    let connected =
        || gateways.iter().all(|it| it.is_connected() && it.peers() + 1 == gateways.len());
    until("the gateways know each other", connected).await;
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: &str, holds: impl Fn() -> bool) {
    let mut looks = interval(Duration::from_millis(10));
    let wait = async {
        while !holds() {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("awaited in vain: {condition}"));
}

/// A client of a gateway.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    /// The members at its join, without itself.
    pub(crate) present: Vec<ConnectionId>,
    connection: Connection,
    outbox: Outbox,
    taken: VecDeque<Outgoing>,
}

/// An event that a client has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    Created(ConnectionId),
    Destroyed(ConnectionId),
    Signal(String),
}

impl Client {
    pub(crate) fn send(&mut self, data: &str, at: &Gateway) {
        self.connection.signal(None, Signal::new(None::<&str>, Some(data)), at.now()).unwrap();
    }

    pub(crate) fn leave(self, at: &Gateway) {
        self.connection.leave(CloseReason::ClientDisconnected, at.now());
    }

    /// The next event, without confirmations.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            if self.taken.is_empty() {
                let take = poll_fn(|cx| self.outbox.poll_take(cx, &mut self.taken));
                timeout(PATIENCE, take).await.expect("an event arrives").unwrap();
                let cost = self.taken.iter().map(Outgoing::cost).sum();
                self.outbox.written(self.taken.len(), cost);
            }
            let outgoing = self.taken.pop_front().unwrap();
            if let Some(received) = received(&outgoing) {
                return received;
            }
        }
    }
}

fn received(outgoing: &Outgoing) -> Option<Received> {
    let frame = match outgoing {
        Outgoing::Frame(frame) => frame,
        Outgoing::Destroyed { id, .. } => return Some(Received::Destroyed(*id)),
        Outgoing::Accepted { .. } | Outgoing::Heartbeat => return None,
        _ => panic!("unexpected: {outgoing:?}"),
    };
    match binary::decode(frame::message_of(frame)).unwrap().unwrap() {
        GatewayMessage::ConnectionCreated(info) => Some(Received::Created(info.id)),
        GatewayMessage::ConnectionDestroyed { id, .. } => Some(Received::Destroyed(id)),
        GatewayMessage::Signal(signal) => {
            Some(Received::Signal(signal.data.unwrap().into_string()))
        }
        other => panic!("unexpected: {other:?}"),
    }
}

/// Shows that a session spans these gateways: a new client on each one sees those of the others,
/// and receives their signals.
pub(crate) async fn assert_joined(gateways: &[Gateway]) {
    let session = new_session();
    let mut clients: Vec<Client> = Vec::new();
    for gateway in gateways {
        let client = gateway.join(&session).await;
        for earlier in &mut clients {
            assert!(client.present.contains(&earlier.id));
            assert_eq!(earlier.next().await, Received::Created(client.id));
        }
        clients.push(client);
    }
    for sender in 0..clients.len() {
        let data = format!("from {sender}");
        clients[sender].send(&data, &gateways[sender]);
        for client in &mut clients {
            assert_eq!(client.next().await, Received::Signal(data.clone()));
        }
    }
}

/// Options for a gateway at a server without credentials.
pub(crate) trait Options {
    fn options(&self) -> NatsOptions;
}

impl Options for NatsServer {
    fn options(&self) -> NatsOptions {
        NatsOptions::new(&[self.url()], "test").unwrap()
    }
}
