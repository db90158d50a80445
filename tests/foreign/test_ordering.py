"""The client's own duties, which a fast network hides: streams that overtake each other.

The tests against a gateway trust this client to put things in order. Here it is shown to.
"""

from typing import Any

import pytest

from connection import Connection
from ordering import Ordering
from postcard import Server

ME, BOB, CAROL = "me", "bob", "carol"
LEFT = "clientDisconnected"
WELCOME = ("welcome", {"connection": {"id": ME}})


class Stage:
    """An `Ordering` and what came out of it, in short form."""

    def __init__(self, presence: bool = True, welcome: bool = True) -> None:
        self.surfaced: list[str] = []
        self.connection = Connection(presence)
        self.ordering = Ordering(self._surface, self.connection)
        if welcome:
            self.control(*WELCOME)
            self.seen()

    def _surface(self, kind: str, fields: dict[str, Any]) -> None:
        self.connection.told(kind, fields)
        about = f"{fields['from']} {fields['seq']}" if kind == "signal" else fields.get("id")
        self.surfaced.append(f"{kind} {about}" if about else kind)

    def next_link(self) -> None:
        """Another link of the same connection. What was held on the one before is gone."""
        self.connection.link_lost()
        self.ordering = Ordering(self._surface, self.connection)

    def resumed(self) -> None:
        ticket = {"ticket": "Zm9v-_", "windowMs": 30000}
        self.control("resumed", {"ticket": ticket, "signals": 0, "missed": 0})

    def gap(self, *lost: tuple[str, int, int], present: list[str] | None = None) -> None:
        losses = [{"from": who, "after": after, "until": until} for who, after, until in lost]
        names = present or []
        presence = present is not None
        self.control("gap", {"lost": losses, "presence": presence, "present": len(names)})
        for name in names:
            self.control("present", {"connections": [{"id": name}]})

    def seen(self) -> list[str]:
        """What has been surfaced since the last time."""
        surfaced, self.surfaced = self.surfaced, []
        return surfaced

    def control(self, kind: str, fields: dict[str, Any]) -> None:
        for event in self.connection.read(kind, fields):
            self.ordering.control(*event)

    def created(self, who: str) -> None:
        self.control("connectionCreated", {"id": who})

    def destroyed(self, who: str, last_seq: int) -> None:
        self.control("connectionDestroyed", {"id": who, "reason": LEFT, "lastSeq": last_seq})

    def stream(self, stream: int, sender: str | Server, *seqs: int, after: int = 0) -> None:
        self.ordering.sender(stream, {"from": sender, "after": after})
        for seq in seqs:
            self.ordering.signal(stream, {"seq": seq})


def test_nothing_before_welcome() -> None:
    stage = Stage(welcome=False)
    stage.stream(3, ME, 1)
    stage.stream(7, Server(server="gw-1"), 1)
    assert stage.seen() == []
    stage.control(*WELCOME)
    assert stage.seen() == ["welcome", "signal me 1", "signal {'server': 'gw-1'} 1"]


def test_created_before_the_first_signal() -> None:
    stage = Stage()
    stage.stream(3, BOB, 1, 2)
    stage.stream(7, CAROL, 5)
    stage.created(CAROL)
    assert stage.seen() == ["connectionCreated carol", "signal carol 5"]
    stage.control("present", {"connections": [{"id": BOB}]})
    assert stage.seen() == ["present", "signal bob 1", "signal bob 2"]


def test_without_presence_nobody_needs_a_name() -> None:
    stage = Stage(presence=False)
    stage.stream(3, BOB, 1)
    assert stage.seen() == ["signal bob 1"]


def test_destroyed_after_the_last_signal_without_holding_another() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.destroyed(BOB, 2)
    stage.created(CAROL)
    stage.destroyed(CAROL, 0)
    assert stage.seen() == ["connectionCreated bob", "connectionCreated carol"] + [
        "connectionDestroyed carol"
    ]
    stage.stream(3, BOB, 1, 2)
    assert stage.seen() == ["signal bob 1", "signal bob 2", "connectionDestroyed bob"]


def test_a_later_stream_waits_for_the_one_before() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(7, BOB, 3, 4, after=2)
    stage.stream(11, CAROL, 1)
    stage.destroyed(BOB, 4)
    stage.created(CAROL)
    assert stage.seen() == ["connectionCreated bob", "connectionCreated carol", "signal carol 1"]
    stage.stream(3, BOB, 1, 2)
    expected = [f"signal bob {seq}" for seq in (1, 2, 3, 4)]
    assert stage.seen() == [*expected, "connectionDestroyed bob"]
    assert stage.ordering.successors == 1


@pytest.mark.parametrize("header_came", [True, False])
def test_a_reset_stream_is_not_waited_for(header_came: bool) -> None:
    stage = Stage(presence=False)
    if header_came:
        stage.stream(3, BOB)
    stage.stream(7, BOB, 3, after=2)
    assert stage.seen() == []
    stage.ordering.end(3, reset=True)
    assert stage.seen() == ["signal bob 3"]


def test_only_the_successor_of_a_reset_stream_goes_on() -> None:
    stage = Stage(presence=False)
    stage.stream(3, BOB)
    stage.stream(11, BOB, 5, after=4)
    stage.ordering.end(3, reset=True)
    assert stage.seen() == []  # 7 may be Bob's as well, with what comes before 5
    stage.stream(7, BOB, 4, after=2)
    assert stage.seen() == ["signal bob 4", "signal bob 5"]


def test_destroyed_does_not_wait_for_what_a_reset_took_along() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1)
    stage.destroyed(BOB, 2)
    assert stage.seen() == ["connectionCreated bob", "signal bob 1"]
    stage.ordering.end(3, reset=True)
    assert stage.seen() == ["connectionDestroyed bob"]


def test_an_unknown_kind_of_stream_holds_nothing_up() -> None:
    stage = Stage(presence=False)
    stage.ordering.ignore(3)
    stage.stream(7, BOB)
    stage.stream(11, BOB, 3, after=2)
    assert stage.seen() == []
    stage.ordering.end(7, reset=True)
    assert stage.seen() == ["signal bob 3"]


def test_what_was_held_comes_again_on_the_next_link() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1, 2)
    stage.stream(11, BOB, 7, 8, after=5)
    assert stage.seen() == ["connectionCreated bob", "signal bob 1", "signal bob 2"]
    assert stage.connection.all_cursors() == [{"from": BOB, "seq": 2}]
    stage.next_link()
    stage.stream(3, BOB, 3, 5, 7, 8)
    stage.stream(7, BOB, 9, after=8)
    assert stage.seen() == []  # not before the answer
    stage.resumed()
    assert stage.seen() == ["resumed", *(f"signal bob {seq}" for seq in (3, 5, 7, 8, 9))]


def test_who_left_waits_for_its_last_signal_on_the_next_link() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.destroyed(BOB, 2)
    stage.created(CAROL)
    assert stage.seen() == ["connectionCreated bob", "connectionCreated carol"]
    assert stage.connection.events == 3
    # Nothing of him was told, but that is said.
    assert stage.connection.all_cursors() == [{"from": BOB, "seq": 0}]
    stage.next_link()
    stage.resumed()
    assert stage.seen() == ["resumed"]
    stage.stream(3, BOB, 1, 2)
    assert stage.seen() == ["signal bob 1", "signal bob 2", "connectionDestroyed bob"]
    assert stage.connection.all_cursors() == []


def test_who_left_does_not_wait_for_what_is_lost() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.destroyed(BOB, 2)
    stage.seen()
    stage.next_link()
    stage.gap((BOB, 0, 2))
    assert stage.seen() == []
    stage.resumed()
    assert stage.seen() == ["gap", "resumed", "connectionDestroyed bob"]


def test_a_gap_without_an_answer_is_none() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1)
    stage.seen()
    cursors = stage.connection.all_cursors()
    stage.next_link()
    stage.gap((BOB, 1, 5), present=[CAROL])
    assert (stage.connection.all_cursors(), stage.connection.events) == (cursors, 1)
    stage.next_link()
    stage.resumed()
    assert stage.seen() == ["resumed"]


def test_after_a_gap_of_presence_everyone_is_named_anew() -> None:
    stage = Stage()
    for who in (BOB, CAROL):
        stage.created(who)
    stage.destroyed(CAROL, 4)
    stage.seen()
    stage.next_link()
    stage.gap(present=["dave"])
    # On a stream of its own, it could overtake even these.
    stage.stream(3, "dave", 1)
    assert stage.seen() == []
    stage.resumed()
    assert stage.seen() == [
        "gap",
        "connectionDestroyed bob",
        "connectionDestroyed carol",
        "connectionCreated dave",
        "resumed",
        "signal dave 1",
    ]
    assert stage.connection.events == 0
