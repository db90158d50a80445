"""The guarantees for resumable connections, tested once for every way to resume.

A way is an argument of each scenario: the carrier of the first link, the carrier of the next one,
and the manner in which the first link is lost.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateways import Gateway
from link import Event, Link
from stage import QUIC, Carrier, Stage, ends_with, signal

TICKET = re.compile(r"[A-Za-z0-9_-]{1,512}")
PART = 40


@dataclass(frozen=True)
class Way:
    carrier: Carrier
    back: Carrier
    # `cut`: not a byte more, which a gateway on QUIC does not notice. `abandon`: no goodbye.
    loss: str = "cut"

    def __str__(self) -> str:
        return f"{self.carrier}-to-{self.back}-{self.loss}"

    async def lose(self, link: Link) -> None:
        if self.loss == "cut":
            link.cut()
        else:
            await link.abandon()

    async def come_back(self, stage: Stage, link: Link, **options: Any) -> Link:
        return await stage.resume(link, self.back, **options)


Scenario = Callable[[Stage, Way], Awaitable[None]]


def perform(scenario: Scenario, gateway: Gateway, way: Way) -> None:
    async def on_stage() -> None:
        async with Stage(gateway, way.carrier) as stage:
            await scenario(stage, way)

    asyncio.run(on_stage())


async def send_part(link: Link, to: Link | None = None) -> None:
    """Sends :data:`PART` more signals, each with its own number as data."""
    for _ in range(PART):
        number = link.connection.sent + 1
        await link.signal(data=str(number), to=to and to.me)


async def hear_out(link: Link, until: dict[str | None, int]) -> dict[str | None, list[int]]:
    """The numbers of received signals by sender, until the last one given for each has arrived."""
    heard: dict[str | None, list[int]] = {sender: [] for sender in until}
    while any(heard[sender][-1:] != [last] for sender, last in until.items()):
        fields = await link.next("signal")
        assert fields["data"] == str(fields["seq"])
        heard[fields["from"]].append(fields["seq"])
    return heard


async def presence_until(link: Link, kind: str, who: Link) -> list[tuple[str, str]]:
    """All presence events up to this one."""
    seen: list[tuple[str, str]] = []
    while seen[-1:] != [(kind, who.me)]:
        event = await link.event()
        assert event.kind not in ("error", "ended")
        if event.kind in ("connectionCreated", "connectionDestroyed"):
            seen.append((event.kind, event.fields["id"]))
    return seen


async def accepted(link: Link, signals: int) -> None:
    """Waits until this many signals are confirmed. Other events are dropped."""
    while link.connection.accepted < signals:
        await link.next("accepted")
    assert not link.connection.unconfirmed


async def nothing_is_missed_and_nothing_comes_twice(stage: Stage, way: Way) -> None:
    alice = await stage.join("alice")
    bystander = await stage.join("bystander", carrier=stage.other_carrier)
    bob = await stage.kept("bob")
    for link in (alice, bystander):
        await presence_until(link, "connectionCreated", bob)

    # When the link is lost, the first part has been read in part; the next part begins at once.
    await send_part(alice)
    for number in range(1, 11):
        assert await bob.next("signal") == signal(alice, number, None, str(number))
    await way.lose(bob)
    await send_part(alice, to=bob)
    carol = await stage.join("carol")
    await send_part(carol)
    await carol.goodbye()
    bob = await way.come_back(stage, bob)
    await send_part(alice)

    events = await until_both(bob, alice, 3 * PART, carol)
    of_alice = [fields["seq"] for kind, fields in events if fields.get("from") == alice.me]
    assert of_alice == list(range(11, 3 * PART + 1))
    created, *signals, destroyed = [event for event in events if is_about(event, carol)]
    assert created == ("connectionCreated", carol.welcome["connection"])
    assert [fields["seq"] for _, fields in signals] == list(range(1, PART + 1))
    left = stage.destroyed(carol, "clientDisconnected", PART, way.back)
    assert destroyed == ("connectionDestroyed", left)
    assert not any(kind == "gap" for kind, _ in events)

    # The others have noticed nothing.
    dave = await stage.join("dave")
    expected = [
        ("connectionCreated", carol.me),
        ("connectionDestroyed", carol.me),
        ("connectionCreated", dave.me),
    ]
    for link in (alice, bystander):
        assert await presence_until(link, "connectionCreated", dave) == expected
    assert await presence_until(bob, "connectionCreated", dave) == expected[-1:]


async def until_both(bob: Link, alice: Link, last: int, carol: Link) -> list[Event]:
    """All events until the last signal of Alice and the end of Carol's connection, in any order."""
    events: list[Event] = []
    awaited = {("signal", alice.me, last), ("connectionDestroyed", carol.me, None)}
    while awaited:
        kind, fields = event = await bob.event()
        assert kind != "ended"
        events.append(event)
        awaited.discard((kind, fields.get("from") or fields.get("id"), fields.get("seq")))
    return events


def is_about(event: Event, link: Link) -> bool:
    return link.me in (event.fields.get("from"), event.fields.get("id"))


async def own_signals_arrive_once(stage: Stage, way: Way) -> None:
    listener = await stage.join("listener", carrier=stage.other_carrier)
    bob = await stage.kept("bob")
    # The gateway may read any number of these.
    await send_part(bob)
    await way.lose(bob)
    # These are sent while there is no link.
    await send_part(bob)
    bob = await way.come_back(stage, bob)
    await send_part(bob)
    everything = {bob.me: list(range(1, 3 * PART + 1))}
    for link in (listener, bob):
        assert await hear_out(link, until={bob.me: 3 * PART}) == everything
    # No signal follows.
    await bob.signal(data="the end")
    for link in (listener, bob):
        assert (await link.next("signal"))["data"] == "the end"
    await accepted(bob, 3 * PART + 1)


async def again_and_again(stage: Stage, way: Way) -> None:
    """Lost several times, on changing carriers, while others send. Each cursor takes a message."""
    alice = await stage.join("alice")
    bob = await stage.kept("bob")
    carriers = [way.back, way.carrier, way.back, way.back]
    for carrier in carriers:
        await send_part(alice)
        await send_part(bob)
        await way.lose(bob)
        bob = await stage.resume(bob, carrier, cursors_each=1)
    last = len(carriers) * PART
    everything = list(range(1, last + 1))
    heard = await hear_out(bob, until={alice.me: last, bob.me: last})
    assert heard == {alice.me: everything, bob.me: everything}


async def the_answer_does_not_arrive(stage: Stage, way: Way) -> None:
    """Links that are lost right after `resume` was sent, whether the gateway has read it or not."""
    alice = await stage.join("alice")
    bob = await stage.kept("bob")
    await send_part(alice)
    await send_part(bob)
    await way.lose(bob)
    for _ in range(3):
        link = await stage.open(way.back)
        await link.ask_for(bob, way.back.streams)
        link.cut()
        bob = link
        await send_part(alice)
        await send_part(bob)
    bob = await way.come_back(stage, bob)
    everything = list(range(1, 4 * PART + 1))
    heard = await hear_out(bob, until={alice.me: 4 * PART, bob.me: 4 * PART})
    assert heard == {alice.me: everything, bob.me: everything}


async def presence_comes_in_order(stage: Stage, way: Way) -> None:
    """Missed presence events come in order, and known connections are not announced again."""
    early = await stage.join("early", carrier=stage.other_carrier)
    bob = await stage.kept("bob")
    seen = await stage.join("seen")
    await bob.next("connectionCreated")
    await way.lose(bob)
    await seen.goodbye()
    gone = [await stage.join(f"gone {number}", carrier=QUIC) for number in range(5)]
    for link in gone:
        await link.goodbye()
    await early.goodbye()
    stays = await stage.join("stays")
    bob = await way.come_back(stage, bob)
    expected = [
        ("connectionDestroyed", seen.me),
        *(("connectionCreated", link.me) for link in gone),
        *(("connectionDestroyed", link.me) for link in gone),
        ("connectionDestroyed", early.me),
        ("connectionCreated", stays.me),
    ]
    assert await presence_until(bob, "connectionCreated", stays) == expected
    # The count of events continues over links, so that no event comes twice after another loss.
    await way.lose(bob)
    await stays.goodbye()
    late = await stage.join("late")
    bob = await stage.resume(bob)
    expected = [("connectionDestroyed", stays.me), ("connectionCreated", late.me)]
    assert await presence_until(bob, "connectionCreated", late) == expected


async def without_presence_only_signals_come(stage: Stage, way: Way) -> None:
    alice = await stage.join("alice")
    bob = await stage.kept("bob", presence=False)
    await send_part(alice)
    assert (await bob.next("signal"))["seq"] == 1
    await way.lose(bob)
    carol = await stage.join("carol")
    await send_part(carol)
    await carol.goodbye()
    await send_part(alice)
    bob = await way.come_back(stage, bob)
    heard = await hear_out(bob, until={alice.me: 2 * PART, carol.me: PART})
    assert heard == {
        alice.me: list(range(2, 2 * PART + 1)),
        carol.me: list(range(1, PART + 1)),
    }
    # No other event follows before this one.
    await bob.signal(data="to myself", to=bob.me)
    while (event := await bob.event()).kind == "accepted":
        pass
    assert event == ("signal", signal(bob, 1, None, "to myself"))


async def what_was_held_back_is_awaited_on_the_next_link(stage: Stage, way: Way) -> None:
    """The end of a connection had arrived before its last signals when the link was lost."""
    bob = await stage.kept("bob")
    carol = await stage.join("carol")
    await send_part(carol)
    await carol.goodbye()
    heard = await hear_out(bob, until={carol.me: PART})
    assert heard == {carol.me: list(range(1, PART + 1))}
    await bob.next("connectionDestroyed")
    await way.lose(bob)
    # As if the last ten signals had been on a stream slower than the control stream.
    end = stage.destroyed(carol, "clientDisconnected", PART, QUIC)
    bob.connection.pretend_held(end, received=PART - 10)
    bob = await way.come_back(stage, bob)
    heard = await hear_out(bob, until={carol.me: PART})
    assert heard == {carol.me: list(range(PART - 9, PART + 1))}
    assert await bob.next("connectionDestroyed") == end
    # The connection has left and has no cursor, so none of its signals is repeated.
    assert carol.me not in bob.connection.cursors
    await way.lose(bob)
    bob = await stage.resume(bob)
    await bob.signal(data="1")
    assert await bob.next("signal") == signal(bob, 1, None, "1")


async def goodbye_counts_over_all_links(stage: Stage, way: Way) -> None:
    """On QUIC `goodbye` can overtake signals; its count covers the signals of all links."""
    listener = await stage.join("listener", role="subscriber")
    bob = await stage.kept("bob")
    await send_part(bob)
    await way.lose(bob)
    await send_part(bob)
    bob = await way.come_back(stage, bob)
    await send_part(bob)
    await bob.goodbye()
    assert await hear_out(listener, until={bob.me: 3 * PART}) == {
        bob.me: list(range(1, 3 * PART + 1))
    }
    destroyed = await listener.next("connectionDestroyed")
    expected = stage.destroyed(bob, "clientDisconnected", 3 * PART, stage.carrier)
    assert destroyed == expected


async def the_old_link_is_superseded(stage: Stage, way: Way) -> None:
    """The client resumes on a second link while the first is alive."""
    alice = await stage.join("alice")
    old = await stage.kept("bob")
    await alice.next("connectionCreated")
    await send_part(alice)
    new = await way.come_back(stage, old)
    await ends_with(stage, old, "superseded")
    await send_part(alice)
    heard = await hear_out(new, until={alice.me: 2 * PART})
    assert heard == {alice.me: list(range(1, 2 * PART + 1))}
    carol = await stage.join("carol")
    assert await presence_until(alice, "connectionCreated", carol) == [
        ("connectionCreated", carol.me)
    ]


async def disconnected_while_away(stage: Stage, way: Way) -> None:
    moderator = await stage.join("moderator", role="moderator")
    bob = await stage.kept("bob")
    await way.lose(bob)
    await moderator.force_disconnect(bob.me)
    destroyed = await moderator.next("connectionDestroyed")
    assert destroyed == stage.destroyed(bob, "forceDisconnected", 0, stage.carrier)
    await is_refused(stage, bob.connection.ticket, "forceDisconnected")


async def is_refused(stage: Stage, ticket: str, reason: str) -> None:
    """A `resume` with this ticket is answered by `bye` with this reason, and by nothing else."""
    link = await stage.open()
    await link.send_resume(ticket, stage.carrier.streams)
    kind, _ = await link.event()
    assert kind == "bye"
    await ends_with(stage, link, reason)


async def tickets_are_good_once(stage: Stage, way: Way) -> None:
    bob = await stage.kept("bob")
    first = bob.connection.ticket
    assert TICKET.fullmatch(first)
    await way.lose(bob)
    # Until the client has sent a message on the new link, both tickets are valid.
    bob = await way.come_back(stage, bob, confirm=False)
    second = bob.connection.ticket
    await way.lose(bob)
    bob = await way.come_back(stage, bob, confirm=False, ticket=first)
    third = bob.connection.ticket
    await way.lose(bob)
    bob = await way.come_back(stage, bob)
    fourth = bob.connection.ticket
    assert len({first, second, third, fourth}) == 4
    # The confirmation shows that the gateway has read a message.
    await bob.signal(data="1")
    await accepted(bob, 1)
    for used in (first, second, third):
        await is_refused(stage, used, "invalidTicket")
    await bob.signal(data="2")
    await accepted(bob, 2)


ALL: list[Scenario] = [
    own_signals_arrive_once,
    again_and_again,
    the_answer_does_not_arrive,
    presence_comes_in_order,
    without_presence_only_signals_come,
    what_was_held_back_is_awaited_on_the_next_link,
    goodbye_counts_over_all_links,
    the_old_link_is_superseded,
    disconnected_while_away,
    tickets_are_good_once,
]
