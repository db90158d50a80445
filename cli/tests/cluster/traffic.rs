//! Members on all gateways that send steadily to all others, and now and then to one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_client::{Client, ConnectOptions, Connector, Event, Events, Role};
use signalbox_tests::{Member, PROJECT, TransportMode, authority, token, within_timeout};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    record::{Record, Stamp, Tally},
    scene::{GATEWAYS, Scene},
};

/// One signal in this number goes to one member only.
const DIRECTED: u64 = 8;

/// Time for everything to be repaired after a failure.
const RECOVERY: Duration = Duration::from_secs(45);

/// The members of a session.
pub(crate) struct Traffic {
    pub(crate) members: Vec<TrafficMember>,
    begun: Instant,
    stop: watch::Sender<bool>,
    /// Notified when a member has received something.
    received: Arc<Notify>,
}

/// A client that sends and receives.
pub(crate) struct TrafficMember {
    client: Client,
    pub(crate) record: Arc<Mutex<Record>>,
    /// Returns the number of signals that it has sent.
    sending: Option<JoinHandle<u64>>,
}

impl Traffic {
    /// Joins members at all gateways in turn, spread over these transports, and starts to send.
    pub(crate) async fn start(
        scene: &Scene,
        transports: &[TransportMode],
        members: usize,
        pause: Duration,
    ) -> Self {
        let mut joined = Vec::new();
        for index in 0..members {
            let transport = transports[index / GATEWAYS % transports.len()];
            joined.push(connect(scene, &scene.urls(index % GATEWAYS, transport), transport).await);
        }
        let ids: Arc<[_]> = joined.iter().map(|(client, _)| client.connection().id).collect();
        let begun = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let mut traffic = Self { members: Vec::new(), begun, stop, received: Arc::default() };
        for (client, mut events) in joined {
            sees_all(&mut events, members).await;
            let id = client.connection().id;
            // It can be resumed once it has its ticket, which comes before this signal.
            client.signal().to(id).data("resumable").send().await.unwrap();
            let record = Arc::new(Mutex::new(Record::new(id)));
            let (recording, received) = (record.clone(), traffic.received.clone());
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    recording.lock().event(event, begun);
                    received.notify_waiters();
                }
            });
            traffic.members.push(TrafficMember { client, record, sending: None });
        }
        for (index, member) in traffic.members.iter_mut().enumerate() {
            let (client, ids, stopped) = (member.client.clone(), ids.clone(), stopped.clone());
            let sending = async move {
                let mut pauses = interval(pause);
                pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut number = 1;
                while !*stopped.borrow() {
                    pauses.tick().await;
                    number += 1;
                    let stamp = Stamp { sender: index, number, sent: Instant::now() };
                    let signal = client.signal().data(stamp.data(begun));
                    let signal = match only_receiver(number, ids.len()) {
                        Some(receiver) => signal.to(ids[receiver]),
                        None => signal,
                    };
                    if signal.enqueue().await.is_err() {
                        break;
                    }
                }
                number
            };
            member.sending = Some(tokio::spawn(sending));
        }
        traffic.flows_since(begun).await;
        traffic
    }

    /// Waits until each member has received a signal of each other that was sent after a time.
    /// Members that have ended are not considered.
    pub(crate) async fn flows_since(&self, time: Instant) {
        let flowing = async {
            loop {
                let received = self.received.notified();
                if self.silent_since(time).is_empty() {
                    return;
                }
                received.await;
            }
        };
        if timeout(RECOVERY, flowing).await.is_err() {
            panic!("receivers that do not hear these senders: {:?}", self.silent_since(time));
        }
    }

    /// Receivers, each with the senders of which it has received nothing that was sent after a time.
    fn silent_since(&self, time: Instant) -> BTreeMap<usize, Vec<usize>> {
        let mut silent = BTreeMap::new();
        let live = self.live();
        for receiver in &live {
            let record = self.members[*receiver].record.lock();
            let unheard =
                live.iter().copied().filter(|sender| record.delay_since(*sender, time).is_none());
            let unheard: Vec<_> = unheard.collect();
            if !unheard.is_empty() {
                silent.insert(*receiver, unheard);
            }
        }
        silent
    }

    /// The time until each member received from each other again, sorted.
    pub(crate) fn delays_since(&self, time: Instant) -> Vec<Duration> {
        let live = self.live();
        let delay = |receiver: &usize| {
            let record = self.members[*receiver].record.lock();
            live.iter().filter_map(|sender| record.delay_since(*sender, time)).max()
        };
        let mut delays: Vec<_> = live.iter().filter_map(delay).collect();
        delays.sort();
        delays
    }

    /// Members that have not ended.
    fn live(&self) -> Vec<usize> {
        let all = 0..self.members.len();
        all.filter(|index| self.members[*index].record.lock().ended.is_none()).collect()
    }

    /// The connections that should be in the session.
    pub(crate) fn connections(&self) -> BTreeSet<String> {
        let id = |index: usize| self.members[index].client.connection().id.to_string();
        self.live().into_iter().map(id).collect()
    }

    /// Stops sending, and returns once all members have received the last signals.
    pub(crate) async fn stop(&mut self) -> Tally {
        self.stop.send_replace(true);
        let mut counts = Vec::new();
        for member in &mut self.members {
            let sending = member.sending.take().unwrap();
            counts.push(within_timeout("the sender stops", sending).await.unwrap());
        }
        let last = Instant::now();
        for index in self.live() {
            // Two, as one of them may be for one member only.
            for _ in 0..2 {
                counts[index] += 1;
                let stamp = Stamp { sender: index, number: counts[index], sent: Instant::now() };
                let signal = self.members[index].client.signal().data(stamp.data(self.begun));
                signal.enqueue().await.unwrap();
            }
        }
        self.flows_since(last).await;
        let mut tally = Tally::default();
        for (receiver, member) in self.members.iter().enumerate() {
            let record = member.record.lock().clone();
            for (sender, other) in self.members.iter().enumerate() {
                let members = self.members.len();
                let last = counts[sender] - 1; // the last of all may still be on its way
                let sent = (2..=last).filter(|number| match only_receiver(*number, members) {
                    // It was for the first connection, which is destroyed once there is another.
                    Some(only) => only == receiver && record.rejoins() == 0,
                    None => true,
                });
                record.compare((sender, &other.record.lock()), sent, &mut tally);
            }
        }
        tally
    }
}

/// Joins at the first of these URLs, and has read the beginning.
pub(crate) async fn join(scene: &Scene, urls: &[String]) -> Member {
    let (client, mut events) = connect(scene, urls, TransportMode::Quic).await;
    assert!(matches!(events.next().await, Some(Event::SessionConnected { .. })));
    Member { client, events }
}

async fn connect(scene: &Scene, urls: &[String], transport: TransportMode) -> (Client, Events) {
    let connector = Connector::with_roots_pem(authority().ca_pem().as_bytes()).unwrap();
    let token = token(PROJECT, &scene.session, Role::Publisher, Duration::from_secs(3600));
    let options = ConnectOptions::new(urls, token);
    let options = transport.options(options.keep_alive(Duration::from_millis(300)));
    within_timeout("connecting", connector.connect(&options)).await.unwrap()
}

/// The only receiver of the signal with this number, if it is not for all.
fn only_receiver(number: u64, members: usize) -> Option<usize> {
    number.is_multiple_of(DIRECTED).then(|| usize::try_from(number / DIRECTED).unwrap() % members)
}

/// Reads events until all members are known.
async fn sees_all(events: &mut Events, members: usize) {
    let mut others = 0;
    while others < members - 1 {
        match within_timeout("presence", events.next()).await.unwrap() {
            Event::ConnectionCreated(_) => others += 1,
            Event::SessionConnected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
