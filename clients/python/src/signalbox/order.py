"""The order of events, without any I/O (section 7).

Over QUIC, presence events arrive on the control stream and each sender's signals on streams of
their own, so their relative order is arbitrary. The application receives them in one order:
created, then the sender's signals in sequence, then destroyed. What arrives too early is held here.

A connection may outlive its link. What was held is then dropped: it was not delivered, and the
gateway sends it again. The position reached for each sender is kept; the gateway resumes there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .codes import DisconnectReason, UnknownCode
from .event import (
    Connected,
    ConnectionCreated,
    ConnectionDestroyed,
    Event,
    Gap,
    Reconnected,
    Rejoined,
    Signal,
)
from .messages import (
    CURSORS_IN_ALL,
    ConnectionInfo,
    Created,
    Cursor,
    Destroyed,
    GapMessage,
    GatewayMessage,
    Present,
    ReceivedSignal,
    StreamSignal,
    Welcome,
)
from .postcard import Malformed, Server

Sender = str | Server

Part = tuple[int, int]
"""The part of a stream that carries one sender: the stream, and a number in the order of arrival."""

DESTROYED_IDS = 1024
"""Destroyed connections that are remembered. The oldest is forgotten first. A list is out of date
for a resume window at most, so the latest ids suffice."""


@dataclass(frozen=True)
class ResumePosition:
    """How far a client has read, from which the gateway determines what it missed."""

    events: int
    accepted: int
    """Signals of the client that the gateway has confirmed."""
    cursors: tuple[Cursor, ...]


@dataclass
class SenderStream:
    """A stream of a sender, until all of its signals have been delivered."""

    after: int
    """The sequence number that must be delivered before anything of this stream."""
    held: deque[StreamSignal] = field(default_factory=deque)
    over: bool = False


@dataclass
class SenderState:
    """One small entry for each sender that is present or has sent."""

    created: bool = False
    delivered_seq: int = 0
    """The last sequence number that was delivered to the application."""
    broken: bool = False
    """A stream was reset: its remaining signals never arrive, and nothing waits for them."""
    streams: dict[Part, SenderStream] = field(default_factory=dict)
    destroyed: tuple[DisconnectReason | UnknownCode, int] | None = None


class Order:
    """Puts events into the order that applications rely on."""

    def __init__(self, welcome: Welcome, presence: bool) -> None:
        self._presence = presence
        self._out: deque[Event] = deque()
        self._begin(welcome)
        self._out.append(Connected(welcome.connection, welcome.session))

    def _begin(self, welcome: Welcome) -> None:
        self._me = welcome.connection.id
        self.senders: dict[Sender, SenderState] = {}
        self._destroyed_ids: dict[str, None] = {}
        """Connections that a gateway may still name, although the application was told of their
        end. The oldest is first."""
        self._new_link()
        self.events = 0
        """Presence events read since the welcome, or since the last list of all connections."""
        self._unlisted = welcome.present
        self.held = 0
        """How many signals wait for something else to arrive first."""

    def _new_link(self) -> None:
        self._streams: dict[int, tuple[Sender, Part]] = {}
        self._parts = 0

    def rejoin(self, welcome: Welcome) -> None:
        """The client has joined again as another connection. All state is void."""
        self._begin(welcome)
        self._out.append(Rejoined(welcome.connection))

    def resume(self, missed: int, gap: Gap | None, present: Iterable[ConnectionInfo]) -> None:
        """The connection is resumed. If the gap includes presence, `present` lists everyone."""
        self._out.append(Reconnected(missed, gap))
        for lost in gap.lost if gap else ():
            state = self._state(lost.sender)
            if state is None:
                continue
            # Nothing waits for the lost signals, and they are not requested again.
            state.delivered_seq = max(state.delivered_seq, lost.until)
            self._advance(lost.sender)
        if gap and gap.presence:
            self.events = 0
            listed = list(present)
            self._retain_listed({connection.id for connection in listed})
            self._present(listed)

    def next_event(self) -> Event | None:
        """The next event for the application."""
        return self._out.popleft() if self._out else None

    def emit(self, event: Event) -> None:
        """Appends an event that has no order relative to those of the session."""
        self._out.append(event)

    def control(self, message: GatewayMessage) -> None:
        """A message of the control stream about the session. Others are ignored.

        Raises :class:`Malformed` if the message is not allowed at this point.
        """
        match message:
            case GapMessage(_, True):
                # Only when resuming does a gap include presence: the member list follows it.
                raise Malformed("a gap of presence outside a resume")
            case GapMessage(lost):
                # It has no order relative to the signals of its senders, so it changes no cursor:
                # the signals before the gap may still be on their way.
                self._out.append(Gap(lost))
            case Present(connections):
                self._unlisted -= len(connections)
                self._present(connections)
            case Created(connection):
                self.events += 1
                self._created(connection)
            case Destroyed(id, reason, last_seq):
                self.events += 1
                self._leaves(id, reason, last_seq)
            case ReceivedSignal(sender, seq, type, data):
                state = self._state(sender)
                if state is not None:
                    # All signals are on one stream: the gateway's order is the order.
                    self._deliver(state, sender, StreamSignal(seq, type, data))
                    # The destruction of a connection may have waited for this on an earlier link.
                    self._advance(sender)

    def link_lost(self, accepted: int) -> ResumePosition | None:
        """The link is lost, and the gateway has confirmed this number of the client's signals.

        Returns the position to resume from; None if it is not certain.
        """
        certain = self._unlisted <= 0 and not any(it.broken for it in self.senders.values())
        self._new_link()
        self.held = 0
        for sender, state in list(self.senders.items()):
            state.streams.clear()
            if not state.created and not state.delivered_seq:
                del self.senders[sender]
        # For a connection that has left, no cursor means that all of its signals were delivered.
        cursors = tuple(
            Cursor(sender, state.delivered_seq)
            for sender, state in self.senders.items()
            if state.delivered_seq or state.destroyed
        )
        if not certain or len(cursors) > CURSORS_IN_ALL:
            return None
        return ResumePosition(self.events, accepted, cursors)

    def open(self, stream: int, sender: Sender, after: int) -> None:
        """A stream has this sender from now on. An earlier sender's part of it has ended."""
        if stream in self._streams:
            self.end(stream)
        state = self._state(sender)
        if state is None:
            # The signals of a destroyed connection are read and dropped.
            return
        self._parts += 1
        part = (stream, self._parts)
        self._streams[stream] = (sender, part)
        state.streams[part] = SenderStream(after)

    def signal(self, stream: int, signal: StreamSignal) -> None:
        """A signal has arrived on a sender's stream."""
        if stream not in self._streams:
            return
        sender, part = self._streams[stream]
        # A sender that was reported as destroyed sends nothing more.
        state = self.senders.get(sender)
        if state is None or part not in state.streams:
            return
        state.streams[part].held.append(signal)
        self.held += 1
        self._advance(sender)

    def end(self, stream: int, reset: bool = False) -> None:
        """A stream has ended; with `reset` not cleanly."""
        if stream in self._streams:
            sender, part = self._streams.pop(stream)
            state = self.senders.get(sender)
            if state is not None and part in state.streams:
                state.streams[part].over = True
                state.broken |= reset
                self._advance(sender)

    def _state(self, sender: Sender) -> SenderState | None:
        """The entry of a sender; None if it is a connection that was destroyed."""
        state = self.senders.get(sender)
        # Destroyed connections have no entry, so known senders need no look-up.
        if state is None and sender not in self._destroyed_ids:
            state = self.senders[sender] = SenderState()
        return state

    def _present(self, connections: Iterable[ConnectionInfo]) -> None:
        """Connections that are present. After a gap some of them are known already."""
        for connection in connections:
            self._created(connection)

    def _retain_listed(self, listed: set[str]) -> None:
        """Connections that are known and were not listed have left."""
        left = [
            (sender, state.destroyed)
            for sender, state in self.senders.items()
            if state.created and isinstance(sender, str) and sender not in listed
        ]
        # A fixed order; the gateway gives none.
        for id, destroyed in sorted(left, key=lambda it: it[0]):
            self._destroyed(id, destroyed[0] if destroyed else DisconnectReason.NETWORK_DISCONNECTED)
        # A connection that joined and left meanwhile is not listed. A cursor for it would request
        # its last signals.
        if self._presence:
            for sender in list(self.senders):
                if isinstance(sender, str) and sender != self._me and sender not in listed:
                    self._forget(sender)

    def _created(self, connection: ConnectionInfo) -> None:
        """A connection is in the session. The application is told once, and never after its end."""
        state = self._state(connection.id)
        if state is None or state.created:
            return
        state.created = True
        self._out.append(ConnectionCreated(connection))
        self._advance(connection.id)

    def _leaves(self, id: str, reason: DisconnectReason | UnknownCode, last_seq: int) -> None:
        """A connection has left the session, after its signal `last_seq`."""
        state = self.senders.get(id)
        if state is not None and state.created:
            state.destroyed = (reason, last_seq)
            self._advance(id)
        else:
            # The application does not know it, so nothing waits for its end.
            self._forget(id)

    def _advance(self, sender: Sender) -> None:
        """Emits the events of this sender that have become due."""
        state = self.senders.get(sender)
        if state is None or not (state.created or self._needs_no_announcement(sender)):
            return
        for part, lane in sorted(state.streams.items(), key=lambda it: (it[1].after, it[0])):
            if lane.after > state.delivered_seq and not state.broken:
                break
            self.held -= len(lane.held)
            while lane.held:
                self._deliver(state, sender, lane.held.popleft())
            if lane.over:
                del state.streams[part]
        if isinstance(sender, str) and state.destroyed is not None:
            reason, last_seq = state.destroyed
            open_or_held = any(not lane.over or lane.held for lane in state.streams.values())
            if state.delivered_seq >= last_seq or state.broken and not open_or_held:
                self._destroyed(sender, reason)

    def _needs_no_announcement(self, sender: Sender) -> bool:
        return not self._presence or isinstance(sender, Server) or sender == self._me

    def _deliver(self, state: SenderState, sender: Sender, signal: StreamSignal) -> None:
        state.delivered_seq = signal.seq
        # An empty type is the same as none, and the gateway passes it on as it came.
        self._out.append(Signal(sender, signal.seq, signal.type or None, signal.data))

    def _destroyed(self, id: str, reason: DisconnectReason | UnknownCode) -> None:
        # Without a cursor in the next resume, the gateway takes it that all signals of this
        # connection were delivered.
        self._forget(id)
        self._destroyed_ids[id] = None
        if len(self._destroyed_ids) > DESTROYED_IDS:
            del self._destroyed_ids[next(iter(self._destroyed_ids))]
        self._out.append(ConnectionDestroyed(id, reason))

    def _forget(self, sender: Sender) -> None:
        state = self.senders.pop(sender, SenderState())
        self.held -= sum(len(lane.held) for lane in state.streams.values())
