//! Random programs on a small backlog: clients read part of a replay, lose links and answers, and give
//! up attempts that arrive late. A loss is allowed only where the client was told of it.
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
use signalbox_protocol::{
    CloseReason, ConnectionId, GatewayId, Role, Sender, Transport, message::Lost,
};
use signalbox_relay::{
    Away, Comeback, Connection, Encoding, Recipients, ResumeError, Resumed, Secret, Settings, Stats,
};
use world::{
    Told, World,
    keeper::{FORMS, Keeper, secret, signal},
    session,
};

/// What was reported: after a gap in presence, the signals that a client has not read when its link
/// breaks again were never sent to it.
#[test]
fn a_replay_read_in_part_after_a_presence_gap_goes_on_at_the_next_resume() {
    for form in FORMS {
        let mut world = World::new(Settings { backlog_bytes: 4000, ..Settings::default() });
        let here = session(1, 1);
        let mut alice = world.join(&here, Role::Publisher);
        let mut bob = Keeper::join(&mut world, &here, form);
        bob.news();
        let _away = bob.lose(&world);
        drop(world.join(&here, Role::Publisher));
        for n in 1..=100 {
            alice.say(&n.to_string()).unwrap();
            alice.read();
        }
        let answer = bob.resume(&world, form).unwrap();
        assert_eq!(answer.present, Some(vec![alice.id]));
        let [Lost { until, .. }] = answer.lost[..] else { panic!("{answer:?}") };
        bob.read_some(10);
        let _away = bob.lose(&world);
        let answer = bob.resume(&world, form).unwrap();
        assert_eq!((answer.lost, answer.present), (vec![], None), "nothing else is lost");
        let all: Vec<_> = (until + 1..=100).map(|n| signal(alice.id, n, &n.to_string())).collect();
        assert_eq!(bob.news(), all, "{form:?}");
    }
}

/// What was reported: an attempt that its client had given up arrived after a later one had been
/// answered, took the connection over, and voided the ticket that the client had just read.
#[test]
fn a_late_attempt_takes_nothing_away_from_a_later_one() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let _away = bob.lose(&world);
    let given_up = Attempt::of(&mut bob);
    bob.resume(&world, Encoding::Json).unwrap();
    assert_eq!(given_up.arrive(&bob, &world).err(), Some(ResumeError::Superseded));
    let check = world.relay.check_ticket(&here, bob.id, &given_up.secret, given_up.number);
    assert_eq!(check, Err(ResumeError::Superseded), "already before the cursors are read");
    alice.say("still there?").unwrap();
    assert_eq!(bob.news(), [signal(alice.id, 1, "still there?")]);
    let _away = bob.lose(&world);
    bob.resume(&world, Encoding::Json).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Join { form: usize, presence: bool },
    Say { who: prop::sample::Index, to: Option<prop::sample::Index> },
    Serve,
    Read { who: prop::sample::Index, most: usize },
    Lose { who: prop::sample::Index },
    Resume { who: prop::sample::Index, form: usize, answered: bool },
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
            .prop_map(|(form, presence)| Step::Join { form, presence }),
        12 => (who(), prop::option::weighted(0.3, who())).prop_map(|(who, to)| Step::Say { who, to }),
        2 => Just(Step::Serve),
        6 => (who(), 0..6usize).prop_map(|(who, most)| Step::Read { who, most }),
        4 => who().prop_map(|who| Step::Lose { who }),
        6 => (who(), 0..3usize, prop::bool::weighted(0.7))
            .prop_map(|(who, form, answered)| Step::Resume { who, form, answered }),
        1 => who().prop_map(|who| Step::GiveUp { who }),
        2 => who().prop_map(|who| Step::Arrive { who }),
        1 => who().prop_map(|who| Step::Leave { who }),
        1 => (0..40u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// An attempt that is still on its way when its client gives it up.
struct Attempt {
    number: u32,
    secret: Secret,
    events: u64,
    cursors: HashMap<Sender, u64>,
}

impl Attempt {
    fn of(keeper: &mut Keeper) -> Self {
        keeper.attempts += 1;
        let Keeper { attempts, secret, events, ref cursors, .. } = *keeper;
        Self { number: attempts, secret, events, cursors: cursors.clone() }
    }

    fn arrive(&self, of: &Keeper, world: &World) -> Result<(Connection, Resumed), ResumeError> {
        let comeback = Comeback {
            session: &of.session,
            connection: of.id,
            secret: self.secret,
            attempt: self.number,
            next: secret(of.id, self.number),
            events: self.events,
            cursors: &self.cursors,
            encoding: Encoding::Json,
            transport: Transport::WebSocket,
        };
        world.relay.resume(&comeback, world.now)
    }
}

/// A client, and what it must still be told.
struct Actor {
    keeper: Keeper,
    away: Option<Away>,
    /// Of each sender the signals that are for it and that it has neither read nor been told lost.
    due: HashMap<Sender, VecDeque<u64>>,
    /// Others, as it was told.
    known: BTreeSet<ConnectionId>,
    /// Senders of which it was told that signals may be missing.
    doubtful: BTreeSet<ConnectionId>,
    given_up: Vec<Attempt>,
}

impl Actor {
    /// Reads, and checks each message.
    fn read(&mut self, most: usize) {
        self.keeper.read_some(most);
        for told in std::mem::take(&mut self.keeper.told) {
            match told {
                Told::Signal { from, seq, .. } => {
                    let due = self.due.entry(from.clone()).or_default();
                    let from = from.connection();
                    if from.is_some_and(|id| self.doubtful.contains(&id)) {
                        due.retain(|due| *due >= seq);
                    }
                    assert_eq!(due.pop_front(), Some(seq), "in order, none lost, none twice");
                    let other = from.filter(|id| *id != self.keeper.id && self.keeper.presence);
                    assert!(other.is_none_or(|id| self.known.contains(&id)), "while it is there");
                }
                Told::Created(id) => assert!(self.known.insert(id), "created once"),
                Told::Destroyed(id, _) => {
                    assert!(self.known.remove(&id), "destroyed once");
                    let due = self.due.remove(&id.into()).unwrap_or_default();
                    assert!(due.is_empty(), "destroyed after its last signal");
                    self.keeper.cursors.remove(&id.into());
                }
                other => panic!("no step makes {other:?}"),
            }
        }
    }

    /// The client has read the answer to its resume.
    fn resumed(&mut self, link: (Connection, Resumed), form: Encoding, there: &[ConnectionId]) {
        let before = self.keeper.cursors.clone();
        let answer = self.keeper.adopt(link.0, link.1, form);
        for Lost { from, after, until } in answer.lost {
            assert_eq!(after, before.get(&from).copied().unwrap_or(0));
            let due = self.due.entry(from).or_default();
            let waited_for = due.len();
            due.retain(|seq| *seq > until);
            assert!(due.len() < waited_for, "no false alarm");
        }
        match answer.present {
            Some(present) if self.keeper.presence => {
                self.known = present.into_iter().collect();
                let Self { known, keeper, .. } = self;
                let stays = |id: &Sender| {
                    id.connection().is_none_or(|id| id == keeper.id || known.contains(&id))
                };
                self.due.retain(|from, _| stays(from));
                let gone: Vec<_> =
                    keeper.cursors.keys().filter(|from| !stays(from)).cloned().collect();
                for from in &gone {
                    keeper.cursors.remove(from);
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
        if self.keeper.presence {
            let others = there.iter().copied().filter(|id| *id != self.keeper.id);
            assert_eq!(self.known, others.collect(), "all are known who are there");
        }
    }
}

fn run(backlog_bytes: usize, steps: Vec<Step>) {
    let mut world = World::new(Settings { backlog_bytes, ..Settings::default() });
    let here = session(1, 1);
    let mut actors: Vec<Actor> = Vec::new();
    let mut served = 0;
    for step in steps {
        world.now += Duration::from_millis(1);
        let there: Vec<_> = actors.iter().map(|actor| actor.keeper.id).collect();
        let pick = |who: prop::sample::Index| who.index(there.len().max(1));
        match step {
            Step::Join { form, presence } => {
                let mut keeper = Keeper::join_with(&mut world, &here, FORMS[form], presence);
                let known = keeper.client().present.iter().copied().collect();
                actors.push(Actor {
                    keeper,
                    away: None,
                    due: HashMap::new(),
                    known,
                    doubtful: BTreeSet::new(),
                    given_up: Vec::new(),
                });
            }
            _ if actors.is_empty() => {}
            Step::Say { who, to } => {
                let to = to.map(|to| there[pick(to)]);
                let Some(client) = &mut actors[pick(who)].keeper.client else { continue };
                client.connection.has_ticket();
                match to {
                    None => client.say("x").unwrap(),
                    Some(to) => client.say_to(to, "x").unwrap(),
                }
                let (from, seq) = (client.id, client.connection.sent());
                for actor in &mut actors {
                    if to.is_none_or(|to| to == actor.keeper.id) {
                        actor.due.entry(from.into()).or_default().push_back(seq);
                    }
                }
            }
            Step::Serve => {
                world.serve(&here, Recipients::All, "x").unwrap();
                served += 1;
                for actor in &mut actors {
                    actor.due.entry(GatewayId::default().into()).or_default().push_back(served);
                }
            }
            Step::Read { who, most } => actors[pick(who)].read(most),
            Step::Lose { who } => {
                let actor = &mut actors[pick(who)];
                if actor.keeper.client.is_some() {
                    actor.away = Some(actor.keeper.lose(&world));
                }
            }
            Step::Resume { who, form, answered } => {
                let actor = &mut actors[pick(who)];
                let link = actor.keeper.attempt(&world, FORMS[form]).unwrap();
                if answered {
                    actor.away = None;
                    actor.resumed(link, FORMS[form], &there);
                } else {
                    // The link breaks before its client has read the answer.
                    actor.keeper.client = None;
                    actor.away = link.0.lost(world.now);
                }
            }
            Step::GiveUp { who } => {
                let actor = &mut actors[pick(who)];
                if actor.keeper.client.is_none() {
                    actor.given_up.push(Attempt::of(&mut actor.keeper));
                }
            }
            Step::Arrive { who } => {
                let actor = &mut actors[pick(who)];
                let Some(attempt) = actor.given_up.pop() else { continue };
                match attempt.arrive(&actor.keeper, &world) {
                    Ok((connection, _)) => {
                        assert!(actor.keeper.client.is_none(), "it takes no living link away");
                        actor.away = connection.lost(world.now);
                    }
                    Err(error) => {
                        assert!(matches!(error, ResumeError::Superseded | ResumeError::Ticket));
                    }
                }
                let client = actor.keeper.client.as_ref();
                assert_eq!(client.and_then(world::Client::ended), None);
            }
            Step::Leave { who } => {
                let who = pick(who);
                let Some(client) = actors[who].keeper.client.take() else { continue };
                client.connection.leave(CloseReason::ClientDisconnected, world.now);
                actors.swap_remove(who);
                if actors.is_empty() {
                    // The next to join begins a new session.
                    served = 0;
                }
            }
            Step::Wait { seconds } => world.now += Duration::from_secs(seconds),
            Step::Restart => {
                let all = world.restart();
                for actor in &mut actors {
                    (actor.keeper.client, actor.away) = (None, None);
                }
                for away in all {
                    let actor = actors.iter_mut().find(|actor| actor.keeper.id == away.id());
                    actor.unwrap().away = Some(away);
                }
            }
        }
    }
    let there: Vec<_> = actors.iter().map(|actor| actor.keeper.id).collect();
    for actor in &mut actors {
        if actor.keeper.client.is_none() {
            let link = actor.keeper.attempt(&world, Encoding::Shared).unwrap();
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
    fn a_loss_is_always_told_in_any_program(
        backlog_bytes in 300..3000usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        run(backlog_bytes, steps);
    }
}
