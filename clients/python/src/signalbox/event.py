"""Events of a session, in the order that applications can rely on.

A connection is announced before its first signal and its end after its last, and the signals of one
sender come in the order in which it sent them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .codes import CloseReason, DisconnectReason, ErrorCode, UnknownCode
from .messages import ConnectionInfo, Lost
from .postcard import Server


@dataclass(frozen=True)
class Connected:
    """The client has joined the session. The first event.

    One :class:`ConnectionCreated` for each connection that was there already follows.
    """

    connection: ConnectionInfo
    """The client's own connection."""
    session: str
    """The id of the session."""


@dataclass(frozen=True)
class ConnectionCreated:
    """Another connection is in the session. Comes before its first signal."""

    connection: ConnectionInfo
    """The connection."""


@dataclass(frozen=True)
class ConnectionDestroyed:
    """Another connection has left the session. Comes after its last signal."""

    id: str
    """The id of the connection."""
    reason: DisconnectReason | UnknownCode
    """Why it left."""


@dataclass(frozen=True)
class Signal:
    """A signal. With neither type nor data it is a ping."""

    sender: str | Server
    """The id of the sending connection, which may be the client's own; or a server."""
    seq: int
    """The sender's sequence number. It rises, and skips signals that were sent to others."""
    type: str | None
    """The type."""
    data: str | None
    """The data."""


@dataclass(frozen=True)
class Rejected:
    """The gateway rejected something that the client sent. The session goes on.

    If a call of :meth:`Session.signal` waits for the signal, the call raises the error, and there
    is no event.
    """

    signal: int | None
    """The number that :meth:`Session.enqueue` returned, if it was a signal."""
    code: ErrorCode | UnknownCode
    """Why it was rejected."""
    message: str
    """The reason for people."""


@dataclass(frozen=True)
class Reconnecting:
    """The link is lost, and the client reconnects by itself. Signals can still be sent.

    The next event of this kind is :class:`Reconnected`, :class:`Rejoined` or
    :class:`Disconnected`.
    """

    reason: CloseReason | UnknownCode
    """Why the link ended."""
    message: str
    """The reason for people."""


@dataclass(frozen=True)
class Gap:
    """Signals and presence events that a client missed and will not receive.

    As an event of its own: signals were lost between gateways. The link and the connection are not
    affected, and earlier signals of the same sender may still follow. `presence` is then False.
    """

    lost: tuple[Lost, ...] = ()
    """Lost signals, by sender."""
    presence: bool = False
    """Whether presence events were lost, and signals of connections that have left.

    :class:`ConnectionCreated` and :class:`ConnectionDestroyed` then follow for all that changed. A
    connection that joined and left meanwhile is not reported.
    """


@dataclass(frozen=True)
class Reconnected:
    """The client has resumed the same connection, and the others were not told anything.

    Presence events and signals that it missed follow, in order.
    """

    missed: int
    """How many signals and presence events follow. Lost ones are not counted."""
    gap: Gap | None
    """What the client missed and will not receive. Usually None."""


@dataclass(frozen=True)
class Rejoined:
    """The client has joined again as another connection; for the others the previous one has left.

    Connections known before are void: one :class:`ConnectionCreated` for each connection in the
    session follows. Signals that others sent meanwhile are lost. The client's own signals that were
    not confirmed are sent again, so receivers may get them twice.
    """

    connection: ConnectionInfo
    """The client's own connection from now on."""


@dataclass(frozen=True)
class Disconnected:
    """The client is no longer in the session. The last event."""

    reason: CloseReason | UnknownCode
    """Why it is no longer in the session."""
    message: str
    """The reason for people."""


Event = (
    Connected
    | ConnectionCreated
    | ConnectionDestroyed
    | Signal
    | Gap
    | Rejected
    | Reconnecting
    | Reconnected
    | Rejoined
    | Disconnected
)
"""Any event of a session."""
