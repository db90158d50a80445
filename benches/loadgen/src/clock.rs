//! One monotonic clock, and a metronome that keeps to it.
//!
//! The runtime's own timers tick in milliseconds, longer than most latencies. A timer of the system
//! (timerfd) is precise to microseconds, and wakes the same thread as the network does.

use std::{os::fd::OwnedFd, time::Duration};

use anyhow::Context as _;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the machine's monotonic clock.
pub fn now_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    // Neither is ever negative for this clock.
    tv_sec.unsigned_abs() * SECOND + tv_nsec.unsigned_abs()
}

/// A length of time in the same unit.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits for a time, to the millisecond.
pub async fn sleep_until(at_ns: u64) {
    tokio::time::sleep(Duration::from_nanos(at_ns.saturating_sub(now_ns()))).await;
}

/// Ticks at fixed times. Missed ticks are delivered late, none is skipped.
pub struct Metronome {
    timer: AsyncFd<OwnedFd>,
    first_ns: u64,
    interval_ns: u64,
    /// Ticks handed out, and ticks that the system has reported.
    given: u64,
    due: u64,
}

impl Metronome {
    /// Ticks at `first_ns` by the clock, then every `interval_ns`.
    pub fn start(first_ns: u64, interval_ns: u64) -> anyhow::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )
        .context("cannot create a timer")?;
        let spec = |ns: u64| Timespec {
            tv_sec: i64::try_from(ns / SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ns % SECOND).unwrap_or_default(),
        };
        let times = Itimerspec { it_value: spec(first_ns), it_interval: spec(interval_ns) };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &times)
            .context("cannot start a timer")?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may close their file early; OwnedFd does not"
        )]
        let timer =
            AsyncFd::with_interest(timer, Interest::READABLE).context("cannot wait for a timer")?;
        Ok(Self { timer, first_ns, interval_ns, given: 0, due: 0 })
    }

    /// Whether the next tick is known to be due.
    pub fn is_behind(&self) -> bool {
        self.given < self.due
    }

    /// Waits for the next tick. Returns the time at which it was due, which may be long ago.
    pub async fn tick(&mut self) -> anyhow::Result<u64> {
        while self.given == self.due {
            let mut guard = self.timer.readable().await?;
            let mut count = [0; 8];
            let read = guard.try_io(|timer| Ok(rustix::io::read(timer, &mut count)?));
            if let Ok(result) = read {
                result.context("cannot read a timer")?;
                self.due += u64::from_ne_bytes(count);
            }
        }
        let due = self.first_ns + self.given * self.interval_ns;
        self.given += 1;
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_are_due_on_schedule_and_never_early() {
        let (first, interval) = (now_ns() + 1_000_000, 500_000);
        let mut metronome = Metronome::start(first, interval).unwrap();
        for index in 0..10 {
            let due = metronome.tick().await.unwrap();
            assert_eq!(due, first + index * interval);
            assert!(now_ns() >= due);
        }
    }
}
