//! Resumption by the SDK: after a cut link all signals arrive once and in order, in both directions, and
//! no other client is told.

use std::{collections::HashMap, time::Duration};

use signalbox_client::{
    ConnectOptions, ConnectionId, DisconnectReason, Event, Events, Role, Sender,
};
use signalbox_gateway::Config;
use signalbox_netem::proxy::PassingAnswers;
use signalbox_tests::{Member, TransportMode, World, proxy::Proxy, within_timeout};

/// Short timeouts, so that a dead link is detected soon.
pub(super) fn with_short_timeouts(config: &mut Config) {
    config.timeouts.idle_ms = 1500;
}

/// Options to join through a proxy.
pub(super) fn through(proxy: &Proxy, world: &World, transport: TransportMode) -> ConnectOptions {
    through_one_of(&[transport], proxy, world)
}

/// The same, over the first of these transports that works.
fn through_one_of(transports: &[TransportMode], proxy: &Proxy, world: &World) -> ConnectOptions {
    let urls: Vec<_> = transports.iter().map(|it| proxy.url(*it)).collect();
    let options = ConnectOptions::new(urls, world.token(Role::Publisher));
    transports[0].options(options).rejoin(false).keep_alive(Duration::from_millis(300))
}

/// The events of a client in short form: `+bob`, `bob: hello`, `-bob`, `away`, `back`.
struct Listener {
    events: Events,
    names: HashMap<ConnectionId, &'static str>,
    /// The number of missed events of the last resume.
    missed: u64,
}

impl Listener {
    fn new(events: Events, names: &[(ConnectionId, &'static str)]) -> Self {
        Self { events, names: names.iter().copied().collect(), missed: 0 }
    }

    async fn next(&mut self) -> String {
        // A connection without a name is new.
        let name = |id: &ConnectionId| self.names.get(id).copied().unwrap_or("carol");
        match within_timeout("an event", self.events.next()).await.expect("the session is not over")
        {
            Event::ConnectionCreated(info) => format!("+{}", name(&info.id)),
            Event::ConnectionDestroyed { id, .. } => format!("-{}", name(&id)),
            Event::Signal { from: Sender::Connection(from), data, .. } => {
                format!("{}: {}", name(&from), data.unwrap_or_default())
            }
            Event::SessionReconnecting { .. } => "away".into(),
            Event::SessionReconnected { missed, gap: None } => {
                self.missed = missed;
                "back".into()
            }
            other => format!("{other:?}"),
        }
    }

    /// The next `count` events.
    async fn hear(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await);
        }
        all
    }
}

/// The events of `all` about the client of this name.
fn about<'a>(all: &'a [String], name: &str) -> Vec<&'a str> {
    let by = |text: &&&str| text.trim_start_matches(['+', '-']).split(':').next() == Some(name);
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    all.iter().filter(by).copied().collect()
}

async fn a_cut_link_is_resumed_unnoticed(transport: TransportMode) {
    let world = World::with(with_short_timeouts).await;
    let proxy = Proxy::new(&world).await;
    let bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let alice = world.try_join(&through(&proxy, &world, transport)).await.unwrap();
    let names = [(bob.id(), "bob"), (alice.id(), "alice")];
    let (alice, events) = (alice.client, alice.events);
    let mut alice_hears = Listener::new(events, &names);
    let (bob, events) = (bob.client, bob.events);
    let mut bob_hears = Listener::new(events, &names);
    assert_eq!(alice_hears.next().await, "+bob");
    assert_eq!(bob_hears.next().await, "+alice");
    assert_eq!(alice.signal().data("0").send().await, Ok(1));
    assert_eq!(alice_hears.next().await, "alice: 0");
    assert_eq!(bob_hears.next().await, "alice: 0");

    for round in 1..=2 {
        proxy.cut_connections().await;
        // Alice has not noticed yet.
        let say = |text: &str| alice.signal().data(format!("{round}{text}")).enqueue();
        say("a").await.unwrap();
        bob.signal().data(format!("{round}a")).send().await.unwrap();
        let to = alice.connection().id;
        bob.signal().to(to).data(format!("{round}b")).send().await.unwrap();
        let carol = world.join(TransportMode::Quic, Role::Publisher).await;
        carol.client.signal().data("hello").send().await.unwrap();
        carol.client.disconnect().await;
        assert_eq!(alice_hears.next().await, "away");
        say("b").await.unwrap();

        let all = alice_hears.hear(8).await;
        assert_eq!(all[0], "back");
        // All signals of bob and carol; over TCP alice is back before they have sent all.
        let missed = alice_hears.missed;
        assert!(missed == 5 || (missed < 5 && !transport.is_udp()), "{missed}");
        let said = |who: &str| [format!("{who}: {round}a"), format!("{who}: {round}b")];
        assert_eq!(about(&all, "bob"), said("bob"));
        assert_eq!(about(&all, "alice"), said("alice"));
        assert_eq!(about(&all, "carol"), ["+carol", "carol: hello", "-carol"]);
        let all = bob_hears.hear(6).await;
        assert_eq!(about(&all, "alice"), said("alice"));
        assert_eq!(about(&all, "bob"), [format!("bob: {round}a")]);
        assert_eq!(about(&all, "carol"), ["+carol", "carol: hello", "-carol"]);
    }
    // Alice's sequence numbers continue, too.
    assert_eq!(alice.signal().data("last").send().await, Ok(6));
    alice.disconnect().await;
    assert_eq!(bob_hears.hear(2).await, ["alice: last", "-alice"]);
}

/// Two clients send continuously while their links are cut repeatedly.
async fn nothing_is_lost_and_nothing_comes_twice(transports: [TransportMode; 2], cuts: u64) {
    const SIGNALS: u64 = 600;
    let world = World::with(with_short_timeouts).await;
    let mut watcher = world.join(TransportMode::WebSocketPostcard, Role::Publisher).await;
    let mut ways = Vec::new();
    for transport in transports {
        let proxy = Proxy::new(&world).await;
        let member = world.try_join(&through(&proxy, &world, transport)).await.unwrap();
        assert_eq!(watcher.sees_created().await, member.id());
        ways.push((proxy, member));
    }
    let ids: Vec<_> = ways.iter().map(|(_, member)| member.id()).collect();
    let mut talking = tokio::task::JoinSet::new();
    for (index, (proxy, Member { client, mut events })) in ways.into_iter().enumerate() {
        let ids = ids.clone();
        talking.spawn(async move {
            let speaking = async {
                for n in 1..=SIGNALS {
                    if index == 0 {
                        assert_eq!(client.signal().data(n.to_string()).send().await, Ok(n));
                    } else {
                        client.signal().data(n.to_string()).enqueue().await.unwrap();
                    }
                }
            };
            let listening = async {
                let mut heard = HashMap::from([(ids[0], 0), (ids[1], 0)]);
                let mut backs = 0;
                while heard.values().any(|heard| *heard < SIGNALS) {
                    match within_timeout("an event", events.next()).await.expect("it is not over") {
                        Event::Signal { from: Sender::Connection(from), data, seq, .. } => {
                            let last = heard.get_mut(&from).unwrap();
                            assert_eq!(data, Some((*last + 1).to_string()));
                            assert_eq!(seq, *last + 1);
                            *last += 1;
                            // While the other one is sending.
                            let every = SIGNALS / (cuts + 1);
                            if from != ids[index] && last.is_multiple_of(every) && *last < SIGNALS {
                                proxy.cut_connections().await;
                            }
                        }
                        Event::SessionReconnecting { .. } => {}
                        Event::SessionReconnected { gap: None, .. } => backs += 1,
                        // The second came after the first.
                        Event::ConnectionCreated(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
                assert!(backs > 0, "no link was ever cut");
            };
            tokio::join!(speaking, listening);
            // Also if the link has just been cut.
            client.disconnect().await;
        });
    }
    // Alice keeps reading, or the link would time out.
    let watching = async {
        let mut heard: HashMap<_, u64> = HashMap::new();
        let mut left = 0;
        while left < 2 {
            match watcher.next().await {
                Event::Signal { from: Sender::Connection(from), .. } => {
                    *heard.entry(from).or_default() += 1;
                }
                Event::ConnectionDestroyed { reason, .. } => {
                    assert_eq!(reason, DisconnectReason::ClientDisconnected);
                    left += 1;
                }
                other => panic!("somebody noticed: {other:?}"),
            }
        }
        heard
    };
    let talking = async {
        while let Some(done) = talking.join_next().await {
            done.unwrap();
        }
    };
    let (heard, ()) = tokio::join!(watching, talking);
    assert!(heard.values().all(|heard| *heard == SIGNALS), "{heard:?}");
}

macro_rules! on {
    ($($name:ident: $transport:ident, $other:ident;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_cut_link_is_resumed_unnoticed() {
                super::a_cut_link_is_resumed_unnoticed(TransportMode::$transport).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn nothing_is_lost_and_nothing_comes_twice() {
                // A dead QUIC link is detected by its idle timeout.
                let cuts = if TransportMode::$transport.is_udp() { 3 } else { 20 };
                let transports = [TransportMode::$transport, TransportMode::$other];
                super::nothing_is_lost_and_nothing_comes_twice(transports, cuts).await;
            }
        }
    )*};
}

on! {
    quic: Quic, WebSocketJson;
    quic_single: QuicSingleStream, Quic;
    webtransport: WebTransport, WebSocketPostcard;
    postcard: WebSocketPostcard, WebSocketJson;
    json: WebSocketJson, WebSocketPostcard;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_resumes_over_the_transport_that_works() {
    let world = World::with(with_short_timeouts).await;
    let proxy = Proxy::new(&world).await;
    let bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let transports = [TransportMode::Quic, TransportMode::WebSocketPostcard];
    let options = through_one_of(&transports, &proxy, &world);
    let alice = world.try_join(&options).await.unwrap();
    let names = [(bob.id(), "bob"), (alice.id(), "alice")];
    let mut alice_hears = Listener::new(alice.events, &names);
    let mut bob_hears = Listener::new(bob.events, &names);
    assert_eq!(alice_hears.next().await, "+bob");
    assert_eq!(bob_hears.next().await, "+alice");
    assert_eq!(proxy.tcp_connections(), 0, "QUIC has a head start");
    for (round, quic, tcp, tcp_count) in
        [(1, false, true, 1), (2, true, false, 1), (3, true, true, 1)]
    {
        proxy.allow(quic, tcp);
        proxy.cut_connections().await;
        bob.client.signal().data(format!("{round}")).send().await.unwrap();
        let sent = alice.client.signal().data(format!("{round}")).send();
        assert_eq!(within_timeout("sending", sent).await, Ok(round));
        let mut all = alice_hears.hear(4).await;
        assert_eq!(all[..2], ["away", "back"]);
        all[2..].sort();
        let both = [format!("alice: {round}"), format!("bob: {round}")];
        assert_eq!(all[2..], both);
        let mut all = bob_hears.hear(2).await;
        all.sort();
        assert_eq!(all, both);
        assert_eq!(proxy.tcp_connections(), tcp_count);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_attempt_does_not_leave_the_session() {
    let world = World::new().await;
    let proxy = Proxy::new(&world).await;
    let mut bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let transports = [TransportMode::WebSocketPostcard, TransportMode::Quic];
    let options = through_one_of(&transports, &proxy, &world);
    let mut alice = world.try_join(&options).await.unwrap();
    assert_eq!(bob.sees_created().await, alice.id());
    assert_eq!(alice.sees_created().await, bob.id());
    // The gateway accepts the resume, and the client never receives the answer.
    proxy.allow(true, false);
    proxy.pass_answers(PassingAnswers::Handshakes);
    proxy.cut_connections().await;
    let event = alice.next().await;
    assert!(matches!(event, Event::SessionReconnecting { .. }), "{event:?}");
    proxy.quic_begun(2).await;
    proxy.pass_answers(PassingAnswers::All);
    let event = alice.next().await;
    assert!(matches!(event, Event::SessionReconnected { gap: None, .. }), "{event:?}");
    alice.say("back").await;
    assert_eq!(bob.hear_data().await, "back", "and nobody has noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_names_the_lost_signals() {
    const SIGNALS: u64 = 100;
    for transport in TransportMode::ALL {
        let small = |config: &mut Config| {
            with_short_timeouts(config);
            config.resume.history_bytes = 20_000;
        };
        let world = World::with(small).await;
        let proxy = Proxy::new(&world).await;
        let mut bob = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let mut alice = world.try_join(&through(&proxy, &world, transport)).await.unwrap();
        assert_eq!(alice.sees_created().await, bob.id());
        bob.sees_created().await;
        bob.say("0").await;
        assert_eq!(alice.hear_data().await, "0");
        proxy.allow(false, false);
        proxy.cut_connections().await;
        for _ in 0..SIGNALS {
            bob.client.signal().data("d".repeat(1000)).send().await.unwrap();
        }
        assert!(matches!(alice.next().await, Event::SessionReconnecting { .. }));
        proxy.allow(true, true);
        let Event::SessionReconnected { gap: Some(gap), .. } = alice.next().await else {
            panic!("nothing is missing of 100 kB in 20");
        };
        let [lost] = &gap.lost[..] else { panic!("{gap:?}") };
        assert_eq!((&lost.from, lost.after), (&bob.id().into(), 1));
        assert!((2..SIGNALS).contains(&lost.until), "some are kept: {lost:?}");
        let mut next = lost.until + 1;
        while next <= SIGNALS + 1 {
            match alice.next().await {
                Event::Signal { seq, .. } => assert_eq!(seq, next),
                other => panic!("{other:?}"),
            }
            next += 1;
        }
        bob.say("on").await;
        assert_eq!(alice.hear_data().await, "on");
        assert!(!matches!(bob.next().await, Event::ConnectionDestroyed { .. }));
    }
}

/// A change of address is no reconnect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_changes_its_address_loses_nothing_unnoticed() {
    const SIGNALS: u64 = 500;
    let world = World::new().await;
    let mover = world.join(TransportMode::Quic, Role::Publisher).await;
    let mut watcher = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    assert_eq!(watcher.sees_created().await, mover.id());
    let Member { client, mut events } = mover;
    assert!(matches!(
        within_timeout("an event", events.next()).await,
        Some(Event::ConnectionCreated(_))
    ));
    for n in 1..=SIGNALS {
        client.signal().data(n.to_string()).enqueue().await.unwrap();
        watcher.client.signal().data(n.to_string()).enqueue().await.unwrap();
        if n % 100 == 50 {
            client.rebind().unwrap();
        }
    }
    // Each receives all signals of the other in order, and no other event.
    for listener in [&mut events, &mut watcher.events] {
        let mut heard: HashMap<ConnectionId, u64> = HashMap::new();
        while heard.len() < 2 || heard.values().any(|last| *last < SIGNALS) {
            match within_timeout("an event", listener.next()).await.unwrap() {
                Event::Signal { from: Sender::Connection(from), seq, .. } => {
                    let last = heard.entry(from).or_default();
                    assert_eq!(seq, *last + 1);
                    *last = seq;
                }
                other => panic!("somebody noticed: {other:?}"),
            }
        }
    }
}
