//! The life of a link over a transport in memory, in paused time.
//!
//! A real socket accepts megabytes before it blocks, which makes tests depend on timing. This one
//! accepts four kilobytes, and time passes only when no task can run.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use signalbox_protocol::{
    ClientMessage, CloseReason, Codec, ConnectionId, ConnectionInfo, Feature, GatewayMessage,
    MediaMode, ProjectKey, Role, SessionId, Signal, Streams, Transport, binary, limits::FAREWELL,
    message::Hello,
};
use signalbox_relay::{Connection, Encoding, Join, Outbox, TokenIdentity};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    task::JoinHandle,
    time::{Instant, advance, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role as Side, frame::coding::CloseCode},
    },
};

use signalbox_token::{NewToken, Signer};

use super::{LinkForm, LinkInfo, LinkProtocol, serve, websocket};
use crate::{
    Config, ProjectConfig, clock::unix_time, context::ServerContext, link_id::LinkId,
    supervise::isolated,
};

/// Bytes that the transport accepts before it blocks.
const TRANSPORT_BYTES: usize = 4096;

struct World {
    context: ServerContext,
    session: SessionId,
}

impl World {
    fn new() -> Self {
        let key: ProjectKey = "1".parse().unwrap();
        let project = ProjectConfig::with_secret(key.clone(), "secret");
        let config = Config { projects: vec![project], ..Config::default() };
        let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [0; 24]);
        Self { context: ServerContext::of(&config), session }
    }

    /// A member without a link, which calls the relay directly.
    fn member(&self, number: u8, data: String) -> (Connection, Outbox) {
        let id = ConnectionId::from_bytes([number; 16]);
        let joined = self.context.services.relay().join(
            Join {
                session: self.session.clone(),
                info: ConnectionInfo { id, created_at: 0, data },
                role: Role::Moderator,
                token: TokenIdentity::default(),
                presence: false,
                encoding: Encoding::Shared,
                transport: Transport::WebSocket,
                resume: None,
            },
            Duration::ZERO,
        );
        joined.map(|joined| (joined.connection, joined.outbox)).unwrap()
    }

    /// A client that has sent its hello and read nothing.
    async fn client(&self, presence: bool) -> Client {
        let features: &[Feature] = if presence { &[Feature::Presence] } else { &[] };
        self.client_over(features, |transport| transport).await
    }

    /// A client whose connection can be resumed.
    async fn resumable_client(&self) -> Client {
        self.client_over(&[Feature::Resume], |transport| transport).await
    }

    async fn client_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        features: &[Feature],
        transport: impl FnOnce(DuplexStream) -> S,
    ) -> Client {
        let (near, far) = tokio::io::duplex(TRANSPORT_BYTES);
        let near = transport(near);
        let config = Some(websocket::config(Codec::Postcard));
        let socket = WebSocketStream::from_raw_socket(near, Side::Server, config).await;
        let timeouts = &self.context.services.policy().timeouts;
        let metrics = self.context.services.metrics().transport(Transport::WebSocket);
        let (reader, writer) = websocket::halves(socket, Codec::Postcard, timeouts.idle(), metrics);
        let admission = &self.context.admission;
        let account = admission.tcp_client([127, 0, 0, 1].into());
        let permit = admission.enter_tcp(account).await.unwrap();
        let info = LinkInfo {
            id: LinkId::next(),
            form: LinkForm {
                transport: Transport::WebSocket,
                protocol: LinkProtocol::Signalbox(Codec::Postcard),
            },
            remote: ([127, 0, 0, 1], 0).into(),
            hello_by: Instant::now() + timeouts.hello(),
            permit,
        };
        let ServerContext { services, lifecycle, .. } = self.context.clone();
        let link =
            tokio::spawn(isolated("client", serve(services, lifecycle, info, reader, writer)));
        let mut socket = WebSocketStream::from_raw_socket(far, Side::Client, None).await;
        let token = NewToken {
            key: self.session.project(),
            signer: Signer::Secret("secret"),
            session: &self.session,
            role: Role::Publisher,
            connection_data: "",
            now: unix_time(),
            lifetime: Duration::from_secs(60),
        };
        let token = token.mint().unwrap();
        let hello = ClientMessage::Hello(Hello {
            token: token.as_str().into(),
            features: features.iter().copied().collect(),
            streams: Streams::Single,
            agent: None,
        });
        socket.send(Message::Binary(binary::encode(&hello).into())).await.unwrap();
        Client { socket, link }
    }
}

struct Client {
    socket: WebSocketStream<DuplexStream>,
    link: JoinHandle<()>,
}

/// A message to a client, as far as these tests need it.
#[derive(Debug, PartialEq)]
enum Received {
    Welcome(ConnectionId),
    Signal(u64),
    Bye(CloseReason),
    GoAway(Duration),
    Other,
}

impl Client {
    /// The next message, without pings.
    async fn next(&mut self) -> Option<Received> {
        loop {
            let bytes = match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => bytes,
                Ok(Message::Ping(_)) => continue,
                Ok(_) => return Some(Received::Other),
                Err(_) => return None,
            };
            return Some(match binary::decode(&bytes).unwrap().unwrap() {
                GatewayMessage::Welcome(welcome) => Received::Welcome(welcome.connection.id),
                GatewayMessage::Signal(signal) => Received::Signal(signal.seq),
                GatewayMessage::Bye { reason, .. } => Received::Bye(reason),
                GatewayMessage::GoAway { within_ms } => {
                    Received::GoAway(Duration::from_millis(within_ms.into()))
                }
                _ => Received::Other,
            });
        }
    }

    /// The contents of the next ping.
    async fn ping(&mut self) -> Bytes {
        loop {
            if let Message::Ping(contents) = self.socket.next().await.unwrap().unwrap() {
                return contents;
            }
        }
    }

    /// Sends a pong, and lets the gateway read it.
    async fn pong(&mut self, contents: impl Into<Bytes>) {
        self.socket.send(Message::Pong(contents.into())).await.unwrap();
        settle().await;
    }

    async fn welcomed(&mut self) -> ConnectionId {
        match self.next().await {
            Some(Received::Welcome(id)) => id,
            other => panic!("no welcome: {other:?}"),
        }
    }
}

/// Runs all tasks that can run without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const SIGNALS: u64 = 300;

fn talk(speaker: &mut Connection) {
    let data = "d".repeat(1000);
    for _ in 0..SIGNALS {
        let signal = Signal::new(None::<&str>, Some(data.as_str()));
        speaker.signal(None, signal, Duration::ZERO).unwrap();
    }
}

/// When the relay closes a connection, the queued frames still reach the client, without a gap, and
/// then the reason, wherever in its writing the link is blocked.
#[tokio::test(start_paused = true)]
async fn queued_frames_are_written_at_the_end() {
    for reason in [CloseReason::ForceDisconnected, CloseReason::ShuttingDown] {
        // Reads different amounts before the end, so that the link is blocked in different places.
        for read_before in [0, 1, 50] {
            let world = World::new();
            let mut client = world.client(false).await;
            let id = client.welcomed().await;
            let (mut speaker, _outbox) = world.member(1, String::new());
            talk(&mut speaker);
            let mut last = 0;
            while last < read_before {
                assert_eq!(client.next().await, Some(Received::Signal(last + 1)));
                last += 1;
            }
            settle().await;
            match reason {
                CloseReason::ShuttingDown => world.context.services.relay().shut_down(),
                _ => speaker.force_disconnect(id, Duration::ZERO).unwrap(),
            }
            settle().await;
            while last < SIGNALS {
                assert_eq!(client.next().await, Some(Received::Signal(last + 1)), "{reason}");
                last += 1;
            }
            assert_eq!(client.next().await, Some(Received::Bye(reason)));
            while client.next().await.is_some() {}
            client.link.await.unwrap();
        }
    }
}

/// The link of a client that does not read its welcome ends at once when the relay closes its connection. It
/// cannot hold its permit, or delay a drain.
#[tokio::test(start_paused = true)]
async fn a_connection_can_be_closed_while_its_client_is_welcomed() {
    let world = World::new();
    // The list of connections is longer than the transport accepts.
    let (moderator, _outbox) = world.member(1, "x".repeat(4000));
    let _others: Vec<_> = (2..20).map(|number| world.member(number, "x".repeat(4000))).collect();
    let mut client = world.client(true).await;
    let id = client.welcomed().await;
    settle().await;
    let before = Instant::now();
    moderator.force_disconnect(id, Duration::ZERO).unwrap();
    timeout(Duration::from_secs(60), client.link).await.expect("the link ends").unwrap();
    // A farewell takes a second; a part of the welcome may take five.
    assert!(before.elapsed() <= FAREWELL, "{:?}", before.elapsed());
}

/// What was sent to a client before the relay closes its connection reaches the client even if it is
/// still being welcomed.
#[tokio::test(start_paused = true)]
async fn queued_frames_follow_a_welcome_that_is_interrupted() {
    let world = World::new();
    let (mut moderator, _outbox) = world.member(1, "x".repeat(4000));
    let others: Vec<_> = (2..20).map(|number| world.member(number, "x".repeat(4000))).collect();
    let mut client = world.client(true).await;
    let id = client.welcomed().await;
    talk(&mut moderator);
    moderator.force_disconnect(id, Duration::ZERO).unwrap();
    settle().await;
    let (mut last, mut end) = (0, None);
    while let Some(message) = client.next().await {
        match message {
            Received::Signal(seq) => {
                assert_eq!(seq, last + 1);
                last = seq;
            }
            Received::Bye(reason) => end = Some(reason),
            _ => {}
        }
    }
    assert_eq!((last, end), (SIGNALS, Some(CloseReason::ForceDisconnected)));
    drop(others);
}

/// A client that reads nothing holds its link no longer than the farewell.
#[tokio::test(start_paused = true)]
async fn a_farewell_has_one_deadline() {
    let world = World::new();
    let mut client = world.client(false).await;
    let id = client.welcomed().await;
    let (mut speaker, _outbox) = world.member(1, String::new());
    talk(&mut speaker);
    settle().await;
    let before = Instant::now();
    speaker.force_disconnect(id, Duration::ZERO).unwrap();
    timeout(Duration::from_secs(60), client.link).await.expect("the link ends").unwrap();
    assert!(before.elapsed() <= FAREWELL, "{:?}", before.elapsed());
}

/// A client that closes its link with a code of its own is answered at once, and its connection is
/// detached.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_closed_badly_ends_at_once_and_its_connection_stays() {
    let world = World::new();
    let (_watcher, _outbox) = world.member(1, String::new());
    let mut client = world.resumable_client().await;
    client.welcomed().await;
    assert_eq!(client.next().await, Some(Received::Other), "the ticket");
    let before = Instant::now();
    let close = CloseFrame { code: CloseCode::from(4002), reason: "".into() };
    client.socket.send(Message::Close(Some(close))).await.unwrap();
    while client.next().await.is_some() {}
    client.link.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(world.context.services.relay().stats().connections, 2, "it is detached");
    // The client does not resume.
    advance(world.context.services.resume_window(world.session.project())).await;
    settle().await;
    assert_eq!(world.context.services.relay().stats().connections, 1);
}

/// A draining gateway asks all clients to leave, and serves each of them until its departure.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_leave_is_served_until_its_departure() {
    let world = World::new();
    let (mut speaker, _outbox) = world.member(1, String::new());
    let mut clients = [world.client(false).await, world.client(false).await];
    for client in &mut clients {
        client.welcomed().await;
    }
    world.context.lifecycle.begin_drain();
    let asked = Instant::now();
    let mut ends = Vec::new();
    for client in &mut clients {
        let Some(Received::GoAway(within)) = client.next().await else {
            panic!("it is not asked to leave")
        };
        ends.push(within);
    }
    let first = usize::from(ends[1] < ends[0]);
    for (number, index) in [first, 1 - first].into_iter().enumerate() {
        speaker.signal(None, Signal::new(None::<&str>, Some("d")), Duration::ZERO).unwrap();
        let client = &mut clients[index];
        for seq in 1..=number as u64 + 1 {
            assert_eq!(client.next().await, Some(Received::Signal(seq)));
        }
        assert_eq!(client.next().await, Some(Received::Bye(CloseReason::ShuttingDown)));
        // Timers and the announced time have a resolution of a millisecond.
        let late = asked.elapsed() - ends[index];
        assert!(late <= Duration::from_millis(2), "{late:?} late");
    }
    // New clients are rejected, even though their hello is there before the link reads.
    for _ in 0..20 {
        let mut late = world.client(false).await;
        assert_eq!(late.next().await, Some(Received::Bye(CloseReason::ShuttingDown)));
    }
}

/// During a drain a resumable connection is detached, whether its client leaves or is disconnected,
/// and stays detached until the gateway ends.
#[tokio::test(start_paused = true)]
async fn a_resumable_connection_is_detached_by_a_drain() {
    for leaves in [true, false] {
        let world = World::new();
        let (_watcher, watching) = world.member(1, String::new());
        let mut client = world.resumable_client().await;
        client.welcomed().await;
        assert_eq!(client.next().await, Some(Received::Other), "the ticket");
        world.context.lifecycle.begin_drain();
        assert!(matches!(client.next().await, Some(Received::GoAway(_))));
        if leaves {
            let close = CloseFrame { code: CloseCode::from(4002), reason: "".into() };
            client.socket.send(Message::Close(Some(close))).await.unwrap();
        } else {
            assert_eq!(client.next().await, Some(Received::Bye(CloseReason::ShuttingDown)));
        }
        while client.next().await.is_some() {}
        client.link.await.unwrap();
        settle().await;
        assert_eq!(world.context.services.relay().stats().connections, 2, "it is detached");
        let (frames, _) = watching.load();
        assert_eq!(frames, 0, "the others are not told");
        world.context.services.relay().shut_down();
        world.context.lifecycle.end();
        let gone = timeout(Duration::from_secs(1), world.context.lifecycle.detached_done());
        gone.await.expect("no timer is left");
        assert_eq!(world.context.services.relay().stats().connections, 0);
    }
}

/// A transport that panics when it is switched on.
struct FaultyTransport {
    inner: DuplexStream,
    is_faulty: Arc<AtomicBool>,
}

impl AsyncRead for FaultyTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.is_faulty.load(Relaxed), "a fault");
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for FaultyTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A panic in one client's task ends that link and its connection. Other clients are not affected.
#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_link_and_no_other() {
    let world = World::new();
    let mut bystander = world.client(false).await;
    bystander.welcomed().await;
    let is_faulty = Arc::new(AtomicBool::new(false));
    let switch = is_faulty.clone();
    let mut client = world.client_over(&[], |inner| FaultyTransport { inner, is_faulty }).await;
    client.welcomed().await;
    assert_eq!(world.context.services.relay().stats().connections, 2);
    switch.store(true, Relaxed);
    client.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    client.link.await.unwrap();
    assert_eq!(world.context.services.relay().stats().connections, 1);
    let (mut speaker, _outbox) = world.member(1, String::new());
    speaker.signal(None, Signal::new(None::<&str>, Some("d")), Duration::ZERO).unwrap();
    assert_eq!(bystander.next().await, Some(Received::Signal(1)));
}

/// A client makes its own round trip look longer by a late pong, and nothing else: pongs that answer no
/// ping are ignored, and so are repeated ones.
#[tokio::test(start_paused = true)]
async fn a_round_trip_is_measured_by_the_first_pong_of_each_ping() {
    let ms = Duration::from_millis;
    let world = World::new();
    let mut client = world.client(false).await;
    let id = client.welcomed().await;
    let welcomed = Instant::now();
    let rtt = || world.context.services.links().of(id).unwrap().rtt;
    for guess in [&[][..], &[0; 8], &[0xff; 125]] {
        client.pong(guess).await;
        assert_eq!(rtt(), None);
    }
    let first = client.ping().await;
    assert!(welcomed.elapsed() <= ms(1010), "{:?}", welcomed.elapsed());
    advance(ms(40)).await;
    client.pong(first.clone()).await;
    assert_eq!(rtt(), Some(ms(40)));
    advance(ms(500)).await;
    client.pong(first).await;
    assert_eq!(rtt(), Some(ms(40)));

    // A pong that comes after the next ping is one of its own ping.
    let second = client.ping().await;
    let until_the_third = world.context.services.policy().timeouts.idle() / 3;
    advance(until_the_third).await;
    settle().await;
    advance(ms(30)).await;
    client.pong(second).await;
    assert_eq!(rtt(), Some(until_the_third + ms(30)));
    let third = client.ping().await;
    client.pong(third).await;
    assert_eq!(rtt(), Some(ms(30)));
}
