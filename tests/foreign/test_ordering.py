"""The ordering duties of the Python SDK, which a fast network hides: streams that overtake each
other.

The tests against a gateway rely on the SDK's order of events. These tests show that it is right.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from test_transcripts import Player

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
WELCOME = next(
    vector["json"]["welcome"]
    for vector in json.loads((VECTORS / "messages.json").read_text())
    if vector["name"] == "welcome"
)

ME, BOB, CAROL, DAVE, GATEWAY = "me", "bob", "carol", "dave", "gw-1"
IDS = {
    name: f"{number:08}-0000-4000-8000-000000000000"
    for number, name in enumerate((ME, BOB, CAROL, DAVE))
}
NAMES = {id: name for name, id in IDS.items()}
TICKET = {"ticket": "Zm9v-_", "windowMs": 30000}


class Stage:
    """A client whose streams arrive in any order, and its events in short form."""

    def __init__(self, presence: bool = True, welcome: bool = True) -> None:
        self._player = Player(presence, "perSender")
        self._player.next_sent()
        if welcome:
            self.welcome()
            self.control("ticket", TICKET)
            self.seen()

    def welcome(self) -> None:
        welcome = {**WELCOME, "connection": connection(ME), "present": 0}
        self.control("welcome", {**welcome, "features": ["presence", "resume"]})

    def next_link(self) -> dict[str, Any]:
        """Another link of the same connection. Signals held on the one before are gone. Returns the
        position from which the client resumes."""
        self._player.link_lost()
        self._player.then("resume")
        resume = self._player.next_sent()["resume"]
        cursors = [(NAMES[cursor["from"]], cursor["seq"]) for cursor in resume["cursors"]]
        return {"events": resume["events"], "cursors": cursors}

    def resumed(self) -> None:
        self.control("resumed", {"ticket": TICKET, "signals": 0, "missed": 0})

    def gap(self, *lost: tuple[str, int, int], present: list[str] | None = None) -> None:
        losses = [{"from": IDS[who], "after": after, "until": until} for who, after, until in lost]
        names = present or []
        presence = present is not None
        self.control("gap", {"lost": losses, "presence": presence, "present": len(names)})
        for name in names:
            self.control("present", {"connections": [connection(name)]})

    def seen(self) -> list[str]:
        """The events since the last time."""
        return [short(*member) for event in self._player.surfaced() for member in event.items()]

    def control(self, kind: str, fields: dict[str, Any]) -> None:
        self._player.receives({kind: fields}, "control")

    def created(self, who: str) -> None:
        self.control("connectionCreated", connection(who))

    def destroyed(self, who: str, last_seq: int) -> None:
        fields = {"id": IDS[who], "reason": "clientDisconnected", "lastSeq": last_seq}
        self.control("connectionDestroyed", fields)

    def stream(self, stream: int, sender: str, *seqs: int, after: int = 0) -> None:
        sender = {"server": GATEWAY} if sender == GATEWAY else IDS[sender]
        self._player.receives({"sender": {"from": sender, "after": after}}, stream)
        self.signals(stream, *seqs)

    def signals(self, stream: int, *seqs: int) -> None:
        for seq in seqs:
            self._player.receives({"signal": {"seq": seq, "type": None, "data": None}}, stream)

    def reset(self, stream: int) -> None:
        self._player.stream_over(stream, reset=True)


def connection(name: str) -> dict[str, Any]:
    return {"id": IDS[name], "createdAt": 0, "data": ""}


def short(kind: str, fields: dict[str, Any]) -> str:
    match kind:
        case "signal":
            sender = fields["from"]
            name = sender["server"] if isinstance(sender, dict) else NAMES[sender]
            return f"signal {name} {fields['seq']}"
        case "resumed":
            lost = [f"{NAMES[it['from']]} {it['after']}-{it['until']}" for it in fields["lost"]]
            lost += ["presence"] if fields["presence"] else []
            return ", lost ".join(["resumed", *lost])
    return f"{kind} {NAMES[fields['id']]}"


def test_nothing_before_welcome() -> None:
    stage = Stage(welcome=False)
    stage.stream(3, ME, 1)
    stage.stream(7, GATEWAY, 1)
    assert stage.seen() == []
    stage.welcome()
    assert stage.seen() == ["connected me", "signal me 1", "signal gw-1 1"]


def test_created_before_the_first_signal() -> None:
    stage = Stage()
    stage.stream(3, BOB, 1, 2)
    stage.stream(7, CAROL, 5)
    stage.created(CAROL)
    assert stage.seen() == ["created carol", "signal carol 5"]
    stage.control("present", {"connections": [connection(BOB)]})
    assert stage.seen() == ["created bob", "signal bob 1", "signal bob 2"]


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
    assert stage.seen() == ["created bob", "created carol", "destroyed carol"]
    stage.stream(3, BOB, 1, 2)
    assert stage.seen() == ["signal bob 1", "signal bob 2", "destroyed bob"]


def test_a_later_stream_waits_for_the_one_before() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(7, BOB, 3, 4, after=2)
    stage.stream(11, CAROL, 1)
    stage.destroyed(BOB, 4)
    stage.created(CAROL)
    assert stage.seen() == ["created bob", "created carol", "signal carol 1"]
    stage.stream(3, BOB, 1, 2)
    expected = [f"signal bob {seq}" for seq in (1, 2, 3, 4)]
    assert stage.seen() == [*expected, "destroyed bob"]


def test_a_reset_stream_is_not_waited_for() -> None:
    stage = Stage(presence=False)
    stage.stream(3, BOB)
    stage.stream(7, BOB, 3, after=2)
    assert stage.seen() == []
    stage.reset(3)
    assert stage.seen() == ["signal bob 3"]


def test_a_stream_is_given_to_another_sender_and_back() -> None:
    stage = Stage(presence=False)
    stage.stream(3, BOB, 1)
    stage.stream(3, CAROL, 5, after=4)
    stage.stream(3, BOB, 2, after=1)
    assert stage.seen() == ["signal bob 1", "signal bob 2"]  # Carol's 4 is on another stream
    stage.stream(7, CAROL, 4)
    assert stage.seen() == ["signal carol 4", "signal carol 5"]


def test_destroyed_does_not_wait_for_signals_on_a_reset_stream() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1)
    stage.destroyed(BOB, 2)
    assert stage.seen() == ["created bob", "signal bob 1"]
    stage.reset(3)
    assert stage.seen() == ["destroyed bob"]



def test_held_signals_come_again_on_the_next_link() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1, 2)
    stage.stream(11, BOB, 7, 8, after=5)
    assert stage.seen() == ["created bob", "signal bob 1", "signal bob 2"]
    assert stage.next_link()["cursors"] == [(BOB, 2)]
    stage.stream(3, BOB, 3, 5, 7, 8)
    stage.stream(7, BOB, 9, after=8)
    assert stage.seen() == []  # not before the answer
    stage.resumed()
    assert stage.seen() == ["resumed", *(f"signal bob {seq}" for seq in (3, 5, 7, 8, 9))]


def test_the_end_of_a_connection_waits_for_its_last_signal_on_the_next_link() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.destroyed(BOB, 2)
    stage.created(CAROL)
    assert stage.seen() == ["created bob", "created carol"]
    # None of its signals was delivered, so the gateway must be told that they are awaited.
    assert stage.next_link() == {"events": 3, "cursors": [(BOB, 0)]}
    stage.resumed()
    assert stage.seen() == ["resumed"]
    stage.stream(3, BOB, 1, 2)
    assert stage.seen() == ["signal bob 1", "signal bob 2", "destroyed bob"]
    assert stage.next_link()["cursors"] == []


def test_the_end_of_a_connection_does_not_wait_for_lost_signals() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.destroyed(BOB, 2)
    stage.seen()
    stage.next_link()
    stage.gap((BOB, 0, 2))
    assert stage.seen() == []
    stage.resumed()
    assert stage.seen() == ["resumed, lost bob 0-2", "destroyed bob"]


def test_a_gap_without_resumed_has_no_effect() -> None:
    stage = Stage()
    stage.created(BOB)
    stage.stream(3, BOB, 1)
    stage.seen()
    position = stage.next_link()
    assert position == {"events": 1, "cursors": [(BOB, 1)]}
    stage.gap((BOB, 1, 5), present=[CAROL])
    assert stage.next_link() == position
    stage.resumed()
    assert stage.seen() == ["resumed"]


def test_after_a_gap_of_presence_all_connections_are_listed_again() -> None:
    stage = Stage()
    for who in (BOB, CAROL):
        stage.created(who)
    stage.destroyed(CAROL, 4)
    stage.seen()
    stage.next_link()
    stage.gap(present=[DAVE])
    # On a stream of its own, a signal can overtake even the list.
    stage.stream(3, DAVE, 1)
    assert stage.seen() == []
    stage.resumed()
    assert stage.seen() == [
        "resumed, lost presence",
        "destroyed bob",
        "destroyed carol",
        "created dave",
        "signal dave 1",
    ]
    assert stage.next_link()["events"] == 0
