//! In every relative order of streams, the application receives events in one order.

use proptest::prelude::*;
use signalbox_protocol::{Feature, GatewayId, Role, message::Limits};

use super::*;

pub(crate) fn id(n: u8) -> ConnectionId {
    ConnectionId::from_bytes([n; 16])
}

pub(crate) fn info(n: u8) -> ConnectionInfo {
    ConnectionInfo { id: id(n), created_at: 0, data: String::new() }
}

/// The welcome of a session with `present` others.
pub(crate) fn welcome(present: u32) -> Welcome {
    Welcome {
        connection: info(0),
        session: "1_MX4xMjM0NTY3OH5-MTc5NTUwMDAwMDAwMH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg"
            .parse()
            .unwrap(),
        role: Role::Publisher,
        limits: Limits {
            type_bytes: 128,
            data_bytes: 8192,
            signals_per_second: 0,
            idle_timeout_ms: 0,
        },
        features: Feature::ALL.into_iter().collect(),
        present,
        gateways: Vec::new(),
    }
}

pub(crate) fn order(presence: bool) -> Order {
    order_among(0, presence)
}

/// The order of a client that joins a session with `present` others.
pub(crate) fn order_among(present: u32, presence: bool) -> Order {
    let mut order = Order::new(&welcome(present), presence);
    assert!(matches!(order.next_event(), Some(Event::SessionConnected { .. })));
    order
}

/// Events in short: `+1` created, `-1` destroyed, `1:7` signal 7 of 1, `s:7` of a server.
pub(crate) fn told(order: &mut Order) -> Vec<String> {
    std::iter::from_fn(|| order.next_event())
        .map(|event| match event {
            Event::ConnectionCreated(info) => format!("+{}", info.id.as_bytes()[0]),
            Event::ConnectionDestroyed { id, .. } => format!("-{}", id.as_bytes()[0]),
            Event::Signal { from: Sender::Connection(id), seq, .. } => {
                format!("{}:{seq}", id.as_bytes()[0])
            }
            Event::Signal { from: Sender::Server(_), seq, .. } => format!("s:{seq}"),
            Event::SessionReconnected { gap: None, .. } => "back".to_owned(),
            Event::SessionReconnected { gap: Some(Gap { lost, presence }), .. } => {
                let lost = lost.iter().map(|Lost { from, after, until }| {
                    format!("{}:{after}-{until}", from.connection().unwrap().as_bytes()[0])
                });
                let presence = presence.then(|| "and presence".to_owned());
                let all: Vec<_> = lost.chain(presence).collect();
                format!("back, lost {}", all.join(" "))
            }
            other => format!("{other:?}"),
        })
        .collect()
}

pub(crate) fn created(n: u8) -> GatewayMessage<'static> {
    GatewayMessage::ConnectionCreated(info(n))
}

pub(crate) fn destroyed(n: u8, last_seq: u64) -> GatewayMessage<'static> {
    let reason = DisconnectReason::ClientDisconnected;
    GatewayMessage::ConnectionDestroyed { id: id(n), reason, last_seq }
}

#[test]
fn signals_wait_for_their_sender_to_be_created() {
    let mut order = order(true);
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    assert!(order.is_held(0));
    assert_eq!(told(&mut order), [""; 0]);
    order.control(created(1)).unwrap();
    assert!(!order.is_held(0));
    order.signal(0, 2, Signal::default());
    assert_eq!(told(&mut order), ["+1", "1:1", "1:2"]);
}

#[test]
fn servers_the_client_itself_and_senders_without_presence_need_no_created() {
    let mut first = order(true);
    first.open(0, GatewayId::default().into(), 0);
    first.signal(0, 1, Signal::default());
    first.open(1, id(0).into(), 0);
    first.signal(1, 1, Signal::default());
    assert_eq!(told(&mut first), ["s:1", "0:1"]);
    let mut second = order(false);
    second.open(0, id(1).into(), 0);
    second.signal(0, 1, Signal::default());
    assert_eq!(told(&mut second), ["1:1"]);
}

#[test]
fn created_and_destroyed_surface_once() {
    let mut order = order(true);
    for message in [created(1), created(1), destroyed(1, 0), destroyed(1, 0)] {
        order.control(message).unwrap();
    }
    assert_eq!(told(&mut order), ["+1", "-1"]);
    assert_eq!(order.link_lost(0).unwrap().events, 4);
}

#[test]
fn the_end_of_an_unknown_connection_drops_its_signals() {
    let mut order = order(true);
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    assert!(order.is_held(0));
    order.control(destroyed(1, 1)).unwrap();
    assert!(!order.is_held(0));
    order.signal(0, 2, Signal::default());
    assert_eq!(told(&mut order), [""; 0]);
}

#[test]
fn destroyed_waits_for_the_last_signal() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(destroyed(1, 2)).unwrap();
    assert_eq!(told(&mut order), ["+1"]);
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    order.signal(0, 2, Signal::default());
    order.end(0, false);
    assert_eq!(told(&mut order), ["1:1", "1:2", "-1"]);
    assert!(order.senders.is_empty() && order.streams.is_empty());
}

#[test]
fn destroyed_does_not_wait_for_a_stream_that_was_reset() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    order.control(destroyed(1, 3)).unwrap();
    order.end(0, true);
    assert_eq!(told(&mut order), ["+1", "1:1", "-1"]);
}

#[test]
fn a_later_stream_waits_for_the_earlier_one() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.open(1, id(1).into(), 2);
    order.signal(1, 3, Signal::default());
    assert_eq!(told(&mut order), ["+1"]);
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    order.end(1, false);
    assert_eq!(told(&mut order), ["1:1"]);
    order.signal(0, 2, Signal::default());
    order.end(0, false);
    assert_eq!(told(&mut order), ["1:2", "1:3"]);
    // The earlier one has ended; the next names the last of it.
    order.open(2, id(1).into(), 3);
    order.signal(2, 9, Signal::default());
    assert_eq!(told(&mut order), ["1:9"]);
}

/// The gateway's messages of three senders, each on one or more streams, and the events that a
/// client must emit in every interleaving.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Control(GatewayMessage<'static>),
    Open(StreamKey, Sender, u64),
    Signal(StreamKey, u64),
    End(StreamKey),
}

pub(crate) fn input(order: &mut Order, input: Input) {
    match input {
        Input::Control(message) => order.control(message).unwrap(),
        Input::Open(key, from, after) => order.open(key, from, after),
        Input::Signal(key, seq) => order.signal(key, seq, Signal::default()),
        Input::End(key) => order.end(key, false),
    }
}

/// The lanes that QUIC keeps in order: the control stream, and each sender's streams.
pub(crate) fn lanes(signals: u64, per_stream: u64) -> (Vec<Vec<Input>>, Vec<Vec<String>>) {
    let mut lanes = vec![Vec::new()];
    let mut expected = Vec::new();
    let mut key = 0;
    for sender in 1..=3u8 {
        let mut story = vec![format!("+{sender}")];
        lanes[0].push(Input::Control(created(sender)));
        let mut seq = 0;
        while seq < signals {
            let mut stream = vec![Input::Open(key, id(sender).into(), seq)];
            for _ in 0..per_stream.min(signals - seq) {
                seq += 1;
                story.push(format!("{sender}:{seq}"));
                stream.push(Input::Signal(key, seq));
            }
            stream.push(Input::End(key));
            key += 1;
            lanes.push(stream);
        }
        lanes[0].push(Input::Control(destroyed(sender, seq)));
        story.push(format!("-{sender}"));
        expected.push(story);
    }
    (lanes, expected)
}

proptest! {
    #[test]
    fn every_interleaving_tells_the_same_story(
        signals in 0u64..12,
        per_stream in 1u64..5,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 400),
    ) {
        let (mut lanes, expected) = lanes(signals, per_stream);
        let mut order = order(true);
        let mut picks = picks.iter().cycle();
        loop {
            lanes.retain(|lane| !lane.is_empty());
            if lanes.is_empty() {
                break;
            }
            let at = picks.next().unwrap().index(lanes.len());
            input(&mut order, lanes[at].remove(0));
        }
        let told = told(&mut order);
        for (sender, story) in (1..=3).zip(expected) {
            let about: Vec<_> = told
                .iter()
                .filter(|it| it.trim_start_matches(['+', '-']).split(':').next() == Some(&sender.to_string()))
                .cloned()
                .collect();
            prop_assert_eq!(about, story);
        }
        prop_assert!(order.senders.is_empty() && order.streams.is_empty(), "nothing is kept");
    }
}
