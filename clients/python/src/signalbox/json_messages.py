"""JSON messages, as they travel on the WebSocket subprotocol `signalbox.v1.json` (section 3.3)."""

from __future__ import annotations

import json
import math
from typing import Any

from .messages import CLIENT, GATEWAY, ClientMessage, GatewayMessage
from .postcard import Malformed

GATEWAY_JSON_BYTES = 262144
"""The longest message of a gateway in JSON."""
DEPTH = 100
"""How deeply objects and arrays may be nested."""
DOUBLE_DIGITS = 309
"""A number with more digits is beyond the range of a double."""


def encode(message: ClientMessage) -> str:
    """A message of the client as text."""
    return json.dumps(CLIENT.to_json(message), ensure_ascii=False, separators=(",", ":"))


def decode(text: str) -> GatewayMessage | None:
    """The message of a gateway in a text; None for an unknown kind. Raises :class:`Malformed`."""
    return GATEWAY.from_json(parse(text))


def parse(text: str) -> Any:
    """A JSON text by the strict rules of the protocol. Raises :class:`Malformed`."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_constant=_reject_constant,
            parse_float=lambda digits: _in_range(float(digits)),
            parse_int=_parse_int,
        )
        # An unpaired surrogate is no character of UTF-8, whether written as such or escaped.
        json.dumps(value, ensure_ascii=False).encode()
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON that UTF-8 can express") from error
    if _depth(value) > DEPTH:
        raise Malformed(f"nested deeper than {DEPTH} levels")
    return value


def _unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(members)
    if len(unique) < len(members):
        raise Malformed("an object has a member twice")
    return unique


def _reject_constant(name: str) -> None:
    raise Malformed(f"{name} is not JSON")


def _parse_int(digits: str) -> int | float:
    if digits == "-0":
        return -0.0
    if len(digits) > DOUBLE_DIGITS + 1:
        raise Malformed("a number is beyond the range of a double")
    value = int(digits)
    try:
        float(value)
    except OverflowError as error:
        raise Malformed("a number is beyond the range of a double") from error
    return value


def _in_range(value: float) -> float:
    if math.isinf(value):
        raise Malformed("a number is beyond the range of a double")
    return value


def _depth(value: Any) -> int:
    """The nesting of a value, without recursion."""
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _children(outer)]:
        depth += 1
    return depth


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values()) or [None]
    if isinstance(value, list):
        return value or [None]
    return []
