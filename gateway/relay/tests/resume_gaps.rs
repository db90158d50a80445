//! Signals and presence events that a resuming client has lost, and how it learns of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::time::Duration;

use signalbox_protocol::{CloseReason, Role, message::Lost};
use signalbox_relay::{Encoding, Settings};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient, ResumeAnswer, complete, signal},
    session,
};

#[test]
fn trimmed_signals_are_a_gap_that_names_their_sender() {
    let mut world = World::new(Settings { history_bytes: 600, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let mut carol = world.join(&here, Role::Publisher);
    alice.send("heard").unwrap();
    bob.take_received();
    let _away = bob.detach(&world);
    carol.send_to(alice.id, "not for bob").unwrap();
    for n in 0..20 {
        alice.send(&n.to_string()).unwrap();
    }
    let answer = bob.resume(&world, Encoding::Shared).unwrap();
    assert_eq!(answer.present, None, "no presence is lost");
    let [Lost { ref from, after: 1, until }] = answer.lost[..] else { panic!("{answer:?}") };
    assert_eq!(*from, alice.id.into());
    assert!((2..21).contains(&until), "{until}");
    let received = bob.take_received();
    assert_eq!(received.first(), Some(&signal(from.clone(), until + 1, &(until - 1).to_string())));
    assert_eq!(received.len() as u64, 21 - until, "the rest of the history is replayed, in order");
    // The gap is reported once.
    let _away = bob.detach(&world);
    assert_eq!(bob.resume(&world, Encoding::Shared), Ok(complete(0)));
}

#[test]
fn lost_presence_events_cause_a_full_resync() {
    let mut world = World::new(Settings { history_bytes: 500, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::PerSender);
    bob.take_received();
    let old = (bob.secret, bob.events);
    let _away = bob.detach(&world);
    let carol = world.join(&here, Role::Publisher);
    for _ in 0..10 {
        let mut passing = world.join(&here, Role::Publisher);
        passing.send("hello and goodbye").unwrap();
    }
    for n in 0..10 {
        alice.send(&n.to_string()).unwrap();
    }
    let answer = bob.resume(&world, Encoding::PerSender).unwrap();
    assert_eq!(answer.present, Some(vec![alice.id, carol.id]));
    let known = |received: &Received| matches!(received, Received::Signal { from, .. } if *from == alice.id.into());
    assert!(bob.take_received().iter().all(known), "no signal of departed connections");
    // Who has not read that far counts as before.
    (bob.secret, bob.events) = old;
    bob.cursors.clear();
    let _away = bob.detach(&world);
    let again = bob.resume(&world, Encoding::PerSender).unwrap();
    assert_eq!(again.present, Some(vec![alice.id, carol.id]));
    // From here on everything is received.
    bob.client().connection.confirm_ticket();
    bob.take_received();
    let _away = bob.detach(&world);
    let dave = world.join(&here, Role::Publisher);
    assert_eq!(bob.resume(&world, Encoding::PerSender), Ok(complete(0)));
    assert_eq!(bob.take_received(), [Received::Created(dave.id)]);
}

#[test]
fn signals_of_a_departed_sender_are_replayed_only_on_request() {
    for named in [false, true] {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
        let mut alice = world.join(&here, Role::Publisher);
        alice.send("one").unwrap();
        alice.send("two").unwrap();
        let id = alice.id;
        alice.connection.leave(CloseReason::ClientDisconnected, world.now);
        // It has read all of that. A client drops the cursor of a connection whose end it has received; over streams it
        // may have read the end and still wait for what comes before it.
        bob.take_received();
        bob.cursors.remove(&id.into());
        if named {
            bob.cursors.insert(id.into(), 1);
        }
        let _away = bob.detach(&world);
        assert_eq!(bob.resume(&world, Encoding::Json), Ok(complete(0)));
        let expected = if named { vec![signal(id, 2, "two")] } else { vec![] };
        assert_eq!(bob.take_received(), expected);
    }
}

#[test]
fn a_gap_of_a_departed_sender_is_reported_only_to_a_waiting_client() {
    for presence in [true, false] {
        // Room for the connection's end and some of its last signals, or for none of them.
        for later in [0, 10] {
            for waited_for in [false, true] {
                let mut world = World::new(Settings { history_bytes: 1500, ..Settings::default() });
                let here = session(1, 1);
                let mut bob =
                    ResumableClient::join_with(&mut world, &here, Encoding::Json, presence);
                let mut alice = world.join(&here, Role::Publisher);
                let mut carol = world.join(&here, Role::Publisher);
                for n in 0..40 {
                    carol.send(&n.to_string()).unwrap();
                    bob.take_received();
                }
                let id = carol.id;
                carol.connection.leave(CloseReason::ClientDisconnected, world.now);
                bob.take_received();
                let _away = bob.detach(&world);
                for n in 0..later {
                    alice.send(&n.to_string()).unwrap();
                }
                if waited_for {
                    bob.cursors.insert(id.into(), 5);
                } else if presence {
                    bob.cursors.remove(&id.into());
                }
                let answer = bob.resume(&world, Encoding::Json).unwrap();
                let of_carol = answer.lost.iter().any(|lost| lost.from == id.into());
                let received = of_carol || answer.present.is_some();
                if waited_for {
                    assert!(received, "{presence} {later}: {answer:?}");
                } else if presence {
                    assert_eq!(answer, complete(0), "{later}");
                }
                let again = |received: &Received| matches!(received, Received::Signal { from, .. } if *from == id.into());
                let again = bob.take_received().iter().filter(|received| again(received)).count();
                assert!(waited_for || again == 0, "{presence} {later}: {again}");
            }
        }
    }
}

#[test]
fn entries_beyond_the_maximum_age_are_trimmed() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    alice.read();
    let _away = bob.detach(&world);
    alice.send("old").unwrap();
    world.now = Duration::from_secs(61);
    let lost = vec![Lost { from: alice.id.into(), after: 0, until: 1 }];
    let answer = bob.resume(&world, Encoding::Json).unwrap();
    assert_eq!(answer, ResumeAnswer { signals: 0, lost, present: None });
}

/// What was reported: after a gap in presence, the signals that a client has not read when its link
/// breaks again were never sent to it.
#[test]
fn a_partly_read_replay_after_a_presence_gap_continues_at_the_next_resume() {
    for encoding in ENCODINGS {
        let mut world = World::new(Settings { history_bytes: 4000, ..Settings::default() });
        let here = session(1, 1);
        let mut alice = world.join(&here, Role::Publisher);
        let mut bob = ResumableClient::join(&mut world, &here, encoding);
        bob.take_received();
        let _away = bob.detach(&world);
        drop(world.join(&here, Role::Publisher));
        for n in 1..=100 {
            alice.send(&n.to_string()).unwrap();
            alice.read();
        }
        let answer = bob.resume(&world, encoding).unwrap();
        assert_eq!(answer.present, Some(vec![alice.id]));
        let [Lost { until, .. }] = answer.lost[..] else { panic!("{answer:?}") };
        bob.read_some(10);
        let _away = bob.detach(&world);
        let answer = bob.resume(&world, encoding).unwrap();
        assert_eq!((answer.lost, answer.present), (vec![], None), "nothing else is lost");
        let all: Vec<_> = (until + 1..=100).map(|n| signal(alice.id, n, &n.to_string())).collect();
        assert_eq!(bob.take_received(), all, "{encoding:?}");
    }
}
