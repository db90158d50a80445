"""A transport: QUIC or WebSocket, as it carries the messages of one link.

It knows how messages travel and nothing about what follows from them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ..codes import CloseReason, UnknownCode
from ..messages import ClientMessage, GatewayMessage, SenderHeader, StreamSignal

FAREWELL = 1.0
"""How many seconds either side waits for the other's close."""


@dataclass(frozen=True)
class ControlMessage:
    """A message on the control stream, or on the WebSocket."""

    message: GatewayMessage


@dataclass(frozen=True)
class StreamOpened:
    """The header of a sender's stream has arrived; None if it is of an unknown kind."""

    stream: int
    header: SenderHeader | None


@dataclass(frozen=True)
class StreamMessage:
    """A signal on a sender's stream."""

    stream: int
    signal: StreamSignal


@dataclass(frozen=True)
class StreamEnded:
    """A sender's stream, or the control stream, has ended; with `reset` not cleanly."""

    stream: int
    reset: bool


@dataclass(frozen=True)
class TransportClosed:
    """The transport has ended. The last arrival, and the answer to every later `receive`."""

    reason: CloseReason | UnknownCode
    message: str
    code: int | None = None
    """The close code that the peer sent: QUIC's application error code, or WebSocket's."""


Arrival = ControlMessage | StreamOpened | StreamMessage | StreamEnded | TransportClosed


class Transport(ABC):
    """A transport connection whose peer has been verified."""

    @abstractmethod
    async def send(self, messages: Sequence[ClientMessage]) -> None:
        """Writes messages, each to the stream where its kind belongs.

        An error is not reported here: `receive` knows the reason.
        """

    @abstractmethod
    async def receive(self) -> Arrival:
        """The next arrival. Can be cancelled without losing one."""

    @abstractmethod
    async def close(self, reason: CloseReason) -> None:
        """Closes the transport and waits until it is closed, for at most :data:`FAREWELL`."""

    @abstractmethod
    def abort(self) -> None:
        """Ends the transport at once and in a way that is not a goodbye."""
