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

from ..codes import CloseReason, Streams, close_reason
from ..errors import UnreachableCause, UnreachableError
from ..frame import FrameBuffer, frame
from ..messages import (
    CLIENT,
    CLIENT_STREAM,
    GATEWAY,
    GATEWAY_STREAM,
    SENDER_STREAM,
    ClientMessage,
    Hello,
    ReceivedSignal,
    Resume,
    SendSignal,
    SignalsHeader,
)
from ..postcard import Malformed
from .transport import (
    FAREWELL,
    Arrival,
    ControlMessage,
    StreamEnded,
    StreamMessage,
    StreamOpened,
    Transport,
    TransportClosed,
)

ALPN = "signalbox/1"
CONTROL_STREAM = 0
STREAM_KINDS, GATEWAYS_UNIDIRECTIONAL = 4, 3
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
        self._per_sender = True
        self._frames: dict[int, FrameBuffer] = {}
        self._headed: set[int] = set()
        self._ignored: set[int] = set()
        self._signals_stream: int | None = None
        self._keep_alive: asyncio.TimerHandle | None = None
        self._transport_error: int | None = None

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
        loop = asyncio.get_running_loop()
        quic = QuicConnection(
            configuration=configuration, session_ticket_handler=on_session_ticket
        )
        family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
        try:
            endpoint, protocol = await loop.create_datagram_endpoint(
                lambda: Protocol(quic), local_addr=("::" if len(address) == 4 else "0.0.0.0", 0),
                family=family,
            )
        except OSError as error:
            raise _unreachable(address, str(error)) from error
        transport = cls(protocol)
        protocol.attach(transport, endpoint)
        try:
            protocol.connect(address, transmit=early is None)
            if early is not None:
                await transport.send(early)
            await protocol.wait_connected()
        except ConnectionError as error:
            endpoint.close()
            detail = transport._closed.message if transport._closed else str(error)
            raise _unreachable(address, detail, transport._transport_error) from error
        except BaseException:
            transport.abort()
            raise
        if keep_alive is not None:
            transport._ping_every(keep_alive)
        return transport

    async def send(self, messages: Sequence[ClientMessage]) -> None:
        for message in messages:
            if isinstance(message, (Hello, Resume)):
                self._per_sender = message.streams == Streams.PER_SENDER
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
        self._end(code, reason)
        if self._protocol.has_endpoint():
            try:
                await asyncio.wait_for(self._protocol.wait_closed(), FAREWELL)
            except asyncio.TimeoutError:
                pass
        self._protocol.close_endpoint()

    def abort(self) -> None:
        self._end(CloseReason.NETWORK_DISCONNECTED.number, "")
        self._protocol.close_endpoint()
        if self._closed is None:
            self._closed = TransportClosed(CloseReason.NETWORK_DISCONNECTED, "the link was aborted")
            self._arrived(self._closed)

    def _end(self, code: int, reason: str) -> None:
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        self._protocol.close(code, reason)

    def _ping_every(self, interval: float) -> None:
        def ping() -> None:
            self._quic.send_ping(0)
            self._protocol.transmit()
            self._ping_every(interval)

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
        if self._closed is not None or _is_own_breach(stream):
            return
        if stream in self._ignored:
            if end:
                self._ignored.remove(stream)
            return
        frames = self._frames.setdefault(stream, FrameBuffer())
        try:
            for message in frames.feed(data):
                self._message(stream, message)
            if end and stream not in self._ignored:
                frames.finish()
                self._stream_ended(stream)
        except Malformed as fault:
            self._fail(CloseReason.PROTOCOL_ERROR, str(fault))
        if self._arrived_bytes > ARRIVED_BYTES and self._closed is None:
            self._fail(CloseReason.SLOW_CONSUMER, "the application reads events too slowly")

    def reset(self, stream: int) -> None:
        """The gateway has reset a stream."""
        if self._closed is not None or _is_own_breach(stream):
            return
        if stream in self._ignored:
            self._ignored.remove(stream)
            return
        if stream == CONTROL_STREAM or not self._per_sender:
            self._fail(CloseReason.PROTOCOL_ERROR, f"the gateway reset stream {stream}")
            return
        self._forget(stream)
        self._arrived(StreamEnded(stream, reset=True))

    def _message(self, stream: int, message: bytes) -> None:
        if stream == CONTROL_STREAM:
            self._control_message(message)
        elif stream in self._ignored:
            pass
        elif stream % STREAM_KINDS != GATEWAYS_UNIDIRECTIONAL:
            raise Malformed(f"the gateway opened stream {stream}")
        elif stream in self._headed:
            if (signal := SENDER_STREAM.decode(message)) is not None:
                self._arrived(StreamMessage(stream, signal), len(message))
        else:
            self._header(stream, message)

    def _control_message(self, message: bytes) -> None:
        decoded = GATEWAY.decode(message)
        if self._per_sender and isinstance(decoded, ReceivedSignal):
            raise Malformed("a signal on the control stream, with one stream per sender")
        # Messages of an unknown kind are skipped.
        if decoded is not None:
            self._arrived(ControlMessage(decoded), len(message))

    def _header(self, stream: int, message: bytes) -> None:
        header = GATEWAY_STREAM.decode(message)
        if header is None:
            self._ignored.add(stream)
            self._quic.stop_stream(stream, 0)
        elif not self._per_sender:
            raise Malformed("a sender's stream, with all signals on the control stream")
        else:
            self._headed.add(stream)
        self._arrived(StreamOpened(stream, header), len(message))

    def _stream_ended(self, stream: int) -> None:
        if stream != CONTROL_STREAM and stream not in self._headed:
            raise Malformed(f"stream {stream} ended without a header")
        self._forget(stream)
        self._arrived(StreamEnded(stream, reset=False))

    def _forget(self, stream: int) -> None:
        self._frames.pop(stream, None)
        self._headed.discard(stream)

    def _fail(self, reason: CloseReason, message: str) -> None:
        """Ends a link that cannot go on. What has arrived can still be received."""
        self._closed = TransportClosed(reason, message)
        self._arrived(self._closed)
        goodbye = CloseReason.CLIENT_DISCONNECTED
        code = reason if reason == CloseReason.PROTOCOL_ERROR else goodbye
        self._end(code.number, message)


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


def _is_own_breach(stream: int) -> bool:
    """Whether the client has opened this bidirectional stream against the protocol."""
    return stream % STREAM_KINDS == CONTROL_STREAM and stream != CONTROL_STREAM


def _unreachable(
    address: tuple[Any, ...], detail: str, code: int | None = None
) -> UnreachableError:
    host, port = address[:2]
    alert = None if code is None else code - TLS_ALERT
    certificate = alert in CERTIFICATE_ALERTS
    cause = UnreachableCause.CERTIFICATE if certificate else UnreachableCause.OTHER
    name = f"quic://[{host}]:{port}" if ":" in str(host) else f"quic://{host}:{port}"
    return UnreachableError(name, cause, detail or "the QUIC handshake failed")
