//! Frames to clients, byte for byte.
//!
//! `vectors/frames.json` is compared with what the crate writes now. After an addition, write it again
//! with `UPDATE_VECTORS=1 cargo test -p signalbox-opentok --test vectors`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its answer")]

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use signalbox_opentok::{Receipt, frame::Frame, message};
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, DisconnectReason, Role, Sender, SessionId, Signal,
};

/// A frame: its bytes, and what is in them.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vector {
    name: String,
    hex: String,
    kind: u8,
    headers: Vec<(String, String)>,
    body: String,
}

fn vector(name: &str, bytes: &[u8]) -> Vector {
    let frame = Frame::decode(bytes).unwrap();
    assert_eq!(frame.addresses().count(), 0);
    Vector {
        name: name.to_owned(),
        hex: hex::encode(bytes),
        kind: frame.kind.number(),
        headers: frame.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: frame.body.to_owned(),
    }
}

fn vectors() -> Vec<Vector> {
    let session: SessionId =
        "2_MX4xMjM0NTY3OH5-MTc5NTUwMzI4OTU3MH5BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUF-fg".parse().unwrap();
    let id = ConnectionId::from_bytes([0x11; 16]);
    let data = "name=alice \u{1f6a6} \"quoted\"".to_owned();
    let info = ConnectionInfo { id, created_at: 1_795_503_289_570, data };
    let (epoch, number) = (7, 3);
    let created = Receipt::Created { epoch, number, id };
    let destroyed = Receipt::Destroyed { epoch, number: 4, id };
    let server = Sender::Server("gw.1".parse().unwrap());
    let signal =
        |from: &Sender, seq, signal: Signal<'_>| message::signal(&session, from, seq, &signal);
    vec![
        vector("pong", &message::pong()),
        vector("request accepted", &message::accepted("t1")),
        vector("request refused", &message::refused("t1", 404, "gone")),
        vector("joined", &message::joined("t1")),
        vector(
            "the client's own connection was created",
            &message::created(&session, None, &info, message::permissions(Role::Moderator)),
        ),
        vector("a connection was created", &message::created(&session, Some(&created), &info, &[])),
        vector(
            "a connection was destroyed",
            &message::deleted(&session, Some(&destroyed), id, DisconnectReason::ForceDisconnected),
        ),
        vector(
            "the client's own connection was destroyed",
            &message::deleted(&session, None, id, DisconnectReason::NetworkDisconnected),
        ),
        vector(
            "a signal of a connection",
            &signal(&id.into(), 5, Signal::new(Some("chat"), Some("hello \u{e9} \"you\""))),
        ),
        vector("a ping of a connection", &signal(&id.into(), 6, Signal::default())),
        vector("a signal of a server", &signal(&server, 1, Signal::new(Some(""), Some("")))),
    ]
}

#[test]
fn frames_are_as_in_the_vectors() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/frames.json");
    let now = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let recorded: Vec<Vector> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(recorded, now);
}

/// Known bytes, which no change of the vectors may change.
#[test]
fn short_frames_have_known_bytes() {
    assert_eq!(hex::encode(message::pong()), "000000050000080000");
    let accepted = "00000026 0000 09 00 02 000e 5452414e53414354494f4e2d4944 0002 7431 0006 535441545553 0003 323030";
    assert_eq!(hex::encode(message::accepted("t1")), accepted.replace(' ', ""));
    let refused = "00000037 0000 09 00 02 000e 5452414e53414354494f4e2d4944 0002 7431 0006 535441545553 0003 343034 \
                   7b22726561736f6e223a22676f6e65227d";
    assert_eq!(hex::encode(message::refused("t1", 404, "gone")), refused.replace(' ', ""));
}
