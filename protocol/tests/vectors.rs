//! The golden vectors: what every implementation, in any language, must write and read.
//!
//! `vectors/messages.json` is compared byte for byte. After a deliberate addition, write it again
//! with `UPDATE_VECTORS=1 cargo test -p signalbox-protocol --test vectors` and read the diff:
//! a line that changed, rather than being added, breaks every deployed client.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signalbox_protocol::{
    ClientMessage, ClientStream, CloseReason, ConnectionId, ConnectionInfo, DisconnectReason,
    ErrorCode, Feature, Features, GatewayId, GatewayMessage, GatewayStream, Role, Sender,
    SenderMessage, SessionId, Streams, binary, frame, json,
    message::{
        Cursor, Hello, Limits, Lost, ReceivedSignal, Resume, SendSignal, SequencedSignal, Ticket,
        Welcome,
    },
};

/// One line of the file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vector {
    name: String,
    /// The message's enum: client, gateway, sender, clientStream, gatewayStream.
    kind: String,
    /// The postcard message, without length prefix.
    hex: String,
    /// The frame: the same with its length prefix.
    frame: String,
    json: Value,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/messages.json")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a message both ways, and checks that what was written reads as the same message.
macro_rules! vector {
    ($name:expr, $kind:expr, $type:ident, $message:expr $(,)?) => {{
        let message = $message;
        let bytes = binary::encode(&message);
        let text = json::encode(&message);
        assert_eq!(binary::decode::<$type>(&bytes).unwrap().as_ref(), Some(&message));
        assert_eq!(json::decode::<$type>(&text).unwrap().as_ref(), Some(&message));
        Vector {
            name: $name.into(),
            kind: $kind.into(),
            hex: hex(&bytes),
            frame: hex(&frame::encode(&message)),
            json: serde_json::from_str(&text).unwrap(),
        }
    }};
}

fn vectors() -> Vec<Vector> {
    let alice = ConnectionId::from_bytes([
        0x0b, 0x2f, 0x6a, 0x7e, 0x54, 0xc1, 0x4d, 0x0a, 0x9a, 0x39, 0x1c, 0x4d, 0xca, 0x4d, 0x9f,
        0x10,
    ]);
    let gateway: GatewayId = "gw-1".parse().unwrap();
    let servers = Sender::Server(gateway);
    let bob = ConnectionId::from_bytes([
        0xf4, 0x7a, 0xc1, 0x0b, 0x58, 0xcc, 0x43, 0x72, 0xa5, 0x67, 0x0e, 0x02, 0xb2, 0xc3, 0xd4,
        0x79,
    ]);
    let info = |id, created_at, data: &str| ConnectionInfo { id, created_at, data: data.into() };
    let session: SessionId =
        "1_MX4xMjM0NTY3OH5-MTc5NTUwMDAwMDAwMH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg".parse().unwrap();
    let send = |to, signal_type: Option<&'static str>, data: Option<&'static str>| SendSignal {
        to,
        signal_type: signal_type.map(Into::into),
        data: data.map(Into::into),
    };
    vec![
        vector!(
            "hello with defaults",
            "client",
            ClientMessage,
            ClientMessage::Hello(Hello {
                token: "abc.def.ghi".into(),
                features: Features::default(),
                streams: Streams::PerSender,
                agent: None,
            }),
        ),
        vector!(
            "hello with all features, all on one stream, with a name",
            "client",
            ClientMessage,
            ClientMessage::Hello(Hello {
                token: "abc.def.ghi".into(),
                features: Feature::ALL.into_iter().collect(),
                streams: Streams::Single,
                agent: Some("robot/1.0".into()),
            }),
        ),
        vector!(
            "ping to all",
            "client",
            ClientMessage,
            ClientMessage::Signal(send(None, None, None))
        ),
        vector!(
            "signal to all",
            "client",
            ClientMessage,
            ClientMessage::Signal(send(None, Some("chat"), Some("hello")))
        ),
        vector!(
            "signal to one",
            "client",
            ClientMessage,
            ClientMessage::Signal(send(Some(bob), Some("chat"), Some("hello")))
        ),
        vector!(
            "signal with data of several bytes a character",
            "client",
            ClientMessage,
            ClientMessage::Signal(send(None, None, Some("grüße 🚦")))
        ),
        vector!(
            "signal with empty type and data",
            "client",
            ClientMessage,
            ClientMessage::Signal(send(None, Some(""), Some("")))
        ),
        vector!(
            "forceDisconnect",
            "client",
            ClientMessage,
            ClientMessage::ForceDisconnect { id: bob }
        ),
        vector!(
            "goodbye before any signal",
            "client",
            ClientMessage,
            ClientMessage::Goodbye { signals: 0 }
        ),
        vector!(
            "goodbye after 300 signals",
            "client",
            ClientMessage,
            ClientMessage::Goodbye { signals: 300 }
        ),
        vector!(
            "welcome",
            "gateway",
            GatewayMessage,
            GatewayMessage::Welcome(Welcome {
                connection: info(alice, 1_795_500_000_000, "name=alice"),
                session: session.clone(),
                role: Role::Publisher,
                limits: Limits {
                    type_bytes: 128,
                    data_bytes: 8192,
                    signals_per_second: 0,
                    idle_timeout_ms: 30_000,
                },
                features: Features::NONE.with(Feature::Presence, true),
                present: 1,
                gateways: vec![],
            }),
        ),
        vector!(
            "welcome with other gateways",
            "gateway",
            GatewayMessage,
            GatewayMessage::Welcome(Welcome {
                connection: info(bob, 1_795_500_001_000, ""),
                session,
                role: Role::Subscriber,
                limits: Limits {
                    type_bytes: 128,
                    data_bytes: 8192,
                    signals_per_second: 100,
                    idle_timeout_ms: 30_000,
                },
                features: Features::NONE,
                present: 0,
                gateways: vec!["quic://gw-2.example".into(), "https://gw-3.example:443".into()],
            }),
        ),
        vector!(
            "present",
            "gateway",
            GatewayMessage,
            GatewayMessage::Present { connections: vec![info(bob, 1_795_499_999_000, "")] },
        ),
        vector!(
            "connectionCreated",
            "gateway",
            GatewayMessage,
            GatewayMessage::ConnectionCreated(info(bob, 1_795_500_001_000, "{\"name\":\"bob\"}")),
        ),
        vector!(
            "connectionDestroyed",
            "gateway",
            GatewayMessage,
            GatewayMessage::ConnectionDestroyed {
                id: bob,
                reason: DisconnectReason::NetworkDisconnected,
                last_seq: 0,
            },
        ),
        vector!(
            "connectionDestroyed after signals on a stream of its own",
            "gateway",
            GatewayMessage,
            GatewayMessage::ConnectionDestroyed {
                id: bob,
                reason: DisconnectReason::ClientDisconnected,
                last_seq: 129,
            },
        ),
        vector!(
            "signal from a connection",
            "gateway",
            GatewayMessage,
            GatewayMessage::Signal(ReceivedSignal {
                from: bob.into(),
                seq: 1,
                signal_type: Some("chat".into()),
                data: Some("hello".into()),
            }),
        ),
        vector!(
            "signal from a server",
            "gateway",
            GatewayMessage,
            GatewayMessage::Signal(ReceivedSignal {
                from: servers.clone(),
                seq: 70_000,
                signal_type: None,
                data: Some("maintenance at noon".into()),
            }),
        ),
        vector!(
            "error about a signal",
            "gateway",
            GatewayMessage,
            GatewayMessage::Error {
                signal: Some(3),
                code: ErrorCode::NotFound,
                message: "not connected".into(),
            },
        ),
        vector!(
            "error about something else",
            "gateway",
            GatewayMessage,
            GatewayMessage::Error {
                signal: None,
                code: ErrorCode::Forbidden,
                message: "moderators only".into(),
            },
        ),
        vector!(
            "bye",
            "gateway",
            GatewayMessage,
            GatewayMessage::Bye {
                reason: CloseReason::SlowConsumer,
                message: "too slow".into(),
                streams: 130
            },
        ),
        vector!(
            "header of a client's stream",
            "clientStream",
            ClientStream,
            ClientStream::Signals {}
        ),
        vector!(
            "header of a sender's first stream",
            "gatewayStream",
            GatewayStream,
            GatewayStream::Sender { from: bob.into(), after: 0 },
        ),
        vector!(
            "header of a sender's later stream",
            "gatewayStream",
            GatewayStream,
            GatewayStream::Sender { from: bob.into(), after: 129 },
        ),
        vector!(
            "header of the servers' stream",
            "gatewayStream",
            GatewayStream,
            GatewayStream::Sender { from: servers.clone(), after: 0 },
        ),
        vector!(
            "signal on a sender's stream",
            "sender",
            SenderMessage,
            SenderMessage::Signal(SequencedSignal {
                seq: 130,
                signal_type: Some("chat".into()),
                data: Some("hello".into()),
            }),
        ),
        vector!(
            "another sender on a sender's stream",
            "sender",
            SenderMessage,
            SenderMessage::Sender { from: bob.into(), after: 7 },
        ),
        vector!("ticketStored", "client", ClientMessage, ClientMessage::TicketStored {}),
        vector!("heartbeat", "client", ClientMessage, ClientMessage::Heartbeat {}),
        vector!(
            "heartbeat of the gateway",
            "gateway",
            GatewayMessage,
            GatewayMessage::Heartbeat {}
        ),
        vector!(
            "resume with defaults",
            "client",
            ClientMessage,
            ClientMessage::Resume(Resume {
                ticket: "Zm9v-_".into(),
                attempt: 1,
                streams: Streams::PerSender,
                events: 3,
                accepted: 0,
                cursors: vec![],
                more: false,
                agent: None,
            }),
        ),
        vector!(
            "resume in full",
            "client",
            ClientMessage,
            ClientMessage::Resume(Resume {
                ticket: "Zm9v-_".into(),
                attempt: 2,
                streams: Streams::Single,
                events: 300,
                accepted: 129,
                cursors: vec![
                    Cursor { from: bob.into(), seq: 129 },
                    Cursor { from: servers.clone(), seq: 1 },
                ],
                more: true,
                agent: Some("test/1".into()),
            }),
        ),
        vector!(
            "cursors",
            "client",
            ClientMessage,
            ClientMessage::Cursors {
                cursors: vec![Cursor { from: alice.into(), seq: 7 }],
                more: false
            },
        ),
        vector!(
            "ticket",
            "gateway",
            GatewayMessage,
            GatewayMessage::Ticket(Ticket { ticket: "Zm9v-_".into(), window_ms: 30_000 }),
        ),
        vector!(
            "resumed",
            "gateway",
            GatewayMessage,
            GatewayMessage::Resumed {
                ticket: Ticket { ticket: "YmFy-_".into(), window_ms: 30_000 },
                signals: 129,
                missed: 3,
            },
        ),
        vector!(
            "gap of signals",
            "gateway",
            GatewayMessage,
            GatewayMessage::Gap {
                lost: vec![
                    Lost { from: bob.into(), after: 129, until: 140 },
                    Lost { from: servers.clone(), after: 0, until: 2 },
                ],
                presence: false,
                present: 0,
            },
        ),
        vector!(
            "gap of presence",
            "gateway",
            GatewayMessage,
            GatewayMessage::Gap { lost: vec![], presence: true, present: 12 },
        ),
        vector!("accepted", "gateway", GatewayMessage, GatewayMessage::Accepted { signals: 300 }),
        vector!("goAway", "gateway", GatewayMessage, GatewayMessage::GoAway { within_ms: 3000 }),
    ]
}

#[test]
fn vectors_are_as_committed() {
    let vectors = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let mut text = serde_json::to_string_pretty(&vectors).unwrap();
        text.push('\n');
        fs::write(path(), text).unwrap();
    }
    let committed: Vec<Vector> =
        serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap();
    for (ours, golden) in vectors.iter().zip(&committed) {
        assert_eq!(ours, golden);
    }
    assert_eq!(vectors.len(), committed.len());
}

/// Every place in a value, as a JSON pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), out));
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, value)| places(value, &format!("{at}/{index}"), out)),
        _ => {}
    }
}

fn is_read(kind: &str, text: &str) -> bool {
    match kind {
        "client" => json::decode::<ClientMessage>(text).is_ok(),
        "gateway" => json::decode::<GatewayMessage>(text).is_ok(),
        "clientStream" => json::decode::<ClientStream>(text).is_ok(),
        "gatewayStream" => json::decode::<GatewayStream>(text).is_ok(),
        "sender" => json::decode::<SenderMessage>(text).is_ok(),
        _ => panic!("{kind}"),
    }
}

#[test]
fn every_object_of_every_message_is_an_object_with_each_member_once() {
    for Vector { name, kind, json, .. } in vectors() {
        let mut all = Vec::new();
        places(&json, "", &mut all);
        for place in all {
            let Value::Object(members) = json.pointer(&place).unwrap() else { continue };
            // The values of the members in their order, as serde takes them for a struct.
            let mut changed = json.clone();
            *changed.pointer_mut(&place).unwrap() = members.values().cloned().collect();
            assert!(!is_read(&kind, &changed.to_string()), "{name}: an array at {place:?}");

            for (member, value) in members {
                // No map of serde's holds a member twice, so it is put in as text.
                let mut changed = json.clone();
                *changed.pointer_mut(&place).unwrap() = "HERE".into();
                let mut object = json.pointer(&place).unwrap().to_string();
                object.insert_str(1, &format!("{}:{value},", Value::from(&member[..])));
                let text = changed.to_string().replace("\"HERE\"", &object);
                assert!(!is_read(&kind, &text), "{name}: {member} twice at {place:?}");
            }
        }
    }
}

#[test]
fn names_of_enums_and_codes_are_strings() {
    const NAMED: &[&str] = &["streams", "role", "reason", "code"];
    let mut seen = 0;
    for Vector { name, kind, json, .. } in vectors() {
        let mut all = Vec::new();
        places(&json, "", &mut all);
        for place in all {
            let Some(Value::String(text)) = json.pointer(&place) else { continue };
            let member = place.rsplit('/').next().unwrap();
            if !NAMED.contains(&member) {
                continue;
            }
            seen += 1;
            for other in [serde_json::json!({ text: null }), 0.into(), Value::Null] {
                let mut changed = json.clone();
                *changed.pointer_mut(&place).unwrap() = other;
                assert!(!is_read(&kind, &changed.to_string()), "{name}: {changed}");
            }
        }
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn a_short_signal_costs_few_bytes() {
    let signal = SenderMessage::Signal(SequencedSignal {
        seq: 1000,
        signal_type: None,
        data: Some("x".repeat(32).into()),
    });
    assert!(frame::encode(&signal).len() <= 40, "32 bytes of data, at most 8 around them");
}
