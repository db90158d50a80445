"""The state of a test client's connection, over all of its links: the SDK's order of events and its
send queue, and checks that the gateway keeps to the protocol when a connection is resumed.
"""

from collections import Counter
from typing import Any

from signalbox.codes import CloseReason, DisconnectReason
from signalbox.event import (
    ConnectionCreated,
    ConnectionDestroyed,
    Event,
    Gap,
    Reconnected,
    Signal,
)
from signalbox.messages import (
    GATEWAY,
    RESUME,
    Accepted,
    Created,
    Cursor,
    Destroyed,
    GapMessage,
    GatewayMessage,
    Lost,
    Present,
    ReceivedSignal,
    Resumed,
    SendSignal,
    Ticket,
    Welcome,
)
from signalbox.order import Order, ResumePosition, SenderState
from signalbox.postcard import Malformed, Server
from signalbox.send_queue import CAPACITY, QueuedSignal, SendQueue

Fields = dict[str, Any]
# A message of the gateway: its kind and its fields in the JSON form. A server is a `Server`.
Told = tuple[str, Fields]

# The servers of a gateway with the default name.
SERVERS = Server("gateway")


def told(message: GatewayMessage) -> Told:
    ((kind, fields),) = GATEWAY.to_json(message).items()
    if isinstance(message, ReceivedSignal):
        fields["from"] = message.sender
    if isinstance(message, GapMessage):
        for lost, fields_of_lost in zip(message.lost, fields["lost"]):
            fields_of_lost["from"] = lost.sender
    return kind, fields


class Connection:
    def __init__(self, presence: bool = True) -> None:
        self.presence = presence
        self.welcome: Fields | None = None
        # The newest ticket that has arrived.
        self.ticket: str | None = None
        # How many times the client has sent `resume` with each ticket.
        self.attempts: Counter[str] = Counter()
        self.order: Order | None = None
        self.queue = SendQueue(confirms=True)
        self.sent = 0
        self._last_seqs: dict[str, int] = {}
        # `welcome` or `resumed` has been read on the current link.
        self._live = False
        # Messages ahead of `resumed`, which take effect with it.
        self._ahead: list[GatewayMessage] = []

    @property
    def me(self) -> str | None:
        return self.welcome and self.welcome["connection"]["id"]

    @property
    def accepted(self) -> int:
        return self.queue.accepted_signals

    @property
    def unconfirmed(self) -> list[SendSignal]:
        return [it.queued.signal for it in self.queue.unconfirmed]

    @property
    def events(self) -> int:
        return self.order.events

    @property
    def named(self) -> set[str | Server]:
        """Connections that have been announced and have not left."""
        return {sender for sender, state in self.order.senders.items() if state.created}

    @property
    def cursors(self) -> dict[str | Server, int]:
        senders = self.order.senders.items()
        return {sender: state.delivered_seq for sender, state in senders if state.delivered_seq}

    def pretend_received(self, cursors: list[Cursor]) -> None:
        """Changes the state as if the client had received these signals."""
        for cursor in cursors:
            self.order.senders[cursor.sender] = SenderState(delivered_seq=cursor.seq)

    def pretend_held(self, destroyed: Fields, received: int) -> None:
        """Changes the state as if this end were held until the connection's last signals arrive."""
        held = DisconnectReason(destroyed["reason"]), destroyed["lastSeq"]
        self._last_seqs[destroyed["id"]] = destroyed["lastSeq"]
        self.order.senders[destroyed["id"]] = SenderState(
            created=True, delivered_seq=received, destroyed=held
        )

    def send(self, signal: SendSignal) -> int:
        """Queues a signal and gives it its number."""
        self.sent += 1
        self.queue.enqueue(QueuedSignal(self.sent, signal))
        return self.sent

    def read(self, message: GatewayMessage) -> list[Told]:
        """Takes a message of the control stream. Returns what the application is told."""
        match message:
            case Welcome():
                self._live = True
                self.order = Order(message, self.presence)
                self.order.next_event()
                if RESUME not in message.features:
                    self.queue = SendQueue(confirms=False)
                ((_, self.welcome),) = GATEWAY.to_json(message).items()
            case Ticket(ticket):
                self.ticket = ticket
            case GapMessage() if self._live:
                self.order.control(message)
                return self._due()
            case GapMessage():
                self._ahead.append(message)
                return []
            case Present(connections):
                if self._ahead:
                    self._ahead.append(message)
                    return []
                self.order.control(message)
                named = {connection.id for connection in connections}
                # The test is told of them by `present`.
                return [told(message), *self._due(except_created=named)]
            case Resumed():
                return self._resumed(message)
            case Accepted(signals):
                self._check_accepted(signals, at_least=self.accepted + 1)
                self.queue.accepted(signals)
            case Created() | ReceivedSignal():
                self.order.control(message)
                return self._due()
            case Destroyed(id, _, last_seq):
                self._last_seqs[id] = last_seq
                self.order.control(message)
                return self._due()
        return [told(message), *self._due()]

    def _due(self, except_created: set[str] = set()) -> list[Told]:
        """The events that have become due."""
        due: list[Told] = []
        while (event := self.order and self.order.next_event()) is not None:
            if isinstance(event, ConnectionCreated) and event.connection.id in except_created:
                continue
            if not isinstance(event, Reconnected):
                due.append(self._told_by(event))
        return due

    def stream_events(self) -> list[Told]:
        """The events that have become due on senders' streams."""
        return self._due()

    def _told_by(self, event: Event) -> Told:
        match event:
            case ConnectionCreated(connection):
                return told(Created(connection))
            case ConnectionDestroyed(id, reason):
                return told(Destroyed(id, reason, self._last_seqs.pop(id, 0)))
            case Gap(lost, presence):
                return told(GapMessage(lost, presence, 0))
            case Signal(sender, seq, type, data):
                return told(ReceivedSignal(sender, seq, type, data))
        raise AssertionError(f"no message stands for {event}")

    def link_lost(self) -> ResumePosition:
        """The link is lost. Messages that came ahead of a missing `resumed` have no effect."""
        self._live = False
        self._ahead.clear()
        self.queue.link_lost()
        position = self.order.link_lost(self.accepted)
        assert position is not None
        return position

    def _resumed(self, resumed: Resumed) -> list[Told]:
        self._live = True
        ahead, self._ahead = self._ahead, []
        gaps = [message for message in ahead if isinstance(message, GapMessage)]
        listed = [message for message in ahead if isinstance(message, Present)]
        present = [connection for message in listed for connection in message.connections]
        lost = [lost for gap in gaps for lost in gap.lost]
        self._check_gaps(gaps, lost, len({connection.id for connection in present}))
        self._check_accepted(resumed.signals, at_least=self.accepted)
        self.ticket = resumed.ticket.ticket
        presence = bool(gaps) and gaps[-1].presence
        gap = Gap(tuple(lost), presence and self.presence) if gaps else None
        self.order.resume(resumed.missed, gap, present)
        self.queue.resumed(resumed.signals)
        return [*map(told, gaps), told(resumed), *self._due()]

    def _check_gaps(self, gaps: list[GapMessage], lost: list[Lost], present: int) -> None:
        cursors = self.cursors
        for each in lost:
            if each.after != cursors.get(each.sender, 0):
                raise Malformed(f"{each} does not begin at the cursor")
        if any(gap.presence for gap in gaps[:-1]):
            raise Malformed("a gap of presence that is not the last")
        if present != sum(gap.present for gap in gaps):
            raise Malformed(f"{present} connections are listed after {gaps}")

    def _check_accepted(self, signals: int, at_least: int) -> None:
        if not at_least <= signals <= self.sent:
            raise Malformed(f"{signals} signals accepted, of {self.sent}, after {self.accepted}")


def ended_as(reason: CloseReason | None, said_goodbye: bool) -> CloseReason:
    """The reason that the end of a transport stands for, if there was no `bye`."""
    clean = reason is CloseReason.CLIENT_DISCONNECTED
    if reason is None or clean and not said_goodbye:
        return CloseReason.NETWORK_DISCONNECTED
    return reason
