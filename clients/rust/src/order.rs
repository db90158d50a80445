//! The ordering duties of a client, without any I/O.
//!
//! Over QUIC, presence comes on the control stream and every sender's signals on a stream of
//! their own, so they arrive in any order relative to each other. Applications are told in one
//! order: created, then the sender's signals in sequence, then destroyed. What comes too early is
//! held here. A link reads no further from a stream that is held, so what can be held is bounded
//! by what one read brings.
//!
//! A connection may outlive its link. Then what was held is dropped, as it has not been told and
//! comes again; how far everyone has been told is kept, and is what the gateway is asked to go on
//! from.

use std::collections::{HashMap, HashSet, VecDeque};

use signalbox_protocol::{
    ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Sender, Signal, Text,
    limits::CURSORS_IN_ALL,
    message::{Cursor, Lost, Welcome},
};

use crate::event::{Event, Gap};

/// A stream, by the link's own numbering in the order of their opening.
pub(crate) type StreamKey = u64;

/// Puts events into the order that applications rely on.
#[derive(Debug)]
pub(crate) struct Order {
    me: ConnectionId,
    presence: bool,
    senders: HashMap<Sender, SenderState>,
    streams: HashMap<StreamKey, Sender>,
    /// Comings and goings read since the welcome, or since everyone was last named anew.
    events: u64,
    /// How many connections the gateway has still to name as present.
    unnamed: u32,
    out: VecDeque<Event>,
}

/// What a client has been told of its connection, by which the gateway knows what it missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) events: u64,
    pub(crate) cursors: Vec<Cursor>,
}

/// One small entry for each sender that is present or was heard.
#[derive(Debug, Default)]
struct SenderState {
    created: bool,
    /// The last sequence number that the application was told.
    told: u64,
    /// A stream was reset: what it would have brought never comes, and nobody waits for it.
    broken: bool,
    streams: Vec<HeldStream>,
    destroyed: Option<(DisconnectReason, u64)>,
}

#[derive(Debug)]
struct HeldStream {
    key: StreamKey,
    /// The sequence number to be told before anything of this stream.
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

    /// The client is in its session anew, as another connection. What was known is void.
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
            streams: HashMap::new(),
            events: 0,
            unnamed: welcome.present,
            out: VecDeque::from([first]),
        }
    }

    /// The connection goes on. If there is a gap in presence, `present` is everyone who is there.
    pub(crate) fn resume(&mut self, missed: u64, gap: Option<Gap>, present: Vec<ConnectionInfo>) {
        let Gap { lost, presence } = gap.clone().unwrap_or_default();
        self.out.push_back(Event::SessionReconnected { missed, gap });
        for Lost { from, until, .. } in lost {
            // Nobody waits for it any more, and it is not asked for again.
            let state = self.senders.entry(from.clone()).or_default();
            state.told = state.told.max(until);
            self.advance(&from);
        }
        if presence {
            self.events = 0;
            self.all_named(&present.iter().map(|info| info.id).collect());
            self.present(present);
        }
    }

    /// The next event to tell the application.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// An event that is in no order to those of the session, but behind all that came before it.
    pub(crate) fn tell(&mut self, event: Event) {
        self.out.push_back(event);
    }

    /// A message of the control stream about the session.
    pub(crate) fn control(&mut self, message: GatewayMessage<'_>) {
        match message {
            GatewayMessage::Present { connections } => {
                let named = u32::try_from(connections.len()).unwrap_or(u32::MAX);
                self.unnamed = self.unnamed.saturating_sub(named);
                self.present(connections);
            }
            GatewayMessage::ConnectionCreated(connection) => {
                self.events += 1;
                self.created(connection);
            }
            GatewayMessage::ConnectionDestroyed { id, reason, last_seq } => {
                self.events += 1;
                let from = Sender::Connection(id);
                self.senders.entry(from.clone()).or_default().destroyed = Some((reason, last_seq));
                self.advance(&from);
            }
            GatewayMessage::Signal(signal) => {
                // All on one stream: the gateway's order is the order.
                let contents = Signal { signal_type: signal.signal_type, data: signal.data };
                self.senders.entry(signal.from.clone()).or_default().told = signal.seq;
                self.out.push_back(event(signal.from.clone(), signal.seq, contents));
                // Somebody who left on an earlier link may have waited for this.
                self.advance(&signal.from);
            }
            // These are the link's.
            GatewayMessage::Welcome(_)
            | GatewayMessage::Error { .. }
            | GatewayMessage::Bye { .. }
            | GatewayMessage::Ticket(_)
            | GatewayMessage::Gap { .. }
            | GatewayMessage::Resumed { .. }
            | GatewayMessage::Accepted { .. }
            | GatewayMessage::GoAway { .. } => {}
        }
    }

    /// The link is lost. Says from where the connection can go on; nowhere if that is not certain.
    pub(crate) fn lost(&mut self) -> Option<Claim> {
        self.streams.clear();
        let whole = self.unnamed == 0 && !self.senders.values().any(|state| state.broken);
        for state in self.senders.values_mut() {
            state.streams.clear();
        }
        self.senders.retain(|_, state| state.created || state.told > 0);
        // Of one that has left and is in none of them the gateway takes it that all was told.
        let known = |state: &SenderState| state.told > 0 || state.destroyed.is_some();
        let told = self.senders.iter().filter(|(_, state)| known(state));
        let cursors: Vec<_> =
            told.map(|(from, state)| Cursor { from: from.clone(), seq: state.told }).collect();
        let claim = whole && cursors.len() <= CURSORS_IN_ALL;
        claim.then_some(Claim { events: self.events, cursors })
    }

    /// A sender's stream has been opened.
    pub(crate) fn open(&mut self, stream: StreamKey, from: Sender, after: u64) {
        self.streams.insert(stream, from.clone());
        let state = self.senders.entry(from).or_default();
        state.streams.push(HeldStream { key: stream, after, held: VecDeque::new() });
        state.streams.sort_by_key(|stream| stream.after);
    }

    /// A signal has come on a sender's stream.
    pub(crate) fn signal(&mut self, stream: StreamKey, seq: u64, signal: Signal<'static>) {
        let Some(from) = self.streams.get(&stream).cloned() else {
            return;
        };
        // A sender that has been told as destroyed has nothing more to say.
        let Some(state) = self.senders.get_mut(&from) else {
            return;
        };
        if let Some(stream) = state.streams.iter_mut().find(|it| it.key == stream) {
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
        // What it still holds waits for the others; an empty one is done.
        if let Some(state) = self.senders.get_mut(&from) {
            state.streams.retain(|it| it.key != stream || !it.held.is_empty());
        }
    }

    /// Whether reading more of this stream would only fill memory for now.
    pub(crate) fn is_held(&self, stream: StreamKey) -> bool {
        let state = self.streams.get(&stream).and_then(|from| self.senders.get(from));
        let held = state.and_then(|state| state.streams.iter().find(|it| it.key == stream));
        held.is_some_and(|stream| !stream.held.is_empty())
    }

    /// Connections that are there. Those that are named anew are known already.
    fn present(&mut self, connections: Vec<ConnectionInfo>) {
        for connection in connections {
            let known = self.senders.get(&connection.id.into()).is_some_and(|state| state.created);
            if !known {
                self.created(connection);
            }
        }
    }

    /// Who is known and was not named has left.
    fn all_named(&mut self, named: &HashSet<ConnectionId>) {
        let known = self.senders.iter().filter(|(_, state)| state.created);
        let left: Vec<_> = known
            .filter_map(|(from, state)| Some((from.connection()?, state.destroyed)))
            .filter(|(id, _)| !named.contains(id))
            .collect();
        for (id, destroyed) in left {
            let reason = destroyed.map_or(DisconnectReason::NetworkDisconnected, |it| it.0);
            self.destroyed(id, reason);
        }
        // A connection that came and left meanwhile is not named. A cursor would ask for its last signals.
        let (me, presence) = (self.me, self.presence);
        if presence {
            self.senders.retain(|from, _| {
                from.connection().is_none_or(|id| id == me || named.contains(&id))
            });
        }
    }

    fn created(&mut self, connection: ConnectionInfo) {
        let id = connection.id;
        let from = Sender::Connection(id);
        self.senders.entry(from.clone()).or_default().created = true;
        self.out.push_back(Event::ConnectionCreated(connection));
        self.advance(&from);
    }

    /// Tells what has become tellable of this sender.
    fn advance(&mut self, from: &Sender) {
        let known = !self.presence || from.connection().is_none_or(|id| id == self.me);
        let Some(state) = self.senders.get_mut(from) else {
            return;
        };
        if !known && !state.created {
            return;
        }
        for stream in &mut state.streams {
            if stream.after > state.told && !state.broken {
                break;
            }
            for (seq, signal) in stream.held.drain(..) {
                state.told = seq;
                self.out.push_back(event(from.clone(), seq, signal));
            }
        }
        let live = &self.streams;
        state.streams.retain(|it| live.contains_key(&it.key) || !it.held.is_empty());
        if let (Some(id), Some((reason, last_seq))) = (from.connection(), state.destroyed)
            && (state.told >= last_seq || state.broken)
        {
            self.destroyed(id, reason);
        }
    }

    fn destroyed(&mut self, id: ConnectionId, reason: DisconnectReason) {
        // Whoever is not named when the client comes back, and has left, has been heard to the end.
        self.senders.remove(&id.into());
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
mod resume_tests;
#[cfg(test)]
mod tests;
