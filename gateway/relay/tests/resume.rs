//! Connections that lose their link and come back: stories, and random programs in simulated time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod world;

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use signalbox_protocol::{
    CloseReason, ConnectionId, DisconnectReason, Role, Sender, Transport, message::Lost,
};
use signalbox_relay::{
    Away, Comeback, Encoding, Recipients, Refused, ResumeError, Secret, Settings, Stats,
};
use world::{
    Told, World,
    keeper::{Answer, FORMS, Keeper, secret, servers, signal, whole},
    session,
};

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn who_comes_back_gets_what_it_missed_and_nobody_saw_it_leave() {
    for (before, after) in FORMS.iter().flat_map(|form| FORMS.map(|other| (*form, other))) {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut alice = world.join(&here, Role::Publisher);
        let mut bob = Keeper::join(&mut world, &here, before);
        alice.read();
        alice.say("heard").unwrap();
        assert_eq!(bob.news(), [signal(alice.id, 1, "heard")]);
        alice.say("on its way when the link broke").unwrap();
        let away = bob.lose(&world);
        alice.say("all").unwrap();
        alice.say_to(bob.id, "one").unwrap();
        alice.say_to(alice.id, "not for bob").unwrap();
        let carol = world.join(&here, Role::Publisher);
        world.serve(&here, Recipients::One(bob.id), "from a server").unwrap();
        carol.connection.leave(CloseReason::ClientDisconnected, world.now);
        alice.say("last").unwrap();
        assert!(
            alice
                .read()
                .iter()
                .all(|told| !matches!(told, Told::Destroyed(id, _) if *id == bob.id)),
            "nobody is told"
        );
        assert_eq!(bob.resume(&world, after), Ok(whole(0)));
        alice.say("live").unwrap();
        assert_eq!(
            bob.news(),
            [
                signal(alice.id, 2, "on its way when the link broke"),
                signal(alice.id, 3, "all"),
                signal(alice.id, 4, "one"),
                Told::Created(carol.id),
                signal(servers(), 1, "from a server"),
                Told::Destroyed(carol.id, DisconnectReason::ClientDisconnected),
                signal(alice.id, 6, "last"),
                signal(alice.id, 7, "live"),
            ],
            "{before:?} and {after:?}"
        );
        drop(away);
        alice.say("its time is not over").unwrap();
        assert_eq!(bob.news().len(), 1, "an old deadline does not end who is back");
    }
}

#[test]
fn its_own_signals_go_on_where_the_gateway_has_them() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = Keeper::join(&mut world, &here, Encoding::Json);
    alice.client().say("one").unwrap();
    alice.client().say(&"x".repeat(9000)).unwrap_err();
    assert_eq!(alice.accepted, 0);
    alice.read();
    assert_eq!(alice.accepted, 1, "a refused one counts when its error has been told");
    alice.client().say("three").unwrap();
    let _away = alice.lose(&world);
    assert_eq!(alice.resume(&world, Encoding::Shared), Ok(whole(3)), "refused ones count");
    alice.client().say("four").unwrap();
    assert_eq!(
        alice.news(),
        [signal(alice.id, 1, "one"), signal(alice.id, 3, "three"), signal(alice.id, 4, "four"),]
    );
    assert_eq!(alice.accepted, 4);
}

#[test]
fn who_does_not_come_back_is_destroyed_once() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    alice.read();
    let away = bob.lose(&world);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 2 }, "it counts");
    away.expire(at(30));
    let destroyed = Told::Destroyed(bob.id, DisconnectReason::NetworkDisconnected);
    assert_eq!(alice.read(), [destroyed]);
    assert_eq!(world.relay.stats(), Stats { sessions: 1, connections: 1 });
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Ticket));
}

#[test]
fn others_can_end_who_is_away() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let alice = world.join(&here, Role::Moderator);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let mut carol = Keeper::join(&mut world, &here, Encoding::Json);
    let (bob_away, carol_away) = (bob.lose(&world), carol.lose(&world));
    alice.read();
    alice.connection.force_disconnect(bob.id, world.now).unwrap();
    world.relay.force_disconnect(&here, carol.id, world.now).unwrap();
    drop((bob_away, carol_away));
    let forced = DisconnectReason::ForceDisconnected;
    let destroyed = [Told::Destroyed(bob.id, forced), Told::Destroyed(carol.id, forced)];
    assert_eq!(alice.read(), destroyed);
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Dismissed));
    assert_eq!(carol.resume(&world, Encoding::Json), Err(ResumeError::Dismissed));
}

#[test]
fn a_second_link_takes_over_from_a_living_one() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    alice.read();
    let mut old = bob.client.take().unwrap();
    assert_eq!(bob.resume(&world, Encoding::PerSender), Ok(whole(0)));
    assert_eq!(old.ended(), Some(CloseReason::Superseded));
    // The old link can do nothing any more, and its end ends nothing.
    assert!(old.say("from the past").is_err());
    assert_eq!(
        old.connection.force_disconnect(alice.id, world.now),
        Err(Refused::NotFound(alice.id))
    );
    old.connection.leave(CloseReason::ClientDisconnected, world.now);
    alice.say("to the new one").unwrap();
    assert_eq!(bob.news(), [signal(alice.id, 1, "to the new one")]);
    assert_eq!(alice.read(), [signal(alice.id, 1, "to the new one")]);
}

#[test]
fn a_ticket_is_good_once_and_for_its_connection() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let mut eve = Keeper::join(&mut world, &here, Encoding::Json);
    let plain = world.join(&here, Role::Publisher);
    let first = bob.secret;
    let _away = bob.lose(&world);

    // Forged, another's, for one who is not kept, in another session.
    let try_with = |world: &World, change: &dyn Fn(&mut Comeback<'_>)| {
        let mut comeback = bob.comeback(Encoding::Json, [9; 32]);
        change(&mut comeback);
        world.relay.resume(&comeback, world.now).err()
    };
    let elsewhere = session(2, 1);
    assert_eq!(try_with(&world, &|it| it.secret = [7; 32]), Some(ResumeError::Ticket));
    assert_eq!(try_with(&world, &|it| it.secret = eve.secret), Some(ResumeError::Ticket));
    assert_eq!(try_with(&world, &|it| it.connection = plain.id), Some(ResumeError::Ticket));
    assert_eq!(
        try_with(&world, &|it| it.connection = ConnectionId::from_bytes([9; 16])),
        Some(ResumeError::Ticket)
    );
    let mut stray = bob.comeback(Encoding::Json, [9; 32]);
    stray.session = &elsewhere;
    assert_eq!(world.relay.resume(&stray, world.now).err(), Some(ResumeError::Ticket));

    // The used one is good until the client has shown that it has the new one.
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(whole(0)));
    let second = std::mem::replace(&mut bob.secret, first);
    let _away = bob.lose(&world);
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(whole(0)), "the answer was lost");
    bob.client().connection.has_ticket();
    let third = bob.secret;
    let _away = bob.lose(&world);
    for old in [first, second] {
        bob.secret = old;
        if old != third {
            assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Ticket));
        }
    }
    bob.secret = third;
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(whole(0)));
    assert!(eve.news().iter().all(|told| matches!(told, Told::Created(_))), "eve saw nothing");
}

#[test]
fn nobody_has_what_was_never_sent() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    alice.say("one").unwrap();
    bob.read();
    let _away = bob.lose(&world);
    for (from, seq) in [(alice.id.into(), 2), (servers(), 1), (bob.id.into(), 1)] {
        let before = bob.cursors.insert(from.clone(), seq);
        assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Ahead));
        bob.cursors.remove(&from);
        bob.cursors.extend(before.map(|seq| (from, seq)));
    }
    bob.events += 1;
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::Ahead));
    bob.events -= 1;
    assert_eq!(bob.resume(&world, Encoding::Json), Ok(whole(0)), "nothing has changed");
}

#[test]
fn what_is_no_longer_kept_is_a_gap_with_names() {
    let mut world = World::new(Settings { backlog_bytes: 600, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let mut carol = world.join(&here, Role::Publisher);
    alice.say("heard").unwrap();
    bob.news();
    let _away = bob.lose(&world);
    carol.say_to(alice.id, "not for bob").unwrap();
    for n in 0..20 {
        alice.say(&n.to_string()).unwrap();
    }
    let answer = bob.resume(&world, Encoding::Shared).unwrap();
    assert_eq!(answer.present, None, "no presence is lost");
    let [Lost { ref from, after: 1, until }] = answer.lost[..] else { panic!("{answer:?}") };
    assert_eq!(*from, alice.id.into());
    assert!((2..21).contains(&until), "{until}");
    let told = bob.news();
    assert_eq!(told.first(), Some(&signal(from.clone(), until + 1, &(until - 1).to_string())));
    assert_eq!(told.len() as u64, 21 - until, "what is kept comes, in order");
    // It is said once.
    let _away = bob.lose(&world);
    assert_eq!(bob.resume(&world, Encoding::Shared), Ok(whole(0)));
}

#[test]
fn lost_presence_is_named_anew() {
    let mut world = World::new(Settings { backlog_bytes: 500, ..Settings::default() });
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::PerSender);
    bob.news();
    let old = (bob.secret, bob.events);
    let _away = bob.lose(&world);
    let carol = world.join(&here, Role::Publisher);
    for _ in 0..10 {
        let mut passing = world.join(&here, Role::Publisher);
        passing.say("hello and goodbye").unwrap();
    }
    for n in 0..10 {
        alice.say(&n.to_string()).unwrap();
    }
    let answer = bob.resume(&world, Encoding::PerSender).unwrap();
    assert_eq!(answer.present, Some(vec![alice.id, carol.id]));
    let known = |told: &Told| matches!(told, Told::Signal { from, .. } if *from == alice.id.into());
    assert!(bob.news().iter().all(known), "nothing of those who are gone");
    // Who has not read that far counts as before.
    (bob.secret, bob.events) = old;
    bob.cursors.clear();
    let _away = bob.lose(&world);
    let again = bob.resume(&world, Encoding::PerSender).unwrap();
    assert_eq!(again.present, Some(vec![alice.id, carol.id]));
    // And from here on everything is told again.
    bob.client().connection.has_ticket();
    bob.news();
    let _away = bob.lose(&world);
    let dave = world.join(&here, Role::Publisher);
    assert_eq!(bob.resume(&world, Encoding::PerSender), Ok(whole(0)));
    assert_eq!(bob.news(), [Told::Created(dave.id)]);
}

#[test]
fn of_who_is_gone_nothing_comes_again_unless_it_is_asked_for() {
    for named in [false, true] {
        let mut world = World::new(Settings::default());
        let here = session(1, 1);
        let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
        let mut alice = world.join(&here, Role::Publisher);
        alice.say("one").unwrap();
        alice.say("two").unwrap();
        let id = alice.id;
        alice.connection.leave(CloseReason::ClientDisconnected, world.now);
        // It has read all of that. A client forgets whom it has told the end of; over streams it
        // may have read the end and still wait for what comes before it.
        bob.news();
        bob.cursors.remove(&id.into());
        if named {
            bob.cursors.insert(id.into(), 1);
        }
        let _away = bob.lose(&world);
        assert_eq!(bob.resume(&world, Encoding::Json), Ok(whole(0)));
        let expected = if named { vec![signal(id, 2, "two")] } else { vec![] };
        assert_eq!(bob.news(), expected);
    }
}

#[test]
fn of_who_is_gone_a_gap_is_told_if_it_is_waited_for_and_only_then() {
    for presence in [true, false] {
        // Room for her end and some of her last signals, or for nothing of hers at all.
        for later in [0, 10] {
            for waited_for in [false, true] {
                let mut world = World::new(Settings { backlog_bytes: 1500, ..Settings::default() });
                let here = session(1, 1);
                let mut bob = Keeper::join_with(&mut world, &here, Encoding::Json, presence);
                let mut alice = world.join(&here, Role::Publisher);
                let mut carol = world.join(&here, Role::Publisher);
                for n in 0..40 {
                    carol.say(&n.to_string()).unwrap();
                    bob.news();
                }
                let id = carol.id;
                carol.connection.leave(CloseReason::ClientDisconnected, world.now);
                bob.news();
                let _away = bob.lose(&world);
                for n in 0..later {
                    alice.say(&n.to_string()).unwrap();
                }
                if waited_for {
                    bob.cursors.insert(id.into(), 5);
                } else if presence {
                    bob.cursors.remove(&id.into());
                }
                let answer = bob.resume(&world, Encoding::Json).unwrap();
                let of_carol = answer.lost.iter().any(|lost| lost.from == id.into());
                let told = of_carol || answer.present.is_some();
                if waited_for {
                    assert!(told, "{presence} {later}: {answer:?}");
                } else if presence {
                    assert_eq!(answer, whole(0), "{later}");
                }
                let again =
                    |told: &Told| matches!(told, Told::Signal { from, .. } if *from == id.into());
                let again = bob.news().iter().filter(|told| again(told)).count();
                assert!(waited_for || again == 0, "{presence} {later}: {again}");
            }
        }
    }
}

#[test]
fn what_is_too_old_is_not_kept() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    alice.read();
    let _away = bob.lose(&world);
    alice.say("old").unwrap();
    world.now = at(61);
    let lost = vec![Lost { from: alice.id.into(), after: 0, until: 1 }];
    let answer = bob.resume(&world, Encoding::Json).unwrap();
    assert_eq!(answer, Answer { signals: 0, lost, present: None });
}

#[test]
fn who_asks_late_is_told_that_something_may_be_lost() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut alice = world.join(&here, Role::Publisher);
    let late = world.join(&here, Role::Publisher);
    // Somebody who was kept, and for whom nothing is written any more.
    drop(Keeper::join(&mut world, &here, Encoding::Json));
    world.now = at(100);
    let signal = signalbox_protocol::Signal::new(None::<&str>, Some("nobody keeps this"));
    alice.connection.signal(None, signal, world.now).unwrap();
    let secret = secret(late.id, 0);
    assert!(late.connection.keep(secret, Duration::ZERO));
    let id = late.id;
    let _away = late.connection.lost(world.now);
    let comeback = Comeback {
        session: &here,
        connection: id,
        secret,
        attempt: 1,
        next: [1; 32],
        events: 0,
        cursors: &HashMap::new(),
        encoding: Encoding::Json,
        transport: Transport::WebSocket,
    };
    let (_, resumed) = world.relay.resume(&comeback, world.now).unwrap();
    assert_eq!(resumed.present.map(|present| present.len()), Some(1));
}

#[test]
fn who_was_sent_away_without_hearing_it_is_told_when_it_comes_back() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let moderator = world.join(&here, Role::Moderator);
    // One away, one on a link that is dead without anybody's knowing; by a member and by a server.
    let mut away = Keeper::join(&mut world, &here, Encoding::Json);
    let mut dead = Keeper::join(&mut world, &here, Encoding::Json);
    let _away = away.lose(&world);
    moderator.connection.force_disconnect(away.id, world.now).unwrap();
    world.relay.force_disconnect(&here, dead.id, world.now).unwrap();
    let forged = Keeper::join(&mut world, &here, Encoding::Json);
    for keeper in [&mut away, &mut dead] {
        let (id, good) = (keeper.id, keeper.secret);
        assert_eq!(keeper.resume(&world, Encoding::Json).err(), Some(ResumeError::Dismissed));
        let check = |secret| world.relay.check_ticket(&here, id, secret, 1);
        assert_eq!(check(&good), Err(ResumeError::Dismissed));
        assert_eq!(check(&forged.secret), Err(ResumeError::Ticket), "only to whom it is");
    }
    // Even when the session is no more; but not for ever.
    drop((moderator, forged));
    assert_eq!(away.resume(&world, Encoding::Json).err(), Some(ResumeError::Dismissed));
    let moderator = world.join(&here, Role::Moderator);
    for _ in 0..1024 {
        let next = Keeper::join(&mut world, &here, Encoding::Json);
        moderator.connection.force_disconnect(next.id, world.now).unwrap();
    }
    assert_eq!(away.resume(&world, Encoding::Json).err(), Some(ResumeError::Ticket));
}

#[test]
fn going_down_ends_who_is_away_too() {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut bob = Keeper::join(&mut world, &here, Encoding::Json);
    let away = bob.lose(&world);
    world.relay.shut_down();
    assert_eq!(bob.resume(&world, Encoding::Json), Err(ResumeError::ShuttingDown));
    drop(away);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
    let heard: Vec<_> = world.journal.take().into_iter().map(|(_, _, reason)| reason).collect();
    assert_eq!(heard, [None, Some(DisconnectReason::NetworkDisconnected)], "destroyed once");
}

#[derive(Debug, Clone)]
enum Step {
    Join {
        form: usize,
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
        form: usize,
    },
    Return {
        who: prop::sample::Index,
        form: usize,
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
        2 => (0..3usize).prop_map(|form| Step::Join { form }),
        8 => (who(), prop::option::of(who())).prop_map(|(who, to)| Step::Say { who, to }),
        2 => Just(Step::Serve),
        4 => who().prop_map(|who| Step::Read { who }),
        4 => (who(), any::<bool>()).prop_map(|(who, lost_answer)| Step::Lose { who, lost_answer }),
        1 => (who(), 0..3usize).prop_map(|(who, form)| Step::TakeOver { who, form }),
        4 => (who(), 0..3usize).prop_map(|(who, form)| Step::Return { who, form }),
        1 => who().prop_map(|who| Step::Expire { who }),
        1 => who().prop_map(|who| Step::Leave { who }),
        1 => Just(Step::Restart),
    ]
}

/// A client, what it should have been told, and its deadline while it is away.
struct Actor {
    keeper: Keeper,
    due: Vec<Told>,
    away: Option<Away>,
    /// The ticket before, while the answer with the new one may still have been lost.
    before: Option<Secret>,
}

fn run(steps: Vec<Step>) {
    let mut world = World::new(Settings::default());
    let here = session(1, 1);
    let mut actors: Vec<Actor> = Vec::new();
    for (time, step) in steps.into_iter().enumerate() {
        world.now = Duration::from_millis(time as u64);
        let pick = |who: prop::sample::Index| who.index(actors.len().max(1));
        match step {
            Step::Join { form } => {
                let keeper = Keeper::join(&mut world, &here, FORMS[form]);
                for other in &mut actors {
                    other.due.push(Told::Created(keeper.id));
                }
                actors.push(Actor { keeper, due: vec![], away: None, before: None });
            }
            _ if actors.is_empty() => {}
            Step::Say { who, to } => {
                let (who, to) = (pick(who), to.map(pick));
                let to = to.map(|to| actors[to].keeper.id);
                let Some(client) = &mut actors[who].keeper.client else { continue };
                let (from, seq) = (client.id, client.connection.sent() + 1);
                let data = format!("{from} {seq}");
                match to {
                    None => client.say(&data).unwrap(),
                    Some(to) => client.say_to(to, &data).unwrap(),
                }
                let told = signal(from, seq, &data);
                for actor in &mut actors {
                    if to.is_none_or(|to| to == actor.keeper.id) {
                        actor.due.push(told.clone());
                    }
                }
            }
            Step::Serve => {
                let data = time.to_string();
                world.serve(&here, Recipients::All, &data).unwrap();
                for actor in &mut actors {
                    // Its number is not known here; the data says enough.
                    actor.due.push(signal(servers(), 0, &data));
                }
            }
            Step::Read { who } => {
                let who = pick(who);
                actors[who].keeper.read();
                if let Some(client) = &actors[who].keeper.client {
                    // Whoever reads has its ticket, and says something.
                    client.connection.has_ticket();
                    actors[who].before = None;
                }
            }
            Step::Lose { who, lost_answer } => {
                let who = pick(who);
                let actor = &mut actors[who];
                if actor.keeper.client.is_some() {
                    actor.away = Some(actor.keeper.lose(&world));
                    if let (true, Some(before)) = (lost_answer, actor.before.take()) {
                        actor.keeper.secret = before;
                    }
                }
            }
            Step::TakeOver { who, form } | Step::Return { who, form } => {
                let who = pick(who);
                let actor = &mut actors[who];
                let used = actor.keeper.secret;
                let sent = actor.keeper.client.as_ref().map(|it| it.connection.sent());
                let answer = actor.keeper.resume(&world, FORMS[form]).unwrap();
                assert_eq!((&answer.lost, &answer.present), (&vec![], &None));
                assert!(sent.is_none_or(|sent| sent == answer.signals));
                actor.before = Some(used);
                actor.away = None;
            }
            Step::Expire { who } => {
                let who = pick(who);
                let Some(away) = actors[who].away.take() else { continue };
                away.expire(world.now);
                gone(&mut actors, who, DisconnectReason::NetworkDisconnected);
            }
            Step::Leave { who } => {
                let who = pick(who);
                let Some(client) = actors[who].keeper.client.take() else { continue };
                client.connection.leave(CloseReason::ClientDisconnected, world.now);
                gone(&mut actors, who, DisconnectReason::ClientDisconnected);
            }
            Step::Restart => {
                let all = world.restart();
                for actor in &mut actors {
                    (actor.keeper.client, actor.away) = (None, None);
                }
                for away in all {
                    let actor = actors.iter_mut().find(|actor| actor.keeper.id == away.id());
                    actor.unwrap().away = Some(away);
                }
                assert!(actors.iter().all(|actor| actor.away.is_some()));
            }
        }
    }
    for actor in &mut actors {
        if actor.keeper.client.is_none() {
            actor.keeper.resume(&world, Encoding::Shared).unwrap();
        }
        actor.keeper.read();
        let told: Vec<_> = actor.keeper.told.iter().cloned().map(without_server_seq).collect();
        assert_eq!(told, actor.due, "all of it, once, in order");
    }
    drop(actors);
    assert_eq!(world.relay.stats(), Stats { sessions: 0, connections: 0 });
}

fn gone(actors: &mut Vec<Actor>, who: usize, reason: DisconnectReason) {
    let gone = actors.swap_remove(who);
    for other in actors {
        other.due.push(Told::Destroyed(gone.keeper.id, reason));
    }
}

fn without_server_seq(told: Told) -> Told {
    match told {
        Told::Signal { from: Sender::Server(from), data, .. } => {
            Told::Signal { from: from.into(), seq: 0, data }
        }
        told => told,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_told_twice_in_any_program(steps in prop::collection::vec(step(), 0..80)) {
        run(steps);
    }
}
