//! Plays the transcripts of `protocol/vectors/transcripts.json` to the parts of this client that do
//! no I/O. The player repeats what links do: they neither read senders' streams nor write before
//! the gateway's reply.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use signalbox_protocol::{
    CloseReason, Feature, GatewayMessage, GatewayStream, SenderMessage, Signal, Streams,
    json as wire,
};
use tokio::sync::mpsc;

use crate::{
    command_sender::COMMAND_QUEUE,
    error::ConnectError,
    events::EVENT_QUEUE,
    link::{EventDispatcher, HandshakeReply, OutgoingMessages, ReplyAssembler, SharedSendQueue},
    opening::Opening,
    options::ConnectOptions,
    order::{Order, ResumePosition},
    reconnect::{self, NextStep},
    send_queue::{ClientCommand, QueuedSignal},
    session_view::SessionView,
    ticket::ResumeTicket,
    vectors::event_json,
};

#[test]
fn this_client_does_what_the_transcripts_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../protocol/vectors/transcripts.json");
    let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut played = 0;
    for transcript in file["transcripts"].as_array().unwrap() {
        for carrier in transcript["carriers"].as_array().unwrap() {
            let mut player = Player::new(transcript, carrier.as_str().unwrap());
            for (index, step) in transcript["steps"].as_array().unwrap().iter().enumerate() {
                player.at = format!("{}, step {index}, {step}", transcript["name"]);
                player.step(step);
            }
            player.finish();
            played += 1;
        }
    }
    assert!(played > 40, "{played}");
}

/// An input on a sender's stream.
#[derive(Debug)]
enum Arrival {
    Message(String),
    End,
    Reset,
}

/// A client whose links are the steps of a transcript.
struct Player {
    options: ConnectOptions,
    /// None before the first welcome.
    member: Option<Member>,
    /// Until the gateway's reply on this link is complete.
    assembler: Option<ReplyAssembler>,
    early: VecDeque<(u64, Arrival)>,
    headed: HashSet<u64>,
    ignored: HashSet<u64>,
    /// The reason of a `bye` that was read.
    bye: Option<CloseReason>,
    /// The client's next action, once a link has ended.
    then: Option<&'static str>,
    resume: Option<(ResumeTicket, ResumePosition)>,
    sent: VecDeque<Value>,
    surfaced: VecDeque<Value>,
    asked: u64,
    at: String,
}

struct Member {
    dispatcher: EventDispatcher,
    outgoing: OutgoingMessages,
    commands: mpsc::Sender<ClientCommand>,
}

impl Player {
    fn new(transcript: &Value, carrier: &str) -> Self {
        let streams = if carrier == "perSender" { Streams::PerSender } else { Streams::Single };
        let options = ConnectOptions::new("quic://gateway.example", "abc.def.ghi")
            .presence(transcript["presence"].as_bool().unwrap())
            .streams(streams);
        let mut player = Self {
            options,
            member: None,
            assembler: None,
            early: VecDeque::new(),
            headed: HashSet::new(),
            ignored: HashSet::new(),
            bye: None,
            then: None,
            resume: None,
            sent: VecDeque::new(),
            surfaced: VecDeque::new(),
            asked: 0,
            at: String::new(),
        };
        player.open("join");
        player
    }

    /// Opens a link and sends the opening.
    fn open(&mut self, then: &str) {
        let options = &self.options;
        let opening = match (then, &self.resume) {
            ("resume", Some((ticket, position))) => Opening::Resume { options, ticket, position },
            _ => Opening::Hello(options),
        };
        let opening = opening.messages();
        let opening = opening.iter().map(|it| serde_json::from_str(&wire::encode(it)).unwrap());
        self.sent = opening.collect();
        self.assembler = Some(ReplyAssembler::default());
        self.early.clear();
        self.headed.clear();
        self.ignored.clear();
    }

    fn step(&mut self, step: &Value) {
        let (name, value) = step.as_object().unwrap().iter().next().unwrap();
        let name =
            ["receives", "sends"].into_iter().find(|it| step.get(it).is_some()).unwrap_or(name);
        match name {
            "receives" => {
                let text = step["receives"].to_string();
                match step["on"].as_u64() {
                    None => self.control(&text),
                    Some(stream) => self.arrive(stream, Arrival::Message(text)),
                }
            }
            "streamEnds" => self.arrive(value.as_u64().unwrap(), Arrival::End),
            "streamReset" => self.arrive(value.as_u64().unwrap(), Arrival::Reset),
            "linkLost" => self.link_over(CloseReason::NetworkDisconnected),
            "application" => self.asked(value),
            "sends" => {
                let sent =
                    self.next_sent().unwrap_or_else(|| panic!("nothing sent at {}", self.at));
                assert!(matches(&step["sends"], &sent), "sent {sent} at {}", self.at);
            }
            "sendsNothing" => assert_eq!(self.next_sent(), None, "{}", self.at),
            "surfaces" => self.surfaces(value.as_array().unwrap()),
            "then" => {
                self.follow_bye();
                let then = self.then.take();
                assert_eq!(then, value.as_str(), "{}", self.at);
                if let Some(then @ ("resume" | "join")) = then {
                    self.open(then);
                }
            }
            other => panic!("no such step: {other}"),
        }
    }

    fn finish(&mut self) {
        assert_eq!(self.next_sent(), None, "sent behind {}", self.at);
        self.surfaces(&[]);
        assert!(self.bye.is_none() && self.then.is_none(), "more to come behind {}", self.at);
    }

    /// A message on the control stream, or on the only one.
    fn control(&mut self, text: &str) {
        let Some(message) = wire::decode::<GatewayMessage<'_>>(text).unwrap() else { return };
        if let Some(assembler) = &mut self.assembler {
            match assembler.push(message) {
                Ok(None) => {}
                Ok(Some(answer)) => self.answered(answer),
                Err(ConnectError::Refused { reason, .. }) => self.refused(reason),
                Err(error) => panic!("{error} at {}", self.at),
            }
        } else if let GatewayMessage::Bye { reason, .. } = message {
            self.bye = Some(reason);
        } else {
            self.member.as_mut().unwrap().dispatcher.control(message).unwrap();
        }
    }

    fn answered(&mut self, answer: HandshakeReply) {
        self.assembler = None;
        match (&mut self.member, answer) {
            (Some(Member { dispatcher, outgoing, .. }), answer) => {
                reconnect::apply_reply(dispatcher, outgoing, answer);
            }
            (None, HandshakeReply::Welcome(welcome)) => {
                let send_queue =
                    Arc::new(SharedSendQueue::new(welcome.features.contains(Feature::Resume)));
                let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
                let order = Order::new(&welcome, self.options.presence);
                let (events, view) = (mpsc::channel(EVENT_QUEUE).0, SessionView::new(&welcome));
                let dispatcher =
                    EventDispatcher::new(order, send_queue.clone(), events, Arc::new(view));
                let outgoing = OutgoingMessages::new(send_queue, receiver);
                self.member = Some(Member { dispatcher, outgoing, commands });
            }
            (None, HandshakeReply::Resumed { .. }) => {
                panic!("resumed without a welcome at {}", self.at)
            }
        }
        for (stream, arrival) in std::mem::take(&mut self.early) {
            self.arrive(stream, arrival);
        }
    }

    /// A hello or a resume has been refused.
    fn refused(&mut self, reason: CloseReason) {
        let next_step = match self.resume {
            Some(_) => reconnect::after_refused_resume(reason),
            None => NextStep::GiveUp,
        };
        self.assembler = None;
        self.then = Some(match next_step {
            NextStep::Retry => "resume",
            NextStep::Rejoin => "join",
            NextStep::GiveUp => {
                self.surfaced.push_back(json!({"ended": {"reason": reason.name()}}));
                "rest"
            }
        });
    }

    /// Something on a stream of the gateway.
    fn arrive(&mut self, stream: u64, arrival: Arrival) {
        if self.assembler.is_some() {
            return self.early.push_back((stream, arrival));
        }
        let order = &mut self.member.as_mut().unwrap().dispatcher.order;
        match arrival {
            _ if self.ignored.contains(&stream) => {}
            Arrival::End => order.end(stream, false),
            Arrival::Reset => order.end(stream, true),
            Arrival::Message(text) if self.headed.contains(&stream) => {
                let message = wire::decode::<SenderMessage<'_>>(&text).unwrap();
                match message {
                    Some(SenderMessage::Signal(signal)) => {
                        let seq = signal.seq;
                        let signal = Signal { signal_type: signal.signal_type, data: signal.data };
                        order.signal(stream, seq, signal.into_owned());
                    }
                    Some(SenderMessage::Sender { from, after }) => order.open(stream, from, after),
                    None => {}
                }
            }
            Arrival::Message(text) => match wire::decode::<GatewayStream>(&text).unwrap() {
                Some(GatewayStream::Sender { from, after }) => {
                    self.headed.insert(stream);
                    order.open(stream, from, after);
                }
                None => {
                    self.ignored.insert(stream);
                }
            },
        }
    }

    fn asked(&mut self, what: &Value) {
        let command = match what.get("signal") {
            Some(signal) => {
                let text = json!({ "signal": signal }).to_string();
                let send = wire::decode(&text).unwrap().unwrap();
                let signalbox_protocol::ClientMessage::Signal(signal) = send else { panic!() };
                self.asked += 1;
                let signal = signal_owned(&signal);
                ClientCommand::Signal(QueuedSignal {
                    number: self.asked,
                    signal,
                    retry: true,
                    completion: None,
                })
            }
            None => ClientCommand::Goodbye,
        };
        let running = self.assembler.is_none() && self.then.is_none();
        let Member { outgoing, commands, .. } = self.member.as_mut().unwrap();
        commands.try_send(command).unwrap();
        if !running {
            let _ = outgoing.queue_offline().now_or_never();
        }
    }

    fn next_sent(&mut self) -> Option<Value> {
        if self.sent.is_empty()
            && self.assembler.is_none()
            && self.then.is_none()
            && let Some(Member { outgoing, .. }) = &mut self.member
        {
            let sent = &mut self.sent;
            let write = |message: signalbox_protocol::ClientMessage<'_>| {
                sent.push_back(serde_json::from_str(&wire::encode(&message)).unwrap());
            };
            let _ = outgoing.next(write).now_or_never();
        }
        self.sent.pop_front()
    }

    fn surfaces(&mut self, expected: &[Value]) {
        if expected.iter().any(|event| event.get("ended").is_some()) {
            self.follow_bye();
        }
        self.surface();
        for event in expected {
            let together = event["inAnyOrder"].as_array();
            let mut awaited = together.cloned().unwrap_or_else(|| vec![event.clone()]);
            while !awaited.is_empty() {
                let surfaced = self.surfaced.pop_front();
                let at = awaited.iter().position(|it| Some(it) == surfaced.as_ref());
                let at = at.unwrap_or_else(|| panic!("surfaced {surfaced:?} at {}", self.at));
                awaited.remove(at);
            }
        }
        assert!(self.surfaced.is_empty(), "surfaced {:?} at {}", self.surfaced, self.at);
    }

    /// Takes the events that the application would receive.
    fn surface(&mut self) {
        let Some(Member { dispatcher, .. }) = &mut self.member else { return };
        while let Some(event) = dispatcher.next_event() {
            self.surfaced.push_back(event_json(event));
        }
    }

    /// Everything that follows a bye has arrived.
    fn follow_bye(&mut self) {
        if let Some(reason) = self.bye.take() {
            self.link_over(reason);
        }
    }

    /// Does what the reconnect loop does when a link ends.
    fn link_over(&mut self, reason: CloseReason) {
        self.surface();
        if self.assembler.take().is_some() {
            // A failed attempt; the next one sends the same opening.
            self.then = Some(if self.resume.is_some() { "resume" } else { "join" });
            return;
        }
        self.resume = None;
        self.then = Some("rest");
        if !reconnect::should_reconnect(reason) {
            self.surfaced.push_back(json!({"ended": {"reason": reason.name()}}));
            return;
        }
        let Member { dispatcher, outgoing, .. } = self.member.as_mut().unwrap();
        let position = dispatcher.link_lost();
        outgoing.link_lost();
        self.resume = dispatcher.ticket.take().zip(position);
        self.then = Some(if self.resume.is_some() { "resume" } else { "join" });
    }
}

/// Whether a message has all expected members. Cursors are in no order, and a cursor of 0 is
/// allowed for every sender.
fn matches(expected: &Value, sent: &Value) -> bool {
    let (Some(expected), Some(sent)) = (expected.as_object(), sent.as_object()) else {
        return expected == sent;
    };
    expected.iter().all(|(name, expected)| match (name.as_str(), sent.get(name)) {
        ("cursors", Some(sent)) => {
            let by_sender = |cursors: &Value| -> HashMap<String, u64> {
                let cursors = cursors.as_array().unwrap().iter();
                cursors.map(|it| (it["from"].to_string(), it["seq"].as_u64().unwrap())).collect()
            };
            let (expected, mut sent) = (by_sender(expected), by_sender(sent));
            sent.retain(|from, seq| *seq > 0 || expected.contains_key(from));
            sent == expected
        }
        (_, Some(sent)) => matches(expected, sent),
        (_, None) => false,
    })
}

fn signal_owned(
    signal: &signalbox_protocol::message::SendSignal<'_>,
) -> signalbox_protocol::message::SendSignal<'static> {
    signalbox_protocol::message::SendSignal {
        to: signal.to,
        signal_type: signal.signal_type.clone().map(signalbox_protocol::Text::into_owned),
        data: signal.data.clone().map(signalbox_protocol::Text::into_owned),
    }
}
