"""The bounds of resumption: the window, the size of the history, and a gateway without resumption.

Each test uses a gateway with a small bound.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import stage
from conftest import log_to_show
from gateways import Gateway, running
from link import Event, Link
from resume_scenarios import (
    PART,
    Way,
    hear_out,
    is_refused,
    perform,
    presence_until,
    send_part,
)
from stage import QUIC, QUIC_SINGLE, WEBSOCKET_JSON, WEBSOCKET_POSTCARD, Carrier, Stage, signal

HISTORY_BYTES = 4096
# Only few signals with this data fit.
LARGE = "x" * 1000
LARGE_SIGNALS = 20

WAYS = [
    Way(QUIC, QUIC),
    Way(QUIC, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, QUIC),
    Way(WEBSOCKET_POSTCARD, QUIC_SINGLE),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
one_of_each_kind = pytest.mark.parametrize("carrier", [QUIC, WEBSOCKET_JSON], ids=str)


@contextmanager
def bounded(
    factory: pytest.TempPathFactory, config: pytest.Config, name: str, **settings: str
) -> Iterator[Gateway]:
    directory = factory.mktemp(name)
    stderr_path = log_to_show(config, directory / "stderr.log")
    options = ("--dev", "--dev-dir", str(directory / "dev"))
    with running(stderr_path, *options, **settings) as announcement:
        yield Gateway.parse(announcement)


@pytest.fixture(scope="module")
def short_of_time(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Gateway]:
    settings = {"SIGNALBOX_RESUME__WINDOW_MS": "1000"}
    with bounded(tmp_path_factory, pytestconfig, "short-of-time", **settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def short_of_room(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Gateway]:
    settings = {"SIGNALBOX_RESUME__HISTORY_BYTES": str(HISTORY_BYTES)}
    with bounded(tmp_path_factory, pytestconfig, "short-of-room", **settings) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keeps_nothing(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Gateway]:
    settings = {"SIGNALBOX_RESUME__WINDOW_MS": "0"}
    with bounded(tmp_path_factory, pytestconfig, "keeps-nothing", **settings) as gateway:
        yield gateway


@one_of_each_kind
def test_a_client_that_resumes_too_late_is_refused(short_of_time: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        bob = await stage.join("bob", resume=True)
        assert (await bob.next("ticket"))["windowMs"] == 1000
        await bob.abandon()
        await bystander.signal(data="not there, but not gone either", to=bob.me)
        # An error would come before this.
        destroyed = await no_error_until(bystander, "connectionDestroyed")
        assert destroyed == stage.destroyed(bob, "networkDisconnected", 0, carrier)
        await is_refused(stage, bob.connection.ticket, "invalidTicket")
        await bystander.signal(data="now gone", to=bob.me)
        assert (await bystander.next("error"))["code"] == "notFound"

    stage.perform(scenario, short_of_time, carrier)


async def no_error_until(link: Link, kind: str) -> dict:
    while (event := await link.event()).kind != kind:
        assert event.kind not in ("error", "ended")
    return event.fields


@one_of_each_kind
def test_a_client_that_resumes_in_time_keeps_its_connection(short_of_time: Gateway, carrier: Carrier) -> None:
    """Each loss begins a new window, so a connection can outlive the first one."""

    async def scenario(stage: Stage) -> None:
        witness = await stage.kept("witness")
        bob = await stage.kept("bob")
        await witness.next("connectionCreated")
        await bob.abandon()
        bob = await stage.resume(bob)
        # Lost later than Bob, without a return: this window ends after Bob's would have ended.
        await witness.abandon()
        destroyed = await bob.next("connectionDestroyed")
        assert destroyed == stage.destroyed(witness, "networkDisconnected", 0, carrier)
        await bob.signal(data="still the same")
        assert await bob.next("signal") == signal(bob, 1, None, "still the same")
        await bob.abandon()
        bob = await stage.resume(bob)

    stage.perform(scenario, short_of_time, carrier)


@one_of_each_kind
def test_a_ticket_of_another_gateway(
    gateway: Gateway, short_of_time: Gateway, carrier: Carrier
) -> None:
    async def scenario(elsewhere: Stage) -> None:
        bob = await elsewhere.kept("bob")
        async with Stage(gateway, carrier) as here:
            await is_refused(here, bob.connection.ticket, "invalidTicket")

    stage.perform(scenario, short_of_time, carrier)


@one_of_each_kind
def test_a_gateway_that_keeps_nothing(keeps_nothing: Gateway, carrier: Carrier) -> None:
    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        bob = await stage.join("bob", resume=True)
        assert bob.welcome["features"] == ["presence"]
        await bob.signal(data="goes on as ever")
        assert await bob.next("signal") == signal(bob, 1, None, "goes on as ever")
        await bob.abandon()
        destroyed = await bystander.next("connectionDestroyed")
        assert destroyed["reason"] == "networkDisconnected"

    stage.perform(scenario, keeps_nothing, carrier)


@each_way
def test_lost_signals_are_named(short_of_room: Gateway, way: Way) -> None:
    async def scenario(stage: Stage, way: Way) -> None:
        alice = await stage.join("alice")
        carol = await stage.join("carol")
        bob = await stage.kept("bob")
        await send_part(alice)
        await send_part(carol)
        told = alice.connection.sent
        await hear_out(bob, until={alice.me: told, carol.me: told})
        await way.lose(bob)
        # All signals of Carol are lost, as Alice's alone exceed the history.
        await send_part(carol)
        await has_been_taken(carol)
        for _ in range(LARGE_SIGNALS):
            await alice.signal(data=LARGE)
        last = alice.connection.sent
        await has_been_taken(alice)
        bob = await way.come_back(stage, bob)

        gap = await bob.next("gap")
        lost = {each["from"]: (each["after"], each["until"]) for each in gap["lost"]}
        assert lost.keys() == {alice.me, carol.me}
        assert lost[carol.me] == (told, told + PART)
        after, until = lost[alice.me]
        assert after == told
        assert told + LARGE_SIGNALS - HISTORY_BYTES // len(LARGE) <= until < last
        assert (gap["presence"], gap["present"]) == (False, 0)
        for number in range(until + 1, last + 1):
            assert await bob.next("signal") == signal(alice, number, None, LARGE)
        # The same loss is not reported twice, although no signal of Carol has come since.
        await way.lose(bob)
        bob = await way.come_back(stage, bob)
        await alice.signal(type="more")
        seen = await until_signal(bob, "more")
        assert [kind for kind, _ in seen if kind not in ("resumed", "accepted")] == ["signal"]

    perform(scenario, short_of_room, way)


async def has_been_taken(link: Link) -> None:
    """Waits until the gateway has handled all signals of this client: the last one comes back."""
    while (await link.next("signal")) | {"type": None, "data": None} != signal(
        link, link.connection.sent, None, None
    ):
        pass


async def until_signal(link: Link, type: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1].kind != "signal" or events[-1].fields["type"] != type:
        events.append(await link.event())
        assert events[-1].kind != "ended"
    return events


@each_way
def test_lost_presence_is_told_anew(short_of_room: Gateway, way: Way) -> None:
    async def scenario(stage: Stage, way: Way) -> None:
        stays = await stage.join("stays")
        early = await stage.join("early")
        bob = await stage.kept("bob")
        late = await stage.join("late")
        assert await presence_until(bob, "connectionCreated", late) == [
            ("connectionCreated", late.me)
        ]
        await way.lose(bob)
        for gone in (early, late):
            await gone.goodbye()
        # Their connection data exceeds the history.
        passing = await stage.join("passing" + LARGE)
        await passing.goodbye()
        new = [await stage.join(f"new {number}" + LARGE) for number in range(5)]
        bob = await way.come_back(stage, bob)

        gap = await bob.next("gap")
        assert (gap["presence"], gap["present"]) == (True, 1 + len(new))
        changes = await presence_until(bob, "connectionCreated", new[-1])
        # No change for connections that came and went meanwhile, or that stayed.
        assert set(changes[:2]) == {
            ("connectionDestroyed", early.me),
            ("connectionDestroyed", late.me),
        }
        assert changes[2:] == [("connectionCreated", link.me) for link in new]
        assert bob.connection.named == {stays.me, *(link.me for link in new)}

        # Events are counted again from zero.
        assert bob.connection.events == 0
        await new[0].goodbye()
        assert await bob.next("connectionDestroyed") == stage.destroyed(
            new[0], "clientDisconnected", 0, way.back
        )
        await way.lose(bob)
        await new[1].goodbye()
        bob = await way.come_back(stage, bob)
        await stays.signal(type="end")
        seen = await until_signal(bob, "end")
        kinds = [kind for kind, _ in seen if kind not in ("resumed", "accepted")]
        assert kinds == ["connectionDestroyed", "signal"]
        assert seen[-2].fields == stage.destroyed(new[1], "clientDisconnected", 0, way.back)

    perform(scenario, short_of_room, way)


@each_way
def test_signals_of_the_gone_are_not_lost_silently(short_of_room: Gateway, way: Way) -> None:
    """A client without presence gets no list, but it is told of the gap."""

    async def scenario(stage: Stage, way: Way) -> None:
        bob = await stage.kept("bob", presence=False)
        await way.lose(bob)
        carol = await stage.join("carol")
        for _ in range(LARGE_SIGNALS):
            await carol.signal(data=LARGE)
        await carol.goodbye()
        bob = await way.come_back(stage, bob)
        gap = await bob.next("gap")
        named = [lost for lost in gap["lost"] if lost["from"] == carol.me]
        assert named or gap["presence"]
        assert gap["present"] == 0
        # The rest comes completely.
        first = (await bob.next("signal"))["seq"]
        assert 1 < first and all(lost["until"] == first - 1 for lost in named)
        for number in range(first + 1, LARGE_SIGNALS + 1):
            assert (await bob.next("signal"))["seq"] == number

    perform(scenario, short_of_room, way)


@each_way
def test_of_who_is_gone_and_was_heard_nothing_comes_again(
    short_of_room: Gateway, way: Way
) -> None:
    """Even if the history has only the last signals of the connection, and not its creation."""

    async def scenario(stage: Stage, way: Way) -> None:
        bob = await stage.kept("bob")
        carol = await stage.join("carol")
        for _ in range(LARGE_SIGNALS):
            await carol.signal(data=LARGE)
        await carol.goodbye()
        await bob.next("connectionDestroyed")
        await way.lose(bob)
        bob = await way.come_back(stage, bob)
        await bob.signal(type="end")
        seen = await until_signal(bob, "end")
        assert [kind for kind, _ in seen if kind not in ("resumed", "accepted")] == ["signal"]

    perform(scenario, short_of_room, way)


@each_way
def test_lost_signals_of_who_is_gone_are_named_if_awaited(
    short_of_room: Gateway, way: Way
) -> None:
    """The end of a connection had arrived before its last signals, which the history then lost."""

    async def scenario(stage: Stage, way: Way) -> None:
        bob = await stage.kept("bob")
        carol = await stage.join("carol")
        await send_part(carol)
        await carol.goodbye()
        await hear_out(bob, until={carol.me: PART})
        await bob.next("connectionDestroyed")
        await way.lose(bob)
        alice = await stage.join("alice")
        for _ in range(LARGE_SIGNALS):
            await alice.signal(data=LARGE)
        await has_been_taken(alice)
        # As if the last ten signals had been on a slower stream.
        end = stage.destroyed(carol, "clientDisconnected", PART, QUIC)
        bob.connection.pretend_held(end, received=PART - 10)
        bob = await way.come_back(stage, bob)
        # Signals of Alice are lost, too, and may be named first.
        gap = await bob.next("gap")
        awaited = {"from": carol.me, "after": PART - 10, "until": PART}
        while awaited not in gap["lost"] and not gap["presence"]:
            gap = await bob.next("gap")
        assert (await bob.next("connectionDestroyed"))["id"] == carol.me

    perform(scenario, short_of_room, way)
