//! `order.json`: messages arrive in any relative order, events leave in one.

use serde_json::{Value, json};
use signalbox_protocol::{
    ConnectionInfo, GatewayId, GatewayMessage, GatewayStream, Sender, SenderMessage, json as wire,
    message::{Cursor, ReceivedSignal, SequencedSignal, Ticket},
};

use super::{Case, Random, check, event_json};
use crate::{
    link::{HandshakeReply, ReplyAssembler},
    order::{
        Order, StreamKey,
        tests::{Input, created, destroyed, id, info, welcome},
    },
};

/// The QUIC stream id of a gateway's unidirectional stream.
fn stream_id(stream: StreamKey) -> u64 {
    3 + 4 * stream
}

/// Plays steps to an [`Order`] and records them with the events that they cause.
pub(super) struct Recorder {
    name: String,
    carriers: &'static str,
    presence: bool,
    order: Option<Order>,
    assembler: Option<ReplyAssembler>,
    steps: Vec<Value>,
}

impl Recorder {
    /// A client that has not been welcomed.
    pub(super) fn unwelcomed(name: &str, presence: bool) -> Self {
        let (name, carriers) = (name.to_owned(), "perSender");
        let (order, assembler) = (None, Some(ReplyAssembler::default()));
        Self { name, carriers, presence, order, assembler, steps: Vec::new() }
    }

    /// A client that has joined a session with `present` others.
    pub(super) fn joined(name: &str, presence: bool, present: u32) -> Self {
        let mut recorder = Self::unwelcomed(name, presence);
        recorder.control(GatewayMessage::Welcome(welcome(present)));
        recorder.ticket();
        recorder
    }

    pub(super) fn ticket(&mut self) {
        let ticket = Ticket { ticket: "ticket".into(), window_ms: 30_000 };
        self.control(GatewayMessage::Ticket(ticket));
    }

    pub(super) fn new(name: &str) -> Self {
        Self::joined(name, true, 0)
    }

    pub(super) fn shared(name: &str) -> Self {
        let mut recorder = Self::new(name);
        recorder.carriers = "shared";
        recorder
    }

    fn order(&mut self) -> &mut Order {
        self.order.as_mut().expect("the client has joined")
    }

    /// Adds the events that a step has caused, and records it.
    fn step(&mut self, mut step: Value) {
        let surfaces: Vec<_> = match &mut self.order {
            Some(order) => std::iter::from_fn(|| order.next_event()).map(event_json).collect(),
            None => Vec::new(),
        };
        step["surfaces"] = surfaces.into();
        self.steps.push(step);
    }

    pub(super) fn control(&mut self, message: GatewayMessage<'static>) {
        let receives: Value = serde_json::from_str(&wire::encode(&message)).unwrap();
        match &mut self.assembler {
            Some(assembler) => {
                if let Some(reply) = assembler.push(message).unwrap() {
                    self.assembler = None;
                    self.apply(reply);
                }
            }
            None => self.order().control(message).unwrap(),
        }
        self.step(json!({"on": "control", "receives": receives}));
    }

    /// A message that ends the link, because it violates the protocol.
    pub(super) fn violation(&mut self, message: GatewayMessage<'static>) {
        let receives: Value = serde_json::from_str(&wire::encode(&message)).unwrap();
        self.order().control(message).unwrap_err();
        self.step(json!({"on": "control", "receives": receives, "ends": "protocolError"}));
    }

    fn apply(&mut self, reply: HandshakeReply) {
        match (reply, &mut self.order) {
            (HandshakeReply::Resumed { missed, gap, present, .. }, Some(order)) => {
                order.resume(missed, gap, present);
            }
            (HandshakeReply::Welcome(welcome), Some(order)) => order.rejoin(&welcome),
            (HandshakeReply::Welcome(welcome), None) => {
                self.order = Some(Order::new(&welcome, self.presence));
            }
            (HandshakeReply::Resumed { .. }, None) => panic!("resumed without a welcome"),
        }
    }

    pub(super) fn created(&mut self, n: u8) {
        self.control(created(n));
    }

    pub(super) fn destroyed(&mut self, n: u8, last_seq: u64) {
        self.control(destroyed(n, last_seq));
    }

    pub(super) fn present(&mut self, all: &[u8]) {
        let connections: Vec<ConnectionInfo> = all.iter().copied().map(info).collect();
        self.control(GatewayMessage::Present { connections });
    }

    /// A signal among the messages of the control stream.
    pub(super) fn signal_on_control(&mut self, n: u8, seq: u64, signal_type: Option<&'static str>) {
        self.control(GatewayMessage::Signal(ReceivedSignal {
            from: id(n).into(),
            seq,
            signal_type: signal_type.map(Into::into),
            data: Some(seq.to_string().into()),
        }));
    }

    pub(super) fn open(&mut self, stream: StreamKey, from: impl Into<Sender>, after: u64) {
        let from = from.into();
        let header = GatewayStream::Sender { from: from.clone(), after };
        let receives: Value = serde_json::from_str(&wire::encode(&header)).unwrap();
        self.order().open(stream, from, after);
        self.step(json!({"on": stream_id(stream), "receives": receives}));
    }

    pub(super) fn signal(&mut self, stream: StreamKey, seq: u64) {
        let data = Some(seq.to_string().into());
        let signal = SequencedSignal { seq, signal_type: None, data };
        let message = SenderMessage::Signal(signal);
        let receives: Value = serde_json::from_str(&wire::encode(&message)).unwrap();
        let SenderMessage::Signal(SequencedSignal { signal_type, data, .. }) = message else {
            unreachable!("it was made above")
        };
        let signal = signalbox_protocol::Signal { signal_type, data };
        self.order().signal(stream, seq, signal.into_owned());
        self.step(json!({"on": stream_id(stream), "receives": receives}));
    }

    pub(super) fn end(&mut self, stream: StreamKey) {
        self.order().end(stream, false);
        self.step(json!({"streamEnds": stream_id(stream)}));
    }

    pub(super) fn reset(&mut self, stream: StreamKey) {
        self.order().end(stream, true);
        self.step(json!({"streamReset": stream_id(stream)}));
    }

    pub(super) fn input(&mut self, input: Input) {
        match input {
            Input::Control(message) => self.control(message),
            Input::Open(stream, from, after) => self.open(stream, from, after),
            Input::Signal(stream, seq) => self.signal(stream, seq),
            Input::End(stream) => self.end(stream),
        }
    }

    /// Ends the link, and records from where the client resumes. Returns that.
    pub(super) fn link_lost(&mut self) -> Option<(u64, Vec<Cursor>)> {
        let position = self.order().link_lost(0).map(|mut position| {
            position.cursors.sort_by(|one, other| one.from.cmp(&other.from));
            (position.events, position.cursors)
        });
        let resumes_from = position.as_ref().map(|(events, cursors)| {
            let cursors: Vec<_> =
                cursors.iter().map(|it| json!({"from": it.from, "seq": it.seq})).collect();
            json!({"events": events, "cursors": cursors})
        });
        self.assembler = Some(ReplyAssembler::default());
        self.step(json!({"linkLost": true, "resumesFrom": resumes_from}));
        position
    }

    /// The gateway resumes the connection.
    pub(super) fn resumed(&mut self, missed: u64) {
        let ticket = Ticket { ticket: "ticket".into(), window_ms: 30_000 };
        self.control(GatewayMessage::Resumed { ticket, signals: 0, missed });
    }

    pub(super) fn finish(self) -> Case {
        let Self { name, carriers, presence, steps, .. } = self;
        Case { head: json!({"name": name, "carriers": carriers, "presence": presence}), steps }
    }
}

#[test]
fn order_json_is_current() {
    let mut cases = Vec::new();
    let mut case = |mut recorder: Recorder, play: &dyn Fn(&mut Recorder)| {
        play(&mut recorder);
        cases.push(recorder.finish());
    };
    case(Recorder::new("created comes before the first signal"), &|it| {
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.signal(0, 2);
        it.created(1);
        it.signal(0, 3);
    });
    case(Recorder::joined("present counts as created", true, 1), &|it| {
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.present(&[1]);
    });
    case(Recorder::new("senders do not wait for each other"), &|it| {
        it.open(0, id(1), 0);
        it.open(1, id(2), 0);
        it.signal(0, 1);
        it.signal(1, 4);
        it.created(2);
        it.created(1);
    });
    case(Recorder::new("the client itself and servers need no created"), &|it| {
        it.open(0, id(0), 0);
        it.signal(0, 1);
        it.open(1, GatewayId::default(), 0);
        it.signal(1, 1);
    });
    case(Recorder::joined("without presence no sender needs created", false, 0), &|it| {
        it.open(0, id(1), 0);
        it.signal(0, 1);
    });
    case(Recorder::new("destroyed comes after the last signal"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.destroyed(1, 3);
        it.signal(0, 1);
        it.signal(0, 3);
        it.end(0);
    });
    case(Recorder::new("destroyed without signals holds nothing up"), &|it| {
        it.created(1);
        it.created(2);
        it.destroyed(1, 2);
        it.destroyed(2, 0);
        it.open(0, id(1), 0);
        it.signal(0, 2);
    });
    case(Recorder::new("destroyed does not wait for a stream that was reset"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.destroyed(1, 3);
        it.reset(0);
    });
    case(Recorder::new("a later stream waits for the one before"), &|it| {
        it.created(1);
        it.open(1, id(1), 2);
        it.signal(1, 3);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.signal(0, 2);
        it.end(0);
        it.signal(1, 4);
    });
    case(Recorder::new("a sender continues on another stream"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.end(0);
        it.open(1, id(1), 1);
        it.signal(1, 7);
        it.destroyed(1, 7);
    });
    case(Recorder::new("a stream is given to another sender, and back"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.open(0, id(2), 0);
        it.signal(0, 5);
        it.open(0, id(1), 1);
        it.signal(0, 2);
        it.created(2);
        it.destroyed(2, 5);
    });
    case(Recorder::new("a part of a stream waits for a part of another stream"), &|it| {
        it.created(1);
        it.created(2);
        it.open(1, id(1), 2);
        it.signal(1, 3);
        it.open(1, id(2), 0);
        it.signal(1, 1);
        it.open(1, id(1), 3);
        it.signal(1, 4);
        it.open(0, id(1), 0);
        it.signal(0, 2);
        it.destroyed(1, 4);
    });
    case(Recorder::shared("on one stream the gateway's order is the order"), &|it| {
        it.created(1);
        it.signal_on_control(1, 1, Some("chat"));
        it.signal_on_control(0, 1, None);
        it.signal_on_control(1, 2, Some(""));
        it.destroyed(1, 0);
    });
    case(Recorder::new("a connection is created and destroyed once"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.created(1);
        it.signal(0, 2);
        it.destroyed(1, 2);
        it.destroyed(1, 2);
        it.created(1);
        it.open(1, id(1), 2);
        it.signal(1, 3);
    });
    case(Recorder::new("an unknown connection is destroyed"), &|it| {
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.destroyed(1, 1);
        it.signal(0, 2);
        it.end(0);
        it.destroyed(2, 0);
        it.created(3);
    });
    for seed in 0..12 {
        cases.push(random(seed));
    }
    check(
        "order.json",
        "Which events a client surfaces, and in which order. See README.md.",
        &cases,
    );
}

/// Three senders, each on several streams, which arrive in a random relative order.
fn random(seed: u64) -> Case {
    let mut random = Random(seed);
    let (signals, per_stream) = (random.below(8) as u64, 1 + random.below(3) as u64);
    let (mut lanes, _) = crate::order::tests::lanes(signals, per_stream);
    let mut recorder = Recorder::new(&format!("random program {seed}"));
    loop {
        lanes.retain(|lane| !lane.is_empty());
        if lanes.is_empty() {
            return recorder.finish();
        }
        let lane = random.below(lanes.len());
        recorder.input(lanes[lane].remove(0));
    }
}
