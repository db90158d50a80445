//! The filter of the process's log. The program around the gateway has the log; the gateway only lets
//! operators read and change its filter.

use std::{fmt, sync::Arc};

/// Reads and changes the filter of the log. Clones are handles of the same log.
#[derive(Clone)]
pub struct LogFilter(Arc<LogFilterCalls>);

struct LogFilterCalls {
    current: Box<dyn Fn() -> String + Send + Sync>,
    set: Box<SetFilter>,
}

/// Sets the filter, or says what is wrong with it.
type SetFilter = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl LogFilter {
    /// `current` returns the filter in effect. `set` changes it, or says what is wrong with the new one.
    pub fn new(
        current: impl Fn() -> String + Send + Sync + 'static,
        set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(LogFilterCalls { current: Box::new(current), set: Box::new(set) }))
    }

    pub(crate) fn current(&self) -> String {
        (self.0.current)()
    }

    /// Changes the filter.
    ///
    /// # Errors
    /// The fault of the new filter, for the operator.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        (self.0.set)(filter)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.current()).finish()
    }
}
