"""Webhooks of a cluster: each event is posted once, by one of the gateways."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from standardwebhooks.webhooks import Webhook

from cluster import GATEWAYS, Cluster
from gateways import mint_session, mint_token
from link import Link
from room import CARRIERS
from stage import QUIC, Carrier
from vendor import Vendor
from webhook_receiver import Receiver

# Enough that each of the remaining gateways has to report some.
EACH = 8
# A connection of a lost gateway is kept for the time in which its client notices, and this window.
SHORT_WINDOW = {"SIGNALBOX_RESUME__WINDOW_MS": "1000", "SIGNALBOX_TIMEOUTS__IDLE_MS": "3000"}

Event = tuple[str, str, str | None]


class Watched:
    """A session of the project with the webhook, and what the project's server is told of it."""

    def __init__(self, cluster: Cluster, receiver: Receiver) -> None:
        self._cluster = cluster
        self._receiver = receiver
        self.session = mint_session(self.at(0))
        self._links: list[Link] = []
        self.events: list[Event] = []
        self.ids: list[str] = []

    def at(self, gateway: int) -> Vendor:
        vendor = self._cluster.at(gateway)
        return replace(vendor, project=vendor.watched)

    async def join(self, gateway: int, carrier: Carrier = QUIC, resume: bool = False) -> Link:
        where = self.at(gateway)
        token = await asyncio.to_thread(mint_token, where, self.session)
        link = await carrier.connect(where, token, presence=True, resume=resume)
        self._links.append(link)
        if resume:
            await link.first_ticket()
        return link

    async def resume(self, link: Link, gateway: int, carrier: Carrier) -> Link:
        link = await carrier.resume(self.at(gateway), link)
        self._links.append(link)
        return link

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links))

    async def told(self, *awaited: Event) -> None:
        """Reads deliveries until all of these events have come."""
        while not set(awaited) <= set(self.events):
            await self._read()

    async def told_all(self, *gateways: int) -> None:
        """Reads what these gateways have posted. Each posts the events of a session in order, so
        nothing that happened before is posted after the events of a client that comes and goes."""
        for gateway in gateways:
            link = await self.join(gateway)
            await link.goodbye()
            await self.told(created(link), destroyed(link, "clientDisconnected"))

    async def _read(self) -> None:
        delivery = await asyncio.to_thread(self._receiver.next, self.session)
        said = Webhook(self.at(0).webhook_secret).verify(delivery.body, delivery.headers)
        assert said["sessionId"] == self.session
        self.events.append((said["event"], said["connection"]["id"], said.get("reason")))
        self.ids.append(delivery.id)


def created(link: Link) -> Event:
    return ("connectionCreated", link.me, None)


def destroyed(link: Link, reason: str) -> Event:
    return ("connectionDestroyed", link.me, reason)


def check_once(watched: Watched, *expected: Event) -> None:
    """Each of the expected events was posted once, and every other one once as well."""
    repeated = {event: times for event, times in Counter(watched.events).items() if times > 1}
    assert repeated == {}
    ended = Counter(id for event, id, _ in watched.events if event == "connectionDestroyed")
    assert all(times == 1 for times in ended.values()), watched.events
    assert set(expected) <= set(watched.events)
    assert len(set(watched.ids)) == len(watched.ids)


def play(
    cluster: Cluster, receiver: Receiver, scenario: Callable[[Watched], Awaitable[None]]
) -> None:
    async def in_a_session() -> None:
        watched = Watched(cluster, receiver)
        try:
            await scenario(watched)
        finally:
            await watched.close()

    asyncio.run(in_a_session())


def test_each_event_once(cluster: Cluster, receiver: Receiver) -> None:
    async def scenario(watched: Watched) -> None:
        links = [
            await watched.join(gateway, carrier)
            for gateway in range(GATEWAYS)
            for carrier in CARRIERS
        ]
        expected = [created(link) for link in links]
        await watched.told(*expected)
        moderator, *others = links
        for number, link in enumerate(others):
            if number % 2:
                await link.goodbye()
                expected.append(destroyed(link, "clientDisconnected"))
            else:
                await link.abandon()
                expected.append(destroyed(link, "networkDisconnected"))
        await watched.told(*expected)
        await watched.told_all(*range(GATEWAYS))
        check_once(watched, *expected)

    play(cluster, receiver, scenario)


def test_a_connection_that_moves(cluster: Cluster, receiver: Receiver) -> None:
    """Its events are posted by the gateway on which it was created, and by the one it is on then."""

    async def scenario(watched: Watched) -> None:
        bystander = await watched.join(2)
        moving = await watched.join(0, resume=True)
        for gateway in (1, 2, 0, 1):
            await moving.abandon()
            moving = await watched.resume(moving, gateway, CARRIERS[gateway % 2])
        await moving.goodbye()
        await bystander.next("connectionDestroyed")
        await watched.told_all(*range(GATEWAYS))
        check_once(watched, created(moving), destroyed(moving, "clientDisconnected"))

    play(cluster, receiver, scenario)


async def seen_destroyed(link: Link, gone: set[str]) -> None:
    """Waits until the client has seen all of these connections end, for one reason."""
    while gone:
        fields = await link.next("connectionDestroyed")
        assert fields["reason"] == "networkDisconnected"
        gone = gone - {fields["id"]}


async def clients_at(watched: Watched, gateway: int) -> list[Link]:
    """Half of them can be resumed."""
    return [
        await watched.join(gateway, CARRIERS[number % 2], resume=number >= EACH // 2)
        for number in range(EACH)
    ]


@pytest.mark.parametrize("own_cluster", [SHORT_WINDOW], indirect=True, ids=["short-window"])
@pytest.mark.parametrize("end", ["kill", "stop", "restart"])
def test_the_connections_of_a_gateway_that_ends(
    own_cluster: Cluster, receiver: Receiver, end: str
) -> None:
    """The remaining gateways report those that do not return."""

    def end_gateway() -> None:
        if end == "stop":
            own_cluster.stop(0)
        else:
            own_cluster.kill(0)
        if end == "restart":
            own_cluster.start(0)

    async def scenario(watched: Watched) -> None:
        bystanders = [await watched.join(1), await watched.join(2)]
        links = await clients_at(watched, 0)
        await watched.told(*map(created, links))
        await asyncio.to_thread(end_gateway)
        gone = {link.me for link in links}
        await asyncio.gather(*(seen_destroyed(link, gone) for link in bystanders))
        await watched.told_all(*((0, 1, 2) if end == "restart" else (1, 2)))
        check_once(watched, *(destroyed(link, "networkDisconnected") for link in links))

    play(own_cluster, receiver, scenario)


def test_two_gateways_that_are_killed_at_once(own_cluster: Cluster, receiver: Receiver) -> None:
    async def scenario(watched: Watched) -> None:
        bystander = await watched.join(2)
        links = [await watched.join(gateway) for gateway in (0, 1) for _ in range(2 * EACH)]
        await watched.told(*map(created, links))
        for gateway in (0, 1):
            own_cluster.kill(gateway)
        await seen_destroyed(bystander, {link.me for link in links})
        await watched.told_all(2)
        check_once(watched, *(destroyed(link, "networkDisconnected") for link in links))

    play(own_cluster, receiver, scenario)
