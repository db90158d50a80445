//! Whatever is lost, the gateway takes each signal once, in order, and every sender hears of its own.

use proptest::prelude::*;
use signalbox_protocol::Signal;

use super::*;

type Told = oneshot::Receiver<Result<u64, SendError>>;

/// A signal with its number as data, and whoever waits for it.
fn signal(number: u64, retry: bool) -> (Command, Told) {
    let (done, told) = oneshot::channel();
    let signal = SendSignal::new(None, Signal::new(None::<String>, Some(number.to_string())));
    (Command::Signal(Outgoing { number, signal, retry, done: Some(done) }), told)
}

/// An outbox with signals 1, 2 … of these kinds; `false` is for those not to be sent again.
fn outbox(confirms: bool, signals: &[bool]) -> (Outbox, Vec<Told>) {
    let mut outbox = Outbox::new(confirms);
    let told = (1..).zip(signals).map(|(number, retry)| {
        let (command, told) = signal(number, *retry);
        outbox.put(command);
        told
    });
    let told = told.collect();
    (outbox, told)
}

/// What is written at most `max` at once, in short: numbers, `keep`, `bye 3` …
fn write(outbox: &mut Outbox, max: usize) -> Vec<String> {
    let mut all = Vec::new();
    outbox.write(max, |message| {
        all.push(match message {
            ClientMessage::Signal(signal) => signal.data.unwrap_or_default().into_string(),
            ClientMessage::Keep {} => "keep".into(),
            ClientMessage::ForceDisconnect { .. } => "force".into(),
            ClientMessage::Goodbye { signals } => format!("bye {signals}"),
            other => format!("{other:?}"),
        });
    });
    all
}

#[track_caller]
fn check(told: &mut Told, expected: Option<Result<u64, SendError>>) {
    assert_eq!(told.try_recv().ok(), expected);
}

#[test]
fn a_signal_is_done_when_it_is_confirmed() {
    let (mut outbox, mut told) = outbox(true, &[true, true, true]);
    assert_eq!(write(&mut outbox, 2), ["1", "2"]);
    check(&mut told[0], None);
    outbox.accepted(1);
    check(&mut told[0], Some(Ok(1)));
    check(&mut told[1], None);
    assert_eq!(write(&mut outbox, 9), ["3"]);
    outbox.accepted(3);
    check(&mut told[1], Some(Ok(2)));
    check(&mut told[2], Some(Ok(3)));
    assert_eq!(outbox.room(), CAPACITY);
}

#[test]
fn without_confirmations_a_signal_is_done_when_it_is_written() {
    let (mut first, mut told) = outbox(false, &[true]);
    write(&mut first, 9);
    check(&mut told[0], Some(Ok(1)));
    assert_eq!(first.room(), CAPACITY);
    // And when it turns out that there will be none.
    let (mut second, mut told) = outbox(true, &[true, true]);
    write(&mut second, 1);
    check(&mut told[0], None);
    second.unconfirmed();
    check(&mut told[0], Some(Ok(1)));
    write(&mut second, 1);
    check(&mut told[1], Some(Ok(2)));
}

#[test]
fn nobody_waits_for_what_cannot_be_read() {
    let (mut outbox, mut told) = outbox(true, &[true, true]);
    write(&mut outbox, 1);
    outbox.stall(true);
    check(&mut told[0], Some(Ok(1)));
    write(&mut outbox, 1);
    check(&mut told[1], Some(Ok(2)));
    // They are kept all the same.
    outbox.lost();
    outbox.resumed(0);
    assert_eq!(write(&mut outbox, 9), ["keep", "1", "2"]);
}

#[test]
fn a_refusal_is_told_to_whoever_waits_or_else_as_an_event() {
    let (mut outbox, mut told) = outbox(true, &[true, true, true]);
    write(&mut outbox, 9);
    outbox.accepted(1);
    let refuse =
        |outbox: &mut Outbox, signal| outbox.refused(signal, ErrorCode::NotFound, "nobody".into());
    assert_eq!(refuse(&mut outbox, 2), None);
    let error = SendError::Refused { code: ErrorCode::NotFound, message: "nobody".into() };
    check(&mut told[1], Some(Err(error)));
    drop(told);
    let message = "nobody".into();
    let event = Event::Refused { signal: Some(3), code: ErrorCode::NotFound, message };
    assert_eq!(refuse(&mut outbox, 3), Some(event));
}

#[test]
fn a_refusal_that_is_said_again_is_told_once() {
    let (mut outbox, mut told) = outbox(true, &[true, true, true, true]);
    write(&mut outbox, 9);
    let message = || "nobody".to_owned();
    // Of the first three the client has heard before the link was lost; of one also that it was taken.
    outbox.refused(1, ErrorCode::NotFound, message());
    outbox.accepted(1);
    drop(told.remove(1));
    assert!(outbox.refused(2, ErrorCode::NotFound, message()).is_some());
    outbox.refused(3, ErrorCode::NotFound, message());
    outbox.lost();
    for signal in 1..=4 {
        assert_eq!(outbox.refused_before(signal, ErrorCode::NotFound, message()), None, "{signal}");
    }
    outbox.resumed(4);
    let error = || SendError::Refused { code: ErrorCode::NotFound, message: message() };
    for told in &mut told {
        check(told, Some(Err(error())));
    }
}

#[test]
fn what_was_not_taken_is_sent_again_before_what_waits() {
    let (mut outbox, mut told) = outbox(true, &[true, true, true, true]);
    write(&mut outbox, 3);
    outbox.lost();
    outbox.put_away(Command::ForceDisconnect(ConnectionId::from_bytes([1; 16])));
    outbox.resumed(1);
    check(&mut told[0], Some(Ok(1)));
    assert_eq!(write(&mut outbox, 9), ["keep", "2", "3", "4", "force"]);
    outbox.put(Command::Goodbye);
    assert_eq!(write(&mut outbox, 9), ["bye 4"]);
    outbox.accepted(4);
    check(&mut told[3], Some(Ok(4)));
}

#[test]
fn a_goodbye_that_was_lost_is_said_again() {
    let (mut outbox, _told) = outbox(true, &[true, true]);
    outbox.put(Command::Goodbye);
    assert_eq!(write(&mut outbox, 9), ["1", "2", "bye 2"]);
    outbox.lost();
    outbox.resumed(1);
    assert_eq!(write(&mut outbox, 9), ["keep", "2", "bye 2"]);
}

#[test]
fn what_is_of_use_only_now_is_dropped() {
    let (mut outbox, mut told) = outbox(true, &[false, false, true, false]);
    write(&mut outbox, 3);
    outbox.lost();
    check(&mut told[3], Some(Err(SendError::NotSent)));
    let (command, mut away) = signal(5, false);
    outbox.put_away(command);
    check(&mut away, Some(Err(SendError::NotSent)));
    outbox.resumed(1);
    check(&mut told[0], Some(Ok(1)));
    check(&mut told[1], Some(Err(SendError::NotSent)));
    assert_eq!(write(&mut outbox, 9), ["keep", "3"]);
    // Its number is that of the connection; an event names the application's.
    outbox.accepted(1);
    drop(told);
    match outbox.refused(2, ErrorCode::NotFound, String::new()) {
        Some(Event::Refused { signal, .. }) => assert_eq!(signal, Some(3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_connection_counts_anew() {
    let (mut outbox, mut told) = outbox(true, &[true, true, true]);
    write(&mut outbox, 2);
    outbox.accepted(1);
    outbox.lost();
    outbox.rejoined(true);
    assert_eq!(write(&mut outbox, 9), ["2", "3"]);
    outbox.accepted(2);
    check(&mut told[1], Some(Ok(1)));
    check(&mut told[2], Some(Ok(2)));
}

#[test]
fn what_is_kept_is_bounded() {
    let (mut outbox, _told) = outbox(true, &[]);
    for number in 1..=CAPACITY as u64 {
        outbox.put(signal(number, true).0);
    }
    assert_eq!(outbox.room(), 0);
    write(&mut outbox, CAPACITY);
    assert_eq!(outbox.room(), 0);
    outbox.accepted(10);
    assert_eq!(outbox.room(), 10);
    outbox.unconfirmed();
    assert_eq!(outbox.room(), CAPACITY);
    for number in 0..2 * CAPACITY as u64 {
        outbox.put(signal(number, true).0);
        write(&mut outbox, 1);
    }
    assert!(outbox.written.len() <= CAPACITY);
}

proptest! {
    /// A gateway that takes some of what is written, confirms some of what it takes, and loses
    /// links; in the end it has all signals, once each, in order, and all senders have been told.
    #[test]
    fn each_signal_is_taken_once(steps in prop::collection::vec((0u8..4, 0usize..8), 0..200)) {
        let mut outbox = Outbox::new(true);
        let (mut taken, mut on_the_way, mut told) = (Vec::new(), VecDeque::new(), Vec::new());
        let mut number = 0u64;
        for (step, amount) in steps {
            match step {
                0 => for _ in 0..amount {
                    number += 1;
                    let (command, done) = signal(number, true);
                    outbox.put(command);
                    told.push(done);
                },
                1 => on_the_way.extend(write(&mut outbox, amount)),
                2 => {
                    let arrived = amount.min(on_the_way.len());
                    taken.extend(on_the_way.drain(..arrived).filter(|it| it != "keep"));
                    if amount % 2 == 0 {
                        outbox.accepted(taken.len() as u64);
                    }
                }
                _ => {
                    on_the_way.clear();
                    outbox.lost();
                    outbox.resumed(taken.len() as u64);
                }
            }
        }
        on_the_way.extend(write(&mut outbox, usize::MAX));
        taken.extend(on_the_way.into_iter().filter(|it| it != "keep"));
        outbox.accepted(taken.len() as u64);
        let all: Vec<_> = (1..=number).map(|number| number.to_string()).collect();
        prop_assert_eq!(taken, all);
        for (mut done, seq) in told.into_iter().zip(1..) {
            prop_assert_eq!(done.try_recv(), Ok(Ok(seq)));
        }
    }
}
