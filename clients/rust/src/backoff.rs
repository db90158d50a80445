//! Pauses between reconnect attempts, and how long an attempt may take.

use std::time::{Duration, Instant};

/// The longest pause before the second attempt; the first is made at once.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Timeout of one attempt. After packet loss, a new attempt succeeds sooner than an old one, whose
/// retransmissions have become rare.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of an attempt after one that timed out. When a gateway fails, the others may receive more
/// clients at once than they can answer within the first timeout, and an abandoned attempt is wasted
/// work for them.
const LATER_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause after an attempt that timed out is at least this. Clients that began together
/// time out together.
const TIMEOUT_PAUSE: Duration = ATTEMPT_TIMEOUT;

/// Time after a gateway's shutdown announcement within which its successor is expected.
const RESTART_PHASE: Duration = Duration::from_secs(60);

/// During a restart each pause is at least this, so that a gateway that is draining is not asked
/// all the time, plus a random part of the next two: one at first, the other in the end.
const RESTART_MIN_PAUSE: Duration = Duration::from_millis(100);
const RESTART_FIRST_PAUSE: Duration = Duration::from_millis(400);
const RESTART_LONGEST_PAUSE: Duration = Duration::from_millis(1900);

/// Attempts during a restart before the pauses grow.
const RESTART_QUICK_ATTEMPTS: u32 = 5;

/// Timeout of the first attempts during a restart. Over QUIC nothing reports a closed port,
/// and a packet that was sent too early is not retransmitted soon. Clients whose round trips take
/// longer get more time from attempt to attempt.
const RESTART_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// The reconnect schedule: exponential backoff with full jitter, so that clients which lost their
/// links together do not return together. Pauses stay short while a gateway restarts.
///
/// It does no I/O and reads no clock. [`Client`](crate::Client) follows it by itself; it is public
/// for programs that speak the protocol without the SDK and want the same schedule.
///
/// ```
/// use std::time::{Duration, Instant};
/// use signalbox_client::Backoff;
///
/// let (mut backoff, now) = (Backoff::default(), Instant::now());
/// assert_eq!(backoff.next_pause(now), Duration::ZERO);
/// assert!(backoff.next_pause(now) <= Duration::from_millis(250));
/// assert!(backoff.next_pause(now) <= Duration::from_millis(500));
/// ```
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
    timeouts: Timeouts,
    restart: Option<RestartPhase>,
}

/// The attempts that were not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Timeouts {
    #[default]
    None,
    /// One or more, but not the latest attempt.
    Earlier,
    /// The latest attempt.
    Latest,
}

/// The time after a gateway has announced that it shuts down.
#[derive(Debug)]
struct RestartPhase {
    until: Instant,
    attempts: u32,
    timeouts: u32,
}

impl Backoff {
    /// The pause before the next attempt.
    pub fn next_pause(&mut self, now: Instant) -> Duration {
        let earlier = self.attempts;
        self.attempts += 1;
        if earlier == 0 {
            return Duration::ZERO;
        }
        let timed_out = self.timeouts == Timeouts::Latest;
        if timed_out {
            self.timeouts = Timeouts::Earlier;
        }
        if let Some(restart) = self.restart.as_mut().filter(|restart| now < restart.until) {
            let doublings = restart.attempts.saturating_sub(RESTART_QUICK_ATTEMPTS - 1);
            restart.attempts += 1;
            let longest = RESTART_FIRST_PAUSE.saturating_mul(1 << doublings.min(16));
            return RESTART_MIN_PAUSE + jitter(longest.min(RESTART_LONGEST_PAUSE));
        }
        let longest = FIRST_PAUSE.saturating_mul(1 << (earlier - 1).min(16)).min(LONGEST_PAUSE);
        jitter(if timed_out { longest.max(TIMEOUT_PAUSE) } else { longest })
    }

    /// The timeout of the next attempt.
    pub fn attempt_timeout(&self, now: Instant) -> Duration {
        match &self.restart {
            Some(restart) if now < restart.until => {
                let timeout = RESTART_ATTEMPT_TIMEOUT.saturating_mul(1 << restart.timeouts.min(16));
                timeout.min(ATTEMPT_TIMEOUT)
            }
            _ if self.timeouts == Timeouts::None => ATTEMPT_TIMEOUT,
            _ => LATER_ATTEMPT_TIMEOUT,
        }
    }

    /// The time for which a connection may remain resumable beyond the resume window: a gateway
    /// that restarts starts the window at the end of its drain, not at the loss of the link.
    pub fn restart_time_left(&self, now: Instant) -> Duration {
        self.restart
            .as_ref()
            .map_or(Duration::ZERO, |restart| restart.until.saturating_duration_since(now))
    }

    /// Records an attempt that was not answered in time.
    pub fn attempt_timed_out(&mut self) {
        self.timeouts = Timeouts::Latest;
        if let Some(restart) = &mut self.restart {
            restart.timeouts += 1;
        }
    }

    /// Records that the gateway shuts down: another one is expected in its place soon.
    pub fn gateway_restarts(&mut self, now: Instant) {
        match &mut self.restart {
            Some(restart) if now < restart.until => {}
            restart => {
                let until = now + RESTART_PHASE;
                *restart = Some(RestartPhase { until, attempts: 0, timeouts: 0 });
            }
        }
    }

    /// Starts over if the last link was stable, which is one that lived at least as long as the
    /// longest pause.
    pub fn reset_if_stable(&mut self, lifetime: Duration) {
        if lifetime >= LONGEST_PAUSE {
            *self = Self::default();
        }
    }
}

/// A random duration up to `longest`.
pub(crate) fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_pauses_grow() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.next_pause(now), Duration::ZERO);
        for longest in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert!(backoff.next_pause(now) <= Duration::from_millis(longest));
            assert_eq!(backoff.attempt_timeout(now), ATTEMPT_TIMEOUT);
        }
        backoff.reset_if_stable(Duration::from_secs(9));
        assert_eq!(backoff.attempts, 9, "a link that breaks again soon is no success");
        backoff.reset_if_stable(LONGEST_PAUSE);
        assert_eq!(backoff.next_pause(now), Duration::ZERO);
    }

    #[test]
    fn during_a_restart_pauses_are_a_few_hundred_milliseconds_then_about_a_second() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        backoff.gateway_restarts(start);
        let mut now = start;
        assert_eq!(backoff.next_pause(now), Duration::ZERO);
        let mut pauses = Vec::new();
        while now < start + RESTART_PHASE {
            let pause = backoff.next_pause(now);
            now += pause;
            pauses.push(pause);
        }
        for (number, pause) in pauses.iter().enumerate() {
            let longest = if number < 5 { 500 } else { 2000 };
            assert!((100..=longest).contains(&pause.as_millis()), "{number}: {pause:?}");
        }
        assert!(pauses.len() > 30, "{}", pauses.len());
        // Afterwards it is a gateway like any other that does not answer.
        let pauses: Vec<_> = (0..200).map(|_| backoff.next_pause(now)).collect();
        assert!(pauses.iter().any(|pause| *pause > Duration::from_secs(5)), "{pauses:?}");
    }

    #[test]
    fn a_restart_begins_with_short_pauses_after_any_number_of_attempts() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..20 {
            backoff.next_pause(now);
        }
        backoff.gateway_restarts(now);
        for _ in 0..5 {
            assert!(backoff.next_pause(now) <= Duration::from_millis(500));
        }
        // A second announcement within the phase changes nothing; a later one begins another.
        backoff.gateway_restarts(now);
        assert!(backoff.restart.as_ref().is_some_and(|restart| restart.attempts == 5));
        let later = now + RESTART_PHASE;
        backoff.gateway_restarts(later);
        assert!(backoff.next_pause(later) <= Duration::from_millis(500));
    }

    #[test]
    fn attempts_during_a_restart_are_short_until_they_time_out() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.gateway_restarts(now);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.attempt_timeout(now), Duration::from_secs(seconds));
            backoff.attempt_timed_out();
        }
        assert_eq!(backoff.attempt_timeout(now + RESTART_PHASE), LATER_ATTEMPT_TIMEOUT);
        assert_eq!(backoff.restart_time_left(now + 2 * RESTART_PHASE), Duration::ZERO);
    }

    #[test]
    fn clients_whose_attempts_time_out_spread_and_have_more_patience() {
        let now = Instant::now();
        let after_a_timeout = |then: fn(&mut Backoff)| {
            let mut backoff = Backoff::default();
            backoff.next_pause(now);
            backoff.attempt_timed_out();
            then(&mut backoff);
            (backoff.next_pause(now), backoff.attempt_timeout(now))
        };
        let pauses: Vec<_> = (0..200).map(|_| after_a_timeout(|_| {})).collect();
        assert!(pauses.iter().all(|it| it.0 <= TIMEOUT_PAUSE && it.1 == LATER_ATTEMPT_TIMEOUT));
        assert!(pauses.iter().any(|it| it.0 > TIMEOUT_PAUSE / 2), "{pauses:?}");
        // The attempt after it failed sooner: the pause is the usual one.
        let (pause, timeout) = after_a_timeout(|backoff| {
            backoff.next_pause(Instant::now());
        });
        assert!(pause <= Duration::from_millis(500), "{pause:?}");
        assert_eq!(timeout, LATER_ATTEMPT_TIMEOUT);
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        let jitters: Vec<_> = (0..1000).map(|_| jitter(LONGEST_PAUSE)).collect();
        assert!(jitters.iter().all(|jitter| *jitter <= LONGEST_PAUSE));
        for tenth in 0..10 {
            let from = LONGEST_PAUSE.mul_f64(f64::from(tenth) / 10.0);
            let range = from..from + LONGEST_PAUSE / 10;
            let count = jitters.iter().filter(|jitter| range.contains(*jitter)).count();
            // Of 1000, 100 are expected; fewer than 40 has a chance of less than one in 10^11.
            assert!(count > 40, "{count} from {from:?}");
        }
    }
}
