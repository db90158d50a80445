"""The streams that a gateway sends over QUIC: the control stream and those of senders."""

from __future__ import annotations

from collections.abc import Callable

from ..codes import Streams
from ..frame import FrameBuffer
from ..messages import GATEWAY, GATEWAY_STREAM, SENDER_STREAM, ReceivedSignal, SenderHeader
from ..postcard import Malformed
from .transport import Arrival, ControlMessage, StreamEnded, StreamMessage, StreamOpened

CONTROL_STREAM = 0
STREAM_KINDS, GATEWAYS_UNIDIRECTIONAL = 4, 3


class IncomingStreams:
    """Splits streams into messages. Every method raises :class:`Malformed`."""

    def __init__(
        self, arrived: Callable[[Arrival, int], None], stop: Callable[[int], None]
    ) -> None:
        """`arrived` takes each arrival with its size; `stop` stops reading a stream."""
        self.streams: Streams | None = None
        """How the client has asked to receive signals."""
        self._arrived = arrived
        self._stop = stop
        self._frames: dict[int, FrameBuffer] = {}
        self._headed: set[int] = set()
        self._ignored: set[int] = set()

    def received(self, stream: int, data: bytes, end: bool) -> None:
        """Bytes of a stream have arrived."""
        if _is_of_the_client(stream):
            return
        frames = self._frames.setdefault(stream, FrameBuffer())
        if stream not in self._ignored:
            for message in frames.feed(data):
                self._message(stream, message)
        if end and stream not in self._ignored:
            frames.finish()
            if stream != CONTROL_STREAM and stream not in self._headed:
                raise Malformed(f"stream {stream} ended without a header")
            self._arrived(StreamEnded(stream, reset=False), 0)
        if end:
            self._forget(stream)

    def reset(self, stream: int) -> None:
        """The gateway has reset a stream."""
        if _is_of_the_client(stream):
            return
        if stream == CONTROL_STREAM or self.streams is Streams.SINGLE:
            raise Malformed(f"the gateway reset stream {stream}")
        if stream not in self._ignored:
            self._arrived(StreamEnded(stream, reset=True), 0)
        self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._frames.pop(stream, None)
        self._headed.discard(stream)
        self._ignored.discard(stream)

    def _message(self, stream: int, message: bytes) -> None:
        if stream == CONTROL_STREAM:
            self._control_message(message)
        elif stream in self._ignored:
            pass
        elif stream % STREAM_KINDS != GATEWAYS_UNIDIRECTIONAL:
            raise Malformed(f"the gateway opened stream {stream}")
        elif stream in self._headed:
            decoded = SENDER_STREAM.decode(message)
            if isinstance(decoded, SenderHeader):
                self._arrived(StreamOpened(stream, decoded), len(message))
            elif decoded is not None:
                self._arrived(StreamMessage(stream, decoded), len(message))
        else:
            self._header(stream, message)

    def _control_message(self, message: bytes) -> None:
        decoded = GATEWAY.decode(message)
        if self.streams is Streams.PER_SENDER and isinstance(decoded, ReceivedSignal):
            raise Malformed("a signal on the control stream, with one stream per sender")
        # Messages of an unknown kind are skipped.
        if decoded is not None:
            self._arrived(ControlMessage(decoded), len(message))

    def _header(self, stream: int, message: bytes) -> None:
        header = GATEWAY_STREAM.decode(message)
        if header is None:
            self._ignored.add(stream)
            self._stop(stream)
        elif self.streams is Streams.SINGLE:
            raise Malformed("a sender's stream, with all signals on the control stream")
        else:
            self._headed.add(stream)
        self._arrived(StreamOpened(stream, header), len(message))


def _is_of_the_client(stream: int) -> bool:
    """Whether the client has opened this second bidirectional stream, against the protocol."""
    return stream % STREAM_KINDS == CONTROL_STREAM and stream != CONTROL_STREAM
