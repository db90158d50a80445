//! The replay for a resuming client: entries of the history that are addressed to it and beyond its
//! cursors, and the signals among them that the history no longer has.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use signalbox_protocol::{
    ConnectionId, DisconnectReason, GatewayMessage, Sender, SenderMessage, SessionId, Signal,
    binary, frame, json,
    message::{Lost, ReceivedSignal},
};

use super::{
    log_entry::{Audience, LogEntry},
    resumable::{IssuedTicket, Resumable},
    roster::{Member, Roster},
    state::SessionState,
    trimmed::Trimmed,
};
use crate::{
    encoding::{Encoding, EventEncodings, EventNumber, SignalEncodings},
    outgoing::Outgoing,
    resume::ResumeRequest,
};

/// The result of [`SessionState::replay`].
pub(super) struct Replay {
    /// Signals that are lost.
    pub(super) lost: Vec<Lost>,
    /// Presence events may be lost: the client needs the full list of members.
    pub(super) full_resync: bool,
    /// Messages that the client has missed.
    pub(super) outgoing: Vec<Outgoing>,
}

impl SessionState {
    /// The messages that a member has missed. `moved`: its client keeps no cursors, and comes from
    /// another gateway, which has counted the presence events in another order.
    pub(super) fn replay(
        &self,
        member: &Member,
        presented: &IssuedTicket,
        request: &ResumeRequest<'_>,
        moved: bool,
        now: Duration,
    ) -> Replay {
        let position = presented.start.position;
        let destroyed = self.history.since(position).filter_map(|entry| match entry {
            LogEntry::Destroyed { number, id, .. } => Some((*id, *number)),
            _ => None,
        });
        let mut filter = ReplayFilter {
            roster: &self.roster,
            trimmed: self.history.trimmed(),
            destroyed: destroyed.collect(),
            member,
            presence: member.record().presence,
            session: &self.id,
            epoch: self.epoch(),
            position,
            events: presented.start.events.map(|events| events + request.events),
            request,
            moved,
            full_resync: false,
            lost_until: HashMap::new(),
            unannounced: HashSet::new(),
        };
        filter.full_resync = if moved {
            filter.trimmed.unknown_before > position
                || filter.presence && !self.history.has_recent_presence(now)
        } else {
            filter.needs_full_resync()
        };
        filter.lost_until = filter.find_lost();
        if moved {
            filter.unannounced = filter.find_unannounced(self.history.since(position));
        }
        let entries = self.history.since(position);
        let outgoing = entries.filter_map(|entry| filter.missed(entry)).collect();
        Replay { lost: filter.lost(), full_resync: filter.full_resync, outgoing }
    }
}

/// Decides which entries a client has missed.
struct ReplayFilter<'a> {
    roster: &'a Roster,
    trimmed: &'a Trimmed,
    /// Destroyed connections, with the number of the presence event.
    destroyed: HashMap<ConnectionId, u64>,
    member: &'a Member,
    session: &'a SessionId,
    /// The run of this gateway.
    epoch: u64,
    /// Whether the member receives presence events.
    presence: bool,
    /// The first position of the history that the client may not have.
    position: u64,
    /// Number of the last presence event that the client has. `None` if it has counted them on
    /// another gateway.
    events: Option<u64>,
    request: &'a ResumeRequest<'a>,
    /// Whether it comes from another gateway, and keeps no cursors. It ignores the end of a
    /// connection that it does not know, and the beginning of one that it knows.
    moved: bool,
    full_resync: bool,
    /// The last lost signal of each sender.
    lost_until: HashMap<Sender, u64>,
    /// If it has `moved`: connections that are gone, and whose signals it has missed. It may not know
    /// them.
    unannounced: HashSet<ConnectionId>,
}

impl ReplayFilter<'_> {
    fn find_unannounced<'a>(
        &self,
        entries: impl Iterator<Item = &'a LogEntry>,
    ) -> HashSet<ConnectionId> {
        let gone = entries.filter_map(|entry| match entry {
            LogEntry::Signal { from, seq, audience, .. } if self.wants(from, *seq, audience) => {
                from.connection().filter(|id| !self.roster.contains(*id))
            }
            _ => None,
        });
        gone.collect()
    }

    /// Whether the client has missed a signal that was for it.
    fn wants(&self, from: &Sender, seq: u64, audience: &Audience) -> bool {
        self.member.receives()
            && self.knows_sender(from)
            && audience.includes(self.request.connection)
            && seq > self.cursor(from)
            // A history that was taken over may contain some of the signals before it.
            && self.lost_until.get(from).is_none_or(|lost| seq > *lost)
    }

    fn cursor(&self, from: &Sender) -> u64 {
        self.request.cursors.get(from).copied().unwrap_or(0)
    }

    fn needs_full_resync(&self) -> bool {
        // The client waits for the last signals of a sender of which there is no record.
        let unknown_sender = if self.presence {
            let known =
                |id: ConnectionId| self.roster.contains(id) || self.destroyed.contains_key(&id);
            self.request.cursors.keys().filter_map(Sender::connection).any(|id| !known(id))
        } else {
            // Such a client names every sender that it ever heard, whether it waits or not.
            self.trimmed.departed_unknown_before > self.position
        };
        unknown_sender
            || self.trimmed.unknown_before > self.position
            || (self.presence && self.events.is_none_or(|events| self.trimmed.events > events))
    }

    /// Whether the client has every signal of a sender: it has read the sender's end, and waits for
    /// nothing before it.
    fn fully_delivered(&self, from: &Sender) -> bool {
        self.presence
            && !self.request.cursors.contains_key(from)
            && from.connection().is_some_and(|id| {
                self.destroyed.get(&id).is_some_and(|end| Some(*end) <= self.events)
            })
    }

    /// Ranges of signals that the client has missed and that are no longer in the history.
    fn lost(&self) -> Vec<Lost> {
        let lost = self.lost_until.iter();
        lost.map(|(from, until)| Lost {
            after: self.cursor(from),
            from: from.clone(),
            until: *until,
        })
        .collect()
    }

    fn find_lost(&self) -> HashMap<Sender, u64> {
        if !self.member.receives() {
            return HashMap::new();
        }
        let id = self.request.connection;
        let to_many = self.trimmed.signals.iter().map(|(from, last)| (from.clone(), *last));
        let to_it = self.trimmed.directed.iter().filter(|((to, _), _)| *to == id);
        let to_it = to_it.map(|((_, from), last)| (from.clone(), *last));
        // A client with presence has all signals of a departed sender, or needs a full resync.
        let departed = self.trimmed.departed.iter();
        let departed =
            departed.filter(|it| !self.presence && it.to.is_none_or(|receiver| receiver == id));
        let departed = departed.map(|it| (it.from.into(), (it.seq, it.position)));

        let mut last: HashMap<Sender, u64> = HashMap::new();
        for (from, (seq, position)) in to_many.chain(to_it).chain(departed) {
            if position >= self.position && seq > self.cursor(&from) && !self.fully_delivered(&from)
            {
                let last = last.entry(from).or_default();
                *last = seq.max(*last);
            }
        }
        if let Some(unseen) = self.member.resumable().and_then(Resumable::unseen) {
            for (from, until) in &**unseen {
                if *until > self.cursor(from) && self.knows_sender(from) {
                    let last = last.entry(from.clone()).or_default();
                    *last = (*until).max(*last);
                }
            }
        }
        last
    }

    /// The message for an entry, if the client has missed it.
    fn missed(&self, entry: &LogEntry) -> Option<Outgoing> {
        match entry {
            LogEntry::Signal { from, seq, audience, encoding, frame } => {
                self.wants(from, *seq, audience).then(|| {
                    let wanted = self.request.encoding;
                    let frame = recode(self.session, from, *seq, *encoding, frame, wanted);
                    Outgoing::signal(from, *seq, self.request.encoding, frame)
                })
            }
            LogEntry::Created { number, info } => {
                let missed = if self.moved {
                    self.presence && self.unannounced.contains(&info.id)
                } else {
                    self.missed_event(*number)
                };
                let created = missed.then(|| GatewayMessage::ConnectionCreated((**info).clone()));
                created.and_then(|created| self.event(*number, created))
            }
            LogEntry::Elsewhere => None,
            LogEntry::Destroyed { number, id, reason } => {
                let missed = if self.moved { self.presence } else { self.missed_event(*number) };
                missed.then(|| self.destroyed(*number, *id, *reason)).flatten()
            }
        }
    }

    /// Whether the client accepts signals of this sender.
    fn knows_sender(&self, from: &Sender) -> bool {
        let Some(id) = from.connection().filter(|_| self.presence) else {
            return !self.fully_delivered(from);
        };
        if self.moved {
            return true;
        }
        // A history that was taken over from another gateway may contain signals of a sender of
        // which this gateway has never heard.
        self.roster.contains(id)
            || !self.full_resync && self.destroyed.contains_key(&id) && !self.fully_delivered(from)
    }

    /// A presence event in the encoding of the new link.
    fn event(&self, number: u64, message: GatewayMessage<'_>) -> Option<Outgoing> {
        let number = EventNumber { epoch: self.epoch, number };
        let mut encodings = EventEncodings::new(message, number);
        encodings.get(self.request.encoding, self.session).map(Outgoing::Frame)
    }

    fn destroyed(
        &self,
        number: u64,
        id: ConnectionId,
        reason: DisconnectReason,
    ) -> Option<Outgoing> {
        if self.request.encoding == Encoding::PerSender {
            return Some(Outgoing::Destroyed { id, reason, announce: true });
        }
        self.event(number, GatewayMessage::ConnectionDestroyed { id, reason, last_seq: 0 })
    }

    /// Whether the client must receive the presence event with this number. After a full resync it
    /// needs none.
    fn missed_event(&self, number: u64) -> bool {
        self.presence && !self.full_resync && Some(number) > self.events
    }
}

/// A signal in the encoding of the new link.
fn recode(
    session: &SessionId,
    from: &Sender,
    seq: u64,
    encoding: Encoding,
    frame: &Bytes,
    wanted: Encoding,
) -> Bytes {
    if encoding == wanted {
        return frame.clone();
    }
    // The relay has encoded the frame itself, so that decoding cannot fail.
    let signal = decode(encoding, frame).unwrap_or_default();
    SignalEncodings::new(from.clone(), seq, signal).get(wanted, session)
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
            let message = binary::decode(frame::message_of(frame)).ok()??;
            let SenderMessage::Signal(signal) = message else { return None };
            Some(Signal { signal_type: signal.signal_type, data: signal.data })
        }
        Encoding::Shared => received(binary::decode(frame::message_of(frame)).ok()??),
        Encoding::Json => received(json::decode(std::str::from_utf8(frame).ok()?).ok()??),
        // The history has none.
        Encoding::OpenTok => None,
    }
}
