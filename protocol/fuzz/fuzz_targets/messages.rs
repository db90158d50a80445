//! Bytes as messages of every kind, and text as JSON: never a panic, and what is read as a
//! message is written and read again as the same one. What is read from JSON is an object with one
//! member, which is an object.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signalbox_protocol::{
    ClientMessage, ClientStream, GatewayMessage, GatewayStream, SenderMessage, SessionId, binary,
    frame, json,
};

macro_rules! round_trip {
    ($bytes:expr, $text:expr, $($message:ty),+) => {$(
        if let Ok(Some(message)) = binary::decode::<$message>($bytes) {
            let again = binary::encode(&message);
            assert_eq!(binary::decode::<$message>(&again).unwrap().as_ref(), Some(&message));
            assert_eq!(frame::message_of(&frame::encode(&message)), again);
        }
        if let Some(Ok(Some(message))) = $text.map(json::decode::<$message>) {
            let value: serde_json::Value = json::from_str($text.unwrap()).unwrap();
            let members = value.as_object().unwrap();
            assert!(members.len() == 1 && members.values().all(serde_json::Value::is_object));
            let again = json::encode(&message);
            assert_eq!(json::decode::<$message>(&again).unwrap().as_ref(), Some(&message));
        }
    )+};
}

fuzz_target!(|bytes: &[u8]| {
    let text = std::str::from_utf8(bytes).ok();
    round_trip!(
        bytes,
        text,
        ClientMessage<'_>,
        GatewayMessage<'_>,
        SenderMessage<'_>,
        ClientStream,
        GatewayStream
    );
    if let Some(text) = text {
        let _ = text.parse::<SessionId>();
    }
});
