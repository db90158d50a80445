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
    Encoding, JoinError, ProjectLimits, Recipients, Refused, Settings, SignalError,
};
use world::{Told, World, session, these};

#[test]
fn a_servers_signals_have_no_sender_and_one_order() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let forms = [Encoding::PerSender, Encoding::Shared, Encoding::Json];
    let receivers = forms.map(|form| world.try_join(&here, Role::Subscriber, false, form).unwrap());
    world.serve(&here, Recipients::All, "all").unwrap();
    world.serve(&here, Recipients::One(receivers[0].id), "one").unwrap();
    world.serve(&here, Recipients::All, "all again").unwrap();
    let signal = |seq, data: &str| Told::Signal {
        from: GatewayId::default().into(),
        seq,
        data: data.into(),
    };
    assert_eq!(
        receivers[0].read(),
        [signal(1, "all"), signal(2, "one"), signal(3, "all again")],
        "one sender, whoever is meant"
    );
    for other in &receivers[1..] {
        assert_eq!(other.read(), [signal(1, "all"), signal(3, "all again")]);
    }
}

#[test]
fn a_server_may_name_its_recipients_or_except_some() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let [alice, bob, carol] = [1, 2, 3].map(|_| world.join(&here, Role::Publisher));
    let mute = world.join(&here, Role::PublisherOnly);
    let stranger = world.join(&session(1, 2), Role::Publisher);
    let named = these([&alice, &stranger, &mute]);
    let mut missing = world.serve(&here, Recipients::Only(&named), "only").unwrap();
    missing.sort();
    assert_eq!(missing, [mute.id, stranger.id], "who was not reached is said");
    assert_eq!(world.serve(&here, Recipients::Except(&these([&alice])), "except"), Ok(vec![]));
    assert_eq!(alice.hear(), ["only"]);
    assert_eq!(bob.hear(), ["except"]);
    assert_eq!(carol.hear(), ["except"]);
    assert!(stranger.hear().is_empty());
}

#[test]
fn a_signal_that_reaches_nobody_is_an_error() {
    let mut world = World::new(Settings::default());
    let (here, empty) = (session(1, 1), session(1, 2));
    let alice = world.join(&here, Role::Publisher);
    let watcher = world.join(&here, Role::PublisherOnly);
    let absent = world.join(&session(1, 3), Role::Publisher);
    let nobody = Err(Refused::NobodyThere);
    assert_eq!(world.serve(&empty, Recipients::All, "x"), nobody);
    assert_eq!(world.serve(&empty, Recipients::Except(&these([])), "x"), nobody);
    let none = Err(Refused::NoneReached);
    assert_eq!(world.serve(&here, Recipients::Only(&these([&absent, &watcher])), "x"), none);
    let not_found = Err(Refused::NotFound(absent.id));
    assert_eq!(world.serve(&here, Recipients::One(absent.id), "x"), not_found);
    let does_not_receive = Err(Refused::DoesNotReceive(watcher.id));
    assert_eq!(world.serve(&here, Recipients::One(watcher.id), "x"), does_not_receive);
    let bad = Signal::new(Some("no spaces"), Some("x"));
    let bad = world.relay.signal_from_server(&here, Recipients::All, bad, Duration::ZERO);
    assert!(matches!(bad, Err(Refused::Invalid(_))), "{bad:?}");
    // None of these used up a number.
    world.serve(&here, Recipients::All, "first").unwrap();
    let Some(Told::Signal { seq: 1, .. }) = alice.read().pop() else { panic!() };
    assert!(watcher.hear().is_empty());
}

#[test]
fn a_server_sees_and_disconnects_anybody() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let [alice, bob, carol] = [1, 2, 3].map(|_| world.join(&here, Role::Publisher));
    let list = || -> Vec<_> {
        world.relay.connections(&here).iter().map(|listed| listed.info.id).collect()
    };
    assert_eq!(list(), [alice.id, bob.id, carol.id], "oldest first");
    alice.read();
    assert_eq!(world.relay.force_disconnect(&here, bob.id, Duration::ZERO), Ok(()));
    assert_eq!(bob.ended(), Some(CloseReason::ForceDisconnected));
    assert_eq!(alice.read(), [Told::Destroyed(bob.id, DisconnectReason::ForceDisconnected)]);
    assert_eq!(list(), [alice.id, carol.id]);
    let again = world.relay.force_disconnect(&here, bob.id, Duration::ZERO);
    assert_eq!(again, Err(Refused::NotFound(bob.id)));
    // A connection is reached through its own session only.
    let elsewhere = world.relay.force_disconnect(&session(2, 1), carol.id, Duration::ZERO);
    assert_eq!(elsewhere, Err(Refused::NotFound(carol.id)));
    assert_eq!(carol.ended(), None);
    assert!(world.relay.connections(&session(2, 1)).is_empty());
}

#[test]
fn an_observer_hears_what_the_session_saw() {
    let mut world = World::new(Settings { outbox_frames: 2, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    // Presence that a client declines is still the observer's.
    let slow = world.try_join(&here, Role::Publisher, false, Encoding::Json).unwrap();
    alice.read();
    for n in 0..3 {
        alice.say(&n.to_string()).unwrap();
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
fn a_projects_sessions_are_counted() {
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
    alice.say("1").unwrap();
    bob.say("2").unwrap();
    // What is refused for another reason takes nothing away.
    alice.say(&"x".repeat(9000)).unwrap_err();
    world.serve(&session(1, 1), Recipients::All, "3").unwrap();
    let over = SignalError::Refused { seq: 3, refused: Refused::ProjectRateLimited };
    assert_eq!(alice.say("4"), Err(over));
    let served = world.serve(&session(1, 2), Recipients::All, "4");
    assert_eq!(served, Err(Refused::ProjectRateLimited));
    for _ in 0..3 {
        stranger.say("another project").unwrap();
    }
}

#[test]
fn a_projects_rate_is_not_forgotten_when_all_leave() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let limits = ProjectLimits { signals_per_second: 2, ..ProjectLimits::default() };
    world.relay.set_limits(HashMap::from([(here.project().clone(), limits)]));
    for _ in 0..2 {
        let mut alice = world.join(&here, Role::Publisher);
        alice.say("one of two").unwrap();
    }
    assert!(world.join(&here, Role::Publisher).say("one too many").is_err());
}

#[test]
fn limits_change_under_those_who_are_there() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let limits = ProjectLimits {
        connections: 2,
        sessions: 1,
        signals_per_second: 1,
        ..ProjectLimits::default()
    };
    world.relay.set_limits(HashMap::from([(session(1, 1).project().clone(), limits)]));
    alice.say("1").unwrap();
    assert!(alice.say("2").is_err());
    let mut join = |number| {
        world.try_join(&session(1, number), Role::Publisher, true, Encoding::Json).map(|_| ())
    };
    assert_eq!(join(2), Err(JoinError::TooManySessions));
    assert_eq!(join(1), Ok(()));
    world.relay.set_limits(HashMap::new());
    alice.say("3").unwrap();
    alice.say("4").unwrap();
}
