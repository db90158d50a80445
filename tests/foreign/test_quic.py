"""The guarantees over QUIC, tested with a client that shares no code with the gateway."""

import asyncio
from dataclasses import dataclass

import pytest

import scenarios
from gateways import Gateway
from quic_client import QuicLink
from stage import (
    QUIC,
    QUIC_FEW_STREAMS,
    QUIC_SINGLE,
    Carrier,
    Scenario,
    Stage,
    all_at_once,
    ends_with,
    perform,
    signal,
)

CONTROL, SIGNALS = 0, 2
SECOND_BIDIRECTIONAL, SECOND_UNIDIRECTIONAL = 4, 6

# Frames, in hexadecimal, as section 4 shows them.
HELLO = "10000b6162632e6465662e676869000000"
SIGNALS_HEADER = "0100"
PING = "0401000000"
GOODBYE = "020300"
UNKNOWN_KIND = "05c801090909"


@pytest.mark.parametrize("carrier", [QUIC, QUIC_SINGLE], ids=str)
@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda scenario: scenario.__name__)
def test_promise(gateway: Gateway, carrier: Carrier, scenario: Scenario) -> None:
    perform(scenario, gateway, carrier)


def test_more_senders_than_streams(gateway: Gateway) -> None:
    """The gateway must give streams of idle senders to others, which nobody may notice."""

    async def scenario(stage: Stage) -> None:
        receiver = await scenarios.ten_senders_at_once(stage)
        assert receiver.successors > 0

    perform(scenario, gateway, QUIC_FEW_STREAMS)


def test_no_hello(gateway: Gateway) -> None:
    """Without a control stream the close code alone has the reason; with one `bye` comes, too."""

    async def half_a_hello(stage: Stage) -> None:
        link = await stage.open()
        link.write(CONTROL, bytes.fromhex(HELLO)[:3])
        await ends_with(stage, link, "helloTimeout")

    async def both(stage: Stage) -> None:
        await asyncio.gather(scenarios.no_hello(stage), half_a_hello(stage))

    perform(both, gateway, QUIC)


@dataclass(frozen=True)
class Breach:
    """A violation of the protocol: the bytes, their stream, and the reason of the close."""

    name: str
    writes: list[tuple[int, str]]
    reason: str = "protocolError"
    end: bool = False

    def commit(self, link: QuicLink) -> None:
        for stream, frames in self.writes:
            link.write(stream, bytes.fromhex(frames), self.end)


INSTEAD_OF_HELLO = [
    Breach("goodbye", [(CONTROL, GOODBYE)]),
    Breach("unknown kind", [(CONTROL, UNKNOWN_KIND)]),
    Breach("malformed", [(CONTROL, "0100")]),
    Breach("no kind", [(CONTROL, "00")]),
    Breach("length not in its shortest form", [(CONTROL, "8100")]),
    Breach("length over the limit", [(CONTROL, "81a001")], "frameTooLarge"),
    Breach("length of five bytes", [(CONTROL, "8080808000")], "frameTooLarge"),
    Breach("end inside a frame", [(CONTROL, HELLO[:8])], end=True),
]
AFTER_HELLO = [
    Breach("second hello", [(CONTROL, HELLO)]),
    Breach("signal on the control stream", [(CONTROL, PING)]),
    Breach("no header", [(SIGNALS, PING)]),
    Breach("unknown kind of stream", [(SIGNALS, UNKNOWN_KIND)]),
    Breach("goodbye among signals", [(SIGNALS, SIGNALS_HEADER + GOODBYE)]),
    Breach("end inside a signal", [(SIGNALS, SIGNALS_HEADER + PING[:4])], end=True),
    Breach("signal over the limit", [(SIGNALS, SIGNALS_HEADER + "81a001")], "frameTooLarge"),
    Breach("second bidirectional stream", [(SECOND_BIDIRECTIONAL, HELLO)]),
    Breach(
        "second unidirectional stream",
        [(SIGNALS, SIGNALS_HEADER), (SECOND_UNIDIRECTIONAL, SIGNALS_HEADER)],
    ),
]


def test_breaches_instead_of_hello(gateway: Gateway) -> None:
    async def case(stage: Stage, breach: Breach) -> None:
        link = await stage.open()
        breach.commit(link)
        await ends_with(stage, link, breach.reason)

    async def scenario(stage: Stage) -> None:
        cases = {breach.name: case(stage, breach) for breach in INSTEAD_OF_HELLO}
        await all_at_once(cases)

    perform(scenario, gateway, QUIC)


def test_breaches_after_hello(gateway: Gateway) -> None:
    async def case(stage: Stage, breach: Breach) -> None:
        link = await stage.join(breach.name, presence=False)
        breach.commit(link)
        await ends_with(stage, link, breach.reason)

    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        cases = {breach.name: case(stage, breach) for breach in AFTER_HELLO}
        await all_at_once(cases)
        for _ in cases:
            destroyed = await bystander.next("connectionDestroyed")
            assert destroyed["reason"] == "networkDisconnected"

    perform(scenario, gateway, QUIC)


@pytest.mark.parametrize(
    ("stream", "frames"),
    [(CONTROL, UNKNOWN_KIND), (SIGNALS, SIGNALS_HEADER + UNKNOWN_KIND + PING)],
    ids=["control", "signals"],
)
def test_unknown_kind_is_answered_and_not_counted(
    gateway: Gateway, stream: int, frames: str
) -> None:
    """On either stream. The next signal has the number 1, and the link goes on."""

    async def scenario(stage: Stage) -> None:
        link = await stage.join("newer than the gateway")
        link.write(stream, bytes.fromhex(frames))
        refused = await link.next("error")
        assert (refused["signal"], refused["code"]) == (None, "unsupported")
        if stream == CONTROL:
            await link.signal()
        assert await link.next("signal") == signal(link, 1, None, None)

    perform(scenario, gateway, QUIC)


def test_end_of_the_control_stream_is_a_goodbye(gateway: Gateway) -> None:
    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        leaver = await stage.join("leaver")
        leaver.write(CONTROL, b"", end=True)
        destroyed = await bystander.next("connectionDestroyed")
        assert destroyed == stage.destroyed(leaver, "clientDisconnected", 0, QUIC)

    perform(scenario, gateway, QUIC)


def test_end_of_the_signals_stream_is_not(gateway: Gateway) -> None:
    async def scenario(stage: Stage) -> None:
        link = await stage.join("silent from now on")
        await link.signal(data="last words")
        link.write(SIGNALS, b"", end=True)
        bob = await stage.join("bob")
        await bob.signal(data="still there?")
        assert await link.next("signal") == signal(link, 1, None, "last words")
        assert await link.next("signal") == signal(bob, 1, None, "still there?")

    perform(scenario, gateway, QUIC)


@pytest.mark.parametrize("reason", ["clientDisconnected", "networkDisconnected"])
def test_how_a_carrier_ends_is_what_others_are_told(gateway: Gateway, reason: str) -> None:
    """Code 0 is a goodbye; any other code is a lost link."""

    async def scenario(stage: Stage) -> None:
        bystander = await stage.join("bystander")
        leaver = await stage.join("leaver")
        leaver.abort(code=0 if reason == "clientDisconnected" else 77)
        destroyed = await bystander.next("connectionDestroyed")
        assert destroyed == stage.destroyed(leaver, reason, 0, QUIC)

    perform(scenario, gateway, QUIC)
