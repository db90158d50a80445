"""The messages of the protocol, and their tables of kinds (section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .codes import CloseReason, DisconnectReason, ErrorCode, Role, Streams, UnknownCode
from .frame import frame
from .postcard import (
    BOOL,
    ID,
    SENDER,
    TEXT,
    U32,
    U64,
    Codec,
    Malformed,
    Reader,
    Server,
    closed_enum,
    limited_texts,
    list_of,
    open_enum,
    option,
    varint,
)

T = TypeVar("T")
M = TypeVar("M")

FEATURE_COUNT, FEATURE_BYTES = 32, 32
GATEWAY_COUNT, GATEWAY_URL_BYTES = 16, 256
CURSORS = 500
"""The most cursors in one message."""
CURSORS_IN_ALL = 20000
"""The most cursors of one resume."""

PRESENCE, RESUME = "presence", "resume"
"""Features of a connection."""


@dataclass(frozen=True)
class ConnectionInfo:
    """A connection in the session."""

    id: str
    """Its id, a UUID in lower case."""
    created_at: int
    """When it was created: Unix milliseconds by the gateway's clock."""
    data: str
    """The connection data of its token. Empty if there is none."""


@dataclass(frozen=True)
class Limits:
    """The gateway's limits for this client."""

    type_bytes: int
    """The longest type of a signal, in bytes of UTF-8."""
    data_bytes: int
    """The longest data of a signal, in bytes of UTF-8."""
    signals_per_second: int
    """How many signals the client may send per second on average. 0: no limit."""
    idle_timeout_ms: int
    """After how long a silence the gateway takes a link for lost."""


@dataclass(frozen=True)
class Lost:
    """Signals of one sender that the client will not receive."""

    sender: str | Server
    """The sender."""
    after: int
    """The last signal of this sender that the client has received; 0 if there is none."""
    until: int
    """The last one that is lost."""


@dataclass(frozen=True)
class Cursor:
    sender: str | Server
    seq: int


@dataclass(frozen=True)
class Hello:
    token: str
    features: tuple[str, ...]
    streams: Streams
    agent: str | None


@dataclass(frozen=True)
class SendSignal:
    to: str | None
    type: str | None
    data: str | None


@dataclass(frozen=True)
class ForceDisconnect:
    id: str


@dataclass(frozen=True)
class Goodbye:
    signals: int


@dataclass(frozen=True)
class TicketStored:
    pass


@dataclass(frozen=True)
class Resume:
    ticket: str
    attempt: int
    streams: Streams
    events: int
    accepted: int
    cursors: tuple[Cursor, ...]
    more: bool
    agent: str | None


@dataclass(frozen=True)
class Cursors:
    cursors: tuple[Cursor, ...]
    more: bool


@dataclass(frozen=True)
class Heartbeat:
    """Of a client a question whether the link is alive, and of the gateway the answer."""


ClientMessage = (
    Hello | SendSignal | ForceDisconnect | Goodbye | TicketStored | Resume | Cursors | Heartbeat
)


@dataclass(frozen=True)
class Welcome:
    connection: ConnectionInfo
    session: str
    role: Role
    limits: Limits
    features: tuple[str, ...]
    present: int
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True)
class Present:
    connections: tuple[ConnectionInfo, ...]


@dataclass(frozen=True)
class Created:
    connection: ConnectionInfo


@dataclass(frozen=True)
class Destroyed:
    id: str
    reason: DisconnectReason | UnknownCode
    last_seq: int


@dataclass(frozen=True)
class ReceivedSignal:
    sender: str | Server
    seq: int
    type: str | None
    data: str | None


@dataclass(frozen=True)
class Error:
    signal: int | None
    code: ErrorCode | UnknownCode
    message: str


@dataclass(frozen=True)
class Bye:
    reason: CloseReason | UnknownCode
    message: str
    streams: int


@dataclass(frozen=True)
class Ticket:
    ticket: str
    window_ms: int


@dataclass(frozen=True)
class Resumed:
    ticket: Ticket
    signals: int
    missed: int


@dataclass(frozen=True)
class GapMessage:
    lost: tuple[Lost, ...]
    presence: bool
    present: int


@dataclass(frozen=True)
class Accepted:
    signals: int


@dataclass(frozen=True)
class GoAway:
    within_ms: int


GatewayMessage = (
    Welcome
    | Present
    | Created
    | Destroyed
    | ReceivedSignal
    | Error
    | Bye
    | Ticket
    | Resumed
    | GapMessage
    | Accepted
    | GoAway
    | Heartbeat
)


@dataclass(frozen=True)
class SignalsHeader:
    """The header of a client's stream of signals."""


@dataclass(frozen=True)
class SenderHeader:
    """The header of a sender's stream."""

    sender: str | Server
    after: int


@dataclass(frozen=True)
class StreamSignal:
    """A signal on a sender's stream."""

    seq: int
    type: str | None
    data: str | None


def record(of: type[T], **members: Codec[Any]) -> Codec[T]:
    """A message or type with these fields, in the order of postcard.

    Names are those of the dataclass. In JSON they are in camel case, and `sender` is `from`.
    """
    fields = [(name, json_name(name), codec) for name, codec in members.items()]

    def from_json(value: Any) -> T:
        if not isinstance(value, dict):
            raise Malformed(f"{of.__name__} is not an object")
        # The default of the dataclass, if the field has one, stands for an absent member.
        for name, named, _ in fields:
            if named not in value and not hasattr(of, name):
                raise Malformed(f"{of.__name__} has no {named}")
        present = [(name, named, codec) for name, named, codec in fields if named in value]
        return of(**{name: codec.from_json(value[named]) for name, named, codec in present})

    return Codec(
        lambda value: b"".join(codec.write(getattr(value, name)) for name, _, codec in fields),
        lambda reader: of(**{name: codec.read(reader) for name, _, codec in fields}),
        lambda value: {named: codec.to_json(getattr(value, name)) for name, named, codec in fields},
        from_json,
    )


def json_name(name: str) -> str:
    """The name of a field in JSON."""
    first, *rest = name.split("_")
    return "from" if name == "sender" else first + "".join(map(str.capitalize, rest))


class Kinds(Generic[M]):
    """A table of kinds. The number of a kind is its position."""

    def __init__(self, *kinds: tuple[str, type[Any], Codec[Any]]) -> None:
        self._kinds = kinds
        self._by_name = {name: codec for name, _, codec in kinds}
        self._by_type = {of: (number, name) for number, (name, of, _) in enumerate(kinds)}

    @property
    def names(self) -> list[str]:
        """All names, in the order of their numbers."""
        return list(self._by_name)

    def encode(self, message: M) -> bytes:
        """The message in postcard."""
        number, name = self._by_type[type(message)]
        return varint(number) + self._by_name[name].write(message)

    def decode(self, data: bytes) -> M | None:
        """The message in these bytes; None for an unknown kind, which is to be skipped."""
        reader = Reader(data)
        number = reader.varint(32)
        if number >= len(self._kinds):
            return None
        name, _, codec = self._kinds[number]
        message: M = codec.read(reader)
        if reader.left():
            raise Malformed(f"{reader.left()} bytes follow after {name}")
        return message

    def to_json(self, message: M) -> dict[str, Any]:
        """The message as a JSON object with one member."""
        _, name = self._by_type[type(message)]
        return {name: self._by_name[name].to_json(message)}

    def from_json(self, value: Any) -> M | None:
        """The message in such an object; None for an unknown kind."""
        if not isinstance(value, dict) or len(value) != 1:
            raise Malformed("not an object with exactly one member")
        ((name, fields),) = value.items()
        codec = self._by_name.get(name)
        message: M | None = None if codec is None else codec.from_json(fields)
        return message


_CONNECTION = record(ConnectionInfo, id=ID, created_at=U64, data=TEXT)
_CREATED: Codec[Created] = Codec(
    lambda value: _CONNECTION.write(value.connection),
    lambda reader: Created(_CONNECTION.read(reader)),
    lambda value: _CONNECTION.to_json(value.connection),
    lambda value: Created(_CONNECTION.from_json(value)),
)
_LIMITS = record(
    Limits, type_bytes=U32, data_bytes=U32, signals_per_second=U32, idle_timeout_ms=U32
)
_FEATURES = limited_texts(FEATURE_COUNT, FEATURE_BYTES)
_STREAMS = closed_enum(Streams)
_CONTENTS = {"type": option(TEXT), "data": option(TEXT)}
_CURSORS = list_of(record(Cursor, sender=SENDER, seq=U64))
_TICKET = record(Ticket, ticket=TEXT, window_ms=U32)
_LOST = list_of(record(Lost, sender=SENDER, after=U64, until=U64))


def _kind(name: str, of: type[T], **members: Codec[Any]) -> tuple[str, type[T], Codec[T]]:
    return name, of, record(of, **members)


CLIENT: Kinds[ClientMessage] = Kinds(
    _kind("hello", Hello, token=TEXT, features=_FEATURES, streams=_STREAMS, agent=option(TEXT)),
    _kind("signal", SendSignal, to=option(ID), **_CONTENTS),
    _kind("forceDisconnect", ForceDisconnect, id=ID),
    _kind("goodbye", Goodbye, signals=U64),
    _kind("ticketStored", TicketStored),
    _kind(
        "resume",
        Resume,
        ticket=TEXT,
        attempt=U32,
        streams=_STREAMS,
        events=U64,
        accepted=U64,
        cursors=_CURSORS,
        more=BOOL,
        agent=option(TEXT),
    ),
    _kind("cursors", Cursors, cursors=_CURSORS, more=BOOL),
    _kind("heartbeat", Heartbeat),
)
GATEWAY: Kinds[GatewayMessage] = Kinds(
    _kind(
        "welcome",
        Welcome,
        connection=_CONNECTION,
        session=TEXT,
        role=closed_enum(Role),
        limits=_LIMITS,
        features=_FEATURES,
        present=U32,
        gateways=limited_texts(GATEWAY_COUNT, GATEWAY_URL_BYTES),
    ),
    _kind("present", Present, connections=list_of(_CONNECTION)),
    ("connectionCreated", Created, _CREATED),
    _kind(
        "connectionDestroyed", Destroyed, id=ID, reason=open_enum(DisconnectReason), last_seq=U64
    ),
    _kind("signal", ReceivedSignal, sender=SENDER, seq=U64, **_CONTENTS),
    _kind("error", Error, signal=option(U64), code=open_enum(ErrorCode), message=TEXT),
    _kind("bye", Bye, reason=open_enum(CloseReason), message=TEXT, streams=U64),
    ("ticket", Ticket, _TICKET),
    _kind("resumed", Resumed, ticket=_TICKET, signals=U64, missed=U64),
    _kind("gap", GapMessage, lost=_LOST, presence=BOOL, present=U32),
    _kind("accepted", Accepted, signals=U64),
    _kind("goAway", GoAway, within_ms=U32),
    _kind("heartbeat", Heartbeat),
)
CLIENT_STREAM: Kinds[SignalsHeader] = Kinds(_kind("signals", SignalsHeader))
GATEWAY_STREAM: Kinds[SenderHeader] = Kinds(
    _kind("sender", SenderHeader, sender=SENDER, after=U64)
)
SENDER_STREAM: Kinds[StreamSignal | SenderHeader] = Kinds(
    _kind("signal", StreamSignal, seq=U64, **_CONTENTS),
    _kind("sender", SenderHeader, sender=SENDER, after=U64),
)


def frames(kinds: Kinds[M], messages: Sequence[M]) -> bytes:
    """Messages as they travel on a QUIC stream."""
    return b"".join(frame(kinds.encode(message)) for message in messages)
