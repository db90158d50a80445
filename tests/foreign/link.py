"""Operations of a test on a client, over every transport.

The guarantees for applications are the same on QUIC and on WebSocket, so their tests are written
once, against this class. Messages travel on the transports of the Python SDK, and its order and its
send queue decide what follows from them; but a test sends and receives single messages, and may
break the protocol. `quic_client` and `ws_client` open the transports.

All messages of the gateway come out of one queue, in the order in which an application may see
their contents. After `bye` the client goes on reading and leaves closing to the gateway, so that a
test can see the end; only `goodbye` and `close` close from here. The client does not check what it
sends: the gateway must reject it.
"""

import asyncio
from abc import abstractmethod
from pathlib import Path
from typing import Any, NamedTuple, Self

from connection import Connection, ended_as
from signalbox import CloseReason, Streams
from signalbox.link.transport import (
    ControlMessage,
    StreamEnded,
    StreamMessage,
    StreamOpened,
    Transport,
    TransportClosed,
)
from signalbox.messages import (
    CLIENT,
    CURSORS,
    PRESENCE,
    RESUME,
    Bye,
    Cursors,
    Error,
    GapMessage,
    GatewayMessage,
    Goodbye,
    Hello,
    Present,
    Resume,
    Resumed,
    SendSignal,
    Welcome,
)
from signalbox.order import ResumePosition
from signalbox.postcard import Malformed

# Every wait for the gateway. Far more than anything takes but the wait for a hello, 5 s by default.
DEADLINE_S = 15

AGENT = "signalbox-foreign-test"
CONTROL_STREAM = 0
# More messages than a test ever queues.
ALL = 1_000_000


class Event(NamedTuple):
    """A message of the gateway in its JSON form; or `ended`, the last event of every link."""

    kind: str
    fields: dict[str, Any]


class Ended(Exception):
    """The link has ended before the event that a test waited for."""


class Link:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        # These two go on to the next link, if there is one.
        self.connection = Connection()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        # The fields of these events, once they have come.
        self.bye: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None
        # How many streams continued where another one of the same sender had ended.
        self.successors = 0
        # `welcome` or `resumed` has come, so this link carries a connection.
        self._carries = False
        self._resuming = False
        self._answered = asyncio.Event()
        # Arrivals on senders' streams ahead of the answer.
        self._early: list[StreamOpened | StreamMessage | StreamEnded] = []
        self._lost = False
        self._handed_over = False
        self._said_goodbye = False
        self._nothing_follows = asyncio.Event()
        self._reading = asyncio.create_task(self._read_all())

    @property
    def welcome(self) -> dict[str, Any] | None:
        return self.connection.welcome

    @property
    def me(self) -> str | None:
        """The id of the client's own connection."""
        return self.connection.me

    @classmethod
    @abstractmethod
    async def open(cls, host: str, port: int, ca: Path, **options: Any) -> Self:
        """The transport alone, its peer verified. No message has been sent on it."""

    @abstractmethod
    async def abandon(self) -> None:
        """Closes the transport in a way that is not a goodbye."""

    @abstractmethod
    def cut(self) -> None:
        """Ends the transport as if the network had failed: no byte more, in either direction."""

    async def close(self) -> None:
        """Closes the transport in the way that is a goodbye, and waits until it is closed."""
        await self.transport.close(CloseReason.CLIENT_DISCONNECTED)

    async def send(self, kind: str, fields: dict[str, Any]) -> None:
        """Writes a message in its JSON form to where its kind belongs."""
        await self.transport.send([CLIENT.from_json({kind: fields})])

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        ca: Path,
        token: str,
        presence: bool = True,
        streams: str = "perSender",
        resume: bool = False,
        **options: Any,
    ) -> Self:
        """A link that has been welcomed."""
        link = await cls.open(host, port, ca, **options)
        try:
            await link.hello(token, presence, streams, resume)
        except BaseException:
            await link.close()
            raise
        return link

    async def hello(
        self, token: str, presence: bool = True, streams: str = "perSender", resume: bool = False
    ) -> dict[str, Any]:
        """Says hello and returns the fields of `welcome`. After a refusal it raises `Ended`."""
        self.connection.presence = presence
        wanted = {PRESENCE: presence, RESUME: resume}
        features = tuple(name for name, is_wanted in wanted.items() if is_wanted)
        await self.transport.send([Hello(token, features, Streams(streams), AGENT)])
        return await self.next("welcome")

    async def first_ticket(self) -> str:
        """The ticket, after a hello with `resume`. Events of other kinds before it are dropped."""
        while (event := await self.event()).kind != "ticket":
            assert event.kind not in ("error", "ended"), event
        return event.fields["ticket"]

    async def resume(
        self,
        old: "Link",
        streams: str = "perSender",
        confirm: bool = True,
        ticket: str | None = None,
        cursors_each: int = CURSORS,
    ) -> None:
        """Resumes the connection of `old`: takes its state and its events that were not read.

        Without `confirm` it stops once the answer has come. After a refusal it raises `Ended`.
        """
        await self.ask_for(old, streams, ticket, cursors_each)
        async with asyncio.timeout(DEADLINE_S):
            await self._answered.wait()
        if not self._carries:
            raise Ended(f"while resuming: {self.bye or self.ended}")
        if confirm:
            await self._write_queued()

    async def ask_for(
        self,
        old: "Link",
        streams: str = "perSender",
        ticket: str | None = None,
        cursors_each: int = CURSORS,
    ) -> None:
        """Sends `resume` for the connection of `old`, and does not wait for the answer."""
        self.connection, self.events, position = old.hand_over()
        ticket = ticket or self.connection.ticket
        await self._send_resume(ticket, streams, position, cursors_each)

    async def send_resume(self, ticket: str, streams: str = "perSender") -> None:
        """Sends a `resume` without any position."""
        await self._send_resume(ticket, streams, ResumePosition(0, 0, ()), CURSORS)

    async def _send_resume(
        self, ticket: str, streams: str, position: ResumePosition, cursors_each: int
    ) -> None:
        """Sends `resume` in as many messages as the cursors take."""
        self._resuming = True
        self.connection.attempts[ticket] += 1
        attempt = self.connection.attempts[ticket]
        starts = range(0, max(len(position.cursors), 1), cursors_each)
        for start in starts:
            part, more = position.cursors[start : start + cursors_each], start != starts[-1]
            if start == 0:
                resume = Resume(
                    ticket,
                    attempt,
                    Streams(streams),
                    position.events,
                    position.accepted,
                    part,
                    more,
                    AGENT,
                )
                await self.transport.send([resume])
            else:
                await self.transport.send([Cursors(part, more)])

    def hand_over(self) -> tuple[Connection, asyncio.Queue[Event], ResumePosition]:
        """Gives the connection away. Later arrivals on this link are ignored, except its end."""
        self._lost = self._handed_over = True
        connection, events = self.connection, self.events
        position = connection.link_lost()
        self.connection, self.events = Connection(), asyncio.Queue()
        return connection, events, position

    async def signal(
        self, type: str | None = None, data: str | None = None, to: str | None = None
    ) -> int:
        """Sends a signal and returns its number. Without a link it waits for the next one."""
        number = self.connection.send(SendSignal(to, type, data))
        if not self._lost:
            await self._write_queued()
        return number

    async def _write_queued(self) -> None:
        await self.transport.send(self.connection.queue.write(ALL))

    async def force_disconnect(self, connection: str) -> None:
        await self.send("forceDisconnect", {"id": connection})

    async def goodbye(self) -> None:
        """Leaves: says goodbye, reads until the gateway has sent everything, and closes."""
        self._said_goodbye = True
        await self.transport.send([Goodbye(self.connection.sent)])
        async with asyncio.timeout(DEADLINE_S):
            await self._nothing_follows.wait()
        await self.close()

    async def event(self) -> Event:
        async with asyncio.timeout(DEADLINE_S):
            return await self.events.get()

    async def next(self, kind: str) -> dict[str, Any]:
        """The next event of this kind. Events of other kinds before it are dropped."""
        while (event := await self.event()).kind != kind:
            if event.kind == "ended":
                raise Ended(f"while waiting for {kind}: {event.fields}")
        return event.fields

    async def _read_all(self) -> None:
        """Reads everything that arrives, regardless of the application."""
        while not isinstance(arrival := await self.transport.receive(), TransportClosed):
            try:
                self._arrived(arrival)
            except Malformed as fault:
                await self.transport.close(CloseReason.PROTOCOL_ERROR)
                self._over(TransportClosed(CloseReason.PROTOCOL_ERROR, str(fault)))
                return
        self._over(arrival)

    def _arrived(
        self, arrival: ControlMessage | StreamOpened | StreamMessage | StreamEnded
    ) -> None:
        match arrival:
            case ControlMessage(Bye() as bye):
                self._read_bye(bye)
            case StreamEnded(stream, _) if stream == CONTROL_STREAM:
                self._nothing_follows.set()
            case _ if self._handed_over:
                # It comes again on the next link.
                pass
            case ControlMessage(message):
                self._read(message)
            case _ if not self._carries:
                self._early.append(arrival)
            case _:
                self._stream(arrival)

    def _read_bye(self, bye: Bye) -> None:
        for event in self.connection.read(bye):
            self._surface(*event)
        self._answered.set()

    def _read(self, message: GatewayMessage) -> None:
        answers = isinstance(message, (Welcome, Resumed))
        ahead = isinstance(message, (GapMessage, Present, Error)) and self._resuming
        if not self._carries and not answers and not ahead:
            raise Malformed(f"{message} before any answer")
        self._carries |= answers
        for event in self.connection.read(message):
            self._surface(*event)
        if answers:
            self._answered.set()
            early, self._early = self._early, []
            for arrival in early:
                self._stream(arrival)

    def _stream(self, arrival: StreamOpened | StreamMessage | StreamEnded) -> None:
        order = self.connection.order
        match arrival:
            case StreamOpened(_, None):
                pass
            case StreamOpened(stream, header):
                self.successors += header.after > 0
                order.open(stream, header.sender, header.after)
            case StreamMessage(stream, signal):
                order.signal(stream, signal)
            case StreamEnded(stream, reset):
                order.end(stream, reset)
        for event in self.connection.stream_events():
            self._surface(*event)

    def _surface(self, kind: str, fields: dict[str, Any]) -> None:
        """Hands an event to the test."""
        if kind in ("bye", "ended"):
            setattr(self, kind, fields)
        self.events.put_nowait(Event(kind, fields))

    def _over(self, closed: TransportClosed) -> None:
        """The transport has ended: its close code, the reason that it stands for, and its text."""
        reason = str(ended_as(closed.reason, self._said_goodbye))
        if self.bye is not None:
            reason = self.bye["reason"]
        ended = {"reason": reason, "code": closed.code, "message": closed.message}
        if self._lost and self.bye is None:
            # The connection may be resumed, so the application is not told.
            self.ended = ended
        else:
            self._surface("ended", ended)
        self._nothing_follows.set()
        self._answered.set()
