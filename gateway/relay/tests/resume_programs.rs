//! Random programs of joins, signals, lost links, resumes and restarts, with a history that is large
//! enough: every client receives everything once, in order.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::time::Duration;

use proptest::prelude::*;
use signalbox_protocol::{CloseReason, DisconnectReason, Role, Sender};
use signalbox_relay::{
    Detached, Encoding, JoinError, ProjectLimits, Recipients, Settings, Stats, TicketSecret,
};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient, restart, servers, signal},
    session,
};

#[derive(Debug, Clone)]
enum Step {
    Join {
        user: usize,
        encoding: usize,
    },
    Say {
        who: prop::sample::Index,
        to: Option<prop::sample::Index>,
    },
    Serve,
    Read {
        who: prop::sample::Index,
    },
    Lose {
        who: prop::sample::Index,
        lost_answer: bool,
    },
    TakeOver {
        who: prop::sample::Index,
        encoding: usize,
    },
    Return {
        who: prop::sample::Index,
        encoding: usize,
    },
    Expire {
        who: prop::sample::Index,
    },
    Leave {
        who: prop::sample::Index,
    },
    /// Another run of the gateway takes over.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<prop::sample::Index>;
    prop_oneof![
        2 => (0..3usize, 0..3usize).prop_map(|(user, encoding)| Step::Join { user, encoding }),
        8 => (who(), prop::option::of(who())).prop_map(|(who, to)| Step::Say { who, to }),
        2 => Just(Step::Serve),
        4 => who().prop_map(|who| Step::Read { who }),
        4 => (who(), any::<bool>()).prop_map(|(who, lost_answer)| Step::Lose { who, lost_answer }),
        1 => (who(), 0..3usize).prop_map(|(who, encoding)| Step::TakeOver { who, encoding }),
        4 => (who(), 0..3usize).prop_map(|(who, encoding)| Step::Return { who, encoding }),
        1 => who().prop_map(|who| Step::Expire { who }),
        1 => who().prop_map(|who| Step::Leave { who }),
        1 => Just(Step::Restart),
    ]
}

/// A client, the messages that it should receive, and its deadline while it is detached.
struct Actor {
    resumable: ResumableClient,
    /// Its connection data.
    user: &'static str,
    due: Vec<Received>,
    detached: Option<Detached>,
    /// The ticket before, while the answer with the new one may still have been lost.
    before: Option<TicketSecret>,
}

/// The connection data of clients. The first is that of no user.
const USERS: [&str; 3] = ["", "alice", "bob"];

/// The limit of the connections of one user.
const PER_USER: usize = 2;

fn run(steps: Vec<Step>) {
    let project = ProjectLimits { connections_per_user: PER_USER, ..ProjectLimits::default() };
    let mut world = World::new(Settings { project, ..Settings::default() });
    let here = session(1, 1);
    let mut actors: Vec<Actor> = Vec::new();
    for (time, step) in steps.into_iter().enumerate() {
        world.now = Duration::from_millis(time as u64);
        let pick = |who: prop::sample::Index| who.index(actors.len().max(1));
        match step {
            Step::Join { user, encoding } => {
                let (user, encoding) = (USERS[user], ENCODINGS[encoding]);
                // All connections that have not ended, attached or not.
                let open = actors.iter().filter(|actor| actor.user == user).count();
                world.user = user;
                if !user.is_empty() && open >= PER_USER {
                    let refused = world.try_join(&here, Role::Publisher, true, encoding).err();
                    assert_eq!(refused, Some(JoinError::UserFull));
                    continue;
                }
                let resumable = ResumableClient::join(&mut world, &here, encoding);
                for other in &mut actors {
                    other.due.push(Received::Created(resumable.id));
                }
                actors.push(Actor { resumable, user, due: vec![], detached: None, before: None });
            }
            _ if actors.is_empty() => {}
            Step::Say { who, to } => {
                let (who, to) = (pick(who), to.map(pick));
                let to = to.map(|to| actors[to].resumable.id);
                let Some(client) = &mut actors[who].resumable.client else { continue };
                let (from, seq) = (client.id, client.connection.sent() + 1);
                let data = format!("{from} {seq}");
                match to {
                    None => client.send(&data).unwrap(),
                    Some(to) => client.send_to(to, &data).unwrap(),
                }
                let received = signal(from, seq, &data);
                for actor in &mut actors {
                    if to.is_none_or(|to| to == actor.resumable.id) {
                        actor.due.push(received.clone());
                    }
                }
            }
            Step::Serve => {
                let data = time.to_string();
                world.send_from_server(&here, Recipients::All, &data).unwrap();
                for actor in &mut actors {
                    // Its number is not known here; the data identifies it.
                    actor.due.push(signal(servers(), 0, &data));
                }
            }
            Step::Read { who } => {
                let who = pick(who);
                actors[who].resumable.read();
                if let Some(client) = &actors[who].resumable.client {
                    // A client that reads has its ticket, and confirms it.
                    client.connection.confirm_ticket();
                    actors[who].before = None;
                }
            }
            Step::Lose { who, lost_answer } => {
                let who = pick(who);
                let actor = &mut actors[who];
                if actor.resumable.client.is_some() {
                    actor.detached = Some(actor.resumable.detach(&world));
                    if let (true, Some(before)) = (lost_answer, actor.before.take()) {
                        actor.resumable.secret = before;
                    }
                }
            }
            Step::TakeOver { who, encoding } | Step::Return { who, encoding } => {
                let who = pick(who);
                let actor = &mut actors[who];
                let used = actor.resumable.secret;
                let sent = actor.resumable.client.as_ref().map(|it| it.connection.sent());
                let answer = actor.resumable.resume(&world, ENCODINGS[encoding]).unwrap();
                assert_eq!((&answer.lost, &answer.present), (&vec![], &None));
                assert!(sent.is_none_or(|sent| sent == answer.signals));
                actor.before = Some(used);
                actor.detached = None;
            }
            Step::Expire { who } => {
                let who = pick(who);
                let Some(away) = actors[who].detached.take() else { continue };
                away.expire(world.now);
                gone(&mut actors, who, DisconnectReason::NetworkDisconnected);
            }
            Step::Leave { who } => {
                let who = pick(who);
                let Some(client) = actors[who].resumable.client.take() else { continue };
                client.connection.leave(CloseReason::ClientDisconnected, world.now);
                gone(&mut actors, who, DisconnectReason::ClientDisconnected);
            }
            Step::Restart => {
                let clients = actors.iter_mut().map(|it| (&mut it.resumable, &mut it.detached));
                restart(&mut world, clients);
            }
        }
    }
    for actor in &mut actors {
        if actor.resumable.client.is_none() {
            actor.resumable.resume(&world, Encoding::Shared).unwrap();
        }
        actor.resumable.read();
        let received: Vec<_> =
            actor.resumable.received.iter().cloned().map(without_server_seq).collect();
        assert_eq!(received, actor.due, "all of it, once, in order");
    }
    drop(actors);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

fn gone(actors: &mut Vec<Actor>, who: usize, reason: DisconnectReason) {
    let gone = actors.swap_remove(who);
    for other in actors {
        other.due.push(Received::Destroyed(gone.resumable.id, reason));
    }
}

fn without_server_seq(received: Received) -> Received {
    match received {
        Received::Signal { from: Sender::Server(from), data, .. } => {
            Received::Signal { from: from.into(), seq: 0, data }
        }
        received => received,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_repeated_in_any_program(steps in prop::collection::vec(step(), 0..80)) {
        run(steps);
    }
}
