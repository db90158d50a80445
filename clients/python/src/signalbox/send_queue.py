"""The send queue: signals and commands on their way to the gateway, without any I/O.

A signal waits until there is a link, is written, and is kept until the gateway confirms that it has
accepted it. When the link is lost, signals that were not confirmed are written again on the next
link, in the same order, except those that the gateway then reports as accepted: each is accepted
once. If the gateway does not confirm signals, a signal counts as accepted once it is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .codes import ErrorCode, UnknownCode
from .errors import DisconnectedError, NotSentError, RejectedError, SendError
from .event import Rejected
from .messages import ClientMessage, ForceDisconnect, Goodbye, SendSignal, TicketStored

CAPACITY = 1024
"""Signals that may wait to be written or confirmed; at this limit, sending waits."""

Completion = Callable[[int | SendError], bool]
"""Tells a caller the sequence number of its signal or an error; False if none waits any more."""


@dataclass
class QueuedSignal:
    """A signal that waits to be written."""

    number: int
    """Its number among all signals of the application, over all connections."""
    signal: SendSignal
    retry: bool = True
    """Whether to send it again after a loss."""
    completion: Completion | None = None


@dataclass(frozen=True)
class Leave:
    """The application leaves. The goodbye names how many signals were sent before."""


Command = QueuedSignal | ForceDisconnect | TicketStored | Leave


@dataclass
class UnconfirmedSignal:
    """A signal that was written on this link and is not confirmed."""

    queued: QueuedSignal
    rejected: bool = False
    """Whether the application was told that it was rejected."""


class SendQueue:
    """Commands to be written and signals to be confirmed, in order."""

    def __init__(self, confirms: bool) -> None:
        self._confirms = confirms
        self._stalled = False
        self._left = False
        self.accepted_signals = 0
        """Signals of this connection before the first of `unconfirmed`."""
        self.unconfirmed: deque[UnconfirmedSignal] = deque()
        self._waiting: deque[Command] = deque()

    @property
    def sent_signals(self) -> int:
        """How many signals have been written on this connection."""
        return self.accepted_signals + len(self.unconfirmed)

    def room(self) -> int:
        """How many commands may be added."""
        unconfirmed = len(self.unconfirmed) if self._confirms else 0
        return max(0, CAPACITY - unconfirmed - len(self._waiting))

    def enqueue(self, command: Command) -> None:
        """Adds a command."""
        self._waiting.append(command)

    def enqueue_offline(self, command: Command) -> None:
        """Adds a command while there is no link. Signals that are not to be retried fail."""
        if isinstance(command, QueuedSignal) and not command.retry:
            _complete(command, NotSentError())
        else:
            self._waiting.append(command)

    def write(self, most: int) -> list[ClientMessage]:
        """The next messages, up to a number. Nothing follows a goodbye."""
        messages: list[ClientMessage] = []
        while self._waiting and len(messages) < most:
            command = self._waiting.popleft()
            match command:
                case QueuedSignal():
                    messages.append(command.signal)
                    self._signal_written(command)
                case Leave():
                    self._left = True
                    messages.append(Goodbye(self.sent_signals))
                    break
                case ForceDisconnect() | TicketStored():
                    messages.append(command)
        return messages

    def _signal_written(self, queued: QueuedSignal) -> None:
        seq = self.sent_signals + 1
        if self._stalled or not self._confirms:
            _complete(queued, seq)
        self.unconfirmed.append(UnconfirmedSignal(queued))
        # Without confirmations only the numbers are needed, as long as a rejection may name them.
        if not self._confirms and len(self.unconfirmed) > CAPACITY:
            self.unconfirmed.popleft()
            self.accepted_signals += 1

    def accepted(self, signals: int) -> None:
        """The gateway has accepted this number of the connection's signals in all."""
        while self.accepted_signals < signals and self.unconfirmed:
            self.accepted_signals += 1
            _complete(self.unconfirmed.popleft().queued, self.accepted_signals)

    def rejected(self, signal: int, code: ErrorCode | UnknownCode, message: str) -> Rejected | None:
        """The gateway rejected a signal. Returns an event unless a caller waits for that signal."""
        number = signal
        if (rejected := self._unconfirmed(signal)) is not None:
            number = rejected.queued.number
            rejected.rejected = True
            if _complete(rejected.queued, RejectedError(code, message)):
                return None
        return Rejected(number, code, message)

    def rejected_on_earlier_link(
        self, signal: int, code: ErrorCode | UnknownCode, message: str
    ) -> Rejected | None:
        """The gateway repeats a rejection from an earlier link that the client may not have read.

        For a confirmed signal it was read: the error precedes the confirmation.
        """
        unconfirmed = self._unconfirmed(signal)
        if unconfirmed is None or unconfirmed.rejected:
            return None
        return self.rejected(signal, code, message)

    def _unconfirmed(self, signal: int) -> UnconfirmedSignal | None:
        index = signal - self.accepted_signals - 1
        return self.unconfirmed[index] if 0 <= index < len(self.unconfirmed) else None

    def set_stalled(self, stalled: bool) -> None:
        """Sets whether the application has stopped reading, so that no confirmation is read.

        Callers then do not wait for one.
        """
        self._stalled = stalled
        if stalled:
            for seq, unconfirmed in enumerate(self.unconfirmed, self.accepted_signals + 1):
                _complete(unconfirmed.queued, seq)

    def link_lost(self) -> None:
        """The link is lost. Signals that wait and are not to be retried fail."""
        waiting, self._waiting = self._waiting, deque()
        for command in waiting:
            self.enqueue_offline(command)

    def resumed(self, signals: int) -> None:
        """The connection continues on a new link. The gateway has accepted this number of signals."""
        self.accepted(signals)
        self._requeue_unconfirmed()
        self._waiting.appendleft(TicketStored())

    def rejoined(self, confirms: bool) -> None:
        """Another connection replaces the previous one."""
        self._requeue_unconfirmed()
        self._confirms = confirms
        self.accepted_signals = 0

    def _requeue_unconfirmed(self) -> None:
        """Moves unconfirmed signals in front of the waiting commands, and repeats a goodbye."""
        while self.unconfirmed:
            queued = self.unconfirmed.pop().queued
            if self._confirms and queued.retry:
                self._waiting.appendleft(queued)
            else:
                _complete(queued, NotSentError())
        if self._left:
            self._waiting.append(Leave())

    def close(self) -> None:
        """Drops everything. Callers that wait get an error."""
        dropped = [it.queued for it in self.unconfirmed]
        dropped += [it for it in self._waiting if isinstance(it, QueuedSignal)]
        self.unconfirmed.clear()
        self._waiting.clear()
        for queued in dropped:
            _complete(queued, DisconnectedError())


def _complete(queued: QueuedSignal, outcome: int | SendError) -> bool:
    """Tells the caller once. False if none waits."""
    completion, queued.completion = queued.completion, None
    return completion is not None and completion(outcome)
