//! A receiver that stops reading is disconnected, and the others are not affected.

use std::collections::BTreeSet;

use signalbox_client::{CloseReason, DisconnectReason, Event, Role};
use signalbox_protocol::{ClientMessage, Feature, Streams, message::Hello};
use signalbox_tests::{
    Member, TransportMode, World,
    raw::{Quic, WebSocket, WebTransport, hello_with, resume, ticket_in, tls_stream},
    rest::Server,
    within_timeout,
};
use tokio::io::AsyncWriteExt;

const TALKERS: usize = 20;

/// Twenty clients on mixed transports send until `victims` others have been disconnected, and some rounds
/// more. Each receives all signals in order, and each end once.
async fn talk_until_destroyed(talkers: &mut [Member], victims: usize) {
    let words = "w".repeat(1000);
    // The ends that each client has received. Not all receive them in the same round.
    let mut told = BTreeSet::new();
    let mut destroyed = BTreeSet::new();
    let mut round = 0u64;
    // Some rounds more, to show that the others still work.
    let mut rounds_left = 10;
    while rounds_left > 0 {
        round += 1;
        for talker in talkers.iter() {
            talker.say(format!("{round} {words}")).await;
        }
        for talker in talkers.iter_mut() {
            let mut heard = 0;
            while heard < TALKERS {
                match talker.next().await {
                    Event::Signal { seq, .. } => {
                        assert_eq!(seq, round, "nothing is missed");
                        heard += 1;
                    }
                    Event::ConnectionDestroyed { id, reason } => {
                        assert_eq!(reason, DisconnectReason::NetworkDisconnected);
                        assert!(told.insert((talker.id(), id)), "nobody is told twice");
                        destroyed.insert(id);
                    }
                    Event::ConnectionCreated(_) => {}
                    other => panic!("a talker was disturbed: {other:?}"),
                }
            }
        }
        assert!(destroyed.len() <= victims, "only those who do not read are ended");
        if destroyed.len() == victims {
            rounds_left -= 1;
        }
        assert!(round < 20_000, "nobody was ended for being slow");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_is_disconnected_and_no_other() {
    let world = World::new().await;
    let token = world.token(Role::Subscriber);
    let mut talkers = Vec::new();
    for n in 0..TALKERS {
        talkers.push(
            world.join(TransportMode::ALL[n % TransportMode::ALL.len()], Role::Publisher).await,
        );
    }
    // They join and never read again.
    let quic = Quic::join(world.addresses().quic, &token).await;
    let webtransport = WebTransport::join(world.addresses().quic, &token).await;
    let postcard = WebSocket::join(world.addresses().tcp, false, &token).await;
    let json = WebSocket::join(world.addresses().tcp, true, &token).await;
    soon_enough(talk_until_destroyed(&mut talkers, 4)).await;

    assert_eq!(quic.end().await.1, CloseReason::SlowConsumer);
    assert_eq!(webtransport.end().await.1, CloseReason::SlowConsumer);
    // Bytes in the kernel's buffers can still be read; the bye may or may not have fitted.
    for link in [postcard, json] {
        let (bye, close) = link.end().await;
        assert!([None, Some(CloseReason::SlowConsumer)].contains(&bye));
        assert!([None, Some(CloseReason::SlowConsumer)].contains(&close));
    }
    drop(talkers);
    world.is_empty().await;
}

/// This test takes a while in a debug build on a slow machine.
async fn soon_enough(talking: impl Future<Output = ()>) {
    let patience = signalbox_tests::TIMEOUT * 6;
    tokio::time::timeout(patience, talking).await.expect("the talk comes to its end");
}

/// A client that vanishes while a write to it blocks is detected by its idle timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_noticed_while_a_write_hangs() {
    let world = World::with(|config| {
        config.limits.outbox_bytes = 64 << 20;
        config.limits.outbox_frames = 100_000;
        config.timeouts.idle_ms = 1500;
    })
    .await;
    let mut speaker = world.join(TransportMode::Quic, Role::Publisher).await;
    for json in [false, true] {
        let token = world.token(Role::Subscriber);
        let silent = WebSocket::join(world.addresses().tcp, json, &token).await;
        speaker.sees_created().await;
        // More than the kernel's buffers hold, unless it is detected before.
        let mut ended = None;
        for _ in 0..2000 {
            speaker.say("d".repeat(8000)).await;
            loop {
                match speaker.next().await {
                    Event::Signal { .. } => break,
                    Event::ConnectionDestroyed { reason, .. } => ended = Some(reason),
                    other => panic!("{other:?}"),
                }
            }
            if ended.is_some() {
                break;
            }
        }
        let reason = match ended {
            Some(reason) => reason,
            None => speaker.sees_destroyed().await.1,
        };
        assert_eq!(reason, DisconnectReason::NetworkDisconnected);
        drop(silent);
    }
}

/// Sends until another client has been disconnected, and receives every signal itself.
async fn speak_until_destroyed(speaker: &mut Member) {
    let data = "d".repeat(8000);
    let mut ended = false;
    while !ended {
        let sent = speaker.say(data.clone()).await;
        loop {
            match speaker.next().await {
                Event::ConnectionDestroyed { .. } => ended = true,
                Event::Signal { seq, .. } => {
                    assert_eq!(seq, sent, "nothing is missed");
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// An SDK client whose application does not read receives the reason of its end when it reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_does_not_read_learns_the_reason_of_its_end() {
    let world = World::with(|config| config.limits.outbox_frames = 64).await;
    let mut speaker = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    for transport in [TransportMode::Quic, TransportMode::WebTransport] {
        let mut deaf = world.join(transport, Role::Subscriber).await;
        assert_eq!(speaker.sees_created().await, deaf.id());
        speak_until_destroyed(&mut speaker).await;
        let reason = within_timeout("the end", deaf.ends()).await;
        assert_eq!(reason, CloseReason::SlowConsumer, "{transport:?}");
    }
}

/// The window of the whole connection of a WebTransport client.
const WINDOW: u32 = 64 * 1024;

/// A WebTransport client that does not read, and a member that sends to it.
async fn silent_webtransport(world: &World, streams: Streams) -> (WebTransport, Member) {
    let speaker = world.join(TransportMode::WebSocketJson, Role::Publisher).await;
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(WINDOW.into()).receive_window(WINDOW.into());
    let token = world.token(Role::Subscriber);
    let hello = ClientMessage::Hello(Hello {
        token: token.as_str().into(),
        features: [].into_iter().collect(),
        streams,
        agent: None,
    });
    let silent = WebTransport::join_as(world.addresses().quic, transport, &hello).await;
    (silent, speaker)
}

/// What a WebTransport client that does not read learns, if the signals of one sender fill the window of
/// its whole connection: the reason in the code, and whether it was the connection's and not the
/// session's.
async fn end_with_a_full_connection(streams: Streams) -> (CloseReason, bool) {
    let world = World::with(|config| config.limits.outbox_frames = 64).await;
    let (mut silent, mut speaker) = silent_webtransport(&world, streams).await;
    speaker.sees_created().await;
    speak_until_destroyed(&mut speaker).await;
    silent.session_end().await
}

/// A browser learns the reason of its end from the session alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webtransport_session_is_closed_with_the_reason_although_the_connection_is_full() {
    let end = end_with_a_full_connection(Streams::PerSender).await;
    assert_eq!(end, (CloseReason::SlowConsumer, false));
}

/// The signals that are still queued do not take the time for closing the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webtransport_session_that_is_full_is_closed_with_any_reason() {
    let world = World::new().await;
    let (mut silent, mut speaker) = silent_webtransport(&world, Streams::PerSender).await;
    let id = speaker.sees_created().await;
    for _ in 0..2 * WINDOW / 8000 {
        speaker.say("d".repeat(8000)).await;
        speaker.hear().await;
    }
    Server::of(&world).await.disconnect(id).await;
    assert_eq!(silent.session_end().await, (CloseReason::ForceDisconnected, false));
}

/// If the control stream itself fills the connection, nothing makes room for the session's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webtransport_session_that_cannot_be_closed_ends_with_its_connection() {
    let end = end_with_a_full_connection(Streams::Single).await;
    assert_eq!(end, (CloseReason::SlowConsumer, true));
}

/// The TCP connections of the gateway's port for which the kernel still holds data.
fn connections(port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    const WAITS_FOR_LATE_PACKETS: &str = "06";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter(|row| {
        let mut columns = row.split_whitespace().skip(1);
        let (local, state) = (columns.next().unwrap(), columns.nth(1).unwrap());
        local.ends_with(&ours) && ![LISTENS, WAITS_FOR_LATE_PACKETS].contains(&state)
    });
    rows.map(str::to_owned).collect()
}

/// For links and HTTP clients that do not read, the kernel keeps nothing for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_bytes_are_not_left_in_the_kernel() {
    let world = World::with(|config| config.timeouts.hello_ms = 2000).await;
    let tcp = world.addresses().tcp;
    let mut speaker = world.join(TransportMode::Quic, Role::Publisher).await;
    let token = world.token(Role::Subscriber);
    let mut silent = Vec::new();
    for json in [false, true] {
        silent.push(WebSocket::join(tcp, json, &token).await);
        speaker.sees_created().await;
    }
    let mut asking = tls_stream(tcp).await;
    let request = "GET /openapi.yaml HTTP/1.1\r\nhost: localhost\r\n\r\n";
    asking.write_all(request.repeat(1000).as_bytes()).await.unwrap();
    assert_eq!(connections(tcp.port()).len(), 3);
    let mut ended = 0;
    while ended < silent.len() {
        speaker.say("d".repeat(8000)).await;
        loop {
            match speaker.next().await {
                Event::ConnectionDestroyed { .. } => ended += 1,
                Event::Signal { .. } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    within_timeout("the system is done with them", async {
        while !connections(tcp.port()).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// If not even the bye fits, the client learns that its connection has ended when it resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_is_full_ends_without_a_reason_and_cannot_be_resumed() {
    let world = World::new().await;
    let tcp = world.addresses().tcp;
    let mut speaker = world.join(TransportMode::Quic, Role::Publisher).await;
    let mut silent = WebSocket::connect(tcp, true).await;
    silent.say(&hello_with(&world.token(Role::Subscriber), &[Feature::Resume])).await;
    assert!(silent.hear().await.starts_with("Welcome"));
    let ticket = ticket_in(&silent.hear().await);
    speaker.sees_created().await;
    speak_until_destroyed(&mut speaker).await;
    within_timeout("the gateway ends TCP", async {
        while !connections(tcp.port()).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(silent.end().await, (None, None));
    let mut back = WebSocket::connect(tcp, true).await;
    back.say(&resume(&ticket)).await;
    let answer = back.hear().await;
    assert!(answer.contains("InvalidTicket"), "{answer}");
}
