//! Clients with the URLs of several gateways, which share no sessions.

use std::{
    net::{TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use signalbox_client::{CloseReason, ConnectOptions, Event, Role};
use signalbox_tests::{Member, TransportMode, World, proxy::Proxy};

use super::sdk_resume::with_short_timeouts;

/// More than the head start of a silent gateway and a handshake in a debug build; less than the
/// timeout of an attempt.
const LITTLE: Duration = Duration::from_secs(3);

/// Options with which to join the session of `world` at one of these URLs.
fn at(urls: [String; 2], world: &World, transport: TransportMode) -> ConnectOptions {
    let options = ConnectOptions::new(urls, world.token(Role::Publisher));
    transport.options(options).keep_alive(Duration::from_millis(300))
}

/// Joins, and waits until the connection can be resumed.
async fn join_resumable(world: &World, options: &ConnectOptions) -> Member {
    let mut member = world.try_join(options).await.unwrap();
    member.client.signal().to(member.id()).data("resumable").send().await.unwrap();
    assert_eq!(member.hear_data().await, "resumable");
    member
}

/// Its link is lost for this reason, and it joins again as another connection.
async fn rejoins(member: &mut Member, expected: CloseReason) {
    let before = member.id();
    match member.next().await {
        Event::SessionReconnecting { reason, .. } => assert_eq!(reason, expected),
        other => panic!("{other:?}"),
    }
    match member.next().await {
        Event::SessionRejoined { connection } => assert_ne!(connection.id, before),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_at_the_second_gateway_if_the_first_is_down() {
    let mut first = World::new().await;
    let second = World::new().await;
    first.stop().await;
    for transport in TransportMode::ALL {
        let options = at([first.url(transport), second.url(transport)], &second, transport);
        let begun = Instant::now();
        let member = second.try_join(&options).await.unwrap();
        assert!(begun.elapsed() < LITTLE, "{transport:?}: {:?}", begun.elapsed());
        assert_eq!(second.try_join(&options).await.unwrap().client.present_on_joining(), 1);
        member.client.disconnect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_gateway_costs_little() {
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (udp, tcp) = (udp.unwrap(), tcp.unwrap());
    let second = World::new().await;
    for transport in TransportMode::ALL {
        let silent = match transport {
            TransportMode::WebTransport => format!("https://{}", udp.local_addr().unwrap()),
            _ if transport.is_udp() => format!("quic://{}", udp.local_addr().unwrap()),
            _ => format!("wss://{}", tcp.local_addr().unwrap()),
        };
        let options = at([silent, second.url(transport)], &second, transport);
        let begun = Instant::now();
        let member = second.try_join(&options).await.unwrap();
        let elapsed = begun.elapsed();
        assert!(
            (Duration::from_millis(300)..LITTLE).contains(&elapsed),
            "{transport:?}: {elapsed:?}"
        );
        member.client.disconnect().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_killed_gateway_joins_at_the_second() {
    for transport in TransportMode::ALL {
        let killed = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let first = killed.spawn(World::with(with_short_timeouts)).await.unwrap();
        let second = World::with(with_short_timeouts).await;
        let mut bob = second.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let options = at([first.url(transport), second.url(transport)], &second, transport);
        let mut alice = join_resumable(&second, &options).await;
        // All its tasks end at once, without a goodbye.
        killed.shutdown_background();
        rejoins(&mut alice, CloseReason::NetworkDisconnected).await;
        assert_eq!(bob.sees_created().await, alice.id());
        assert_eq!(alice.sees_created().await, bob.id());
        alice.say("here").await;
        assert_eq!(bob.hear_data().await, "here");
    }
}

/// The client has only the URL of the first gateway, whose welcome lists the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_at_a_gateway_that_the_welcome_lists() {
    for transport in TransportMode::ALL {
        let second = World::new().await;
        let listed = vec![second.url(transport)];
        let mut first = World::with(|config| config.resume.gateways = listed.clone()).await;
        let url = [first.url(transport), first.url(transport)];
        let mut alice = join_resumable(&second, &at(url, &second, transport)).await;
        assert_eq!(alice.client.gateways(), listed);
        first.tell_to_stop();
        rejoins(&mut alice, CloseReason::ShuttingDown).await;
        let bob = second.join(TransportMode::WebSocketJson, Role::Publisher).await;
        assert_eq!(bob.client.present_on_joining(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_draining_gateway_moves_to_the_second_without_asking_the_first() {
    for transport in TransportMode::ALL {
        let mut first = World::new().await;
        let proxy = Proxy::new(&first).await;
        let second = World::new().await;
        let mut bob = second.join(TransportMode::WebSocketJson, Role::Publisher).await;
        let options = at([proxy.url(transport), second.url(transport)], &second, transport);
        let mut alice = join_resumable(&second, &options).await;
        let before = (*proxy.quic_connections().borrow(), proxy.tcp_connections());
        first.tell_to_stop();
        rejoins(&mut alice, CloseReason::ShuttingDown).await;
        assert_eq!(bob.sees_created().await, alice.id());
        let after = (*proxy.quic_connections().borrow(), proxy.tcp_connections());
        assert_eq!(after, before, "{transport:?}");
    }
}
