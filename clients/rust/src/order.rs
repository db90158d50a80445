//! The order of events, without any I/O.
//!
//! Over QUIC, presence events arrive on the control stream and each sender's signals on a stream of
//! their own, so their relative order is arbitrary. The application receives them in one order:
//! created, then the sender's signals in sequence, then destroyed. What arrives too early is held
//! here. A link does not read further from a stream that holds something, so the amount held is
//! bounded by one read per stream.
//!
//! A connection may outlive its link. What was held is then dropped: it was not delivered, and the
//! gateway sends it again. The position that was reached for each sender is kept; the gateway
//! resumes from there.

mod destroyed_ids;

use std::collections::{HashMap, HashSet, VecDeque, hash_map::Entry};

use signalbox_protocol::{
    ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Sender, Signal, Text,
    limits::CURSORS_IN_ALL,
    message::{Cursor, Lost, Welcome},
};

use crate::event::{Event, Gap};

use self::destroyed_ids::DestroyedIds;

/// A stream's number on its link, in the order of opening.
pub(crate) type StreamKey = u64;

/// Puts events into the order that applications rely on.
#[derive(Debug)]
pub(crate) struct Order {
    me: ConnectionId,
    presence: bool,
    senders: HashMap<Sender, SenderState>,
    /// Connections that a gateway may still name, although the application was told of their end.
    destroyed: DestroyedIds,
    streams: HashMap<StreamKey, Sender>,
    /// Presence events read since the welcome, or since the gateway last listed all connections.
    events: u64,
    /// Number of connections that the gateway has still to list as present.
    unlisted: u32,
    out: VecDeque<Event>,
}

/// The position of a client, from which the gateway determines the replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResumePosition {
    pub(crate) events: u64,
    /// Signals of the client that the gateway has confirmed.
    pub(crate) accepted: u64,
    pub(crate) cursors: Vec<Cursor>,
}

/// The gateway sent a message that is not allowed at this point.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtocolViolation(pub(crate) &'static str);

/// One small entry for each sender that is present or has sent.
#[derive(Debug, Default)]
struct SenderState {
    created: bool,
    /// The last sequence number that was delivered to the application.
    delivered_seq: u64,
    /// A stream was reset: its remaining signals never arrive, and nothing waits for them.
    broken: bool,
    streams: Vec<HeldStream>,
    destroyed: Option<(DisconnectReason, u64)>,
}

#[derive(Debug)]
struct HeldStream {
    key: StreamKey,
    /// The sequence number that must be delivered before anything of this stream.
    after: u64,
    held: VecDeque<(u64, Signal<'static>)>,
}

impl Order {
    pub(crate) fn new(welcome: &Welcome, presence: bool) -> Self {
        let connected = Event::SessionConnected {
            connection: welcome.connection.clone(),
            session: welcome.session.clone(),
        };
        Self::beginning(welcome, presence, connected)
    }

    /// The client has joined again as another connection. All state is void.
    pub(crate) fn rejoin(&mut self, welcome: &Welcome) {
        let connection = welcome.connection.clone();
        let mut out = std::mem::take(&mut self.out);
        *self = Self::beginning(welcome, self.presence, Event::SessionRejoined { connection });
        out.append(&mut self.out);
        self.out = out;
    }

    fn beginning(welcome: &Welcome, presence: bool, first: Event) -> Self {
        Self {
            me: welcome.connection.id,
            presence,
            senders: HashMap::new(),
            destroyed: DestroyedIds::default(),
            streams: HashMap::new(),
            events: 0,
            unlisted: welcome.present,
            out: VecDeque::from([first]),
        }
    }

    /// The connection is resumed. If the gap includes presence, `present` lists all connections.
    pub(crate) fn resume(&mut self, missed: u64, gap: Option<Gap>, present: Vec<ConnectionInfo>) {
        let Gap { lost, presence } = gap.clone().unwrap_or_default();
        self.out.push_back(Event::SessionReconnected { missed, gap });
        for Lost { from, until, .. } in lost {
            let Some(state) = self.state(&from) else { continue };
            // Nothing waits for the lost signals, and they are not requested again.
            state.delivered_seq = state.delivered_seq.max(until);
            self.advance(&from);
        }
        if presence {
            self.events = 0;
            self.retain_listed(&present.iter().map(|info| info.id).collect());
            self.present(present);
        }
    }

    /// The next event for the application.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// Appends an event that has no order relative to those of the session.
    pub(crate) fn emit(&mut self, event: Event) {
        self.out.push_back(event);
    }

    /// A message of the control stream about the session.
    pub(crate) fn control(&mut self, message: GatewayMessage<'_>) -> Result<(), ProtocolViolation> {
        match message {
            GatewayMessage::Present { connections } => {
                let listed = u32::try_from(connections.len()).unwrap_or(u32::MAX);
                self.unlisted = self.unlisted.saturating_sub(listed);
                self.present(connections);
            }
            GatewayMessage::ConnectionCreated(connection) => {
                self.events += 1;
                self.created(connection);
            }
            GatewayMessage::ConnectionDestroyed { id, reason, last_seq } => {
                self.events += 1;
                self.leaves(id, reason, last_seq);
            }
            GatewayMessage::Signal(signal) => {
                // All signals are on one stream: the gateway's order is the order.
                let contents = Signal { signal_type: signal.signal_type, data: signal.data };
                let Some(state) = self.state(&signal.from) else { return Ok(()) };
                state.delivered_seq = signal.seq;
                self.out.push_back(event(signal.from.clone(), signal.seq, contents));
                // The destruction of a connection may have waited for this on an earlier link.
                self.advance(&signal.from);
            }
            // Only when resuming does a gap include presence: the member list follows it.
            GatewayMessage::Gap { presence: true, .. } => {
                return Err(ProtocolViolation("a gap of presence outside a resume"));
            }
            // It has no order relative to the signals of its senders, so it changes no cursor: the
            // signals before the gap may still be on their way.
            GatewayMessage::Gap { lost, .. } => self.out.push_back(Event::Gap { lost }),
            // The link handles these.
            GatewayMessage::Welcome(_)
            | GatewayMessage::Error { .. }
            | GatewayMessage::Bye { .. }
            | GatewayMessage::Ticket(_)
            | GatewayMessage::Resumed { .. }
            | GatewayMessage::Accepted { .. }
            | GatewayMessage::GoAway { .. }
            | GatewayMessage::Heartbeat {} => {}
        }
        Ok(())
    }

    /// The link is lost, and the gateway has confirmed `accepted` of the client's signals. Returns the
    /// position to resume from; `None` if it is not certain.
    pub(crate) fn link_lost(&mut self, accepted: u64) -> Option<ResumePosition> {
        self.streams.clear();
        let certain = self.unlisted == 0 && !self.senders.values().any(|state| state.broken);
        for state in self.senders.values_mut() {
            state.streams.clear();
        }
        self.senders.retain(|_, state| state.created || state.delivered_seq > 0);
        // For a connection that has left, no cursor means that all of its signals were delivered.
        let known = |state: &SenderState| state.delivered_seq > 0 || state.destroyed.is_some();
        let delivered = self.senders.iter().filter(|(_, state)| known(state));
        let cursors: Vec<_> = delivered
            .map(|(from, state)| Cursor { from: from.clone(), seq: state.delivered_seq })
            .collect();
        let certain = certain && cursors.len() <= CURSORS_IN_ALL;
        certain.then_some(ResumePosition { events: self.events, accepted, cursors })
    }

    /// A stream has this sender from now on. If it had another one, that one's part of the stream has
    /// ended.
    pub(crate) fn open(&mut self, stream: StreamKey, from: Sender, after: u64) {
        self.end(stream, false);
        // The signals of a destroyed connection are read and dropped.
        let Some(state) = self.state(&from) else { return };
        state.streams.push(HeldStream { key: stream, after, held: VecDeque::new() });
        state.streams.sort_by_key(|stream| stream.after);
        self.streams.insert(stream, from);
    }

    /// A signal has arrived on a sender's stream.
    pub(crate) fn signal(&mut self, stream: StreamKey, seq: u64, signal: Signal<'static>) {
        let Some(from) = self.streams.get(&stream).cloned() else {
            return;
        };
        // A sender that was reported as destroyed sends nothing more.
        let Some(state) = self.senders.get_mut(&from) else {
            return;
        };
        // The last one: an earlier part of the stream may be held, too.
        if let Some(stream) = state.streams.iter_mut().rfind(|it| it.key == stream) {
            stream.held.push_back((seq, signal));
        }
        self.advance(&from);
    }

    /// A sender's stream has ended; `reset` if not cleanly.
    pub(crate) fn end(&mut self, stream: StreamKey, reset: bool) {
        let Some(from) = self.streams.remove(&stream) else {
            return;
        };
        if let Some(state) = self.senders.get_mut(&from) {
            state.broken |= reset;
        }
        self.advance(&from);
        // Signals that it holds wait for other streams; an empty stream is done.
        if let Some(state) = self.senders.get_mut(&from) {
            state.streams.retain(|it| it.key != stream || !it.held.is_empty());
        }
    }

    /// Whether reading more of this stream would only fill memory for now.
    pub(crate) fn is_held(&self, stream: StreamKey) -> bool {
        let state = self.streams.get(&stream).and_then(|from| self.senders.get(from));
        let held = state.and_then(|state| state.streams.iter().rfind(|it| it.key == stream));
        held.is_some_and(|stream| !stream.held.is_empty())
    }

    /// The entry of a sender; `None` if it is a connection that was destroyed.
    fn state(&mut self, from: &Sender) -> Option<&mut SenderState> {
        match self.senders.entry(from.clone()) {
            Entry::Occupied(known) => Some(known.into_mut()),
            // Destroyed connections have no entry, so known senders need no look-up.
            Entry::Vacant(_) if from.connection().is_some_and(|id| self.destroyed.contains(id)) => {
                None
            }
            Entry::Vacant(new) => Some(new.insert(SenderState::default())),
        }
    }

    /// Connections that are present. After a gap some of them are known already.
    fn present(&mut self, connections: Vec<ConnectionInfo>) {
        for connection in connections {
            self.created(connection);
        }
    }

    /// Connections that are known and were not listed have left.
    fn retain_listed(&mut self, listed: &HashSet<ConnectionId>) {
        let known = self.senders.iter().filter(|(_, state)| state.created);
        let mut left: Vec<_> = known
            .filter_map(|(from, state)| Some((from.connection()?, state.destroyed)))
            .filter(|(id, _)| !listed.contains(id))
            .collect();
        // A fixed order; the gateway gives none.
        left.sort_by_key(|(id, _)| *id);
        for (id, destroyed) in left {
            let reason = destroyed.map_or(DisconnectReason::NetworkDisconnected, |it| it.0);
            self.destroyed(id, reason);
        }
        // A connection that joined and left meanwhile is not listed. A cursor for it would request
        // its last signals.
        let (me, presence) = (self.me, self.presence);
        if presence {
            self.senders.retain(|from, _| {
                from.connection().is_none_or(|id| id == me || listed.contains(&id))
            });
        }
    }

    /// A connection is in the session. The application is told once, and never after its end.
    fn created(&mut self, connection: ConnectionInfo) {
        let from = Sender::Connection(connection.id);
        let Some(state) = self.state(&from).filter(|state| !state.created) else { return };
        state.created = true;
        self.out.push_back(Event::ConnectionCreated(connection));
        self.advance(&from);
    }

    /// A connection has left the session, after its signal `last_seq`.
    fn leaves(&mut self, id: ConnectionId, reason: DisconnectReason, last_seq: u64) {
        let from = Sender::Connection(id);
        match self.senders.get_mut(&from) {
            Some(state) if state.created => {
                state.destroyed = Some((reason, last_seq));
                self.advance(&from);
            }
            // The application does not know it, so nothing waits for its end.
            _ => {
                self.senders.remove(&from);
            }
        }
    }

    /// Emits the events of this sender that have become due.
    fn advance(&mut self, from: &Sender) {
        let known = !self.presence || from.connection().is_none_or(|id| id == self.me);
        let Some(state) = self.senders.get_mut(from) else {
            return;
        };
        if !known && !state.created {
            return;
        }
        for stream in &mut state.streams {
            if stream.after > state.delivered_seq && !state.broken {
                break;
            }
            for (seq, signal) in stream.held.drain(..) {
                state.delivered_seq = seq;
                self.out.push_back(event(from.clone(), seq, signal));
            }
        }
        let live = &self.streams;
        state.streams.retain(|it| live.contains_key(&it.key) || !it.held.is_empty());
        if let (Some(id), Some((reason, last_seq))) = (from.connection(), state.destroyed)
            && (state.delivered_seq >= last_seq || state.broken)
        {
            self.destroyed(id, reason);
        }
    }

    fn destroyed(&mut self, id: ConnectionId, reason: DisconnectReason) {
        // Without a cursor in the next resume, the gateway takes it that all signals of this
        // connection were delivered.
        self.senders.remove(&id.into());
        self.destroyed.insert(id);
        self.out.push_back(Event::ConnectionDestroyed { id, reason });
    }
}

fn event(from: Sender, seq: u64, signal: Signal<'_>) -> Event {
    Event::Signal {
        from,
        seq,
        // An empty type is the same as none, and the gateway passes it on as it came.
        signal_type: signal.signal_type.map(Text::into_string).filter(|it| !it.is_empty()),
        data: signal.data.map(Text::into_string),
    }
}

#[cfg(test)]
pub(crate) mod resume_tests;
#[cfg(test)]
pub(crate) mod tests;
