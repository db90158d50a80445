//! What a project's servers may do, and what a project may use: stories.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::{collections::HashMap, time::Duration};

use signalbox_protocol::{CloseReason, DisconnectReason, GatewayId, Role, Signal};
use signalbox_relay::{
    Encoding, JoinError, ProjectLimits, Recipients, RejectionReason, Settings, SignalError,
};
use world::{Received, World, ids_of, session};

#[test]
fn signals_from_servers_have_one_sender_and_one_order() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let encodings = [Encoding::PerSender, Encoding::Shared, Encoding::Json];
    let receivers =
        encodings.map(|encoding| world.try_join(&here, Role::Subscriber, false, encoding).unwrap());
    world.send_from_server(&here, Recipients::All, "all").unwrap();
    world.send_from_server(&here, Recipients::One(receivers[0].id), "one").unwrap();
    world.send_from_server(&here, Recipients::All, "all again").unwrap();
    let signal = |seq, data: &str| Received::Signal {
        from: GatewayId::default().into(),
        seq,
        data: data.into(),
    };
    assert_eq!(
        receivers[0].read(),
        [signal(1, "all"), signal(2, "one"), signal(3, "all again")],
        "one sender, regardless of the recipients"
    );
    for other in &receivers[1..] {
        assert_eq!(other.read(), [signal(1, "all"), signal(3, "all again")]);
    }
}

#[test]
fn a_server_can_include_or_exclude_recipients() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let [alice, bob, carol] = [1, 2, 3].map(|_| world.join(&here, Role::Publisher));
    let mute = world.join(&here, Role::PublisherOnly);
    let stranger = world.join(&session(1, 2), Role::Publisher);
    let named = ids_of([&alice, &stranger, &mute]);
    let mut missing = world.send_from_server(&here, Recipients::Only(&named), "only").unwrap();
    missing.sort();
    assert_eq!(
        missing,
        [mute.id, stranger.id],
        "the connections that were not reached are reported"
    );
    assert_eq!(
        world.send_from_server(&here, Recipients::Except(&ids_of([&alice])), "except"),
        Ok(vec![])
    );
    assert_eq!(alice.signals(), ["only"]);
    assert_eq!(bob.signals(), ["except"]);
    assert_eq!(carol.signals(), ["except"]);
    assert!(stranger.signals().is_empty());
}

#[test]
fn a_signal_without_receivers_is_an_error() {
    let mut world = World::new(Settings::default());
    let (here, empty) = (session(1, 1), session(1, 2));
    let alice = world.join(&here, Role::Publisher);
    let watcher = world.join(&here, Role::PublisherOnly);
    let absent = world.join(&session(1, 3), Role::Publisher);
    let nobody = Err(RejectionReason::EmptySession);
    assert_eq!(world.send_from_server(&empty, Recipients::All, "x"), nobody);
    assert_eq!(world.send_from_server(&empty, Recipients::Except(&ids_of([])), "x"), nobody);
    let none = Err(RejectionReason::NoneReached);
    assert_eq!(
        world.send_from_server(&here, Recipients::Only(&ids_of([&absent, &watcher])), "x"),
        none
    );
    let not_found = Err(RejectionReason::NotFound(absent.id));
    assert_eq!(world.send_from_server(&here, Recipients::One(absent.id), "x"), not_found);
    let does_not_receive = Err(RejectionReason::DoesNotReceive(watcher.id));
    assert_eq!(world.send_from_server(&here, Recipients::One(watcher.id), "x"), does_not_receive);
    let bad = Signal::new(Some("no spaces"), Some("x"));
    let bad = world.relay.signal_from_server(&here, Recipients::All, bad, Duration::ZERO);
    assert!(matches!(bad, Err(RejectionReason::Invalid(_))), "{bad:?}");
    // None of ids_of used up a number.
    world.send_from_server(&here, Recipients::All, "first").unwrap();
    let Some(Received::Signal { seq: 1, .. }) = alice.read().pop() else { panic!() };
    assert!(watcher.signals().is_empty());
}

#[test]
fn a_server_lists_and_disconnects_connections() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let [alice, bob, carol] = [1, 2, 3].map(|_| world.join(&here, Role::Publisher));
    let list = || -> Vec<_> {
        world.relay.connections(&here).iter().map(|listed| listed.info.id).collect()
    };
    assert_eq!(list(), [alice.id, bob.id, carol.id], "oldest first");
    alice.read();
    assert_eq!(world.relay.force_disconnect(&here, bob.id, Duration::ZERO), Ok(()));
    assert_eq!(bob.closed(), Some(CloseReason::ForceDisconnected));
    assert_eq!(alice.read(), [Received::Destroyed(bob.id, DisconnectReason::ForceDisconnected)]);
    assert_eq!(list(), [alice.id, carol.id]);
    let again = world.relay.force_disconnect(&here, bob.id, Duration::ZERO);
    assert_eq!(again, Err(RejectionReason::NotFound(bob.id)));
    // A connection is reached through its own session only.
    let elsewhere = world.relay.force_disconnect(&session(2, 1), carol.id, Duration::ZERO);
    assert_eq!(elsewhere, Err(RejectionReason::NotFound(carol.id)));
    assert_eq!(carol.closed(), None);
    assert!(world.relay.connections(&session(2, 1)).is_empty());
}

#[test]
fn an_observer_sees_the_events_of_the_session_in_order() {
    let mut world = World::new(Settings { outbox_frames: 2, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    // Presence that a client declines is still the observer's.
    let slow = world.try_join(&here, Role::Publisher, false, Encoding::Json).unwrap();
    alice.read();
    for n in 0..3 {
        alice.send(&n.to_string()).unwrap();
        alice.read();
    }
    let (alice_id, slow_id) = (alice.id, slow.id);
    alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    let bob = world.join(&here, Role::Publisher);
    world.relay.shut_down();
    drop((slow, bob.connection));
    let heard: Vec<_> =
        world.journal.take().into_iter().map(|(_, id, reason)| (id, reason)).collect();
    let network = Some(DisconnectReason::NetworkDisconnected);
    assert_eq!(
        heard,
        [
            (alice_id, None),
            (slow_id, None),
            (slow_id, network),
            (alice_id, Some(DisconnectReason::ClientDisconnected)),
            (bob.id, None),
            (bob.id, network),
        ]
    );
}

#[test]
fn a_project_has_a_session_limit() {
    let project = ProjectLimits { sessions: 2, ..ProjectLimits::default() };
    let mut world = World::new(Settings { project, ..Settings::default() });
    let mut join = |project, number| {
        world.try_join(&session(project, number), Role::Publisher, true, Encoding::Json)
    };
    let first = join(1, 1).unwrap();
    let _second = join(1, 2).unwrap();
    assert_eq!(join(1, 3).err(), Some(JoinError::TooManySessions));
    let _same = join(1, 2).unwrap();
    let _other_project = join(2, 3).unwrap();
    drop(first);
    // Who was refused left nothing behind that would count.
    join(1, 3).unwrap();
    join(1, 3).unwrap();
}

#[test]
fn a_project_has_one_rate_for_all_its_clients_and_servers() {
    let project = ProjectLimits { signals_per_second: 3, ..ProjectLimits::default() };
    let mut world = World::new(Settings { project, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let mut bob = world.join(&session(1, 2), Role::Publisher);
    let mut stranger = world.join(&session(2, 1), Role::Publisher);
    alice.send("1").unwrap();
    bob.send("2").unwrap();
    // A signal that is rejected for another reason uses up no rate.
    alice.send(&"x".repeat(9000)).unwrap_err();
    world.send_from_server(&session(1, 1), Recipients::All, "3").unwrap();
    let over = SignalError::Rejected { seq: 3, reason: RejectionReason::ProjectRateLimited };
    assert_eq!(alice.send("4"), Err(over));
    let served = world.send_from_server(&session(1, 2), Recipients::All, "4");
    assert_eq!(served, Err(RejectionReason::ProjectRateLimited));
    for _ in 0..3 {
        stranger.send("another project").unwrap();
    }
}

#[test]
fn a_projects_rate_limit_outlives_its_connections() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let limits = ProjectLimits { signals_per_second: 2, ..ProjectLimits::default() };
    world.relay.set_limits(HashMap::from([(here.project().clone(), limits)]));
    for _ in 0..2 {
        let mut alice = world.join(&here, Role::Publisher);
        alice.send("one of two").unwrap();
    }
    assert!(world.join(&here, Role::Publisher).send("one too many").is_err());
}

#[test]
fn limits_can_change_while_connections_exist() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let limits = ProjectLimits {
        connections: 2,
        sessions: 1,
        signals_per_second: 1,
        ..ProjectLimits::default()
    };
    world.relay.set_limits(HashMap::from([(session(1, 1).project().clone(), limits)]));
    alice.send("1").unwrap();
    assert!(alice.send("2").is_err());
    let mut join = |number| {
        world.try_join(&session(1, number), Role::Publisher, true, Encoding::Json).map(|_| ())
    };
    assert_eq!(join(2), Err(JoinError::TooManySessions));
    assert_eq!(join(1), Ok(()));
    world.relay.set_limits(HashMap::new());
    alice.send("3").unwrap();
    alice.send("4").unwrap();
}
