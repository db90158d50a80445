"""A client on QUIC: aioquic for the transport, `postcard` for the bytes, `ordering` for the duties.

It was written from docs/protocol.md alone and shares no code with the gateway or its own client.
"""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aioquic.asyncio
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

import postcard
from connection import Connection
from link import Event, Link
from ordering import Ordering
from postcard import Frames, Malformed

ALPN = "signalbox/1"
CONTROL_STREAM = 0
GATEWAYS_UNIDIRECTIONAL = 3
STREAM_KINDS = 4

REASON_OF_CODE = {code: reason for reason, code in postcard.REASONS.items()}


class Protocol(aioquic.asyncio.QuicConnectionProtocol):
    """Hands the transport's events to the link, which is made after it."""

    link: "QuicLink"

    def vanish(self) -> None:
        """The endpoint is gone. The transport goes on as if nothing it sends arrived."""
        self._transport.close()
        self._transport = Nowhere()

    def quic_event_received(self, event: QuicEvent) -> None:
        match event:
            case StreamDataReceived():
                self.link.received(event.stream_id, event.data, event.end_stream)
            case StreamReset():
                self.link.reset(event.stream_id)
            case ConnectionTerminated():
                self.link.terminated(event)


class Nowhere:
    def sendto(self, *_: object) -> None:
        pass


class QuicLink(Link):
    def __init__(self, protocol: Protocol, stack: AsyncExitStack) -> None:
        super().__init__()
        self._protocol = protocol
        self._quic: QuicConnection = protocol._quic
        self._stack = stack
        self._frames: dict[int, Frames] = {}
        self._headed: set[int] = set()
        self._ignored: set[int] = set()
        self._signals_stream: int | None = None
        self._keeping_alive: asyncio.Task[None] | None = None
        # TLS session tickets that came on it.
        self.tickets: list[SessionTicket] = []
        # None in single mode, where all arrives in order.
        self.ordering: Ordering | None = None

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        ca: Path,
        streams_granted: int | None = None,
        ticket: SessionTicket | None = None,
    ) -> Self:
        """`streams_granted` is how many streams the gateway may have open; else aioquic's default.

        With a `ticket` nothing is waited for: what is said next goes out as early data.
        """
        stack = AsyncExitStack()
        tickets: list[SessionTicket] = []
        connecting = aioquic.asyncio.connect(
            host,
            port,
            configuration=configuration(ca, ticket),
            create_protocol=lambda quic, **options: cls._protocol_of(quic, streams_granted, stack),
            session_ticket_handler=tickets.append,
            wait_connected=ticket is None,
        )
        protocol = await stack.enter_async_context(connecting)
        protocol.link.tickets = tickets
        return protocol.link

    @classmethod
    def _protocol_of(
        cls, quic: QuicConnection, streams_granted: int | None, stack: AsyncExitStack
    ) -> Protocol:
        if streams_granted is not None:
            # aioquic has no setting for it. It grants another stream for each one that ends.
            limit = quic._local_max_streams_uni
            limit.value = limit.sent = streams_granted
        protocol = Protocol(quic)
        protocol.link = cls(protocol, stack)
        return protocol

    @property
    def was_early(self) -> bool:
        """Whether the gateway has taken what was said before the handshake was over."""
        return self._quic.tls.early_data_accepted

    async def hello(
        self, token: str, presence: bool = True, streams: str = "perSender", resume: bool = False
    ) -> dict[str, Any]:
        if streams == "perSender":
            self.ordering = Ordering(self._surface, self.connection)
        welcome = await super().hello(token, presence, streams, resume)
        self._start_keeping_alive()
        return welcome

    async def resume(self, old: Link, *args: Any, **options: Any) -> None:
        await super().resume(old, *args, **options)
        self._start_keeping_alive()

    async def send_resume(self, ticket: str, streams: str = "perSender", *args: Any) -> None:
        if streams == "perSender":
            self.ordering = Ordering(self._surface, self.connection)
        await super().send_resume(ticket, streams, *args)

    def hand_over(self) -> tuple[Connection, asyncio.Queue[Event]]:
        connection, events = super().hand_over()
        if self.ordering is not None:
            # Streams can still bring something; it waits for ever.
            self.ordering = Ordering(self._surface, self.connection)
        return connection, events

    async def send(self, kind: str, fields: dict[str, Any]) -> None:
        message = postcard.CLIENT.encode(kind, fields)
        stream = self._open_signals_stream() if kind == "signal" else CONTROL_STREAM
        self.write(stream, postcard.frame(message))

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        self._quic.send_stream_data(stream, data, end)
        self._protocol.transmit()

    def _open_signals_stream(self) -> int:
        if self._signals_stream is None:
            self._signals_stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
            header = postcard.CLIENT_STREAM.encode("signals", {})
            self.write(self._signals_stream, postcard.frame(header))
        return self._signals_stream

    def abort(self, code: int) -> None:
        """Closes as an application that says nothing more."""
        self._protocol.close(code)

    def cut(self) -> None:
        self._lost = True
        self._protocol.vanish()

    async def abandon(self) -> None:
        self._lost = True
        self.abort(postcard.REASONS["networkDisconnected"])

    async def close(self) -> None:
        await self._stack.aclose()

    def _start_keeping_alive(self) -> None:
        idle_s = self.welcome["limits"]["idleTimeoutMs"] / 1000
        self._keeping_alive = asyncio.create_task(self._keep_alive(idle_s / 3))

    async def _keep_alive(self, interval_s: float) -> None:
        """The client's part on QUIC. It ends with the link."""
        while True:
            await asyncio.sleep(interval_s)
            await self._protocol.ping()

    def received(self, stream: int, data: bytes, end: bool) -> None:
        if stream in self._ignored or is_own_breach(stream):
            return
        frames = self._frames.setdefault(stream, Frames())
        try:
            for message in frames.feed(data):
                self._message(stream, message)
            if end and stream not in self._ignored:
                frames.end()
                self._stream_ended(stream)
        except Malformed as fault:
            self._fault(fault)

    def reset(self, stream: int) -> None:
        if is_own_breach(stream):
            return
        if stream == CONTROL_STREAM or self.ordering is None:
            self._fault(Malformed(f"stream {stream} was reset"))
        else:
            self.ordering.end(stream, reset=True)

    def terminated(self, event: ConnectionTerminated) -> None:
        if self._keeping_alive is not None:
            self._keeping_alive.cancel()
        # What the transport closes by itself names a frame; what an application closes does not.
        code = event.error_code if event.frame_type is None else None
        self._over(code, self._reason(code), event.reason_phrase)

    def _reason(self, code: int | None) -> str | None:
        if code == 0 and not self._said_goodbye:
            return None
        return REASON_OF_CODE.get(code)

    def _message(self, stream: int, message: bytes) -> None:
        if stream == CONTROL_STREAM:
            self._control_message(message)
        elif stream in self._ignored:
            pass
        elif stream % STREAM_KINDS != GATEWAYS_UNIDIRECTIONAL:
            raise Malformed(f"the gateway opened stream {stream}")
        elif stream in self._headed:
            self._senders_message(stream, message)
        else:
            self._header(stream, message)

    def _control_message(self, message: bytes) -> None:
        decoded = postcard.GATEWAY.decode(message)
        if decoded is None:
            return
        kind, fields = decoded
        if self.ordering is not None and kind == "signal":
            raise Malformed("a signal on the control stream in perSender mode")
        self._read(kind, fields)

    def _order(self, kind: str, fields: dict[str, Any]) -> None:
        if self.ordering is None:
            super()._order(kind, fields)
        else:
            self.ordering.control(kind, fields)

    def _header(self, stream: int, message: bytes) -> None:
        decoded = postcard.GATEWAY_STREAM.decode(message)
        if decoded is None:
            self._ignore(stream)
        elif self.ordering is None:
            raise Malformed("a sender's stream in single mode")
        else:
            self._headed.add(stream)
            self.ordering.sender(stream, decoded[1])

    def _ignore(self, stream: int) -> None:
        self._ignored.add(stream)
        self._quic.stop_stream(stream, 0)
        if self.ordering is not None:
            self.ordering.ignore(stream)

    def _senders_message(self, stream: int, message: bytes) -> None:
        decoded = postcard.SENDER.decode(message)
        if decoded is not None:
            self.ordering.signal(stream, decoded[1])

    def _stream_ended(self, stream: int) -> None:
        if stream == CONTROL_STREAM:
            self._nothing_follows.set()
        elif stream in self._headed:
            self.ordering.end(stream)
        else:
            raise Malformed(f"stream {stream} ended without a header")

    def _fault(self, fault: Malformed) -> None:
        """The gateway broke the protocol: the one case in which a client's code is not 0."""
        self._protocol.close(postcard.REASONS["protocolError"], str(fault))


def is_own_breach(stream: int) -> bool:
    """A second stream of both directions, which a test opened. What comes back on it is nothing."""
    return stream % STREAM_KINDS == CONTROL_STREAM and stream != CONTROL_STREAM


def configuration(ca: Path, ticket: SessionTicket | None = None) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        cafile=str(ca),
        verify_mode=ssl.CERT_REQUIRED,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        session_ticket=ticket,
    )
