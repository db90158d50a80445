import pytest

from signalbox import json_messages
from signalbox.messages import Accepted
from signalbox.postcard import Malformed

DEEPEST = 100


def nested(levels: int) -> str:
    """A message with an ignored member, nested this deeply in all."""
    return '{"accepted":{"signals":1,"x":' + "[" * (levels - 2) + "]" * (levels - 2) + "}}"


def test_ignored_members_may_be_nested_up_to_the_limit() -> None:
    assert json_messages.decode(nested(DEEPEST)) == Accepted(1)
    for levels in (DEEPEST + 1, 100_000):
        with pytest.raises(Malformed):
            json_messages.decode(nested(levels))


@pytest.mark.parametrize(
    "value", ["1e400", "-1e400", "1" + "0" * 309, "9" * 5000, "NaN", '"\\ud800"', '{"a":1,"\\u0061":2}']
)
def test_ignored_members_must_be_valid(value: str) -> None:
    with pytest.raises(Malformed):
        json_messages.decode('{"accepted":{"signals":1,"x":' + value + "}}")


@pytest.mark.parametrize("value", ["1e308", "-0", "1" + "0" * 308, "[]", "{}"])
def test_valid_ignored_members_are_ignored(value: str) -> None:
    text = '{"accepted":{"signals":1,"x":' + value + "}}"
    assert json_messages.decode(text) == Accepted(1)


@pytest.mark.parametrize("number", ["-0", "1.0", "1e0", "true", "18446744073709551616"])
def test_numbers_are_unsigned_integers(number: str) -> None:
    with pytest.raises(Malformed):
        json_messages.decode('{"accepted":{"signals":' + number + "}}")
