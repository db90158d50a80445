//! Every system, as far as it is installed, with three clients.

use std::{io::Write as _, sync::Arc};

use tokio::sync::mpsc;

use super::*;
use crate::wire::Address;

/// Set where every system must be installed.
const REQUIRED: &str = "SIGNALBOX_BENCH_PEERS_REQUIRED";

/// None, and a word about it, if it is not installed.
fn find(kind: Kind) -> Option<Peer> {
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

/// What a client says to all, all hear, itself included; what it says to one, that one alone.
async fn all_and_one(kind: Kind) {
    let Some(peer) = find(kind) else { return };
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path().join("peer"), &dir.path().join("dev"), None).unwrap();
    let peer = peer.start(&place).await.unwrap();
    let room = peer.room();
    let (heard, mut hearing) = mpsc::channel(16);
    let mut speakers = Vec::new();
    for number in 0..3 {
        let client = room.join(number).await.unwrap();
        let heard = heard.clone();
        let ear = Arc::new(move |data: &str| heard.try_send((number, data.to_owned())).unwrap());
        assert_eq!(client.speaker.address, Address::Number(number));
        speakers.push(client.speaker);
        tokio::spawn(client.listener.run(ear));
    }
    speakers[0].say(Some(Address::Number(2)), "to 2").unwrap();
    speakers[0].say(Some(Address::Number(0)), "to 0").unwrap();
    speakers[0].say(None, "to all").unwrap();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(hearing.recv().await.unwrap());
    }
    // One sender's messages stay in order, so that whoever has the last one has all.
    all.sort_by_key(|(number, _)| *number);
    let expected = [(0, "to 0"), (0, "to all"), (1, "to all"), (2, "to 2"), (2, "to all")];
    assert_eq!(all, expected.map(|(number, data)| (number, data.to_owned())));
    peer.stop().unwrap();
}

/// Nothing here waits for longer.
async fn check(kind: Kind) {
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, all_and_one(kind)).await.unwrap();
}

#[tokio::test]
async fn nats() {
    check(Kind::Nats).await;
}

#[tokio::test]
async fn mosquitto() {
    check(Kind::Mosquitto).await;
}

#[tokio::test]
async fn socket_io() {
    check(Kind::SocketIo).await;
}

#[tokio::test]
async fn uws() {
    check(Kind::Uws).await;
}

#[tokio::test]
async fn ws() {
    check(Kind::Ws).await;
}
