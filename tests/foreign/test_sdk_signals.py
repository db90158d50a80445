"""Signals and force-disconnects by an SDK, received by clients on each carrier."""

import asyncio

import pytest

from conftest import OpenSdk, Perform
from connection import SERVERS
from link import Ended, Link
from room import CARRIERS, Room
from room import perform as perform_in_room
from sdks import REQUESTING, WHOLE_VONAGE_NODE, Sdk
from signalbox import Server
from stage import Carrier
from vendor import Vendor

TYPE = "t" * 123 + "-._~9"
# The most bytes that are allowed, in half as many characters, for SDKs that count characters.
DATA = "é" * 4096

each_sdk = pytest.mark.parametrize("sdk", REQUESTING, ids=str)


async def next_from_server(link: Link) -> tuple[str | None, str | None]:
    """Type and data of the next signal, which must be from a server."""
    signal = await link.next("signal")
    assert signal["from"] == SERVERS
    return signal["type"], signal["data"]


async def one_on_each_carrier(room: Room) -> list[Link]:
    return [await room.join(carrier, resume=True, data=carrier.name) for carrier in CARRIERS]


@each_sdk
def test_to_all(perform: Perform) -> None:
    async def play(room: Room) -> None:
        links = await one_on_each_carrier(room)
        for data in ("first", "zweitens, für alle 🚦", '{"third":[3]}', ""):
            await room.signal(type="chat", data=data)
            for link in links:
                assert await next_from_server(link) == ("chat", data)
        await room.signal(type=TYPE, data=DATA)
        for link in links:
            assert await next_from_server(link) == (TYPE, DATA)

    perform(play)


@pytest.mark.parametrize("slash", [False, True], ids=["plain", "slash"])
@pytest.mark.parametrize("sdk", [*REQUESTING, WHOLE_VONAGE_NODE], ids=str)
def test_by_base_urls_as_people_write_them(
    vendor: Vendor, open_sdk: OpenSdk, sdk: Sdk, slash: bool
) -> None:
    """With a slash at the end of the URL, most SDKs request paths that begin with two slashes."""
    client = open_sdk(sdk, slash=slash)

    async def play(room: Room) -> None:
        link = await room.join()
        await room.signal(type="chat", data="hello", to=link)
        assert await next_from_server(link) == ("chat", "hello")
        await room.force_disconnect(link)
        with pytest.raises(Ended, match="forceDisconnected"):
            await link.next("signal")

    perform_in_room(vendor, client, client, play)


@each_sdk
def test_without_a_type(perform: Perform) -> None:
    """As the vendor's documentation allows. An SDK whose types require one sends an empty type."""

    async def play(room: Room) -> None:
        links = await one_on_each_carrier(room)
        await room.signal(type="", data="untyped")
        for link in links:
            type, data = await next_from_server(link)
            assert (type or "", data) == ("", "untyped")

    perform(play)


@each_sdk
def test_to_one_and_in_order(perform: Perform) -> None:
    """Signals of a server arrive in the order in which they were sent, to one or to all."""

    async def play(room: Room) -> None:
        links = await one_on_each_carrier(room)
        expected: dict[str, list[str]] = {link.me: [] for link in links}
        for number in range(30):
            chosen = [None, *links][number % 3]
            await room.signal(type="count", data=str(number), to=chosen)
            for link in links if chosen is None else [chosen]:
                expected[link.me].append(str(number))
        for link in links:
            received = [(await next_from_server(link))[1] for _ in expected[link.me]]
            assert received == expected[link.me]

    perform(play)


@each_sdk
def test_the_role_decides_who_receives_a_signal(perform: Perform) -> None:
    """Subscribers and moderators receive it, and a client with `publisheronly` does not."""

    async def play(room: Room) -> None:
        moderator = await room.join(role="moderator")
        subscriber = await room.join(role="subscriber")
        deaf = await room.join(role="publisheronly")
        await room.signal(type="t", data="for all who may")
        for link in (moderator, subscriber):
            assert await next_from_server(link) == ("t", "for all who may")
        await moderator.goodbye()
        kinds = [(await deaf.event()).kind for _ in range(2)]
        assert kinds == ["present", "connectionDestroyed"]

    perform(play)


@each_sdk
@pytest.mark.parametrize("carrier", CARRIERS, ids=str)
def test_force_disconnect(perform: Perform, carrier: Carrier) -> None:
    async def play(room: Room) -> None:
        bystanders = await one_on_each_carrier(room)
        victim = await room.join(carrier, data="victim")
        for bystander in bystanders:
            created = {}
            while created.get("id") != victim.me:
                created = await bystander.next("connectionCreated")
        await room.force_disconnect(victim)
        await victim.next("ended")
        assert victim.bye["reason"] == victim.ended["reason"] == "forceDisconnected"
        assert victim.ended["code"] == carrier.close_code("forceDisconnected")
        for bystander in bystanders:
            destroyed = await bystander.next("connectionDestroyed")
            assert (destroyed["id"], destroyed["reason"]) == (victim.me, "forceDisconnected")

    perform(play)


@each_sdk
def test_a_disconnected_client_may_return(perform: Perform) -> None:
    """Its token stays valid until it expires, as a force-disconnect does not revoke it."""

    async def play(room: Room) -> None:
        token = await room.minted()
        victim = await room.admit(token)
        await room.force_disconnect(victim)
        await victim.next("ended")
        again = await room.admit(token)
        assert again.me != victim.me

    perform(play)


@each_sdk
def test_many_at_once(perform: Perform) -> None:
    """Clients and the server send at the same time; the order of each sender holds."""

    async def play(room: Room) -> None:
        alice, bob = await one_on_each_carrier(room)

        async def by_server() -> None:
            for number in range(20):
                await room.signal(type="server", data=str(number))

        async def by_alice() -> None:
            for number in range(20):
                await alice.signal(type="alice", data=str(number))

        await asyncio.gather(by_server(), by_alice())
        heard: dict[str | Server, list[str]] = {SERVERS: [], alice.me: []}
        while len(heard[SERVERS]) < 20 or len(heard[alice.me]) < 20:
            signal = await bob.next("signal")
            heard[signal["from"]].append(signal["data"])
        assert heard == {sender: [str(number) for number in range(20)] for sender in heard}

    perform(play)


@each_sdk
def test_a_detached_client_receives_signals_later(perform: Perform) -> None:
    """Signals of servers to a detached client wait for it."""

    async def play(room: Room) -> None:
        carriers = dict(zip(CARRIERS, reversed(CARRIERS)))
        links = {carrier: await room.join(carrier, resume=True, data=carrier.name) for carrier in carriers}
        for link in links.values():
            await link.first_ticket()
        await room.signal(type="before", data="1")
        for link in links.values():
            assert await next_from_server(link) == ("before", "1")
            await link.abandon()
        for link in links.values():
            await room.signal(type="to-one", data="2", to=link)
        await room.signal(type="to-all", data="3")
        for carrier, link in links.items():
            link = await room.resume(link, carriers[carrier])
            assert await next_from_server(link) == ("to-one", "2")
            assert await next_from_server(link) == ("to-all", "3")
            await room.signal(type="behind", data="4", to=link)
            assert await next_from_server(link) == ("behind", "4")

    perform(play)


@each_sdk
def test_a_detached_client_can_be_disconnected(perform: Perform) -> None:
    async def play(room: Room) -> None:
        bystander = await room.join()
        away = await room.join(resume=True)
        await away.first_ticket()
        await away.abandon()
        await room.force_disconnect(away)
        destroyed = await bystander.next("connectionDestroyed")
        assert (destroyed["id"], destroyed["reason"]) == (away.me, "forceDisconnected")
        with pytest.raises(Ended, match="forceDisconnected"):
            await room.resume(away)

    perform(play)
