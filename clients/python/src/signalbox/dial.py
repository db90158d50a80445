"""Dialling: from the gateway's URLs to a link on which it has answered.

URLs and addresses race, but only to the end of the transport's handshake; then the winner alone
sends the opening. There is one exception: the first attempt may send a `resume` in its first packet
(0-RTT) if it is QUIC and the gateway is known.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .codes import CloseReason
from .errors import (
    ConnectError,
    ConnectTimeoutError,
    MissingDependencyError,
    RefusedError,
    ResolveError,
    RootsError,
)
from .gateway_url import GatewayUrl
from .link import Link, establish
from .link.reply import HandshakeReply
from .link.transport import Transport
from .link.websocket import ADDRESS_DELAY, WebSocketTransport
from .opening import Opening
from .options import ConnectOptions

if TYPE_CHECKING:
    from aioquic.tls import SessionTicket

URL_HEAD_START = 0.3
"""Head start of the URL that worked last over the others: enough for a handshake on most networks,
and hardly noticeable if that URL does not work."""
LOST_AFTER = 3
"""After how many keep-alive intervals of silence a link is lost."""

T = TypeVar("T")


class Dialer:
    """Opens links to one gateway."""

    def __init__(self, options: ConnectOptions) -> None:
        self.options = options
        self._roots = _roots(options)
        # The URL that worked last.
        self._first = options.urls[0]
        self._session_tickets: dict[GatewayUrl, SessionTicket] = {}

    async def open(self, opening: Opening, within: float) -> tuple[HandshakeReply, Link]:
        """Reaches the gateway, sends the opening and receives the reply, within a time.

        Raises :class:`ConnectError`.
        """
        try:
            return await asyncio.wait_for(self._race(opening), within)
        except asyncio.TimeoutError:
            tried = [str(url) for url in self.options.urls]
            raise ConnectTimeoutError(tried) from None

    async def _race(self, opening: Opening) -> tuple[HandshakeReply, Link]:
        urls = sorted(self.options.urls, key=lambda url: url != self._first)
        dials = [
            asyncio.create_task(self._dial_after(rank * URL_HEAD_START, url, rank == 0, opening))
            for rank, url in enumerate(urls)
        ]
        unused = set(dials)
        failure: ConnectError = ConnectTimeoutError([])
        try:
            for dialled in asyncio.as_completed(dials):
                try:
                    url, transport, sent = await dialled
                    unused.discard(dials[urls.index(url)])
                    reply, link = await establish(transport, opening, sent=sent)
                except RefusedError as refused:
                    # Another URL may lead to another gateway if this one is shutting down. Any
                    # other refusal is an answer: the other URLs lead to the same gateway.
                    if refused.reason != CloseReason.SHUTTING_DOWN:
                        raise
                    failure = refused
                except ConnectError as error:
                    failure = error
                else:
                    self._first = url
                    return reply, link
            raise failure
        finally:
            await _abandon(unused, lambda dialled: dialled[1].abort())

    async def _dial_after(
        self, head_start: float, url: GatewayUrl, first: bool, opening: Opening
    ) -> tuple[GatewayUrl, Transport, bool]:
        """A transport to one URL, and whether the opening was sent early."""
        await asyncio.sleep(head_start)
        options = self.options
        if url.scheme != "quic":
            websocket = await WebSocketTransport.open(
                url, self._roots, json=options.json, keep_alive=options.keep_alive
            )
            return url, websocket, False
        early = first and options.early_data and opening.resume is not None
        ticket = self._session_tickets.pop(url, None) if early else None
        addresses = await _resolve(url)
        dials = [
            self._quic_dial(url, address, opening, None if rank else ticket)
            for rank, address in enumerate(addresses)
        ]
        return url, await _first_success(dials), ticket is not None

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
    """The first transport that is established. Each dial has a head start over the next one."""

    async def after(delay: float, dial: Callable[[], Awaitable[Transport]]) -> Transport:
        await asyncio.sleep(delay)
        return await dial()

    tasks = [
        asyncio.create_task(after(rank * ADDRESS_DELAY, dial)) for rank, dial in enumerate(dials)
    ]
    pending, winner = set(tasks), None
    try:
        while winner is None and pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in done if task.exception() is None), None)
        return (winner or tasks[-1]).result()
    finally:
        await _abandon({task for task in tasks if task is not winner}, lambda transport: transport.abort())


async def _abandon(tasks: set[asyncio.Task[T]], drop: Callable[[T], None]) -> None:
    """Cancels dials, and drops the transports that they have established."""
    for task in tasks:
        task.cancel()
    for established in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(established, BaseException):
            drop(established)
