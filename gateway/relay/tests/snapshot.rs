//! What the next run of a gateway takes up from the one before.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::time::Duration;

use proptest::prelude::*;
use signalbox_protocol::{CloseReason, DisconnectReason, ErrorCode, Role, message::Lost};
use signalbox_relay::{
    Encoding, ProjectLimits, Recipients, Rejection, Relay, RestoreError, ResumeError, Settings,
    Stats,
};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient, complete, servers, signal},
    session,
};

#[test]
fn resumable_connections_survive_a_restart_without_presence_events() {
    for (before, after) in
        ENCODINGS.iter().flat_map(|encoding| ENCODINGS.map(|other| (*encoding, other)))
    {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut alice = ResumableClient::join(&mut world, &here, before);
        let mut bob = ResumableClient::join(&mut world, &here, before);
        alice.client().send("heard").unwrap();
        bob.take_received();
        alice.client().send("not read").unwrap();
        let (id, alice_id) = (bob.id, alice.id);
        alice.client().send_to(id, "for one").unwrap();
        world.send_from_server(&here, Recipients::All, "from a server").unwrap();
        world.journal.take();

        let links = [alice.client.take().unwrap(), bob.client.take().unwrap()];
        let away = world.restart();
        for link in links {
            assert_eq!(link.closed(), Some(CloseReason::ShuttingDown));
            link.connection.detach(world.now);
        }
        assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 2 });
        assert_eq!(world.relay.connections(&here).len(), 2);

        assert_eq!(bob.resume(&world, after), Ok(complete(0)));
        alice.cursors.insert(alice_id.into(), 1);
        alice.events = 1;
        assert_eq!(alice.resume(&world, after), Ok(complete(3)));
        alice.client().send("live").unwrap();
        world.send_from_server(&here, Recipients::One(id), "and on").unwrap();
        let news = bob.take_received();
        assert_eq!(
            news,
            [
                signal(alice_id, 2, "not read"),
                signal(alice_id, 3, "for one"),
                signal(servers(), 1, "from a server"),
                signal(alice_id, 4, "live"),
                signal(servers(), 2, "and on"),
            ],
            "{before:?} and {after:?}"
        );
        let heard = |received: &Received| matches!(received, Received::Signal { .. });
        assert!(alice.take_received().iter().all(heard));
        drop(away);
        assert_eq!(world.journal.take(), [], "no connection was created or destroyed");
    }
}

#[test]
fn rejections_survive_a_restart() {
    let mut world = World::new(Settings::default());
    let mut alice = ResumableClient::join(&mut world, &session(1, 1), Encoding::Json);
    alice.client().connection.send_error(Some(1), ErrorCode::NotFound, "no such thing");
    let _away = world.restart();
    let request = alice.request(Encoding::Json, [1; 32]);
    let refused = world.relay.resume(&request, world.now).unwrap().1.rejections;
    let message = "no such thing".into();
    assert_eq!(refused, [Rejection { signal: 1, code: ErrorCode::NotFound, message }]);
}

#[test]
fn a_connection_that_is_not_resumed_after_a_restart_ends_once() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    let bob = ResumableClient::join(&mut world, &here, Encoding::Shared);
    let away_before = alice.detach(&world);
    world.journal.take();
    let mut away = world.restart();
    drop(away_before);
    assert_eq!(world.journal.take(), []);
    alice.resume(&world, Encoding::Json).unwrap();
    let of_bob = away.iter().position(|away| away.id() == bob.id).unwrap();
    assert_eq!(away[of_bob].session_id(), &here);
    away.swap_remove(of_bob).expire(world.now);
    let gone = DisconnectReason::NetworkDisconnected;
    assert_eq!(world.journal.take(), [(here, bob.id, Some(gone))]);
    let received = alice.take_received();
    assert_eq!(received.last(), Some(&Received::Destroyed(bob.id, gone)));
    drop(away);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 1 });
}

#[test]
fn other_connections_end_and_resumed_ones_learn_of_it() {
    let mut world = World::new(Settings::default());
    let (here, elsewhere) = (session(1, 1), session(2, 1));
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&elsewhere, Role::Publisher);
    alice.read();
    world.journal.take();
    alice.client = None;
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    world.journal.take();
    let _away = world.restart();
    let gone = DisconnectReason::NetworkDisconnected;
    let mut received = world.journal.take();
    received.sort_by_key(|(_, id, _)| *id);
    assert_eq!(received, [(here, bob.id, Some(gone)), (elsewhere, carol.id, Some(gone))]);
    assert_eq!(bob.closed(), Some(CloseReason::ShuttingDown));
    alice.client = None;
    assert_eq!(alice.resume(&world, Encoding::Json), Ok(complete(0)));
    assert_eq!(alice.take_received(), [Received::Destroyed(bob.id, gone)]);
}

#[test]
fn a_relay_does_nothing_after_its_snapshot() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    let snapshot = world.relay.snapshot(usize::MAX, world.now);
    assert!(alice.client().send("late").is_err());
    assert_eq!(alice.resume(&world, Encoding::Json), Err(ResumeError::ShuttingDown));
    assert!(world.try_join(&here, Role::Publisher, true, Encoding::Json).is_err());
    world.journal.take();
    world.relay.discard(&snapshot);
    let gone = DisconnectReason::NetworkDisconnected;
    assert_eq!(world.journal.take(), [(here, alice.id, Some(gone))]);
}

/// The history of detached members has the same bound in the next run, earlier entries included.
#[test]
fn the_history_is_bounded_across_a_restart() {
    let lost = |restart: bool| {
        let mut world = World::new(Settings { history_bytes: 1000, ..Settings::default() });
        let here = session(1, 1);
        let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
        let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
        let say = |alice: &mut ResumableClient| {
            for n in 0..20 {
                alice.client().send(&n.to_string()).unwrap();
            }
        };
        say(&mut alice);
        let away = if restart { world.restart() } else { vec![bob.detach(&world)] };
        if restart {
            alice.resume(&world, Encoding::Json).unwrap();
        }
        say(&mut alice);
        let lost = bob.resume(&world, Encoding::Json).unwrap().lost;
        drop(away);
        lost
    };
    let [Lost { until: 30.., .. }] = lost(false)[..] else { panic!("nothing is dropped") };
    assert_eq!(lost(true), lost(false));
}

#[test]
fn a_session_that_does_not_fit_ends() {
    let mut world = World::new(Settings::default());
    let mut all: Vec<_> = (1..=4)
        .map(|number| ResumableClient::join(&mut world, &session(1, number), Encoding::Shared))
        .collect();
    for resumable in &mut all {
        resumable.client().send(&"x".repeat(1000)).unwrap();
    }
    world.journal.take();
    let snapshot = world.relay.snapshot(3000, world.now);
    assert!(snapshot.bytes.len() <= 3000, "{}", snapshot.bytes.len());
    assert_eq!((snapshot.connections, snapshot.left_out), (2, 2));
    assert_eq!(world.journal.take().len(), 2);
    for mut resumable in all {
        assert_eq!(resumable.client().closed(), Some(CloseReason::ShuttingDown));
    }
}

#[test]
fn restored_connections_are_exempt_from_limits() {
    let mut world = World::new(Settings::default());
    let resumables =
        [1, 2].map(|n| ResumableClient::join(&mut world, &session(1, n), Encoding::Json));
    let snapshot = world.relay.snapshot(usize::MAX, world.now);
    let project = ProjectLimits { connections: 1, sessions: 1, ..ProjectLimits::default() };
    world.relay = Relay::new(Settings { project, ..Settings::default() }, world.journal.clone());
    let away = world.relay.restore(&snapshot.bytes, world.now).unwrap();
    assert_eq!(world.relay.stats(), Stats { sessions: 2, connections: 2 });
    assert!(world.try_join(&session(1, 1), Role::Publisher, true, Encoding::Json).is_err());
    drop((away, resumables));
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    assert!(world.try_join(&session(1, 1), Role::Publisher, true, Encoding::Json).is_ok());
}

/// The snapshot of a small relay.
fn small() -> Vec<u8> {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Shared);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let carol = world.join(&here, Role::Publisher);
    alice.client().send("to all").unwrap();
    let id = alice.id;
    bob.client().send_to(id, "to one").unwrap();
    carol.connection.leave(CloseReason::ForceDisconnected, world.now);
    alice.client().connection.send_error(Some(2), ErrorCode::Forbidden, "no");
    bob.resume(&world, Encoding::Json).unwrap();
    world.relay.snapshot(usize::MAX, world.now).bytes
}

/// If this fails, the encoding of snapshots has changed: raise the format's number, and
/// put the new bytes here. (A gateway that finds those of before refuses them by their number.)
#[test]
fn the_format_matches_its_number() {
    let text: String = small().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, include_str!("snapshot.hex").trim());
}

#[test]
fn an_unusable_snapshot_changes_nothing() {
    let world = World::new(Settings::default());
    let thaw = |bytes: &[u8]| world.relay.restore(bytes, Duration::ZERO).err();
    let good = small();
    assert_eq!(thaw(&[]), Some(RestoreError::Damaged));
    assert_eq!(thaw(&[1]), Some(RestoreError::Format { found: 1, supported: 8 }));
    for end in 2..good.len() {
        assert_eq!(thaw(&good[..end]), Some(RestoreError::Damaged), "{end}");
    }
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    assert_eq!(thaw(&good), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at in any::<prop::sample::Index>(), with: u8) {
        let thaw = |bytes: &[u8]| {
            let _ = World::new(Settings::default()).relay.restore(bytes, Duration::ZERO);
        };
        thaw(&bytes);
        thaw(&[&[8], &bytes[..]].concat());
        let mut changed = small();
        let at = at.index(changed.len());
        changed[at] = with;
        thaw(&changed);
    }
}
