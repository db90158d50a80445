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
use signalbox_relay::{Encoding, JoinError, ProjectLimits, Refused, Settings, SignalError, Stats};
use world::{Client, Told, World, session};

fn refused(result: Result<(), SignalError>) -> (u64, ErrorCode) {
    match result {
        Err(SignalError::Refused { seq, refused }) => (seq, refused.code()),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_signal_to_all_reaches_all_of_the_session_and_its_sender() {
    let mut world = World::new(Settings::default());
    let (here, elsewhere) = (session(1, 1), session(1, 2));
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Subscriber);
    let stranger = world.join(&elsewhere, Role::Publisher);
    alice.say("hello").unwrap();
    assert_eq!(alice.hear(), ["hello"]);
    assert_eq!(bob.hear(), ["hello"]);
    assert!(stranger.read().is_empty());
}

#[test]
fn a_signal_to_one_reaches_that_one_only() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&here, Role::Publisher);
    alice.say_to(bob.id, "psst").unwrap();
    assert_eq!(bob.hear(), ["psst"]);
    assert!(alice.hear().is_empty() && carol.hear().is_empty());
    alice.say_to(alice.id, "note to self").unwrap();
    assert_eq!(alice.hear(), ["note to self"]);
}

#[test]
fn a_signal_to_someone_who_is_not_there_is_an_error_for_the_sender_alone() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let stranger = world.join(&session(1, 2), Role::Publisher);
    assert_eq!(refused(alice.say_to(stranger.id, "hello")), (1, ErrorCode::NotFound));
    assert!(stranger.read().is_empty());
    // Its number is used up, and the connection lives on.
    alice.say("still here").unwrap();
    let Some(Told::Signal { seq: 2, .. }) = alice.read().pop() else { panic!() };
}

#[test]
fn every_form_of_receiver_gets_the_same() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let forms = [Encoding::PerSender, Encoding::Shared, Encoding::Json];
    let receivers = forms.map(|form| world.try_join(&here, Role::Subscriber, true, form).unwrap());
    for receiver in &receivers {
        receiver.read();
    }
    let mut alice = world.join(&here, Role::Publisher);
    alice.say("one").unwrap();
    alice.say_to(receivers[0].id, "two").unwrap();
    alice.say_to(receivers[1].id, "two").unwrap();
    alice.say_to(receivers[2].id, "two").unwrap();
    let from = alice.id;
    alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    for (index, receiver) in receivers.iter().enumerate() {
        assert_eq!(
            receiver.read(),
            [
                Told::Created(from),
                Told::Signal { from: from.into(), seq: 1, data: "one".into() },
                Told::Signal { from: from.into(), seq: 2 + index as u64, data: "two".into() },
                Told::Destroyed(from, DisconnectReason::ClientDisconnected),
            ]
        );
    }
}

#[test]
fn whoever_joins_learns_who_is_there_and_the_others_learn_of_it() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&here, Role::Publisher);
    assert_eq!(carol.present, [alice.id, bob.id]);
    assert_eq!(alice.read(), [Told::Created(bob.id), Told::Created(carol.id)]);
    assert_eq!(carol.read(), []);
    let (left, lost) = (alice.id, bob.id);
    alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    assert!(bob.connection.lost(Duration::ZERO).is_none(), "it did not ask to be kept");
    assert_eq!(
        carol.read(),
        [
            Told::Destroyed(left, DisconnectReason::ClientDisconnected),
            Told::Destroyed(lost, DisconnectReason::NetworkDisconnected),
        ]
    );
}

#[test]
fn whoever_wants_no_presence_is_spared_it() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let talker = world.join(&here, Role::Publisher);
    for form in [Encoding::PerSender, Encoding::Json] {
        let quiet = world.try_join(&here, Role::Publisher, false, form).unwrap();
        assert!(quiet.present.is_empty());
        let silent = world.join(&here, Role::Publisher);
        silent.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
        assert_eq!(quiet.read(), [], "{form:?}");
    }
    // A link with a stream per sender must still learn that a sender is gone.
    let quiet = world.try_join(&here, Role::Publisher, false, Encoding::PerSender).unwrap();
    let mut speaker = world.join(&here, Role::Publisher);
    speaker.say("bye").unwrap();
    let id = speaker.id;
    speaker.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    assert_eq!(quiet.read().pop(), Some(Told::Destroyed(id, DisconnectReason::ClientDisconnected)));
    drop(talker);
}

#[test]
fn roles_decide_who_may_what() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut publisher = world.join(&here, Role::Publisher);
    let mut subscriber = world.join(&here, Role::Subscriber);
    let mut mute = world.join(&here, Role::PublisherOnly);
    let moderator = world.join(&here, Role::Moderator);
    subscriber.read();
    assert_eq!(refused(subscriber.say("x")), (1, ErrorCode::Forbidden));
    assert_eq!(refused(mute.say("x")), (1, ErrorCode::Forbidden));
    publisher.say("to all").unwrap();
    assert_eq!(subscriber.hear(), ["to all"]);
    assert!(mute.hear().is_empty(), "publisheronly receives no signals");
    assert_eq!(refused(publisher.say_to(mute.id, "x")).1, ErrorCode::Forbidden);
    for other in [&publisher, &subscriber, &mute] {
        let result = other.connection.force_disconnect(moderator.id, Duration::ZERO);
        assert!(matches!(result, Err(Refused::MayNotDisconnect(_))));
    }
    moderator.connection.force_disconnect(publisher.id, Duration::ZERO).unwrap();
    assert_eq!(publisher.ended(), Some(CloseReason::ForceDisconnected));
    assert_eq!(publisher.say("too late"), Err(SignalError::Ended));
    assert_eq!(
        subscriber.read(),
        [Told::Destroyed(publisher.id, DisconnectReason::ForceDisconnected)]
    );
    assert_eq!(
        moderator.connection.force_disconnect(publisher.id, Duration::ZERO),
        Err(Refused::NotFound(publisher.id))
    );
    // Its own end comes later and is not told twice.
    drop(publisher);
    assert_eq!(subscriber.read(), []);
}

#[test]
fn subscribers_may_send_if_the_setting_says_so() {
    let mut world = World::new(Settings { subscribers_may_send: true, ..Settings::default() });
    let mut subscriber = world.join(&session(1, 1), Role::Subscriber);
    subscriber.say("hello").unwrap();
    assert_eq!(subscriber.hear(), ["hello"]);
}

#[test]
fn a_sender_over_its_rate_is_refused_and_then_not() {
    let mut world = World::new(Settings { signals_per_second: 2, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let ping = || Signal::default();
    let at = Duration::from_millis;
    alice.connection.signal(None, ping(), at(5000)).unwrap();
    alice.connection.signal(None, ping(), at(5000)).unwrap();
    let third = alice.connection.signal(None, ping(), at(5000));
    assert_eq!(refused(third), (3, ErrorCode::RateLimited));
    alice.connection.signal(None, ping(), at(5500)).unwrap();
}

#[test]
fn an_error_waits_in_line_with_the_rest() {
    let mut world = World::new(Settings::default());
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    alice.say("one").unwrap();
    alice.connection.tell_error(Some(7), ErrorCode::NotFound, "not there");
    let [Told::Signal { .. }, Told::Error { signal: Some(7), code: ErrorCode::NotFound }] =
        alice.read()[..]
    else {
        panic!()
    };
}

#[test]
fn a_receiver_that_does_not_read_is_ended_and_costs_the_others_nothing() {
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
            alice.say("x").unwrap();
            heard += alice.hear().len();
        }
        assert_eq!(heard, 100);
        assert_eq!(stalled.ended(), Some(CloseReason::SlowConsumer));
        assert!(stalled.read().is_empty(), "what waited is dropped with the connection");
    }
}

#[test]
fn what_is_taken_but_not_written_still_counts() {
    let mut world = World::new(Settings { outbox_frames: 10, ..Settings::default() });
    let mut alice = world.join(&session(1, 1), Role::Publisher);
    let mut taken = std::collections::VecDeque::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..10 {
        alice.say("x").unwrap();
        assert!(alice.outbox.poll_take(&mut cx, &mut taken).is_ready());
    }
    assert_eq!(alice.outbox.load().0, 10);
    alice.say("one too many").unwrap();
    assert_eq!(alice.ended(), Some(CloseReason::SlowConsumer));
}

#[test]
fn farewells_that_overflow_others_end_them_one_after_another() {
    // The first is told of 49 others and can hold no more; its end is one too many for the
    // second, and so on.
    let mut world = World::new(Settings { outbox_frames: 49, ..Settings::default() });
    let here = session(1, 1);
    let mut clients: Vec<Client> = (0..50).map(|_| world.join(&here, Role::Publisher)).collect();
    let last = clients.pop().unwrap();
    last.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    for client in &clients {
        assert_eq!(client.ended(), Some(CloseReason::SlowConsumer));
    }
    drop(clients);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

#[test]
fn sessions_and_projects_take_only_so_many() {
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
fn at_shutdown_everyone_is_told_and_nobody_comes_in() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let bob = world.join(&here, Role::Publisher);
    alice.say("last words").unwrap();
    world.relay.shut_down();
    assert_eq!(bob.ended(), Some(CloseReason::ShuttingDown));
    assert_eq!(bob.hear(), ["last words"], "what waits may still be read");
    assert_eq!(alice.say("too late"), Err(SignalError::Ended));
    let refused = world.try_join(&here, Role::Publisher, true, Encoding::Json);
    assert_eq!(refused.err(), Some(JoinError::ShuttingDown));
}

#[test]
fn who_is_asked_to_go_hears_first_what_waits_for_it() {
    let settings = Settings { outbox_frames: 1, ..Settings::default() };
    let mut world = World::new(settings);
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    alice.say("a").unwrap();
    // Nobody is ended because there is no room for the question.
    alice.outbox.go_away(3000);
    let told = alice.read();
    assert!(matches!(told[..], [Told::Signal { .. }, Told::GoAway(3000)]), "{told:?}");
    assert_eq!(alice.ended(), None);
    alice.outbox.go_away(1000);
    assert_eq!(alice.read(), [Told::GoAway(1000)]);
}
