"""Races in simulated time."""

import asyncio
import selectors
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from signalbox.race import race

HEAD_START = 0.3


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes as soon as every task waits."""

    def __init__(self) -> None:
        self.now = 0.0
        loop = self

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[Any]:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())

    def time(self) -> float:
        return self.now


def simulate(main: Coroutine[Any, Any, Any]) -> Any:
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


async def run(durations: list[float]) -> tuple[list[float], list[tuple[int, float]]]:
    """Runs attempts that take this long and all fail.

    Returns the time of each start, and the order in which they finished, with the times.
    """
    starts: list[float] = []

    async def attempt(index: int, seconds: float) -> int:
        starts.append(now())
        await asyncio.sleep(seconds)
        return index

    attempts = [
        lambda index=index, seconds=seconds: attempt(index, seconds)
        for index, seconds in enumerate(durations)
    ]
    finished = [(task.result(), now()) async for task in race(attempts, HEAD_START, dropped)]
    return starts, finished


def dropped(_: int) -> None:
    raise AssertionError("nothing is abandoned")


def test_an_attempt_starts_after_the_head_start_of_the_one_before() -> None:
    starts, finished = simulate(run([1, 1, 1]))
    assert starts == [0, 0.3, 0.6]
    assert finished == [(0, 1), (1, 1.3), (2, 1.6)]
    assert simulate(run([])) == ([], [])


def test_a_failure_starts_the_next_attempt_at_once() -> None:
    starts, _ = simulate(run([0.01, 0.02, 0.03]))
    assert starts == [0, 0.01, 0.03]
    # The second fails while the first still runs.
    starts, finished = simulate(run([10, 0.05, 0.01]))
    assert starts == [0, 0.3, 0.35]
    assert finished == [(1, 0.35), (2, 0.36), (0, 10)]


def test_time_between_two_attempts_is_no_head_start() -> None:
    async def main() -> list[float]:
        async def attempt(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return now()

        attempts = [lambda seconds=seconds: attempt(seconds) for seconds in (0.0, 1.0, 1.0)]
        ends = []
        async for task in race(attempts, HEAD_START, lambda _: None):
            ends.append(task.result())
            if len(ends) == 1:
                # An opening that the gateway did not answer.
                await asyncio.sleep(0.7)
        return ends

    assert simulate(main()) == [0, 1.7, 2]


def test_abandoned_attempts_are_cancelled_and_what_they_established_is_dropped() -> None:
    async def main() -> list[str]:
        log = []

        async def established(name: str, seconds: float) -> str:
            await asyncio.sleep(seconds)
            return name

        async def silent() -> str:
            try:
                await asyncio.sleep(100)
            finally:
                log.append("cancelled")
            return "never"

        attempts = [silent, lambda: established("one", 0.35), lambda: established("two", 0.05)]
        running = race(attempts, HEAD_START, log.append)
        async with aclosing(running):
            async for task in running:
                # The other one is established at the same time.
                log.append(f"{task.result()} wins")
                break
        return log

    assert simulate(main()) == ["one wins", "cancelled", "two"]
