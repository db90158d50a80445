//! Disconnection of many connections at once.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use signalbox_protocol::{CloseReason, DisconnectReason, Role, SessionId};
use signalbox_relay::{Encoding, ResumeError, Settings, Stats, TokenIdentity};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient},
    session,
};

const FORCED: DisconnectReason = DisconnectReason::ForceDisconnected;

/// Disconnects the connections of the project 1 whose tokens were issued by then.
fn disconnect(world: &World, here: Option<&SessionId>, issued_by: u64) -> usize {
    let project = "1".parse().unwrap();
    let is_old = |_: &SessionId, _: &_, token: &TokenIdentity| token.issued_at <= issued_by;
    world.relay.disconnect_matching(&project, here, is_old, world.now)
}

#[test]
fn matching_connections_of_the_project_are_disconnected_wherever_they_are() {
    let mut world = World::new(Settings::default());
    let (here, there, theirs) = (session(1, 1), session(1, 2), session(2, 1));
    let [alice, bob] = [&here, &there].map(|session| world.join(session, Role::Publisher));
    let stranger = world.join(&theirs, Role::Publisher);
    let carol = world.join(&here, Role::Publisher);
    carol.read();
    world.journal.take();
    assert_eq!(disconnect(&world, None, 3), 2);
    for gone in [&alice, &bob] {
        assert_eq!(gone.closed(), Some(CloseReason::ForceDisconnected));
    }
    for still_here in [&stranger, &carol] {
        assert_eq!(still_here.closed(), None);
    }
    assert_eq!(carol.read(), [Received::Destroyed(alice.id, FORCED)]);
    let mut reported = world.journal.take();
    reported.sort_by_key(|(_, id, _)| *id);
    assert_eq!(reported, [(here, alice.id, Some(FORCED)), (there, bob.id, Some(FORCED))]);
    assert_eq!(disconnect(&world, None, 3), 0, "they are gone");
    assert_eq!(world.relay.stats(), Stats { sessions: 2, connections: 2 });
}

#[test]
fn a_session_is_emptied_at_once() {
    let mut world = World::new(Settings { outbox_frames: 2, ..Settings::default() });
    let (here, there) = (session(1, 1), session(1, 2));
    let members: Vec<_> = (0..100)
        .map(|_| world.try_join(&here, Role::Publisher, false, Encoding::Shared).unwrap())
        .collect();
    let elsewhere = world.join(&there, Role::Publisher);
    assert_eq!(disconnect(&world, Some(&here), u64::MAX), 100);
    // None of them is notified of the others, so no outbox overflows.
    for member in &members {
        assert_eq!(member.closed(), Some(CloseReason::ForceDisconnected));
    }
    assert_eq!(elsewhere.closed(), None);
    assert_eq!(disconnect(&world, Some(&session(1, 3)), u64::MAX), 0);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 1 });
}

#[test]
fn a_detached_connection_ends_and_its_client_learns_why() {
    for encoding in ENCODINGS {
        for restart in [false, true] {
            let mut world = World::new(Settings::default());
            let here = session(1, 1);
            let mut alice = ResumableClient::join(&mut world, &here, encoding);
            let away = if restart { world.restart() } else { vec![alice.detach(&world)] };
            let (info, token) = world.relay.token(&here, alice.id).unwrap();
            assert_eq!((info.id, token.id), (alice.id, Some(*alice.id.as_bytes())));
            assert_eq!(disconnect(&world, None, token.issued_at - 1), 0);
            assert_eq!(disconnect(&world, None, token.issued_at), 1);
            assert!(world.relay.token(&here, alice.id).is_none());
            assert_eq!(alice.resume(&world, encoding), Err(ResumeError::Evicted));
            world.journal.take();
            drop(away);
            assert_eq!(world.journal.take(), [], "it has ended before");
        }
    }
}
