//! A network that fails for longer than a connection is kept, at full length.

use std::thread;

use serde_json::Value;

use super::{Heard, SENDERS, Scene, hosts::Network, joined};
use crate::Process;

/// Longer than it takes to notice, and the window (30 s by default) after that.
const SECONDS: u32 = 45;

/// Lines that each client says: one before the network fails, the last when all are back, and the
/// others in between.
const LINES: u32 = 6;

/// Twenty clients talk, by these ways to the gateway, while their network is gone for so long
/// that their connections are given up.
fn everyone_is_gone_once_and_told_so(links: &[&str], meanwhile: impl Fn(&Network)) {
    let Some(scene) = Scene::new() else { return };
    let mut bystander = scene.bystander();
    // What was not confirmed comes a second time, from the new connection.
    let mut beside = Heard { may_repeat: true, ..Heard::default() };
    let here = &scene.network.clients;
    let mut clients: Vec<_> = (0..SENDERS)
        .map(|_| joined(here.runs(scene.command("join", links).arg("--json"))))
        .collect();
    all_say(&mut clients, 1);
    beside.follow(&mut bystander, |heard| heard.all_at(1, SENDERS));

    let mut pulling = scene.network.pull(SECONDS).spawn().unwrap();
    // Some of it may get through still.
    for line in 2..LINES {
        all_say(&mut clients, line);
    }
    meanwhile(&scene.network);
    assert!(pulling.wait().unwrap().success());

    beside.follow(&mut bystander, |heard| heard.events("connectionCreated") == 2 * SENDERS);
    all_say(&mut clients, LINES);
    beside.follow(&mut bystander, |heard| heard.all_at(LINES, SENDERS));
    let created = ids(&beside.others, "connectionCreated", "/connection/id");
    let (before, after) = created.split_at(SENDERS);
    let mut gone = ids(&beside.others, "connectionDestroyed", "/id");
    gone.sort();
    let mut expected = before.to_vec();
    expected.sort();
    assert_eq!(gone, expected, "everyone went once");
    for event in &beside.others {
        assert!(event["reason"].is_null() || event["reason"] == "networkDisconnected", "{event}");
    }
    let mut back: Vec<_> = clients.iter_mut().map(told).collect();
    back.sort();
    let mut expected = after.to_vec();
    expected.sort();
    assert_eq!(back, expected, "and is somebody new");
}

fn all_say(clients: &mut [Process], line: u32) {
    for (index, client) in clients.iter_mut().enumerate() {
        client.type_line(&format!("client{index} {line}"));
    }
}

/// The ids in events of one kind, in the order in which they came.
fn ids(events: &[Value], kind: &str, place: &str) -> Vec<String> {
    let events = events.iter().filter(|event| event["event"] == kind);
    events.map(|event| event.pointer(place).unwrap().as_str().unwrap().to_owned()).collect()
}

/// Reads what a client was told of its own session, up to the last line: that it was away, and
/// that it is in it anew, each once. Returns its new id.
fn told(client: &mut Process) -> String {
    let last = format!(" {LINES}");
    let mut told = Vec::new();
    loop {
        let event = client.event();
        if event["data"].as_str().is_some_and(|data| data.ends_with(&last)) {
            break;
        }
        if event["event"].as_str().unwrap().starts_with("session") {
            told.push(event);
        }
    }
    let kinds: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sessionReconnecting", "sessionRejoined"]);
    ids(&told, "sessionRejoined", "/connection/id").remove(0)
}

/// All ways at once: most of the time nothing happens.
#[test]
fn who_is_away_for_longer_than_the_window_is_gone_once_and_told_so() {
    thread::scope(|scope| {
        scope.spawn(|| everyone_is_gone_once_and_told_so(&["quic"], |_| {}));
        scope.spawn(|| everyone_is_gone_once_and_told_so(&["wss"], |_| {}));
        scope.spawn(|| {
            // They went by QUIC and have to come back by WebSocket.
            everyone_is_gone_once_and_told_so(&["quic", "wss"], |network| {
                assert!(network.block("udp").status().unwrap().success());
            });
        });
    });
}
