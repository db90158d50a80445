//! A client in the simulation, as an SDK behaves, with a record of what its application sees.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Duration,
};

use signalbox_cluster::BarrierId;
use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, GatewayMessage, Role, Sender, SenderMessage,
    SessionId, Signal, Transport, binary, frame, message::Lost,
};
use signalbox_relay::{
    Connection, Encoding, Hold, Join, Outbox, Outgoing, ResumeError, ResumeOptions, ResumeRequest,
    TicketSecret, TokenIdentity,
};

use super::{Faults, Node, Random, WINDOW, short, user};

pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) session: SessionId,
    encoding: Encoding,
    state: State,
    /// Tickets: the secret of the latest, and the number of the next one.
    secret: TicketSecret,
    tickets: u32,
    attempts: u32,
    resumable: bool,
    cursors: HashMap<Sender, u64>,
    events: u64,
    /// Signals that the application has sent, and those that the gateway has confirmed.
    sent: u64,
    accepted: u64,
    record: Record,
    /// A server has disconnected it.
    pub(crate) kicked: bool,
    /// The program isolates gateways for a while: it cuts them off or stops them.
    isolation: bool,
    /// The program kills gateways.
    kills: bool,
}

enum State {
    Joining {
        node: usize,
        hold: Hold,
        since: Duration,
    },
    Attached {
        node: usize,
        connection: Connection,
        outbox: Outbox,
    },
    Detached {
        since: Duration,
    },
    Opening {
        node: usize,
        hold: Hold,
        since: Duration,
    },
    AtBarrier {
        node: usize,
        hold: Hold,
        barrier: BarrierId,
        since: Duration,
    },
    /// With the reason, for people.
    Ended(#[allow(dead_code, reason = "shown in traces")] &'static str),
}

/// What the application has seen.
#[derive(Default)]
struct Record {
    known: BTreeSet<ConnectionId>,
    gone: BTreeSet<ConnectionId>,
    /// Destroyed connections that another gateway has named again. Clients ignore them.
    ignored: BTreeSet<ConnectionId>,
    /// Connections that were missing in a list.
    unlisted: BTreeSet<ConnectionId>,
    /// Connections that were announced, not listed at the join.
    announced: BTreeSet<ConnectionId>,
    signals: BTreeMap<Sender, Vec<u64>>,
    gaps: Vec<Lost>,
}

fn secret(id: ConnectionId, number: u32) -> TicketSecret {
    let mut secret = [0; 32];
    secret[..16].copy_from_slice(id.as_bytes());
    secret[16..20].copy_from_slice(&number.to_be_bytes());
    secret
}

impl Client {
    pub(crate) fn joining(
        id: ConnectionId,
        session: SessionId,
        node: usize,
        resumable: bool,
        faults: Faults,
        at: &Node,
        now: Duration,
    ) -> Self {
        let hold = at.cluster.open(&session, now).unwrap();
        let encodings = [Encoding::PerSender, Encoding::Shared];
        Self {
            id,
            session,
            encoding: encodings[usize::from(id.as_bytes()[15] & 1)],
            state: State::Joining { node, hold, since: now },
            secret: secret(id, 0),
            tickets: 0,
            attempts: 0,
            resumable,
            cursors: HashMap::new(),
            events: 0,
            sent: 0,
            accepted: 0,
            record: Record::default(),
            kicked: false,
            isolation: faults.cuts || faults.stops,
            kills: faults.kills,
        }
    }

    pub(crate) fn attached_to(&self) -> Option<usize> {
        match &self.state {
            State::Attached { node, .. } => Some(*node),
            _ => None,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, State::Attached { .. } | State::Ended(_))
    }

    pub(crate) fn signal(&mut self, now: Duration) {
        if let State::Attached { connection, .. } = &mut self.state {
            self.sent += 1;
            let data = self.sent.to_string();
            let _ = connection.signal(None, Signal::new(None::<&str>, Some(data.as_str())), now);
        }
    }

    pub(crate) fn leave(&mut self, now: Duration) {
        if let State::Attached { connection, .. } = self.replace(State::Ended("left")) {
            connection.leave(CloseReason::ClientDisconnected, now);
        }
    }

    fn replace(&mut self, state: State) -> State {
        std::mem::replace(&mut self.state, state)
    }

    /// Loses the link. The gateway learns of it at once, or when the client resumes.
    pub(crate) fn lose_link(&mut self, known: bool, nodes: &mut [Node], now: Duration) {
        let lost =
            if self.resumable { State::Detached { since: now } } else { State::Ended("lost") };
        let State::Attached { node, connection, .. } = self.replace(lost) else { return };
        // A gateway that does not notice does so after its idle timeout, here a second.
        let until = now + WINDOW + Duration::from_secs(u64::from(!known));
        if let Some(detached) = connection.detach(now) {
            nodes[node].detached.push((until, detached));
        }
    }

    pub(crate) fn gateway_died(&mut self, died: usize, now: Duration) {
        let on = match &self.state {
            State::Joining { node, .. }
            | State::Attached { node, .. }
            | State::Opening { node, .. }
            | State::AtBarrier { node, .. } => *node,
            State::Detached { .. } | State::Ended(_) => return,
        };
        if on != died {
            return;
        }
        let state = self.replace(State::Ended("killed"));
        self.state = match state {
            State::Attached { connection, .. } => {
                // Its process is gone: nothing of it runs any more.
                std::mem::forget(connection);
                if self.resumable { State::Detached { since: now } } else { State::Ended("killed") }
            }
            State::Opening { since, hold, .. } | State::AtBarrier { since, hold, .. } => {
                std::mem::forget(hold);
                State::Detached { since }
            }
            State::Joining { hold, .. } => {
                std::mem::forget(hold);
                State::Ended("killed")
            }
            other => other,
        };
    }

    /// Advances by one step.
    pub(crate) fn step(&mut self, nodes: &mut [Node], random: &mut Random, now: Duration) {
        let cx = Context::from_waker(Waker::noop());
        let state = self.replace(State::Ended("stepping"));
        self.state = match state {
            State::Joining { node, hold, since } => {
                let at = &nodes[node];
                // A join waits for half a second at most.
                let late = now > since + Duration::from_millis(500);
                if !at.is_running(now)
                    || !late && at.cluster.poll_opened(&self.session, &cx).is_pending()
                {
                    State::Joining { node, hold, since }
                } else {
                    self.join(node, at, now)
                }
            }
            State::Attached { node, connection, outbox } => {
                if nodes[node].is_running(now) {
                    self.read(&outbox);
                    self.closed(node, connection, outbox, now)
                } else {
                    State::Attached { node, connection, outbox }
                }
            }
            State::Detached { since } if now > since + WINDOW + Duration::from_secs(10) => {
                State::Ended("not back in time")
            }
            State::Detached { since } => {
                let node = random.below(nodes.len());
                if random.one_in(30) && nodes[node].is_running(now) {
                    match nodes[node].cluster.open(&self.session, now) {
                        Ok(hold) => State::Opening { node, hold, since },
                        Err(_) => State::Detached { since },
                    }
                } else {
                    State::Detached { since }
                }
            }
            State::Opening { node, hold, since } => {
                let at = &nodes[node];
                if !at.is_running(now) || at.cluster.poll_opened(&self.session, &cx).is_pending() {
                    State::Opening { node, hold, since }
                } else {
                    let barrier = at.cluster.begin_barrier(now).unwrap();
                    State::AtBarrier { node, hold, barrier, since }
                }
            }
            State::AtBarrier { node, hold, barrier, since } => {
                let at = &nodes[node];
                if !at.is_running(now) {
                    State::AtBarrier { node, hold, barrier, since }
                } else {
                    match at.cluster.poll_barrier(barrier, &cx, now) {
                        Poll::Pending => State::AtBarrier { node, hold, barrier, since },
                        Poll::Ready(Ok(())) => self.resume(node, at, since, now),
                        Poll::Ready(Err(_)) => State::Detached { since },
                    }
                }
            }
            ended @ State::Ended(_) => ended,
        };
    }

    fn join(&mut self, node: usize, at: &Node, now: Duration) -> State {
        let info = ConnectionInfo { id: self.id, created_at: 0, data: user(self.id).into() };
        let resume = self.resumable.then_some(ResumeOptions {
            secret: self.secret,
            token_until: Duration::ZERO,
            orphan_window: WINDOW,
        });
        let join = Join {
            session: self.session.clone(),
            info,
            role: Role::Publisher,
            token: TokenIdentity::default(),
            presence: true,
            encoding: self.encoding,
            transport: Transport::Quic,
            resume,
        };
        let joined = at.relay.join(join, now).unwrap();
        self.record.known = joined.present.iter().map(|info| info.id).collect();
        self.record.known.insert(self.id);
        State::Attached { node, connection: joined.connection, outbox: joined.outbox }
    }

    fn resume(&mut self, node: usize, at: &Node, since: Duration, now: Duration) -> State {
        self.attempts += 1;
        let next = secret(self.id, self.tickets + 1);
        let request = ResumeRequest {
            session: &self.session,
            connection: self.id,
            secret: self.secret,
            attempt: self.attempts,
            next_secret: next,
            events: self.events,
            accepted: self.accepted,
            cursors: &self.cursors,
            encoding: self.encoding,
            transport: Transport::Quic,
        };
        let (mut connection, resumed) = match at.relay.resume(&request, now) {
            Ok(resumed) => resumed,
            Err(ResumeError::InvalidTicket) => {
                // Only a gateway that was killed or isolated may have known of it.
                let told = self.kicked && !self.kills && !self.isolation;
                assert!(!told, "{} does not learn that it was kicked", short(self.id));
                return State::Ended("invalid ticket");
            }
            Err(ResumeError::Evicted) => return State::Ended("evicted"),
            Err(ResumeError::CursorAhead) => panic!("{} is ahead of {node}", short(self.id)),
            Err(_) => return State::Detached { since },
        };
        if std::env::var_os("SIGNALBOX_TRACE").is_some() {
            eprintln!(
                "{:>8} {} resumes at {node}: missed {}, lost {:?}, present {:?}",
                now.as_millis(),
                short(self.id),
                resumed.missed,
                resumed.lost,
                resumed
                    .present
                    .as_ref()
                    .map(|it| it.iter().map(|it| short(it.id)).collect::<Vec<_>>()),
            );
        }
        self.tickets += 1;
        self.attempts = 0;
        self.secret = next;
        let gone =
            |from: &Sender| from.connection().is_some_and(|id| self.record.gone.contains(&id));
        for lost in resumed.lost.iter().filter(|lost| !gone(&lost.from)) {
            let cursor = self.cursors.entry(lost.from.clone()).or_default();
            *cursor = lost.until.max(*cursor);
        }
        self.record.gaps.extend(resumed.lost);
        if let Some(present) = resumed.present {
            self.events = 0;
            let mut present: BTreeSet<_> = present.iter().map(|info| info.id).collect();
            present.insert(self.id);
            // Only the clients of a gateway that was killed or isolated may know of an end.
            self.record.ignored = present.intersection(&self.record.gone).copied().collect();
            present.retain(|id| !self.record.gone.contains(id));
            self.cursors.retain(|from, _| from.connection().is_none_or(|id| present.contains(&id)));
            for gone in self.record.known.clone().difference(&present) {
                self.destroyed(*gone);
                self.record.unlisted.insert(*gone);
            }
            for new in present.difference(&self.record.known.clone()) {
                // Its signals before may be lost: the gap of presence says so.
                self.created(*new);
                self.record.announced.remove(new);
            }
        }
        assert!(
            resumed.signals >= self.accepted,
            "{}: confirmed signals are forgotten",
            short(self.id)
        );
        self.accepted = resumed.signals;
        connection.confirm_ticket();
        for seq in resumed.signals + 1..=self.sent {
            let data = seq.to_string();
            let _ = connection.signal(None, Signal::new(None::<&str>, Some(data.as_str())), now);
        }
        State::Attached { node, connection, outbox: resumed.outbox }
    }

    /// Looks whether the gateway has closed the connection.
    fn closed(
        &mut self,
        node: usize,
        connection: Connection,
        outbox: Outbox,
        now: Duration,
    ) -> State {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(reason) = outbox.poll_closed(&mut cx) else {
            return State::Attached { node, connection, outbox };
        };
        drop(connection);
        match reason {
            CloseReason::ForceDisconnected => State::Ended("kicked"),
            CloseReason::NetworkDisconnected if self.resumable => State::Detached { since: now },
            CloseReason::NetworkDisconnected => State::Ended("refused"),
            other => panic!("{} closed: {other:?}", short(self.id)),
        }
    }

    fn read(&mut self, outbox: &Outbox) {
        let mut taken = VecDeque::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok(())) = outbox.poll_take(&mut cx, &mut taken) {}
        outbox.written(taken.len(), taken.iter().map(Outgoing::cost).sum());
        for outgoing in taken {
            match outgoing {
                Outgoing::Signal { from, frame, .. } => {
                    let message = binary::decode(frame::message_of(&frame)).unwrap().unwrap();
                    let SenderMessage::Signal(signal) = message else { panic!("{message:?}") };
                    self.received(from, signal.seq);
                }
                Outgoing::Destroyed { id, .. } => {
                    self.events += 1;
                    self.destroyed(id);
                }
                Outgoing::Accepted { signals } => self.accepted = signals.max(self.accepted),
                Outgoing::Frame(frame) => {
                    match binary::decode(frame::message_of(&frame)).unwrap().unwrap() {
                        GatewayMessage::Signal(signal) => self.received(signal.from, signal.seq),
                        GatewayMessage::ConnectionCreated(info) => {
                            self.events += 1;
                            self.created(info.id);
                        }
                        GatewayMessage::ConnectionDestroyed { id, .. } => {
                            self.events += 1;
                            self.destroyed(id);
                        }
                        GatewayMessage::Gap { lost, .. } => self.record.gaps.extend(lost),
                        other => panic!("{other:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn created(&mut self, id: ConnectionId) {
        let me = short(self.id);
        self.note(|| format!("told: {} created", short(id)));
        if self.isolation && self.record.gone.contains(&id) {
            // A connection of a gateway that was isolated is not in the list of another gateway, and
            // appears there when the first one returns. Or the end of a connection was known to
            // gateways that are isolated now, and another one returns that does not know it.
            self.record.ignored.insert(id);
            return;
        }
        assert!(!self.record.gone.contains(&id), "{me}: {} reappears", short(id));
        assert!(self.record.known.insert(id), "{me}: {} created twice", short(id));
        self.record.announced.insert(id);
    }

    fn destroyed(&mut self, id: ConnectionId) {
        let me = short(self.id);
        self.note(|| format!("told: {} destroyed", short(id)));
        // It has been read to its end.
        self.cursors.remove(&Sender::Connection(id));
        if self.record.ignored.remove(&id) {
            return;
        }
        assert!(id != self.id, "{me} is told of its own end");
        assert!(self.record.known.remove(&id), "{me}: {} destroyed, but not known", short(id));
        self.record.gone.insert(id);
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("SIGNALBOX_TRACE").is_some() {
            eprintln!("         {} {}", short(self.id), what());
        }
    }

    fn received(&mut self, from: Sender, seq: u64) {
        let me = short(self.id);
        self.note(|| {
            format!(
                "gets {seq} of {}",
                from.connection().map_or_else(|| format!("{from:?}"), short)
            )
        });
        if let Sender::Connection(id) = &from {
            if self.record.ignored.contains(id) {
                return;
            }
            assert!(self.record.known.contains(id), "{me}: signal of unknown {}", short(*id));
        }
        let last = self.cursors.insert(from.clone(), seq).unwrap_or(0);
        assert!(last < seq, "{me}: {from:?} {seq} after {last}");
        self.record.signals.entry(from).or_default().push(seq);
    }

    /// Everything was received, or reported as lost.
    pub(crate) fn check(&self, all: &[Self]) {
        if self.attached_to().is_none() {
            return;
        }
        for other in all.iter().filter(|other| other.session == self.session) {
            let attached = other.attached_to().is_some();
            let known = self.record.known.contains(&other.id);
            if self.record.ignored.contains(&other.id) {
                // Only a gateway that was killed or isolated knew of its end, or knew it at all. If
                // it was isolated, the end is final.
                let ended = !self.record.unlisted.contains(&other.id);
                assert!(
                    !attached || !ended || self.kills,
                    "{} lives, though {} was told of its end",
                    short(other.id),
                    short(self.id)
                );
                continue;
            }
            assert_eq!(known, attached, "{} about {}", short(self.id), short(other.id));
            if !attached {
                // The last signals of a connection that ended on a lost gateway may be unknown.
                continue;
            }
            let from = other.id.into();
            let received = self.record.signals.get(&from).cloned().unwrap_or_default();
            let announced = self.record.announced.contains(&other.id);
            let first = if announced { 1 } else { received.first().copied().unwrap_or(other.sent) };
            let received: BTreeSet<u64> = received.into_iter().collect();
            for seq in first..=other.sent {
                let covers = |gap: &Lost| gap.from == from && gap.after < seq && seq <= gap.until;
                assert!(
                    received.contains(&seq) || self.record.gaps.iter().any(covers),
                    "{}: signal {seq} of {} is lost silently; received {received:?}, gaps {:?}",
                    short(self.id),
                    short(other.id),
                    self.record.gaps,
                );
            }
        }
    }
}
