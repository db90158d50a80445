//! Rate limit of log lines, for each kind of line.
//!
//! A kind is one place in the code that logs. What is logged at `info` or above is meant for an operator, and is
//! rare; if it comes often, somebody makes it come. What is left out is counted and reported. At `debug` and
//! below nothing is left out.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier, warn};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::Queue;

/// Lines of one kind in one window: plenty to see what happens, and at most some 10 MB a day.
const LINES: u32 = 50;
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// One entry for each place in the code that has logged.
static KINDS: LazyLock<Mutex<HashMap<Identifier, Kind>>> = LazyLock::new(Mutex::default);

/// The limit, as a part of the subscriber.
pub(super) struct Throttle {
    /// Its thread reports what was left out.
    pub(super) queue: &'static Queue,
}

impl<S: Subscriber> Layer<S> for Throttle {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || is_unlimited(metadata.target()) {
            return true;
        }
        let mut kinds = KINDS.lock();
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| Kind::new(metadata));
        match kind.admit(Instant::now()) {
            Admission::Granted => true,
            Admission::Refused { is_first } => {
                drop(kinds);
                if is_first {
                    self.queue.wake();
                }
                false
            }
        }
    }
}

/// Its own reports, and what `--chaos` does on purpose: a test wants to see each act.
fn is_unlimited(target: &str) -> bool {
    target == module_path!() || target.starts_with("signalbox::chaos")
}

/// When the next report is due.
pub(super) fn next_report() -> Option<Instant> {
    KINDS.lock().values().filter_map(|kind| kind.report_at).min()
}

/// Reports what has been left out, where that is due by then.
pub(super) fn report(by: Instant) {
    let due = |kind: &mut Kind| Some((kind.metadata, kind.take_report(by)?));
    let due: Vec<_> = KINDS.lock().values_mut().filter_map(due).collect();
    for (metadata, lines) in due {
        let source = format!("{}:{}", metadata.target(), metadata.line().unwrap_or_default());
        let level = metadata.level();
        warn!(lines, %level, source, "log lines left out: too many of one kind in a minute");
    }
}

/// Lines of one kind.
struct Kind {
    metadata: &'static Metadata<'static>,
    window_end: Instant,
    /// Logged in this window.
    lines: u32,
    /// Left out and not reported yet, and when that is due.
    left_out: u64,
    report_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Granted,
    Refused {
        /// Since the last report.
        is_first: bool,
    },
}

impl Kind {
    fn new(metadata: &'static Metadata<'static>) -> Self {
        let window_end = Instant::now() + WINDOW;
        Self { metadata, window_end, lines: 0, left_out: 0, report_at: None }
    }

    fn admit(&mut self, now: Instant) -> Admission {
        if now >= self.window_end {
            (self.window_end, self.lines) = (now + WINDOW, 0);
        }
        if self.lines < LINES {
            self.lines += 1;
            return Admission::Granted;
        }
        self.left_out += 1;
        let is_first = self.report_at.is_none();
        self.report_at.get_or_insert(self.window_end);
        Admission::Refused { is_first }
    }

    fn take_report(&mut self, by: Instant) -> Option<u64> {
        self.report_at.filter(|due| *due <= by)?;
        self.report_at = None;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's panic is its answer")]

    use tracing::callsite::Callsite as _;

    use super::*;

    #[test]
    fn the_first_lines_of_a_minute_are_logged_and_the_rest_is_counted() {
        let callsite = tracing::callsite! { name: "test", kind: tracing::metadata::Kind::EVENT, fields: message };
        let mut kind = Kind::new(callsite.metadata());
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(kind.admit(start), Admission::Granted);
        }
        assert_eq!(kind.admit(start), Admission::Refused { is_first: true });
        assert_eq!(kind.admit(start), Admission::Refused { is_first: false });
        assert_eq!(kind.take_report(start), None, "the minute is not over");
        let later = start + 2 * WINDOW;
        assert_eq!(kind.admit(later), Admission::Granted);
        assert_eq!(kind.take_report(later), Some(2));
        assert_eq!(kind.take_report(later), None, "it is reported once");
    }
}
