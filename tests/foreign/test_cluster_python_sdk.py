"""Clients of the Python SDK on the gateways of a cluster, each with a list of URLs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import signalbox
from cluster import GATEWAYS, Cluster
from gateways import mint_session, mint_token
from signalbox import (
    CloseReason,
    Connected,
    ConnectionCreated,
    ConnectionDestroyed,
    Disconnected,
    DisconnectReason,
    Gap,
    Reconnected,
    Reconnecting,
    Rejoined,
    Session,
    Signal,
)
from test_python_sdk import TRANSPORTS

DEADLINE_S = 50
# A gateway that is killed is lost for the others within this time.
LOST_WITHIN_S = 3
COUNT = "count"
SIGNALS_EACH = 200
PART = 40

KEEP_ALIVE_S = 0.5

each_transport = pytest.mark.parametrize("transport", ["quic", "websocket"])


class Recorder:
    """A session, and all of its events so far, which it reads as they come."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.first_connection = session.connection
        self.events: list[Any] = []
        # The newest signal of each sender, by the number in its data.
        self._newest: dict[Any, int] = {}
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def id(self) -> str:
        return self.session.connection.id

    async def _read(self) -> None:
        async for event in self.session:
            async with self._changed:
                self.events.append(event)
                if isinstance(event, Signal) and event.type == COUNT:
                    self._newest[event.sender] = int(event.data)
                self._changed.notify_all()

    async def until(self, found: Callable[["Recorder"], Any]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: found(self))

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def heard(self, sender: "Recorder") -> list[int]:
        """The numbers that a sender has sent as data."""
        id = sender.first_connection.id
        signals = [it for it in self.of(Signal) if (it.sender, it.type) == (id, COUNT)]
        assert [it.seq for it in signals] == sorted({it.seq for it in signals})
        return [int(it.data) for it in signals]

    async def until_heard(self, sender: "Recorder", last: int) -> None:
        await self.until(lambda it: it._newest.get(sender.first_connection.id) == last)

    def presence_of(self, other: "Recorder") -> list[type]:
        """The events about the other connection: its presence, and its signals as one."""
        kinds: list[type] = []
        for event in self.of(ConnectionCreated, ConnectionDestroyed, Signal):
            match event:
                case ConnectionCreated(connection):
                    about = connection.id
                case ConnectionDestroyed(id):
                    about = id
                case Signal(sender):
                    about = sender
            if about == other.first_connection.id and kinds[-1:] != [type(event)]:
                kinds.append(type(event))
        return kinds

    def lost(self) -> list[Any]:
        """The signals that the client was told it will not receive."""
        gaps = self.of(Gap) + [it.gap for it in self.of(Reconnected) if it.gap is not None]
        return [lost for gap in gaps for lost in gap.lost]


class World:
    """A signaling session, and its clients at the gateways of a cluster."""

    def __init__(self, cluster: Cluster, transport: str = "quic") -> None:
        self.cluster = cluster
        self.session = mint_session(cluster.at(0))
        self._transport = transport

    def urls(self, *gateways: int, transport: str | None = None) -> list[str]:
        url, _ = TRANSPORTS[transport or self._transport]
        return [url(self.cluster.at(number)) for number in gateways]

    @asynccontextmanager
    async def client(
        self, *gateways: int, transport: str | None = None, **options: Any
    ) -> AsyncIterator[Recorder]:
        """A client with the URLs of these gateways. It has joined at the first one."""
        where = self.cluster.at(gateways[0])
        token = await asyncio.to_thread(mint_token, where, self.session)
        _, of_transport = TRANSPORTS[transport or self._transport]
        given = {"ca_file": where.ca, "keep_alive": KEEP_ALIVE_S, **of_transport, **options}
        urls = self.urls(*gateways, transport=transport)
        async with signalbox.connect(urls, token, **given) as session:
            recorder = Recorder(session)
            await self._resumable(recorder)
            yield recorder

    async def _resumable(self, client: Recorder) -> None:
        """Waits until the client has its ticket, which comes ahead of this signal."""
        await client.session.signal(type="resumable", to=client.id)
        await client.until(lambda it: any(event.type == "resumable" for event in it.of(Signal)))


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, DEADLINE_S))


async def send_part(client: Recorder, begin: int, count: int = PART) -> None:
    for number in range(begin, begin + count):
        await client.session.enqueue(type=COUNT, data=str(number))


async def know_each_other(*clients: Recorder) -> None:
    for client in clients:
        others = {other.id for other in clients if other is not client}
        await client.until(
            lambda it: {event.connection.id for event in it.of(ConnectionCreated)} >= others
        )


def test_many_clients_on_all_gateways(cluster: Cluster) -> None:
    """Everyone hears everyone, in order; each connection is announced before and ends after."""
    world = World(cluster)

    async def scenario() -> None:
        listener_of = world.client(0, 1)
        kinds = ["quic", "websocket", "quic-single", "websocket-json"]
        clients = [
            world.client(number % GATEWAYS, (number + 1) % GATEWAYS, transport=kinds[number % 4])
            for number in range(2 * GATEWAYS)
        ]
        async with listener_of as listener:
            joined = await asyncio.gather(*(client.__aenter__() for client in clients))
            await asyncio.gather(*(send_part(client, 1, SIGNALS_EACH) for client in joined))
            for receiver in [listener, *joined]:
                for sender in joined:
                    await receiver.until_heard(sender, SIGNALS_EACH)
                    assert receiver.heard(sender) == list(range(1, SIGNALS_EACH + 1))
                assert receiver.lost() == []
            await asyncio.gather(*(client.__aexit__(None, None, None) for client in clients))
            await listener.until(lambda it: len(it.of(ConnectionDestroyed)) == len(clients))
            for sender in joined:
                story = [ConnectionCreated, Signal, ConnectionDestroyed]
                assert listener.presence_of(sender) == story

    play(scenario())


@pytest.mark.parametrize("end", ["kill", "stop"])
@each_transport
def test_clients_resume_on_another_gateway(own_cluster: Cluster, transport: str, end: str) -> None:
    """Signals go on all the time, from and to the client that moves."""
    cluster = own_cluster
    world = World(cluster, transport)

    async def scenario() -> None:
        async with (
            world.client(0, 1, 2, rejoin=False) as moving,
            world.client(1, 2, rejoin=False) as second,
            world.client(2, 1, rejoin=False) as third,
        ):
            await know_each_other(moving, second, third)
            everyone = [moving, second, third]
            for client in everyone:
                await send_part(client, 1)
            for receiver in everyone:
                for sender in everyone:
                    await receiver.until_heard(sender, PART)
            ending = asyncio.create_task(asyncio.to_thread(getattr(cluster, end), 0))
            # Until the client is back, in small parts.
            sent = PART
            while not moving.of(Reconnected):
                for client in (second, third):
                    await client.session.signal(type=COUNT, data=str(sent + 1))
                await moving.session.enqueue(type=COUNT, data=str(sent + 1))
                sent += 1
            await ending
            for client in everyone:
                await send_part(client, sent + 1)
            last = sent + PART
            for receiver in everyone:
                for sender in everyone:
                    await receiver.until_heard(sender, last)
            everything = list(range(1, last + 1))
            for receiver in everyone:
                for sender in (second, third):
                    assert receiver.heard(sender) == everything
            assert moving.heard(moving) == everything
            # Signals that only the killed gateway had seen are lost, and the others are told so.
            for receiver in (second, third):
                heard, lost = receiver.heard(moving), receiver.lost()
                assert set(heard) <= set(everything)
                if end == "stop" or len(heard) == last:
                    assert (heard, lost) == (everything, [])
                else:
                    assert {it.sender for it in lost} == {moving.id}
                    told = sum(it.until - it.after for it in lost)
                    assert len(heard) + told >= last
                # Nobody has noticed anything.
                assert receiver.presence_of(moving) == [ConnectionCreated, Signal]
                assert not receiver.of(Reconnecting, Rejoined, ConnectionDestroyed)
            assert moving.first_connection == moving.session.connection
            reason = CloseReason.SHUTTING_DOWN if end == "stop" else CloseReason.NETWORK_DISCONNECTED
            assert [it.reason for it in moving.of(Reconnecting)] == [reason]
            assert moving.lost() == []
            assert not moving.of(Rejoined, ConnectionDestroyed, Disconnected)

    play(scenario())


@each_transport
def test_clients_that_do_not_resume_are_destroyed_once(
    own_cluster: Cluster, transport: str
) -> None:
    world = World(own_cluster, transport)

    async def scenario() -> None:
        alone = {"resume": False, "rejoin": False}
        async with (
            world.client(1) as second,
            world.client(2) as third,
            world.client(0, **alone) as lost,
            world.client(0, 1, 2, resume=False) as returning,
        ):
            await know_each_other(second, third, lost, returning)
            await asyncio.to_thread(own_cluster.kill, 0)
            killed_at = time.monotonic()
            gone = {lost.first_connection.id, returning.first_connection.id}
            for client in (second, third):
                await client.until(lambda it: len(it.of(ConnectionDestroyed)) == 2)
                assert time.monotonic() - killed_at < LOST_WITHIN_S
            await returning.until(lambda it: it.of(Rejoined))
            await returning.session.signal(type="last")
            for client in (second, third):
                await client.until(lambda it: any(event.type == "last" for event in it.of(Signal)))
                destroyed = client.of(ConnectionDestroyed)
                assert {event.id for event in destroyed} == gone and len(destroyed) == 2
                reasons = {event.reason for event in destroyed}
                assert reasons == {DisconnectReason.NETWORK_DISCONNECTED}
                created = [event.connection.id for event in client.of(ConnectionCreated)]
                assert created.count(returning.id) == 1
            await lost.until(lambda it: it.of(Disconnected))

    play(scenario())


def test_a_session_of_the_killed_gateway_alone(own_cluster: Cluster) -> None:
    """No other gateway knows it. Its clients join again, and find each other."""
    world = World(own_cluster)

    async def scenario() -> None:
        async with (
            world.client(0, 1) as alice,
            world.client(0, 2, transport="websocket") as bob,
        ):
            await know_each_other(alice, bob)
            await asyncio.to_thread(own_cluster.kill, 0)
            for client in (alice, bob):
                await client.until(lambda it: it.of(Rejoined))
                assert client.id != client.first_connection.id
            await know_each_other(alice, bob)
            await alice.session.signal(type="hello", to=bob.id)
            await bob.until(lambda it: any(event.type == "hello" for event in it.of(Signal)))

    play(scenario())


@each_transport
def test_gateways_that_the_operator_lists(own_cluster: Cluster, transport: str) -> None:
    """The client has the URL of one gateway, and learns of the others from it."""
    world = World(own_cluster, transport)
    others = world.urls(1, 2)
    own_cluster.stop(0)
    own_cluster.start(0, SIGNALBOX_RESUME__GATEWAYS=json.dumps(others))
    own_cluster.wait_until_known()

    async def scenario() -> None:
        async with (
            world.client(2, rejoin=False) as staying,
            world.client(0, rejoin=False) as moving,
        ):
            await know_each_other(staying, moving)
            assert list(moving.session.gateways) == others
            await asyncio.to_thread(own_cluster.kill, 0)
            await send_part(staying, 1)
            await moving.until(lambda it: it.of(Reconnected))
            await moving.until_heard(staying, PART)
            assert moving.heard(staying) == list(range(1, PART + 1))
            assert moving.first_connection == moving.session.connection
            assert staying.presence_of(moving) == [ConnectionCreated]

    play(scenario())


def test_an_upgrade_of_one_gateway_after_another(own_cluster: Cluster) -> None:
    """All are replaced while clients of all send. Nobody notices more than a lost link."""
    world = World(own_cluster)

    async def scenario() -> None:
        transports = ["quic", "websocket", "quic"]
        orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
        clients = [
            world.client(*order, transport=transport, rejoin=False)
            for order, transport in zip(orders, transports)
        ]
        everyone = [await client.__aenter__() for client in clients]
        await know_each_other(*everyone)
        upgraded = asyncio.Event()

        async def send(client: Recorder) -> int:
            """Sends one signal after another until the upgrade is over. Returns the last number."""
            number = 0
            while not upgraded.is_set():
                number += 1
                await client.session.signal(type=COUNT, data=str(number))
            await client.session.signal(type=COUNT, data=str(number + 1))
            return number + 1

        sending = [asyncio.create_task(send(client)) for client in everyone]
        for number in range(GATEWAYS):
            await asyncio.to_thread(own_cluster.stop, number)
            await asyncio.to_thread(own_cluster.start, number)
            await asyncio.to_thread(own_cluster.wait_until_known)
        upgraded.set()
        last = await asyncio.gather(*sending)
        for receiver in everyone:
            for sender, number in zip(everyone, last):
                await receiver.until_heard(sender, number)
                assert receiver.heard(sender) == list(range(1, number + 1))
            assert receiver.lost() == []
            assert len(receiver.of(ConnectionCreated)) == len(everyone) - 1
            assert not receiver.of(ConnectionDestroyed, Rejoined, Disconnected)
            assert receiver.of(Reconnected)
        for client in clients:
            await client.__aexit__(None, None, None)

    play(scenario())
