//! Across lost links, the gateway accepts each signal once and in order, and each caller gets the
//! outcome of its own signal.

use proptest::prelude::*;
use signalbox_protocol::Signal;

use super::*;

type Outcome = oneshot::Receiver<Result<u64, SendError>>;

/// A signal with its number as data, and the receiver of its outcome.
fn signal(number: u64, retry: bool) -> (ClientCommand, Outcome) {
    let (completion, outcome) = oneshot::channel();
    let signal = SendSignal::new(None, Signal::new(None::<String>, Some(number.to_string())));
    (
        ClientCommand::Signal(QueuedSignal { number, signal, retry, completion: Some(completion) }),
        outcome,
    )
}

/// A queue with signals 1, 2 …; `false` is for signals that are not to be retried.
fn queue(confirms: bool, signals: &[bool]) -> (SendQueue, Vec<Outcome>) {
    let mut queue = SendQueue::new(confirms);
    let outcomes = (1..).zip(signals).map(|(number, retry)| {
        let (command, outcome) = signal(number, *retry);
        queue.enqueue(command);
        outcome
    });
    let outcomes = outcomes.collect();
    (queue, outcomes)
}

/// Writes at most `max` messages, and returns them in short: numbers, `keep`, `bye 3` …
fn write(queue: &mut SendQueue, max: usize) -> Vec<String> {
    let mut all = Vec::new();
    queue.write(max, |message| {
        all.push(match message {
            ClientMessage::Signal(signal) => signal.data.unwrap_or_default().into_string(),
            ClientMessage::TicketStored {} => "stored".into(),
            ClientMessage::ForceDisconnect { .. } => "force".into(),
            ClientMessage::Goodbye { signals } => format!("bye {signals}"),
            other => format!("{other:?}"),
        });
    });
    all
}

#[track_caller]
fn check(outcome: &mut Outcome, expected: Option<Result<u64, SendError>>) {
    assert_eq!(outcome.try_recv().ok(), expected);
}

#[test]
fn a_signal_is_done_when_it_is_confirmed() {
    let (mut queue, mut outcomes) = queue(true, &[true, true, true]);
    assert_eq!(write(&mut queue, 2), ["1", "2"]);
    check(&mut outcomes[0], None);
    queue.accepted(1);
    check(&mut outcomes[0], Some(Ok(1)));
    check(&mut outcomes[1], None);
    assert_eq!(write(&mut queue, 9), ["3"]);
    queue.accepted(3);
    check(&mut outcomes[1], Some(Ok(2)));
    check(&mut outcomes[2], Some(Ok(3)));
    assert_eq!(queue.room(), CAPACITY);
}

#[test]
fn without_confirmations_a_signal_is_done_when_it_is_written() {
    let (mut first, mut outcomes) = queue(false, &[true]);
    write(&mut first, 9);
    check(&mut outcomes[0], Some(Ok(1)));
    assert_eq!(first.room(), CAPACITY);
}

#[test]
fn callers_do_not_wait_for_confirmations_that_cannot_be_read() {
    let (mut queue, mut outcomes) = queue(true, &[true, true]);
    write(&mut queue, 1);
    queue.set_stalled(true);
    check(&mut outcomes[0], Some(Ok(1)));
    write(&mut queue, 1);
    check(&mut outcomes[1], Some(Ok(2)));
    // They stay in the queue all the same.
    queue.link_lost();
    queue.resumed(0);
    assert_eq!(write(&mut queue, 9), ["stored", "1", "2"]);
}

#[test]
fn a_rejection_goes_to_the_waiting_caller_or_else_becomes_an_event() {
    let (mut queue, mut outcomes) = queue(true, &[true, true, true]);
    write(&mut queue, 9);
    queue.accepted(1);
    let refuse = |queue: &mut SendQueue, signal| {
        queue.rejected(signal, ErrorCode::NotFound, "nobody".into())
    };
    assert_eq!(refuse(&mut queue, 2), None);
    let error = SendError::Rejected { code: ErrorCode::NotFound, message: "nobody".into() };
    check(&mut outcomes[1], Some(Err(error)));
    drop(outcomes);
    let message = "nobody".into();
    let event = Event::Rejected { signal: Some(3), code: ErrorCode::NotFound, message };
    assert_eq!(refuse(&mut queue, 3), Some(event));
}

#[test]
fn a_repeated_rejection_is_reported_once() {
    let (mut queue, mut outcomes) = queue(true, &[true, true, true, true]);
    write(&mut queue, 9);
    let message = || "nobody".to_owned();
    // Of the first three the client has heard before the link was lost; of one also that it was taken.
    queue.rejected(1, ErrorCode::NotFound, message());
    queue.accepted(1);
    drop(outcomes.remove(1));
    assert!(queue.rejected(2, ErrorCode::NotFound, message()).is_some());
    queue.rejected(3, ErrorCode::NotFound, message());
    queue.link_lost();
    for signal in 1..=4 {
        assert_eq!(
            queue.rejected_on_earlier_link(signal, ErrorCode::NotFound, message()),
            None,
            "{signal}"
        );
    }
    queue.resumed(4);
    let error = || SendError::Rejected { code: ErrorCode::NotFound, message: message() };
    for outcome in &mut outcomes {
        check(outcome, Some(Err(error())));
    }
}

#[test]
fn signals_that_were_not_accepted_are_sent_again_first() {
    let (mut queue, mut outcomes) = queue(true, &[true, true, true, true]);
    write(&mut queue, 3);
    queue.link_lost();
    queue.enqueue_offline(ClientCommand::ForceDisconnect(ConnectionId::from_bytes([1; 16])));
    queue.resumed(1);
    check(&mut outcomes[0], Some(Ok(1)));
    assert_eq!(write(&mut queue, 9), ["stored", "2", "3", "4", "force"]);
    queue.enqueue(ClientCommand::Goodbye);
    assert_eq!(write(&mut queue, 9), ["bye 4"]);
    queue.accepted(4);
    check(&mut outcomes[3], Some(Ok(4)));
}

#[test]
fn a_lost_goodbye_is_repeated() {
    let (mut queue, _told) = queue(true, &[true, true]);
    queue.enqueue(ClientCommand::Goodbye);
    assert_eq!(write(&mut queue, 9), ["1", "2", "bye 2"]);
    queue.link_lost();
    queue.resumed(1);
    assert_eq!(write(&mut queue, 9), ["stored", "2", "bye 2"]);
}

#[test]
fn signals_without_retry_are_dropped() {
    let (mut queue, mut outcomes) = queue(true, &[false, false, true, false]);
    write(&mut queue, 3);
    queue.link_lost();
    check(&mut outcomes[3], Some(Err(SendError::NotSent)));
    let (command, mut away) = signal(5, false);
    queue.enqueue_offline(command);
    check(&mut away, Some(Err(SendError::NotSent)));
    queue.resumed(1);
    check(&mut outcomes[0], Some(Ok(1)));
    check(&mut outcomes[1], Some(Err(SendError::NotSent)));
    assert_eq!(write(&mut queue, 9), ["stored", "3"]);
    // Its number is that of the connection; an event names the application's.
    queue.accepted(1);
    drop(outcomes);
    match queue.rejected(2, ErrorCode::NotFound, String::new()) {
        Some(Event::Rejected { signal, .. }) => assert_eq!(signal, Some(3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_connection_counts_from_one() {
    let (mut queue, mut outcomes) = queue(true, &[true, true, true]);
    write(&mut queue, 2);
    queue.accepted(1);
    queue.link_lost();
    queue.rejoined(true);
    assert_eq!(write(&mut queue, 9), ["2", "3"]);
    queue.accepted(2);
    check(&mut outcomes[1], Some(Ok(1)));
    check(&mut outcomes[2], Some(Ok(2)));
}

#[test]
fn the_queue_is_bounded() {
    let (mut queue, _told) = queue(true, &[]);
    for number in 1..=CAPACITY as u64 {
        queue.enqueue(signal(number, true).0);
    }
    assert_eq!(queue.room(), 0);
    write(&mut queue, CAPACITY);
    assert_eq!(queue.room(), 0);
    queue.accepted(10);
    assert_eq!(queue.room(), 10);
    let mut queue = SendQueue::new(false);
    for number in 0..2 * CAPACITY as u64 {
        queue.enqueue(signal(number, true).0);
        write(&mut queue, 1);
    }
    assert!(queue.unconfirmed.len() <= CAPACITY);
}

proptest! {
    /// A gateway that takes some of what is written, confirms some of what it takes, and loses
    /// links; in the end it has all signals, once each, in order, and all callers have their outcomes.
    #[test]
    fn each_signal_is_accepted_once(steps in prop::collection::vec((0u8..4, 0usize..8), 0..200)) {
        let mut queue = SendQueue::new(true);
        let (mut taken, mut on_the_way, mut outcomes) = (Vec::new(), VecDeque::new(), Vec::new());
        let mut number = 0u64;
        for (step, amount) in steps {
            match step {
                0 => for _ in 0..amount {
                    number += 1;
                    let (command, done) = signal(number, true);
                    queue.enqueue(command);
                    outcomes.push(done);
                },
                1 => on_the_way.extend(write(&mut queue, amount)),
                2 => {
                    let arrived = amount.min(on_the_way.len());
                    taken.extend(on_the_way.drain(..arrived).filter(|it| it != "stored"));
                    if amount % 2 == 0 {
                        queue.accepted(taken.len() as u64);
                    }
                }
                _ => {
                    on_the_way.clear();
                    queue.link_lost();
                    queue.resumed(taken.len() as u64);
                }
            }
        }
        on_the_way.extend(write(&mut queue, usize::MAX));
        taken.extend(on_the_way.into_iter().filter(|it| it != "stored"));
        queue.accepted(taken.len() as u64);
        let all: Vec<_> = (1..=number).map(|number| number.to_string()).collect();
        prop_assert_eq!(taken, all);
        for (mut done, seq) in outcomes.into_iter().zip(1..) {
            prop_assert_eq!(done.try_recv(), Ok(Ok(seq)));
        }
    }
}
