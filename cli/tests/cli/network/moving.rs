//! Clients whose address and port change in the middle of what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use signalbox_client::{Client, ConnectOptions, Connector, Event, Events};
use tokio::{task::JoinSet, time::timeout};

use super::{Heard, SENDERS, Scene, hosts::PREFIX};
use crate::PATIENCE;

/// Signals of each client.
const LINES: u32 = 60;

/// While these are under way, the address changes.
const MOVES: [u32; 3] = [15, 30, 45];

/// What the program on the clients' host has to know, in JSON.
const ORDERS: &str = "SIGNALBOX_TEST_MOVING_CLIENTS";

#[test]
fn nothing_is_lost_and_nobody_notices_when_clients_move() {
    let Some(scene) = Scene::new() else { return };
    let mut bystander = scene.bystander();
    let host = &scene.network.clients;
    let first: std::net::Ipv4Addr = host.address.parse().unwrap();
    let second = std::net::Ipv4Addr::from_bits(first.to_bits() + 1);
    let orders = json!({
        "device": host.device,
        "addresses": [first, second],
        "ca": scene.announcement["ca"],
        "token": scene.announcement["tokens"]["publisher"],
    });
    // This program once more, for the clients have to be on a host of their own.
    let mut moving = Command::new(env::current_exe().unwrap());
    moving.args(["--exact", "network::moving::clients_that_move", "--nocapture"]);
    moving.env(ORDERS, orders.to_string());
    let moving = host.runs(&moving).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut beside = Heard::default();
    beside.follow(&mut bystander, |heard| heard.all_at(LINES, SENDERS));
    assert_eq!(beside.events("connectionCreated"), SENDERS);
    assert_eq!(beside.others.len(), SENDERS, "nobody noticed: {:?}", beside.others);
    let output = moving.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The clients of the test above, on their host. By itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_move() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let orders: Value = serde_json::from_str(&orders).unwrap();
    let text = |path: &str| orders.pointer(path).unwrap().as_str().unwrap().to_owned();
    let connector = Connector::trusting(&fs::read(text("/ca")).unwrap()).unwrap();
    let options = ConnectOptions::new("quic://localhost:4433", text("/token"));
    let (mut clients, mut listeners) = (Vec::new(), JoinSet::new());
    for _ in 0..SENDERS {
        let (client, events) = connector.connect(&options).await.unwrap();
        clients.push(client);
        listeners.spawn(hears_everything(events));
    }
    let device = text("/device");
    let (mut here, mut there) = (text("/addresses/0"), text("/addresses/1"));
    for line in 1..=LINES {
        let sending = says(&clients, line);
        if MOVES.contains(&line) {
            // One network goes, another comes, and the application is told.
            assert!(address("del", &here, &device) && address("add", &there, &device));
            let before = ports();
            clients[0].rebind().unwrap();
            assert_ne!(ports(), before, "the port has changed, too");
            std::mem::swap(&mut here, &mut there);
        }
        sending.join_all().await;
    }
    while let Some(listener) = listeners.join_next().await {
        listener.unwrap();
    }
    // The bystander is still listening, and is not to hear any goodbye.
    std::process::exit(0);
}

/// Each client says a line; done when the gateway has them all.
fn says(clients: &[Client], line: u32) -> JoinSet<()> {
    let says = |(index, client): (usize, &Client)| {
        let client = client.clone();
        async move {
            client.signal().data(format!("client{index} {line}")).send().await.unwrap();
        }
    };
    clients.iter().enumerate().map(says).collect()
}

fn address(change: &str, address: &str, device: &str) -> bool {
    let address = format!("{address}/{PREFIX}");
    Command::new("ip").args(["addr", change, &address, "dev", device]).status().unwrap().success()
}

/// The UDP ports that are open on this host.
fn ports() -> BTreeSet<String> {
    let sockets = fs::read_to_string("/proc/self/net/udp").unwrap();
    let locals = sockets.lines().skip(1).filter_map(|socket| socket.split_whitespace().nth(1));
    locals.map(str::to_owned).collect()
}

/// Everybody's lines, in order, and nothing else: moving is not even a reconnect.
async fn hears_everything(mut events: Events) {
    let mut heard = BTreeMap::<_, u64>::new();
    while heard.len() < SENDERS || heard.values().any(|last| *last < u64::from(LINES)) {
        let event = timeout(PATIENCE, events.next()).await.unwrap();
        match event.unwrap() {
            Event::Signal { from, seq, .. } => {
                let last = heard.entry(from.unwrap()).or_default();
                assert_eq!(seq, *last + 1, "none lost, none twice, in order");
                *last = seq;
            }
            Event::SessionConnected { .. } | Event::ConnectionCreated(_) => {}
            other => panic!("it noticed: {other:?}"),
        }
    }
}
