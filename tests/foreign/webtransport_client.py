"""A WebTransport client on aioquic's HTTP/3, which shares no code with the gateway: requests, the
streams of a session, and what a client can do wrong in HTTP/3.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset

from gateways import Gateway
from signalbox.codes import Streams
from signalbox.frame import FrameBuffer, frame
from signalbox.messages import (
    CLIENT,
    CLIENT_STREAM,
    GATEWAY,
    GATEWAY_STREAM,
    SENDER_STREAM,
    Goodbye,
    Hello,
    SendSignal,
    SignalsHeader,
)

PATH = "/v1/connect"
CLOSE_SESSION = 0x2843
DEADLINE_S = 15


class Http3(QuicConnectionProtocol):
    """A connection with HTTP/3. What arrives on each stream waits in a queue of its own."""

    http: H3Connection

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.arrived: defaultdict[int, asyncio.Queue[H3Event | StreamReset]]
        self.arrived = defaultdict(asyncio.Queue)
        self.opened: asyncio.Queue[int] = asyncio.Queue()
        # Bidirectional streams that the client has opened, and their sessions. aioquic takes what
        # arrives on them for HTTP/3.
        self.bidirectional: dict[int, int] = {}
        self.terminated: asyncio.Future[ConnectionTerminated]
        self.terminated = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated) and not self.terminated.done():
            self.terminated.set_result(event)
        if isinstance(event, StreamReset):
            self.arrived[event.stream_id].put_nowait(event)
        if isinstance(event, StreamDataReceived) and event.stream_id in self.bidirectional:
            self.arrived[event.stream_id].put_nowait(
                WebTransportStreamDataReceived(
                    event.data,
                    event.stream_id,
                    event.end_stream,
                    self.bidirectional[event.stream_id],
                )
            )
            return
        for arrival in self.http.handle_event(event):
            stream = getattr(arrival, "stream_id", None)
            if stream is None:
                continue
            if stream % 4 == 3 and stream not in self.arrived:
                self.opened.put_nowait(stream)
            self.arrived[stream].put_nowait(arrival)

    async def next(self, stream: int) -> H3Event | StreamReset:
        return await within(self.arrived[stream].get())

    def request(self, *headers: tuple[str, str], end: bool = False) -> int:
        """Sends a request. Returns its stream."""
        stream = self._quic.get_next_available_stream_id()
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        self.http.send_headers(stream, encoded, end_stream=end)
        self.transmit()
        return stream

    async def status(self, stream: int) -> int:
        """The status of the answer to a request."""
        event = await self.next(stream)
        assert isinstance(event, HeadersReceived), event
        return int(dict(event.headers)[b":status"])

    def write(self, stream: int, data: bytes, end: bool = False) -> None:
        """Writes raw bytes to a stream."""
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    async def session_closed(self, id: int) -> tuple[int, str]:
        """The code and the reason with which the gateway closes a session."""
        data = b""
        while True:
            event = await self.next(id)
            assert isinstance(event, DataReceived), event
            data += event.data
            if event.stream_ended:
                break
        capsule = Buffer(data=data)
        assert capsule.pull_uint_var() == CLOSE_SESSION
        value = capsule.pull_bytes(capsule.pull_uint_var())
        return int.from_bytes(value[:4], "big"), value[4:].decode()

    async def ended(self) -> ConnectionTerminated:
        """The end of the connection."""
        return await within(self.terminated)


class Session:
    """A WebTransport session of its own connection, with the protocol's streams in it."""

    def __init__(self, connection: Http3, id: int) -> None:
        self.connection = connection
        self.id = id
        self.control = self.open_stream(is_unidirectional=False)
        self.signals: int | None = None
        self._frames: defaultdict[int, FrameBuffer] = defaultdict(FrameBuffer)
        self._messages: defaultdict[int, list[bytes]] = defaultdict(list)

    def open_stream(self, is_unidirectional: bool, session: int | None = None) -> int:
        """A stream of this session, or of one that does not exist."""
        id = self.id if session is None else session
        stream = self.connection.http.create_webtransport_stream(id, is_unidirectional)
        if not is_unidirectional:
            self.connection.bidirectional[stream] = id
        return stream

    def send(self, message: Any) -> None:
        stream = self.control
        if isinstance(message, SendSignal):
            if self.signals is None:
                self.signals = self.open_stream(is_unidirectional=True)
                self.connection.write(self.signals, frame(CLIENT_STREAM.encode(SignalsHeader())))
            stream = self.signals
        self.connection.write(stream, frame(CLIENT.encode(message)))

    async def join(self, token: str) -> Any:
        self.send(Hello(token, ("presence",), Streams.PER_SENDER, "aioquic"))
        return await self.message()

    async def message(self) -> Any:
        """The next message on the control stream."""
        return GATEWAY.decode(await self._bytes(self.control))

    async def sender(self) -> tuple[int, Any]:
        """The next stream of a sender, and its header."""
        stream = await within(self.connection.opened.get())
        return stream, GATEWAY_STREAM.decode(await self._bytes(stream))

    async def signal_on(self, stream: int) -> Any:
        """The next message on a sender's stream."""
        return SENDER_STREAM.decode(await self._bytes(stream))

    async def _bytes(self, stream: int) -> bytes:
        waiting = self._messages[stream]
        while not waiting:
            event = await self.connection.next(stream)
            assert isinstance(event, WebTransportStreamDataReceived), event
            assert event.session_id == self.id
            waiting += self._frames[stream].feed(event.data)
        return waiting.pop(0)

    def close(self, code: int, reason: str = "") -> None:
        """Closes the session with a capsule on the CONNECT stream."""
        value = code.to_bytes(4, "big") + reason.encode()
        capsule = encode_uint_var(CLOSE_SESSION) + encode_uint_var(len(value)) + value
        self.connection.http.send_data(self.id, capsule, end_stream=True)
        self.connection.transmit()

    async def closed(self) -> tuple[int, str]:
        return await self.connection.session_closed(self.id)

    def goodbye(self) -> None:
        self.send(Goodbye(0))


@asynccontextmanager
async def http3(gateway: Gateway, ca: Path | None = None) -> AsyncIterator[Http3]:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, max_datagram_frame_size=65536
    )
    configuration.load_verify_locations(str(ca or gateway.ca))
    address = gateway.quic
    async with connect(
        address.host, address.port, configuration=configuration, create_protocol=Http3
    ) as connection:
        assert isinstance(connection, Http3)
        yield connection


def session_request(
    gateway: Gateway, path: str = PATH, origin: str | None = None
) -> list[tuple[str, str]]:
    """The headers of a request for a session."""
    headers = [
        (":method", "CONNECT"),
        (":protocol", "webtransport"),
        (":scheme", "https"),
        (":authority", str(gateway.quic)),
        (":path", path),
    ]
    return headers + ([("origin", origin)] if origin else [])


@asynccontextmanager
async def session(gateway: Gateway) -> AsyncIterator[Session]:
    async with http3(gateway) as connection:
        request = connection.request(*session_request(gateway))
        assert await connection.status(request) == 200
        yield Session(connection, request)


async def within(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, DEADLINE_S)
