//! Which run of the benchmark this is: what was asked for, when, and of which build.

use serde::Serialize;
use time::OffsetDateTime;

/// Settings whose names hold one of these are named without their values.
const SECRET: [&str; 4] = ["SECRET", "TOKEN", "KEY", "PASSWORD"];

/// A run of the benchmark.
#[derive(Debug, Default, Serialize)]
pub struct Run {
    /// The benchmark's own name and version.
    pub benchmark: String,
    /// The command line, for a shell.
    pub command: String,
    /// Settings that the gateways got from the environment, for a shell; no secrets.
    pub settings: Vec<String>,
    /// When it began, in UTC (RFC 3339).
    pub started: String,
    /// The benchmark is a debug build: its figures say nothing.
    pub debug_build: bool,
}

impl Run {
    /// This one.
    pub(crate) fn this() -> Self {
        let arguments = std::env::args_os().map(|it| it.to_string_lossy().into_owned());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| setting(&name.to_string_lossy(), &value.to_string_lossy()));
        let mut settings: Vec<_> = environment.collect();
        settings.sort();
        Self {
            benchmark: concat!("signalbox-bench ", env!("CARGO_PKG_VERSION")).to_owned(),
            command: command(arguments),
            settings,
            started: rfc3339(OffsetDateTime::now_utc()),
            debug_build: cfg!(debug_assertions),
        }
    }
}

/// The arguments in one line, without the token, which opens somebody's session.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut is_token = false;
    let words = arguments.map(|word| {
        let hidden = std::mem::replace(&mut is_token, word == "--token");
        match word.strip_prefix("--token=") {
            Some(_) => "--token=…".to_owned(),
            None if hidden => "…".to_owned(),
            None => quoted(&word),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A variable of the environment, if it is a setting of a gateway: those have two underscores.
fn setting(name: &str, value: &str) -> Option<String> {
    let is_setting = name.strip_prefix("SIGNALBOX_").is_some_and(|it| it.contains("__"));
    let is_secret = SECRET.iter().any(|it| name.contains(it));
    let value = if is_secret { "…".to_owned() } else { quoted(value) };
    is_setting.then(|| format!("{name}={value}"))
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./,:=%+@".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// To the second.
fn rfc3339(at: OffsetDateTime) -> String {
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_run_again() {
        assert_eq!(quoted("--rtt=40ms"), "--rtt=40ms");
        assert_eq!(quoted("2 %"), "'2 %'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        let words = ["bench", "--target", "wss://a", "--token", "T1", "--token=T1", "--json"];
        let command = command(words.into_iter().map(str::to_owned));
        assert_eq!(command, "bench --target wss://a --token … --token=… --json");
    }

    #[test]
    fn settings_are_kept_and_secrets_are_not() {
        let idle = setting("SIGNALBOX_TIMEOUTS__IDLE_MS", "60000");
        assert_eq!(idle.as_deref(), Some("SIGNALBOX_TIMEOUTS__IDLE_MS=60000"));
        let secret = setting("SIGNALBOX_WEBHOOKS__SECRET", "hush");
        assert_eq!(secret.as_deref(), Some("SIGNALBOX_WEBHOOKS__SECRET=…"));
        assert_eq!(setting("SIGNALBOX_PROJECTS", "[]"), None);
        assert_eq!(setting("PATH__", "/bin"), None);
    }

    #[test]
    fn times_are_in_one_form() {
        let at = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
        assert_eq!(rfc3339(at), "2001-09-09T01:46:40Z");
    }
}
