//! Properties of the codecs that no list of examples shows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use std::{collections::HashSet, fmt};

use proptest::prelude::*;
use signalbox_protocol::{
    ClientMessage, ConnectionId, GatewayMessage, GatewayStream, Sender, SenderMessage, Signal,
    binary,
    frame::{self, FrameBuffer},
    json,
    message::{ReceivedSignal, SendSignal},
};

fn connection_id() -> impl Strategy<Value = ConnectionId> {
    any::<[u8; 16]>().prop_map(ConnectionId::from_bytes)
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![
        connection_id().prop_map(Sender::from),
        "[A-Za-z0-9._-]{1,64}".prop_map(|name| Sender::Server(name.parse().unwrap())),
    ]
}

fn text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("(?s).{0,40}")
}

proptest! {
    #[test]
    fn signals_round_trip_in_both_encodings(
        to in prop::option::of(connection_id()), signal_type in text(), data in text(),
    ) {
        let signal = Signal::new(signal_type, data);
        let message = ClientMessage::Signal(SendSignal::new(to, signal));
        let bytes = binary::encode(&message);
        prop_assert_eq!(binary::decode(&bytes), Ok(Some(message.clone())));
        let written = json::encode(&message);
        prop_assert_eq!(json::decode(&written).unwrap(), Some(message));
    }

    #[test]
    fn encodings_are_canonical(
        from in sender(), seq: u64, signal_type in text(), data in text(),
    ) {
        let message = GatewayMessage::Signal(ReceivedSignal {
            from,
            seq,
            signal_type: signal_type.map(Into::into),
            data: data.map(Into::into),
        });
        let framed = frame::encode(&message);
        prop_assert_eq!(frame::message_of(&framed), &binary::encode(&message)[..]);
        let mut buffer = FrameBuffer::new(1024);
        buffer.push(&framed);
        let decoded: GatewayMessage = binary::decode(buffer.next_frame().unwrap().unwrap()).unwrap().unwrap();
        prop_assert_eq!(frame::encode(&decoded), framed);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = binary::decode::<ClientMessage>(&bytes);
        let _ = binary::decode::<GatewayMessage>(&bytes);
        let _ = binary::decode::<SenderMessage>(&bytes);
        let _ = binary::decode::<GatewayStream>(&bytes);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = json::decode::<ClientMessage>(&text);
        let _ = json::decode::<GatewayMessage>(&text);
    }

    #[test]
    fn any_change_of_a_byte_is_a_message_or_an_error(
        signal_type in text(), data in text(), at: prop::sample::Index, byte: u8,
    ) {
        let message = ClientMessage::Signal(SendSignal::new(None, Signal::new(signal_type, data)));
        let mut bytes = binary::encode(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = binary::decode::<ClientMessage>(&bytes);
    }
}

/// A JSON text, as written: with members in their order, and maybe some of them twice.
#[derive(Debug, Clone)]
enum Written {
    Null,
    Number(u32),
    Text(String),
    Array(Vec<Self>),
    /// The name, whether it is written with escapes, and the value.
    Object(Vec<(String, bool, Self)>),
}

impl Written {
    fn is_twofold(&self) -> bool {
        match self {
            Self::Null | Self::Number(_) | Self::Text(_) => false,
            Self::Array(items) => items.iter().any(Self::is_twofold),
            Self::Object(members) => {
                let names: HashSet<_> = members.iter().map(|(name, ..)| name).collect();
                names.len() < members.len() || members.iter().any(|(.., value)| value.is_twofold())
            }
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = |index| if index == 0 { "" } else { "," };
        match self {
            Self::Null => f.write_str("null"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => serde_json::Value::from(&text[..]).fmt(f),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", separator(index))?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (index, (name, escaped, value)) in members.iter().enumerate() {
                    let name = if *escaped {
                        name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
                    } else {
                        name.clone()
                    };
                    write!(f, "{}\"{name}\":{value}", separator(index))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Few names, so that some occur twice, and now and then more than fit the reader's array.
fn written() -> impl Strategy<Value = Written> {
    let leaf = prop_oneof![
        Just(Written::Null),
        any::<u32>().prop_map(Written::Number),
        "\\PC{0,5}".prop_map(Written::Text),
    ];
    leaf.prop_recursive(4, 64, 16, |inner| {
        let member = ("[a-zé🚦]", any::<bool>(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Written::Array),
            prop::collection::vec(member.clone(), 0..4).prop_map(Written::Object),
            prop::collection::vec(member, 0..16).prop_map(Written::Object),
        ]
    })
}

proptest! {
    #[test]
    fn a_member_that_is_there_twice_is_found_wherever_it_is(written in written()) {
        let text = written.to_string();
        let read = json::from_str::<serde_json::Value>(&text);
        prop_assert_eq!(read.is_err(), written.is_twofold(), "{}", text);
        if let Ok(value) = read {
            prop_assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
        // In a member of a message that nobody knows, too, and in a kind that nobody knows.
        let inside = format!("{{\"signal\":{{\"color\":{text}}}}}");
        prop_assert_eq!(json::decode::<ClientMessage>(&inside).is_err(), written.is_twofold());
        let unknown = format!("{{\"wave\":{text}}}");
        prop_assert_eq!(json::decode::<ClientMessage>(&unknown).is_err(), written.is_twofold());
    }
}

#[test]
fn messages_of_a_newer_peer_are_skipped() {
    assert_eq!(binary::decode::<ClientMessage>(&[200, 1, 9, 9, 9]), Ok(None));
    assert_eq!(json::decode::<ClientMessage>(r#"{"wave":{"hand":"left"}}"#).unwrap(), None);
    // A member that a newer client adds is ignored.
    assert!(
        json::decode::<ClientMessage>(r#"{"signal":{"data":"x","color":1}}"#).unwrap().is_some()
    );
    let escaped =
        r#"{"signal":{"d\u0061ta":"x","color":1,"typ\u0065":"t","shap\u0065":2,"size":3}}"#;
    assert!(json::decode::<ClientMessage>(escaped).unwrap().is_some());
}

#[test]
fn an_invalid_message_is_an_error() {
    use binary::BinaryError::{Malformed, TrailingBytes};
    let binary = |bytes: &[u8]| binary::decode::<ClientMessage>(bytes).map(|_| ()).unwrap_err();
    assert_eq!(binary(&[]), Malformed);
    assert_eq!(binary(&[1]), Malformed);
    assert_eq!(binary(&[1, 0, 0, 1, 2, 0xc3, 0x28]), Malformed, "invalid UTF-8");
    assert_eq!(
        binary(&[1, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        Malformed,
        "data that is not there"
    );
    assert_eq!(binary(&[1, 0, 0, 0, 7, 7]), TrailingBytes(2));
    for text in [
        "",
        "{",
        "[]",
        "{}",
        "1",
        r#""goodbye""#,
        r#"{"signal":{"to":"abc"}}"#,
        r#"{"signal":{"data":1}}"#,
        r#"{"hello":{}}"#,
        r#"{"signal":{},"goodbye":{}}"#,
        r#"{"a":{},"b":{}}"#,
        r#"{"wave":{},"wave":{}}"#,
        r#"{"wave":{"hand":{"left":1,"left":1}}}"#,
        r#"{"wave":"\ud800"}"#,
        r#"{"signal":{},"signal":{}}"#,
        r#"{"signal":{"color":1,"color":2}}"#,
        r#"{"signal":{"color":1,"c\u006flor":2}}"#,
        r#"{"signal":{"color":[{"a":1,"a":1}]}}"#,
        r#"{"signal":{"color":"\ud800"}}"#,
        r#"{"signal":[null,"chat","hello"]}"#,
        r#"{"ticketStored":[]}"#,
        r#"{"ticketStored":null}"#,
        r#""ticketStored""#,
        r#"{"hello":{"token":"t","streams":{"single":null}}}"#,
        r#"{"hello":{"token":"t","streams":1}}"#,
        r#"{"resume":{"ticket":"t","events":0,"cursors":[[null,1]]}}"#,
        "\u{feff}{\"ticketStored\":{}}",
    ] {
        assert!(json::decode::<ClientMessage>(text).is_err(), "{text}");
    }
}

#[test]
fn errors_do_not_quote_what_they_are_about() {
    for text in [r#"{"signal":{"to":"hush"}}"#, r#"{"hello":{"token":"a","features":"hush"}}"#] {
        let error = json::decode::<ClientMessage>(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}

#[test]
fn decoding_does_not_copy_what_it_need_not() {
    let message =
        ClientMessage::Signal(SendSignal::new(None, Signal::new(Some("t"), Some("data"))));
    let bytes = binary::encode(&message);
    let Ok(Some(ClientMessage::Signal(signal))) = binary::decode(&bytes) else { panic!() };
    assert!(signal.data.is_some_and(|data| data.is_borrowed()));
    let written = json::encode(&message);
    let Ok(Some(ClientMessage::Signal(signal))) = json::decode(&written) else { panic!() };
    assert!(signal.data.is_some_and(|data| data.is_borrowed()));
}
