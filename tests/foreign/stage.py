"""The stage of a scenario: carriers, and a session with its links."""

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from gateways import Address, Gateway, mint_session, mint_token
from link import Link
from quic_client import QuicLink
from signalbox import CloseReason
from signalbox.codes import websocket_code
from signalbox.link.websocket import JSON, POSTCARD
from ws_client import WebSocketLink


@dataclass(frozen=True)
class Carrier:
    """A transport with its encoding or mode, and the differences that come with it."""

    name: str
    link: type[Link]
    address: Callable[[Gateway], Address]
    streams: str = "perSender"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    # Whether it resumes with its first packet, if it has a TLS session ticket.
    early: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def tells_last_seq(self) -> bool:
        """Whether `connectionDestroyed` names the last signal of the connection."""
        return self.link is QuicLink and self.streams == "perSender"

    def close_code(self, reason: str) -> int:
        code = CloseReason(reason)
        return code.number if self.link is QuicLink else websocket_code(code)

    async def open(self, gateway: Gateway) -> Link:
        """A link on which no message has been sent."""
        address = self.address(gateway)
        return await self.link.open(address.host, address.port, gateway.ca, **self.options)

    async def connect(
        self, gateway: Gateway, token: str, presence: bool, resume: bool = False
    ) -> Link:
        address = self.address(gateway)
        return await self.link.connect(
            *(address.host, address.port, gateway.ca, token, presence, self.streams, resume),
            **self.options,
        )

    async def resume(self, gateway: Gateway, old: Link, **options: Any) -> Link:
        carrier, early = self, bool(self.early and old.tickets)
        if early:
            ticket = {"ticket": old.tickets.pop()}
            carrier = dataclasses.replace(self, options=self.options | ticket)
        link = await carrier.open(gateway)
        try:
            await link.resume(old, self.streams, **options)
        except BaseException:
            await link.close()
            raise
        assert not early or link.was_early
        return link


_on_quic = functools.partial(Carrier, link=QuicLink, address=lambda gateway: gateway.quic)
_on_websocket = functools.partial(Carrier, link=WebSocketLink, address=lambda gateway: gateway.https)

QUIC = _on_quic("quic-per-sender")
QUIC_EARLY = _on_quic("quic-early", early=True)
QUIC_SINGLE = _on_quic("quic-single", streams="single")
QUIC_FEW_STREAMS = _on_quic("quic-few-streams", options={"few_streams": True})
WEBSOCKET_JSON = _on_websocket("websocket-json", options={"encoding": JSON})
WEBSOCKET_POSTCARD = _on_websocket("websocket-postcard", options={"encoding": POSTCARD})


class Stage:
    """A session of its own, and the links of a scenario, which are closed at its end."""

    def __init__(self, gateway: Gateway, carrier: Carrier) -> None:
        self.gateway = gateway
        self.carrier = carrier
        self.other_carrier = WEBSOCKET_JSON if carrier.link is QuicLink else QUIC
        self.session = mint_session(gateway)
        self._links = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._links.aclose()

    def next_gateway(self) -> Gateway:
        """The gateway of the next link."""
        return self.gateway

    async def open(self, carrier: Carrier | None = None) -> Link:
        link = await (carrier or self.carrier).open(self.next_gateway())
        self._links.push_async_callback(link.close)
        return link

    async def join(
        self,
        name: str,
        role: str = "publisher",
        carrier: Carrier | None = None,
        presence: bool = True,
        resume: bool = False,
    ) -> Link:
        """A client that has joined. Its token is minted in a thread: other links stay alive."""
        token = await asyncio.to_thread(mint_token, self.gateway, self.session, role, name)
        gateway = self.next_gateway()
        link = await (carrier or self.carrier).connect(gateway, token, presence, resume)
        self._links.push_async_callback(link.close)
        return link

    async def kept(self, name: str, role: str = "publisher", presence: bool = True) -> Link:
        link = await self.join(name, role=role, presence=presence, resume=True)
        await link.first_ticket()
        return link

    async def resume(self, old: Link, carrier: Carrier | None = None, **options: Any) -> Link:
        """Resumes the connection of `old` on another link, with the events that were not read."""
        link = await (carrier or self.carrier).resume(self.next_gateway(), old, **options)
        self._links.push_async_callback(link.close)
        return link

    def destroyed(self, who: Link, reason: str, last_seq: int, carrier: Carrier) -> dict[str, Any]:
        """The fields of `connectionDestroyed` for a client on `carrier` when `who` has left."""
        waits_for = last_seq if carrier.tells_last_seq else 0
        return {"id": who.me, "reason": reason, "lastSeq": waits_for}


Scenario = Callable[[Stage], Awaitable[None]]


def perform(scenario: Scenario, gateway: Gateway, carrier: Carrier) -> None:
    async def on_stage() -> None:
        async with Stage(gateway, carrier) as stage:
            await scenario(stage)

    asyncio.run(on_stage())


def signal(sender: Link, seq: int, type: str | None, data: str | None) -> dict[str, Any]:
    return {"from": sender.me, "seq": seq, "type": type, "data": data}


async def ends_with(stage: Stage, link: Link, reason: str) -> None:
    """The gateway sends `bye` with this reason, and closes the carrier with its code."""
    if link.ended is None:
        await link.next("ended")
    assert link.bye is not None
    assert link.bye["reason"] == reason
    assert (link.ended["reason"], link.ended["code"]) == (reason, stage.carrier.close_code(reason))


async def all_at_once(cases: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs cases that mostly wait at the same time, and names those that failed."""
    results = await asyncio.gather(*cases.values(), return_exceptions=True)
    failed = {name: result for name, result in zip(cases, results) if result is not None}
    assert not failed
