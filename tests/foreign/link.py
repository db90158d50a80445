"""Operations of a test on a client, over every transport.

The promise to applications is the same on QUIC and on WebSocket, so the tests of it are written
once, against this class; `quic_client` and `ws_client` supply the carriers.

What the gateway says comes out of one queue, in the order in which an application may see it. After
`bye` the client goes on reading and leaves the carrier to the gateway, so that a test can see how
that ends; only `goodbye` and `close` close from here. Nor does it check what it sends, as a client
for users should: what the gateway refuses is for the gateway to say.
"""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple, Self

from connection import CURSORS, Connection
from postcard import Malformed

# Every wait for the gateway. Far more than anything takes but the wait for a hello, 5 s by default.
DEADLINE_S = 15

AGENT = "signalbox-foreign-test"


class Event(NamedTuple):
    """A message of the gateway in its JSON form; or `ended`, the last event of every link."""

    kind: str
    fields: dict[str, Any]


class Ended(Exception):
    """The link is over, and with it what a test waited for."""


class Link(ABC):
    def __init__(self) -> None:
        # These two go on to the next link, if there is one.
        self.connection = Connection()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        # What has come of these; each comes at most once, and as an event too.
        self.bye: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None
        # This link carries a connection: `welcome` or `resumed` has come.
        self._carries = False
        self._resuming = False
        self._answered = asyncio.Event()
        self._lost = False
        self._said_goodbye = False
        self._nothing_follows = asyncio.Event()

    @property
    def welcome(self) -> dict[str, Any] | None:
        return self.connection.welcome

    @property
    def me(self) -> str | None:
        """The id of one's own connection."""
        return self.connection.me

    @classmethod
    @abstractmethod
    async def open(cls, host: str, port: int, ca: Path, **options: Any) -> Self:
        """The carrier alone, its peer verified. Nothing of the protocol has been said on it."""

    @abstractmethod
    async def send(self, kind: str, fields: dict[str, Any]) -> None:
        """Writes a message to where its kind belongs."""

    @abstractmethod
    async def close(self) -> None:
        """Closes the carrier in the way that says goodbye, and waits until it is closed."""

    @abstractmethod
    def cut(self) -> None:
        """The network is gone: not a byte more, in either direction."""

    @abstractmethod
    async def abandon(self) -> None:
        """Closes the carrier so that it does not say goodbye."""

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
        """Says hello and returns what `welcome` says. After a refusal it raises `Ended`."""
        self.connection.presence = presence
        wanted = {"presence": presence, "resume": resume}
        features = [name for name, is_wanted in wanted.items() if is_wanted]
        hello = {"token": token, "features": features, "streams": streams, "agent": AGENT}
        await self.send("hello", hello)
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
        """Takes the connection of `old` on: both what it knows and its events that were not seen.

        Without `confirm` it leaves off where the answer has come. After a refusal it raises `Ended`.
        """
        await self.ask_for(old, streams, ticket, cursors_each)
        async with asyncio.timeout(DEADLINE_S):
            await self._answered.wait()
        if not self._carries:
            raise Ended(f"while resuming: {self.bye or self.ended}")
        if confirm:
            await self.send("ticketStored", {})
            for signal in list(self.connection.unconfirmed.values()):
                await self.send("signal", signal)

    async def ask_for(
        self,
        old: "Link",
        streams: str = "perSender",
        ticket: str | None = None,
        cursors_each: int = CURSORS,
    ) -> None:
        """Says `resume` for the connection of `old`, and does not wait for the answer."""
        self.connection, self.events = old.hand_over()
        await self.send_resume(ticket or self.connection.ticket, streams, cursors_each)

    async def send_resume(
        self, ticket: str, streams: str = "perSender", cursors_each: int = CURSORS
    ) -> None:
        """Says `resume` for what is known, in as many messages as it takes."""
        self._resuming = True
        self.connection.attempts[ticket] += 1
        cursors = self.connection.all_cursors()
        starts = range(0, max(len(cursors), 1), cursors_each)
        for start in starts:
            part = {
                "cursors": cursors[start : start + cursors_each],
                "more": start != starts[-1],
            }
            if start == 0:
                about = {
                    "ticket": ticket,
                    "attempt": self.connection.attempts[ticket],
                    "streams": streams,
                    "events": self.connection.events,
                }
                await self.send("resume", {**about, **part, "agent": AGENT})
            else:
                await self.send("cursors", part)

    def hand_over(self) -> tuple[Connection, asyncio.Queue[Event]]:
        """Gives the connection away. Whatever still comes here is nobody's, but for how it ends."""
        self._lost = True
        connection, events = self.connection, self.events
        connection.link_lost()
        self.connection, self.events = Connection(), asyncio.Queue()
        return connection, events

    async def signal(
        self, type: str | None = None, data: str | None = None, to: str | None = None
    ) -> int:
        """Sends a signal and returns its number. Where there is no link it waits for the next."""
        signal = {"to": to, "type": type, "data": data}
        number = self.connection.send(signal)
        if not self._lost:
            await self.send("signal", signal)
        return number

    async def force_disconnect(self, connection: str) -> None:
        await self.send("forceDisconnect", {"id": connection})

    async def goodbye(self) -> None:
        """Leaves: says so, reads until the gateway has nothing more to say, and closes."""
        self._said_goodbye = True
        await self.send("goodbye", {"signals": self.connection.sent})
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

    def _read(self, kind: str, fields: dict[str, Any]) -> None:
        """Takes a message that is not on a sender's stream."""
        answers = kind in ("welcome", "resumed")
        ahead = ("gap", "present") if self._resuming else ()
        if not self._carries and not answers and kind not in ("bye", *ahead):
            raise Malformed(f"{kind} before any answer")
        self._carries |= answers
        for event in self.connection.read(kind, fields):
            self._order(*event)
        if answers or kind == "bye":
            self._answered.set()

    def _order(self, kind: str, fields: dict[str, Any]) -> None:
        """All is on one stream, so what comes may be told at once, and what was held with it."""
        self._surface(kind, fields)
        for destroyed in self.connection.due():
            self._surface("connectionDestroyed", destroyed)

    def _surface(self, kind: str, fields: dict[str, Any]) -> None:
        """Hands an event to the application."""
        if kind in ("bye", "ended"):
            setattr(self, kind, fields)
        self.connection.told(kind, fields)
        self.events.put_nowait(Event(kind, fields))

    def _over(self, code: int | None, reason: str | None, message: str) -> None:
        """The carrier has ended: its close code, the reason that it stands for, and its words."""
        if self.bye is not None:
            reason = self.bye["reason"]
        ended = {"reason": reason or "networkDisconnected", "code": code, "message": message}
        if self._lost and self.bye is None:
            # Nothing that the application should hear of: it may come back.
            self.ended = ended
        else:
            self._surface("ended", ended)
        self._nothing_follows.set()
        self._answered.set()
