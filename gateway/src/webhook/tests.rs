//! Order, bounds and reports of losses: the queue by itself. An end-to-end test covers posting.

use std::time::Duration;

use super::queue::{EventQueue, NextEvent, QueuedEvent};

/// Room for four events of this size, ids included.
const MAX_BYTES: usize = 4 * 100;

fn event(n: u64) -> QueuedEvent {
    QueuedEvent {
        id: format!("{n:04}"),
        body: vec![b'x'; 96].into(),
        at: Duration::from_secs(n),
        cause: None,
    }
}

fn next(queue: &mut EventQueue, shard: usize) -> Option<(String, u64)> {
    queue.next(shard).map(|NextEvent { event, dropped }| (event.id, dropped))
}

#[test]
fn the_events_of_a_shard_are_posted_one_by_one_in_order() {
    let mut queue = EventQueue::new(MAX_BYTES);
    assert_eq!(queue.push(1, event(1)), Some(1), "a task must be started");
    assert_eq!(queue.push(1, event(2)), None, "a task is running");
    assert_eq!(queue.push(9, event(3)), None, "sessions share shards");
    assert_eq!(queue.push(2, event(4)), Some(2), "another shard");
    for id in ["0001", "0002", "0003"] {
        // The same event until it is accepted.
        assert_eq!(next(&mut queue, 1), Some((id.into(), 0)));
        queue.failed(0);
        assert_eq!(next(&mut queue, 1), Some((id.into(), 0)));
        queue.accepted(1);
    }
    assert_eq!(next(&mut queue, 1), None);
    assert_eq!(queue.push(1, event(5)), Some(1), "the task has ended");
    assert_eq!(queue.len(), 2);
}

#[test]
fn the_oldest_events_make_room_but_not_those_being_posted() {
    let mut queue = EventQueue::new(MAX_BYTES);
    for n in 1..=7 {
        queue.push(n % 2, event(n));
    }
    // 1 and 2 are being posted; of the others 3, 4 and 5 had to go.
    assert_eq!(queue.len(), 4);
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 3)));
    queue.accepted(1);
    assert_eq!(next(&mut queue, 1), Some(("0007".into(), 0)));
    assert_eq!(next(&mut queue, 0), Some(("0002".into(), 0)));
    queue.accepted(0);
    assert_eq!(next(&mut queue, 0), Some(("0006".into(), 0)));
}

#[test]
fn every_loss_is_reported_once() {
    let mut queue = EventQueue::new(MAX_BYTES);
    for n in 1..=7 {
        queue.push(n % 2, event(n));
    }
    // After a failed request it is still to be reported, with the losses since then.
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 3)));
    assert_eq!(next(&mut queue, 0), Some(("0002".into(), 0)), "another request reports them");
    queue.push(0, event(8));
    queue.accepted(0);
    queue.failed(3);
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 4)));
    queue.give_up(1, 4);
    assert_eq!(next(&mut queue, 1), Some(("0007".into(), 5)));
    queue.accepted(1);
    assert_eq!(next(&mut queue, 0), Some(("0008".into(), 0)));
}

#[test]
fn an_event_larger_than_the_queue_is_still_posted() {
    let mut queue = EventQueue::new(50);
    assert_eq!(queue.push(1, event(1)), Some(1));
    queue.push(1, event(2));
    assert_eq!(next(&mut queue, 1), Some(("0001".into(), 1)));
    queue.accepted(1);
    assert_eq!(next(&mut queue, 1), None);
}

#[test]
fn only_the_first_failure_and_the_first_success_are_logged() {
    let mut queue = EventQueue::new(MAX_BYTES);
    queue.push(1, event(1));
    queue.push(2, event(2));
    let logged =
        [queue.failed(0), queue.failed(0), queue.accepted(1), queue.accepted(2), queue.failed(0)];
    assert_eq!(logged, [true, false, true, false, true]);
}
