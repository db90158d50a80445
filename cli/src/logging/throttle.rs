//! Rate limit of log lines, per kind of line.
//!
//! A kind is one place in the code that logs. Lines at `info` or above are for the operator, and rare unless
//! a client provokes them. Omitted lines are counted and reported. Lines at `debug` and below are not limited.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier, warn};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one kind in one window: enough to diagnose, and some 10 MB a day at most.
const LINES: u32 = 50;
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// One entry for each place in the code that has logged.
static KINDS: LazyLock<Mutex<HashMap<Identifier, LineKind>>> = LazyLock::new(Mutex::default);

/// The rate limit, as a layer of the subscriber.
pub(super) struct Throttle {
    /// Called when a line was omitted that has yet to be reported.
    pub(super) on_omission: Box<dyn Fn() + Send + Sync>,
}

impl<S: Subscriber> Layer<S> for Throttle {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || is_unlimited(metadata.target()) {
            return true;
        }
        let mut kinds = KINDS.lock();
        let kind = kinds.entry(metadata.callsite()).or_insert_with(|| LineKind::new(metadata));
        match kind.admit(Instant::now()) {
            LineAdmission::Granted => true,
            LineAdmission::Refused { is_first } => {
                drop(kinds);
                if is_first {
                    (self.on_omission)();
                }
                false
            }
        }
    }
}

/// Reports of this module, and the faults that `--chaos` injects: a test needs all of them.
fn is_unlimited(target: &str) -> bool {
    target == module_path!() || target.starts_with("signalbox::chaos")
}

/// The time of the next report.
pub(super) fn next_report() -> Option<Instant> {
    KINDS.lock().values().filter_map(|kind| kind.report_at).min()
}

/// Reports the omitted lines of each kind whose report is due by then.
pub(super) fn report(by: Instant) {
    let due = |kind: &mut LineKind| Some((kind.metadata, kind.take_report(by)?));
    let due: Vec<_> = KINDS.lock().values_mut().filter_map(due).collect();
    for (metadata, lines) in due {
        let source = format!("{}:{}", metadata.target(), metadata.line().unwrap_or_default());
        let level = metadata.level();
        warn!(lines, %level, source, "log lines omitted: too many of one kind in a minute");
    }
}

/// Lines of one kind.
struct LineKind {
    metadata: &'static Metadata<'static>,
    window_end: Instant,
    /// Logged in this window.
    lines: u32,
    /// Omitted and not reported yet, and the time of the report.
    omitted: u64,
    report_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum LineAdmission {
    Granted,
    Refused {
        /// Since the last report.
        is_first: bool,
    },
}

impl LineKind {
    fn new(metadata: &'static Metadata<'static>) -> Self {
        let window_end = Instant::now() + WINDOW;
        Self { metadata, window_end, lines: 0, omitted: 0, report_at: None }
    }

    fn admit(&mut self, now: Instant) -> LineAdmission {
        if now >= self.window_end {
            (self.window_end, self.lines) = (now + WINDOW, 0);
        }
        if self.lines < LINES {
            self.lines += 1;
            return LineAdmission::Granted;
        }
        self.omitted += 1;
        let is_first = self.report_at.is_none();
        self.report_at.get_or_insert(self.window_end);
        LineAdmission::Refused { is_first }
    }

    fn take_report(&mut self, by: Instant) -> Option<u64> {
        self.report_at.filter(|due| *due <= by)?;
        self.report_at = None;
        Some(std::mem::take(&mut self.omitted))
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
        let mut kind = LineKind::new(callsite.metadata());
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(kind.admit(start), LineAdmission::Granted);
        }
        assert_eq!(kind.admit(start), LineAdmission::Refused { is_first: true });
        assert_eq!(kind.admit(start), LineAdmission::Refused { is_first: false });
        assert_eq!(kind.take_report(start), None, "the minute is not over");
        let later = start + 2 * WINDOW;
        assert_eq!(kind.admit(later), LineAdmission::Granted);
        assert_eq!(kind.take_report(later), Some(2));
        assert_eq!(kind.take_report(later), None, "it is reported once");
    }
}
