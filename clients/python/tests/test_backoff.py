import pytest

from signalbox.backoff import (
    ATTEMPT_TIMEOUT,
    LATER_ATTEMPT_TIMEOUT,
    LONGEST_PAUSE,
    RESTART_PHASE,
    TIMEOUT_PAUSE,
    Backoff,
    jitter,
)


def test_the_first_attempt_is_made_at_once_and_pauses_grow() -> None:
    backoff = Backoff()
    assert backoff.next_pause(0) == 0
    for longest in (0.25, 0.5, 1, 2, 4, 8, 10, 10):
        assert backoff.next_pause(0) <= longest
        assert backoff.attempt_timeout(0) == ATTEMPT_TIMEOUT
    backoff.reset_if_stable(9)
    # A link that breaks again soon is no success.
    assert any(backoff.next_pause(0) > 0 for _ in range(10))
    backoff.reset_if_stable(LONGEST_PAUSE)
    assert backoff.next_pause(0) == 0


def test_during_a_restart_pauses_are_short() -> None:
    backoff, now = Backoff(), 0.0
    backoff.gateway_restarts(now)
    assert backoff.next_pause(now) == 0
    pauses = []
    while now < RESTART_PHASE:
        pauses.append(backoff.next_pause(now))
        now += pauses[-1]
    for number, pause in enumerate(pauses):
        assert 0.1 <= pause <= (0.5 if number < 5 else 2.0), number
    assert len(pauses) > 30
    # Afterwards it is a gateway like any other that does not answer.
    assert any(backoff.next_pause(now) > 5 for _ in range(200))


def test_a_restart_begins_with_short_pauses_after_any_number_of_attempts() -> None:
    backoff = Backoff()
    for _ in range(20):
        backoff.next_pause(0)
    backoff.gateway_restarts(0)
    assert all(backoff.next_pause(0) <= 0.5 for _ in range(5))
    # A second announcement within the phase changes nothing; a later one begins another.
    backoff.gateway_restarts(1)
    assert backoff.restart_time_left(0) == RESTART_PHASE
    backoff.gateway_restarts(RESTART_PHASE)
    assert backoff.next_pause(RESTART_PHASE) <= 0.5


def test_attempts_during_a_restart_are_short_until_they_time_out() -> None:
    backoff = Backoff()
    backoff.gateway_restarts(0)
    for timeout in (1, 2, 4, 5, 5):
        assert backoff.attempt_timeout(0) == timeout
        backoff.attempt_timed_out()
    assert backoff.attempt_timeout(RESTART_PHASE) == LATER_ATTEMPT_TIMEOUT
    assert backoff.restart_time_left(2 * RESTART_PHASE) == 0


def test_clients_whose_attempts_time_out_spread_and_have_more_patience() -> None:
    pauses = []
    for _ in range(200):
        backoff = Backoff()
        backoff.next_pause(0)
        backoff.attempt_timed_out()
        pauses.append(backoff.next_pause(0))
        assert backoff.attempt_timeout(0) == LATER_ATTEMPT_TIMEOUT
        # The attempt after it failed sooner: the pause is the usual one.
        assert backoff.next_pause(0) <= 0.5
    assert TIMEOUT_PAUSE / 2 < max(pauses) <= TIMEOUT_PAUSE


def test_jitter_covers_the_whole_range() -> None:
    jitters = [jitter(10) for _ in range(1000)]
    for tenth in range(10):
        # Of 1000, 100 are expected; fewer than 40 has a chance of less than one in 10^11.
        assert sum(tenth <= value <= tenth + 1 for value in jitters) > 40


@pytest.mark.parametrize("attempts", [100, 10_000])
def test_many_attempts_do_not_exceed_the_longest_pause(attempts: int) -> None:
    backoff = Backoff()
    assert all(backoff.next_pause(0) <= LONGEST_PAUSE for _ in range(attempts))
