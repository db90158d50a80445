//! Other systems, each with three clients. A system that is not installed is ignored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

use std::{process::ExitCode, sync::Arc, time::Duration};

use signalbox_loadgen::{
    client::{Address, Arrived},
    peer::{Peer, PeerKind},
    process::ProcessDir,
};
use signalbox_test_harness::{Requirement, run};
use tokio::{sync::mpsc, time::timeout};

/// The longest duration of a test.
const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! peers {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        vec![$(
            Requirement { name: "peers", unavailable: || missing(PeerKind::$kind) }
                .trial(stringify!($name), || check(PeerKind::$kind))
        ),+]
    };
}

fn main() -> ExitCode {
    run(peers![nats: Nats, mosquitto: Mosquitto, socket_io: SocketIo, uws: Uws, ws: Ws])
}

/// The reason that a system cannot be tested here.
fn missing(kind: PeerKind) -> Option<String> {
    Peer::find(kind).err().map(|error| format!("{error:#}"))
}

fn check(kind: PeerKind) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, delivers_to_all_and_to_one(kind)).await }).unwrap();
}

/// All clients receive a message to all, the sender included; a message to one, that one alone.
async fn delivers_to_all_and_to_one(kind: PeerKind) {
    let dir = tempfile::tempdir().unwrap();
    let directory =
        ProcessDir::new(dir.path().join("peer"), &dir.path().join("dev"), None).unwrap();
    let peer = Peer::find(kind).unwrap().start(&directory).await.unwrap();
    let target = peer.target();
    let (sink, mut received) = mpsc::channel(16);
    let mut senders = Vec::new();
    for number in 0..3 {
        let client = target.join(number).await.unwrap();
        let sink = sink.clone();
        let on_message = Arc::new(move |heard: Arrived<'_>| {
            Ok(sink.try_send((number, heard.signal()?.to_owned()))?)
        });
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
