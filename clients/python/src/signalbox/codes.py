"""Names and numbers of the protocol: close reasons, error codes, roles (sections 10 and 11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class _Code(str, Enum):
    """A member of a set that can grow: a name, and its number on the wire."""

    number: int

    def __new__(cls, name: str, number: int) -> _Code:
        member = str.__new__(cls, name)
        member._value_ = name
        member.number = number
        return member

    def __str__(self) -> str:
        return str(self.value)


class CloseReason(_Code):
    """Why a link ended, or why the gateway refused a client."""

    CLIENT_DISCONNECTED = "clientDisconnected", 0
    """The client left the session."""
    FORCE_DISCONNECTED = "forceDisconnected", 1
    """A moderator or a server disconnected the client."""
    NETWORK_DISCONNECTED = "networkDisconnected", 2
    """The link was lost."""
    SHUTTING_DOWN = "shuttingDown", 3
    """The gateway is shutting down or restarting."""
    SLOW_CONSUMER = "slowConsumer", 4
    """The client did not read fast enough."""
    HELLO_TIMEOUT = "helloTimeout", 5
    """The client's first message did not arrive in time."""
    PROTOCOL_ERROR = "protocolError", 6
    """One side violated the protocol."""
    FRAME_TOO_LARGE = "frameTooLarge", 7
    """The client sent a message over the limit."""
    INVALID_TOKEN = "invalidToken", 8
    """The token is malformed, has a wrong signature, was revoked, or belongs to an unknown project."""
    TOKEN_EXPIRED = "tokenExpired", 9
    """The token has expired or is not valid yet."""
    WRONG_PROJECT = "wrongProject", 10
    """The token belongs to another project than the session."""
    CONNECTION_LIMIT = "connectionLimit", 11
    """The session or the project is full."""
    INTERNAL_ERROR = "internalError", 12
    """The gateway failed."""
    SUPERSEDED = "superseded", 13
    """Another link has taken over the connection."""
    INVALID_TICKET = "invalidTicket", 14
    """The gateway does not keep a connection for this ticket."""


class DisconnectReason(_Code):
    """Why another connection has left the session."""

    CLIENT_DISCONNECTED = "clientDisconnected", 0
    """The client left the session."""
    FORCE_DISCONNECTED = "forceDisconnected", 1
    """A moderator or a server disconnected it."""
    NETWORK_DISCONNECTED = "networkDisconnected", 2
    """Its link was lost, and it did not return in time."""


class ErrorCode(_Code):
    """Why the gateway rejected a message."""

    INVALID_TYPE = "invalidType", 1
    """The type has a character that is not allowed."""
    TYPE_TOO_LONG = "typeTooLong", 2
    """The type is longer than 128 bytes."""
    DATA_TOO_LONG = "dataTooLong", 3
    """The data is longer than 8192 bytes."""
    NOT_FOUND = "notFound", 4
    """The addressed connection is not in the session."""
    FORBIDDEN = "forbidden", 5
    """The role of the client, or of the receiver, does not allow it."""
    RATE_LIMITED = "rateLimited", 6
    """The client sent more signals per second than allowed."""
    UNSUPPORTED = "unsupported", 7
    """The gateway does not know this kind of message."""


@dataclass(frozen=True)
class UnknownCode:
    """A reason or error code that this version of the SDK does not know."""

    value: int | str
    """Its number (postcard) or name (JSON)."""

    def __str__(self) -> str:
        return f"unknown ({self.value})"


class Role(str, Enum):
    """What a token allows its client to do."""

    SUBSCRIBER = "subscriber"
    """Receives signals."""
    PUBLISHER = "publisher"
    """Receives and sends signals."""
    MODERATOR = "moderator"
    """Receives and sends signals, and disconnects others."""
    PUBLISHER_ONLY = "publisheronly"
    """Neither receives nor sends signals."""

    def __str__(self) -> str:
        return str(self.value)


class Streams(str, Enum):
    """How a QUIC client receives signals."""

    PER_SENDER = "perSender"
    """On one stream per sender: a lost packet delays only the senders whose bytes it carried."""
    SINGLE = "single"
    """All on one stream."""

    def __str__(self) -> str:
        return str(self.value)


FIRST_WEBSOCKET_CODE = 4000
NORMAL_WEBSOCKET_CODES = (1000, 1001)


def close_reason(number: int) -> CloseReason | UnknownCode:
    """The close reason with this number, which is also its QUIC application error code."""
    return next((it for it in CloseReason if it.number == number), UnknownCode(number))


def websocket_code(reason: CloseReason) -> int:
    """The WebSocket close code of a reason."""
    return FIRST_WEBSOCKET_CODE + reason.number if reason.number else NORMAL_WEBSOCKET_CODES[0]


def websocket_close_reason(code: int) -> CloseReason | UnknownCode:
    """The reason that a WebSocket close code stands for."""
    if code in NORMAL_WEBSOCKET_CODES:
        return CloseReason.CLIENT_DISCONNECTED
    if FIRST_WEBSOCKET_CODE <= code < FIRST_WEBSOCKET_CODE + 1000:
        return close_reason(code - FIRST_WEBSOCKET_CODE)
    return CloseReason.NETWORK_DISCONNECTED
