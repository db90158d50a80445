"""A link's transport over QUIC (section 6). Needs the optional dependency `aioquic`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    QuicEvent,
    StreamDataReceived,
    StreamReset,
)
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import SessionTicket

from ..codes import CloseReason, close_reason
from ..errors import UnreachableCause, UnreachableError
from ..frame import frame
from ..messages import (
    CLIENT,
    CLIENT_STREAM,
    ClientMessage,
    Hello,
    Resume,
    SendSignal,
    SignalsHeader,
)
from ..postcard import Malformed
from .quic_incoming import CONTROL_STREAM, IncomingStreams
from .transport import FAREWELL, Arrival, Transport, TransportClosed

ALPN = "signalbox/1"
TLS_ALERT = 0x100
"""First QUIC error code of TLS alerts (RFC 9001 §4.8)."""
CERTIFICATE_ALERTS = range(42, 52)
ARRIVED_BYTES = 2 * 1024 * 1024
"""What may wait for the application. aioquic grants credit as data arrives, whether or not it is
read, so the client itself ends a link whose application falls too far behind."""
ARRIVAL_OVERHEAD = 64

Q = TypeVar("Q", bound="QuicTransport")


class QuicTransport(Transport):
    """A QUIC connection."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._quic = protocol.quic
        self._arrivals: asyncio.Queue[tuple[Arrival, int]] = asyncio.Queue()
        self._arrived_bytes = 0
        self._closed: TransportClosed | None = None
        self._incoming = IncomingStreams(
            self._arrived, lambda stream: self._quic.stop_stream(stream, 0)
        )
        self._signals_stream: int | None = None
        self._keep_alive: asyncio.TimerHandle | None = None
        self._transport_error: int | None = None
        self._address: tuple[Any, ...] = ()

    @property
    def early_data_accepted(self) -> bool:
        """Whether the gateway has accepted early data."""
        return self._quic.tls.early_data_accepted

    @classmethod
    async def open(
        cls: type[Q],
        address: tuple[Any, ...],
        configuration: QuicConfiguration,
        *,
        keep_alive: float | None = None,
        on_session_ticket: Callable[[SessionTicket], None] | None = None,
        early: Sequence[ClientMessage] | None = None,
    ) -> Q:
        """Connects to one address. Raises :class:`UnreachableError`.

        `early` messages are sent in the first packet, which needs a session ticket in the
        configuration. Only a `resume` may be among them, as early data can be replayed.
        """
        transport = await cls.start(address, configuration, on_session_ticket)
        try:
            if early is not None:
                await transport.send(early)
            await transport.connected()
        except BaseException:
            transport.abort()
            raise
        if keep_alive is not None:
            transport.ping_every(keep_alive)
        return transport

    @classmethod
    async def start(
        cls: type[Q],
        address: tuple[Any, ...],
        configuration: QuicConfiguration,
        on_session_ticket: Callable[[SessionTicket], None] | None = None,
    ) -> Q:
        """Begins a handshake. What is sent before :meth:`connected` returns is early data."""
        quic = cls.connection(configuration, on_session_ticket)
        family, any_address = socket.AF_INET, "0.0.0.0"
        if len(address) == 4:
            family, any_address = socket.AF_INET6, "::"
        try:
            endpoint, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Protocol(quic), local_addr=(any_address, 0), family=family
            )
        except OSError as error:
            raise _unreachable(address, str(error)) from error
        transport = cls(protocol)
        transport._address = address
        protocol.attach(transport, endpoint)
        protocol.connect(address, transmit=configuration.session_ticket is None)
        return transport

    @classmethod
    def connection(
        cls,
        configuration: QuicConfiguration,
        on_session_ticket: Callable[[SessionTicket], None] | None,
    ) -> QuicConnection:
        """aioquic's half of a connection."""
        return QuicConnection(
            configuration=configuration, session_ticket_handler=on_session_ticket
        )

    async def connected(self) -> None:
        """Waits for the end of the handshake. Raises :class:`UnreachableError`."""
        self._protocol.transmit()
        try:
            await self._protocol.wait_connected()
        except ConnectionError as error:
            detail = self._closed.message if self._closed else str(error)
            raise _unreachable(self._address, detail, self._transport_error) from error

    async def send(self, messages: Sequence[ClientMessage]) -> None:
        for message in messages:
            if isinstance(message, (Hello, Resume)) and self._incoming.streams is None:
                self._incoming.streams = message.streams
            stream = CONTROL_STREAM
            if isinstance(message, SendSignal):
                stream = self._open_signals_stream()
            self.queue(stream, frame(CLIENT.encode(message)))
        self._protocol.transmit()

    def queue(self, stream: int, data: bytes, end: bool = False) -> None:
        """Writes bytes to a stream, to be sent with the next packet."""
        if self._closed is None:
            self._quic.send_stream_data(stream, data, end)

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        """Writes bytes to a stream."""
        self.queue(stream, data, end)
        self._protocol.transmit()

    def _open_signals_stream(self) -> int:
        if self._signals_stream is None:
            self._signals_stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
            self.queue(self._signals_stream, frame(CLIENT_STREAM.encode(SignalsHeader())))
        return self._signals_stream

    async def receive(self) -> Arrival:
        if self._arrivals.empty() and self._closed is not None:
            return self._closed
        arrival, size = await self._arrivals.get()
        self._arrived_bytes -= size
        return arrival

    async def close(self, reason: CloseReason) -> None:
        await self.close_with(reason.number, reason.value)

    async def close_with(self, code: int, reason: str = "") -> None:
        """Closes with an application error code."""
        self.end(code, reason)
        if self._protocol.has_endpoint():
            try:
                await asyncio.wait_for(self._protocol.wait_closed(), FAREWELL)
            except asyncio.TimeoutError:
                pass
        self._protocol.close_endpoint()

    def cut(self) -> None:
        """Closes the UDP socket, and sends nothing. The peer notices when it hears no more."""
        self._protocol.close_endpoint()

    def abort(self) -> None:
        self.end(CloseReason.NETWORK_DISCONNECTED.number)
        self._protocol.close_endpoint()
        if self._closed is None:
            self._closed = TransportClosed(CloseReason.NETWORK_DISCONNECTED, "the link was aborted")
            self._arrived(self._closed)

    def end(self, code: int, reason: str = "") -> None:
        """Begins to close with an application error code, and does not wait."""
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        self._protocol.close(code, reason)

    def ping_every(self, interval: float) -> None:
        """Keeps the link alive with a ping at this interval."""

        def ping() -> None:
            self._quic.send_ping(0)
            self._protocol.transmit()
            self.ping_every(interval)

        self._keep_alive = asyncio.get_running_loop().call_later(interval, ping)

    def _arrived(self, arrival: Arrival, size: int = 0) -> None:
        size += ARRIVAL_OVERHEAD
        self._arrived_bytes += size
        self._arrivals.put_nowait((arrival, size))

    def terminated(self, event: ConnectionTerminated) -> None:
        """The connection has ended."""
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        if self._closed is not None:
            return
        # What the transport closes by itself names a frame; what an application closes does not.
        of_application = event.frame_type is None
        reason = close_reason(event.error_code) if of_application else None
        self._closed = TransportClosed(
            reason or CloseReason.NETWORK_DISCONNECTED,
            event.reason_phrase,
            event.error_code if of_application else None,
        )
        if not of_application:
            self._transport_error = event.error_code
        self._arrived(self._closed)

    def received(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of a stream have arrived."""
        self._handle(lambda: self._incoming.received(stream, data, end))
        if self._arrived_bytes > ARRIVED_BYTES and self._closed is None:
            self._fail(CloseReason.SLOW_CONSUMER, "the application reads events too slowly")

    def reset(self, stream: int) -> None:
        """The gateway has reset a stream."""
        self._handle(lambda: self._incoming.reset(stream))

    def _handle(self, incoming: Callable[[], None]) -> None:
        if self._closed is None:
            try:
                incoming()
            except Malformed as fault:
                self._fail(CloseReason.PROTOCOL_ERROR, str(fault))

    def _fail(self, reason: CloseReason, message: str) -> None:
        """Ends a link that cannot go on. What has arrived can still be received."""
        self._closed = TransportClosed(reason, message)
        self._arrived(self._closed)
        goodbye = CloseReason.CLIENT_DISCONNECTED
        code = reason if reason == CloseReason.PROTOCOL_ERROR else goodbye
        self.end(code.number, message)


class Protocol(QuicConnectionProtocol):
    """Hands the events of aioquic to the transport."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.quic = quic
        self._owner: QuicTransport | None = None
        self._endpoint: asyncio.DatagramTransport | None = None

    def attach(self, owner: QuicTransport, endpoint: asyncio.DatagramTransport) -> None:
        """Sets who receives the events, and the UDP socket."""
        self._owner, self._endpoint = owner, endpoint

    def has_endpoint(self) -> bool:
        """Whether anything can still be sent or received."""
        return self._endpoint is not None

    def close_endpoint(self) -> None:
        """Closes the UDP socket and stops the timer."""
        if self._endpoint is not None:
            self._endpoint.close()
            self._endpoint = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def transmit(self) -> None:
        # After the socket has been closed nothing can be sent.
        if self._endpoint is not None:
            super().transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if self._owner is None:
            return
        match event:
            case StreamDataReceived():
                self._owner.received(event.stream_id, event.data, event.end_stream)
            case StreamReset():
                self._owner.reset(event.stream_id)
            case ConnectionTerminated():
                self._owner.terminated(event)


def configuration(
    server_name: str,
    ca_file: str | Path | None,
    idle_timeout: float,
    session_ticket: SessionTicket | None = None,
) -> QuicConfiguration:
    """The configuration of one connection."""
    paths = ssl.get_default_verify_paths()
    own = ca_file is not None
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        server_name=server_name,
        cafile=str(ca_file) if own else paths.cafile,
        capath=None if own else paths.capath,
        verify_mode=ssl.CERT_REQUIRED,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        idle_timeout=idle_timeout,
        session_ticket=session_ticket,
    )


def _unreachable(
    address: tuple[Any, ...], detail: str, code: int | None = None
) -> UnreachableError:
    host, port = address[:2]
    alert = None if code is None else code - TLS_ALERT
    certificate = alert in CERTIFICATE_ALERTS
    cause = UnreachableCause.CERTIFICATE if certificate else UnreachableCause.OTHER
    name = f"quic://[{host}]:{port}" if ":" in str(host) else f"quic://{host}:{port}"
    return UnreachableError(name, cause, detail or "the QUIC handshake failed")
