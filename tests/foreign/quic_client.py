"""A test client on QUIC: the SDK's transport, with raw access to streams."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import SessionTicket

from link import Link
from signalbox import CloseReason
from signalbox.link.quic import QuicTransport, configuration

IDLE_TIMEOUT_S = 60


class FewStreams(QuicTransport):
    """A transport that grants the gateway fewer streams than aioquic does by default."""

    @classmethod
    def connection(
        cls,
        configuration: QuicConfiguration,
        on_session_ticket: Callable[[SessionTicket], None] | None,
        granted: int = 3,
    ) -> QuicConnection:
        quic = super().connection(configuration, on_session_ticket)
        # aioquic has no setting for it. It grants another stream for each one that ends.
        limit = quic._local_max_streams_uni
        limit.value = limit.sent = granted
        return quic


class QuicLink(Link):
    transport: QuicTransport

    def __init__(self, transport: QuicTransport, tickets: list[SessionTicket]) -> None:
        super().__init__(transport)
        # TLS session tickets that the gateway has sent.
        self.tickets = tickets

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        ca: Path,
        few_streams: bool = False,
        ticket: SessionTicket | None = None,
    ) -> Self:
        """With a `ticket` it does not wait: messages sent next go out as early data."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        tickets: list[SessionTicket] = []
        kind = FewStreams if few_streams else QuicTransport
        transport = await kind.start(
            infos[0][4], configuration(host, ca, IDLE_TIMEOUT_S, ticket), tickets.append
        )
        if ticket is None:
            await transport.connected()
        return cls(transport, tickets)

    @property
    def was_early(self) -> bool:
        """Whether the gateway has accepted early data."""
        return self.transport.early_data_accepted

    async def hello(self, *args: Any, **options: Any) -> dict[str, Any]:
        welcome = await super().hello(*args, **options)
        self._keep_alive()
        return welcome

    async def resume(self, old: Link, *args: Any, **options: Any) -> None:
        await super().resume(old, *args, **options)
        self._keep_alive()

    def _keep_alive(self) -> None:
        idle_s = self.welcome["limits"]["idleTimeoutMs"] / 1000
        self.transport.ping_every(idle_s / 3)

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        """Writes raw bytes to a stream."""
        self.transport.write(stream, data, end)

    def abort(self, code: int) -> None:
        """Closes with this code, and sends nothing more."""
        self.transport.end(code)

    async def abandon(self) -> None:
        self._lost = True
        self.abort(CloseReason.NETWORK_DISCONNECTED.number)

    def cut(self) -> None:
        self._lost = True
        self.transport.cut()
