//! Across losses and replays, the application receives each event once, in order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use signalbox_protocol::message::ReceivedSignal;

use super::{tests::*, *};

fn claim(order: &mut Order) -> ResumePosition {
    let mut claim = order.link_lost(0).expect("it can be resumed");
    claim.cursors.sort_by(|a, b| a.from.cmp(&b.from));
    claim
}

fn cursor(n: u8, seq: u64) -> Cursor {
    Cursor { from: id(n).into(), seq }
}

fn shared_signal(from: u8, seq: u64) -> GatewayMessage<'static> {
    GatewayMessage::Signal(ReceivedSignal {
        from: id(from).into(),
        seq,
        signal_type: None,
        data: None,
    })
}

fn lost(lost: &[(u8, u64, u64)], presence: bool) -> Option<Gap> {
    let lost =
        lost.iter().map(|&(from, after, until)| Lost { from: id(from).into(), after, until });
    Some(Gap { lost: lost.collect(), presence })
}

fn present(all: &[u8]) -> GatewayMessage<'static> {
    GatewayMessage::Present { connections: all.iter().copied().map(info).collect() }
}

#[test]
fn the_position_covers_every_kind_of_stream() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(created(2)).unwrap();
    order.open(0, id(1).into(), 0);
    order.signal(0, 7, Signal::default());
    order.control(shared_signal(2, 3)).unwrap();
    order.control(shared_signal(0, 1)).unwrap();
    let cursors = vec![cursor(0, 1), cursor(1, 7), cursor(2, 3)];
    assert_eq!(claim(&mut order), ResumePosition { events: 2, accepted: 0, cursors });
}

#[test]
fn connections_present_on_joining_are_not_events() {
    let mut order = order_among(2, true);
    order.control(present(&[1, 2])).unwrap();
    assert_eq!(claim(&mut order), ResumePosition { events: 0, accepted: 0, cursors: Vec::new() });
}

#[test]
fn an_incomplete_list_cannot_be_resumed() {
    let mut order = order_among(2, true);
    order.control(present(&[1])).unwrap();
    assert_eq!(order.link_lost(0), None);
}

#[test]
fn a_reset_stream_cannot_be_resumed() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.open(0, id(1).into(), 0);
    order.end(0, true);
    assert_eq!(order.link_lost(0), None);
}

#[test]
fn held_signals_arrive_again() {
    let mut order = order(true);
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    assert_eq!(claim(&mut order), ResumePosition { events: 0, accepted: 0, cursors: Vec::new() });
    order.control(created(1)).unwrap();
    order.open(0, id(1).into(), 0);
    order.signal(0, 1, Signal::default());
    assert_eq!(told(&mut order), ["+1", "1:1"]);
}

#[test]
fn a_held_destroyed_waits_on_the_next_link() {
    for on_stream in [true, false] {
        let mut order = order(true);
        order.control(created(1)).unwrap();
        order.control(destroyed(1, 2)).unwrap();
        let claimed = claim(&mut order);
        assert_eq!(claimed, ResumePosition { events: 2, accepted: 0, cursors: vec![cursor(1, 0)] });
        if on_stream {
            order.open(0, id(1).into(), 0);
            order.signal(0, 1, Signal::default());
            order.signal(0, 2, Signal::default());
        } else {
            order.control(shared_signal(1, 1)).unwrap();
            order.control(shared_signal(1, 2)).unwrap();
        }
        assert_eq!(told(&mut order), ["+1", "1:1", "1:2", "-1"]);
    }
}

#[test]
fn a_connection_that_left_has_no_cursor() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(shared_signal(1, 5)).unwrap();
    order.control(destroyed(1, 0)).unwrap();
    assert_eq!(claim(&mut order), ResumePosition { events: 2, accepted: 0, cursors: vec![] });
}

#[test]
fn positions_are_bounded() {
    let mut order = order(false);
    for n in 0..CURSORS_IN_ALL as u128 {
        let from = ConnectionId::from_bytes((n + 1).to_be_bytes()).into();
        order
            .control(GatewayMessage::Signal(ReceivedSignal {
                from,
                seq: 1,
                signal_type: None,
                data: None,
            }))
            .unwrap();
    }
    assert_eq!(order.link_lost(0).map(|claim| claim.cursors.len()), Some(CURSORS_IN_ALL));
    order.control(shared_signal(0, 1)).unwrap();
    assert_eq!(order.link_lost(0), None);
}

#[test]
fn nothing_waits_for_lost_signals() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(destroyed(1, 4)).unwrap();
    assert!(order.link_lost(0).is_some());
    order.resume(0, lost(&[(1, 0, 4)], false), Vec::new());
    assert_eq!(told(&mut order), ["+1", "back, lost 1:0-4", "-1"]);
    assert_eq!(claim(&mut order), ResumePosition { events: 2, accepted: 0, cursors: vec![] });
}

#[test]
fn after_a_presence_gap_connections_are_compared() {
    let mut order = order(true);
    for n in 1..=3 {
        order.control(created(n)).unwrap();
    }
    order.control(destroyed(3, 9)).unwrap();
    told(&mut order);
    assert!(order.link_lost(0).is_some());
    order.resume(0, lost(&[(1, 0, 2)], true), vec![info(1), info(4)]);
    let mut told_now = told(&mut order);
    assert_eq!(told_now.remove(0), "back, lost 1:0-2 and presence");
    told_now.sort();
    assert_eq!(told_now, ["+4", "-2", "-3"]);
    order.control(created(5)).unwrap();
    let cursors = vec![cursor(1, 2)];
    assert_eq!(claim(&mut order), ResumePosition { events: 1, accepted: 0, cursors });
}

#[test]
fn after_a_presence_gap_the_session_may_be_empty() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.link_lost(0);
    order.resume(0, lost(&[], true), Vec::new());
    assert_eq!(told(&mut order), ["+1", "back, lost and presence", "-1"]);
}

#[test]
fn another_connection_starts_from_nothing() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(shared_signal(1, 5)).unwrap();
    order.control(created(2)).unwrap();
    told(&mut order);
    order.link_lost(0);
    order.rejoin(&welcome(1));
    order.control(present(&[1])).unwrap();
    order.control(shared_signal(1, 7)).unwrap();
    let all = told(&mut order);
    assert!(all[0].starts_with("SessionRejoined"), "{all:?}");
    assert_eq!(all[1..], ["+1", "1:7"]);
    assert_eq!(
        claim(&mut order),
        ResumePosition { events: 0, accepted: 0, cursors: vec![cursor(1, 7)] }
    );
}

/// An occurrence in a session.
/// A client that has been told of the end of 1, and is told by another gateway that 1 and 2 are
/// present.
fn resumed_with_a_stale_list() -> Order {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(created(2)).unwrap();
    order.control(shared_signal(1, 3)).unwrap();
    order.control(destroyed(1, 0)).unwrap();
    claim(&mut order);
    order.resume(0, lost(&[(1, 3, 5)], true), vec![info(1), info(2)]);
    assert_eq!(told(&mut order), ["+1", "+2", "1:3", "-1", "back, lost 1:3-5 and presence"]);
    order
}

#[test]
fn a_destroyed_connection_does_not_reappear_in_a_list() {
    let mut order = resumed_with_a_stale_list();
    order.control(created(1)).unwrap();
    order.control(shared_signal(1, 6)).unwrap();
    order.control(destroyed(1, 6)).unwrap();
    order.control(shared_signal(2, 1)).unwrap();
    assert_eq!(told(&mut order), ["2:1"]);
    let expected = ResumePosition { events: 2, accepted: 0, cursors: vec![cursor(2, 1)] };
    assert_eq!(claim(&mut order), expected);
    order.resume(0, lost(&[(1, 5, 9)], false), Vec::new());
    order.control(shared_signal(1, 10)).unwrap();
    assert_eq!(told(&mut order), ["back, lost 1:5-9"]);
    assert_eq!(claim(&mut order), expected);
}

#[test]
fn the_stream_of_a_destroyed_connection_is_read_to_its_end() {
    let mut order = resumed_with_a_stale_list();
    order.open(0, id(1).into(), 5);
    order.signal(0, 6, Signal::default());
    assert!(!order.is_held(0));
    order.open(0, id(2).into(), 0);
    order.signal(0, 1, Signal::default());
    order.open(0, id(1).into(), 6);
    order.signal(0, 7, Signal::default());
    assert!(!order.is_held(0));
    order.end(0, true);
    assert_eq!(told(&mut order), ["2:1"]);
    assert_eq!(claim(&mut order).cursors, [cursor(2, 1)]);
}

#[test]
fn an_end_that_the_resume_releases_is_final() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(destroyed(1, 4)).unwrap();
    claim(&mut order);
    order.resume(0, lost(&[(1, 0, 4)], true), vec![info(1)]);
    assert_eq!(told(&mut order), ["+1", "back, lost 1:0-4 and presence", "-1"]);
}

#[test]
fn a_held_end_is_replaced_by_that_of_the_other_gateway() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(destroyed(1, 4)).unwrap();
    claim(&mut order);
    // The other gateway knows neither the last signals nor the end.
    order.resume(0, lost(&[], true), vec![info(1)]);
    order.control(shared_signal(1, 2)).unwrap();
    order.control(destroyed(1, 2)).unwrap();
    assert_eq!(told(&mut order), ["+1", "back, lost and presence", "1:2", "-1"]);
}

#[test]
fn a_connection_that_a_list_has_ended_does_not_return() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    claim(&mut order);
    order.resume(0, lost(&[], true), Vec::new());
    order.control(created(1)).unwrap();
    order.control(shared_signal(1, 1)).unwrap();
    assert_eq!(told(&mut order), ["+1", "back, lost and presence", "-1"]);
}

#[test]
fn a_new_connection_of_the_client_remembers_no_ends() {
    let mut order = order(true);
    order.control(created(1)).unwrap();
    order.control(destroyed(1, 0)).unwrap();
    order.rejoin(&welcome(1));
    order.control(present(&[1])).unwrap();
    assert_eq!(
        told(&mut order)[2..],
        [format!("{:?}", Event::SessionRejoined { connection: info(0) }), "+1".to_owned()]
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Created(u8),
    Signal(u8, u64),
    Destroyed(u8),
}

/// A session's history from choices: senders 1 to 4 come, send and leave, each once.
pub(crate) fn history(choices: &[(u8, u8)]) -> Vec<Happened> {
    let mut sent = BTreeMap::new();
    let mut left = Vec::new();
    let mut history = Vec::new();
    for &(sender, choice) in choices {
        match sent.get_mut(&sender) {
            _ if left.contains(&sender) => {}
            None => {
                sent.insert(sender, 0);
                history.push(Happened::Created(sender));
            }
            Some(_) if choice == 0 => {
                left.push(sender);
                history.push(Happened::Destroyed(sender));
            }
            Some(seq) => {
                // Numbers skip signals that were sent to others.
                *seq += u64::from(choice);
                history.push(Happened::Signal(sender, *seq));
            }
        }
    }
    history
}

/// The inputs of one link, by lanes in no order to each other.
pub(crate) fn lanes(missed: &[Happened], per_sender: bool) -> Vec<Vec<Input>> {
    let mut lanes = vec![Vec::new()];
    let mut last: BTreeMap<u8, (usize, u64)> = BTreeMap::new();
    for happened in missed {
        match *happened {
            Happened::Created(n) => lanes[0].push(Input::Control(created(n))),
            Happened::Destroyed(n) => {
                let last_seq = last.get(&n).map_or(0, |(_, seq)| *seq);
                lanes[0].push(Input::Control(destroyed(n, last_seq)));
            }
            Happened::Signal(n, seq) if !per_sender => {
                lanes[0].push(Input::Control(shared_signal(n, seq)));
            }
            Happened::Signal(n, seq) => {
                let previous = last.get(&n).copied();
                // Every third signal has a stream of its own, to have several of a sender.
                let lane = match previous {
                    Some((lane, _)) if !seq.is_multiple_of(3) => lane,
                    _ => {
                        lanes.push(Vec::new());
                        let lane = lanes.len() - 1;
                        let after = previous.map_or(0, |(_, seq)| seq);
                        if let Some((before, _)) = previous {
                            lanes[before].push(Input::End(before as u64));
                        }
                        lanes[lane].push(Input::Open(lane as u64, id(n).into(), after));
                        lane
                    }
                };
                lanes[lane].push(Input::Signal(lane as u64, seq));
                last.insert(n, (lane, seq));
            }
        }
    }
    lanes
}

/// The entries that a gateway replays to a client that resumes from this position.
pub(crate) fn missed(history: &[Happened], claim: &ResumePosition) -> Vec<Happened> {
    let had = |n: u8| claim.cursors.iter().find(|it| it.from == id(n).into()).map(|it| it.seq);
    let is_event = |happened: &&Happened| !matches!(happened, Happened::Signal(..));
    let had_events: Vec<_> = history.iter().filter(is_event).take(claim.events as usize).collect();
    // Without a cursor, a connection that is known to have left was read to its end.
    let over = |n| had(n).is_none() && had_events.contains(&&Happened::Destroyed(n));
    let mut events = 0;
    let missed = history.iter().filter(|happened| match **happened {
        Happened::Signal(n, seq) => seq > had(n).unwrap_or(0) && !over(n),
        Happened::Created(_) | Happened::Destroyed(_) => {
            events += 1;
            events > claim.events
        }
    });
    missed.copied().collect()
}

proptest! {
    #[test]
    fn every_loss_and_replay_tells_the_same_story(
        choices in prop::collection::vec((1u8..5, 0u8..4), 0..60),
        cuts in prop::collection::vec((0usize..40, any::<bool>()), 0..6),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 600),
    ) {
        let history = history(&choices);
        let mut order = order(true);
        let mut picks = picks.iter().cycle();
        let mut all = Vec::new();
        let mut claim = ResumePosition { events: 0, accepted: 0, cursors: Vec::new() };
        // The last link lives as long as it takes.
        for (life, per_sender) in cuts.into_iter().chain([(usize::MAX, true)]) {
            let mut lanes = lanes(&missed(&history, &claim), per_sender);
            for _ in 0..life {
                lanes.retain(|lane| !lane.is_empty());
                if lanes.is_empty() {
                    break;
                }
                let at = picks.next().unwrap().index(lanes.len());
                input(&mut order, lanes[at].remove(0));
                all.extend(told(&mut order));
            }
            claim = order.link_lost(0).expect("nothing was given up");
            order.resume(0, None, Vec::new());
            prop_assert_eq!(told(&mut order), ["back"]);
            prop_assert!(order.streams.is_empty(), "a new link has new streams");
        }
        for sender in 1..5u8 {
            let about = |text: &&String| {
                text.trim_start_matches(['+', '-']).split(':').next() == Some(&sender.to_string())
            };
            let heard: Vec<_> = all.iter().filter(about).cloned().collect();
            let story: Vec<_> = history.iter().filter_map(|happened| match *happened {
                Happened::Created(n) if n == sender => Some(format!("+{n}")),
                Happened::Signal(n, seq) if n == sender => Some(format!("{n}:{seq}")),
                Happened::Destroyed(n) if n == sender => Some(format!("-{n}")),
                _ => None,
            }).collect();
            prop_assert_eq!(heard, story);
        }
    }
}
