"""Racing attempts: they start in order, each with a head start over the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def race(
    attempts: Iterable[Callable[[], Awaitable[T]]], head_start: float, drop: Callable[[T], None]
) -> AsyncGenerator[asyncio.Task[T], None]:
    """Yields attempts as they finish. Close it to abandon the rest.

    A caller continues only after a failure, so the next attempt then starts at once. What abandoned
    attempts have established is dropped.
    """
    waiting = iter(attempts)
    running: list[asyncio.Task[T]] = []
    finished: list[asyncio.Task[T]] = []
    exhausted = False

    def start_next() -> None:
        nonlocal exhausted
        attempt = next(waiting, None)
        if attempt is None:
            exhausted = True
        else:
            running.append(asyncio.ensure_future(_run(attempt)))

    try:
        while True:
            start_next()
            while not finished:
                if not running:
                    return
                await asyncio.wait(
                    running,
                    timeout=None if exhausted else head_start,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                finished = [task for task in running if task.done()]
                running = [task for task in running if not task.done()]
                if not finished:
                    start_next()
            yield finished.pop(0)
    finally:
        await _abandon([*running, *finished], drop)


async def _run(attempt: Callable[[], Awaitable[T]]) -> T:
    return await attempt()


async def _abandon(tasks: list[asyncio.Task[T]], drop: Callable[[T], None]) -> None:
    for task in tasks:
        task.cancel()
    for established in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(established, BaseException):
            drop(established)
