"""The duties of section 7: what a QUIC client in `perSender` mode holds back, and for how long.

Apart from the client because it is pure: what arrived goes in, in any order; what an application
may see comes out, in the promised one. The numbers in comments are the rules of that section.

What it knows of streams is the link's and ends with it, which is right for a test and too much for a
long-lived client. What it knows of senders is the connection's, and goes on to the next link.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from connection import Connection, Fields
from postcard import Server

FIRST_STREAM = 3
STREAM_STEP = 4


@dataclass
class Stream:
    """A stream of the gateway. `sender` means nothing until the header has been read."""

    header_read: bool = False
    # A kind of stream that this client does not know: there, but nobody's.
    ignored: bool = False
    sender: str | Server | None = None
    after: int = 0
    held: deque[Fields] = field(default_factory=deque)
    over: bool = False
    reset: bool = False

    def is_of(self, sender: str | Server | None) -> bool:
        return self.header_read and not self.ignored and self.sender == sender

    def is_surfaced_to_its_end(self) -> bool:
        return self.over and not self.held


class Ordering:
    """`surface` is expected to tell the connection, too."""

    def __init__(self, surface: Callable[[str, Fields], None], connection: Connection) -> None:
        self._surface = surface
        self._connection = connection
        self._welcomed = False
        self._streams: dict[int, Stream] = {}

    @property
    def successors(self) -> int:
        """How many streams went on where another one of the same sender had ended."""
        return sum(stream.after > 0 for stream in self._streams.values())

    def control(self, kind: str, fields: Fields) -> None:
        """A message on the control stream."""
        if kind == "connectionDestroyed" and fields["lastSeq"] > 0:
            self._connection.destroyed.append(fields)
        else:
            self._surface(kind, fields)
        self._welcomed |= kind in ("welcome", "resumed")
        self._release()

    def sender(self, stream_id: int, fields: Fields) -> None:
        """The header of a sender's stream."""
        stream = self._stream(stream_id)
        stream.header_read = True
        stream.sender, stream.after = fields["from"], fields["after"]
        self._release()

    def ignore(self, stream_id: int) -> None:
        """The header is of an unknown kind: the stream holds nothing up."""
        stream = self._stream(stream_id)
        stream.header_read = stream.ignored = stream.over = True
        self._release()

    def signal(self, stream_id: int, fields: Fields) -> None:
        """A signal on a sender's stream."""
        self._stream(stream_id).held.append(fields)
        self._release()

    def end(self, stream_id: int, reset: bool = False) -> None:
        """Nothing more will come on this stream."""
        stream = self._stream(stream_id)
        stream.over, stream.reset = True, reset
        self._release()

    def _stream(self, stream_id: int) -> Stream:
        return self._streams.setdefault(stream_id, Stream())

    def _release(self) -> None:
        """Surfaces all that nothing holds any longer. One release can make way for the next."""
        while self._welcomed and (self._release_signals() or self._release_destroyed()):
            pass

    def _release_signals(self) -> bool:
        released = False
        for stream_id, stream in self._streams.items():
            if stream.held and self._may_surface(stream_id, stream):
                released = True
                while stream.held:
                    self._surface_signal(stream.sender, stream.held.popleft())
        return released

    def _surface_signal(self, sender: str | Server | None, fields: Fields) -> None:
        self._surface("signal", {"from": sender, **fields})

    def _may_surface(self, stream_id: int, stream: Stream) -> bool:
        return self._is_named(stream.sender) and (
            self._connection.cursors.get(stream.sender, 0) >= stream.after
            or self._nothing_precedes(stream_id, stream.sender)
        )

    def _is_named(self, sender: str | Server | None) -> bool:
        """2: created before first signal."""
        connection = self._connection
        return (
            not connection.presence
            or isinstance(sender, Server)
            or sender == connection.me
            or sender in connection.named
        )

    def _nothing_precedes(self, stream_id: int, sender: str | Server | None) -> bool:
        """3, where a stream was reset: what it took along will not be waited for.

        The document lets go on when the stream of the signal `after` was reset. Which stream that
        is can be said for certain only when all lower-numbered ones are known.
        """
        for lower in range(FIRST_STREAM, stream_id, STREAM_STEP):
            stream = self._streams.get(lower, Stream())
            if not (stream.header_read or stream.reset):
                return False
            if stream.is_of(sender) and not stream.is_surfaced_to_its_end():
                return False
        return True

    def _release_destroyed(self) -> bool:
        """4: destroyed after last signal."""
        held = self._connection.destroyed
        broken = [fields for fields in held if self._is_broken(fields["id"])]
        for fields in broken:
            held.remove(fields)
        due = self._connection.due() + broken
        for fields in due:
            self._surface("connectionDestroyed", fields)
        return bool(due)

    def _is_broken(self, sender: str) -> bool:
        """A stream of the sender was reset, so its last signal may never come."""
        own = [stream for stream in self._streams.values() if stream.is_of(sender)]
        return any(stream.reset for stream in own) and all(
            stream.is_surfaced_to_its_end() for stream in own
        )
