"""Dialling: from the gateways' URLs to a link on which one has answered.

URLs and addresses race, but only to the end of the transport's handshake; then the winner alone
sends the opening. A gateway that fails before its answer, or refuses the client because it shuts
down, is passed over; any other refusal is an answer.

There is one exception: the first attempt may send a `resume` in its first packet (0-RTT) if it is
QUIC and the gateway is known.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .codes import CloseReason
from .errors import (
    ConnectError,
    ConnectTimeoutError,
    MissingDependencyError,
    RefusedError,
    ResolveError,
    RootsError,
)
from .gateway_list import GatewayList
from .gateway_url import GatewayUrl
from .link import Link, establish
from .link.reply import HandshakeReply
from .link.transport import Transport
from .link.websocket import ADDRESS_DELAY, WebSocketTransport
from .opening import Opening
from .options import ConnectOptions
from .race import race

if TYPE_CHECKING:
    from aioquic.tls import SessionTicket

URL_HEAD_START = 0.3
"""Head start of each URL over the next one: enough for a handshake on most networks, and hardly
noticeable if that URL does not work."""
RECONNECT_HEAD_START = 1.0
"""The same for a client that reconnects, and perhaps thousands of others with it, all of which would
make two handshakes instead of one if the first gateway were busy for the shorter time."""
LOST_AFTER = 3
"""After how many keep-alive intervals of silence a link is lost."""


@dataclass(frozen=True)
class Dialled:
    """A transport to one URL."""

    url: GatewayUrl
    transport: Transport
    sent: bool
    """Whether the opening was sent early."""


class Dialer:
    """Opens links to the gateways of one session."""

    def __init__(self, options: ConnectOptions) -> None:
        self.options = options
        self._roots = _roots(options)
        self._gateways = GatewayList(options.urls)
        # The URL on whose link the opening was sent.
        self._asked: GatewayUrl | None = None
        self._head_start = URL_HEAD_START
        self._session_tickets: dict[GatewayUrl, SessionTicket] = {}

    def welcomed(self, gateways: Sequence[str]) -> None:
        """Takes the other gateways of a welcome, which are tried after the application's."""
        self._gateways.welcomed(gateways)

    @property
    def head_starts(self) -> float:
        """Time until the last URL is tried by a client that reconnects, if all before it are silent."""
        return RECONNECT_HEAD_START * (len(self._gateways) - 1)

    def avoid_current(self) -> None:
        """Tries the other gateways before the one that has answered last."""
        self._gateways.avoid_current()

    async def open(self, opening: Opening, within: float) -> tuple[HandshakeReply, Link]:
        """Reaches a gateway, sends the opening and receives the reply, within a time.

        Raises :class:`ConnectError`.
        """
        self._asked = None
        try:
            opened = await asyncio.wait_for(self._race(opening), within)
        except asyncio.TimeoutError:
            if self._asked is not None:
                self._gateways.avoid(self._asked)
            tried = [str(url) for url in self.options.urls]
            raise ConnectTimeoutError(tried) from None
        except RefusedError:
            # A refusal that was not passed over is an answer, too.
            if self._asked is not None:
                self._gateways.answered(self._asked)
            raise
        assert self._asked is not None
        self._gateways.answered(self._asked)
        self._head_start = RECONNECT_HEAD_START
        return opened

    async def _race(self, opening: Opening) -> tuple[HandshakeReply, Link]:
        attempts = [
            partial(self._dial, url, rank == 0, opening)
            for rank, url in enumerate(self._gateways.in_order())
        ]
        failure: ConnectError = ConnectTimeoutError([])
        running = race(attempts, self._head_start, lambda dialled: dialled.transport.abort())
        async with aclosing(running):
            async for attempt in running:
                try:
                    dialled = attempt.result()
                    self._asked = dialled.url
                    return await establish(dialled.transport, opening, sent=dialled.sent)
                except ConnectError as error:
                    if not _is_passed_over(error):
                        raise
                    failure = error
                self._asked = None
        raise failure

    async def _dial(self, url: GatewayUrl, first: bool, opening: Opening) -> Dialled:
        """A transport to one URL."""
        options = self.options
        if url.scheme != "quic":
            websocket = await WebSocketTransport.open(
                url, self._roots, json=options.json, keep_alive=options.keep_alive
            )
            return Dialled(url, websocket, False)
        early = first and options.early_data and opening.resume is not None
        ticket = self._session_tickets.pop(url, None) if early else None
        addresses = await _resolve(url)
        dials = [
            self._quic_dial(url, address, opening, None if rank else ticket)
            for rank, address in enumerate(addresses)
        ]
        return Dialled(url, await _first_success(dials), ticket is not None)

    def _quic_dial(
        self,
        url: GatewayUrl,
        address: tuple[Any, ...],
        opening: Opening,
        ticket: SessionTicket | None,
    ) -> Callable[[], Awaitable[Transport]]:
        try:
            from .link import quic
        except ImportError as error:
            missing = f"{url} needs aioquic: pip install 'signalbox[quic]'"
            raise MissingDependencyError(missing) from error

        def store(session_ticket: SessionTicket) -> None:
            self._session_tickets[url] = session_ticket

        def dial() -> Awaitable[Transport]:
            keep_alive = self.options.keep_alive
            configuration = quic.configuration(
                url.host, self.options.ca_file, LOST_AFTER * keep_alive, ticket
            )
            return quic.QuicTransport.open(
                address,
                configuration,
                keep_alive=keep_alive,
                on_session_ticket=store,
                early=opening.messages() if ticket is not None else None,
            )

        return dial


def _roots(options: ConnectOptions) -> ssl.SSLContext:
    """The trusted certificates, for WebSocket; and a check of those for QUIC."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise RootsError(f"cannot use the certificates in {options.ca_file}: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _resolve(url: GatewayUrl) -> list[tuple[Any, ...]]:
    """The addresses of a host, with alternating families (RFC 8305 §4)."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ResolveError(url.host) from error
    return interleave_families([address for *_, address in found])


def interleave_families(addresses: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Alternates the address families, beginning with that of the first address."""
    families: dict[int, list[tuple[Any, ...]]] = {}
    for address in addresses:
        families.setdefault(len(address), []).append(address)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


async def _first_success(dials: list[Callable[[], Awaitable[Transport]]]) -> Transport:
    """The first transport that is established."""
    failure: BaseException | None = None
    running = race(dials, ADDRESS_DELAY, lambda transport: transport.abort())
    async with aclosing(running):
        async for dial in running:
            failure = dial.exception()
            if failure is None:
                return dial.result()
    raise failure or ConnectTimeoutError([])


def _is_passed_over(error: ConnectError) -> bool:
    """Whether another gateway is asked after this failure.

    A refusal is an answer, which another gateway would give as well, unless it was refused because
    the gateway shuts down.
    """
    return not (isinstance(error, RefusedError) and error.reason != CloseReason.SHUTTING_DOWN)
