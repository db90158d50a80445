"""The vendor's server SDKs at one gateway of a cluster, with the clients on the other two."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Awaitable, Callable

import pytest

from cluster import Cluster
from link import Ended, Link
from room import CARRIERS, Room
from sdks import REQUESTING, Client, Failure, Node, Sdk, by_name
from signalbox import Server
from stage import QUIC, Carrier
from test_sdk_errors import GOOD, NOBODY_THERE, NOT_THERE, check, failure_of
from test_vendor_requests import SDKS as WIRE_SDKS
from test_vendor_requests import Sdk as WireSdk
from test_vendor_requests import accepted, refused
from vendor import Vendor
from vendor_wire import exchange

# The gateway of the server, and those of the clients.
SERVED_BY = 1
JOINED_BY = (0, 2)
SERVERS = Server(f"gw-{SERVED_BY}")

each_sdk = pytest.mark.parametrize("sdk", REQUESTING, ids=str)
each_wire_sdk = pytest.mark.parametrize("sdk", WIRE_SDKS.values(), ids=WIRE_SDKS.keys())


class SpreadRoom(Room):
    """A room whose clients join at the other gateways in turn."""

    def spread_over(self, cluster: Cluster) -> None:
        self._turns = itertools.cycle(cluster.at(number) for number in JOINED_BY)

    def next_gateway(self) -> Vendor:
        return next(self._turns)


Play = Callable[[SpreadRoom], Awaitable[None]]


@pytest.fixture
def open_sdk(
    cluster: Cluster, node: Node, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Sdk], Client]:
    where = cluster.at(SERVED_BY)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(where.ca))

    def open_sdk(sdk: Sdk) -> Client:
        return sdk.open(node, where, where.application if sdk.applications else where.project)

    return open_sdk


def perform(cluster: Cluster, client: Client, play: Play, session: str | None = None) -> None:
    """Runs a scenario in a session that the SDK has created, or in the given one."""

    async def in_a_room() -> None:
        created = session or await asyncio.to_thread(client.create_session)
        room = SpreadRoom(cluster.at(SERVED_BY), client, client, created)
        room.spread_over(cluster)
        async with room:
            await play(room)

    asyncio.run(in_a_room())


async def one_on_each(room: Room) -> list[Link]:
    """A client on each of the other gateways. The first knows of the second."""
    links = [await room.join(carrier, resume=True, data=carrier.name) for carrier in CARRIERS]
    assert (await links[0].next("connectionCreated"))["id"] == links[1].me
    return links


async def next_from_server(link: Link) -> tuple[str | None, str | None]:
    signal = await link.next("signal")
    assert signal["from"] == SERVERS
    return signal["type"], signal["data"]


@each_sdk
def test_signals_to_all_and_to_one(
    cluster: Cluster, open_sdk: Callable[[Sdk], Client], sdk: Sdk
) -> None:
    async def play(room: SpreadRoom) -> None:
        links = await one_on_each(room)
        expected: dict[str, list[str]] = {link.me: [] for link in links}
        for number in range(30):
            chosen = [None, *links][number % 3]
            await room.signal(type="count", data=str(number), to=chosen)
            for link in links if chosen is None else [chosen]:
                expected[link.me].append(str(number))
        for link in links:
            received = [await next_from_server(link) for _ in expected[link.me]]
            assert received == [("count", data) for data in expected[link.me]]

    perform(cluster, open_sdk(sdk), play)


@each_sdk
@pytest.mark.parametrize("carrier", CARRIERS, ids=str)
def test_force_disconnect(
    cluster: Cluster, open_sdk: Callable[[Sdk], Client], sdk: Sdk, carrier: Carrier
) -> None:
    async def play(room: SpreadRoom) -> None:
        victim = await room.join(carrier)
        bystander = await room.join()
        await victim.next("connectionCreated")
        await room.force_disconnect(victim)
        await victim.next("ended")
        assert victim.bye["reason"] == "forceDisconnected"
        destroyed = await bystander.next("connectionDestroyed")
        assert (destroyed["id"], destroyed["reason"]) == (victim.me, "forceDisconnected")

        failure = failure_of(room.client.force_disconnect, room.session, victim.me)
        check(sdk, "disconnect", failure, 404, NOT_THERE)

    perform(cluster, open_sdk(sdk), play)


@each_sdk
def test_not_found(cluster: Cluster, open_sdk: Callable[[Sdk], Client], sdk: Sdk) -> None:
    """Only if nobody is connected at any gateway, and again once the last client has left."""
    client = open_sdk(sdk)
    session = client.create_session()
    check(sdk, "signal", failure_of(client.signal, session, GOOD), 404, NOBODY_THERE)

    async def play(room: SpreadRoom) -> None:
        links = await one_on_each(room)
        await room.signal(type="t", data="d")
        for link in links:
            assert await next_from_server(link) == ("t", "d")
        somebody = str(uuid.uuid4())
        with pytest.raises(Failure) as caught:
            await asyncio.to_thread(client.signal, session, GOOD, somebody)
        check(sdk, "signal", caught.value, 404, NOT_THERE)
        await links[1].goodbye()
        await links[0].next("connectionDestroyed")
        await room.signal(type="t", data="to the last one")
        assert await next_from_server(links[0]) == ("t", "to the last one")

    perform(cluster, client, play, session)


@each_sdk
def test_detached_clients(cluster: Cluster, open_sdk: Callable[[Sdk], Client], sdk: Sdk) -> None:
    """They receive the signals of servers when they resume on another gateway, or learn that a
    server has disconnected them."""

    async def play(room: SpreadRoom) -> None:
        first = await room.join(QUIC, resume=True)
        others = [await room.join(), await room.join()]
        await first.first_ticket()
        await room.signal(type="before", data="1")
        assert await next_from_server(first) == ("before", "1")
        await first.abandon()
        await room.signal(type="to-one", data="2", to=first)
        await room.signal(type="to-all", data="3")
        first = await room.resume(first, CARRIERS[1])
        assert await next_from_server(first) == ("to-one", "2")
        assert await next_from_server(first) == ("to-all", "3")
        await room.signal(type="behind", data="4", to=first)
        assert await next_from_server(first) == ("behind", "4")

        await first.abandon()
        await room.force_disconnect(first)
        for other in others:
            assert (await other.next("connectionDestroyed"))["reason"] == "forceDisconnected"
        with pytest.raises(Ended, match="forceDisconnected"):
            await room.resume(first)

    perform(cluster, open_sdk(sdk), play)


@each_wire_sdk
def test_requests_of_other_sdks(
    cluster: Cluster, open_sdk: Callable[[Sdk], Client], sdk: WireSdk
) -> None:
    """Those for Ruby, PHP, Java and .NET. Another SDK mints the tokens."""
    where = cluster.at(SERVED_BY)
    requests = sdk.requests(where.application if sdk.applications else where.project, where.https)
    minter = open_sdk(by_name("vonage-python" if sdk.applications else "opentok-python"))
    session = sdk.session_of(exchange(where, requests.create()))
    refused(exchange(where, requests.list_connections(session)), 404, "Session not found")

    async def play(room: SpreadRoom) -> None:
        links = await one_on_each(room)
        for to in (None, links[1]):
            request = requests.signal(session, "chat", "hello", to=to and to.me)
            accepted(await asyncio.to_thread(exchange, where, request))
        assert await next_from_server(links[0]) == ("chat", "hello")
        assert [await next_from_server(links[1]) for _ in range(2)] == [("chat", "hello")] * 2

        reply = await asyncio.to_thread(exchange, where, requests.list_connections(session))
        listed = json.loads(reply.body)
        assert reply.status == 200
        assert listed["count"] == len(listed["items"]) == 2
        assert {item["connectionId"] for item in listed["items"]} == {link.me for link in links}

        request = requests.force_disconnect(session, links[1].me)
        accepted(await asyncio.to_thread(exchange, where, request))
        await links[1].next("ended")
        assert links[1].bye["reason"] == "forceDisconnected"
        refused(await asyncio.to_thread(exchange, where, request), 404, "Not found")

    perform(cluster, minter, play, session)


@each_sdk
def test_sessions_and_tokens_of_any_gateway(
    cluster: Cluster, open_sdk: Callable[[Sdk], Client], node: Node, sdk: Sdk
) -> None:
    """A session that was created at one gateway is used at all of them by a server as well."""
    client = open_sdk(sdk)

    async def play(room: SpreadRoom) -> None:
        links = await one_on_each(room)
        for number, where in enumerate(cluster.gateways):
            credentials = where.application if sdk.applications else where.project
            there = sdk.open(node, where, credentials)
            payload = {"type": "from", "data": str(number)}
            await asyncio.to_thread(there.signal, room.session, payload)
            for link in links:
                signal = await link.next("signal")
                assert (signal["from"], signal["data"]) == (Server(f"gw-{number}"), str(number))

    perform(cluster, client, play)
