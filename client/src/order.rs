//! The ordering duties of a client, without any I/O.
//!
//! Over QUIC, presence comes on the control stream and every sender's signals on a stream of
//! their own, so they arrive in any order relative to each other. Applications are told in one
//! order: created, then the sender's signals in sequence, then destroyed. What comes too early is
//! held here. A link reads no further from a stream that is held, so what can be held is bounded
//! by what one read brings.

use std::collections::{HashMap, VecDeque};

use signalbox_protocol::{
    ConnectionId, ConnectionInfo, DisconnectReason, GatewayMessage, Signal, Text, message::Welcome,
};

use crate::event::Event;

/// A stream, by the link's own numbering in the order of their opening.
pub(crate) type StreamKey = u64;

/// Who a stream belongs to; none is the servers.
type Sender = Option<ConnectionId>;

/// Puts events into the order that applications rely on.
#[derive(Debug)]
pub(crate) struct Order {
    me: ConnectionId,
    presence: bool,
    senders: HashMap<Sender, SenderState>,
    streams: HashMap<StreamKey, Sender>,
    out: VecDeque<Event>,
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
        Self {
            me: welcome.connection.id,
            presence,
            senders: HashMap::new(),
            streams: HashMap::new(),
            out: VecDeque::from([connected]),
        }
    }

    /// The next event to tell the application.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// A message of the control stream. Those that end the link are not for here.
    pub(crate) fn control(&mut self, message: GatewayMessage<'_>) {
        match message {
            GatewayMessage::Present { connections } => {
                connections.into_iter().for_each(|connection| self.created(connection));
            }
            GatewayMessage::ConnectionCreated(connection) => self.created(connection),
            GatewayMessage::ConnectionDestroyed { id, reason, last_seq } => {
                self.senders.entry(Some(id)).or_default().destroyed = Some((reason, last_seq));
                self.advance(Some(id));
            }
            GatewayMessage::Signal(signal) => {
                // All on one stream: the gateway's order is the order.
                let contents = Signal { signal_type: signal.signal_type, data: signal.data };
                self.out.push_back(event(signal.from, signal.seq, contents));
            }
            GatewayMessage::Error { signal, code, message } => {
                self.out.push_back(Event::Refused { signal, code, message: message.into_string() });
            }
            // Those that end the link are not for here; the others nobody asked for.
            GatewayMessage::Welcome(_)
            | GatewayMessage::Bye { .. }
            | GatewayMessage::Ticket(_)
            | GatewayMessage::Resumed { .. }
            | GatewayMessage::Gap { .. }
            | GatewayMessage::Accepted { .. } => {}
        }
    }

    /// A sender's stream has been opened.
    pub(crate) fn open(&mut self, stream: StreamKey, from: Sender, after: u64) {
        self.streams.insert(stream, from);
        let state = self.senders.entry(from).or_default();
        state.streams.push(HeldStream { key: stream, after, held: VecDeque::new() });
        state.streams.sort_by_key(|stream| stream.after);
    }

    /// A signal has come on a sender's stream.
    pub(crate) fn signal(&mut self, stream: StreamKey, seq: u64, signal: Signal<'static>) {
        let Some(from) = self.streams.get(&stream).copied() else {
            return;
        };
        // A sender that has been told as destroyed has nothing more to say.
        let Some(state) = self.senders.get_mut(&from) else {
            return;
        };
        if let Some(stream) = state.streams.iter_mut().find(|it| it.key == stream) {
            stream.held.push_back((seq, signal));
        }
        self.advance(from);
    }

    /// A sender's stream has ended; `reset` if not cleanly.
    pub(crate) fn end(&mut self, stream: StreamKey, reset: bool) {
        let Some(from) = self.streams.remove(&stream) else {
            return;
        };
        if let Some(state) = self.senders.get_mut(&from) {
            state.broken |= reset;
        }
        self.advance(from);
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

    fn created(&mut self, connection: ConnectionInfo) {
        let id = connection.id;
        self.senders.entry(Some(id)).or_default().created = true;
        self.out.push_back(Event::ConnectionCreated(connection));
        self.advance(Some(id));
    }

    /// Tells what has become tellable of this sender.
    fn advance(&mut self, from: Sender) {
        let known = !self.presence || from.is_none() || from == Some(self.me);
        let Some(state) = self.senders.get_mut(&from) else {
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
                self.out.push_back(event(from, seq, signal));
            }
        }
        let live = &self.streams;
        state.streams.retain(|it| live.contains_key(&it.key) || !it.held.is_empty());
        if let (Some(id), Some((reason, last_seq))) = (from, state.destroyed)
            && (state.told >= last_seq || state.broken)
        {
            self.senders.remove(&from);
            self.out.push_back(Event::ConnectionDestroyed { id, reason });
        }
    }
}

fn event(from: Sender, seq: u64, signal: Signal<'_>) -> Event {
    Event::Signal {
        from,
        seq,
        signal_type: signal.signal_type.map(Text::into_string),
        data: signal.data.map(Text::into_string),
    }
}

#[cfg(test)]
mod tests;
