"""The queue between the application and successive links."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import DisconnectedError
from ..event import Event
from ..messages import ClientMessage, Error, Goodbye, SendSignal
from ..send_queue import Command, Leave, SendQueue
from .pacer import Pacer

BATCH = 64
"""Messages written at once."""


class OutgoingMessages:
    """The messages that a link has to write, and the room that callers wait for."""

    def __init__(self, confirms: bool) -> None:
        self.queue = SendQueue(confirms)
        self._online = True
        self._closed = False
        # Callers take turns, so that their commands are queued in the order of their calls.
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._ready = asyncio.Event()
        self._pacer: Pacer | None = None

    async def enqueue(self, command: Callable[[], Command]) -> None:
        """Queues a command of the application, which is made once there is room for it."""
        async with self._turn:
            while not self._closed and self.queue.room() == 0:
                self._room.clear()
                await self._room.wait()
            if self._closed:
                raise DisconnectedError
            self._enqueue(command())

    def _enqueue(self, command: Command) -> None:
        if self._online:
            self.queue.enqueue(command)
        else:
            self.queue.enqueue_offline(command)
        self._ready.set()

    async def next(self) -> tuple[list[ClientMessage], bool]:
        """Waits for messages. The flag is False after a goodbye, which is the last one.

        The messages count as written, so the caller must not be cancelled before it writes them.
        """
        while True:
            messages = self.queue.write(await self._allowed())
            if messages:
                if self._pacer is not None:
                    self._pacer.written(sum(isinstance(it, SendSignal) for it in messages))
                self._room.set()
                return messages, not isinstance(messages[-1], Goodbye)
            self._pacer = None
            self._ready.clear()
            await self._ready.wait()

    async def _allowed(self) -> int:
        """Waits until something may be written, and returns how much."""
        loop = asyncio.get_running_loop()
        while self._pacer is not None:
            if allowed := self._pacer.allowed(loop.time()):
                return min(allowed, BATCH)
            await asyncio.sleep(self._pacer.next() - loop.time())
        return BATCH

    def pace(self, signals_per_second: int) -> None:
        """Limits the rate after a reconnect; 0 means no limit."""
        self._pacer = None
        if signals_per_second:
            self._pacer = Pacer(signals_per_second, asyncio.get_running_loop().time())

    def accepted(self, signals: int) -> None:
        """The gateway has accepted this number of signals in all."""
        self.queue.accepted(signals)
        self._room.set()

    def link_lost(self) -> None:
        """There is no link until the connection is resumed or the client has joined again."""
        self._online = False
        self.queue.link_lost()
        self._room.set()

    def resumed(self, signals: int, rejected: tuple[Error, ...]) -> list[Event]:
        """The connection continues on a new link. Returns events for signals that were rejected."""
        events: list[Event] = []
        for error in rejected:
            if error.signal is None:
                continue
            event = self.queue.rejected_on_earlier_link(error.signal, error.code, error.message)
            if event is not None:
                events.append(event)
        self.queue.resumed(signals)
        self._back_online()
        return events

    def rejoined(self, confirms: bool) -> None:
        """Another connection replaces the previous one."""
        self.queue.rejoined(confirms)
        self._back_online()

    def _back_online(self) -> None:
        self._online = True
        self._room.set()
        self._ready.set()

    def leave(self) -> None:
        """Queues the goodbye, even if there is no room."""
        if not self._closed:
            self._enqueue(Leave())

    def close(self) -> None:
        """Ends the queue. Callers that wait get an error."""
        self._closed = True
        self.queue.close()
        self._room.set()
