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
        assert_eq!(next(&mut queue, 1), Some((id.into(), 0)));
        queue.taken(1, id, 0);
    }
    assert_eq!(next(&mut queue, 1), None);
    assert_eq!(queue.push(1, event(5)), Some(1), "whoever posted has gone");
}

#[test]
fn the_oldest_make_room_and_are_counted_until_told() {
    let mut queue = Queue::new(MAX_BYTES);
    for n in 1..=6 {
        queue.push(n % 2, event(n));
    }
    assert_eq!(queue.len(), 4);
    assert_eq!(next(&mut queue, 1), Some(("0003".into(), 2)));
    // It is dropped while it is being posted; that it was taken after all changes nothing.
    queue.push(0, event(7));
    queue.taken(1, "0003", 2);
    assert_eq!(next(&mut queue, 1), Some(("0005".into(), 1)));
    queue.give_up(1, "0005");
    assert_eq!(next(&mut queue, 1), None);
    assert_eq!(next(&mut queue, 0), Some(("0004".into(), 2)));
    queue.taken(0, "0004", 2);
    assert_eq!(next(&mut queue, 0), Some(("0006".into(), 0)));
    assert_eq!(queue.len(), 2);
}

#[test]
fn an_event_larger_than_the_queue_is_counted_too() {
    let mut queue = Queue::new(50);
    assert_eq!(queue.push(1, event(1)), Some(1));
    assert_eq!(queue.len(), 0);
    assert_eq!(next(&mut queue, 1), None);
    assert_eq!(queue.push(1, event(2)), Some(1));
}
