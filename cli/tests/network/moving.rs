//! Clients whose address and port change while they send.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    sync::Arc,
    thread,
};

use signalbox_client::{Client, ConnectOptions, Connector, Event, Events};
use signalbox_netem::namespace::Network;
use tokio::{sync::oneshot, task::JoinSet, time::timeout};

use crate::{
    scene::{Received, SENDERS, Scene},
    support::TIMEOUT,
};

/// Signals of each client.
const LINES: u32 = 60;

/// The clients' addresses after each move. The moves happen while these lines are in flight.
const MOVES: [(u32, Ipv4Addr); 3] = [
    (15, Ipv4Addr::new(192, 0, 2, 3)),
    (30, Ipv4Addr::new(192, 0, 2, 2)),
    (45, Ipv4Addr::new(192, 0, 2, 3)),
];

pub(crate) fn nothing_is_lost_when_clients_change_their_address() {
    let scene = Scene::new();
    let mut bystander = scene.bystander();
    let connector = Connector::with_roots_pem(&fs::read(scene.text("/ca")).unwrap()).unwrap();
    let options = ConnectOptions::new("quic://localhost:4433", scene.text("/tokens/publisher"));
    let (done, until) = oneshot::channel();
    let network = scene.network.clone();
    let moving = thread::spawn(move || {
        let _entered = network.client().enter().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(send_and_move(&network, &connector, &options, until));
    });
    let mut near = Received::default();
    near.read_until(&mut bystander, |received| received.all_at(LINES));
    assert_eq!(near.events("connectionCreated"), SENDERS);
    assert_eq!(near.others.len(), SENDERS, "nobody noticed: {:?}", near.others);
    done.send(()).unwrap();
    moving.join().unwrap();
}

/// The clients, on their host. They stay connected until the bystander has received everything.
async fn send_and_move(
    network: &Arc<Network>,
    connector: &Connector,
    options: &ConnectOptions,
    until: oneshot::Receiver<()>,
) {
    let (mut clients, mut listeners) = (Vec::new(), JoinSet::new());
    for _ in 0..SENDERS {
        let (client, events) = connector.connect(options).await.unwrap();
        clients.push(client);
        listeners.spawn(receives_everything(events));
    }
    for line in 1..=LINES {
        let sending = send_line(&clients, line);
        if let Some((_, address)) = MOVES.into_iter().find(|(at, _)| *at == line) {
            // One network goes, another comes, and the application is told.
            let network = network.clone();
            let moved = tokio::task::spawn_blocking(move || network.move_client(address));
            moved.await.unwrap().unwrap();
            let before = udp_sockets();
            clients[0].rebind().unwrap();
            assert_ne!(udp_sockets(), before, "the port has changed, too");
        }
        sending.join_all().await;
    }
    while let Some(listener) = listeners.join_next().await {
        listener.unwrap();
    }
    timeout(TIMEOUT, until).await.unwrap().unwrap();
}

/// Each client sends a line; done when the gateway has confirmed all.
fn send_line(clients: &[Client], line: u32) -> JoinSet<()> {
    let send = |(index, client): (usize, &Client)| {
        let client = client.clone();
        async move {
            client.signal().data(format!("client{index} {line}")).send().await.unwrap();
        }
    };
    clients.iter().enumerate().map(send).collect()
}

/// The addresses of UDP sockets on this thread's host.
fn udp_sockets() -> BTreeSet<String> {
    let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let locals = sockets.lines().skip(1).filter_map(|socket| socket.split_whitespace().nth(1));
    locals.map(str::to_owned).collect()
}

/// All lines of all clients, in order, and nothing else: a move is not even a reconnect.
async fn receives_everything(mut events: Events) {
    let mut received = BTreeMap::<_, u64>::new();
    while received.len() < SENDERS || received.values().any(|last| *last < u64::from(LINES)) {
        let event = timeout(TIMEOUT, events.next()).await.unwrap();
        match event.unwrap() {
            Event::Signal { from, seq, .. } => {
                let last = received.entry(from.connection().unwrap()).or_default();
                assert_eq!(seq, *last + 1, "none lost, none twice, in order");
                *last = seq;
            }
            Event::SessionConnected { .. } | Event::ConnectionCreated(_) => {}
            other => panic!("a client noticed: {other:?}"),
        }
    }
}
