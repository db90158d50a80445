//! The relay's promises, one story each.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::time::Duration;

use signalbox_protocol::{CloseReason, DisconnectReason, ErrorCode, Role, Signal};
use signalbox_relay::{
    Encoding, JoinError, Outgoing, ProjectLimits, RejectionReason, Settings, SignalError, Stats,
};
use world::{Client, Received, World, session};

fn rejected(result: Result<(), SignalError>) -> (u64, ErrorCode) {
    match result {
        Err(SignalError::Rejected { seq, reason }) => (seq, reason.code()),
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn a_signal_to_all_reaches_all_of_the_session_and_its_sender() {
    let mut world = World::new(Settings::default());
    let (here, elsewhere) = (session(1, 1), session(1, 2));
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Subscriber);
    let stranger = world.join(&elsewhere, Role::Publisher);
    alice.send("hello").unwrap();
    assert_eq!(alice.signals(), ["hello"]);
    assert_eq!(bob.signals(), ["hello"]);
    assert!(stranger.read().is_empty());
}

#[test]
fn a_signal_to_one_reaches_that_one_only() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&here, Role::Publisher);
    alice.send_to(bob.id, "psst").unwrap();
    assert_eq!(bob.signals(), ["psst"]);
    assert!(alice.signals().is_empty() && carol.signals().is_empty());
    alice.send_to(alice.id, "note to self").unwrap();
    assert_eq!(alice.signals(), ["note to self"]);
}

#[test]
fn a_signal_to_an_unknown_connection_is_an_error_for_its_sender() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let stranger = world.join(&session(1, 2), Role::Publisher);
    assert_eq!(rejected(alice.send_to(stranger.id, "hello")), (1, ErrorCode::NotFound));
    assert!(stranger.read().is_empty());
    // Its number is used up, and the connection lives on.
    alice.send("still here").unwrap();
    let Some(Received::Signal { seq: 2, .. }) = alice.read().pop() else { panic!() };
}

#[test]
fn receivers_of_every_encoding_get_the_same() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let encodings = [Encoding::PerSender, Encoding::Shared, Encoding::Json];
    let receivers =
        encodings.map(|encoding| world.try_join(&here, Role::Subscriber, true, encoding).unwrap());
    for receiver in &receivers {
        receiver.read();
    }
    let mut alice = world.join(&here, Role::Publisher);
    alice.send("one").unwrap();
    alice.send_to(receivers[0].id, "two").unwrap();
    alice.send_to(receivers[1].id, "two").unwrap();
    alice.send_to(receivers[2].id, "two").unwrap();
    let from = alice.id;
    alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    for (index, receiver) in receivers.iter().enumerate() {
        assert_eq!(
            receiver.read(),
            [
                Received::Created(from),
                Received::Signal { from: from.into(), seq: 1, data: "one".into() },
                Received::Signal { from: from.into(), seq: 2 + index as u64, data: "two".into() },
                Received::Destroyed(from, DisconnectReason::ClientDisconnected),
            ]
        );
    }
}

#[test]
fn a_signal_and_an_event_are_encoded_once_for_all_receivers_of_an_encoding() {
    for encoding in [Encoding::PerSender, Encoding::Shared, Encoding::Json, Encoding::OpenTok] {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut join = || world.try_join(&here, Role::Publisher, true, encoding).unwrap();
        let [mut alice, bob, carol] = [join(), join(), join()];
        for client in [&alice, &bob, &carol] {
            client.take();
        }
        alice.send("hello").unwrap();
        let dave = join();
        let frames = [&bob, &carol].map(Client::take);
        let addresses = frames.each_ref().map(|frames| {
            let frames = frames.iter().map(|outgoing| match outgoing {
                Outgoing::Signal { frame, .. } | Outgoing::Frame(frame) => frame.as_ptr(),
                other => panic!("{encoding:?}: {other:?}"),
            });
            frames.collect::<Vec<_>>()
        });
        assert_eq!(addresses[0].len(), 2, "{encoding:?}");
        assert_eq!(addresses[0], addresses[1], "{encoding:?}");
        drop(dave);
    }
}

#[test]
fn a_new_member_and_the_others_learn_of_each_other() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&here, Role::Publisher);
    assert_eq!(carol.present, [alice.id, bob.id]);
    assert_eq!(alice.read(), [Received::Created(bob.id), Received::Created(carol.id)]);
    assert_eq!(carol.read(), []);
    let (left, lost) = (alice.id, bob.id);
    alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    assert!(bob.connection.detach(Duration::ZERO).is_none(), "it did not ask to be kept");
    assert_eq!(
        carol.read(),
        [
            Received::Destroyed(left, DisconnectReason::ClientDisconnected),
            Received::Destroyed(lost, DisconnectReason::NetworkDisconnected),
        ]
    );
}

#[test]
fn clients_that_decline_presence_get_no_presence_events() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let talker = world.join(&here, Role::Publisher);
    for encoding in [Encoding::PerSender, Encoding::Json] {
        let quiet = world.try_join(&here, Role::Publisher, false, encoding).unwrap();
        assert!(quiet.present.is_empty());
        let silent = world.join(&here, Role::Publisher);
        silent.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
        assert_eq!(quiet.read(), [], "{encoding:?}");
    }
    // A link with a stream per sender must still learn that a sender is gone.
    let quiet = world.try_join(&here, Role::Publisher, false, Encoding::PerSender).unwrap();
    let mut speaker = world.join(&here, Role::Publisher);
    speaker.send("bye").unwrap();
    let id = speaker.id;
    speaker.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    assert_eq!(
        quiet.read().pop(),
        Some(Received::Destroyed(id, DisconnectReason::ClientDisconnected))
    );
    drop(talker);
}

#[test]
fn roles_determine_permissions() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut publisher = world.join(&here, Role::Publisher);
    let mut subscriber = world.join(&here, Role::Subscriber);
    let mut mute = world.join(&here, Role::PublisherOnly);
    let moderator = world.join(&here, Role::Moderator);
    subscriber.read();
    assert_eq!(rejected(subscriber.send("x")), (1, ErrorCode::Forbidden));
    assert_eq!(rejected(mute.send("x")), (1, ErrorCode::Forbidden));
    publisher.send("to all").unwrap();
    assert_eq!(subscriber.signals(), ["to all"]);
    assert!(mute.signals().is_empty(), "publisheronly receives no signals");
    assert_eq!(rejected(publisher.send_to(mute.id, "x")).1, ErrorCode::Forbidden);
    for other in [&publisher, &subscriber, &mute] {
        let result = other.connection.force_disconnect(moderator.id, Duration::ZERO);
        assert!(matches!(result, Err(RejectionReason::MayNotDisconnect(_))));
    }
    moderator.connection.force_disconnect(publisher.id, Duration::ZERO).unwrap();
    assert_eq!(publisher.closed(), Some(CloseReason::ForceDisconnected));
    assert_eq!(publisher.send("too late"), Err(SignalError::Closed));
    assert_eq!(
        subscriber.read(),
        [Received::Destroyed(publisher.id, DisconnectReason::ForceDisconnected)]
    );
    assert_eq!(
        moderator.connection.force_disconnect(publisher.id, Duration::ZERO),
        Err(RejectionReason::NotFound(publisher.id))
    );
    // The client's own end comes later and is not received twice.
    drop(publisher);
    assert_eq!(subscriber.read(), []);
}

#[test]
fn subscribers_may_send_if_the_setting_says_so() {
    let mut world = World::new(Settings { subscribers_may_send: true, ..Settings::default() });
    let mut subscriber = world.join(&session(1, 1), Role::Subscriber);
    subscriber.send("hello").unwrap();
    assert_eq!(subscriber.signals(), ["hello"]);
}

#[test]
fn a_sender_above_its_rate_is_rejected_until_it_slows_down() {
    let mut world = World::new(Settings { signals_per_second: 2, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let ping = || Signal::default();
    let at = Duration::from_millis;
    for _ in 0..4 {
        alice.connection.signal(None, ping(), at(5000)).unwrap();
    }
    let fifth = alice.connection.signal(None, ping(), at(5000));
    assert_eq!(rejected(fifth.map(drop)), (5, ErrorCode::RateLimited));
    alice.connection.signal(None, ping(), at(5500)).unwrap();
}

#[test]
fn a_sender_above_its_rate_of_bytes_waits() {
    let mut world = World::new(Settings { bytes_per_second: 1000, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let mut waits = |bytes: usize, at_ms| {
        let (kind, data) = ("k".repeat(10), "d".repeat(bytes - 10));
        let signal = Signal::new(Some(kind), Some(data));
        let cost = alice.connection.signal(None, signal, Duration::from_millis(at_ms)).unwrap();
        cost.wait.as_millis()
    };
    assert_eq!(waits(1000, 5000), 0);
    assert_eq!(waits(100, 5000), 100);
    assert_eq!(waits(500, 5100), 500);
    assert_eq!(waits(400, 6000), 0);
    assert_eq!(waits(3000, 9000), 2000);
    assert_eq!(alice.signals().len(), 5, "nothing is lost");
}

#[test]
fn senders_wait_for_the_deliveries_of_their_session_but_modest_ones_do_not() {
    const MEMBERS: usize = 100;
    // Eight signals to all in a second. The share of each sender is one.
    let settings = Settings { deliveries_per_second: 800, ..Settings::default() };
    let mut world = World::new(settings);
    let mut members: Vec<_> =
        (0..MEMBERS).map(|_| world.join(&session(1, 1), Role::Publisher)).collect();
    let waits = |member: &mut Client, to, bytes: usize, at_ms| {
        let signal = Signal::new(None::<&str>, Some("d".repeat(bytes)));
        let now = Duration::from_secs(5) + Duration::from_millis(at_ms);
        member.connection.signal(to, signal, now).unwrap().wait.as_millis()
    };
    let [attacker, modest, ..] = &mut members[..] else { panic!("too few members") };
    for _ in 0..8 {
        assert_eq!(waits(attacker, None, 10, 0), 0);
    }
    assert_eq!(waits(attacker, None, 10, 0), 125);
    assert_eq!(waits(modest, None, 10, 0), 0);
    // Its neighbour's signal counts as well.
    assert_eq!(waits(attacker, None, 10, 125), 250);
    assert_eq!(waits(modest, None, 10, 1000), 0);
    // A long signal costs as much as several, and one to a single member a hundredth.
    assert_eq!(waits(attacker, None, 8000, 10_000), 0);
    assert_eq!(waits(attacker, None, 10, 10_000), 125);
    assert_eq!(waits(attacker, Some(modest.id), 10, 10_125), 1);
    // In a small session a signal costs as much as one to 64 members.
    let mut alice = world.join(&session(1, 2), Role::Publisher);
    let _bob = world.join(&session(1, 2), Role::Publisher);
    let free = (0..100).take_while(|_| waits(&mut alice, None, 10, 0) == 0).count();
    assert_eq!(free, 800 / 64);
}

#[test]
fn errors_are_queued_with_other_messages() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    alice.send("one").unwrap();
    alice.connection.send_error(Some(7), ErrorCode::NotFound, "not there");
    let [Received::Signal { .. }, Received::Error { signal: Some(7), code: ErrorCode::NotFound }] =
        alice.read()[..]
    else {
        panic!()
    };
}

#[test]
fn a_slow_receiver_is_closed_and_does_not_affect_others() {
    for settings in [
        Settings { outbox_frames: 10, ..Settings::default() },
        Settings { outbox_bytes: 10 * 25, ..Settings::default() },
    ] {
        let mut world = World::new(settings);
        let here = session(1, 1);
        let mut alice = world.join(&here, Role::Publisher);
        let stalled = world.join(&here, Role::Subscriber);
        let mut heard = 0;
        alice.read();
        for _ in 0..100 {
            alice.send("x").unwrap();
            heard += alice.signals().len();
        }
        assert_eq!(heard, 100);
        assert_eq!(stalled.closed(), Some(CloseReason::SlowConsumer));
        assert!(stalled.read().is_empty(), "what waited is dropped with the connection");
    }
}

#[test]
fn messages_taken_but_not_written_still_count() {
    let mut world = World::new(Settings { outbox_frames: 10, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let mut taken = std::collections::VecDeque::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10 {
        alice.send("x").unwrap();
        assert!(alice.outbox.poll_take(&mut cx, &mut taken).is_ready());
    }
    assert_eq!(alice.outbox.load().0, 10);
    alice.send("one too many").unwrap();
    assert_eq!(alice.closed(), Some(CloseReason::SlowConsumer));
}

#[test]
fn presence_events_that_overflow_others_close_them_in_turn() {
    // The first has 49 others announced and can hold no more; its end is one too many for the
    // second, and so on.
    let mut world = World::new(Settings { outbox_frames: 49, ..Settings::default() });
    let here = session(1, 1);
    let mut clients: Vec<Client> = (0..50).map(|_| world.join(&here, Role::Publisher)).collect();
    let last = clients.pop().unwrap();
    last.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    for client in &clients {
        assert_eq!(client.closed(), Some(CloseReason::SlowConsumer));
    }
    drop(clients);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

#[test]
fn sessions_and_projects_have_connection_limits() {
    let mut world = World::new(Settings {
        connections_per_session: 2,
        project: ProjectLimits { connections: 3, ..ProjectLimits::default() },
        ..Settings::default()
    });
    let mut join = |project, number| {
        world.try_join(&session(project, number), Role::Publisher, true, Encoding::Json)
    };
    let first = join(1, 1).unwrap();
    let _second = join(1, 1).unwrap();
    assert_eq!(join(1, 1).err(), Some(JoinError::SessionFull));
    let _third = join(1, 2).unwrap();
    assert_eq!(join(1, 2).err(), Some(JoinError::ProjectFull));
    let _other_project = join(2, 2).unwrap();
    first.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    join(1, 1).unwrap();
}

#[test]
fn nothing_is_left_when_all_have_left() {
    let mut world = World::new(Settings::default());
    let clients: Vec<Client> =
        (0..10).map(|n| world.join(&session(n % 2 + 1, n as u8 % 3), Role::Publisher)).collect();
    assert_eq!(world.relay.stats(), Stats { sessions: 6, connections: 10 });
    drop(clients);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

#[test]
fn a_shutdown_closes_all_connections_and_rejects_joins() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    alice.send("last words").unwrap();
    world.relay.shut_down();
    assert_eq!(bob.closed(), Some(CloseReason::ShuttingDown));
    assert_eq!(bob.signals(), ["last words"], "what waits may still be read");
    assert_eq!(alice.send("too late"), Err(SignalError::Closed));
    let refused = world.try_join(&here, Role::Publisher, true, Encoding::Json);
    assert_eq!(refused.err(), Some(JoinError::ShuttingDown));
}

#[test]
fn a_go_away_notice_follows_queued_messages_and_cannot_overflow() {
    let settings = Settings { outbox_frames: 1, ..Settings::default() };
    let mut world = World::new(settings);
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    alice.send("a").unwrap();
    // No connection is closed because the notice has no room.
    alice.outbox.go_away(3000);
    let received = alice.read();
    assert!(
        matches!(received[..], [Received::Signal { .. }, Received::GoAway(3000)]),
        "{received:?}"
    );
    assert_eq!(alice.closed(), None);
    alice.outbox.go_away(1000);
    assert_eq!(alice.read(), [Received::GoAway(1000)]);
    // Heartbeats become one answer, behind everything else.
    alice.outbox.heartbeat();
    alice.outbox.heartbeat();
    alice.outbox.go_away(500);
    assert_eq!(alice.read(), [Received::GoAway(500), Received::Heartbeat]);
    assert_eq!(alice.read(), []);
}
