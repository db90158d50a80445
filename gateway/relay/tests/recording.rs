//! When a session records its history: exactly while a member is resumable.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use signalbox_protocol::{CloseReason, Role};
use signalbox_relay::{Encoding, Outgoing, Settings};
use world::{
    Client, World,
    resumable::{ENCODINGS, ResumableClient, complete, signal},
    session,
};

/// Whether the session records a signal that this member sends to itself. The member holds the only
/// frame of it; another reference is the history's.
fn records(member: &mut Client) -> bool {
    member.take();
    member.send_to(member.id, "to myself").unwrap();
    let taken = member.take();
    let frames: Vec<_> = taken
        .iter()
        .filter_map(|outgoing| match outgoing {
            Outgoing::Frame(frame) => Some(frame),
            _ => None,
        })
        .collect();
    let [frame] = frames[..] else { panic!("{taken:?}") };
    !frame.is_unique()
}

#[test]
fn a_session_without_resumable_members_records_nothing() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    assert!(!records(&mut alice), "at once after a join");
    let _bob = world.join(&here, Role::Publisher);
    assert!(!records(&mut alice), "nor after another");
}

#[test]
fn a_session_records_while_a_member_is_resumable() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    assert!(records(&mut alice), "attached");
    let away = bob.detach(&world);
    assert!(records(&mut alice), "detached");
    bob.resume(&world, Encoding::Json).unwrap();
    drop(away);
    assert!(records(&mut alice), "resumed");
    let mut carol = ResumableClient::join(&mut world, &here, Encoding::Json);
    let bob = bob.client.take().unwrap();
    bob.connection.leave(CloseReason::ClientDisconnected, world.now);
    assert!(records(&mut alice), "one of two is left");
    carol.detach(&world).expire(world.now);
    assert!(!records(&mut alice), "none is left");
}

/// Resumable members of the session before the one in question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Earlier {
    None,
    Left,
    Present,
}

#[test]
fn a_signal_right_after_the_join_is_replayed() {
    for encoding in ENCODINGS {
        for presence in [true, false] {
            for earlier in [Earlier::None, Earlier::Left, Earlier::Present] {
                // Little enough that the history of an earlier member is trimmed.
                let mut world = World::new(Settings { history_bytes: 1000, ..Settings::default() });
                let here = session(1, 1);
                let mut alice = world.join(&here, Role::Publisher);
                let mut carol = (earlier != Earlier::None)
                    .then(|| ResumableClient::join(&mut world, &here, Encoding::Json));
                for _ in 0..20 {
                    alice.send("before the join").unwrap();
                }
                if earlier == Earlier::Left {
                    drop(carol.take());
                    alice.send("not recorded").unwrap();
                }
                let mut bob = ResumableClient::join_with(&mut world, &here, encoding, presence);
                alice.send("after the join").unwrap();
                let seq = alice.connection.sent();
                // The link is lost when the client has read its ticket and nothing else.
                let _away = bob.detach(&world);
                let case = format!("{encoding:?} {presence} {earlier:?}");
                assert_eq!(bob.resume(&world, encoding), Ok(complete(0)), "{case}");
                let replay = [signal(alice.id, seq, "after the join")];
                assert_eq!(bob.take_received(), replay, "{case}");
            }
        }
    }
}
