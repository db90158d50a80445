//! The vectors of malformed and forbidden messages (`protocol/vectors/malformed.json`), given to a
//! gateway on every transport that they are for.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use signalbox_client::Role;
use signalbox_protocol::CloseReason;
use signalbox_tests::{
    World,
    raw::{Quic, WebSocket},
};
use tokio_tungstenite::tungstenite::Message;

/// Number of vectors that are tried at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug, Deserialize)]
struct Vector {
    name: String,
    reader: String,
    place: String,
    #[serde(rename = "carriers")]
    transports: Option<Vec<String>>,
    hex: Option<String>,
    json: Option<String>,
    #[serde(default)]
    fin: bool,
    reason: Option<String>,
    error: Option<String>,
}

impl Vector {
    fn bytes(&self) -> Option<Vec<u8>> {
        let hex = self.hex.as_ref()?;
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Some((0..hex.len()).step_by(2).map(byte).collect())
    }

    fn is_for(&self, transport: &str) -> bool {
        self.transports.as_ref().is_none_or(|all| all.iter().any(|it| it == transport))
    }

    fn reason(&self) -> Option<CloseReason> {
        self.reason.as_deref().map(|name| CloseReason::from_name(name).unwrap())
    }

    /// A text that the debug form of the answer contains, if there is one and the link continues.
    fn error(&self) -> Option<String> {
        let code = signalbox_protocol::ErrorCode::from_name(self.error.as_deref()?).unwrap();
        Some(format!("code: {code:?}"))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut length = message.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(message);
    out
}

async fn on_quic(world: &World, token: &str, vector: &Vector) {
    let Some(bytes) = vector.bytes().filter(|_| vector.is_for("quic")) else { return };
    let address = world.addresses().quic;
    let mut link = match vector.place.as_str() {
        "first" => Quic::connect(address).await,
        _ => Quic::join(address, token).await,
    };
    // Kept until the end, as a stream that is dropped is finished.
    let mut stream = None;
    match vector.place.as_str() {
        "first" | "control" => link.write(&framed(&bytes)).await,
        "frames" => link.write(&bytes).await,
        "header" => stream
            .insert(link.connection.open_uni().await.unwrap())
            .write_all(&framed(&bytes))
            .await
            .unwrap(),
        "signals" => stream.insert(link.signals().await).write_all(&framed(&bytes)).await.unwrap(),
        place => panic!("{place}"),
    }
    if vector.fin {
        link.control.finish().unwrap();
    }
    if let Some(error) = vector.error() {
        let answer = link.hear().await;
        assert!(answer.contains(&error), "{}: {answer}", vector.name);
    }
    if let Some(reason) = vector.reason() {
        assert_eq!(link.end().await, (Some(reason), reason), "{} on QUIC", vector.name);
    }
    drop(stream);
}

async fn on_websocket(world: &World, token: &str, vector: &Vector) {
    if !vector.is_for("websocket") || ["header", "frames"].contains(&vector.place.as_str()) {
        return;
    }
    let json = vector.json.is_some();
    let address = world.addresses().tcp;
    let mut link = match vector.place.as_str() {
        "first" => WebSocket::connect(address, json).await,
        _ => WebSocket::join(address, json, token).await,
    };
    link.write(match (vector.bytes(), &vector.json) {
        (Some(bytes), None) => Message::Binary(bytes.into()),
        (None, Some(text)) => Message::text(text.clone()),
        _ => panic!("{vector:?}"),
    })
    .await;
    if let Some(error) = vector.error() {
        let answer = link.hear().await;
        assert!(answer.contains(&error), "{}: {answer}", vector.name);
    }
    if let Some(reason) = vector.reason() {
        let reason = Some(reason);
        assert_eq!(link.end().await, (reason, reason), "{} on a WebSocket", vector.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_forbidden_messages_end_as_the_vectors_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/malformed.json");
    let vectors: Vec<Vector> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let for_gateways: Vec<_> = vectors.into_iter().filter(|it| it.reader == "gateway").collect();
    assert!(for_gateways.len() > 100, "{}", for_gateways.len());
    let world = Arc::new(World::new().await);
    let token: Arc<str> = world.token(Role::Publisher).into();
    stream::iter(for_gateways)
        .for_each_concurrent(AT_ONCE, |vector| {
            let (world, token) = (world.clone(), token.clone());
            async move {
                on_quic(&world, &token, &vector).await;
                on_websocket(&world, &token, &vector).await;
            }
        })
        .await;
    world.is_empty().await;
}
