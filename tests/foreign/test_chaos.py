"""Two clients on a deliberately bad network (`serve --dev --chaos`), which resume repeatedly.

The result must be that of a good network: each signal once, in order, and no gap.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateways import Gateway, running
from link import Ended, Link
from signalbox import ConnectError
from stage import QUIC, QUIC_SINGLE, WEBSOCKET_JSON, WEBSOCKET_POSTCARD, Carrier, Stage, perform

CHAOS = "cut=2s,delay=20ms,drop=0.03,seed=7"
IDLE_TIMEOUT_S = 1.5
ATTEMPT_S = 5
RETURNS = 2
DEADLINE_S = 180

# The errors with which a cut link can end.
Cut = (OSError, TimeoutError, Ended, ConnectError)


class Talker:
    """Sends a signal when its last one has come back, and resumes when its link is lost."""

    def __init__(self, stage: Stage, carrier: Carrier, name: str) -> None:
        self._stage = stage
        self._carrier = carrier
        self._name = name
        self.link: Link | None = None
        self.heard: dict[str, list[int]] = {}
        self.returns = 0

    async def join(self) -> None:
        while self.link is None:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    link = await self._stage.join(
                        self._name, carrier=self._carrier, resume=True
                    )
                    # A client without a ticket cannot resume, so it joins again.
                    await link.first_ticket()
            except (*Cut, AssertionError):
                continue
            self.link = link

    async def talk(self, enough: Callable[[], bool], everything: Callable[["Talker"], bool]) -> None:
        await self._say()
        while not (enough() and everything(self)):
            kind, fields = await self.link.event()
            # A failed attempt leaves an `ended` in the queue, too.
            if kind == "ended" and self.link.ended is not None:
                assert fields["reason"] == "networkDisconnected", fields
                await self._come_back()
            assert kind not in ("gap", "error", "connectionDestroyed"), fields
            if kind == "signal":
                self.heard.setdefault(fields["from"], []).append(fields["seq"])
                if fields["from"] == self.link.me and not enough():
                    await self._say()

    async def _say(self) -> None:
        try:
            await self.link.signal(data="on")
        except Cut:
            pass  # The signal stays in the queue and is sent on the next link.

    async def _come_back(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    link = await self._stage.open(self._carrier)
            except Cut:
                continue
            old, self.link = self.link, link
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    await link.resume(old, self._carrier.streams)
            except Cut:
                assert link.bye is None, link.bye
                await link.abandon()
                continue
            self.returns += 1
            return


@pytest.mark.timeout(DEADLINE_S)
@pytest.mark.parametrize(
    ("one", "other"),
    [(QUIC, WEBSOCKET_JSON), (QUIC_SINGLE, WEBSOCKET_POSTCARD)],
    ids=lambda carrier: carrier.name,
)
def test_through_chaos_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, one: Carrier, other: Carrier
) -> None:
    async def scenario(stage: Stage) -> None:
        talkers = [Talker(stage, carrier, str(carrier)) for carrier in (one, noticing(other))]
        await asyncio.gather(*(talker.join() for talker in talkers))
        links = [talker.link for talker in talkers]
        senders = {link.me: link.connection for link in links}

        def enough() -> bool:
            return all(talker.returns >= RETURNS for talker in talkers)

        def everything(talker: Talker) -> bool:
            last = {me: numbers[-1] for me, numbers in talker.heard.items()}
            return last == {me: connection.sent for me, connection in senders.items()}

        await asyncio.gather(*(talker.talk(enough, everything) for talker in talkers))
        for talker in talkers:
            for me, numbers in talker.heard.items():
                # Each joined early, but perhaps not before the first signals of the other.
                assert numbers == list(range(numbers[0], senders[me].sent + 1))

    options = ("--dev", "--dev-dir", str(tmp_path / "dev"), "--chaos", CHAOS)
    settings = {"SIGNALBOX_TIMEOUTS__IDLE_MS": str(int(IDLE_TIMEOUT_S * 1000))}
    with running(tmp_path / "stderr.log", *options, **settings) as announcement:
        perform(scenario, Gateway.parse(announcement), one)


def noticing(carrier: Carrier) -> Carrier:
    """The same, but it detects a silent gateway as fast as the gateway detects a silent client."""
    options = carrier.options | {"silence_s": IDLE_TIMEOUT_S}
    return Carrier(f"{carrier}-noticing", carrier.link, carrier.address, carrier.streams, options)
