"""Rooms: a session that an SDK created, and clients with tokens of that SDK."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

from link import Link
from sdks import Client
from stage import QUIC, WEBSOCKET_JSON, Carrier
from vendor import Vendor

# One of each kind, as the guarantees of an SDK must not depend on its clients' transport.
CARRIERS = (QUIC, WEBSOCKET_JSON)


class Room:
    """`creator` created the session; `client` mints the tokens and calls the gateway."""

    def __init__(self, vendor: Vendor, client: Client, creator: Client, session: str) -> None:
        self.client = client
        self.session = session
        self._vendor = vendor
        self._creator = creator
        self._links: list[Link] = []
        self._others: list[Self] = []

    @classmethod
    async def created(cls, vendor: Vendor, client: Client, creator: Client) -> Self:
        session = await asyncio.to_thread(creator.create_session)
        return cls(vendor, client, creator, session)

    async def elsewhere(self) -> Self:
        """Another room of the same SDK, closed with this one."""
        other = await self.created(self._vendor, self.client, self._creator)
        self._others.append(other)
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # All at once, as closing a QUIC connection waits for late packets.
        links = [link for room in (self, *self._others) for link in room._links]
        await asyncio.gather(*(link.close() for link in links))

    def next_gateway(self) -> Vendor:
        """The gateway of the next link."""
        return self._vendor

    async def join(self, carrier: Carrier = QUIC, resume: bool = False, **token: Any) -> Link:
        """A client that has joined with a token of the SDK."""
        return await self.admit(await self.minted(**token), carrier, resume)

    async def admit(self, token: str, carrier: Carrier = QUIC, resume: bool = False) -> Link:
        """A client that has joined with this token."""
        gateway = self.next_gateway()
        link = await carrier.connect(gateway, token, presence=True, resume=resume)
        self._links.append(link)
        return link

    async def resume(self, link: Link, carrier: Carrier = QUIC) -> Link:
        """The same connection on another link."""
        link = await carrier.resume(self.next_gateway(), link)
        self._links.append(link)
        return link

    async def minted(self, by: Client | None = None, **token: Any) -> str:
        return await asyncio.to_thread((by or self.client).token, self.session, **token)

    async def signal(
        self, data: str | None = None, type: str | None = None, to: Link | None = None
    ) -> None:
        given = {"type": type, "data": data}
        payload = {name: value for name, value in given.items() if value is not None}
        recipient = to and to.me
        await asyncio.to_thread(self.client.signal, self.session, payload, recipient)

    async def force_disconnect(self, link: Link) -> None:
        await asyncio.to_thread(self.client.force_disconnect, self.session, link.me)


Play = Callable[[Room], Awaitable[None]]


def perform(vendor: Vendor, client: Client, creator: Client, play: Play) -> None:
    """Runs a scenario in a session of its own."""

    async def in_a_room() -> None:
        async with await Room.created(vendor, client, creator) as room:
            await play(room)

    asyncio.run(in_a_room())
