"""The transcripts of protocol/vectors/transcripts.json, played to the parts of this client that do no
I/O: `connection` and `ordering`. Section 3.5 of docs/protocol.md says what the steps mean.
"""

import json
from pathlib import Path
from typing import Any

import pytest

import postcard
from connection import Connection, Fields
from ordering import Ordering

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
TRANSCRIPTS = json.loads(
    (VECTORS / "transcripts.json").read_text(), object_hook=postcard.with_servers
)["transcripts"]
PLAYS = [(each, carriers) for each in TRANSCRIPTS for carriers in each["carriers"]]

# Section 11, and the answers to `resume` in section 5.9: what this client does next.
RESUME_AFTER = {"networkDisconnected", "shuttingDown"}
AGAIN_AFTER = RESUME_AFTER | {"helloTimeout", "internalError"}


class Player:
    """A client whose links are the steps of a transcript."""

    def __init__(self, presence: bool, carriers: str) -> None:
        self._presence = presence
        self._shared = carriers == "shared"
        self._surfaced: list[Fields] = []
        self._sent: list[Fields] = []
        self._resuming = False
        self._begin()
        self._open("join")

    def _begin(self) -> None:
        self._connection = Connection(self._presence)
        # How many of those that `welcome` has counted are still to be named.
        self._unnamed = 0
        self._refused: set[int] = set()
        self._leaving = False

    def _open(self, then: str) -> None:
        """Opens a link and says what comes first."""
        self._resuming = then == "resume"
        self._answered = False
        self._bye: str | None = None
        self._then: str | None = None
        self._ordering = Ordering(self._surface, self._connection)
        self._headed: set[int] = set()
        self._ignored: set[int] = set()
        self._ahead: list[Fields] = []
        if self._resuming:
            connection = self._connection
            connection.attempts[connection.ticket] += 1
            resume = {
                "ticket": connection.ticket,
                "attempt": connection.attempts[connection.ticket],
                "events": connection.events,
            }
            cursors = {"cursors": connection.all_cursors(), "more": False}
            self._sent = [{"resume": {**resume, **cursors}}]
        else:
            features = ["presence", "resume"] if self._presence else ["resume"]
            self._sent = [{"hello": {"token": "abc.def.ghi", "features": features}}]

    def receives(self, message: Fields, on: str | int) -> None:
        ((kind, fields),) = message.items()
        if on == "control":
            if kind in postcard.GATEWAY:
                self._control(kind, fields)
        elif on not in self._ignored:
            self._stream(on, kind, fields)

    def _stream(self, stream: int, kind: str, fields: Fields) -> None:
        if stream in self._headed:
            if kind in postcard.SENDER:
                self._ordering.signal(stream, fields)
        elif kind in postcard.GATEWAY_STREAM:
            self._headed.add(stream)
            self._ordering.sender(stream, fields)
        else:
            self._ignored.add(stream)
            self._ordering.ignore(stream)

    def stream_over(self, stream: int, reset: bool) -> None:
        if stream not in self._ignored:
            self._ordering.end(stream, reset)

    def _control(self, kind: str, fields: Fields) -> None:
        if kind == "bye":
            self._bye = fields["reason"]
            if not self._answered:
                self._link_over()
        elif kind == "error" and not self._answered:
            self._ahead.append(fields)
        else:
            self._answer(kind, fields)

    def _answer(self, kind: str, fields: Fields) -> None:
        match kind:
            case "welcome":
                self._answered = True
                self._unnamed = fields["present"]
            case "present" if self._answered:
                self._unnamed -= len(fields["connections"])
            case "resumed":
                self._answered = True
                for error in self._ahead:
                    self._error(error)
            case "error":
                self._error(fields)
                return
        for told in self._connection.read(kind, fields):
            if self._shared:
                self._surface(*told)
                for destroyed in self._connection.due():
                    self._surface("connectionDestroyed", destroyed)
            else:
                self._ordering.control(*told)
        if kind == "resumed":
            unconfirmed = self._connection.unconfirmed.values()
            self._sent += [{"ticketStored": {}}, *({"signal": signal} for signal in unconfirmed)]

    def _error(self, error: Fields) -> None:
        number, code = error["signal"], error["code"]
        known = number in self._refused or number is not None and number not in (
            self._connection.unconfirmed
        )
        if number is None or known:
            return
        self._refused.add(number)
        code = code if code in postcard.ERROR_CODES else "unknown"
        self._surfaced.append({"refused": {"signal": number, "code": code}})

    def asked(self, signal: Fields) -> None:
        self._connection.send(signal)
        if self._answered and self._then is None:
            self._sent.append({"signal": signal})

    def leave(self) -> None:
        self._leaving = True
        self._sent.append({"goodbye": {"signals": self._connection.sent}})

    def link_lost(self) -> None:
        self._bye = "networkDisconnected"
        self._link_over()

    def _link_over(self) -> None:
        """What follows the end of a link."""
        reason, self._bye = self._bye, None
        self._connection.link_lost()
        if self._resuming and not self._answered:
            next_step = "resume" if reason in AGAIN_AFTER else "rest"
            if reason == "invalidTicket":
                next_step = "join"
        elif reason not in RESUME_AFTER:
            next_step = "rest"
        else:
            resumable = self._connection.ticket is not None and self._unnamed == 0
            next_step = "resume" if resumable else "join"
        if next_step == "rest":
            self._surfaced.append({"ended": {"reason": reason}})
        if next_step == "join":
            self._begin()
        self._then = next_step
        self._answered = False
        # What its streams still bring is surfaced no more.
        self._ordering = Ordering(self._surface, self._connection)

    def then(self, expected: str) -> None:
        if self._bye is not None:
            self._link_over()
        assert self._then == expected
        if expected != "rest":
            self._open(expected)
        self._then = None

    def sends(self, expected: Fields) -> None:
        assert self._sent
        ((kind, fields),) = self._sent.pop(0).items()
        ((wanted, members),) = expected.items()
        assert kind == wanted
        for name, value in members.items():
            if name == "cursors":
                assert by_sender(fields[name], value) == by_sender(value, value)
            else:
                assert fields[name] == value

    def surfaces(self, expected: list[Fields]) -> None:
        if self._bye is not None and any("ended" in event for event in expected):
            self._link_over()
        surfaced, self._surfaced = self._surfaced, []
        surfaced = one_return(surfaced)
        for event in expected:
            awaited = event.get("inAnyOrder", [event])
            found, surfaced = surfaced[: len(awaited)], surfaced[len(awaited) :]
            assert len(found) == len(awaited) and all(each in awaited for each in found), found
        assert not surfaced

    def finish(self) -> None:
        assert not self._sent
        assert not self._surfaced

    def _surface(self, kind: str, fields: Fields) -> None:
        self._connection.told(kind, fields)
        match kind:
            case "welcome":
                self._surfaced.append({"connected": {"id": fields["connection"]["id"]}})
            case "present":
                self._surfaced += [{"created": {"id": it["id"]}} for it in fields["connections"]]
            case "connectionCreated":
                self._surfaced.append({"created": {"id": fields["id"]}})
            case "connectionDestroyed":
                who = {"id": fields["id"], "reason": fields["reason"]}
                self._surfaced.append({"destroyed": who})
            case "signal":
                signal = {**fields, "type": fields["type"] or None}
                self._surfaced.append({"signal": signal})
            case "gap" | "resumed":
                self._surfaced.append({kind: fields})


def by_sender(cursors: list[Fields], expected: list[Fields]) -> dict[str | None, int]:
    """Cursors are in no order, and one of 0 may be there for anybody."""
    named = {cursor["from"] for cursor in expected}
    return {
        cursor["from"]: cursor["seq"]
        for cursor in cursors
        if cursor["seq"] > 0 or cursor["from"] in named
    }


def one_return(surfaced: list[Fields]) -> list[Fields]:
    """This client surfaces gaps before `resumed`; transcripts have them in it, and it first."""
    ahead: list[Fields] = []
    out: list[Fields] = []
    for event in surfaced:
        if "resumed" in event:
            gaps = [each["gap"] for each in ahead if "gap" in each]
            lost = [lost for gap in gaps for lost in gap["lost"]]
            presence = any(gap["presence"] for gap in gaps)
            missed = event["resumed"]["missed"]
            out.append({"resumed": {"missed": missed, "lost": lost, "presence": presence}})
            out += [each for each in ahead if "gap" not in each]
            ahead = []
        elif "gap" in event or ahead:
            ahead.append(event)
        else:
            out.append(event)
    assert not ahead
    return out


@pytest.mark.parametrize(
    ("transcript", "carriers"), PLAYS, ids=[f"{each['name']}-{on}" for each, on in PLAYS]
)
def test_this_client_does_what_the_transcript_says(
    transcript: dict[str, Any], carriers: str
) -> None:
    player = Player(transcript["presence"], carriers)
    for step in transcript["steps"]:
        match step:
            case {"receives": message, "on": on}:
                player.receives(message, on)
            case {"streamEnds": stream}:
                player.stream_over(stream, reset=False)
            case {"streamReset": stream}:
                player.stream_over(stream, reset=True)
            case {"linkLost": True}:
                player.link_lost()
            case {"application": {"signal": signal}}:
                player.asked(signal)
            case {"application": {"leave": True}}:
                player.leave()
            case {"sends": message}:
                player.sends(message)
            case {"sendsNothing": True}:
                assert not player._sent
            case {"surfaces": events}:
                player.surfaces(events)
            case {"then": what}:
                player.then(what)
            case _:
                pytest.fail(f"no such step: {step}")
    player.finish()
