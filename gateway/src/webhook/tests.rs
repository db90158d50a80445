//! Order, bounds and what is told of losses: the queue by itself. That events are really posted
//! and taken is an end to end test.

use std::time::Duration;

use super::queue::{Queue, Waiting};

/// Room for four events of this size, ids included.
const MAX_BYTES: usize = 4 * 100;

fn event(n: u64) -> Waiting {
    Waiting { id: format!("{n:04}"), body: vec![b'x'; 96].into(), at: Duration::from_secs(n) }
}

fn next(queue: &mut Queue, lane: usize) -> Option<(String, u64)> {
    queue.next(lane).map(|(waiting, dropped)| (waiting.id, dropped))
}

#[test]
fn a_lane_is_posted_by_one_in_order() {
    let mut queue = Queue::new(MAX_BYTES);
    assert_eq!(queue.push(1, event(1)), Some(1), "somebody is to post");
    assert_eq!(queue.push(1, event(2)), None, "somebody does already");
    assert_eq!(queue.push(9, event(3)), None, "sessions share lanes");
    assert_eq!(queue.push(2, event(4)), Some(2), "another lane");
    for id in ["0001", "0002", "0003"] {
        // As often as it is tried, it is the same.
        assert_eq!(next(&mut queue, 1), Some((id.into(), 0)));
        queue.failed(0);
        assert_eq!(next(&mut queue, 1), Some((id.into(), 0)));
        queue.taken(1);
    }
    assert_eq!(next(&mut queue, 1), None);
    assert_eq!(queue.push(1, event(5)), Some(1), "whoever posted has gone");
    assert_eq!(queue.len(), 2);
}

#[test]
fn the_oldest_make_room_but_not_what_is_being_posted() {
    let mut queue = Queue::new(MAX_BYTES);
    for n in 1..=7 {
        queue.push(n % 2, event(n));
    }
    // 1 and 2 are being posted; of the others 3, 4 and 5 had to go.
    assert_eq!(queue.len(), 4);
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 3)));
    queue.taken(1);
    assert_eq!(next(&mut queue, 1), Some(("0007".into(), 0)));
    assert_eq!(next(&mut queue, 0), Some(("0002".into(), 0)));
    queue.taken(0);
    assert_eq!(next(&mut queue, 0), Some(("0006".into(), 0)));
}

#[test]
fn every_loss_is_told_once() {
    let mut queue = Queue::new(MAX_BYTES);
    for n in 1..=7 {
        queue.push(n % 2, event(n));
    }
    // Told to an endpoint that fails, it is still to be told, with what came to it meanwhile.
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 3)));
    assert_eq!(next(&mut queue, 0), Some(("0002".into(), 0)), "another request tells of them");
    queue.push(0, event(8));
    queue.taken(0);
    queue.failed(3);
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 4)));
    queue.give_up(1, 4);
    assert_eq!(next(&mut queue, 1), Some(("0007".into(), 5)));
    queue.taken(1);
    assert_eq!(next(&mut queue, 0), Some(("0008".into(), 0)));
}

#[test]
fn an_event_larger_than_the_queue_is_posted_all_the_same() {
    let mut queue = Queue::new(50);
    assert_eq!(queue.push(1, event(1)), Some(1));
    queue.push(1, event(2));
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 1)));
    queue.taken(1);
    assert_eq!(next(&mut queue, 1), None);
}

#[test]
fn only_the_first_failure_and_the_first_success_are_news() {
    let mut queue = Queue::new(MAX_BYTES);
    queue.push(1, event(1));
    queue.push(2, event(2));
    let news = [queue.failed(0), queue.failed(0), queue.taken(1), queue.taken(2), queue.failed(0)];
    assert_eq!(news, [true, false, true, false, true]);
}
