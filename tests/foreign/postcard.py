"""Signalbox's binary encoding, written from docs/protocol.md (sections 3 and 4) and nothing else.

It exists to prove that the document is enough: it shares no code with the gateway. A message is a
pair of its kind and its fields, and the fields have the values of the JSON form, so that one shape
serves both encodings. Everything that differs between messages is in the tables at the end.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# What a client must accept from the gateway, and should not exceed (section 9).
GATEWAY_FRAME_BYTES = 65536
PREFIX_BYTES = 4
# What a list of features may hold.
FEATURE_COUNT, FEATURE_BYTES = 32, 32

Message = tuple[str, dict[str, Any]]


class Malformed(ValueError):
    """The bytes are not a message of this protocol. An unknown kind is *not* malformed."""


class Reader:
    """Walks over one message. It checks every length before it takes anything."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise Malformed(f"{count} bytes announced, {self.left()} there")
        self._at += count
        return self._data[self._at - count : self._at]

    def varint(self, bits: int) -> int:
        value = 0
        for shift in range(0, bits, 7):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise Malformed(f"varint exceeds {bits} bits")


@dataclass(frozen=True)
class Codec:
    """How values of one type are written and read, and whether a JSON value is one."""

    write: Callable[[Any], bytes]
    read: Callable[[Reader], Any]
    is_json: Callable[[Any], bool]


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(bits: int) -> Codec:
    def write(value: int) -> bytes:
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{value} is no u{bits}")
        return varint(value)

    def is_json(value: Any) -> bool:
        # To Python a bool is a number, and 1.0 is 1.
        return type(value) is int and 0 <= value < 1 << bits

    return Codec(write, lambda reader: reader.varint(bits), is_json)


def read_flag(reader: Reader) -> bool:
    (byte,) = reader.take(1)
    if byte > 1:
        raise Malformed(f"{byte:#04x} where 00 or 01 belongs")
    return byte == 1


def option(inner: Codec) -> Codec:
    return Codec(
        lambda value: b"\0" if value is None else b"\1" + inner.write(value),
        lambda reader: inner.read(reader) if read_flag(reader) else None,
        lambda value: value is None or inner.is_json(value),
    )


def write_text(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def read_text(reader: Reader) -> str:
    try:
        return reader.take(reader.varint(64)).decode()
    except UnicodeDecodeError as fault:
        raise Malformed("text is not UTF-8") from fault


def list_of(inner: Codec) -> Codec:
    def read(reader: Reader) -> list:
        count = reader.varint(64)
        # Each element takes at least a byte, so more cannot be there.
        if count > reader.left():
            raise Malformed(f"{count} elements announced, {reader.left()} bytes there")
        return [inner.read(reader) for _ in range(count)]

    return Codec(
        lambda values: varint(len(values)) + b"".join(map(inner.write, values)),
        read,
        lambda value: isinstance(value, list) and all(map(inner.is_json, value)),
    )


def limited(texts: Codec, most: int, bytes_each: int) -> Codec:
    """A list of texts that is malformed beyond these limits."""

    def fits(values: list[str]) -> bool:
        return len(values) <= most and all(len(it.encode()) <= bytes_each for it in values)

    def read(reader: Reader) -> list[str]:
        values = texts.read(reader)
        if not fits(values):
            raise Malformed(f"more than {most} texts, or one of more than {bytes_each} bytes")
        return values

    return Codec(texts.write, read, lambda value: texts.is_json(value) and fits(value))


def enum(*names: str) -> Codec:
    """A closed set: what is not listed is malformed."""

    def read(reader: Reader) -> str:
        index = reader.varint(32)
        if index >= len(names):
            raise Malformed(f"enum value {index} is not listed")
        return names[index]

    return Codec(
        lambda name: varint(names.index(name)),
        read,
        lambda value: isinstance(value, str) and value in names,
    )


def code(numbers: dict[str, int]) -> Codec:
    """An open set: a number that is not listed stands for itself."""
    names = {number: name for name, number in numbers.items()}

    def read(reader: Reader) -> str | int:
        value = reader.varint(16)
        return names.get(value, value)

    return Codec(lambda name: varint(numbers[name]), read, is_string)


def fields(**members: Codec) -> Codec:
    return Codec(
        lambda value: b"".join(codec.write(value[name]) for name, codec in members.items()),
        lambda reader: {name: codec.read(reader) for name, codec in members.items()},
        lambda value: isinstance(value, dict)
        and all(name in value and codec.is_json(value[name]) for name, codec in members.items()),
    )


def is_string(value: Any) -> bool:
    return isinstance(value, str)


def is_id(value: Any) -> bool:
    return is_string(value) and ID_TEXT.fullmatch(value) is not None


ID_TEXT = re.compile("-".join(f"[0-9a-fA-F]{{{count}}}" for count in (8, 4, 4, 4, 12)))

BOOL = Codec(lambda value: bytes([value]), read_flag, lambda value: isinstance(value, bool))
U32 = number(32)
U64 = number(64)
TEXT = Codec(write_text, read_text, is_string)
ID = Codec(
    lambda value: uuid.UUID(value).bytes,
    lambda reader: str(uuid.UUID(bytes=reader.take(16))),
    is_id,
)


GATEWAY_NAME = re.compile("[A-Za-z0-9._-]{1,64}")


class Server(dict):
    """The servers behind one gateway, as a sender: the JSON form, and good as a key."""

    def __hash__(self) -> int:
        return hash(self["server"])


# The servers behind a gateway with the name that it has by default.
SERVERS = Server(server="gateway")


def with_servers(members: dict[str, Any]) -> dict[str, Any]:
    """For JSON: a sender that is a server, among the objects of a text."""
    return Server(members) if isinstance(members.get("server"), str) else members


def sender() -> Codec:
    """A connection, or the servers behind one gateway: an id, or `{"server": NAME}`."""

    def write(value: dict | str) -> bytes:
        if isinstance(value, dict):
            return b"\1" + write_text(value["server"])
        return b"\0" + ID.write(value)

    def read(reader: Reader) -> dict | str:
        kind = reader.varint(32)
        if kind == 0:
            return ID.read(reader)
        if kind != 1:
            raise Malformed(f"sender of kind {kind}")
        name = read_text(reader)
        if not GATEWAY_NAME.fullmatch(name):
            raise Malformed("no gateway name")
        return Server(server=name)

    def is_json(value: Any) -> bool:
        if isinstance(value, dict):
            name = value.get("server")
            return is_string(name) and GATEWAY_NAME.fullmatch(name) is not None
        return is_id(value)

    return Codec(write, read, is_json)


class Kinds:
    """One of the protocol's tables of messages; the number of a kind is its place."""

    def __init__(self, **kinds: Codec) -> None:
        self._codecs = kinds
        self.names = list(kinds)

    def __contains__(self, kind: str) -> bool:
        return kind in self._codecs

    def is_json(self, kind: str, fields: Any) -> bool:
        """Whether this is the JSON form of that known kind."""
        return self._codecs[kind].is_json(fields)

    def encode(self, kind: str, fields: dict[str, Any]) -> bytes:
        return varint(self.names.index(kind)) + self._codecs[kind].write(fields)

    def decode(self, data: bytes) -> Message | None:
        """The message, or None for a kind that is unknown and therefore to be skipped."""
        reader = Reader(data)
        number = reader.varint(32)
        if number >= len(self.names):
            return None
        kind = self.names[number]
        fields = self._codecs[kind].read(reader)
        if reader.left():
            raise Malformed(f"{reader.left()} bytes left over after {kind}")
        return kind, fields


def frame(message: bytes) -> bytes:
    """A message as it travels on a QUIC stream."""
    return varint(len(message)) + message


class Frames:
    """Cuts what arrives on a QUIC stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while (prefix := self._prefix()) is not None:
            start, length = prefix
            if len(self._buffer) < start + length:
                return
            message = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            yield message

    def end(self) -> None:
        """The stream has ended, which it may between frames only."""
        if self._buffer:
            raise Malformed("the stream ended inside a frame")

    def _prefix(self) -> tuple[int, int] | None:
        """The sizes of the next frame's prefix and message, once the prefix is there."""
        head = self._buffer[:PREFIX_BYTES]
        size = next((at for at, byte in enumerate(head, 1) if byte < 0x80), None)
        if size is None:
            if len(head) == PREFIX_BYTES:
                raise Malformed(f"a frame's length of more than {PREFIX_BYTES} bytes")
            return None
        length = Reader(bytes(head)).varint(7 * PREFIX_BYTES)
        if varint(length) != bytes(head[:size]):
            raise Malformed("a frame's length is not in its shortest form")
        if length > GATEWAY_FRAME_BYTES:
            raise Malformed(f"a frame of {length} bytes")
        return size, length


ERROR_CODES = {
    "invalidType": 1,
    "typeTooLong": 2,
    "dataTooLong": 3,
    "notFound": 4,
    "forbidden": 5,
    "rateLimited": 6,
    "unsupported": 7,
}
REASONS = {
    "clientDisconnected": 0,
    "forceDisconnected": 1,
    "networkDisconnected": 2,
    "shuttingDown": 3,
    "slowConsumer": 4,
    "helloTimeout": 5,
    "protocolError": 6,
    "frameTooLarge": 7,
    "invalidToken": 8,
    "tokenExpired": 9,
    "wrongProject": 10,
    "connectionLimit": 11,
    "internalError": 12,
    "superseded": 13,
    "invalidTicket": 14,
}

CONNECTION = fields(id=ID, createdAt=U64, data=TEXT)
LIMITS = fields(typeBytes=U32, dataBytes=U32, signalsPerSecond=U32, idleTimeoutMs=U32)
ROLE = enum("subscriber", "publisher", "moderator", "publisheronly")
FEATURES = limited(list_of(TEXT), FEATURE_COUNT, FEATURE_BYTES)
STREAMS = enum("perSender", "single")
BODY = {"type": option(TEXT), "data": option(TEXT)}
SENDER_OF = {"from": sender()}
CURSORS = list_of(fields(**SENDER_OF, seq=U64))
TICKET = fields(ticket=TEXT, windowMs=U32)
LOST = list_of(fields(**SENDER_OF, after=U64, until=U64))

CLIENT = Kinds(
    hello=fields(token=TEXT, features=FEATURES, streams=STREAMS, agent=option(TEXT)),
    signal=fields(to=option(ID), **BODY),
    forceDisconnect=fields(id=ID),
    goodbye=fields(signals=U64),
    ticketStored=fields(),
    resume=fields(
        ticket=TEXT,
        attempt=U32,
        streams=STREAMS,
        events=U64,
        cursors=CURSORS,
        more=BOOL,
        agent=option(TEXT),
    ),
    cursors=fields(cursors=CURSORS, more=BOOL),
)
GATEWAY = Kinds(
    welcome=fields(
        connection=CONNECTION,
        session=TEXT,
        role=ROLE,
        limits=LIMITS,
        features=FEATURES,
        present=U32,
    ),
    present=fields(connections=list_of(CONNECTION)),
    connectionCreated=CONNECTION,
    connectionDestroyed=fields(id=ID, reason=code(REASONS), lastSeq=U64),
    signal=fields(**SENDER_OF, seq=U64, **BODY),
    error=fields(signal=option(U64), code=code(ERROR_CODES), message=TEXT),
    bye=fields(reason=code(REASONS), message=TEXT, streams=U64),
    ticket=TICKET,
    resumed=fields(ticket=TICKET, signals=U64, missed=U64),
    gap=fields(lost=LOST, presence=BOOL, present=U32),
    accepted=fields(signals=U64),
    goAway=fields(withinMs=U32),
)
CLIENT_STREAM = Kinds(signals=fields())
GATEWAY_STREAM = Kinds(sender=fields(**SENDER_OF, after=U64))
SENDER = Kinds(signal=fields(seq=U64, **BODY))
