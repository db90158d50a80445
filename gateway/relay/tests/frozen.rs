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
    Encoding, ProjectLimits, Recipients, Refusal, Relay, ResumeError, Settings, Stats, Unusable,
};
use world::{
    Told, World,
    keeper::{FORMS, Keeper, servers, signal, whole},
    session,
};

#[test]
fn who_is_kept_goes_on_in_the_next_run_and_nobody_is_told() {
    for (before, after) in FORMS.iter().flat_map(|form| FORMS.map(|other| (*form, other))) {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut alice = Keeper::join(&mut world, &here, before);
        let mut bob = Keeper::join(&mut world, &here, before);
        alice.client().say("heard").unwrap();
        bob.news();
        alice.client().say("not read").unwrap();
        let (id, alice_id) = (bob.id, alice.id);
        alice.client().say_to(id, "for one").unwrap();
        world.serve(&here, Recipients::All, "from a server").unwrap();
        world.journal.take();

        let links = [alice.client.take().unwrap(), bob.client.take().unwrap()];
        let away = world.restart();
        for link in links {
            assert_eq!(link.ended(), Some(CloseReason::ShuttingDown));
            link.connection.lost(world.now);
        }
        assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 2 });
        assert_eq!(world.relay.connections(&here).len(), 2);

        assert_eq!(bob.resume(&world, after), Ok(whole(0)));
        alice.cursors.insert(alice_id.into(), 1);
        alice.events = 1;
        assert_eq!(alice.resume(&world, after), Ok(whole(3)));
        alice.client().say("live").unwrap();
        world.serve(&here, Recipients::One(id), "and on").unwrap();
        let news = bob.news();
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
        let heard = |told: &Told| matches!(told, Told::Signal { .. });
        assert!(alice.news().iter().all(heard));
        drop(away);
        assert_eq!(world.journal.take(), [], "nobody was created or destroyed");
    }
}

#[test]
fn what_was_refused_is_known_in_the_next_run() {
    let mut world = World::new(Settings::default());
    let mut alice = Keeper::join(&mut world, &session(1, 1), Encoding::Json);
    alice.client().connection.tell_error(Some(1), ErrorCode::NotFound, "no such thing");
    let _away = world.restart();
    let comeback = alice.comeback(Encoding::Json, [1; 32]);
    let refused = world.relay.resume(&comeback, world.now).unwrap().1.refused;
    let message = "no such thing".into();
    assert_eq!(refused, [Refusal { signal: 1, code: ErrorCode::NotFound, message }]);
}

#[test]
fn who_does_not_come_back_to_the_next_run_ends_once() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
    let bob = Keeper::join(&mut world, &here, Encoding::Shared);
    let away_before = alice.lose(&world);
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
    let told = alice.news();
    assert_eq!(told.last(), Some(&Told::Destroyed(bob.id, gone)));
    drop(away);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 1 });
}

#[test]
fn who_is_not_kept_ends_and_the_others_hear_of_it_in_the_next_run() {
    let mut world = World::new(Settings::default());
    let (here, elsewhere) = (session(1, 1), session(2, 1));
    let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
    let bob = world.join(&here, Role::Publisher);
    let carol = world.join(&elsewhere, Role::Publisher);
    alice.read();
    world.journal.take();
    alice.client = None;
    let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
    world.journal.take();
    let _away = world.restart();
    let gone = DisconnectReason::NetworkDisconnected;
    let mut told = world.journal.take();
    told.sort_by_key(|(_, id, _)| *id);
    assert_eq!(told, [(here, bob.id, Some(gone)), (elsewhere, carol.id, Some(gone))]);
    assert_eq!(bob.ended(), Some(CloseReason::ShuttingDown));
    alice.client = None;
    assert_eq!(alice.resume(&world, Encoding::Json), Ok(whole(0)));
    assert_eq!(alice.news(), [Told::Destroyed(bob.id, gone)]);
}

#[test]
fn nothing_goes_on_in_a_relay_that_is_put_away() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
    let frozen = world.relay.freeze(usize::MAX, world.now);
    assert!(alice.client().say("late").is_err());
    assert_eq!(alice.resume(&world, Encoding::Json), Err(ResumeError::ShuttingDown));
    assert!(world.try_join(&here, Role::Publisher, true, Encoding::Json).is_err());
    world.journal.take();
    world.relay.abandon(&frozen);
    let gone = DisconnectReason::NetworkDisconnected;
    assert_eq!(world.journal.take(), [(here, alice.id, Some(gone))]);
}

/// What is kept for those who are away has the same bound in the next run, with what is from before.
#[test]
fn the_backlog_is_bounded_over_both_runs_together() {
    let lost = |restart: bool| {
        let mut world = World::new(Settings { backlog_bytes: 1000, ..Settings::default() });
        let here = session(1, 1);
        let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
        let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
        let say = |alice: &mut Keeper| {
            for n in 0..20 {
                alice.client().say(&n.to_string()).unwrap();
            }
        };
        say(&mut alice);
        let away = if restart { world.restart() } else { vec![bob.lose(&world)] };
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
fn a_session_without_room_ends() {
    let mut world = World::new(Settings::default());
    let mut all: Vec<_> = (1..=4)
        .map(|number| Keeper::join(&mut world, &session(1, number), Encoding::Shared))
        .collect();
    for keeper in &mut all {
        keeper.client().say(&"x".repeat(1000)).unwrap();
    }
    world.journal.take();
    let frozen = world.relay.freeze(3000, world.now);
    assert!(frozen.bytes.len() <= 3000, "{}", frozen.bytes.len());
    assert_eq!((frozen.connections, frozen.left_out), (2, 2));
    assert_eq!(world.journal.take().len(), 2);
    for mut keeper in all {
        assert_eq!(keeper.client().ended(), Some(CloseReason::ShuttingDown));
    }
}

#[test]
fn limits_that_are_lower_now_keep_nobody_out() {
    let mut world = World::new(Settings::default());
    let keepers = [1, 2].map(|n| Keeper::join(&mut world, &session(1, n), Encoding::Json));
    let frozen = world.relay.freeze(usize::MAX, world.now);
    let project = ProjectLimits { connections: 1, sessions: 1, ..ProjectLimits::default() };
    world.relay = Relay::new(Settings { project, ..Settings::default() }, world.journal.clone());
    let away = world.relay.thaw(&frozen.bytes, world.now).unwrap();
    assert_eq!(world.relay.stats(), Stats { sessions: 2, connections: 2 });
    assert!(world.try_join(&session(1, 1), Role::Publisher, true, Encoding::Json).is_err());
    drop((away, keepers));
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    assert!(world.try_join(&session(1, 1), Role::Publisher, true, Encoding::Json).is_ok());
}

/// A small relay, put away.
fn small() -> Vec<u8> {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = Keeper::join(&mut world, &here, Encoding::Shared);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let carol = world.join(&here, Role::Publisher);
    alice.client().say("to all").unwrap();
    let id = alice.id;
    bob.client().say_to(id, "to one").unwrap();
    carol.connection.leave(CloseReason::ForceDisconnected, world.now);
    alice.client().connection.tell_error(Some(2), ErrorCode::Forbidden, "no");
    bob.resume(&world, Encoding::Json).unwrap();
    world.relay.freeze(usize::MAX, world.now).bytes
}

/// If this fails, what is put away has another form than before: raise the format's number, and
/// put the new bytes here. (A gateway that finds those of before refuses them by their number.)
#[test]
fn the_format_is_the_one_of_its_number() {
    let text: String = small().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, include_str!("frozen.hex").trim());
}

#[test]
fn what_is_of_no_use_changes_nothing() {
    let world = World::new(Settings::default());
    let thaw = |bytes: &[u8]| world.relay.thaw(bytes, Duration::ZERO).err();
    let good = small();
    assert_eq!(thaw(&[]), Some(Unusable::Damaged));
    assert_eq!(thaw(&[1]), Some(Unusable::Format(1)));
    for end in 2..good.len() {
        assert_eq!(thaw(&good[..end]), Some(Unusable::Damaged), "{end}");
    }
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    assert_eq!(thaw(&good), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, at in any::<prop::sample::Index>(), with: u8) {
        let thaw = |bytes: &[u8]| {
            let _ = World::new(Settings::default()).relay.thaw(bytes, Duration::ZERO);
        };
        thaw(&bytes);
        thaw(&[&[2], &bytes[..]].concat());
        let mut changed = small();
        let at = at.index(changed.len());
        changed[at] = with;
        thaw(&changed);
    }
}
