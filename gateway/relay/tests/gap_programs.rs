//! Random programs with a small history: clients read part of a replay, lose links and answers, and
//! abandon attempts that arrive late. A loss is allowed only if the client was notified of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use signalbox_protocol::{CloseReason, ConnectionId, GatewayId, Sender, message::Lost};
use signalbox_relay::{
    Connection, Detached, Encoding, Recipients, ResumeError, Resumed, Settings, Stats,
};
use world::{
    Received, World,
    resumable::{ENCODINGS, ResumableClient, ResumeAttempt, restart},
    session,
};

#[derive(Debug, Clone)]
enum Step {
    Join { encoding: usize, presence: bool },
    Say { who: prop::sample::Index, to: Option<prop::sample::Index> },
    Serve,
    Read { who: prop::sample::Index, most: usize },
    Lose { who: prop::sample::Index },
    Resume { who: prop::sample::Index, encoding: usize, answered: bool },
    GiveUp { who: prop::sample::Index },
    Arrive { who: prop::sample::Index },
    Leave { who: prop::sample::Index },
    Wait { seconds: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<prop::sample::Index>;
    prop_oneof![
        2 => (0..3usize, prop::bool::weighted(0.8))
            .prop_map(|(encoding, presence)| Step::Join { encoding, presence }),
        12 => (who(), prop::option::weighted(0.3, who())).prop_map(|(who, to)| Step::Say { who, to }),
        2 => Just(Step::Serve),
        6 => (who(), 0..6usize).prop_map(|(who, most)| Step::Read { who, most }),
        4 => who().prop_map(|who| Step::Lose { who }),
        6 => (who(), 0..3usize, prop::bool::weighted(0.7))
            .prop_map(|(who, encoding, answered)| Step::Resume { who, encoding, answered }),
        1 => who().prop_map(|who| Step::GiveUp { who }),
        2 => who().prop_map(|who| Step::Arrive { who }),
        1 => who().prop_map(|who| Step::Leave { who }),
        1 => (0..40u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// A client, and the signals that it must still receive.
struct Actor {
    resumable: ResumableClient,
    detached: Option<Detached>,
    /// Per sender, signals for this client that it has neither read nor been told are lost.
    due: HashMap<Sender, VecDeque<u64>>,
    /// Other connections, as announced to this client.
    known: BTreeSet<ConnectionId>,
    /// Senders whose signals may be missing, as announced to this client.
    doubtful: BTreeSet<ConnectionId>,
    given_up: Vec<ResumeAttempt>,
}

impl Actor {
    /// Reads, and checks each message.
    fn read(&mut self, most: usize) {
        self.resumable.read_some(most);
        for received in std::mem::take(&mut self.resumable.received) {
            match received {
                Received::Signal { from, seq, .. } => {
                    let due = self.due.entry(from.clone()).or_default();
                    let from = from.connection();
                    if from.is_some_and(|id| self.doubtful.contains(&id)) {
                        due.retain(|due| *due >= seq);
                    }
                    assert_eq!(due.pop_front(), Some(seq), "in order, none lost, none twice");
                    let other =
                        from.filter(|id| *id != self.resumable.id && self.resumable.presence);
                    assert!(other.is_none_or(|id| self.known.contains(&id)), "while it is there");
                }
                Received::Created(id) => assert!(self.known.insert(id), "created once"),
                Received::Destroyed(id, _) => {
                    assert!(self.known.remove(&id), "destroyed once");
                    let due = self.due.remove(&id.into()).unwrap_or_default();
                    assert!(due.is_empty(), "destroyed after its last signal");
                    self.resumable.cursors.remove(&id.into());
                }
                other => panic!("no step makes {other:?}"),
            }
        }
    }

    /// The client has read the answer to its resume.
    fn resumed(&mut self, link: (Connection, Resumed), encoding: Encoding, there: &[ConnectionId]) {
        let before = self.resumable.cursors.clone();
        let answer = self.resumable.adopt(link.0, link.1, encoding);
        for Lost { from, after, until } in answer.lost {
            assert_eq!(after, before.get(&from).copied().unwrap_or(0));
            let due = self.due.entry(from).or_default();
            let waited_for = due.len();
            due.retain(|seq| *seq > until);
            assert!(due.len() < waited_for, "no false alarm");
        }
        match answer.present {
            Some(present) if self.resumable.presence => {
                self.known = present.into_iter().collect();
                let Self { known, resumable, .. } = self;
                let stays = |id: &Sender| {
                    id.connection().is_none_or(|id| id == resumable.id || known.contains(&id))
                };
                self.due.retain(|from, _| stays(from));
                let gone: Vec<_> =
                    resumable.cursors.keys().filter(|from| !stays(from)).cloned().collect();
                for from in &gone {
                    resumable.cursors.remove(from);
                }
            }
            Some(_) => {
                let gone =
                    self.due.keys().filter_map(Sender::connection).filter(|id| !there.contains(id));
                self.doubtful.extend(gone);
            }
            None => {}
        }
    }

    fn finish(&mut self, there: &[ConnectionId]) {
        let doubtful =
            |from: &Sender| from.connection().is_some_and(|id| self.doubtful.contains(&id));
        for (from, due) in &self.due {
            assert!(due.is_empty() || doubtful(from), "lost in silence: {from:?} {due:?}");
        }
        if self.resumable.presence {
            let others = there.iter().copied().filter(|id| *id != self.resumable.id);
            assert_eq!(self.known, others.collect(), "the client knows all members");
        }
    }
}

fn run(history_bytes: usize, steps: Vec<Step>) {
    let mut world = World::new(Settings { history_bytes, ..Settings::default() });
    let here = session(1, 1);
    let mut actors: Vec<Actor> = Vec::new();
    let mut served = 0;
    for step in steps {
        world.now += Duration::from_millis(1);
        let there: Vec<_> = actors.iter().map(|actor| actor.resumable.id).collect();
        let pick = |who: prop::sample::Index| who.index(there.len().max(1));
        match step {
            Step::Join { encoding, presence } => {
                let mut resumable =
                    ResumableClient::join_with(&mut world, &here, ENCODINGS[encoding], presence);
                let known = resumable.client().present.iter().copied().collect();
                actors.push(Actor {
                    resumable,
                    detached: None,
                    due: HashMap::new(),
                    known,
                    doubtful: BTreeSet::new(),
                    given_up: Vec::new(),
                });
            }
            _ if actors.is_empty() => {}
            Step::Say { who, to } => {
                let to = to.map(|to| there[pick(to)]);
                let Some(client) = &mut actors[pick(who)].resumable.client else { continue };
                client.connection.confirm_ticket();
                match to {
                    None => client.send("x").unwrap(),
                    Some(to) => client.send_to(to, "x").unwrap(),
                }
                let (from, seq) = (client.id, client.connection.sent());
                for actor in &mut actors {
                    if to.is_none_or(|to| to == actor.resumable.id) {
                        actor.due.entry(from.into()).or_default().push_back(seq);
                    }
                }
            }
            Step::Serve => {
                world.send_from_server(&here, Recipients::All, "x").unwrap();
                served += 1;
                for actor in &mut actors {
                    actor.due.entry(GatewayId::default().into()).or_default().push_back(served);
                }
            }
            Step::Read { who, most } => actors[pick(who)].read(most),
            Step::Lose { who } => {
                let actor = &mut actors[pick(who)];
                if actor.resumable.client.is_some() {
                    actor.detached = Some(actor.resumable.detach(&world));
                }
            }
            Step::Resume { who, encoding, answered } => {
                let actor = &mut actors[pick(who)];
                let link = actor.resumable.attempt(&world, ENCODINGS[encoding]).unwrap();
                if answered {
                    actor.detached = None;
                    actor.resumed(link, ENCODINGS[encoding], &there);
                } else {
                    // The link breaks before its client has read the answer.
                    actor.resumable.client = None;
                    actor.detached = link.0.detach(world.now);
                }
            }
            Step::GiveUp { who } => {
                let actor = &mut actors[pick(who)];
                if actor.resumable.client.is_none() {
                    actor.given_up.push(ResumeAttempt::of(&mut actor.resumable));
                }
            }
            Step::Arrive { who } => {
                let actor = &mut actors[pick(who)];
                let Some(attempt) = actor.given_up.pop() else { continue };
                match attempt.arrive(&actor.resumable, &world) {
                    Ok((connection, _)) => {
                        assert!(
                            actor.resumable.client.is_none(),
                            "a late attempt ends no link that is in use"
                        );
                        actor.detached = connection.detach(world.now);
                    }
                    Err(error) => {
                        assert!(matches!(
                            error,
                            ResumeError::Superseded | ResumeError::InvalidTicket
                        ));
                    }
                }
                let client = actor.resumable.client.as_ref();
                assert_eq!(client.and_then(world::Client::closed), None);
            }
            Step::Leave { who } => {
                let who = pick(who);
                let Some(client) = actors[who].resumable.client.take() else { continue };
                client.connection.leave(CloseReason::ClientDisconnected, world.now);
                actors.swap_remove(who);
                if actors.is_empty() {
                    // The next to join begins a new session.
                    served = 0;
                }
            }
            Step::Wait { seconds } => world.now += Duration::from_secs(seconds),
            Step::Restart => {
                let clients = actors.iter_mut().map(|it| (&mut it.resumable, &mut it.detached));
                restart(&mut world, clients);
            }
        }
    }
    let there: Vec<_> = actors.iter().map(|actor| actor.resumable.id).collect();
    for actor in &mut actors {
        if actor.resumable.client.is_none() {
            let link = actor.resumable.attempt(&world, Encoding::Shared).unwrap();
            actor.resumed(link, Encoding::Shared, &there);
        }
        actor.read(usize::MAX);
        actor.finish(&there);
    }
    drop(actors);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_loss_is_reported_in_any_program(
        history_bytes in 300..3000usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run(history_bytes, steps);
    }
}
