"""Pauses between reconnect attempts, and how long an attempt may take. All times are in seconds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

FIRST_PAUSE = 0.25
"""The longest pause before the second attempt; the first is made at once."""
LONGEST_PAUSE = 10.0
"""The longest pause."""
ATTEMPT_TIMEOUT = 5.0
"""How long one attempt may take. On a lossy network a new attempt gets through sooner than an old
one, whose retransmissions have become rare."""
LATER_ATTEMPT_TIMEOUT = 10.0
"""How long an attempt after one that timed out may take. When a gateway fails, the others may receive
more clients at once than they can answer within the first timeout, and an abandoned attempt is
wasted work for them."""
TIMEOUT_PAUSE = ATTEMPT_TIMEOUT
"""The longest pause after an attempt that timed out is at least this. Clients that began together
time out together."""
RESTART_PHASE = 60.0
"""How long after a gateway's announcement that it shuts down another one is expected."""
RESTART_MIN_PAUSE = 0.1
"""During a restart each pause is at least this, so that a draining gateway is not asked all the
time, plus a random part of the next two: the one at first, the other in the end."""
RESTART_FIRST_PAUSE = 0.4
RESTART_LONGEST_PAUSE = 1.9
RESTART_QUICK_ATTEMPTS = 5
"""Attempts during a restart before the pauses grow."""
RESTART_ATTEMPT_TIMEOUT = 1.0
"""How long the first attempts during a restart may take. Over QUIC nothing reports a closed port,
and a packet that was sent too early is not retransmitted soon."""
MOST_DOUBLINGS = 16


@dataclass
class RestartPhase:
    """The time after a gateway has announced that it shuts down."""

    until: float
    attempts: int = 0
    timeouts: int = 0


class Timeouts(Enum):
    """The attempts that were not answered in time."""

    NONE = auto()
    EARLIER = auto()
    """One or more, but not the latest attempt."""
    LATEST = auto()


class Backoff:
    """The reconnect schedule: exponential backoff with full jitter.

    Clients that lost their links together do not return together. Pauses stay short while a gateway
    restarts. It does no I/O and reads no clock.
    """

    def __init__(self) -> None:
        self._attempts = 0
        self._timeouts = Timeouts.NONE
        self._restart: RestartPhase | None = None

    def next_pause(self, now: float) -> float:
        """How long to wait before the next attempt."""
        earlier = self._attempts
        self._attempts += 1
        if earlier == 0:
            return 0.0
        timed_out = self._timeouts is Timeouts.LATEST
        if timed_out:
            self._timeouts = Timeouts.EARLIER
        if self._restart is not None and now < self._restart.until:
            longest = RESTART_FIRST_PAUSE * _doubled(
                self._restart.attempts - RESTART_QUICK_ATTEMPTS + 1
            )
            self._restart.attempts += 1
            return RESTART_MIN_PAUSE + jitter(min(longest, RESTART_LONGEST_PAUSE))
        longest = min(FIRST_PAUSE * _doubled(earlier - 1), LONGEST_PAUSE)
        return jitter(max(longest, TIMEOUT_PAUSE) if timed_out else longest)

    def attempt_timeout(self, now: float) -> float:
        """How long the next attempt may take."""
        if self._restart is not None and now < self._restart.until:
            timeout = RESTART_ATTEMPT_TIMEOUT * _doubled(self._restart.timeouts)
            return min(timeout, ATTEMPT_TIMEOUT)
        return ATTEMPT_TIMEOUT if self._timeouts is Timeouts.NONE else LATER_ATTEMPT_TIMEOUT

    def restart_time_left(self, now: float) -> float:
        """How much longer than the resume window a connection may be resumable.

        A gateway that restarts counts the window from the end of its drain, not from the loss.
        """
        return 0.0 if self._restart is None else max(0.0, self._restart.until - now)

    def attempt_timed_out(self) -> None:
        """Records an attempt that was not answered in time."""
        self._timeouts = Timeouts.LATEST
        if self._restart is not None:
            self._restart.timeouts += 1

    def gateway_restarts(self, now: float) -> None:
        """Records that the gateway shuts down: another one is expected in its place soon."""
        if self._restart is None or now >= self._restart.until:
            self._restart = RestartPhase(now + RESTART_PHASE)

    def reset_if_stable(self, lifetime: float) -> None:
        """Starts over if the last link lived at least as long as the longest pause."""
        if lifetime >= LONGEST_PAUSE:
            self._attempts, self._restart = 0, None


def jitter(longest: float) -> float:
    """A random duration up to `longest`."""
    return random.uniform(0.0, longest)


def _doubled(times: int) -> int:
    return 1 << max(0, min(times, MOST_DOUBLINGS))
