"""The Python SDK against a running gateway, over each transport."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import signalbox
from gateways import Gateway, mint_session, mint_token, running
from signalbox import (
    CloseReason,
    Connected,
    ConnectionCreated,
    ConnectionDestroyed,
    Disconnected,
    DisconnectReason,
    Reconnected,
    Reconnecting,
    Rejected,
    Rejoined,
    Session,
    Signal,
)
from signalbox.dial import Dialer
from signalbox.link.transport import Transport

DEADLINE_S = 15
CHAOS_DEADLINE_S = 180
# More than the head start of a silent gateway and a handshake; less than the timeout of an attempt.
LITTLE_S = 3
NOBODY = "00000000-0000-4000-8000-000000000000"
PART = 40

Kind = type[Any]


def quic(gateway: Gateway) -> str:
    return f"quic://{gateway.quic}"


def websocket(gateway: Gateway) -> str:
    return f"wss://{gateway.https}"


TRANSPORTS = {
    "quic": (quic, {}),
    "quic-single": (quic, {"streams": signalbox.Streams.SINGLE}),
    "websocket": (websocket, {}),
    "websocket-json": (websocket, {"json": True}),
}
each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


class World:
    """A signaling session of its own, and what joining it takes."""

    def __init__(self, gateway: Gateway, transport: str) -> None:
        self.gateway = gateway
        self.session = mint_session(gateway)
        self._url, self._options = TRANSPORTS[transport]

    def connect(
        self, name: str, role: str = "publisher", **options: Any
    ) -> signalbox.session.Connecting:
        token = mint_token(self.gateway, self.session, role, name)
        given = {"ca_file": self.gateway.ca, **self._options, **options}
        return signalbox.connect(self._url(self.gateway), token, **given)

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Session, Session]]:
        """Alice and Bob, who know of each other."""
        async with self.connect("alice") as alice, self.connect("bob") as bob:
            await next_of(alice, ConnectionCreated)
            await next_of(bob, ConnectionCreated)
            yield alice, bob


def play(scenario: Coroutine[Any, Any, None], deadline: float = DEADLINE_S) -> None:
    asyncio.run(asyncio.wait_for(scenario, deadline))


async def next_of(session: Session, *kinds: Kind) -> Any:
    """The next event of these kinds. Others before it are dropped."""
    async for event in session:
        if isinstance(event, kinds):
            return event
        assert not isinstance(event, Disconnected), event
    raise AssertionError("the session has ended")


async def numbers(session: Session, sender: str, last: int) -> list[int]:
    """The sequence numbers of the signals of a sender, up to one of them."""
    found: list[int] = []
    while found[-1:] != [last]:
        signal = await next_of(session, Signal)
        if signal.sender == sender:
            assert signal.data == str(signal.seq)
            found.append(signal.seq)
    return found


class Links:
    """All transports that clients open, so that a test can cut one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._opened: list[Transport] = []
        self.dialers: list[Dialer] = []
        dial = Dialer._dial

        async def record(dialer: Dialer, *args: Any) -> Any:
            dialled = await dial(dialer, *args)
            self._opened.append(dialled.transport)
            self.dialers.append(dialer)
            return dialled

        monkeypatch.setattr(Dialer, "_dial", record)

    @property
    def newest(self) -> Transport:
        return self._opened[-1]

    def cut_newest(self) -> None:
        self.newest.abort()


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> Links:
    return Links(monkeypatch)


@each_transport
def test_conversation(gateway: Gateway, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        alice = await world.connect("alice", role="moderator")
        async with world.connect("bob") as bob:
            assert await anext(bob) == Connected(bob.connection, world.session)
            assert await anext(bob) == ConnectionCreated(alice.connection)
            assert (bob.session_id, bob.role, bob.present_on_joining) == (
                world.session,
                signalbox.Role.PUBLISHER,
                1,
            )
            assert (alice.connection.data, bob.connection.data) == ("alice", "bob")
            assert bob.presence == [alice.connection]
            assert await bob.signal(type="chat", data="grüße 🚦") == 1
            assert await bob.signal(data="", to=alice.connection.id.upper()) == 2
            assert await bob.signal() == 3
            me = bob.connection.id
            assert await anext(bob) == Signal(me, 1, "chat", "grüße 🚦")
            assert await anext(bob) == Signal(me, 3, None, None)
            expected = [
                Connected(alice.connection, world.session),
                ConnectionCreated(bob.connection),
                Signal(me, 1, "chat", "grüße 🚦"),
                Signal(me, 2, None, ""),
                Signal(me, 3, None, None),
            ]
            assert [await anext(alice) for _ in expected] == expected
        assert await anext(alice) == ConnectionDestroyed(me, DisconnectReason.CLIENT_DISCONNECTED)
        await alice.disconnect()
        last = [event async for event in alice]
        assert [type(event) for event in last] == [Disconnected]
        assert last[0].reason is CloseReason.CLIENT_DISCONNECTED
        with pytest.raises(signalbox.DisconnectedError):
            await alice.signal()
        await alice.ended()

    play(scenario())


@each_transport
def test_leaving_loses_no_signal(gateway: Gateway, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.pair() as (alice, bob):
            for number in range(1, 501):
                assert await bob.enqueue(data=str(number)) == number
            await bob.disconnect()
            assert await numbers(alice, bob.connection.id, 500) == list(range(1, 501))
            assert isinstance(await anext(alice), ConnectionDestroyed)

    play(scenario())


@each_transport
def test_rejections(gateway: Gateway, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.pair() as (alice, _):
            with pytest.raises(signalbox.RejectedError) as rejected:
                await alice.signal(data="lost", to=NOBODY)
            assert rejected.value.code is signalbox.ErrorCode.NOT_FOUND
            assert await alice.enqueue(data="lost", to=NOBODY) == 2
            event = await next_of(alice, Rejected)
            assert (event.signal, event.code) == (2, signalbox.ErrorCode.NOT_FOUND)
            await alice.force_disconnect(NOBODY)
            event = await next_of(alice, Rejected)
            assert (event.signal, event.code) == (None, signalbox.ErrorCode.FORBIDDEN)
            assert await alice.signal(data="goes on") == 3

    play(scenario())


def test_invalid_signals_are_not_sent(gateway: Gateway) -> None:
    world = World(gateway, "websocket")

    async def scenario() -> None:
        async with world.connect("alice") as alice:
            for signal, code in [
                ({"type": "t" * 129}, signalbox.ErrorCode.TYPE_TOO_LONG),
                ({"type": "a b"}, signalbox.ErrorCode.INVALID_TYPE),
                ({"data": "é" * 4096 + "!"}, signalbox.ErrorCode.DATA_TOO_LONG),
                ({"data": "\ud800"}, None),
                ({"to": "bob"}, None),
            ]:
                with pytest.raises(signalbox.InvalidSignalError) as invalid:
                    await alice.signal(**signal)
                assert invalid.value.code is code
            assert await alice.signal(type="t" * 128, data="é" * 4096) == 1

    play(scenario())


@each_transport
def test_force_disconnect(gateway: Gateway, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.connect("moderator", role="moderator") as moderator:
            async with world.connect("victim") as victim:
                await moderator.force_disconnect(victim.connection.id)
                events = [event async for event in victim]
                assert events[-1].reason is CloseReason.FORCE_DISCONNECTED
                with pytest.raises(signalbox.DisconnectedError):
                    await victim.signal()
            destroyed = await next_of(moderator, ConnectionDestroyed)
            assert destroyed.reason is DisconnectReason.FORCE_DISCONNECTED

    play(scenario())


@each_transport
@pytest.mark.parametrize("resume", [True, False])
def test_a_lost_link(gateway: Gateway, links: Links, transport: str, resume: bool) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.connect("alice") as alice:
            async with world.connect("bob", resume=resume) as bob:
                before = bob.connection
                await next_of(bob, ConnectionCreated)
                await bob.signal(data="1")
                links.cut_newest()
                reconnecting = await next_of(bob, Reconnecting)
                assert reconnecting.reason is CloseReason.NETWORK_DISCONNECTED
                if resume:
                    assert await next_of(bob, Reconnected, Rejoined) == Reconnected(0, None)
                    assert bob.connection == before
                    assert await bob.signal(data="2") == 2
                    assert await numbers(alice, before.id, 2) == [1, 2]
                else:
                    rejoined = await next_of(bob, Reconnected, Rejoined)
                    assert rejoined == Rejoined(bob.connection)
                    assert bob.connection.id != before.id
                    assert await next_of(bob, ConnectionCreated) == ConnectionCreated(
                        alice.connection
                    )

    play(scenario())


@each_transport
def test_signals_of_both_sides_survive_lost_links(
    gateway: Gateway, links: Links, transport: str
) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.pair() as (alice, bob):
            for part in range(3):
                for number in range(part * PART + 1, (part + 1) * PART + 1):
                    await bob.enqueue(data=str(number))
                    await alice.enqueue(data=str(number))
                links.cut_newest()
                assert (await next_of_keeping_signals(bob)).gap is None
            everything = list(range(1, 3 * PART + 1))
            assert await numbers(alice, bob.connection.id, 3 * PART) == everything
            await bob.signal(data=str(3 * PART + 1))

    async def next_of_keeping_signals(bob: Session) -> Reconnected:
        async for event in bob:
            match event:
                case Signal(sender, seq):
                    assert seq == heard.get(sender, 0) + 1
                    heard[sender] = seq
                case Reconnected():
                    return event
                case Disconnected() | Rejoined() | Rejected():
                    pytest.fail(str(event))
        raise AssertionError("the session has ended")

    heard: dict[Any, int] = {}
    play(scenario())


@pytest.mark.parametrize("early_data", [True, False])
def test_early_data(gateway: Gateway, links: Links, early_data: bool) -> None:
    world = World(gateway, "quic")

    async def scenario() -> None:
        async with world.connect("bob", early_data=early_data) as bob:
            await bob.signal(data="1")
            links.cut_newest()
            assert await next_of(bob, Reconnected, Rejoined) == Reconnected(0, None)
            assert links.newest.early_data_accepted is early_data

    play(scenario())


def test_early_data_that_the_gateway_does_not_accept(
    gateway: Gateway, links: Links, tmp_path: Path
) -> None:
    """With a TLS session of another gateway, as after a restart, the client resumes all the same."""
    world = World(gateway, "quic")

    async def scenario(other: Gateway) -> None:
        async with world.connect("bob") as bob:
            await bob.signal(data="1")
            dialer = links.dialers[-1]
            token = mint_token(other, mint_session(other))
            async with signalbox.connect(quic(other), token, ca_file=other.ca) as elsewhere:
                await elsewhere.signal(data="1")
                (foreign,) = links.dialers[-1]._session_tickets.values()
            (url,) = dialer._session_tickets
            dialer._session_tickets[url] = foreign
            links._opened[0].abort()
            assert await next_of(bob, Reconnected, Rejoined) == Reconnected(0, None)
            assert not links.newest.early_data_accepted
            assert await bob.signal(data="2") == 2

    options = ("--dev", "--dev-dir", str(tmp_path / "dev"))
    with running(tmp_path / "stderr.log", *options) as announcement:
        play(scenario(Gateway.parse(announcement)))


@each_transport
def test_a_signal_that_is_not_retried(gateway: Gateway, links: Links, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.connect("bob") as bob:
            await bob.signal(data="1")
            links.cut_newest()
            await next_of(bob, Reconnecting)
            with pytest.raises(signalbox.NotSentError):
                await bob.signal(data="only useful now", retry_after_reconnect=False)
            await next_of(bob, Reconnected)
            assert await bob.signal(data="2") == 2

    play(scenario())


@each_transport
def test_a_client_that_leaves_without_a_link_says_goodbye(
    gateway: Gateway, links: Links, transport: str
) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        async with world.connect("alice") as alice, world.connect("bob") as bob:
            await bob.signal(data="1")
            links.cut_newest()
            await next_of(bob, Reconnecting)
            await bob.enqueue(data="2")
            await bob.disconnect()
            assert await numbers(alice, bob.connection.id, 2) == [1, 2]
            destroyed = await next_of(alice, ConnectionDestroyed)
            assert destroyed.reason is DisconnectReason.CLIENT_DISCONNECTED

    play(scenario())


@each_transport
def test_an_application_that_reads_late_misses_nothing(gateway: Gateway, transport: str) -> None:
    """More events than the queue holds, and calls of `signal` do not wait for them to be read."""
    world = World(gateway, transport)
    count = signalbox.events.EVENT_QUEUE + 500

    async def scenario() -> None:
        async with world.connect("alice") as alice:
            for number in range(1, count + 1):
                await alice.enqueue(data=str(number))
            assert await alice.signal(data=str(count + 1)) == count + 1
            everything = list(range(1, count + 2))
            assert await numbers(alice, alice.connection.id, count + 1) == everything

    play(scenario())


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (lambda gateway: "wss://nobody.invalid", signalbox.UnreachableError),
        (lambda gateway: "quic://nobody.invalid", signalbox.ResolveError),
        (lambda gateway: "wss://127.0.0.1:1", signalbox.UnreachableError),
        (lambda gateway: f"ws://{gateway.https}", signalbox.UnreachableError),
        (lambda gateway: f"wss://{gateway.https}/nowhere", signalbox.UnreachableError),
    ],
)
def test_addresses_that_are_no_gateway(
    gateway: Gateway, url: Callable[[Gateway], str], error: type[Exception]
) -> None:
    async def scenario() -> None:
        with pytest.raises(error):
            await signalbox.connect(url(gateway), "token", ca_file=gateway.ca)

    play(scenario())


@pytest.mark.parametrize("url", [quic, websocket])
def test_an_untrusted_certificate(gateway: Gateway, url: Callable[[Gateway], str]) -> None:
    async def scenario() -> None:
        with pytest.raises(signalbox.UnreachableError) as unreachable:
            await signalbox.connect(url(gateway), "token")
        assert unreachable.value.cause is signalbox.UnreachableCause.CERTIFICATE

    play(scenario())


def test_certificates_that_cannot_be_used(gateway: Gateway, tmp_path: Path) -> None:
    damaged = tmp_path / "ca.pem"
    damaged.write_text("not a certificate")

    async def scenario() -> None:
        for ca_file in (damaged, tmp_path / "missing.pem"):
            with pytest.raises(signalbox.RootsError):
                await signalbox.connect(websocket(gateway), "token", ca_file=ca_file)

    play(scenario())


@pytest.mark.parametrize("transport", ["quic", "websocket"])
def test_a_bad_token_is_refused(gateway: Gateway, transport: str) -> None:
    async def scenario() -> None:
        url = TRANSPORTS[transport][0](gateway)
        with pytest.raises(signalbox.RefusedError) as refused:
            await signalbox.connect(url, "abc.def.ghi", ca_file=gateway.ca)
        assert refused.value.reason is CloseReason.INVALID_TOKEN
        assert "abc.def.ghi" not in str(refused.value)

    play(scenario())


def test_fallback(gateway: Gateway) -> None:
    """Nothing answers at the first URL."""
    world = World(gateway, "websocket")

    async def scenario() -> None:
        token = mint_token(gateway, world.session)
        connecting = signalbox.connect(
            ["quic://127.0.0.1:1", websocket(gateway)], token, ca_file=gateway.ca
        )
        async with connecting as session:
            assert await session.signal(data="1") == 1

    play(scenario())


@pytest.mark.parametrize("transport", ["quic", "websocket"])
def test_a_gateway_that_is_down_or_silent_costs_little(gateway: Gateway, transport: str) -> None:
    world = World(gateway, transport)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        scheme, good = ("quic", quic) if transport == "quic" else ("wss", websocket)
        kind = socket.SOCK_DGRAM if transport == "quic" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as silent:
            silent.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                silent.listen()
            for port in (1, silent.getsockname()[1]):
                urls = [f"{scheme}://127.0.0.1:{port}", good(gateway)]
                started = loop.time()
                token = mint_token(gateway, world.session)
                async with signalbox.connect(urls, token, ca_file=gateway.ca) as session:
                    assert loop.time() - started < LITTLE_S
                    assert await session.signal(data="1") == 1

    play(scenario())


@pytest.mark.parametrize("transport", ["quic", "websocket"])
def test_a_gateway_that_is_killed(tmp_path: Path, transport: str) -> None:
    """The client joins the other gateway, which does not know its ticket."""
    options = ("--dev", "--dev-dir", str(tmp_path / "dev"))

    async def scenario(first: Gateway, second: Gateway, kill: Callable[[], None]) -> None:
        url = TRANSPORTS[transport][0]
        session_id = mint_session(second)
        token = mint_token(second, session_id)
        urls = [url(first), url(second)]
        options = {"ca_file": second.ca, "keep_alive": 0.3}
        async with signalbox.connect(urls, token, **options) as session:
            before = session.connection
            await session.signal(data="1")
            await asyncio.to_thread(kill)
            lost = await next_of(session, Reconnecting)
            assert lost.reason is CloseReason.NETWORK_DISCONNECTED
            assert await next_of(session, Rejoined, Reconnected) == Rejoined(session.connection)
            assert session.connection.id != before.id
            async with signalbox.connect(url(second), token, **options) as bob:
                assert bob.present_on_joining == 1

    with running(tmp_path / "second.log", *options) as second:
        killed = running(tmp_path / "first.log", *options)
        first = Gateway.parse(killed.__enter__())
        # An error in its block ends it without SIGTERM.
        kill = lambda: killed.__exit__(RuntimeError, RuntimeError(), None)
        play(scenario(first, Gateway.parse(second), kill), 2 * DEADLINE_S)


@pytest.mark.parametrize("transport", ["quic", "websocket"])
def test_a_gateway_that_goes_down(tmp_path: Path, transport: str) -> None:
    """The client joins the other gateway, which does not know its ticket."""
    options = ("--dev", "--dev-dir", str(tmp_path / "dev"))

    async def scenario(other: Gateway, going: Gateway, stop: Callable[[], None]) -> None:
        url = TRANSPORTS[transport][0]
        world = World(other, transport)
        token = mint_token(other, world.session)
        connecting = signalbox.connect([url(going), url(other)], token, ca_file=other.ca)
        async with connecting as session:
            before = session.connection
            await session.signal(data="1")
            await asyncio.to_thread(stop)
            assert (await next_of(session, Reconnecting)).reason is CloseReason.SHUTTING_DOWN
            assert await next_of(session, Rejoined, Reconnected) == Rejoined(session.connection)
            assert session.connection.id != before.id
            assert await session.signal(data="2") == 1

    with running(tmp_path / "other.log", *options) as other:
        going = running(tmp_path / "going.log", *options)
        first = Gateway.parse(going.__enter__())
        stop = lambda: going.__exit__(None, None, None)
        play(scenario(Gateway.parse(other), first, stop), 2 * DEADLINE_S)


@pytest.mark.timeout(CHAOS_DEADLINE_S)
@pytest.mark.parametrize(
    ("one", "other"), [("quic", "websocket-json"), ("quic-single", "websocket")]
)
def test_through_chaos_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, one: str, other: str
) -> None:
    async def talk(me: Session, returned: list[int]) -> None:
        """Sends a number when its last one has come back, until both have resumed twice."""
        heard: dict[Any, int] = {}
        returns = 0
        await me.enqueue(data="1")
        async for event in me:
            match event:
                case Reconnected(_, gap):
                    assert gap is None
                    returns += 1
                    returned.append(returns)
                case Signal(sender, seq, _, data):
                    assert data == str(seq)
                    assert sender not in heard or seq == heard[sender] + 1
                    heard[sender] = seq
                    if sender == me.connection.id and returned.count(2) < 2:
                        await me.enqueue(data=str(seq + 1))
                    if returned.count(2) >= 2 and len(heard) == 2:
                        return
                case Rejoined() | Rejected() | Disconnected():
                    pytest.fail(str(event))

    async def scenario(gateway: Gateway) -> None:
        world = World(gateway, one)
        world_of_other = World(gateway, other)
        world_of_other.session = world.session
        patient = {"keep_alive": 0.5}
        async with world.connect("one", **patient) as a:
            async with world_of_other.connect("other", **patient) as b:
                returned: list[int] = []
                await asyncio.gather(talk(a, returned), talk(b, returned))

    options = ("--dev", "--dev-dir", str(tmp_path / "dev"))
    chaos = ("--chaos", "cut=2s,delay=20ms,drop=0.03,seed=7")
    settings = {"SIGNALBOX_TIMEOUTS__IDLE_MS": "1500"}
    with running(tmp_path / "stderr.log", *options, *chaos, **settings) as announcement:
        play(scenario(Gateway.parse(announcement)), CHAOS_DEADLINE_S)
