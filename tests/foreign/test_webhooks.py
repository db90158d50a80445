"""Deliveries to a project's webhook, verified as its server would verify them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

import room
from conftest import OpenSdk
from link import Link
from room import Play, Room
from sdks import by_name
from stage import QUIC, WEBSOCKET_JSON, WEBSOCKET_POSTCARD
from vendor import Vendor, new_webhook_secret
from webhook_receiver import NOTHING, Delivery, Receiver

CLOCK_SLACK_MS = 2000
DATA = 'name=Zoë "🚦" \\ \n'

Watch = Callable[[Play], None]


@pytest.fixture
def watch(vendor: Vendor, open_sdk: OpenSdk) -> Watch:
    """Runs a scenario in a session of the project with the webhook."""
    client = open_sdk(by_name("opentok-python"), vendor.watched)
    return lambda play: room.perform(vendor, client, client, play)


class Server:
    """The project's server: takes deliveries about one session and verifies each."""

    def __init__(self, vendor: Vendor, receiver: Receiver, session: str) -> None:
        self._webhook = Webhook(vendor.webhook_secret)
        self._receiver = receiver
        self._project = vendor.watched.key
        self._session = session

    async def delivery(self) -> Delivery:
        return await asyncio.to_thread(self._receiver.next, self._session)

    def said(self, delivery: Delivery) -> dict[str, Any]:
        """The contents of a signed delivery, without the members that all of the session share."""
        assert delivery.headers["content-type"] == "application/json"
        said = self._webhook.verify(delivery.body, delivery.headers)
        about = (said.pop("projectId"), said.pop("sessionId"))
        assert about == (self._project, self._session)
        timestamp = said.pop("timestamp")
        assert type(timestamp) is int
        assert abs(time.time_ns() // 1_000_000 - timestamp) < 60_000
        assert said["connection"]["createdAt"] <= timestamp + CLOCK_SLACK_MS
        return said

    async def next(self) -> dict[str, Any]:
        return self.said(await self.delivery())


def created(link: Link) -> dict[str, Any]:
    return {"event": "connectionCreated", "connection": link.welcome["connection"]}


def destroyed(link: Link, reason: str) -> dict[str, Any]:
    connection = link.welcome["connection"]
    return {"event": "connectionDestroyed", "reason": reason, "connection": connection}


def test_created_and_destroyed_connections_are_reported_with_the_reason(vendor: Vendor, receiver: Receiver, watch: Watch) -> None:
    async def play(room: Room) -> None:
        server = Server(vendor, receiver, room.session)
        alice = await room.join(QUIC, data=DATA)
        bob = await room.join(WEBSOCKET_JSON, data="bob")
        carol = await room.join(WEBSOCKET_POSTCARD)
        for link in (alice, bob, carol):
            assert await server.next() == created(link)

        await room.force_disconnect(bob)
        assert await server.next() == destroyed(bob, "forceDisconnected")
        await alice.goodbye()
        assert await server.next() == destroyed(alice, "clientDisconnected")
        carol.cut()
        assert await server.next() == destroyed(carol, "networkDisconnected")

    watch(play)


def test_in_order(vendor: Vendor, receiver: Receiver, watch: Watch) -> None:
    """The server gets one request after another, in the order that clients see."""

    async def play(room: Room) -> None:
        server = Server(vendor, receiver, room.session)
        happened = []
        for number in range(8):
            link = await room.join((QUIC, WEBSOCKET_JSON)[number % 2], data=str(number))
            happened.append(created(link))
            if number % 3:
                await link.goodbye()
                happened.append(destroyed(link, "clientDisconnected"))
        deliveries = [await server.delivery() for _ in happened]
        assert [server.said(delivery) for delivery in deliveries] == happened
        assert len({delivery.id for delivery in deliveries}) == len(deliveries)

    watch(play)


def test_signed_for_this_project_alone(vendor: Vendor, receiver: Receiver, watch: Watch) -> None:
    async def play(room: Room) -> None:
        await room.join(data="genuine")
        delivery = await Server(vendor, receiver, room.session).delivery()
        good, other = Webhook(vendor.webhook_secret), Webhook(new_webhook_secret())
        good.verify(delivery.body, delivery.headers)
        with pytest.raises(WebhookVerificationError):
            other.verify(delivery.body, delivery.headers)
        with pytest.raises(WebhookVerificationError):
            good.verify(delivery.body.replace(b"genuine", b"forgery"), delivery.headers)
        with pytest.raises(WebhookVerificationError):
            good.verify(delivery.body, delivery.headers | {"webhook-id": "another"})

    watch(play)


@pytest.mark.parametrize(
    "answers",
    [(500,), (404, 302), (NOTHING,)],
    ids=["server-error", "not-found-then-elsewhere", "hung-up"],
)
def test_told_again_until_taken(
    vendor: Vendor, receiver: Receiver, watch: Watch, answers: tuple[int, ...]
) -> None:
    """A repeated delivery has the same id, so that a server recognizes it. None overtakes it."""

    async def play(room: Room) -> None:
        server = Server(vendor, receiver, room.session)
        receiver.answer(room.session, *answers)
        link = await room.join(data=DATA)
        await link.goodbye()
        attempts = [await server.delivery() for _ in (*answers, "the good one")]
        assert [attempt.answer for attempt in attempts[:-1]] == list(answers)
        assert {(attempt.id, attempt.body) for attempt in attempts} == {
            (attempts[0].id, attempts[0].body)
        }
        for attempt in attempts:
            assert server.said(attempt) == created(link)
        stamps = [int(attempt.headers["webhook-timestamp"]) for attempt in attempts]
        assert stamps == sorted(stamps)

        following = await server.delivery()
        assert server.said(following) == destroyed(link, "clientDisconnected")
        assert following.id != attempts[0].id

    watch(play)
