//! The counted cases: one signal, from the sender's encoding to the receivers' outboxes and back
//! out of them, without I/O.

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use signalbox_protocol::{
    ClientMessage, ConnectionId, ConnectionInfo, GatewayMessage, MediaMode, ProjectKey, Role,
    SenderMessage, SessionId, Signal, Transport, binary,
    frame::{self, FrameBuffer},
    json,
    message::{ReceivedSignal, SendSignal, SequencedSignal},
};
use signalbox_relay::{
    Backplane, Connection, Encoding, Instance, Join, Outbox, Outgoing, Relay, ResumeOptions,
    SessionUpdate, Settings, TokenIdentity,
};

use crate::callgrind::counted;

/// Uncounted rounds of a case, until buffers have their size and the backlog is full.
const WARM_UP: u32 = 50;

/// Counted rounds of a case.
pub(crate) const ROUNDS: usize = 20;

/// The data of every signal: 128 bytes, as in `signalbox-bench`.
const DATA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The type of every signal.
const TYPE: &str = "chat";

/// Members of the relay's session, the sender included.
const MEMBERS: u8 = 100;

/// Runs a part of a round, and counts it unless the round is a warm-up.
type Meter = fn(&mut dyn FnMut());

/// Runs one round with one part of it under the meter. Fails if the part did not do its work, which
/// would cost little.
type Round = Box<dyn FnMut(Meter) -> anyhow::Result<()>>;

/// Sets a case up.
type Make = fn() -> anyhow::Result<Round>;

/// All cases in the order of the table.
pub(crate) const ALL: [(&str, Make); 21] = [
    // From a client to the gateway.
    ("client-encode-postcard", || encode(sent(), frame::encode)),
    ("client-encode-json", || encode(sent(), |sent| json::encode(sent).into())),
    ("gateway-decode-postcard", || decode_frame(frame::encode(&sent()), is_sent)),
    ("gateway-decode-json", || decode_text(json::encode(&sent()), is_sent_json)),
    // From the gateway to a client.
    ("gateway-encode-per-sender", || encode(sequenced(), frame::encode)),
    ("gateway-encode-shared", || encode(received(), frame::encode)),
    ("gateway-encode-json", || encode(received(), |it| json::encode(it).into())),
    ("client-decode-per-sender", || decode_frame(frame::encode(&sequenced()), is_sequenced)),
    ("client-decode-shared", || decode_frame(frame::encode(&received()), is_received)),
    ("client-decode-json", || decode_text(json::encode(&received()), is_received_json)),
    // From a signal to a hundred outboxes, and out of them again.
    ("relay-100-per-sender", || relay(&[Encoding::PerSender])),
    (ALONE, || relay(&[Encoding::Shared])),
    ("relay-100-json", || relay(&[Encoding::Json])),
    ("relay-100-opentok", || relay(&[Encoding::OpenTok])),
    ("relay-100-mixed", || relay(&MIXED)),
    // In a cluster, with no other gateway in the session.
    (IN_CLUSTER, relay_in_cluster),
    ("drain-100-per-sender", || drain(&[Encoding::PerSender])),
    ("drain-100-shared", || drain(&[Encoding::Shared])),
    ("drain-100-json", || drain(&[Encoding::Json])),
    ("drain-100-opentok", || drain(&[Encoding::OpenTok])),
    ("drain-100-mixed", || drain(&MIXED)),
];

/// Two cases that may differ by no more than the tolerance: a session on one gateway costs the same
/// with a cluster as without.
pub(crate) const SAME_COST: (&str, &str) = (ALONE, IN_CLUSTER);
const ALONE: &str = "relay-100-shared";
const IN_CLUSTER: &str = "relay-100-in-cluster";

const MIXED: [Encoding; 3] = [Encoding::PerSender, Encoding::Shared, Encoding::Json];

/// Runs all cases under callgrind.
pub(crate) fn run() -> anyhow::Result<()> {
    for (name, make) in ALL {
        let mut round = make().context(name)?;
        for _ in 0..WARM_UP {
            round(|part| part()).context(name)?;
        }
        for _ in 0..ROUNDS {
            round(counted).context(name)?;
        }
    }
    Ok(())
}

fn sent() -> ClientMessage<'static> {
    ClientMessage::Signal(SendSignal::new(None, Signal::new(Some(TYPE), Some(DATA))))
}

fn sequenced() -> SenderMessage<'static> {
    let (signal_type, data) = (Some(TYPE.into()), Some(DATA.into()));
    SenderMessage::Signal(SequencedSignal { seq: 1000, signal_type, data })
}

fn received() -> GatewayMessage<'static> {
    let (signal_type, data) = (Some(TYPE.into()), Some(DATA.into()));
    GatewayMessage::Signal(ReceivedSignal { from: id(1).into(), seq: 1000, signal_type, data })
}

fn id(number: u8) -> ConnectionId {
    ConnectionId::from_bytes([number; 16])
}

// The black boxes below keep the compiler from computing results at compile time.

fn encode<M: 'static>(message: M, encode: fn(&M) -> Vec<u8>) -> anyhow::Result<Round> {
    Ok(Box::new(move |meter| {
        let mut len = 0;
        meter(&mut || len = black_box(encode(black_box(&message))).len());
        ensure!(len > DATA.len(), "encoded {len} bytes");
        Ok(())
    }))
}

/// Decodes the message in received bytes.
fn decode_frame(frame: Vec<u8>, decode: fn(&[u8]) -> bool) -> anyhow::Result<Round> {
    let mut buffer = FrameBuffer::new(frame.len());
    Ok(Box::new(move |meter| {
        let mut right = false;
        meter(&mut || {
            buffer.push(black_box(&frame));
            right = matches!(buffer.next_frame(), Ok(Some(message)) if decode(message));
            buffer.shrink();
        });
        ensure!(right, "decoded something else");
        Ok(())
    }))
}

fn decode_text(text: String, decode: fn(&str) -> bool) -> anyhow::Result<Round> {
    Ok(Box::new(move |meter| {
        let mut right = false;
        meter(&mut || right = decode(black_box(&text)));
        ensure!(right, "decoded something else");
        Ok(())
    }))
}

fn is_sent(bytes: &[u8]) -> bool {
    matches!(black_box(binary::decode(bytes)), Ok(Some(ClientMessage::Signal(_))))
}

fn is_sent_json(text: &str) -> bool {
    matches!(black_box(json::decode(text)), Ok(Some(ClientMessage::Signal(_))))
}

fn is_sequenced(bytes: &[u8]) -> bool {
    matches!(black_box(binary::decode(bytes)), Ok(Some(SenderMessage::Signal(_))))
}

fn is_received(bytes: &[u8]) -> bool {
    matches!(black_box(binary::decode(bytes)), Ok(Some(GatewayMessage::Signal(_))))
}

fn is_received_json(text: &str) -> bool {
    matches!(black_box(json::decode(text)), Ok(Some(GatewayMessage::Signal(_))))
}

/// Pushes one signal to all members of a session.
fn relay(encodings: &[Encoding]) -> anyhow::Result<Round> {
    push(RelayFixture::new(encodings)?)
}

/// The same on a gateway of a cluster.
fn relay_in_cluster() -> anyhow::Result<Round> {
    let instance = Instance { gateway: "gw-1".parse()?, epoch: 1 };
    let relay = Relay::clustered(settings(), Arc::new(()), instance, Arc::new(SilentBackplane));
    push(RelayFixture::join(&relay, &[Encoding::Shared])?)
}

/// The bus of a session on one gateway.
struct SilentBackplane;

impl Backplane for SilentBackplane {
    fn publish(&self, _: &SessionId, _: &[Instance], _: &SessionUpdate<'_>) {
        unreachable!("no other gateway has the session");
    }

    fn is_live(&self, _: &Instance) -> bool {
        true
    }
}

fn push(mut world: RelayFixture) -> anyhow::Result<Round> {
    Ok(Box::new(move |meter| {
        let mut sent = Ok(());
        meter(&mut || sent = world.send());
        sent?;
        let taken = world.drain();
        ensure!(taken == usize::from(MEMBERS) + 1, "{taken} were pushed");
        Ok(())
    }))
}

/// Takes one signal out of the outboxes of all members.
fn drain(encodings: &[Encoding]) -> anyhow::Result<Round> {
    let mut world = RelayFixture::new(encodings)?;
    Ok(Box::new(move |meter| {
        world.send()?;
        let mut taken = 0;
        meter(&mut || taken = world.drain());
        ensure!(taken == usize::from(MEMBERS) + 1, "{taken} were taken");
        Ok(())
    }))
}

/// A session of [`MEMBERS`] with resumption enabled, as by the SDK, whose links wait for frames.
/// Its backlog is full and records every signal.
struct RelayFixture {
    relay: Relay,
    sender: Connection,
    links: Vec<IdleLink>,
    /// Held so that the members stay.
    _others: Vec<Connection>,
}

/// A link that waits for frames.
struct IdleLink {
    outbox: Outbox,
    queue: VecDeque<Outgoing>,
}

/// The history is small enough to be full after the warm-up.
fn settings() -> Settings {
    Settings { history_bytes: 4096, ..Settings::default() }
}

impl RelayFixture {
    fn new(encodings: &[Encoding]) -> anyhow::Result<Self> {
        Self::join(&Relay::new(settings(), Arc::new(())), encodings)
    }

    fn join(relay: &Relay, encodings: &[Encoding]) -> anyhow::Result<Self> {
        let project: ProjectKey = "12345678".parse()?;
        let session = SessionId::mint(&project, MediaMode::Relayed, None, 0, [0; 24]);
        let (mut links, mut connections) = (Vec::new(), Vec::new());
        for (number, encoding) in (0..MEMBERS).zip(encodings.iter().cycle()) {
            let join = Join {
                session: session.clone(),
                info: ConnectionInfo { id: id(number), created_at: 0, data: String::new() },
                role: Role::Publisher,
                token: TokenIdentity::default(),
                presence: false,
                encoding: *encoding,
                transport: Transport::WebSocket,
                resume: Some(ResumeOptions {
                    secret: [0; 32],
                    token_until: Duration::MAX,
                    orphan_window: Duration::from_secs(30),
                }),
            };
            let joined = relay.join(join, Duration::ZERO)?;
            links.push(IdleLink { outbox: joined.outbox, queue: VecDeque::new() });
            connections.push(joined.connection);
        }
        let Some(sender) = connections.pop() else { bail!("the session is empty") };
        let mut world = Self { relay: relay.clone(), sender, links, _others: connections };
        world.drain();
        Ok(world)
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let signal = Signal::new(Some(black_box(TYPE)), Some(black_box(DATA)));
        self.sender.signal(None, signal, Duration::ZERO)?;
        Ok(())
    }

    /// Drains all outboxes as links do, without writing. Returns the number of frames taken: one
    /// for each member, and the sender's confirmation.
    fn drain(&mut self) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        while self.relay.poll_turn(&mut cx).is_ready() {}
        let mut taken = 0;
        for IdleLink { outbox, queue } in &mut self.links {
            while let Poll::Ready(Ok(())) = outbox.poll_take(&mut cx, queue) {
                let frames = queue.len();
                let bytes = queue.drain(..).map(|outgoing| black_box(outgoing).cost()).sum();
                let _ = outbox.written(frames, bytes);
                taken += frames;
            }
        }
        taken
    }
}
