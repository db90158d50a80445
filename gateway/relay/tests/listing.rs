//! Lists for operators: bounded parts, and nothing is missed between them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::collections::BTreeSet;

use signalbox_protocol::{ConnectionId, Role, SessionId};
use signalbox_relay::{OutboxStatus, SessionSize, Settings};
use world::{World, session};

#[test]
fn sessions_are_listed_in_the_order_of_their_ids_a_part_at_a_time() {
    let mut world = World::new(Settings::default());
    let ids: BTreeSet<SessionId> = (0..300_u32).map(|it| session(it + 1, it as u8)).collect();
    let members: Vec<_> = ids.iter().map(|id| world.join(id, Role::Publisher)).collect();
    let mut listed: Vec<SessionId> = Vec::new();
    loop {
        let part = world.relay.sessions_after(listed.last());
        if part.is_empty() {
            break;
        }
        assert!(part.len() <= 256, "{}", part.len());
        listed.extend(part.iter().map(|session| session.id().clone()));
    }
    let counted: Vec<_> = world.relay.census().map(|count| count.session).collect();
    assert_eq!(counted, listed);
    assert_eq!(listed, ids.into_iter().collect::<Vec<_>>());
    drop(members);
    assert!(world.relay.sessions_after(None).is_empty());
}

#[test]
fn no_connection_that_stays_is_missed_when_others_leave_between_two_parts() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut members: Vec<_> = (0..20).map(|_| world.join(&here, Role::Publisher)).collect();
    let listed = world.relay.listed_session(&here).unwrap();
    assert_eq!(listed.size(), SessionSize { here: 20, elsewhere: 0 });
    let mut seen: BTreeSet<ConnectionId> = BTreeSet::new();
    let mut before = None;
    loop {
        let page = listed.connections(before, 3);
        assert!(page.connections.len() <= 3);
        seen.extend(page.connections.iter().map(|it| it.info.id));
        before = page.next;
        if before.is_none() {
            break;
        }
        // The last member takes the place of the first one, and another one joins.
        members.remove(0);
        members.push(world.join(&here, Role::Publisher));
    }
    let stayed = members.iter().map(|it| it.id).take(20 - 6);
    let missed: Vec<_> = stayed.filter(|id| !seen.contains(id)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_connection_is_listed_with_what_it_sent_and_what_waits_for_it() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Moderator);
    alice.send("one").unwrap();
    alice.send("two").unwrap();
    let page = world.relay.listed_session(&here).unwrap().connections(None, 10);
    let listed = &page.connections[0];
    assert_eq!((listed.info.id, listed.role, listed.sent), (alice.id, Role::Moderator, 2));
    let waiting = listed.outbox.unwrap();
    assert_eq!((waiting.written, waiting.frames), (0, 2));
    assert!(waiting.bytes > 0);
    let (frames, bytes) = alice.outbox.load();
    alice.outbox.written(frames, bytes);
    let page = world.relay.listed_session(&here).unwrap().connections(None, 10);
    let written = OutboxStatus { written: 2, frames: 0, bytes: 0 };
    assert_eq!(page.connections[0].outbox, Some(written));
}
