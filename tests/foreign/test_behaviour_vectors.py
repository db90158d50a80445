"""The behaviour vectors of the Rust SDK, played to the Python SDK: `order.json`, `resume.json` and
`send_queue.json` in protocol/vectors, whose README describes them.
"""

import asyncio
import json
from typing import Any

import pytest

from signalbox import messages
from signalbox.codes import ErrorCode
from signalbox.errors import NotSentError, RejectedError, SendError
from signalbox.event import Rejected
from signalbox.messages import SendSignal
from signalbox.postcard import Malformed
from signalbox.send_queue import Completion, Leave, QueuedSignal, SendQueue
from test_transcripts import VECTORS, Fields, Player, as_json, by_sender, event_as_json


def cases(file: str) -> list[Any]:
    loaded = json.loads((VECTORS / f"{file}.json").read_text())["cases"]
    return [pytest.param(case, id=f"{file}-{case['name']}") for case in loaded]


class Client(Player):
    """A client that opens another link as soon as one is lost."""

    def lose_link(self) -> Fields | None:
        """The position from which it resumes; None if it joins again."""
        self.link_lost()
        self.then("resume" if self._resume else "join")
        ((kind, fields),) = self.next_sent().items()
        return fields if kind == "resume" else None


def same_position(position: Fields | None, expected: Fields | None) -> bool:
    if position is None or expected is None:
        return position is expected
    cursors = expected["cursors"]
    return position["events"] == expected["events"] and by_sender(
        position["cursors"], cursors
    ) == by_sender(cursors, cursors)


@pytest.mark.parametrize("case", cases("order") + cases("resume"))
def test_events_and_positions_are_those_of_the_rust_sdk(case: dict[str, Any]) -> None:
    async def play() -> None:
        client = Client(case["presence"], case["carriers"])
        for step in case["steps"]:
            match step:
                case {"receives": message, "on": on, "ends": "protocolError"}:
                    with pytest.raises(Malformed):
                        client.receives(message, on)
                case {"receives": message, "on": on}:
                    client.receives(message, on)
                case {"streamEnds": stream}:
                    client.stream_over(stream, reset=False)
                case {"streamReset": stream}:
                    client.stream_over(stream, reset=True)
                case {"linkLost": True, "resumesFrom": expected}:
                    assert same_position(client.lose_link(), expected), step
                case _:
                    pytest.fail(f"no such step: {step}")
            assert client.surfaced() == step["surfaces"], step

    asyncio.run(play())


class Sender:
    """A send queue, and what became of each signal."""

    def __init__(self) -> None:
        self._queue = SendQueue(confirms=True)
        self._online = True
        self.outcomes: list[Fields] = []

    def send(self, number: int, retry: bool) -> None:
        signal = SendSignal(None, None, str(number))
        self._command(QueuedSignal(number, signal, retry, self._completion(number)))

    def leave(self) -> None:
        self._command(Leave())

    def _command(self, command: QueuedSignal | Leave) -> None:
        if self._online:
            self._queue.enqueue(command)
        else:
            self._queue.enqueue_offline(command)

    def _completion(self, number: int) -> Completion:
        def complete(outcome: int | SendError) -> bool:
            match outcome:
                case int(seq):
                    self.outcomes.append({"number": number, "accepted": seq})
                case RejectedError():
                    self.outcomes.append({"number": number, "rejected": str(outcome.code)})
                case NotSentError():
                    self.outcomes.append({"number": number, "notSent": True})
            return True

        return complete

    def write(self, most: int) -> list[Fields]:
        return [as_json(message) for message in self._queue.write(most)]

    def receives(self, message: Fields) -> list[Fields]:
        match messages.GATEWAY.from_json(message):
            case messages.Accepted(signals):
                self._queue.accepted(signals)
                return []
            case messages.Error(int(signal), code, text):
                return surfaced(self._queue.rejected(signal, code, text))
        raise AssertionError(f"no such message: {message}")

    def link_lost(self) -> Fields:
        self._online = False
        self._queue.link_lost()
        return {"accepted": self._queue.accepted_signals}

    def resumed(self, signals: int, rejected: list[int]) -> list[Fields]:
        events = []
        for signal in rejected:
            event = self._queue.rejected_on_earlier_link(signal, ErrorCode.NOT_FOUND, "")
            events += surfaced(event)
        self._queue.resumed(signals)
        self._online = True
        return events

    def rejoined(self) -> None:
        self._queue.rejoined(confirms=True)
        self._online = True


def surfaced(event: Rejected | None) -> list[Fields]:
    return [] if event is None else [event_as_json(event)]


@pytest.mark.parametrize("case", cases("send_queue"))
def test_writes_and_outcomes_are_those_of_the_rust_sdk(case: dict[str, Any]) -> None:
    sender = Sender()
    for step in case["steps"]:
        events: list[Fields] = []
        match step:
            case {"application": {"send": number, "retry": retry}}:
                sender.send(number, retry)
            case {"application": {"leave": True}}:
                sender.leave()
            case {"write": most, "writes": expected}:
                assert sender.write(most) == expected, step
            case {"receives": message}:
                events = sender.receives(message)
            case {"linkLost": True, "resumesFrom": expected}:
                assert sender.link_lost() == expected, step
            case {"resumed": {"signals": signals, "rejected": rejected}}:
                events = sender.resumed(signals, rejected)
            case {"rejoined": True}:
                sender.rejoined()
            case _:
                pytest.fail(f"no such step: {step}")
        outcomes, sender.outcomes = sender.outcomes, []
        by_number = sorted(outcomes, key=lambda outcome: outcome["number"])
        assert by_number == step["outcomes"], step
        assert events == step.get("surfaces", []), step
