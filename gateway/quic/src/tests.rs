//! A real endpoint over loopback: what this crate changes in quinn is in effect.
//!
//! quinn promises none of the details that the other modules rely on. These tests fail if an update
//! silently loses one of them.

use std::{
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, ClientConfig, Connection, Endpoint, EndpointConfig, Runtime as _, ServerConfig,
    TokioRuntime, UdpPoller,
    crypto::rustls::QuicClientConfig,
    udp::{RecvMeta, Transmit},
};
use tokio::{task::JoinHandle, time::timeout};

use super::*;
use crate::{congestion::FloorCubic, testing::tls};

/// A wait that ends a test which hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than one batch of packets.
const MESSAGE: usize = 200_000;

struct Unsupervised;

impl Supervise for Unsupervised {
    fn endpoint_task(&self, task: Task) -> Task {
        task
    }

    fn connection_task(&self, task: Task) -> Task {
        task
    }
}

/// A server, and a client endpoint whose socket counts batches.
struct World {
    server: Endpoint,
    runtime: Arc<EndpointRuntime>,
    client: Endpoint,
    batches: Arc<AtomicU32>,
}

impl World {
    fn new() -> Self {
        let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let (server_tls, client_tls) = tls(&[b"a", b"b"], &[b"b"]);

        let tls = QuicTlsConfig::new(server_tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(Arc::new(transport_config()));
        let runtime = Arc::new(EndpointRuntime::new(Arc::new(Unsupervised)));
        let socket = UdpSocket::bind(loopback).unwrap();
        let server =
            Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime.clone());

        let batches = Arc::new(AtomicU32::new(0));
        let socket = TokioRuntime.wrap_udp_socket(UdpSocket::bind(loopback).unwrap()).unwrap();
        let socket = Arc::new(CountingSocket { socket, batches: batches.clone() });
        let (config, runtime_of_client) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let mut client =
            Endpoint::new_with_abstract_socket(config, None, socket, runtime_of_client).unwrap();
        let tls = QuicClientConfig::try_from(client_tls).unwrap();
        client.set_default_client_config(ClientConfig::new(Arc::new(tls)));
        Self { server: server.unwrap(), runtime, client, batches }
    }

    /// Starts to connect.
    fn connect(&self) -> JoinHandle<Connection> {
        let connecting = self.client.connect(self.server.local_addr().unwrap(), "localhost");
        let connecting = connecting.unwrap();
        tokio::spawn(async { connecting.await.unwrap() })
    }
}

/// A socket that counts the batches it receives: datagrams that the sender handed to the system in
/// one call, and that the system hands over in one call, too (GRO).
#[derive(Debug)]
struct CountingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    batches: Arc<AtomicU32>,
}

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let result = self.socket.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = result {
            let batches = meta.iter().take(count).filter(|it| it.len > it.stride).count();
            self.batches.fetch_add(u32::try_from(batches).unwrap(), Ordering::Relaxed);
        }
        result
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }
}

#[tokio::test]
async fn the_driver_of_an_accepted_connection_is_handed_over() {
    let world = World::new();
    let connected = world.connect();
    let incoming = world.server.accept().await.unwrap();
    let (connecting, driver) = world.runtime.accept(incoming).unwrap();
    assert!(driver.has_work(), "quinn has spawned no driver, or not during the call");

    // Nothing else drives the connection.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(!connected.is_finished());
    let accepted = timeout(PATIENCE, driver.with(Box::pin(connecting)));
    assert!(accepted.await.unwrap().is_ok());
    timeout(PATIENCE, connected).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_has_every_replaced_part() {
    let world = World::new();
    let connected = world.connect();
    let incoming = world.server.accept().await.unwrap();
    let (connecting, driver) = world.runtime.accept(incoming).unwrap();
    let application = async {
        let connection = connecting.await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&vec![7; MESSAGE]).await.unwrap();
        stream.finish().unwrap();
        connection.closed().await;
        connection
    };
    let served = tokio::spawn(driver.with(Box::pin(application)));

    let client = timeout(PATIENCE, connected).await.unwrap().unwrap();
    let mut stream = timeout(PATIENCE, client.accept_uni()).await.unwrap().unwrap();
    let received = timeout(PATIENCE, stream.read_to_end(MESSAGE)).await.unwrap().unwrap();
    assert_eq!(received.len(), MESSAGE);
    let stats = client.stats();
    client.close(0_u32.into(), b"");
    let connection = timeout(PATIENCE, served).await.unwrap().unwrap();

    assert!(world.batches.load(Ordering::Relaxed) > 0, "each packet was sent by a call of its own");
    assert!(stats.frame_rx.ack_frequency > 0, "the client was not told to acknowledge less often");
    let data = connection.handshake_data().unwrap().downcast::<HandshakeData>().unwrap();
    assert_eq!(data.alpn, Some(1));
    assert_eq!(data.idle_timeout, Some(Duration::from_secs(30)), "quinn's default");
    let controller = connection.congestion_state().into_any().downcast::<FloorCubic>();
    assert!(controller.is_ok(), "another congestion controller is in use");
}
