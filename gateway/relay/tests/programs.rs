//! Random programs of joins, signals, stalls and leaves, after which the guarantees hold.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use signalbox_protocol::{CloseReason, ConnectionId, GatewayId, Role, Sender, SessionId};
use signalbox_relay::{
    Encoding, JoinError, ProjectLimits, Recipients, Settings, SignalError, Stats,
};
use world::{Client, Received, World, session};

#[derive(Debug, Clone)]
enum Step {
    Join { session: usize, user: usize, encoding: usize, reads: bool },
    SignalAll { who: prop::sample::Index },
    SignalOne { who: prop::sample::Index, to: prop::sample::Index },
    ServerSignal { session: usize, who: prop::sample::Index, to: usize },
    Leave { who: prop::sample::Index, lost: bool },
    ForceDisconnect { who: prop::sample::Index, target: prop::sample::Index },
    Stall { who: prop::sample::Index },
    ReadSome,
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..4usize, 0..3usize, 0..3usize, any::<bool>()).prop_map(
            |(session, user, encoding, reads)| Step::Join { session, user, encoding, reads }
        ),
        8 => who().prop_map(|who| Step::SignalAll { who }),
        4 => (who(), who()).prop_map(|(who, to)| Step::SignalOne { who, to }),
        4 => (0..4usize, who(), 0..4usize)
            .prop_map(|(session, who, to)| Step::ServerSignal { session, who, to }),
        1 => (who(), any::<bool>()).prop_map(|(who, lost)| Step::Leave { who, lost }),
        1 => (who(), who()).prop_map(|(who, target)| Step::ForceDisconnect { who, target }),
        1 => who().prop_map(|who| Step::Stall { who }),
        4 => Just(Step::ReadSome),
    ]
}

/// A client, the messages that it has received, and those that it should have.
struct Actor {
    client: Client,
    session: usize,
    /// Whether it reads; if not, it may be ended as a slow consumer.
    reads: bool,
    received: Vec<Received>,
    /// Signals that were accepted for it while it was there: sender and sequence number. (Those of
    /// servers by their data, because the first member of a session is not known here.)
    due: Vec<(Sender, u64)>,
}

const ENCODINGS: [Encoding; 3] = [Encoding::PerSender, Encoding::Shared, Encoding::Json];

/// The connection data of clients. The first is that of no user.
const USERS: [&str; 3] = ["", "alice", "bob"];

/// The limit of the connections of one user.
const PER_USER: usize = 2;

fn run(steps: Vec<Step>) {
    // Two projects with two sessions each; outboxes so small that stalls have consequences.
    let sessions: Vec<SessionId> = (0..4).map(|n| session(n / 2 + 1, n as u8)).collect();
    let project = ProjectLimits { connections_per_user: PER_USER, ..ProjectLimits::default() };
    let mut world = World::new(Settings { outbox_frames: 12, project, ..Settings::default() });
    let mut actors: Vec<Actor> = Vec::new();
    let mut gone: Vec<Actor> = Vec::new();
    let mut homes: BTreeMap<ConnectionId, usize> = BTreeMap::new();
    let mut served = 0;

    for step in steps {
        let index = |who: prop::sample::Index, len: usize| who.index(len);
        match step {
            Step::Join { session, user, encoding, reads } => {
                let of_project =
                    sessions.iter().filter(|it| it.project() == sessions[session].project());
                let present = of_project.flat_map(|it| world.relay.connections(it));
                let open = present.filter(|it| it.info.data == USERS[user]).count();
                let encoding = ENCODINGS[encoding];
                world.user = USERS[user];
                let joined = world.try_join(&sessions[session], Role::Moderator, true, encoding);
                world.user = "";
                let full = !USERS[user].is_empty() && open >= PER_USER;
                assert_eq!(joined.as_ref().err(), full.then_some(&JoinError::UserFull));
                let Ok(client) = joined else { continue };
                homes.insert(client.id, session);
                let received = client.present.iter().copied().map(Received::Created).collect();
                actors.push(Actor { client, session, reads, received, due: Vec::new() });
            }
            _ if actors.is_empty() => {}
            Step::SignalAll { who } => {
                let who = index(who, actors.len());
                let data = actors[who].client.connection.sent().to_string();
                let (from, home) = (actors[who].client.id, actors[who].session);
                match actors[who].client.send(&data) {
                    Ok(()) => {
                        let seq = actors[who].client.connection.sent();
                        for actor in actors.iter_mut().filter(|actor| actor.session == home) {
                            actor.due.push((from.into(), seq));
                        }
                    }
                    Err(error) => assert_eq!(error, SignalError::Closed),
                }
            }
            Step::SignalOne { who, to } => {
                let (who, to) = (index(who, actors.len()), index(to, actors.len()));
                let target = actors[to].client.id;
                let reachable = actors[who].session == actors[to].session
                    && actors[to].client.closed().is_none();
                let alive = actors[who].client.closed().is_none();
                match actors[who].client.send_to(target, "one") {
                    Ok(()) => {
                        assert!(reachable && alive);
                        let from = actors[who].client.id;
                        let seq = actors[who].client.connection.sent();
                        actors[to].due.push((from.into(), seq));
                    }
                    Err(SignalError::Closed) => assert!(!alive),
                    Err(SignalError::Rejected { .. }) => assert!(!reachable),
                }
            }
            Step::ServerSignal { session, who, to } => {
                let named = actors[index(who, actors.len())].client.id;
                let list = HashSet::from([named]);
                let (to, meant): (_, fn(bool) -> bool) = match to {
                    0 => (Recipients::All, |_| true),
                    1 => (Recipients::One(named), |is_named| is_named),
                    2 => (Recipients::Only(&list), |is_named| is_named),
                    _ => (Recipients::Except(&list), |is_named| !is_named),
                };
                let here =
                    |actor: &Actor| actor.session == session && actor.client.closed().is_none();
                let anybody = actors.iter().any(|actor| {
                    here(actor)
                        && (matches!(to, Recipients::Except(_)) || meant(actor.client.id == named))
                });
                let due: Vec<bool> = actors
                    .iter()
                    .map(|actor| here(actor) && meant(actor.client.id == named))
                    .collect();
                served += 1;
                let sent = world.send_from_server(&sessions[session], to, &served.to_string());
                assert_eq!(sent.is_ok(), anybody);
                if anybody {
                    for (actor, _) in actors.iter_mut().zip(due).filter(|(_, due)| *due) {
                        actor.due.push((GatewayId::default().into(), served));
                    }
                }
            }
            Step::Leave { who, lost } => {
                let who = index(who, actors.len());
                let mut actor = actors.swap_remove(who);
                actor.received.extend(actor.client.read());
                let Actor { client, .. } = &mut actor;
                let connection = std::mem::replace(
                    &mut client.connection,
                    // A stand-in in a session of its own, so that the actor stays complete.
                    world.join(&session(9, 0), Role::Subscriber).connection,
                );
                if lost {
                    drop(connection.detach(Duration::ZERO));
                } else {
                    connection.leave(CloseReason::ClientDisconnected, Duration::ZERO);
                }
                gone.push(actor);
            }
            Step::ForceDisconnect { who, target } => {
                let (who, target) = (index(who, actors.len()), index(target, actors.len()));
                let id = actors[target].client.id;
                let _ = actors[who].client.connection.force_disconnect(id, Duration::ZERO);
            }
            Step::Stall { who } => {
                let who = index(who, actors.len());
                actors[who].reads = false;
            }
            Step::ReadSome => {}
        }
        for actor in actors.iter_mut().filter(|actor| actor.reads) {
            actor.received.extend(actor.client.read());
        }
    }

    for actor in &mut actors {
        actor.received.extend(actor.client.read());
    }
    for actor in actors.iter().chain(&gone) {
        check(actor, &homes);
    }
    drop((actors, gone));
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    observed(&world, &sessions, &homes);
}

/// Every connection was created once and destroyed once, in the session it was in.
fn observed(world: &World, sessions: &[SessionId], homes: &BTreeMap<ConnectionId, usize>) {
    let mut present = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (session, id, reason) in world.journal.take() {
        // Connections that left have no session.
        if let Some(home) = homes.get(&id) {
            assert_eq!(session, sessions[*home]);
        }
        if reason.is_none() {
            assert!(seen.insert(id), "created once");
            assert!(present.insert(id));
        } else {
            assert!(present.remove(&id), "destroyed once, after it was created");
        }
    }
    assert!(present.is_empty(), "never destroyed: {present:?}");
    assert!(homes.keys().all(|id| seen.contains(id)));
}

fn check(actor: &Actor, homes: &BTreeMap<ConnectionId, usize>) {
    let mut created = BTreeSet::from([actor.client.id]);
    let mut destroyed = BTreeSet::new();
    let mut last: BTreeMap<Sender, u64> = BTreeMap::new();
    let mut heard = Vec::new();
    for received in &actor.received {
        match received {
            Received::Created(id) => {
                assert!(created.insert(*id), "created once");
                assert_eq!(homes[id], actor.session, "nothing crosses sessions");
            }
            Received::Destroyed(id, _) => {
                assert!(created.contains(id), "destroyed only after created");
                assert!(destroyed.insert(*id), "destroyed once");
            }
            Received::Signal { from, seq, data } => {
                if let Sender::Connection(from) = from {
                    assert_eq!(homes[from], actor.session, "nothing crosses sessions");
                    assert!(created.contains(from), "created before the first signal");
                    assert!(!destroyed.contains(from), "destroyed after the last signal");
                }
                let before = last.insert(from.clone(), *seq).unwrap_or(0);
                assert!(before < *seq, "in order, none twice");
                let seq = if from.is_server() { data.parse().unwrap() } else { *seq };
                heard.push((from.clone(), seq));
            }
            Received::Error { .. }
            | Received::Accepted(_)
            | Received::GoAway(_)
            | Received::Heartbeat => {
                panic!("no step makes one")
            }
        }
    }
    match actor.client.closed() {
        // Whoever keeps up, or at least was not too slow, misses nothing up to its end.
        None => assert_eq!(heard, actor.due),
        Some(CloseReason::SlowConsumer) => {
            assert!(!actor.reads, "only clients that do not read are too slow");
            assert!(
                actor.due.starts_with(&heard),
                "a prefix of the expected messages was received"
            );
        }
        Some(_) => {
            let due = &actor.due[..heard.len().min(actor.due.len())];
            assert_eq!(heard, due);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_in_every_program(steps in prop::collection::vec(step(), 0..120)) {
        run(steps);
    }
}
