//! Waits between the attempts to come back.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// The second attempt is made after at most this; the first at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// How long one attempt may take. Where packets were being lost a new attempt gets through sooner
/// than an old one, whose retransmissions have become rare.
const ATTEMPT: Duration = Duration::from_secs(5);

/// For how long after a gateway said that it goes down another one is expected in its place.
const RESTART: Duration = Duration::from_secs(60);

/// During a restart each wait is at least this, so that a gateway that drains is not asked all the
/// time; and at most this much longer, at first and in the end.
const RESTART_LEAST: Duration = Duration::from_millis(100);
const RESTART_FIRST: Duration = Duration::from_millis(400);
const RESTART_LONGEST: Duration = Duration::from_millis(1900);

/// Attempts during a restart before the waits grow.
const RESTART_QUICK: u32 = 5;

/// How long the first attempts during a restart may take. Over QUIC nobody says that the port is
/// closed, and a packet that was sent too early is not sent again soon. Clients whose way is longer
/// than that get more time from attempt to attempt.
const RESTART_ATTEMPT: Duration = Duration::from_secs(1);

/// Waits that grow with every attempt, each a random part of what it may be, so that clients which
/// were cut off together do not come back together. They stay short while a gateway restarts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
    restart: Option<Restart>,
}

/// A gateway has said that it goes down.
#[derive(Debug)]
struct Restart {
    until: Instant,
    attempts: u32,
    /// Attempts that nobody has answered.
    unanswered: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self, now: Instant) -> Duration {
        let earlier = self.attempts;
        self.attempts += 1;
        if earlier == 0 {
            return Duration::ZERO;
        }
        if let Some(restart) = self.restart.as_mut().filter(|restart| now < restart.until) {
            let doublings = restart.attempts.saturating_sub(RESTART_QUICK - 1);
            restart.attempts += 1;
            let most = RESTART_FIRST.saturating_mul(1 << doublings.min(16)).min(RESTART_LONGEST);
            return RESTART_LEAST + part_of(most);
        }
        part_of(FIRST.saturating_mul(1 << (earlier - 1).min(16)).min(LONGEST))
    }

    /// How long the next attempt may take.
    pub(crate) fn patience(&self, now: Instant) -> Duration {
        match &self.restart {
            Some(restart) if now < restart.until => {
                RESTART_ATTEMPT.saturating_mul(1 << restart.unanswered.min(16)).min(ATTEMPT)
            }
            _ => ATTEMPT,
        }
    }

    /// How much longer than usual a kept connection may be there: a gateway that restarts keeps it
    /// from the end of its drain, and not from the loss of the link.
    pub(crate) fn restart_left(&self, now: Instant) -> Duration {
        self.restart.as_ref().map_or(Duration::ZERO, |restart| restart.until - now)
    }

    /// Nobody has answered an attempt in its time.
    pub(crate) fn unanswered(&mut self) {
        if let Some(restart) = &mut self.restart {
            restart.unanswered += 1;
        }
    }

    /// A gateway has said that it goes down: another one will soon be in its place.
    pub(crate) fn restarting(&mut self, now: Instant) {
        match &mut self.restart {
            Some(restart) if now < restart.until => {}
            restart => {
                *restart = Some(Restart { until: now + RESTART, attempts: 0, unanswered: 0 });
            }
        }
    }

    /// A link has lasted so long: only one that lasts is a success.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= LONGEST {
            *self = Self::default();
        }
    }
}

/// A random part of a time.
pub(crate) fn part_of(time: Duration) -> Duration {
    // The standard library seeds its hashers at random, which is random enough to spread clients.
    let random = RandomState::new().hash_one(time) >> 32;
    time.mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_the_rest_ever_later() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert_eq!(backoff.next(now), Duration::ZERO);
        for longest in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert!(backoff.next(now) <= Duration::from_millis(longest));
            assert_eq!(backoff.patience(now), ATTEMPT);
        }
        backoff.lasted(Duration::from_secs(9));
        assert_eq!(backoff.attempts, 9, "a link that breaks again is no success");
        backoff.lasted(LONGEST);
        assert_eq!(backoff.next(now), Duration::ZERO);
    }

    #[test]
    fn a_gateway_that_restarts_is_asked_every_few_hundred_milliseconds_then_every_second() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        backoff.restarting(start);
        let mut now = start;
        assert_eq!(backoff.next(now), Duration::ZERO);
        let mut waits = Vec::new();
        while now < start + RESTART {
            let wait = backoff.next(now);
            now += wait;
            waits.push(wait);
        }
        for (number, wait) in waits.iter().enumerate() {
            let most = if number < 5 { 500 } else { 2000 };
            assert!((100..=most).contains(&wait.as_millis()), "{number}: {wait:?}");
        }
        // As long as all of them are possible, a wait of the usual kind is not among them.
        assert!(waits.len() > 30, "{}", waits.len());
        // After that it is a gateway like any other that does not answer.
        let waits: Vec<_> = (0..200).map(|_| backoff.next(now)).collect();
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(5)), "{waits:?}");
    }

    #[test]
    fn a_restart_begins_with_short_waits_whatever_was_before() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..20 {
            backoff.next(now);
        }
        backoff.restarting(now);
        for _ in 0..5 {
            assert!(backoff.next(now) <= Duration::from_millis(500));
        }
        // To be told twice is one restart, and another one is another.
        backoff.restarting(now);
        assert!(backoff.restart.as_ref().is_some_and(|restart| restart.attempts == 5));
        let later = now + RESTART;
        backoff.restarting(later);
        assert!(backoff.next(later) <= Duration::from_millis(500));
    }

    #[test]
    fn attempts_during_a_restart_are_short_unless_nobody_answers_in_time() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.restarting(now);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.patience(now), Duration::from_secs(seconds));
            backoff.unanswered();
        }
        assert_eq!(backoff.patience(now + RESTART), ATTEMPT);
    }

    #[test]
    fn waits_are_spread_over_all_of_the_time() {
        let parts: Vec<_> = (0..1000).map(|_| part_of(LONGEST)).collect();
        assert!(parts.iter().all(|part| *part <= LONGEST));
        for tenth in 0..10 {
            let from = LONGEST.mul_f64(f64::from(tenth) / 10.0);
            let count =
                parts.iter().filter(|part| (from..from + LONGEST / 10).contains(*part)).count();
            // Of 1000, 100 are expected; fewer than 40 has a chance of less than one in 10^11.
            assert!(count > 40, "{count} from {from:?}");
        }
    }
}
