"""WebTransport and HTTP/3 with an implementation that shares no code with the gateway, for what a
browser cannot send.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aioquic.quic.events import StreamReset

from gateways import Gateway, mint_token, running
from signalbox import CloseReason
from signalbox.messages import Bye, ReceivedSignal, SendSignal, SenderHeader, StreamSignal, Welcome
from stage import QUIC, Stage
from webtransport_client import PATH, Session, http3, session, session_request

REQUEST_REJECTED = 0x10B
STREAM_REJECTED = 0x3994BD84
PROTOCOL_VIOLATION = 0x0A

Scenario = Callable[[Stage, Session], Awaitable[None]]


def perform(gateway: Gateway, scenario: Scenario) -> None:
    """Runs a scenario with a WebTransport session that has not said hello."""

    async def on_stage() -> None:
        async with Stage(gateway, QUIC) as stage, session(gateway) as client:
            await scenario(stage, client)

    asyncio.run(on_stage())


async def join(stage: Stage, client: Session, name: str) -> str:
    """Joins the stage's session. Returns the id of the connection."""
    token = await asyncio.to_thread(mint_token, stage.gateway, stage.session, "publisher", name)
    welcome = await client.join(token)
    assert isinstance(welcome, Welcome)
    return welcome.connection.id


async def goes_on(client: Session, me: str) -> None:
    """The link carries signals."""
    client.send(SendSignal(None, None, "still here"))
    stream, header = await client.sender()
    assert header == SenderHeader(me, 0)
    assert await client.signal_on(stream) == StreamSignal(1, None, "still here")


def test_signals_and_goodbye(gateway: Gateway) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        bob = await stage.join("bob")
        me = await join(stage, client, "alice")
        assert (await bob.next("connectionCreated"))["id"] == me
        await goes_on(client, me)
        signal = await bob.next("signal")
        assert (signal["from"], signal["seq"], signal["data"]) == (me, 1, "still here")

        await bob.signal(type="chat", data="hello")
        stream, header = await client.sender()
        assert header == SenderHeader(bob.me, 0)
        assert await client.signal_on(stream) == StreamSignal(1, "chat", "hello")

        client.goodbye()
        while not isinstance(bye := await client.message(), Bye):
            assert not isinstance(bye, ReceivedSignal)
        assert bye.reason is CloseReason.CLIENT_DISCONNECTED
        assert await client.closed() == (0, "clientDisconnected")
        assert (await bob.next("connectionDestroyed"))["reason"] == "clientDisconnected"

    perform(gateway, scenario)


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        ({":path": "/v1/other"}, {404}),
        ({":path": PATH + "/"}, {404}),
        ({":method": "GET", ":protocol": None}, {405}),
        ({":method": "GET", ":protocol": None, ":path": "/healthz"}, {405}),
        ({":method": "POST", ":protocol": None}, {405}),
        ({":protocol": None, ":scheme": None, ":path": None}, {400, 501}),
        ({":protocol": "websocket"}, {501}),
        ({":scheme": "http"}, {400}),
    ],
    ids=str,
)
def test_requests_for_something_else(
    gateway: Gateway, change: dict[str, str | None], statuses: set[int]
) -> None:
    """Each is answered with an HTTP status, and the connection is closed without an error."""

    async def request() -> None:
        headers = {**dict(session_request(gateway)), **change}
        async with http3(gateway) as connection:
            present = [(name, value) for name, value in headers.items() if value is not None]
            stream = connection.request(*present)
            assert await connection.status(stream) in statuses
            assert (await connection.ended()).error_code == 0x100

    asyncio.run(request())


def test_origins(tmp_path: Path) -> None:
    allowed = "https://app.example"

    async def requests(gateway: Gateway) -> None:
        for origin, status in [(allowed, 200), (None, 200), ("https://evil.example", 403)]:
            async with http3(gateway) as connection:
                stream = connection.request(*session_request(gateway, origin=origin))
                assert await connection.status(stream) == status

    settings = {"SIGNALBOX_AUTH__ALLOWED_ORIGINS": f'["{allowed}"]'}
    options = ("--dev", "--dev-dir", str(tmp_path / "dev"))
    with running(tmp_path / "stderr.log", *options, **settings) as announcement:
        asyncio.run(requests(Gateway.parse(announcement)))


def test_a_second_request_is_rejected(gateway: Gateway) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        me = await join(stage, client, "alice")
        second = client.connection.request(*session_request(gateway))
        rejected = await client.connection.next(second)
        assert isinstance(rejected, StreamReset)
        assert rejected.error_code == REQUEST_REJECTED
        await goes_on(client, me)

    perform(gateway, scenario)


def test_streams_of_an_unknown_session_are_rejected(gateway: Gateway) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        me = await join(stage, client, "alice")
        for session in (client.id + 400, client.control):
            stream = client.open_stream(is_unidirectional=False, session=session)
            client.connection.write(stream, b"anything")
            rejected = await client.connection.next(stream)
            assert isinstance(rejected, StreamReset)
            assert rejected.error_code == STREAM_REJECTED
            stream = client.open_stream(is_unidirectional=True, session=session)
            client.connection.write(stream, b"anything")
        await goes_on(client, me)

    perform(gateway, scenario)


def test_unknown_kinds_of_streams_and_capsules_are_ignored(gateway: Gateway) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        me = await join(stage, client, "alice")
        connection = client.connection
        # Types that are reserved so that they are ignored (RFC 9114 section 7.2.8, RFC 9297).
        unknown = connection._quic.get_next_available_stream_id(is_unidirectional=True)
        connection.write(unknown, bytes([0x21]) + b"anything", end=True)
        connection.http.send_data(client.id, bytes([0x17, 3]) + b"abc", end_stream=False)
        connection.transmit()
        await goes_on(client, me)

    perform(gateway, scenario)


def test_a_datagram_ends_the_connection(gateway: Gateway) -> None:
    """The gateway negotiates datagrams for browsers alone, and without room for contents."""

    async def scenario(stage: Stage, client: Session) -> None:
        await join(stage, client, "alice")
        client.connection.http.send_datagram(client.id, b"anything")
        client.connection.transmit()
        assert (await client.connection.ended()).error_code == PROTOCOL_VIOLATION

    perform(gateway, scenario)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(0, "clientDisconnected"), (None, "clientDisconnected"), (77, "networkDisconnected")],
    ids=["code 0", "end of the CONNECT stream", "another code"],
)
def test_how_a_session_is_closed_is_what_others_are_told(
    gateway: Gateway, code: int | None, reason: str
) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        bob = await stage.join("bob")
        me = await join(stage, client, "alice")
        if code is None:
            client.connection.http.send_data(client.id, b"", end_stream=True)
            client.connection.transmit()
        else:
            client.close(code, "enough")
        destroyed = await bob.next("connectionDestroyed")
        assert (destroyed["id"], destroyed["reason"]) == (me, reason)

    perform(gateway, scenario)


def test_a_session_without_a_control_stream_is_told_so(gateway: Gateway) -> None:
    async def scenario() -> None:
        async with http3(gateway) as connection:
            stream = connection.request(*session_request(gateway))
            assert await connection.status(stream) == 200
            reason = CloseReason.HELLO_TIMEOUT
            assert await connection.session_closed(stream) == (reason.number, reason.value)

    asyncio.run(scenario())


def test_a_client_that_stops_the_control_stream_is_told_so(gateway: Gateway) -> None:
    async def scenario(stage: Stage, client: Session) -> None:
        await join(stage, client, "alice")
        client.connection._quic.stop_stream(client.control, 0)
        client.connection.transmit()
        reason = CloseReason.PROTOCOL_ERROR
        assert await client.closed() == (reason.number, reason.value)

    perform(gateway, scenario)
