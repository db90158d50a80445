"""What a test can do with a client, whatever carries it.

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
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        # What has come of these; each comes at most once, and as an event too.
        self.welcome: dict[str, Any] | None = None
        self.bye: dict[str, Any] | None = None
        self.ended: dict[str, Any] | None = None
        self.signals_sent = 0
        self._said_goodbye = False
        self._nothing_follows = asyncio.Event()

    @property
    def me(self) -> str | None:
        """The id of one's own connection."""
        return self.welcome and self.welcome["connection"]["id"]

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

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        ca: Path,
        token: str,
        presence: bool = True,
        streams: str = "perSender",
        **options: Any,
    ) -> Self:
        """A link that has been welcomed."""
        link = await cls.open(host, port, ca, **options)
        try:
            await link.hello(token, presence, streams)
        except BaseException:
            await link.close()
            raise
        return link

    async def hello(
        self, token: str, presence: bool = True, streams: str = "perSender"
    ) -> dict[str, Any]:
        """Says hello and returns what `welcome` says. After a refusal it raises `Ended`."""
        hello = {"token": token, "presence": presence, "streams": streams, "agent": AGENT}
        await self.send("hello", hello)
        return await self.next("welcome")

    async def signal(
        self, type: str | None = None, data: str | None = None, to: str | None = None
    ) -> int:
        """Sends a signal and returns its sequence number."""
        self.signals_sent += 1
        await self.send("signal", {"to": to, "type": type, "data": data})
        return self.signals_sent

    async def force_disconnect(self, connection: str) -> None:
        await self.send("forceDisconnect", {"id": connection})

    async def goodbye(self) -> None:
        """Leaves: says so, reads until the gateway has nothing more to say, and closes."""
        self._said_goodbye = True
        await self.send("goodbye", {"signals": self.signals_sent})
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

    def _surface(self, kind: str, fields: dict[str, Any]) -> None:
        """Hands an event to the application."""
        if kind in ("welcome", "bye", "ended"):
            setattr(self, kind, fields)
        self.events.put_nowait(Event(kind, fields))

    def _over(self, code: int | None, reason: str | None, message: str) -> None:
        """The carrier has ended: its close code, the reason that it stands for, and its words."""
        if self.bye is not None:
            reason = self.bye["reason"]
        ended = {"reason": reason or "networkDisconnected", "code": code, "message": message}
        self._surface("ended", ended)
        self._nothing_follows.set()
