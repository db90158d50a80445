//! Failures that are shorter than the resume window, and one that is a little longer.

use std::time::Duration;

use crate::{
    scene::{Received, SENDERS, Scene, start},
    support::Process,
};

const LINES: u32 = 60;

type Failure = fn(&Scene);

/// Twenty clients send and one receives over these transports while their network fails.
fn nothing_is_lost(schemes: &[&str], failures: &[Failure]) {
    let scene = Scene::new();
    let mut bystander = scene.bystander();
    let mut receiver = scene.join(schemes);
    let mut senders: Vec<Process> = (0..SENDERS)
        .map(|_| {
            let mut send = scene.command("send", schemes);
            start(scene.network.client(), send.args(["--stdin", "--rate", "10"]))
        })
        .collect();
    for line in 1..=LINES {
        for (index, sender) in senders.iter_mut().enumerate() {
            sender.type_line(&format!("sender{index} {line}"));
        }
    }
    let (mut near, mut far) = (Received::default(), Received::default());
    for (number, failure) in (1..).zip(failures) {
        // Every sender has got through since the last failure.
        far.read_until(&mut receiver, |received| received.all_at(number * 10));
        failure(&scene);
    }
    near.read_until(&mut bystander, |received| received.all_at(LINES));
    far.read_until(&mut receiver, |received| received.all_at(LINES));
    assert_eq!(near.events("connectionDestroyed"), 0, "nobody noticed");
    assert_eq!(near.events("connectionCreated"), SENDERS + 1);
    assert_eq!(far.events("gap") + far.events("sessionRejoined"), 0);
    assert_eq!(far.events("sessionReconnected"), failures.len(), "the network really failed");
    for sender in senders {
        assert!(sender.succeeds());
    }
}

fn unplug(scene: &Scene) {
    scene.network.unplug_client(Duration::from_secs(5)).unwrap();
}

pub(crate) fn nothing_is_lost_over_quic_when_the_interface_goes_down() {
    nothing_is_lost(&["quic"], &[unplug]);
}

pub(crate) fn nothing_is_lost_over_websocket_when_the_interface_goes_down() {
    nothing_is_lost(&["wss"], &[unplug]);
}

pub(crate) fn nothing_is_lost_when_the_transport_has_to_change() {
    // From QUIC to WebSocket, and back.
    nothing_is_lost(&["quic", "wss"], &[|scene| scene.block("udp"), |scene| scene.block("tcp")]);
}

pub(crate) fn a_connection_that_is_not_resumed_in_time_is_destroyed_once() {
    for scheme in ["quic", "wss"] {
        let scene = Scene::with(&[("SIGNALBOX_RESUME__WINDOW_MS", "2000")]);
        let mut bystander = scene.bystander();
        let mut client = scene.join(&[scheme]);
        assert_eq!(bystander.event()["event"], "connectionCreated");
        assert_eq!(client.event()["event"], "connectionCreated");
        scene.network.unplug_client(Duration::from_secs(8)).unwrap();
        let destroyed = bystander.event();
        assert_eq!(destroyed["event"], "connectionDestroyed");
        assert_eq!(destroyed["reason"], "networkDisconnected");
        assert_eq!(client.event()["event"], "sessionReconnecting");
        let rejoined = client.event();
        assert_eq!(rejoined["event"], "sessionRejoined", "{rejoined}");
        let created = bystander.event();
        assert_eq!(created["event"], "connectionCreated");
        assert_eq!(created["connection"]["id"], rejoined["connection"]["id"]);
    }
}
