"""The encodings of single values: postcard (section 3.1) and JSON (section 3.3).

A :class:`Codec` writes and reads one type in both encodings. `messages.py` combines them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from .codes import UnknownCode, _Code

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
C = TypeVar("C", bound=_Code)


class Malformed(ValueError):
    """The bytes or the text are not a message of the protocol. Unknown kinds are not malformed."""


class Reader:
    """Reads one postcard message. It checks every length before it takes anything."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> int:
        """How many bytes have not been read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.left():
            raise Malformed(f"expected {count} bytes, found {self.left()}")
        self._at += count
        return self._data[self._at - count : self._at]

    def varint(self, bits: int) -> int:
        """An unsigned LEB128 number of at most this many bits."""
        value = 0
        for shift in range(0, bits, 7):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise Malformed(f"a varint exceeds {bits} bits")


def varint(value: int) -> bytes:
    """A number as unsigned LEB128, in its shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How values of one type are written and read."""

    write: Callable[[T], bytes]
    """To postcard."""
    read: Callable[[Reader], T]
    """From postcard. Raises :class:`Malformed`."""
    to_json: Callable[[T], Any]
    """To a value that :mod:`json` can write."""
    from_json: Callable[[Any], T]
    """From such a value. Raises :class:`Malformed`."""


def number(bits: int) -> Codec[int]:
    """An unsigned number."""

    def write(value: int) -> bytes:
        return varint(check(value))

    def check(value: Any) -> int:
        # In Python True is 1, and 1.0 is equal to 1. In JSON neither is a number of this type.
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise Malformed(f"not an unsigned number of {bits} bits")
        return value

    return Codec(write, lambda reader: reader.varint(bits), check, check)


def _read_bool(reader: Reader) -> bool:
    (byte,) = reader.take(1)
    if byte > 1:
        raise Malformed(f"expected 00 or 01, found {byte:#04x}")
    return byte == 1


def _json_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Malformed("not a boolean")
    return value


def option(inner: Codec[T]) -> Codec[T | None]:
    """A value that may be absent."""

    def write(value: T | None) -> bytes:
        return b"\0" if value is None else b"\1" + inner.write(value)

    return Codec(
        write,
        lambda reader: inner.read(reader) if _read_bool(reader) else None,
        lambda value: None if value is None else inner.to_json(value),
        lambda value: None if value is None else inner.from_json(value),
    )


def _write_text(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def _read_text(reader: Reader) -> str:
    try:
        return reader.take(reader.varint(64)).decode()
    except UnicodeDecodeError as error:
        raise Malformed("text is not UTF-8") from error


def _json_text(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("not a text")
    return value


def list_of(inner: Codec[T]) -> Codec[tuple[T, ...]]:
    """A list of values."""

    def read(reader: Reader) -> tuple[T, ...]:
        count = reader.varint(64)
        # Every element takes at least one byte.
        if count > reader.left():
            raise Malformed(f"expected {count} elements, found {reader.left()} bytes")
        return tuple(inner.read(reader) for _ in range(count))

    def from_json(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Malformed("not a list")
        return tuple(map(inner.from_json, value))

    return Codec(
        lambda values: varint(len(values)) + b"".join(map(inner.write, values)),
        read,
        lambda values: [inner.to_json(value) for value in values],
        from_json,
    )


def limited_texts(most: int, bytes_each: int) -> Codec[tuple[str, ...]]:
    """A list of texts that is malformed beyond these limits."""
    texts = list_of(TEXT)

    def check(values: Sequence[str]) -> tuple[str, ...]:
        if len(values) > most or any(len(value.encode()) > bytes_each for value in values):
            raise Malformed(f"more than {most} texts, or one of more than {bytes_each} bytes")
        return tuple(values)

    return Codec(
        texts.write,
        lambda reader: check(texts.read(reader)),
        texts.to_json,
        lambda value: check(texts.from_json(value)),
    )


def closed_enum(members: type[E]) -> Codec[E]:
    """A closed set of names, numbered from 0. Any other is malformed."""
    by_number = list(members)

    def read(reader: Reader) -> E:
        index = reader.varint(32)
        if index >= len(by_number):
            raise Malformed(f"{index} is not a {members.__name__}")
        return by_number[index]

    def from_json(value: Any) -> E:
        found = next((it for it in by_number if it.value == _json_text(value)), None)
        if found is None:
            raise Malformed(f"not a {members.__name__}")
        return found

    return Codec(
        lambda value: varint(by_number.index(value)), read, lambda value: value.value, from_json
    )


def open_enum(members: type[C]) -> Codec[C | UnknownCode]:
    """A set that can grow. What is not in it is an :class:`UnknownCode`."""
    by_number = {member.number: member for member in members}
    by_name = {str(member.value): member for member in members}

    def write(value: C | UnknownCode) -> bytes:
        if isinstance(value, UnknownCode):
            raise ValueError("an unknown code cannot be sent")
        return varint(value.number)

    def read(reader: Reader) -> C | UnknownCode:
        code = reader.varint(16)
        return by_number.get(code) or UnknownCode(code)

    def from_json(value: Any) -> C | UnknownCode:
        name = _json_text(value)
        return by_name.get(name) or UnknownCode(name)

    return Codec(write, read, lambda value: value.value, from_json)


ID_TEXT = re.compile("-".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (8, 4, 4, 4, 12)))


def _json_id(value: Any) -> str:
    if not isinstance(value, str) or ID_TEXT.fullmatch(value) is None:
        raise Malformed("not a connection id")
    return value.lower()


GATEWAY_NAME = re.compile("[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Server:
    """A server of the project, as the sender of a signal."""

    gateway: str
    """The name of the gateway through which it was sent."""


def _check_server(name: Any) -> Server:
    if not isinstance(name, str) or GATEWAY_NAME.fullmatch(name) is None:
        raise Malformed("not the name of a gateway")
    return Server(name)


def _write_sender(value: str | Server) -> bytes:
    if isinstance(value, Server):
        return b"\1" + _write_text(value.gateway)
    return b"\0" + ID.write(value)


def _read_sender(reader: Reader) -> str | Server:
    kind = reader.varint(32)
    if kind > 1:
        raise Malformed(f"a sender of kind {kind}")
    return _check_server(_read_text(reader)) if kind else ID.read(reader)


def _json_sender(value: Any) -> str | Server:
    return _check_server(value.get("server")) if isinstance(value, dict) else _json_id(value)


BOOL = Codec(lambda value: bytes([value]), _read_bool, _json_bool, _json_bool)
U32 = number(32)
U64 = number(64)
TEXT = Codec(_write_text, _read_text, _json_text, _json_text)
ID = Codec(
    lambda value: uuid.UUID(value).bytes,
    lambda reader: str(uuid.UUID(bytes=reader.take(16))),
    lambda value: value,
    _json_id,
)
SENDER: Codec[str | Server] = Codec(
    _write_sender,
    _read_sender,
    lambda value: {"server": value.gateway} if isinstance(value, Server) else value,
    _json_sender,
)
