"""The guarantees for applications, tested once for every carrier.

A test module runs `ALL` on the carriers of its kind. Each scenario has a session of its own. Some
of its other clients use the other kind of carrier, as clients of all carriers share sessions.
"""

import asyncio
import uuid
from typing import Any

import pytest

from link import Ended, Link
from stage import QUIC, WEBSOCKET_JSON, Scenario, Stage, ends_with, signal

SENDERS = 10
SIGNALS_EACH = 200
WINDOW = 50


async def welcome_and_presence(stage: Stage) -> None:
    alice = await stage.join("alice", role="moderator")
    welcomed = alice.welcome
    assert (welcomed["session"], welcomed["role"]) == (stage.session, "moderator")
    assert (welcomed["connection"]["data"], welcomed["present"]) == ("alice", 0)
    assert set(welcomed["connection"]) == {"id", "createdAt", "data"}
    assert {name: welcomed["limits"][name] for name in ("typeBytes", "dataBytes")} == {
        "typeBytes": 128,
        "dataBytes": 8192,
    }

    bob = await stage.join("bob", carrier=stage.other_carrier)
    assert await alice.event() == ("connectionCreated", bob.welcome["connection"])

    carol = await stage.join("carol")
    others = [alice.welcome["connection"], bob.welcome["connection"]]
    assert carol.welcome["present"] == len(others)
    assert await everyone_present(carol) == others  # the oldest first
    for earlier in (alice, bob):
        assert await earlier.next("connectionCreated") == carol.welcome["connection"]


async def everyone_present(link: Link) -> list[dict[str, Any]]:
    """All connections that `welcome` counted, from any number of messages."""
    found: list[dict[str, Any]] = []
    while len(found) < link.welcome["present"]:
        kind, fields = await link.event()
        assert kind == "present" and fields["connections"]
        found += fields["connections"]
    return found


async def who_declines_presence_is_told_of_nobody(stage: Stage) -> None:
    alice = await stage.join("alice")
    silent = await stage.join("silent", presence=False)
    assert silent.welcome["present"] == 0
    bob = await stage.join("bob")
    await bob.goodbye()
    destroyed = await alice.next("connectionDestroyed")
    assert destroyed == stage.destroyed(bob, "clientDisconnected", 0, stage.carrier)
    await alice.signal(data="all that there is to see")
    assert await silent.event() == ("signal", signal(alice, 1, None, "all that there is to see"))


async def conversation_and_goodbye(stage: Stage) -> None:
    alice = await stage.join("alice")
    bob = await stage.join("bob")
    carol = await stage.join("carol", carrier=stage.other_carrier)

    assert await alice.signal(type="chat", data="grüße 🚦") == 1
    for everyone in (alice, bob, carol):
        assert await everyone.next("signal") == signal(alice, 1, "chat", "grüße 🚦")

    # The ping follows the whisper. A client that sees it next did not get the whisper.
    assert await alice.signal(type="whisper", data="psst", to=bob.me) == 2
    assert await alice.signal() == 3
    assert await bob.next("signal") == signal(alice, 2, "whisper", "psst")
    for everyone in (alice, bob, carol):
        assert await everyone.next("signal") == signal(alice, 3, None, None)

    await alice.goodbye()
    assert (await alice.next("bye"))["reason"] == "clientDisconnected"
    assert (await alice.next("ended"))["reason"] == "clientDisconnected"
    for link, carrier in ((bob, stage.carrier), (carol, stage.other_carrier)):
        destroyed = await link.next("connectionDestroyed")
        assert destroyed == stage.destroyed(alice, "clientDisconnected", 3, carrier)


async def goodbye_loses_no_signal(stage: Stage) -> None:
    """On QUIC `goodbye` and signals are on different streams, so it can overtake them."""
    listener = await stage.join("listener", role="subscriber")
    leaver = await stage.join("leaver")
    for number in range(SIGNALS_EACH):
        await leaver.signal(data=str(number))
    await leaver.goodbye()
    for number in range(SIGNALS_EACH):
        assert (await listener.next("signal"))["data"] == str(number)
    destroyed = await listener.next("connectionDestroyed")
    assert destroyed == stage.destroyed(leaver, "clientDisconnected", SIGNALS_EACH, stage.carrier)


async def signal_to_nobody_is_refused_and_counted(stage: Stage) -> None:
    alice = await stage.join("alice")
    await alice.signal(data="first")
    assert await alice.next("signal") == signal(alice, 1, None, "first")
    assert await alice.signal(data="lost", to=str(uuid.uuid4())) == 2
    refused = await alice.next("error")
    assert (refused["signal"], refused["code"]) == (2, "notFound")
    await alice.signal(data="third")
    assert await alice.next("signal") == signal(alice, 3, None, "third")


async def faulty_signals_are_refused_each_with_its_code(stage: Stage) -> None:
    alice = await stage.join("alice")
    for number, (code, type, data) in enumerate(
        [
            ("invalidType", "a,b", None),
            ("typeTooLong", "t" * 129, None),
            ("dataTooLong", None, "é" * 4096 + "!"),
        ],
        start=1,
    ):
        await alice.signal(type=type, data=data)
        refused = await alice.next("error")
        assert (refused["signal"], refused["code"]) == (number, code)
    longest = ("t" * 128, "é" * 4096)
    await alice.signal(*longest)
    assert await alice.next("signal") == signal(alice, 4, *longest)


async def bad_token_is_refused(stage: Stage) -> None:
    link = await stage.open()
    with pytest.raises(Ended):
        await link.hello("abc.def.ghi", streams=stage.carrier.streams)
    await ends_with(stage, link, "invalidToken")


async def subscriber_may_listen_but_not_signal(stage: Stage) -> None:
    alice = await stage.join("alice")
    subscriber = await stage.join("subscriber", role="subscriber")
    await subscriber.signal(data="may I?")
    refused = await subscriber.next("error")
    assert (refused["signal"], refused["code"]) == (1, "forbidden")
    await alice.signal(data="no")
    for everyone in (alice, subscriber):
        assert await everyone.next("signal") == signal(alice, 1, None, "no")


async def publisheronly_neither_hears_nor_speaks(stage: Stage) -> None:
    """It takes part in presence all the same."""
    mute = await stage.join("mute", role="publisheronly")
    alice = await stage.join("alice")
    assert await mute.event() == ("connectionCreated", alice.welcome["connection"])
    await mute.signal(data="may I?")
    refused = await mute.next("error")
    assert (refused["signal"], refused["code"]) == (1, "forbidden")
    await alice.signal(data="to all")
    await alice.signal(data="to one", to=mute.me)
    await alice.goodbye()
    destroyed = stage.destroyed(alice, "clientDisconnected", 0, stage.carrier)
    assert await mute.event() == ("connectionDestroyed", destroyed)


async def moderator_disconnects_another(stage: Stage) -> None:
    moderator = await stage.join("moderator", role="moderator")
    bystander = await stage.join("bystander", carrier=stage.other_carrier)
    victim = await stage.join("victim")
    await moderator.force_disconnect(victim.me)
    for link, carrier in ((moderator, stage.carrier), (bystander, stage.other_carrier)):
        destroyed = await link.next("connectionDestroyed")
        assert destroyed == stage.destroyed(victim, "forceDisconnected", 0, carrier)
    await ends_with(stage, victim, "forceDisconnected")


async def only_moderators_disconnect_and_only_who_is_there(stage: Stage) -> None:
    publisher = await stage.join("publisher")
    moderator = await stage.join("moderator", role="moderator")
    await publisher.force_disconnect(moderator.me)
    refused = await publisher.next("error")
    assert (refused["signal"], refused["code"]) == (None, "forbidden")
    await moderator.force_disconnect(str(uuid.uuid4()))
    refused = await moderator.next("error")
    assert (refused["signal"], refused["code"]) == (None, "notFound")


async def ten_senders_at_once(stage: Stage) -> Link:
    """Half on QUIC, half on WebSocket. Returns the receiver for further checks."""
    receiver = await stage.join("receiver", role="subscriber")
    carriers = [(QUIC, WEBSOCKET_JSON)[number % 2] for number in range(SENDERS)]
    senders = [
        await stage.join(f"sender {number}", carrier=carrier, presence=False)
        for number, carrier in enumerate(carriers)
    ]
    await asyncio.gather(*map(send_numbered, senders))
    await asyncio.gather(*(sender.goodbye() for sender in senders))

    stories = await tell_stories(receiver, {sender.me for sender in senders})
    for sender in senders:
        created, *signals, destroyed = stories[sender.me]
        assert created == ("connectionCreated", sender.welcome["connection"])
        assert [fields["data"] for _, fields in signals] == [
            str(number) for number in range(1, SIGNALS_EACH + 1)
        ]
        numbers = [fields["seq"] for _, fields in signals]
        assert numbers == sorted(set(numbers))
        assert destroyed.kind == "connectionDestroyed"
        assert destroyed.fields == stage.destroyed(
            sender, "clientDisconnected", numbers[-1], stage.carrier
        )
    return receiver


async def send_numbered(link: Link) -> None:
    """Sends as fast as its own signals come back, so that the backlog stays short."""
    for number in range(1, SIGNALS_EACH + 1):
        if number > WINDOW:
            await own_echo(link, number - WINDOW)
        await link.signal(type="count", data=str(number))
    for number in range(SIGNALS_EACH - WINDOW + 1, SIGNALS_EACH + 1):
        await own_echo(link, number)


async def own_echo(link: Link, number: int) -> None:
    while (echo := await link.next("signal"))["from"] != link.me:
        pass
    assert echo == signal(link, number, "count", str(number))


async def tell_stories(receiver: Link, connections: set[str]) -> dict[str, list[Any]]:
    """All events about each connection, until the last of them has left."""
    stories: dict[str, list[Any]] = {connection: [] for connection in connections}
    present = set(connections)
    while present:
        event = await receiver.event()
        about = event.fields["from" if event.kind == "signal" else "id"]
        stories[about].append(event)
        if event.kind == "connectionDestroyed":
            present.remove(about)
    return stories


async def goes_on_after_unsupported(link: Link) -> None:
    refused = await link.next("error")
    assert (refused["signal"], refused["code"]) == (None, "unsupported")
    await link.signal()
    assert await link.next("signal") == signal(link, 1, None, None)


async def no_hello(stage: Stage) -> None:
    """A client that sends no hello is disconnected. Slow, and therefore not in `ALL`."""
    link = await stage.open()
    ended = await link.next("ended")
    assert ended["reason"] == "helloTimeout"
    assert ended["code"] == stage.carrier.close_code("helloTimeout")


ALL: list[Scenario] = [
    welcome_and_presence,
    who_declines_presence_is_told_of_nobody,
    conversation_and_goodbye,
    goodbye_loses_no_signal,
    signal_to_nobody_is_refused_and_counted,
    faulty_signals_are_refused_each_with_its_code,
    bad_token_is_refused,
    subscriber_may_listen_but_not_signal,
    publisheronly_neither_hears_nor_speaks,
    moderator_disconnects_another,
    only_moderators_disconnect_and_only_who_is_there,
    ten_senders_at_once,
]
