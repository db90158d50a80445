//! `send_queue.json`: what a client writes, and the outcome of each signal.

use serde_json::{Value, json};
use signalbox_protocol::{ErrorCode, Signal, json as wire, message::SendSignal};
use tokio::sync::oneshot;

use super::{Case, Random, check, event_json};
use crate::{
    error::SendError,
    send_queue::{ClientCommand, QueuedSignal, SendQueue},
};

/// Plays steps to a [`SendQueue`] and records them with what it writes and reports.
struct Recorder {
    name: String,
    queue: SendQueue,
    online: bool,
    sent: u64,
    outcomes: Vec<(u64, oneshot::Receiver<Result<u64, SendError>>)>,
    steps: Vec<Value>,
}

impl Recorder {
    fn new(name: &str) -> Self {
        let queue = SendQueue::new(true);
        let (outcomes, steps) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), queue, online: true, sent: 0, outcomes, steps }
    }

    fn step(&mut self, mut step: Value) {
        let mut reported = Vec::new();
        self.outcomes.retain_mut(|(number, outcome)| match outcome.try_recv() {
            Ok(Ok(seq)) => {
                reported.push(json!({"number": number, "accepted": seq}));
                false
            }
            Ok(Err(SendError::Rejected { code, .. })) => {
                reported.push(json!({"number": number, "rejected": code.name()}));
                false
            }
            Ok(Err(SendError::NotSent)) => {
                reported.push(json!({"number": number, "notSent": true}));
                false
            }
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => true,
        });
        step["outcomes"] = reported.into();
        self.steps.push(step);
    }

    fn command(&mut self, command: ClientCommand) {
        if self.online {
            self.queue.enqueue(command);
        } else {
            self.queue.enqueue_offline(command);
        }
    }

    /// The application sends a signal with its number as data.
    fn send(&mut self, retry: bool) {
        self.sent += 1;
        let number = self.sent;
        let (completion, outcome) = oneshot::channel();
        self.outcomes.push((number, outcome));
        let signal = SendSignal::new(None, Signal::new(None::<String>, Some(number.to_string())));
        let completion = Some(completion);
        self.command(ClientCommand::Signal(QueuedSignal { number, signal, retry, completion }));
        self.step(json!({"application": {"send": number, "retry": retry}}));
    }

    fn leave(&mut self) {
        self.command(ClientCommand::Goodbye);
        self.step(json!({"application": {"leave": true}}));
    }

    /// The link takes up to `max` messages.
    fn write(&mut self, max: usize) -> usize {
        let mut writes: Vec<Value> = Vec::new();
        self.queue.write(max, |message| {
            writes.push(serde_json::from_str(&wire::encode(&message)).unwrap());
        });
        let count = writes.iter().filter(|message| message.get("signal").is_some()).count();
        self.step(json!({"write": max, "writes": writes}));
        count
    }

    fn accepted(&mut self, signals: u64) {
        self.queue.accepted(signals);
        self.step(json!({"receives": {"accepted": {"signals": signals}}}));
    }

    fn rejected(&mut self, signal: u64) {
        let (code, message) = (ErrorCode::NotFound, "not found".to_owned());
        let event = self.queue.rejected(signal, code, message.clone());
        let error = json!({"signal": signal, "code": code.name(), "message": message});
        self.step(json!({"receives": {"error": error}, "surfaces": event.map(event_json).into_iter().collect::<Vec<_>>()}));
    }

    fn link_lost(&mut self) {
        self.online = false;
        self.queue.link_lost();
        let accepted = self.queue.accepted_signals();
        self.step(json!({"linkLost": true, "resumesFrom": {"accepted": accepted}}));
    }

    fn resumed(&mut self, signals: u64, rejected: &[u64]) {
        let mut surfaces = Vec::new();
        for signal in rejected {
            let (code, message) = (ErrorCode::NotFound, "not found".to_owned());
            surfaces.extend(self.queue.rejected_on_earlier_link(*signal, code, message));
        }
        self.queue.resumed(signals);
        self.online = true;
        let surfaces: Vec<_> = surfaces.into_iter().map(event_json).collect();
        self.step(json!({
            "resumed": {"signals": signals, "rejected": rejected},
            "surfaces": surfaces,
        }));
    }

    fn rejoined(&mut self) {
        self.queue.rejoined(true);
        self.online = true;
        self.step(json!({"rejoined": true}));
    }

    fn finish(self) -> Case {
        Case { head: json!({"name": self.name}), steps: self.steps }
    }
}

#[test]
fn send_queue_json_is_current() {
    let mut cases = Vec::new();
    let mut case = |name: &str, play: &dyn Fn(&mut Recorder)| {
        let mut recorder = Recorder::new(name);
        play(&mut recorder);
        cases.push(recorder.finish());
    };
    case("a signal is complete when it is confirmed", &|it| {
        it.send(true);
        it.send(true);
        it.write(1);
        it.accepted(1);
        it.write(9);
        it.accepted(2);
    });
    case("a rejection is the outcome of its signal", &|it| {
        it.send(true);
        it.send(true);
        it.write(9);
        it.rejected(1);
        it.accepted(2);
    });
    case("signals that were not accepted are sent again first", &|it| {
        (0..4).for_each(|_| it.send(true));
        it.write(3);
        it.link_lost();
        it.send(true);
        it.resumed(1, &[]);
        it.write(9);
        it.accepted(5);
    });
    case("a signal without retry is sent once or not at all", &|it| {
        it.send(false);
        it.send(false);
        it.send(true);
        it.write(2);
        it.link_lost();
        it.send(false);
        it.resumed(1, &[]);
        it.write(9);
        it.accepted(2);
    });
    case("a rejection that was read is not reported again", &|it| {
        it.send(true);
        it.send(true);
        it.write(9);
        it.rejected(1);
        it.link_lost();
        it.resumed(2, &[1, 2]);
        it.write(9);
    });
    case("a lost goodbye is repeated behind the signals", &|it| {
        it.send(true);
        it.send(true);
        it.leave();
        it.write(9);
        it.link_lost();
        it.resumed(1, &[]);
        it.write(9);
        it.accepted(2);
    });
    case("another connection counts from 1", &|it| {
        (0..3).for_each(|_| it.send(true));
        it.write(2);
        it.accepted(1);
        it.link_lost();
        it.rejoined();
        it.write(9);
        it.accepted(2);
    });
    for seed in 0..10 {
        cases.push(random(seed));
    }
    check(
        "send_queue.json",
        "What a client writes, and the outcome of each signal. See README.md.",
        &cases,
    );
}

/// A gateway that reads some of what is written, confirms some of what it has read, and loses
/// links.
fn random(seed: u64) -> Case {
    let mut random = Random(seed);
    let mut recorder = Recorder::new(&format!("random program {seed}"));
    let (mut written, mut read, mut confirmed) = (0, 0, 0);
    for _ in 0..30 {
        match random.below(5) {
            0 | 1 => recorder.send(true),
            2 => written += recorder.write(1 + random.below(3)) as u64,
            3 => {
                read += random.below(usize::try_from(written - read).unwrap() + 1) as u64;
                if read > confirmed {
                    confirmed = read;
                    recorder.accepted(confirmed);
                }
            }
            _ => {
                recorder.link_lost();
                if random.below(2) == 0 {
                    recorder.send(true);
                }
                read += random.below(usize::try_from(written - read).unwrap() + 1) as u64;
                (written, confirmed) = (read, read);
                recorder.resumed(read, &[]);
            }
        }
    }
    written += recorder.write(100) as u64;
    recorder.accepted(written);
    assert!(recorder.outcomes.is_empty(), "every signal has an outcome");
    recorder.finish()
}
