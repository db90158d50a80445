//! What a client that comes back must still be told: what is in the backlog, is for it, and is beyond
//! what it says that it has. And what of that is no longer in the backlog.

use std::collections::HashMap;

use bytes::Bytes;
use signalbox_protocol::{
    ConnectionId, GatewayMessage, Sender, SenderMessage, Signal, binary, frame, json,
    message::{Lost, ReceivedSignal},
};

use crate::{
    backlog::Happened,
    encode::{Encoding, Encodings, EventEncodings},
    kept::Ticket,
    member::Member,
    outbox::Outgoing,
    resume::Comeback,
    session::Members,
};

/// What [`Members::missed`] finds.
pub(crate) struct Missed {
    pub(crate) lost: Vec<Lost>,
    /// Everyone who is there must be named anew.
    pub(crate) all_anew: bool,
    pub(crate) replay: Vec<Outgoing>,
}

impl Members {
    /// What the client must still get, and what of it is lost.
    pub(crate) fn missed(
        &self,
        member: &Member,
        shown: &Ticket,
        comeback: &Comeback<'_>,
    ) -> Missed {
        let id = comeback.connection;
        let dropped = self.backlog.dropped();
        let cursor = |from: &Sender| comeback.cursors.get(from).copied().unwrap_or(0);
        let had_events = shown.events + comeback.events;
        let ended: HashMap<ConnectionId, u64> = self
            .backlog
            .since(shown.position)
            .filter_map(|happened| match happened {
                Happened::Destroyed { number, id, .. } => Some((*id, *number)),
                _ => None,
            })
            .collect();
        // Somebody for whose last signals the client waits, and of whom nothing is known any more.
        let forgotten = if member.presence {
            let known = |id: &ConnectionId| self.by_id.contains_key(id) || ended.contains_key(id);
            comeback.cursors.keys().filter_map(Sender::connection).any(|id| !known(&id))
        } else {
            // It names everyone it ever heard, so this says nothing of whom it waits for.
            dropped.forgotten > shown.position
        };
        // Who asked to be kept so late that nobody wrote any more finds what is missing unknown.
        let all_anew = forgotten
            || dropped.unknown > shown.position
            || (member.presence && dropped.events > had_events);
        // Of whom the client has read the end, and names nothing, it has everything.
        let over = |from: &Sender| {
            member.presence
                && !comeback.cursors.contains_key(from)
                && from
                    .connection()
                    .is_some_and(|id| ended.get(&id).is_some_and(|end| *end <= had_events))
        };

        let to_many = dropped.signals.iter().map(|(from, last)| (from.clone(), *last));
        let to_me = dropped.directed.iter().filter(|((to, _), _)| *to == id);
        let to_me = to_me.map(|((_, from), last)| (from.clone(), *last));
        // A client with presence is told of these in full, or not at all: `all_anew` says which.
        let gone = dropped
            .gone
            .iter()
            .filter(|gone| !member.presence && gone.to.is_none_or(|to| to == id));
        let gone = gone.map(|gone| (gone.from.into(), (gone.seq, gone.position)));
        let mut until: HashMap<Sender, u64> = HashMap::new();
        for (from, (seq, position)) in to_many.chain(to_me).chain(gone) {
            if member.receives()
                && position >= shown.position
                && seq > cursor(&from)
                && !over(&from)
            {
                let until = until.entry(from).or_default();
                *until = seq.max(*until);
            }
        }
        let lost = until
            .into_iter()
            .map(|(from, until)| Lost { after: cursor(&from), from, until })
            .collect();

        let replay = self.backlog.since(shown.position).filter_map(|happened| match happened {
            Happened::Signal { from, seq, audience, encoding, frame } => {
                let known = if all_anew && member.presence {
                    from.connection().is_none_or(|id| self.by_id.contains_key(&id))
                } else {
                    !over(from)
                };
                let missed = audience.includes(id) && *seq > cursor(from);
                (member.receives() && known && missed).then(|| Outgoing::Signal {
                    from: from.clone(),
                    seq: *seq,
                    frame: recode(from, *seq, *encoding, frame, comeback.encoding),
                })
            }
            Happened::Created { number, info } => {
                let missed = member.presence && !all_anew && *number > had_events;
                let created = GatewayMessage::ConnectionCreated((**info).clone());
                missed.then(|| Outgoing::Event(EventEncodings::new(created).get(comeback.encoding)))
            }
            Happened::Destroyed { number, id, reason } => {
                let missed = member.presence && !all_anew && *number > had_events;
                missed.then(|| match comeback.encoding {
                    Encoding::PerSender => {
                        Outgoing::Destroyed { id: *id, reason: *reason, announce: true }
                    }
                    encoding => {
                        let message = GatewayMessage::ConnectionDestroyed {
                            id: *id,
                            reason: *reason,
                            last_seq: 0,
                        };
                        Outgoing::Event(EventEncodings::new(message).get(encoding))
                    }
                })
            }
        });
        Missed { lost, all_anew, replay: replay.collect() }
    }
}

/// A signal in the form that its receiver wants now.
fn recode(from: &Sender, seq: u64, encoding: Encoding, frame: &Bytes, wanted: Encoding) -> Bytes {
    if encoding == wanted {
        return frame.clone();
    }
    // What was encoded here can be decoded here.
    let signal = decode(encoding, frame).unwrap_or_default();
    Encodings::new(from.clone(), seq, signal).get(wanted)
}

fn decode(encoding: Encoding, frame: &[u8]) -> Option<Signal<'_>> {
    let received = |message| match message {
        GatewayMessage::Signal(ReceivedSignal { signal_type, data, .. }) => {
            Some(Signal { signal_type, data })
        }
        _ => None,
    };
    match encoding {
        Encoding::PerSender => {
            let SenderMessage::Signal(signal) = binary::decode(frame::message_of(frame)).ok()??;
            Some(Signal { signal_type: signal.signal_type, data: signal.data })
        }
        Encoding::Shared => received(binary::decode(frame::message_of(frame)).ok()??),
        Encoding::Json => received(json::decode(std::str::from_utf8(frame).ok()?).ok()??),
    }
}
