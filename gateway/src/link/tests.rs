//! The life of a link over a carrier in memory, in paused time.
//!
//! A real socket takes megabytes before it blocks, and then what a test sees depends on luck and
//! speed. This one takes four kilobytes, and time passes only when nobody has anything to do.

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

use futures_util::{SinkExt as _, StreamExt as _};
use signalbox_protocol::{
    ClientMessage, CloseReason, Codec, ConnectionId, ConnectionInfo, GatewayMessage, MediaMode,
    ProjectKey, Role, SessionId, Signal, Streams, Transport, binary, limits::FAREWELL,
    message::Hello,
};
use signalbox_relay::{Connection, Encoding, Join, Outbox};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role as Side, frame::coding::CloseCode},
    },
};

use signalbox_token::{NewToken, Signer};

use super::{LinkForm, LinkInfo, serve, websocket};
use crate::{Config, ProjectConfig, clock::unix_time, context::ServerContext, supervise::isolated};

/// Bytes that the carrier takes before it blocks.
const CARRIER: usize = 4096;

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

    /// A member without a link, by its hand on the relay.
    fn member(&self, number: u8, data: String) -> (Connection, Outbox) {
        let id = ConnectionId::from_bytes([number; 16]);
        let joined = self.context.services.relay().join(
            Join {
                session: self.session.clone(),
                info: ConnectionInfo { id, created_at: 0, data },
                role: Role::Moderator,
                presence: false,
                encoding: Encoding::Shared,
                transport: Transport::WebSocket,
            },
            Duration::ZERO,
        );
        joined.map(|joined| (joined.connection, joined.outbox)).unwrap()
    }

    /// A client that has said hello and read nothing yet.
    async fn client(&self, presence: bool) -> Client {
        self.client_over(presence, |carrier| carrier).await
    }

    async fn client_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        presence: bool,
        carrier: impl FnOnce(DuplexStream) -> S,
    ) -> Client {
        let (near, far) = tokio::io::duplex(CARRIER);
        let near = carrier(near);
        let config = Some(websocket::config(Codec::Postcard));
        let socket = WebSocketStream::from_raw_socket(near, Side::Server, config).await;
        let timeouts = &self.context.services.policy().timeouts;
        let (reader, writer) = websocket::halves(socket, Codec::Postcard, timeouts.idle());
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let info = LinkInfo {
            form: LinkForm { transport: Transport::WebSocket, codec: Codec::Postcard },
            remote: ([127, 0, 0, 1], 0).into(),
            hello_by: Instant::now() + timeouts.hello(),
            permit: Arc::new(permit),
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
            presence,
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

/// What a client is told, as far as these tests care.
#[derive(Debug, PartialEq)]
enum Told {
    Welcome(ConnectionId),
    Signal(u64),
    Bye(CloseReason),
    GoAway(Duration),
    Other,
}

impl Client {
    async fn next(&mut self) -> Option<Told> {
        match self.socket.next().await? {
            Ok(Message::Binary(bytes)) => Some(match binary::decode(&bytes).unwrap().unwrap() {
                GatewayMessage::Welcome(welcome) => Told::Welcome(welcome.connection.id),
                GatewayMessage::Signal(signal) => Told::Signal(signal.seq),
                GatewayMessage::Bye { reason, .. } => Told::Bye(reason),
                GatewayMessage::GoAway { within_ms } => {
                    Told::GoAway(Duration::from_millis(within_ms.into()))
                }
                _ => Told::Other,
            }),
            Ok(_) => Some(Told::Other),
            Err(_) => None,
        }
    }

    async fn welcomed(&mut self) -> ConnectionId {
        match self.next().await {
            Some(Told::Welcome(id)) => id,
            other => panic!("no welcome: {other:?}"),
        }
    }
}

/// Lets everything happen that can happen at this moment.
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

/// Whoever ends a connection, and wherever its link is in its writing: what waited for the client
/// still comes, without a hole, and then the reason.
#[tokio::test(start_paused = true)]
async fn what_waits_at_the_end_is_still_written() {
    for reason in [CloseReason::ForceDisconnected, CloseReason::ShuttingDown] {
        // Read so much before the end that the link hangs in different places.
        for read_before in [0, 1, 50] {
            let world = World::new();
            let mut client = world.client(false).await;
            let id = client.welcomed().await;
            let (mut speaker, _outbox) = world.member(1, String::new());
            talk(&mut speaker);
            let mut last = 0;
            while last < read_before {
                assert_eq!(client.next().await, Some(Told::Signal(last + 1)));
                last += 1;
            }
            settle().await;
            match reason {
                CloseReason::ShuttingDown => world.context.services.relay().shut_down(),
                _ => speaker.force_disconnect(id, Duration::ZERO).unwrap(),
            }
            settle().await;
            while last < SIGNALS {
                assert_eq!(client.next().await, Some(Told::Signal(last + 1)), "{reason}");
                last += 1;
            }
            assert_eq!(client.next().await, Some(Told::Bye(reason)));
            while client.next().await.is_some() {}
            client.link.await.unwrap();
        }
    }
}

/// A client that does not even read its welcome is ended at once when others end it, and does not
/// hold its place and the gateway's drain for as long as it likes.
#[tokio::test(start_paused = true)]
async fn the_bell_is_heard_while_a_client_is_welcomed() {
    let world = World::new();
    // The list of who is there is longer than the carrier takes.
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

/// A client that reads nothing at all holds a link no longer than its farewell.
#[tokio::test(start_paused = true)]
async fn a_farewell_is_not_waited_for_twice() {
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

/// Who closes a link in good form, but not for good, is answered at once; its connection is away.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_given_up_ends_at_once_and_its_connection_stays() {
    let world = World::new();
    let (_watcher, _outbox) = world.member(1, String::new());
    let mut client = world.client(false).await;
    client.welcomed().await;
    let keep = binary::encode(&ClientMessage::Keep {});
    client.socket.send(Message::Binary(keep.into())).await.unwrap();
    assert_eq!(client.next().await, Some(Told::Other), "the ticket");
    let before = Instant::now();
    let close = CloseFrame { code: CloseCode::from(4002), reason: "".into() };
    client.socket.send(Message::Close(Some(close))).await.unwrap();
    while client.next().await.is_some() {}
    client.link.await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(world.context.services.relay().stats().connections, 2, "it is away");
    // It does not come back.
    tokio::time::advance(world.context.services.resume_window(world.session.project())).await;
    settle().await;
    assert_eq!(world.context.services.relay().stats().connections, 1);
}

/// Going down, a gateway asks everybody to go, and goes on serving those who are still there until
/// the end of each.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_go_is_served_until_its_end() {
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
        let Some(Told::GoAway(within)) = client.next().await else { panic!("it is not asked") };
        ends.push(within);
    }
    let first = usize::from(ends[1] < ends[0]);
    for (number, index) in [first, 1 - first].into_iter().enumerate() {
        speaker.signal(None, Signal::new(None::<&str>, Some("d")), Duration::ZERO).unwrap();
        let client = &mut clients[index];
        for seq in 1..=number as u64 + 1 {
            assert_eq!(client.next().await, Some(Told::Signal(seq)));
        }
        assert_eq!(client.next().await, Some(Told::Bye(CloseReason::ShuttingDown)));
        // Timers are a millisecond coarse, and so is what it was told.
        let late = asked.elapsed() - ends[index];
        assert!(late <= Duration::from_millis(2), "{late:?} late");
    }
    // Whoever comes now is not let in. (Not by luck: the hello is there before anybody looks.)
    for _ in 0..20 {
        let mut late = world.client(false).await;
        assert_eq!(late.next().await, Some(Told::Bye(CloseReason::ShuttingDown)));
    }
}

/// Who is kept is away then, whether it goes when it is asked or is ended, and stays so for as long as
/// the gateway is there.
#[tokio::test(start_paused = true)]
async fn who_goes_or_is_ended_while_the_gateway_goes_down_is_away() {
    for goes in [true, false] {
        let world = World::new();
        let (_watcher, watching) = world.member(1, String::new());
        let mut client = world.client(false).await;
        client.welcomed().await;
        let keep = binary::encode(&ClientMessage::Keep {});
        client.socket.send(Message::Binary(keep.into())).await.unwrap();
        assert_eq!(client.next().await, Some(Told::Other), "the ticket");
        world.context.lifecycle.begin_drain();
        assert!(matches!(client.next().await, Some(Told::GoAway(_))));
        if goes {
            let close = CloseFrame { code: CloseCode::from(4002), reason: "".into() };
            client.socket.send(Message::Close(Some(close))).await.unwrap();
        } else {
            assert_eq!(client.next().await, Some(Told::Bye(CloseReason::ShuttingDown)));
        }
        while client.next().await.is_some() {}
        client.link.await.unwrap();
        settle().await;
        assert_eq!(world.context.services.relay().stats().connections, 2, "it is away");
        let (frames, _) = watching.load();
        assert_eq!(frames, 0, "nobody is told");
        world.context.services.relay().shut_down();
        world.context.lifecycle.end();
        let gone = timeout(Duration::from_secs(1), world.context.lifecycle.detached_done());
        gone.await.expect("nobody is waited for");
        assert_eq!(world.context.services.relay().stats().connections, 0);
    }
}

/// A carrier with a fault in its code, once it has been switched on.
struct Faulty {
    carrier: DuplexStream,
    is_faulty: Arc<AtomicBool>,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.is_faulty.load(Relaxed), "a fault");
        Pin::new(&mut self.carrier).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }
}

/// A fault of ours that one client meets ends that client's link, and its connection; the others hear
/// of it, and go on.
#[tokio::test(start_paused = true)]
async fn a_panic_ends_one_link_and_no_other() {
    let world = World::new();
    let mut bystander = world.client(false).await;
    bystander.welcomed().await;
    let is_faulty = Arc::new(AtomicBool::new(false));
    let switch = is_faulty.clone();
    let mut client = world.client_over(false, |carrier| Faulty { carrier, is_faulty }).await;
    client.welcomed().await;
    assert_eq!(world.context.services.relay().stats().connections, 2);
    switch.store(true, Relaxed);
    client.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    client.link.await.unwrap();
    assert_eq!(world.context.services.relay().stats().connections, 1);
    let (mut speaker, _outbox) = world.member(1, String::new());
    speaker.signal(None, Signal::new(None::<&str>, Some("d")), Duration::ZERO).unwrap();
    assert_eq!(bystander.next().await, Some(Told::Signal(1)));
}
