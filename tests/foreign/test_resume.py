"""Resumption, tested with clients that share no code with the gateway."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import resume_scenarios
import stage
from gateways import Gateway
from link import AGENT, Link
from resume_scenarios import PART, Scenario, Way, accepted, is_refused, perform
from signalbox.messages import Cursor
from stage import (
    QUIC,
    QUIC_EARLY,
    QUIC_FEW_STREAMS,
    QUIC_SINGLE,
    WEBSOCKET_JSON,
    WEBSOCKET_POSTCARD,
    Carrier,
    Stage,
    all_at_once,
    ends_with,
    signal,
)

WAYS = [
    Way(QUIC, QUIC),
    Way(QUIC, QUIC, "abandon"),
    Way(QUIC, QUIC_EARLY),
    Way(QUIC, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, QUIC),
    Way(WEBSOCKET_JSON, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, WEBSOCKET_JSON, "abandon"),
    Way(QUIC_SINGLE, WEBSOCKET_POSTCARD, "abandon"),
    Way(WEBSOCKET_POSTCARD, QUIC_SINGLE),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)


@each_way
def test_nothing_is_missed_and_nothing_comes_twice(gateway: Gateway, way: Way) -> None:
    perform(resume_scenarios.nothing_is_missed_and_nothing_comes_twice, gateway, way)


@each_way
@pytest.mark.parametrize("scenario", resume_scenarios.ALL, ids=lambda scenario: scenario.__name__)
def test_promise(gateway: Gateway, way: Way, scenario: Scenario) -> None:
    perform(scenario, gateway, way)


def test_more_senders_than_streams_on_the_next_link(gateway: Gateway) -> None:
    """Missed signals need more streams than are granted, so some come on later streams."""

    async def scenario(stage: Stage, way: Way) -> None:
        bob = await stage.kept("bob")
        senders = [await stage.join(f"sender {number}") for number in range(10)]
        for sender in senders:
            await resume_scenarios.send_part(sender)
        await resume_scenarios.hear_out(bob, until={sender.me: PART for sender in senders})
        await way.lose(bob)
        for _ in range(2):
            for sender in senders:
                await resume_scenarios.send_part(sender)
        bob = await way.come_back(stage, bob)
        for sender in senders:
            await resume_scenarios.send_part(sender)
        heard = await resume_scenarios.hear_out(
            bob, until={sender.me: 4 * PART for sender in senders}
        )
        assert heard == {sender.me: list(range(PART + 1, 4 * PART + 1)) for sender in senders}
        assert bob.successors > 0

    perform(scenario, gateway, Way(QUIC, QUIC_FEW_STREAMS))


each_carrier = pytest.mark.parametrize(
    "carrier", [QUIC, QUIC_SINGLE, WEBSOCKET_JSON, WEBSOCKET_POSTCARD], ids=str
)
one_of_each_kind = pytest.mark.parametrize("carrier", [QUIC, WEBSOCKET_JSON], ids=str)


@each_carrier
def test_confirmations(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        bob = await stage.kept("bob")
        await bob.signal(data="first")
        await bob.next("signal")
        await accepted(bob, 1)
        assert await bob.signal(data="to nobody", to=str(uuid.uuid4())) == 2
        # There is no ticket before the first one, so nothing changes.
        await bob.send("ticketStored", {})
        assert await bob.signal(data="behind") == 3
        kinds: list[str] = []
        while "signal" not in kinds or bob.connection.accepted < 3:
            kind, fields = await bob.event()
            kinds.append(kind)
            if kind == "accepted" and fields["signals"] >= 2:
                assert "error" in kinds
        assert set(kinds) == {"error", "signal", "accepted"}

    stage.perform(scenario, gateway, carrier)


@each_carrier
def test_a_client_without_resumption_gets_no_messages_of_it(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        alice = await stage.join("alice")
        for number in range(1, 11):
            await alice.signal()
            assert await alice.next("signal") == signal(alice, number, None, None)
        await alice.goodbye()
        kinds = []
        while kinds[-1:] != ["ended"]:
            kinds.append((await alice.event()).kind)
        assert kinds == ["bye", "ended"]

    stage.perform(scenario, gateway, carrier)


End = Callable[[Stage, Link], Awaitable[None]]


async def goodbye(stage: Stage, bob: Link) -> None:
    await bob.goodbye()


async def clean_close(stage: Stage, bob: Link) -> None:
    await bob.close()


async def second_hello(stage: Stage, bob: Link) -> None:
    hello = {"token": "abc.def.ghi", "features": [], "streams": "single", "agent": None}
    await bob.send("hello", hello)
    await ends_with(stage, bob, "protocolError")


async def resume_on_a_living_link(stage: Stage, bob: Link) -> None:
    await bob.send_resume(bob.connection.ticket)
    await ends_with(stage, bob, "protocolError")


async def cursors_on_a_living_link(stage: Stage, bob: Link) -> None:
    await bob.send("cursors", {"cursors": [], "more": False})
    await ends_with(stage, bob, "protocolError")


@one_of_each_kind
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (goodbye, "clientDisconnected"),
        (clean_close, "clientDisconnected"),
        (second_hello, "networkDisconnected"),
        (resume_on_a_living_link, "networkDisconnected"),
        (cursors_on_a_living_link, "networkDisconnected"),
    ],
    ids=lambda end: getattr(end, "__name__", None),
)
def test_a_connection_that_ends_without_a_loss_cannot_be_resumed(
    gateway: Gateway, carrier: Carrier, end: End, reason: str
) -> None:
    """The bystander is told at once, long before the window would be over."""

    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        bob = await stage.kept("bob")
        ticket = bob.connection.ticket
        await end(stage, bob)
        destroyed = await bystander.next("connectionDestroyed")
        assert destroyed == stage.destroyed(bob, reason, 0, carrier)
        await is_refused(stage, ticket, "invalidTicket")

    stage.perform(scenario, gateway, carrier)


def cursors(count: int) -> list[dict[str, Any]]:
    """Cursors of unknown connections, which do no harm."""
    return [{"from": str(uuid.uuid4()), "seq": 1} for _ in range(count)]


def resume(ticket: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    nothing = {"streams": "perSender", "events": 0, "accepted": 0, "cursors": [], "more": False}
    return "resume", {**nothing, "agent": AGENT, "ticket": ticket, "attempt": 1, **fields}


def more_cursors(count: int, more: bool = False) -> tuple[str, dict[str, Any]]:
    return "cursors", {"cursors": cursors(count), "more": more}


@one_of_each_kind
def test_a_malformed_resume_is_refused(gateway: Gateway, carrier: Carrier) -> None:
    """A refused attempt does no harm: the ticket stays valid, and the connection goes on."""

    def breaches(ticket: str) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        return {
            "ticketStored first": [("ticketStored", {})],
            "cursors first": [more_cursors(1)],
            "too many cursors": [resume(ticket, cursors=cursors(501))],
            "too many in a second message": [resume(ticket, more=True), more_cursors(501)],
            "too many in all": [
                resume(ticket, cursors=cursors(500), more=True),
                *(more_cursors(500, more=True) for _ in range(40)),
            ],
            "ticketStored among cursors": [resume(ticket, more=True), ("ticketStored", {})],
            "hello among cursors": [
                resume(ticket, more=True),
                ("hello", {"token": "t", "features": [], "streams": "single", "agent": None}),
            ],
            "more confirmations than signals": [resume(ticket, accepted=1)],
            "a long name": [resume(ticket, agent="é" * 32 + "!")],
        }

    async def case(stage: Stage, messages: list[tuple[str, dict[str, Any]]]) -> None:
        link = await stage.open()
        for message in messages:
            await link.send(*message)
        await ends_with(stage, link, "protocolError")

    async def scenario(stage: Stage) -> None:
        bob = await stage.kept("bob")
        await bob.abandon()
        cases = breaches(bob.connection.ticket)
        await all_at_once({name: case(stage, messages) for name, messages in cases.items()})
        # Many cursors, all of connections that the gateway does not know.
        bob.connection.pretend_received([Cursor(str(uuid.uuid4()), 1) for _ in range(1000)])
        bob = await stage.resume(bob)
        await bob.signal(data="here I am")
        assert await bob.next("signal") == signal(bob, 1, None, "here I am")

    stage.perform(scenario, gateway, carrier)


@one_of_each_kind
def test_cursors_that_do_not_come_in_time(gateway: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        bob = await stage.kept("bob")
        await bob.abandon()
        link = await stage.open()
        await link.send(*resume(bob.connection.ticket, more=True))
        await ends_with(stage, link, "helloTimeout")
        await stage.resume(bob)

    stage.perform(scenario, gateway, carrier)


@one_of_each_kind
def test_tickets_that_are_none(gateway: Gateway, carrier: Carrier) -> None:
    """Invalid tickets are all refused in the same way, and the connection is not affected."""

    async def scenario(stage: Stage) -> None:
        bob = await stage.kept("bob")
        other = await stage.kept("other")
        ticket, others = bob.connection.ticket, other.connection.ticket
        # The beginning of one ticket and the end of the other.
        mixed = {ticket[:at] + others[at:] for at in range(0, len(ticket), 16)}
        forged = [
            "",
            "Zm9v-_",
            "grüße 🚦",
            "A" * 512,
            "A" * 513,
            ticket[:-1],
            ticket + "A",
            ticket[1:],
            *(altered(ticket, at) for at in range(0, len(ticket), 7)),
            *(mixed - {ticket, others}),
        ]
        await all_at_once(
            {f"{at}: {bad}": is_refused(stage, bad, "invalidTicket") for at, bad in enumerate(forged)}
        )
        await bob.signal(data="still here")
        assert await bob.next("signal") == signal(bob, 1, None, "still here")

    stage.perform(scenario, gateway, carrier)


def altered(ticket: str, at: int) -> str:
    return ticket[:at] + ("A" if ticket[at] != "A" else "B") + ticket[at + 1 :]
