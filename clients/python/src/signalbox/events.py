"""The queue of events that wait for the application."""

from __future__ import annotations

import asyncio
from collections import deque

from .codes import CloseReason, UnknownCode
from .event import Disconnected, Event

EVENT_QUEUE = 1024
"""Events that may wait. When they are not read, the client stops reading from the network."""


class EventQueue:
    """A bounded queue with a last event."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._finished = False
        self._discarding = False

    def try_put(self, event: Event) -> bool:
        """Adds an event; False if there is no room."""
        if self._discarding:
            return True
        if len(self._events) >= EVENT_QUEUE:
            return False
        self._events.append(event)
        self._changed.set()
        return True

    async def put(self, event: Event) -> None:
        """Adds an event once there is room."""
        while not self.try_put(event):
            self._room.clear()
            await self._room.wait()

    def finish(
        self, rest: list[Event], reason: CloseReason | UnknownCode, message: str
    ) -> None:
        """Adds the last events. Nothing follows."""
        if not self._discarding:
            self._events += rest
        self._events.append(Disconnected(reason, message))
        self._finished = True
        self._changed.set()

    def discard(self) -> None:
        """The application does not read any more."""
        self._discarding = True
        self._events.clear()
        self._room.set()

    async def next(self) -> Event | None:
        """The next event; None after the last."""
        while not self._events:
            if self._finished:
                return None
            self._changed.clear()
            await self._changed.wait()
        self._room.set()
        return self._events.popleft()
