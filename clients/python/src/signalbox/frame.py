"""Frames: messages with their length in front, on a QUIC stream (section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator

from .postcard import Malformed, Reader, varint

GATEWAY_FRAME_BYTES = 65536
"""The longest message of a gateway in postcard."""
PREFIX_BYTES = 4
"""The longest length prefix."""


def frame(message: bytes) -> bytes:
    """A message with its length in front."""
    return varint(len(message)) + message


class FrameBuffer:
    """Splits the bytes of a QUIC stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete with these bytes. Raises :class:`Malformed`."""
        self._buffer += data
        while (prefix := self._prefix()) is not None:
            start, length = prefix
            if len(self._buffer) < start + length:
                return
            message = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            yield message

    def finish(self) -> None:
        """Checks that the stream has not ended inside a frame."""
        if self._buffer:
            raise Malformed("the stream ended inside a frame")

    def _prefix(self) -> tuple[int, int] | None:
        """The sizes of the next frame's prefix and message, once the prefix has arrived."""
        head = bytes(self._buffer[:PREFIX_BYTES])
        size = next((at for at, byte in enumerate(head, 1) if byte < 0x80), None)
        if size is None:
            if len(head) == PREFIX_BYTES:
                raise Malformed(f"the length of a frame takes more than {PREFIX_BYTES} bytes")
            return None
        length = Reader(head).varint(7 * PREFIX_BYTES)
        if varint(length) != head[:size]:
            raise Malformed("the length of a frame is not in its shortest form")
        if length > GATEWAY_FRAME_BYTES:
            raise Malformed(f"a frame of {length} bytes is over the limit")
        return size, length
