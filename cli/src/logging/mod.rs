//! Structured logging: filter, format and output.
//!
//! ```text
//! event ─ filter (level by target) ─ throttle (lines a minute) ─ format ─┬─ queue ─ thread ─ standard error   serve
//!                                                                        └─ standard error                    other commands
//! ```
//!
//! A gateway must not depend on the reader of its log. So logging never blocks, never fails and never ends
//! a task: lines go into a bounded queue, and a thread writes them to standard error ([`queue`]).

mod fields;
mod queue;
mod throttle;

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    panic::PanicHookInfo,
    sync::OnceLock,
    time::Duration,
};

use anyhow::bail;
use signalbox_gateway::LogFilter;
use tracing::{Level, Metadata, error, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::{Layered, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

use queue::LogQueue;
use throttle::Throttle;

/// Environment variable with the levels.
pub(crate) const VARIABLE: &str = "SIGNALBOX_LOG";

/// Default levels of libraries. Any client can make rustls and quinn warn, for example by a damaged
/// handshake; errors are faults of this process.
const LIBRARIES: &str = "error,quinn_udp=warn";

/// Time for writing the queued lines at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The queue of this process, if logging was started with one.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Starts logging for a client command: directly to standard error.
pub(crate) fn start(default: LevelFilter) -> anyhow::Result<()> {
    install(filter(default)?, None, false, io::stderr);
    Ok(())
}

/// Starts logging for a gateway: through the queue, and including panics. Returns a handle by which the
/// filter is changed while the process runs.
pub(crate) fn start_queued(default: LevelFilter, json: bool) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(filter(default)?);
    let format = if json { queue::LogFormat::Json } else { queue::LogFormat::Text };
    let queue = QUEUE.get_or_init(|| LogQueue::new(format));
    queue.start_writing(io::stderr())?;
    install(filter, Some(Throttle { on_omission: Box::new(|| queue.wake()) }), json, move || queue);
    std::panic::set_hook(Box::new(log_panic));
    let shown = handle.clone();
    let current = move || shown.with_current(ToString::to_string).unwrap_or_default();
    let set = move |wanted: &str| {
        let directives = directives("the request", wanted, default);
        let filter = directives.and_then(|it| Ok(EnvFilter::try_new(it)?));
        let changed = filter.and_then(|filter| Ok(handle.reload(filter)?));
        changed.map_err(|error| format!("{error:#}"))?;
        limit_records();
        Ok(())
    };
    Ok(LogFilter::new(current, set))
}

/// Checks a filter of the log. The error says what to use instead.
pub(crate) fn check_filter(wanted: &str) -> Result<(), String> {
    let directives = directives("it", wanted, LevelFilter::INFO);
    let filter = directives.and_then(|it| Ok(EnvFilter::try_new(it)?));
    filter.map(|_| ()).map_err(|error| format!("{error:#}"))
}

/// Sets the level of the records of libraries that use the crate `log`, as `init` has done at first.
fn limit_records() {
    log::set_max_level(match LevelFilter::current() {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        LevelFilter::TRACE => log::LevelFilter::Trace,
    });
}

/// Writes a line that is not an event to standard error, in order with the log. Failures are ignored, as
/// there is nowhere to report them.
pub(crate) fn write_line(line: impl Display) {
    match QUEUE.get() {
        Some(queue) => queue.push(format!("{line}\n").as_bytes()),
        None => {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// On drop waits until the log has been written, for a limited time, so that a stopped reader cannot keep
/// the process from ending.
pub(crate) struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.close(FLUSH_TIMEOUT);
        }
    }
}

/// The subscriber below the filter.
type WithLines = Layered<Box<dyn Layer<Registry> + Send + Sync>, Registry>;

fn install<F, W>(filter: F, throttle: Option<Throttle>, json: bool, writer: W)
where
    F: Layer<WithLines> + Send + Sync,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // By default the formatter reports a failed write with `eprintln!`, which panics if it fails, too.
    let lines = fmt::layer()
        .with_writer(writer)
        .log_internal_errors(false)
        .with_ansi(!json && io::stderr().is_terminal());
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_target(false).fmt_fields(fields::escaped()).boxed()
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .with(filter_fn(is_free_of_contents))
        .with(throttle)
        .init();
}

/// Below `info` the WebSocket library logs whole messages, including tokens and signals.
fn is_free_of_contents(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_websocket = target.starts_with("tungstenite") || target.starts_with("tokio_tungstenite");
    !is_websocket || *metadata.level() <= Level::INFO
}

fn filter(default: LevelFilter) -> anyhow::Result<EnvFilter> {
    let wanted = std::env::var_os(VARIABLE).unwrap_or_default();
    let Some(wanted) = wanted.to_str() else {
        bail!("{VARIABLE} is not UTF-8; set it to a level such as info or debug");
    };
    Ok(EnvFilter::try_new(directives(VARIABLE, wanted, default)?)?)
}

/// Directives for the filter. A level without a target applies to Signalbox. `source` is where an error
/// looks for the mistake.
fn directives(source: &str, wanted: &str, default: LevelFilter) -> anyhow::Result<String> {
    let mut level = default;
    let mut by_target = String::new();
    for directive in wanted.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        if let Ok(wanted) = directive.parse() {
            level = wanted;
        } else if directive.contains('=') && EnvFilter::try_new(directive).is_ok() {
            by_target.extend([",", directive]);
        } else {
            bail!(
                "{source} has {directive:?}; use off, error, warn, info, debug or trace, \
                 or TARGET=LEVEL such as signalbox_gateway=debug"
            );
        }
    }
    let libraries = if level == LevelFilter::OFF { "off" } else { LIBRARIES };
    Ok(format!("{libraries},signalbox={level}{by_target}"))
}

/// Logs a panic. (The default hook would block on standard error.)
fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let cause = info.payload_as_str().unwrap_or("unknown");
    let location = info.location().map(tracing::field::display);
    error!(thread = thread.name(), location, cause, "panicked");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's panic is its answer")]

    use tracing::enabled;

    use super::*;

    #[test]
    fn a_level_applies_to_signalbox_and_libraries_are_named() {
        for (wanted, expected) in [
            ("", "error,quinn_udp=warn,signalbox=info"),
            (" Debug ", "error,quinn_udp=warn,signalbox=debug"),
            ("off", "off,signalbox=off"),
            (
                "signalbox_gateway=trace, rustls=warn",
                "error,quinn_udp=warn,signalbox=info,signalbox_gateway=trace,rustls=warn",
            ),
            ("warn,,rustls=debug", "error,quinn_udp=warn,signalbox=warn,rustls=debug"),
        ] {
            assert_eq!(
                directives(VARIABLE, wanted, LevelFilter::INFO).unwrap(),
                expected,
                "{wanted:?}"
            );
            EnvFilter::try_new(expected).unwrap();
        }
    }

    #[test]
    fn library_warnings_that_clients_cause_are_logged_on_request_only() {
        let is_logged = |wanted, log: fn() -> bool| {
            let filter =
                EnvFilter::try_new(directives(VARIABLE, wanted, LevelFilter::INFO).unwrap());
            let subscriber = tracing_subscriber::registry()
                .with(filter.unwrap())
                .with(filter_fn(is_free_of_contents));
            tracing::subscriber::with_default(subscriber, log)
        };
        let quinn = || enabled!(target: "quinn_proto::bloom_token_log", Level::WARN);
        let rustls = || enabled!(target: "rustls::msgs::handshake", Level::WARN);
        for wanted in ["", "info", "debug", "trace"] {
            assert!(!is_logged(wanted, quinn) && !is_logged(wanted, rustls), "{wanted:?}");
        }
        assert!(is_logged("quinn_proto=warn", quinn) && is_logged("debug,rustls=warn", rustls));
        assert!(is_logged("", || enabled!(target: "rustls::common_state", Level::ERROR)));
        assert!(is_logged("", || enabled!(target: "signalbox_gateway::drain", Level::INFO)));
        assert!(!is_logged("off", || enabled!(target: "rustls::common_state", Level::ERROR)));
        // Never, as it logs messages.
        for wanted in ["tungstenite=trace", "tungstenite::protocol=trace", "[{message}]=trace"] {
            assert!(!is_logged(wanted, || enabled!(target: "tungstenite::protocol", Level::TRACE)));
        }
    }

    #[test]
    fn a_typing_mistake_does_not_disable_the_log() {
        for wrong in ["inof", "info,debgu", "signalbox", "signalbox_gateway=inof"] {
            let error = directives(VARIABLE, wrong, LevelFilter::INFO).unwrap_err().to_string();
            assert!(error.starts_with("SIGNALBOX_LOG has \""), "{error}");
        }
    }
}
