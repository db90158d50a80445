//! Settings that change while the relay is used.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its answer")]

mod world;

use signalbox_protocol::Role;
use signalbox_relay::{Encoding, JoinError, RejectionReason, Settings, SignalError};
use world::{World, session};

#[test]
fn numbers_of_connections_are_limited_at_once() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let _both = [world.join(&here, Role::Publisher), world.join(&here, Role::Publisher)];
    world.relay.set_settings(Settings { connections_per_session: 2, ..Settings::default() });
    let third = world.try_join(&here, Role::Publisher, true, Encoding::Shared);
    assert_eq!(third.err(), Some(JoinError::SessionFull));
    let mut settings = Settings::default();
    settings.project.connections = 2;
    world.relay.set_settings(settings);
    let third = world.try_join(&here, Role::Publisher, true, Encoding::Shared);
    assert_eq!(third.err(), Some(JoinError::ProjectFull));
    world.relay.set_settings(Settings::default());
    world.join(&here, Role::Publisher);
}

#[test]
fn connections_keep_the_rates_and_rights_with_which_they_joined() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut early = world.join(&here, Role::Subscriber);
    let settings =
        Settings { subscribers_may_send: true, signals_per_second: 3, ..Settings::default() };
    world.relay.set_settings(settings);
    let mut late = world.join(&here, Role::Subscriber);
    let rejection = |result| match result {
        Err(SignalError::Rejected { reason, .. }) => Some(reason),
        _ => None,
    };
    assert_eq!(rejection(early.send("a")), Some(RejectionReason::MayNotSend(Role::Subscriber)));
    // The signals of two seconds at once.
    for _ in 0..2 * 3 {
        late.send("b").unwrap();
    }
    assert_eq!(rejection(late.send("c")), Some(RejectionReason::RateLimited(3)));
}
