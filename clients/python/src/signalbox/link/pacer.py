"""The rate at which a client that has reconnected sends its queue.

Without it the gateway would reject signals for exceeding the limit.
"""

from __future__ import annotations


class Pacer:
    """One signal at once, and then a number each second.

    The gateway allows bursts, but the client does not know how much of its burst it had used before
    its link was lost.
    """

    def __init__(self, per_second: int, now: float) -> None:
        self._per_second = per_second
        self._since = now
        self._written = 0

    def allowed(self, now: float) -> int:
        """How many signals may be written now."""
        due = int((now - self._since) * self._per_second) + 1
        return max(0, due - self._written)

    def next(self) -> float:
        """When another one may be written."""
        return self._since + self._written / self._per_second

    def written(self, signals: int) -> None:
        """Records that signals have been written."""
        self._written += signals
