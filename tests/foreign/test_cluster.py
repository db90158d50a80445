"""The guarantees with the clients of a session on several gateways, over QUIC and WebSocket.

The scenarios are those for one gateway. Each link is opened at the next gateway in turn, so a
client also resumes on another gateway than the one it was on.
"""

import asyncio
import itertools
import time

import pytest

import resume_scenarios
import scenarios
from cluster import KNOWN_DEADLINE_S, Cluster
from gateways import Gateway, mint_session, mint_token
from link import Ended, Link
from resume_scenarios import PART, Way, hear_out, presence_until, send_part
from stage import (
    QUIC,
    QUIC_SINGLE,
    WEBSOCKET_JSON,
    WEBSOCKET_POSTCARD,
    Carrier,
    Scenario,
    Stage,
    signal,
)


class ClusterStage(Stage):
    """A stage on which each link is at the next gateway in turn."""

    def __init__(self, cluster: Cluster, carrier: Carrier) -> None:
        super().__init__(cluster.at(0), carrier)
        self._cluster = cluster
        self._turns = itertools.cycle(cluster.gateways)

    def next_gateway(self) -> Gateway:
        return next(self._turns)

    async def join(self, *args, **options) -> Link:
        """Returns once every gateway knows of the client. Until then, a signal to it alone may be
        rejected at another gateway."""
        link = await super().join(*args, **options)
        await asyncio.to_thread(self._wait_until_listed, link)
        return link

    def _wait_until_listed(self, link: Link) -> None:
        deadline = time.monotonic() + KNOWN_DEADLINE_S
        for gateway in self._cluster.gateways:
            while link.me not in self._cluster.ids_at(gateway, self.session):
                assert time.monotonic() < deadline, f"{link.me} is not known at {gateway.https}"


def perform(scenario: Scenario, cluster: Cluster, carrier: Carrier) -> None:
    async def on_stage() -> None:
        async with ClusterStage(cluster, carrier) as stage:
            await scenario(stage)

    asyncio.run(on_stage())


# Those whose clients would all be on one gateway add nothing here.
SCENARIOS = [
    scenarios.welcome_and_presence,
    scenarios.who_declines_presence_is_told_of_nobody,
    scenarios.conversation_and_goodbye,
    scenarios.goodbye_loses_no_signal,
    scenarios.signal_to_nobody_is_refused_and_counted,
    scenarios.subscriber_may_listen_but_not_signal,
    scenarios.publisheronly_neither_hears_nor_speaks,
    scenarios.moderator_disconnects_another,
    scenarios.only_moderators_disconnect_and_only_who_is_there,
    scenarios.ten_senders_at_once,
]


@pytest.mark.parametrize(
    "carrier", [QUIC, QUIC_SINGLE, WEBSOCKET_JSON, WEBSOCKET_POSTCARD], ids=str
)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_promise(cluster: Cluster, carrier: Carrier, scenario: Scenario) -> None:
    perform(scenario, cluster, carrier)


WAYS = [
    Way(QUIC, QUIC),
    Way(QUIC, QUIC, "abandon"),
    Way(QUIC, WEBSOCKET_JSON),
    Way(WEBSOCKET_JSON, QUIC),
    Way(WEBSOCKET_JSON, WEBSOCKET_JSON, "abandon"),
    Way(QUIC_SINGLE, WEBSOCKET_POSTCARD, "abandon"),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=str)

# The order of presence events and their count differ from gateway to gateway.
RESUME_SCENARIOS = [
    resume_scenarios.own_signals_arrive_once,
    resume_scenarios.again_and_again,
    resume_scenarios.the_answer_does_not_arrive,
    resume_scenarios.without_presence_only_signals_come,
    resume_scenarios.goodbye_counts_over_all_links,
    resume_scenarios.the_old_link_is_superseded,
    resume_scenarios.disconnected_while_away,
    resume_scenarios.tickets_are_good_once,
]


@each_way
@pytest.mark.parametrize("scenario", RESUME_SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_resume(cluster: Cluster, way: Way, scenario: resume_scenarios.Scenario) -> None:
    perform(lambda stage: scenario(stage, way), cluster, way.carrier)


@each_way
def test_nothing_is_missed_and_nothing_comes_twice(cluster: Cluster, way: Way) -> None:
    """Presence comes as a list after a resume on another gateway; signals come without a gap."""

    async def scenario(stage: Stage) -> None:
        alice = await stage.join("alice")
        bystander = await stage.join("bystander", carrier=stage.other_carrier)
        bob = await stage.kept("bob")
        for link in (alice, bystander):
            await presence_until(link, "connectionCreated", bob)
        await send_part(alice)
        for number in range(1, 11):
            assert await bob.next("signal") == signal(alice, number, None, str(number))
        await way.lose(bob)
        await send_part(alice, to=bob)
        carol = await stage.join("carol")
        await send_part(carol)
        # The second part of Alice is not for the bystander.
        await hear_out(bystander, until={alice.me: PART, carol.me: PART})
        bob = await way.come_back(stage, bob)
        await send_part(alice)

        heard = await hear_out(bob, until={alice.me: 3 * PART, carol.me: PART})
        assert heard == {
            alice.me: list(range(11, 3 * PART + 1)),
            carol.me: list(range(1, PART + 1)),
        }
        await carol.goodbye()
        assert (await bob.next("connectionDestroyed"))["id"] == carol.me

        # The others have noticed nothing of Bob's loss.
        for link in (alice, bystander):
            seen = await presence_until(link, "connectionDestroyed", carol)
            assert bob.me not in {who for _, who in seen}

    perform(scenario, cluster, way.carrier)


@pytest.mark.parametrize("carrier", [QUIC, WEBSOCKET_JSON], ids=str)
@pytest.mark.parametrize("moderator_leaves", [False, True], ids=["open", "closed"])
def test_disconnected_while_detached(
    cluster: Cluster, carrier: Carrier, moderator_leaves: bool
) -> None:
    """The client resumes on a gateway without other members, when others have the session open, and
    when none has."""
    at = cluster.gateways

    async def scenario(session: str) -> None:
        async def join(gateway: int, role: str, resume: bool = False) -> Link:
            token = await asyncio.to_thread(mint_token, at[gateway], session, role)
            return await carrier.connect(at[gateway], token, presence=True, resume=resume)

        moderator, bob = await join(0, "moderator"), await join(0, "publisher", resume=True)
        await bob.first_ticket()
        await bob.abandon()
        await moderator.force_disconnect(bob.me)
        await moderator.next("connectionDestroyed")
        if moderator_leaves:
            await moderator.goodbye()
        with pytest.raises(Ended, match="forceDisconnected"):
            await carrier.resume(at[1], bob)

    asyncio.run(scenario(mint_session(at[0])))
