"""The Signalbox Python SDK: join a session over WebSocket or QUIC, send and receive signals.

.. code-block:: python

    async with signalbox.connect("wss://signal.example.com", token) as session:
        await session.signal(type="chat", data="hello, everyone")
        async for event in session:
            match event:
                case signalbox.ConnectionCreated(connection):
                    print(connection.id, "joined")
                case signalbox.Signal(sender, _, _, data):
                    print(sender, data)
                case signalbox.Disconnected(reason, message):
                    print("ended:", reason, message)

Over every transport, a connection's :class:`ConnectionCreated` comes before its first signal and its
:class:`ConnectionDestroyed` after its last, and the signals of one sender come in the order in which
it sent them.

A client whose link is lost reconnects by itself and resumes the same connection: the others notice
nothing, and each signal arrives once. :class:`Reconnecting` and :class:`Reconnected` report it, and
what is lost if the gateway could not keep all of it. If the connection can no longer be resumed, the
client joins again as another connection (:class:`Rejoined`).
"""

from .codes import CloseReason, DisconnectReason, ErrorCode, Role, Streams, UnknownCode
from .errors import (
    ConnectError,
    ConnectTimeoutError,
    DisconnectedError,
    InvalidSignalError,
    MissingDependencyError,
    NotSentError,
    ProtocolError,
    RefusedError,
    RejectedError,
    ResolveError,
    RootsError,
    SendError,
    SignalboxError,
    UnreachableCause,
    UnreachableError,
    UrlError,
)
from .event import (
    Connected,
    ConnectionCreated,
    ConnectionDestroyed,
    Disconnected,
    Event,
    Gap,
    Reconnected,
    Reconnecting,
    Rejected,
    Rejoined,
    Signal,
)
from .messages import ConnectionInfo, Limits, Lost
from .options import VERSION as __version__
from .postcard import Server
from .session import Connecting, Session, connect

__all__ = [
    "CloseReason",
    "ConnectError",
    "ConnectTimeoutError",
    "Connected",
    "Connecting",
    "ConnectionCreated",
    "ConnectionDestroyed",
    "ConnectionInfo",
    "DisconnectReason",
    "Disconnected",
    "DisconnectedError",
    "ErrorCode",
    "Event",
    "Gap",
    "InvalidSignalError",
    "Limits",
    "Lost",
    "MissingDependencyError",
    "NotSentError",
    "ProtocolError",
    "Reconnected",
    "Reconnecting",
    "RefusedError",
    "Rejected",
    "RejectedError",
    "Rejoined",
    "ResolveError",
    "Role",
    "RootsError",
    "SendError",
    "Server",
    "Session",
    "Signal",
    "SignalboxError",
    "Streams",
    "UnknownCode",
    "UnreachableCause",
    "UnreachableError",
    "UrlError",
    "__version__",
    "connect",
]
