//! Sessions that are shared with another gateway, as one gateway sees them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, DisconnectReason, Role, SessionId};
use signalbox_relay::{Backplane, Instance, ResumeError, SessionUpdate};
use world::{World, resumable::ResumableClient};

use crate::world::{resumable::ENCODINGS, session};

/// A bus that delivers nothing.
struct SilentBus;

impl Backplane for SilentBus {
    fn publish(&self, _: &SessionId, _: &[Instance], _: &SessionUpdate<'_>) {}

    fn is_live(&self, _: &Instance) -> bool {
        true
    }
}

fn instance(name: &str) -> Instance {
    Instance { gateway: name.parse().unwrap(), epoch: 1 }
}

fn clustered() -> World {
    World::clustered(instance("a"), Arc::new(SilentBus))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn clients_that_join_while_the_gateway_is_cut_off_stay() {
    let mut world = clustered();
    let session = session(1, 1);
    let before = world.join(&session, Role::Publisher);
    assert!(world.relay.share(&session, &instance("b"), world.now));
    world.now = seconds(11);
    world.relay.fence(Some(seconds(10)), world.now);
    assert_eq!(before.closed(), Some(CloseReason::NetworkDisconnected));

    let meanwhile = world.join(&session, Role::Publisher);
    world.now = seconds(12);
    world.relay.fence(Some(seconds(10)), world.now);
    assert_eq!(meanwhile.closed(), None, "no other gateway has reported it as destroyed");

    // Connected again, then cut off once more.
    world.relay.fence(None, seconds(20));
    world.relay.fence(Some(seconds(30)), seconds(31));
    assert_eq!(meanwhile.closed(), Some(CloseReason::NetworkDisconnected));
}

#[test]
fn at_a_shutdown_resumable_connections_are_left_to_the_other_gateways() {
    let mut world = clustered();
    let (shared, alone) = (session(1, 1), session(1, 2));
    let resumable = ResumableClient::join(&mut world, &shared, ENCODINGS[0]);
    let other = world.join(&shared, Role::Publisher);
    let unshared = ResumableClient::join(&mut world, &alone, ENCODINGS[0]);
    assert_eq!(world.relay.unshared_sessions().len(), 2);
    assert!(world.relay.share(&shared, &instance("b"), world.now));
    assert_eq!(world.relay.unshared_sessions(), std::slice::from_ref(&alone));
    world.journal.take();

    world.relay.shut_down();
    let client = resumable.client.as_ref().unwrap();
    for client in [client, &other, unshared.client.as_ref().unwrap()] {
        assert_eq!(client.closed(), Some(CloseReason::ShuttingDown));
    }
    let reason = Some(DisconnectReason::NetworkDisconnected);
    let mut observed = world.journal.take();
    observed.sort_by_key(|(_, id, _)| *id);
    assert_eq!(observed, [(shared, other.id, reason), (alone, unshared.id, reason)]);
}

#[test]
fn a_gateway_that_opens_the_session_later_knows_who_was_evicted() {
    let (mut home, mut other) = (clustered(), clustered());
    let (here, elsewhere) = (session(1, 1), session(1, 2));
    assert_eq!(home.relay.export_evicted(None), None);
    let mut away = ResumableClient::join(&mut home, &here, ENCODINGS[0]);
    let _detached = away.detach(&home);
    home.relay.force_disconnect(&here, away.id, home.now).unwrap();
    assert_eq!(home.relay.export_evicted(Some(&elsewhere)), None);
    let evicted = home.relay.export_evicted(Some(&here)).unwrap();
    assert_eq!(home.relay.export_evicted(None).as_deref(), Some(&evicted[..]));

    let _member = other.join(&here, Role::Publisher);
    let resumed = away.resume(&other, ENCODINGS[0]).err();
    assert_eq!(resumed, Some(ResumeError::InvalidTicket), "not known yet");
    assert!(other.relay.import_evicted(&evicted[1..]).is_err());
    for _ in 0..2 {
        // Several gateways may tell of it.
        other.relay.import_evicted(&evicted).unwrap();
    }
    assert_eq!(away.resume(&other, ENCODINGS[0]).err(), Some(ResumeError::Evicted));
    assert_eq!(other.relay.export_evicted(None), Some(evicted));
}
