//! The limit of the connections of one user.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::{collections::HashMap, time::Duration};

use signalbox_protocol::{CloseReason, Role, SessionId};
use signalbox_relay::{Encoding, JoinError, ProjectLimits, Recipients, Settings};
use world::{Client, World, resumable::ResumableClient, session};

fn limit(connections_per_user: usize) -> Settings {
    let project = ProjectLimits { connections_per_user, ..ProjectLimits::default() };
    Settings { project, ..Settings::default() }
}

fn join(world: &mut World, session: &SessionId, user: &'static str) -> Result<Client, JoinError> {
    world.user = user;
    world.try_join(session, Role::Publisher, true, Encoding::Shared)
}

/// Whether alice may join a session of the project.
fn has_room(world: &mut World) -> bool {
    match join(world, &session(1, 100), "alice") {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, JoinError::UserFull);
            false
        }
    }
}

#[test]
fn a_user_has_as_many_connections_as_the_limit_in_all_sessions_of_a_project() {
    let mut world = World::new(limit(2));
    let first = join(&mut world, &session(1, 1), "alice").unwrap();
    let _second = join(&mut world, &session(1, 2), "alice").unwrap();
    let third = join(&mut world, &session(1, 1), "alice").err().unwrap();
    assert_eq!((third, third.close_reason()), (JoinError::UserFull, CloseReason::ConnectionLimit));
    assert!(third.to_string().contains("limits.connections_per_user"), "{third}");
    assert!(first.read().is_empty(), "nobody is told of a refused client");
    let _others = [
        join(&mut world, &session(1, 1), "bob").unwrap(),
        join(&mut world, &session(1, 1), "alice ").unwrap(),
        join(&mut world, &session(2, 1), "alice").unwrap(),
    ];
    first.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
    let third = join(&mut world, &session(1, 1), "alice").unwrap();
    assert!(!has_room(&mut world));
    drop(third);
    assert!(has_room(&mut world));
}

#[test]
fn connections_without_data_are_of_no_user() {
    let mut world = World::new(limit(1));
    let _clients = [0, 1, 2].map(|_| join(&mut world, &session(1, 1), "").unwrap());
}

#[test]
fn a_refused_client_does_not_count() {
    let mut world = World::new(Settings { connections_per_session: 1, ..limit(1) });
    let _bob = join(&mut world, &session(1, 1), "bob").unwrap();
    let refused = join(&mut world, &session(1, 1), "alice").err();
    assert_eq!(refused, Some(JoinError::SessionFull));
    world.relay.set_settings(limit(1));
    let project =
        ProjectLimits { sessions: 1, connections_per_user: 1, ..ProjectLimits::default() };
    world.relay.set_limits(HashMap::from([("1".parse().unwrap(), project)]));
    let refused = join(&mut world, &session(1, 2), "alice").err();
    assert_eq!(refused, Some(JoinError::TooManySessions));
    world.relay.set_limits(HashMap::new());
    assert!(has_room(&mut world));
}

#[test]
fn a_detached_connection_counts_until_it_ends_and_a_resumed_one_counts_once() {
    let mut world = World::new(limit(2));
    let here = session(1, 1);
    world.user = "alice";
    let mut alice = ResumableClient::join(&mut world, &here, Encoding::Json);
    let _other = join(&mut world, &here, "alice").unwrap();
    let detached = alice.detach(&world);
    assert!(!has_room(&mut world));
    // A full user may resume, also while the old link is open.
    alice.resume(&world, Encoding::Json).unwrap();
    alice.resume(&world, Encoding::Shared).unwrap();
    drop(detached);
    assert!(!has_room(&mut world));
    let detached = alice.detach(&world);
    assert!(!has_room(&mut world));
    detached.expire(world.now);
    assert!(has_room(&mut world));
    let _third = join(&mut world, &here, "alice").unwrap();
    assert!(!has_room(&mut world), "it was subtracted once");
}

#[test]
fn every_kind_of_end_makes_room() {
    let settings = Settings { outbox_frames: 2, ..limit(1) };
    let here = session(1, 1);
    let ends: [fn(&mut World, Client); 5] = [
        |_, alice| alice.connection.leave(CloseReason::ClientDisconnected, Duration::ZERO),
        |_, alice| drop(alice.connection.detach(Duration::ZERO)),
        |_, alice| drop(alice.connection),
        |world, alice| {
            world.relay.force_disconnect(&session(1, 1), alice.id, world.now).unwrap();
        },
        |world, alice| {
            // The link of a client that does not read.
            for _ in 0..3 {
                let _ = world.send_from_server(&session(1, 1), Recipients::All, "x");
            }
            assert_eq!(alice.closed(), Some(CloseReason::SlowConsumer));
        },
    ];
    for end in ends {
        let mut world = World::new(settings.clone());
        // The project stays in use.
        let _bob = join(&mut world, &session(1, 50), "bob").unwrap();
        let alice = join(&mut world, &here, "alice").unwrap();
        assert!(!has_room(&mut world));
        end(&mut world, alice);
        assert!(has_room(&mut world));
    }
}

#[test]
fn connections_that_survive_a_restart_count() {
    let mut world = World::new(limit(1));
    world.user = "alice";
    let mut alice = ResumableClient::join(&mut world, &session(1, 1), Encoding::Json);
    let mut away = world.restart();
    alice.client = None;
    assert!(!has_room(&mut world));
    alice.resume(&world, Encoding::Json).unwrap();
    assert!(!has_room(&mut world));
    drop(alice.detach(&world));
    away.clear();
    assert!(has_room(&mut world));
}

#[test]
fn a_limit_that_is_set_later_counts_those_that_are_there() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut clients: Vec<_> = (0..3).map(|_| join(&mut world, &here, "alice").unwrap()).collect();
    world.relay.set_settings(limit(2));
    assert!(!has_room(&mut world));
    clients.pop();
    assert!(!has_room(&mut world));
    clients.pop();
    assert!(has_room(&mut world));
    // A project's own limit replaces the general one, and zero means none.
    let own = |connections_per_user| {
        let limits = ProjectLimits { connections_per_user, ..ProjectLimits::default() };
        HashMap::from([("1".parse().unwrap(), limits)])
    };
    world.relay.set_limits(own(1));
    assert!(!has_room(&mut world));
    world.relay.set_limits(own(0));
    clients.extend((0..5).map(|_| join(&mut world, &here, "alice").unwrap()));
    world.relay.set_limits(HashMap::new());
    assert!(!has_room(&mut world));
}
