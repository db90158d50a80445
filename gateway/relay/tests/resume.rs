//! Detached connections and how they resume.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::time::Duration;

use signalbox_protocol::{CloseReason, ConnectionId, DisconnectReason, Role};
use signalbox_relay::{
    Encoding, Recipients, RejectionReason, ResumeError, ResumeRequest, Settings, Stats,
};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient, ResumeAttempt, complete, servers, signal},
    session,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_resumed_connection_gets_its_replay_and_others_see_no_change() {
    for (before, after) in
        ENCODINGS.iter().flat_map(|encoding| ENCODINGS.map(|other| (*encoding, other)))
    {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut alice = world.join(&here, Role::Publisher);
        let mut bob = ResumableClient::join(&mut world, &here, before);
        alice.read();
        alice.send("heard").unwrap();
        assert_eq!(bob.take_received(), [signal(alice.id, 1, "heard")]);
        alice.send("on its way when the link broke").unwrap();
        let away = bob.detach(&world);
        alice.send("all").unwrap();
        alice.send_to(bob.id, "one").unwrap();
        alice.send_to(alice.id, "not for bob").unwrap();
        let carol = world.join(&here, Role::Publisher);
        world.send_from_server(&here, Recipients::One(bob.id), "from a server").unwrap();
        carol.connection.leave(CloseReason::ClientDisconnected, world.now);
        alice.send("last").unwrap();
        assert!(
            alice
                .read()
                .iter()
                .all(|received| !matches!(received, Received::Destroyed(id, _) if *id == bob.id)),
            "no member is notified"
        );
        assert_eq!(bob.resume(&world, after), Ok(complete(0)));
        alice.send("live").unwrap();
        assert_eq!(
            bob.take_received(),
            [
                signal(alice.id, 2, "on its way when the link broke"),
                signal(alice.id, 3, "all"),
                signal(alice.id, 4, "one"),
                Received::Created(carol.id),
                signal(servers(), 1, "from a server"),
                Received::Destroyed(carol.id, DisconnectReason::ClientDisconnected),
                signal(alice.id, 6, "last"),
                signal(alice.id, 7, "live"),
            ],
            "{before:?} and {after:?}"
        );
        drop(away);
        alice.send("its time is not over").unwrap();
        assert_eq!(
            bob.take_received().len(),
            1,
            "an old deadline does not end a resumed connection"
        );
    }
}

#[test]
fn a_resumed_sender_learns_how_many_of_its_signals_were_processed() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    alice.client().send("one").unwrap();
    alice.client().send(&"x".repeat(9000)).unwrap_err();
    assert_eq!(alice.accepted, 0);
    alice.read();
    assert_eq!(alice.accepted, 1, "a rejected signal counts once its error has been sent");
    alice.client().send("three").unwrap();
    let _away = alice.detach(&world);
    assert_eq!(alice.resume(&world, Encoding::Shared), Ok(complete(3)), "refused ones count");
    alice.client().send("four").unwrap();
    assert_eq!(
        alice.take_received(),
        [signal(alice.id, 1, "one"), signal(alice.id, 3, "three"), signal(alice.id, 4, "four"),]
    );
    assert_eq!(alice.accepted, 4);
}

#[test]
fn an_expired_connection_is_destroyed_once() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    alice.read();
    let away = bob.detach(&world);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 2 }, "it counts");
    away.expire(at(30));
    let destroyed = Received::Destroyed(bob.id, DisconnectReason::NetworkDisconnected);
    assert_eq!(alice.read(), [destroyed]);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 1 });
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::InvalidTicket));
}

#[test]
fn a_detached_connection_can_be_disconnected() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Moderator);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let mut carol = ResumableClient::join(&mut world, &here, Encoding::Json);
    let (bob_away, carol_away) = (bob.detach(&world), carol.detach(&world));
    alice.read();
    alice.connection.force_disconnect(bob.id, world.now).unwrap();
    world.relay.force_disconnect(&here, carol.id, world.now).unwrap();
    drop((bob_away, carol_away));
    let forced = DisconnectReason::ForceDisconnected;
    let destroyed = [Received::Destroyed(bob.id, forced), Received::Destroyed(carol.id, forced)];
    assert_eq!(alice.read(), destroyed);
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Evicted));
    assert_eq!(carol.resume(&world, Encoding::Json), Err(ResumeError::Evicted));
}

#[test]
fn a_resume_takes_over_from_an_open_link() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    alice.read();
    let mut old = bob.client.take().unwrap();
    assert_eq!(bob.resume(&world, Encoding::PerSender), Ok(complete(0)));
    assert_eq!(old.closed(), Some(CloseReason::Superseded));
    // The old link can do nothing any more, and its end ends nothing.
    assert!(old.send("from the past").is_err());
    assert_eq!(
        old.connection.force_disconnect(alice.id, world.now),
        Err(RejectionReason::NotFound(alice.id))
    );
    old.connection.leave(CloseReason::ClientDisconnected, world.now);
    alice.send("to the new link").unwrap();
    assert_eq!(bob.take_received(), [signal(alice.id, 1, "to the new link")]);
    assert_eq!(alice.read(), [signal(alice.id, 1, "to the new link")]);
}

#[test]
fn a_ticket_is_valid_once_and_for_its_connection() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let mut eve = ResumableClient::join(&mut world, &here, Encoding::Json);
    let plain = world.join(&here, Role::Publisher);
    let first = bob.secret;
    let _away = bob.detach(&world);

    // A forged ticket, another connection's, one without resumption, one of another session.
    let try_with = |world: &World, change: &dyn Fn(&mut ResumeRequest<'_>)| {
        let mut request = bob.request(Encoding::Json, [9; 32]);
        change(&mut request);
        world.relay.resume(&request, world.now).err()
    };
    let elsewhere = session(2, 1);
    assert_eq!(try_with(&world, &|it| it.secret = [7; 32]), Some(ResumeError::InvalidTicket));
    assert_eq!(try_with(&world, &|it| it.secret = eve.secret), Some(ResumeError::InvalidTicket));
    assert_eq!(try_with(&world, &|it| it.connection = plain.id), Some(ResumeError::InvalidTicket));
    assert_eq!(
        try_with(&world, &|it| it.connection = ConnectionId::from_bytes([9; 16])),
        Some(ResumeError::InvalidTicket)
    );
    let mut stray = bob.request(Encoding::Json, [9; 32]);
    stray.session = &elsewhere;
    assert_eq!(world.relay.resume(&stray, world.now).err(), Some(ResumeError::InvalidTicket));

    // The used one is good until the client has shown that it has the new one.
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(complete(0)));
    let second = std::mem::replace(&mut bob.secret, first);
    let _away = bob.detach(&world);
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(complete(0)), "the answer was lost");
    bob.client().connection.confirm_ticket();
    let third = bob.secret;
    let _away = bob.detach(&world);
    for old in [first, second] {
        bob.secret = old;
        if old != third {
            assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::InvalidTicket));
        }
    }
    bob.secret = third;
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(complete(0)));
    assert!(
        eve.take_received().iter().all(|received| matches!(received, Received::Created(_))),
        "eve saw nothing"
    );
}

#[test]
fn cursors_beyond_what_was_sent_are_rejected() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    alice.send("one").unwrap();
    bob.read();
    let _away = bob.detach(&world);
    for (from, seq) in [(alice.id.into(), 2), (servers(), 1), (bob.id.into(), 1)] {
        let before = bob.cursors.insert(from.clone(), seq);
        assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::CursorAhead));
        bob.cursors.remove(&from);
        bob.cursors.extend(before.map(|seq| (from, seq)));
    }
    bob.events += 1;
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::CursorAhead));
    bob.events -= 1;
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(complete(0)), "nothing has changed");
}

#[test]
fn more_confirmations_than_processed_signals_are_rejected() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    bob.client().send("one").unwrap();
    let _away = bob.detach(&world);
    let ahead = ResumeRequest { accepted: 2, ..bob.request(Encoding::Json, [9; 32]) };
    let rejected = world.relay.resume(&ahead, world.now).err();
    assert_eq!(rejected, Some(ResumeError::CursorAhead));
    let request = ResumeRequest { accepted: 1, ..ahead };
    let (_, resumed) = world.relay.resume(&request, world.now).unwrap();
    assert_eq!(resumed.signals, 1);
}

#[test]
fn an_evicted_client_learns_of_it_when_it_resumes() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let moderator = world.join(&here, Role::Moderator);
    // One detached, one on a dead link that nobody has noticed; by a member and by a server.
    let mut away = ResumableClient::join(&mut world, &here, Encoding::Json);
    let mut dead = ResumableClient::join(&mut world, &here, Encoding::Json);
    let _away = away.detach(&world);
    moderator.connection.force_disconnect(away.id, world.now).unwrap();
    world.relay.force_disconnect(&here, dead.id, world.now).unwrap();
    let forged = ResumableClient::join(&mut world, &here, Encoding::Json);
    for resumable in [&mut away, &mut dead] {
        let (id, good) = (resumable.id, resumable.secret);
        assert_eq!(resumable.resume(&world, Encoding::Json).err(), Some(ResumeError::Evicted));
        let check = |secret| world.relay.check_ticket(&here, id, secret, 1);
        assert_eq!(check(&good), Err(ResumeError::Evicted));
        assert_eq!(
            check(&forged.secret),
            Err(ResumeError::InvalidTicket),
            "only for the evicted connection"
        );
    }
    // Even when the session is no more; but not for ever.
    drop((moderator, forged));
    assert_eq!(away.resume(&world, Encoding::Json).err(), Some(ResumeError::Evicted));
    let moderator = world.join(&here, Role::Moderator);
    for _ in 0..1024 {
        let next = ResumableClient::join(&mut world, &here, Encoding::Json);
        moderator.connection.force_disconnect(next.id, world.now).unwrap();
    }
    assert_eq!(away.resume(&world, Encoding::Json).err(), Some(ResumeError::InvalidTicket));
}

#[test]
fn a_shutdown_ends_detached_connections() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let away = bob.detach(&world);
    world.relay.shut_down();
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::ShuttingDown));
    drop(away);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    let heard: Vec<_> = world.journal.take().into_iter().map(|(_, _, reason)| reason).collect();
    assert_eq!(heard, [None, Some(DisconnectReason::NetworkDisconnected)], "destroyed once");
}

/// What was reported: an attempt that its client had given up arrived after a later one had been
/// answered, took the connection over, and voided the ticket that the client had just read.
#[test]
fn a_delayed_attempt_does_not_supersede_a_later_one() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = ResumableClient::join(&mut world, &here, Encoding::Json);
    let _away = bob.detach(&world);
    let given_up = ResumeAttempt::of(&mut bob);
    bob.resume(&world, Encoding::Json).unwrap();
    assert_eq!(given_up.arrive(&bob, &world).err(), Some(ResumeError::Superseded));
    let check = world.relay.check_ticket(&here, bob.id, &given_up.secret, given_up.number);
    assert_eq!(check, Err(ResumeError::Superseded), "already before the cursors are read");
    alice.send("still there?").unwrap();
    assert_eq!(bob.take_received(), [signal(alice.id, 1, "still there?")]);
    let _away = bob.detach(&world);
    bob.resume(&world, Encoding::Json).unwrap();
}
