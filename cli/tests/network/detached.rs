//! A failure that outlasts the default resume window, at full length.

use std::{thread, time::Duration};

use serde_json::Value;

use crate::{
    scene::{Received, SENDERS, Scene},
    support::Process,
};

/// More than the time to detect the loss and the window (30 s by default) together.
const FAILURE: Duration = Duration::from_secs(38);

/// Lines of each client: one before the network fails, the last when all have rejoined, and the
/// others in between.
const LINES: u32 = 6;

/// Twenty clients talk over these transports while their network fails. The failure outlasts the
/// resume window, so their connections are destroyed.
fn connections_are_destroyed_and_rejoin(schemes: &[&str], meanwhile: impl Fn(&Scene)) {
    let scene = Scene::new();
    let mut bystander = scene.bystander();
    // What was not confirmed is sent again by the new connection.
    let mut near = Received::default();
    near.may_repeat = true;
    let mut clients: Vec<_> = (0..SENDERS).map(|_| scene.join(schemes)).collect();
    send_line(&mut clients, 1);
    near.read_until(&mut bystander, |received| received.all_at(1));

    thread::scope(|scope| {
        let failure = scope.spawn(|| scene.network.unplug_client(FAILURE));
        // Some of them may still get through.
        for line in 2..LINES {
            send_line(&mut clients, line);
        }
        meanwhile(&scene);
        failure.join().unwrap().unwrap();
    });

    near.read_until(&mut bystander, |received| received.events("connectionCreated") == 2 * SENDERS);
    send_line(&mut clients, LINES);
    near.read_until(&mut bystander, |received| received.all_at(LINES));
    let created = ids(&near.others, "connectionCreated", "/connection/id");
    let (before, after) = created.split_at(SENDERS);
    let destroyed = ids(&near.others, "connectionDestroyed", "/id");
    assert_eq!(sorted(destroyed), sorted(before.to_vec()), "each was destroyed once");
    for event in &near.others {
        assert!(event["reason"].is_null() || event["reason"] == "networkDisconnected", "{event}");
    }
    let rejoined = clients.iter_mut().map(rejoined_as).collect();
    assert_eq!(sorted(rejoined), sorted(after.to_vec()), "each rejoined with a new id");
}

fn send_line(clients: &mut [Process], line: u32) {
    for (index, client) in clients.iter_mut().enumerate() {
        client.type_line(&format!("client{index} {line}"));
    }
}

/// The ids in events of one kind, in the order of the events.
fn ids(events: &[Value], kind: &str, pointer: &str) -> Vec<String> {
    let events = events.iter().filter(|event| event["event"] == kind);
    events.map(|event| event.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

/// Reads a client's events up to the last line. Its own session must have reconnected and rejoined,
/// each once. Returns its new id.
fn rejoined_as(client: &mut Process) -> String {
    let last = format!(" {LINES}");
    let mut own = Vec::new();
    loop {
        let event = client.event();
        if event["data"].as_str().is_some_and(|data| data.ends_with(&last)) {
            break;
        }
        if event["event"].as_str().unwrap().starts_with("session") {
            own.push(event);
        }
    }
    let kinds: Vec<_> = own.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sessionReconnecting", "sessionRejoined"]);
    ids(&own, "sessionRejoined", "/connection/id").remove(0)
}

/// All transports at once, as most of the time nothing happens.
pub(crate) fn connections_of_a_long_failure_are_destroyed_once_and_rejoin() {
    thread::scope(|scope| {
        scope.spawn(|| connections_are_destroyed_and_rejoin(&["quic"], |_| {}));
        scope.spawn(|| connections_are_destroyed_and_rejoin(&["wss"], |_| {}));
        scope.spawn(|| {
            // They joined over QUIC and have to rejoin over WebSocket.
            connections_are_destroyed_and_rejoin(&["quic", "wss"], |scene| scene.block("udp"));
        });
    });
}
