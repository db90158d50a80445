"""The behaviour vectors of the Rust SDK, played to this client: `order.json` and `resume.json` in
protocol/vectors, whose README describes them.
"""

import json
from typing import Any

import pytest

from connection import Fields
from postcard import with_servers
from test_transcripts import VECTORS, Player, by_sender, one_return


CASES = [
    pytest.param(case, id=f"{file}-{case['name']}")
    for file in ("order", "resume")
    for case in json.loads(
        (VECTORS / f"{file}.json").read_text(), object_hook=with_servers
    )["cases"]
]


class Client(Player):
    """A client that does not resume if a stream was reset and its sender is still present: signals
    after its cursor may have been skipped."""

    def __init__(self, presence: bool, carriers: str) -> None:
        super().__init__(presence, carriers)
        self._incomplete: set[str | None] = set()

    def stream_over(self, stream: int, reset: bool) -> None:
        if reset:
            self._incomplete.add(self._ordering._stream(stream).sender)
        super().stream_over(stream, reset)

    def surfaced(self) -> list[Fields]:
        """The events since the last time, with gaps in `resumed` as the vectors have them."""
        events, self._surfaced = self._surfaced, []
        self._incomplete -= {event["destroyed"]["id"] for event in events if "destroyed" in event}
        return one_return(events)

    def lose_link(self) -> Fields | None:
        """From where it resumes; None if it joins again."""
        if self._incomplete:
            self._connection.ticket = None
        self.link_lost()
        self._open(self._then)
        self._incomplete.clear()
        self._then = None
        ((kind, fields),) = self._sent[0].items()
        return fields if kind == "resume" else None


def same_position(position: Fields | None, expected: Fields | None) -> bool:
    if position is None or expected is None:
        return position is expected
    cursors = expected["cursors"]
    return position["events"] == expected["events"] and by_sender(
        position["cursors"], cursors
    ) == by_sender(cursors, cursors)


@pytest.mark.parametrize("case", CASES)
def test_this_client_behaves_like_the_rust_sdk(case: dict[str, Any]) -> None:
    client = Client(case["presence"], case["carriers"])
    for step in case["steps"]:
        match step:
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
