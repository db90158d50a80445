//! The rate limits of members: who is told, and who is not affected.

use std::time::{Duration, Instant};

use signalbox_client::{ConnectOptions, Event, Role, Sender};
use signalbox_gateway::Config;
use signalbox_protocol::{ConnectionId, ErrorCode};
use signalbox_tests::{Member, TransportMode, World, proxy::Proxy, within_timeout};

/// Three seconds' worth: one more than may come at once.
const PER_SECOND: u32 = 20;
const SIGNALS: usize = 60;

/// Sends as fast as the gateway reads, until `end` of its events.
async fn send_until<T>(
    sender: &mut Member,
    data: &str,
    mut end: impl FnMut(Event) -> Option<T>,
) -> T {
    let client = sender.client.clone();
    let sending = async {
        while client.signal().data(data).enqueue().await.is_ok() {}
        panic!("the sender lost its connection")
    };
    let ended = async {
        loop {
            let event = sender.events.next().await.expect("the session is not over");
            if let Some(value) = end(event) {
                break value;
            }
        }
    };
    let either = async {
        tokio::select! {
            value = ended => value,
            () = sending => unreachable!(),
        }
    };
    within_timeout("the end of the attack", either).await
}

/// All members are still there, and hear each other.
async fn are_undisturbed(members: &mut [Member], attacker: ConnectionId) {
    for member in members.iter() {
        member.say("still here").await;
    }
    let count = members.len();
    for member in members {
        let (mut heard, mut attacks) = (0, 0);
        while heard < count {
            match member.next().await {
                Event::Signal { from, .. } if from == Sender::Connection(attacker) => attacks += 1,
                Event::Signal { data: Some(said), .. } if said == "still here" => heard += 1,
                Event::ConnectionCreated(_) => {}
                other => panic!("a member was disturbed: {other:?}"),
            }
        }
        assert!(attacks > 0, "the attacker's signals arrive up to the limit");
    }
}

async fn attacked(transport: TransportMode) -> (World, Vec<Member>, Member) {
    let world = World::with(|config| config.limits = Config::default().limits).await;
    let mut members = Vec::new();
    for mode in TransportMode::ALL {
        members.push(world.join(mode, Role::Publisher).await);
    }
    let options = world.options(transport, Role::Publisher).presence(false);
    let attacker = world.try_join(&options).await.unwrap();
    (world, members, attacker)
}

/// A member at full speed is told that it exceeds its rate, and the other members keep their
/// connections, over all transports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_at_full_speed_is_told_and_the_others_stay() {
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let (_world, mut members, mut attacker) = attacked(transport).await;
        let rejected = |event| match event {
            Event::Rejected { code, .. } => Some(code),
            Event::Signal { .. } => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(send_until(&mut attacker, "d", rejected).await, ErrorCode::RateLimited);
        are_undisturbed(&mut members, attacker.id()).await;
    }
}

/// A member with long signals at full speed is read more slowly, and the other members keep their
/// connections. None of its signals is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_of_many_bytes_is_slowed_down_and_the_others_stay() {
    let data = "d".repeat(8000);
    // Two seconds' worth after the burst.
    let limits = Config::default().limits;
    let signals = 3 * limits.bytes_per_second_per_connection as usize / data.len();
    assert!(signals < limits.signals_per_second_per_connection as usize);
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let (_world, mut members, mut attacker) = attacked(transport).await;
        let started = Instant::now();
        let mut heard = 0;
        let all = |event| match event {
            Event::Signal { .. } => {
                heard += 1;
                (heard == signals).then_some(())
            }
            other => panic!("{other:?}"),
        };
        send_until(&mut attacker, &data, all).await;
        assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
        are_undisturbed(&mut members, attacker.id()).await;
    }
}

#[tokio::test]
async fn signals_queued_while_detached_keep_the_rate_limit() {
    let world = World::with(|config| {
        config.timeouts.idle_ms = 1500;
        config.limits.signals_per_second_per_connection = PER_SECOND;
    })
    .await;
    let proxy = Proxy::new(&world).await;
    for transport in [TransportMode::Quic, TransportMode::WebSocketJson] {
        let mut bob = world.join(TransportMode::WebSocketJson, Role::Subscriber).await;
        let options = ConnectOptions::new(proxy.url(transport), world.token(Role::Publisher));
        let options = transport.options(options).rejoin(false).presence(false);
        let alice = world.try_join(&options.keep_alive(Duration::from_millis(300))).await.unwrap();
        let (alice, mut events) = (alice.client, alice.events);
        assert_eq!(alice.signal().data("first").send().await, Ok(1), "resumption is enabled");
        proxy.cut_connections().await;
        let away = within_timeout("the loss is noticed", events.next()).await;
        assert!(matches!(away, Some(Event::Signal { .. })), "{away:?}");
        let away = within_timeout("the loss is noticed", events.next()).await;
        assert!(matches!(away, Some(Event::SessionReconnecting { .. })), "{away:?}");
        for number in 0..SIGNALS {
            alice.signal().data(number.to_string()).enqueue().await.unwrap();
        }
        let mut heard = Vec::new();
        while heard.len() <= SIGNALS {
            if let Event::Signal { data: Some(data), .. } = bob.next().await {
                heard.push(data);
            }
        }
        let said = (0..SIGNALS).map(|number| number.to_string());
        let said: Vec<_> = ["first".to_owned()].into_iter().chain(said).collect();
        assert_eq!(heard, said);
        alice.disconnect().await;
    }
}
