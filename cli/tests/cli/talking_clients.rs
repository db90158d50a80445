//! Clients of the SDK that send continuously and record their events.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use signalbox_client::{
    Client, CloseReason, ConnectOptions, ConnectionId, Connector, Event, Events, Sender,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{Gateway, TIMEOUT};

/// Interval of the signals of one client: short enough that a drain is always in the middle of them, and
/// long enough that all clients together do not saturate a busy machine.
const PACE: Duration = Duration::from_millis(150);

/// The record of one client.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The ends of its links, with time and reason.
    pub(crate) left: Vec<(Instant, CloseReason)>,
    /// Number of resumes without a gap, and of rejoins as a new connection.
    pub(crate) resumed: usize,
    pub(crate) rejoined: usize,
    /// Presence events after joining.
    pub(crate) presence: usize,
    /// Last signal of each sender.
    pub(crate) heard: HashMap<ConnectionId, u64>,
    /// The last signal of its own.
    pub(crate) said: u64,
    /// Unexpected events.
    pub(crate) wrong: Vec<String>,
}

/// Several clients in one session.
pub(crate) struct TalkingClients {
    clients: Vec<JoinHandle<Seen>>,
    /// The number of the current round; 0 stops all clients.
    rounds: watch::Sender<u32>,
    done: mpsc::Receiver<u32>,
}

impl TalkingClients {
    /// Joins half of them by QUIC and half by WebSocket. Returns when each has received signals of all.
    pub(crate) async fn join(gateway: &Gateway, number: usize) -> Self {
        Self::join_in(gateway, number, 1).await
    }

    /// The same over a network with faults: each client retries.
    pub(crate) async fn join_with_patience(gateway: &Gateway, number: usize) -> Self {
        Self::join_in(gateway, number, 5).await
    }

    async fn join_in(gateway: &Gateway, number: usize, attempts: usize) -> Self {
        let (rounds, _) = watch::channel(1);
        let (doing, done) = mpsc::channel(1024);
        let pem = std::fs::read(gateway.text("/ca")).unwrap();
        let mut clients = Vec::new();
        for index in 0..number {
            let url = gateway.url(if index % 2 == 0 { "quic" } else { "wss" });
            let options = ConnectOptions::new(url, gateway.text("/tokens/publisher"));
            let connector = Connector::with_roots_pem(&pem).unwrap();
            let (rounds, doing) = (rounds.subscribe(), doing.clone());
            clients.push(tokio::spawn(async move {
                let mut joined = connector.connect(&options).await;
                for _ in 1..attempts {
                    if joined.is_err() {
                        joined = connector.connect(&options).await;
                    }
                }
                talk(joined.unwrap(), number, rounds, doing).await
            }));
        }
        let mut talking_clients = Self { clients, rounds, done };
        talking_clients.finish(1).await;
        talking_clients
    }

    /// Waits until each has received new signals of all.
    pub(crate) async fn hear_each_other(&mut self) {
        let round = *self.rounds.borrow() + 1;
        self.rounds.send_replace(round);
        self.finish(round).await;
    }

    async fn finish(&mut self, round: u32) {
        for _ in 0..self.clients.len() {
            let done = tokio::time::timeout(2 * TIMEOUT, self.done.recv()).await;
            assert_eq!(done, Ok(Some(round)), "everybody hears everybody");
        }
    }

    /// Stops all clients. Returns their records after all signals have arrived.
    pub(crate) async fn leave(self) -> Vec<Seen> {
        self.rounds.send_replace(0);
        let mut seen = Vec::new();
        for client in self.clients {
            // Each receives its own last signal.
            seen.push(tokio::time::timeout(2 * TIMEOUT, client).await.unwrap().unwrap());
        }
        seen
    }
}

/// Runs one client.
async fn talk(
    (client, mut events): (Client, Events),
    number: usize,
    mut rounds: watch::Receiver<u32>,
    done: mpsc::Sender<u32>,
) -> Seen {
    let mut seen = Seen::default();
    let mut pace = tokio::time::interval(PACE);
    let (mut round, mut told) = (1, 0);
    let mut newly: HashMap<ConnectionId, u64> = HashMap::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Ok(()) = rounds.changed(), if round > 0 => {
                round = *rounds.borrow();
                newly.clear();
                if round == 0 {
                    // The last signal: when it arrives, all earlier ones have arrived.
                    seen.said = client.signal().data("last").enqueue().await.unwrap();
                }
                continue;
            }
            _ = pace.tick(), if round > 0 => {
                match client.signal().data("d").enqueue().await {
                    Ok(number) => seen.said = number,
                    Err(error) => seen.wrong.push(error.to_string()),
                }
                continue;
            }
        };
        match event {
            Some(Event::Signal { from: Sender::Connection(from), seq, data, .. }) => {
                let last = seen.heard.insert(from, seq);
                if last.is_some_and(|last| seq != last + 1) {
                    seen.wrong.push(format!("signal {seq} of {from} after {last:?}"));
                }
                newly.insert(from, seq);
                if round > told && newly.len() == number {
                    told = round;
                    done.send(round).await.unwrap();
                }
                if data.as_deref() == Some("last") && from == client.connection().id {
                    return seen;
                }
            }
            Some(Event::SessionReconnecting { reason, .. }) => {
                seen.left.push((Instant::now(), reason));
            }
            Some(Event::SessionReconnected { gap: None, .. }) => seen.resumed += 1,
            Some(Event::SessionRejoined { .. }) => seen.rejoined += 1,
            Some(Event::ConnectionCreated(_) | Event::ConnectionDestroyed { .. }) if told > 0 => {
                seen.presence += 1;
            }
            Some(Event::ConnectionCreated(_) | Event::SessionConnected { .. }) => {}
            other => {
                seen.wrong.push(format!("{other:?}"));
                if other.is_none() {
                    return seen;
                }
            }
        }
    }
}
