//! `resume.json`: from where a client resumes when its link is lost, and what it surfaces then.

use signalbox_protocol::{
    GatewayMessage,
    message::{Lost, Welcome},
};

use super::{Case, Random, check, order::Recorder};
use crate::order::{
    ResumePosition,
    resume_tests::{Happened, history, lanes, missed},
    tests::{id, welcome},
};

fn gap(lost: &[(u8, u64, u64)], presence: bool, present: u32) -> GatewayMessage<'static> {
    let lost =
        lost.iter().map(|&(from, after, until)| Lost { from: id(from).into(), after, until });
    GatewayMessage::Gap { lost: lost.collect(), presence, present }
}

#[test]
fn resume_json_is_current() {
    let mut cases = Vec::new();
    let mut case = |mut recorder: Recorder, play: &dyn Fn(&mut Recorder)| {
        play(&mut recorder);
        cases.push(recorder.finish());
    };
    case(Recorder::new("cursors name the last surfaced signal of each sender"), &|it| {
        it.created(1);
        it.created(2);
        it.open(0, id(1), 0);
        it.signal(0, 7);
        it.open(1, id(0), 0);
        it.signal(1, 1);
        it.link_lost();
        it.resumed(1);
        it.open(0, id(1), 7);
        it.signal(0, 8);
    });
    case(Recorder::joined("connections present on joining are not events", true, 2), &|it| {
        it.present(&[1, 2]);
        it.created(3);
        it.link_lost();
    });
    case(Recorder::joined("an incomplete list of connections cannot be resumed", true, 2), &|it| {
        it.present(&[1]);
        it.link_lost();
    });
    case(Recorder::new("a stream that was reset cannot be resumed"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.reset(0);
        it.link_lost();
    });
    case(Recorder::new("a gap on a link changes neither the order nor the cursors"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.control(gap(&[(1, 3, 5), (2, 0, 7)], false, 0));
        it.signal(0, 2);
        it.signal(0, 3);
        it.created(2);
        it.control(gap(&[(1, 5, 6)], false, 0));
        it.signal(0, 8);
        it.control(gap(&[(1, 8, 9)], false, 0));
        it.destroyed(1, 9);
        it.link_lost();
        it.resumed(1);
        it.control(gap(&[(2, 7, 8)], false, 0));
        it.open(0, id(1), 0);
        it.signal(0, 9);
    });
    case(Recorder::shared("a gap on a link where all senders share one stream"), &|it| {
        it.created(1);
        it.signal_on_control(1, 1, None);
        it.control(gap(&[(1, 1, 4)], false, 0));
        it.signal_on_control(1, 5, None);
        it.control(gap(&[(1, 5, 6)], false, 0));
        it.link_lost();
    });
    case(Recorder::new("a gap of presence is not allowed outside a resume"), &|it| {
        it.created(1);
        it.violation(gap(&[(1, 0, 4)], true, 1));
    });
    case(Recorder::new("signals that were held arrive again"), &|it| {
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.link_lost();
        it.resumed(2);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.created(1);
    });
    case(Recorder::new("a destroyed that was held waits on the next link"), &|it| {
        it.created(1);
        it.destroyed(1, 2);
        it.link_lost();
        it.resumed(2);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.signal(0, 2);
        it.link_lost();
    });
    case(Recorder::new("a connection that left needs no cursor"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.signal(0, 5);
        it.end(0);
        it.destroyed(1, 5);
        it.link_lost();
    });
    case(Recorder::new("lost signals count as surfaced"), &|it| {
        it.created(1);
        it.destroyed(1, 4);
        it.link_lost();
        it.control(gap(&[(1, 0, 4)], false, 0));
        it.resumed(0);
        it.link_lost();
    });
    case(Recorder::new("a presence gap is compared with what was known"), &|it| {
        it.created(1);
        it.created(2);
        it.created(3);
        it.destroyed(3, 9);
        it.link_lost();
        it.control(gap(&[(1, 0, 2)], true, 2));
        it.present(&[1, 4]);
        it.resumed(0);
        it.created(5);
        it.link_lost();
    });
    case(Recorder::new("a list names a connection that was destroyed"), &|it| {
        it.created(1);
        it.created(2);
        it.open(0, id(1), 0);
        it.signal(0, 3);
        it.destroyed(1, 3);
        it.link_lost();
        it.control(gap(&[(1, 3, 5)], false, 0));
        it.control(gap(&[], true, 3));
        it.present(&[1, 2, 3]);
        it.resumed(2);
        it.open(0, id(1), 5);
        it.signal(0, 6);
        it.open(0, id(2), 0);
        it.signal(0, 1);
        it.created(1);
        it.destroyed(1, 6);
        it.link_lost();
        it.control(gap(&[(1, 5, 9)], false, 0));
        it.resumed(0);
        it.open(0, id(1), 0);
        it.signal(0, 10);
        it.link_lost();
    });
    case(Recorder::shared("a list names a connection that was destroyed, on one stream"), &|it| {
        it.created(1);
        it.created(2);
        it.signal_on_control(1, 3, None);
        it.destroyed(1, 0);
        it.link_lost();
        it.control(gap(&[(1, 3, 5)], false, 0));
        it.control(gap(&[], true, 3));
        it.present(&[1, 2, 3]);
        it.resumed(2);
        it.signal_on_control(1, 6, None);
        it.signal_on_control(2, 1, None);
        it.created(1);
        it.destroyed(1, 0);
        it.link_lost();
        it.control(gap(&[(1, 5, 9)], false, 0));
        it.resumed(0);
        it.signal_on_control(1, 10, None);
        it.link_lost();
    });
    case(Recorder::new("a list names a connection whose held destroyed is released"), &|it| {
        it.created(1);
        it.destroyed(1, 4);
        it.link_lost();
        it.control(gap(&[(1, 0, 4)], false, 0));
        it.control(gap(&[], true, 1));
        it.present(&[1]);
        it.resumed(0);
        it.link_lost();
    });
    case(Recorder::new("a held destroyed is replaced by that of another gateway"), &|it| {
        it.created(1);
        it.destroyed(1, 4);
        it.link_lost();
        it.control(gap(&[], true, 1));
        it.present(&[1]);
        it.resumed(1);
        it.open(0, id(1), 0);
        it.signal(0, 2);
        it.destroyed(1, 2);
        it.link_lost();
    });
    case(Recorder::shared("a connection that was not in a list is created later"), &|it| {
        it.created(1);
        it.link_lost();
        it.control(gap(&[], true, 0));
        it.resumed(0);
        it.created(1);
        it.created(2);
        it.signal_on_control(1, 1, None);
        it.signal_on_control(2, 1, None);
        it.link_lost();
    });
    case(Recorder::new("another connection starts from nothing"), &|it| {
        it.created(1);
        it.open(0, id(1), 0);
        it.reset(0);
        it.link_lost();
        let again = Welcome { present: 1, ..welcome(1) };
        it.control(GatewayMessage::Welcome(again));
        it.ticket();
        it.present(&[1]);
        it.open(0, id(1), 0);
        it.signal(0, 9);
        it.link_lost();
    });
    case(Recorder::new("another connection remembers no destroyed ones"), &|it| {
        it.created(1);
        it.destroyed(1, 0);
        it.link_lost();
        let again = Welcome { present: 1, ..welcome(1) };
        it.control(GatewayMessage::Welcome(again));
        it.ticket();
        it.present(&[1]);
        it.open(0, id(1), 0);
        it.signal(0, 1);
        it.link_lost();
    });
    for seed in 0..10 {
        cases.push(random(seed));
    }
    check(
        "resume.json",
        "From where a client resumes, and what it surfaces afterwards. See README.md.",
        &cases,
    );
}

/// A random history, read over several links that are lost at random moments.
fn random(seed: u64) -> Case {
    let mut random = Random(seed);
    let choices: Vec<_> = (0..10 + random.below(30))
        .map(|_| {
            (1 + u8::try_from(random.below(4)).unwrap(), u8::try_from(random.below(4)).unwrap())
        })
        .collect();
    let history: Vec<Happened> = history(&choices);
    let mut recorder = Recorder::new(&format!("random program {seed}"));
    let mut position = ResumePosition { events: 0, accepted: 0, cursors: Vec::new() };
    let links = 1 + random.below(4);
    for link in 0..=links {
        let missed = missed(&history, &position);
        if link > 0 {
            recorder.resumed(missed.len() as u64);
        }
        let mut lanes = lanes(&missed, true);
        let life = if link == links { usize::MAX } else { random.below(30) };
        for _ in 0..life {
            lanes.retain(|lane| !lane.is_empty());
            if lanes.is_empty() {
                break;
            }
            let lane = random.below(lanes.len());
            recorder.input(lanes[lane].remove(0));
        }
        let (events, cursors) = recorder.link_lost().expect("nothing was reset");
        position = ResumePosition { events, accepted: 0, cursors };
    }
    recorder.finish()
}
