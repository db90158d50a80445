//! Properties of the codecs that no list of examples shows.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use proptest::prelude::*;
use signalbox_protocol::{
    ClientMessage, ConnectionId, GatewayMessage, GatewayStream, SenderMessage, Signal, binary,
    frame::{self, FrameBuffer},
    json,
    message::{ReceivedSignal, SendSignal},
};

fn connection_id() -> impl Strategy<Value = ConnectionId> {
    any::<[u8; 16]>().prop_map(ConnectionId::from_bytes)
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
        from in prop::option::of(connection_id()), seq: u64, signal_type in text(), data in text(),
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

#[test]
fn messages_of_a_newer_peer_are_skipped() {
    assert_eq!(binary::decode::<ClientMessage>(&[200, 1, 9, 9, 9]), Ok(None));
    assert_eq!(json::decode::<ClientMessage>(r#"{"wave":{"hand":"left"}}"#).unwrap(), None);
    // A member that a newer client adds is ignored.
    assert!(
        json::decode::<ClientMessage>(r#"{"signal":{"data":"x","color":1}}"#).unwrap().is_some()
    );
}

#[test]
fn what_is_no_message_is_an_error() {
    use binary::DecodeError::{Malformed, TrailingBytes};
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
    ] {
        assert!(json::decode::<ClientMessage>(text).is_err(), "{text}");
    }
}

#[test]
fn errors_do_not_quote_what_they_are_about() {
    for text in [r#"{"signal":{"to":"hush"}}"#, r#"{"hello":{"token":"a","presence":"hush"}}"#] {
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
