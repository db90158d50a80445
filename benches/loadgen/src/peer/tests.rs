//! Every installed system, with three clients.

use std::{io::Write as _, sync::Arc};

use tokio::sync::mpsc;

use super::*;
use crate::client::Address;

/// Set where every system must be installed.
const REQUIRED: &str = "SIGNALBOX_BENCH_PEERS_REQUIRED";

/// `None`, with a note, if it is not installed.
fn find(kind: PeerKind) -> Option<Peer> {
    match Peer::find(kind) {
        Ok(peer) => Some(peer),
        Err(error) => {
            assert!(std::env::var_os(REQUIRED).is_none(), "{error:#}");
            let note = format!("note: nothing was tested with {kind:?}: {error:#}\n");
            // Past the capture of test output, which would hide it.
            let _ = std::io::stderr().write_all(note.as_bytes());
            None
        }
    }
}

/// What a client says to all, all decode, itself included; what it says to one, that one alone.
async fn all_and_one(kind: PeerKind) {
    let Some(peer) = find(kind) else { return };
    let dir = tempfile::tempdir().unwrap();
    let directory =
        ProcessDir::new(dir.path().join("peer"), &dir.path().join("dev"), None).unwrap();
    let peer = peer.start(&directory).await.unwrap();
    let target = peer.target();
    let (sink, mut received) = mpsc::channel(16);
    let mut senders = Vec::new();
    for number in 0..3 {
        let client = target.join(number).await.unwrap();
        let sink = sink.clone();
        let on_message =
            Arc::new(move |data: &str| sink.try_send((number, data.to_owned())).unwrap());
        assert_eq!(client.sender.address, Address::Number(number));
        senders.push(client.sender);
        tokio::spawn(client.receiver.run(on_message));
    }
    senders[0].send(Some(Address::Number(2)), "to 2").unwrap();
    senders[0].send(Some(Address::Number(0)), "to 0").unwrap();
    senders[0].send(None, "to all").unwrap();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(received.recv().await.unwrap());
    }
    // One sender's messages stay in order, so the last one is the last for every client.
    all.sort_by_key(|(number, _)| *number);
    let expected = [(0, "to 0"), (0, "to all"), (1, "to all"), (2, "to 2"), (2, "to all")];
    assert_eq!(all, expected.map(|(number, data)| (number, data.to_owned())));
    peer.stop().unwrap();
}

/// Nothing here waits for longer.
async fn check(kind: PeerKind) {
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, all_and_one(kind)).await.unwrap();
}

#[tokio::test]
async fn nats() {
    check(PeerKind::Nats).await;
}

#[tokio::test]
async fn mosquitto() {
    check(PeerKind::Mosquitto).await;
}

#[tokio::test]
async fn socket_io() {
    check(PeerKind::SocketIo).await;
}

#[tokio::test]
async fn uws() {
    check(PeerKind::Uws).await;
}

#[tokio::test]
async fn ws() {
    check(PeerKind::Ws).await;
}
