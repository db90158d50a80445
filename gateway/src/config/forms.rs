//! The accepted form of every setting, in words for people, with unit and bounds.

use std::fmt;

use super::{Config, OwnLimits};

/// What a setting accepts: what follows "must be". None if there is no such setting. Items of a list
/// are named by their position, as in `projects.0.key`.
pub fn accepted(setting: &str) -> Option<String> {
    let is_position = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let name: Vec<_> =
        setting.split('.').map(|part| if is_position(part) { "*" } else { part }).collect();
    let name = name.join(".");
    if let Some(number) = NUMBERS.iter().find(|number| number.setting == name) {
        return Some(number.to_string());
    }
    if let Some(number) = PROJECT_NUMBERS.iter().find(|number| number.setting == name) {
        return Some(number.to_string());
    }
    WORDS.iter().find(|(setting, _)| *setting == name).map(|(_, form)| (*form).to_owned())
}

/// A setting that is a number, and its bounds.
pub(super) struct Number<G> {
    pub(super) setting: &'static str,
    /// What is counted, if the name does not say it.
    unit: &'static str,
    least: u64,
    most: u64,
    /// What zero means, if it is no number like the others.
    zero: &'static str,
    pub(super) value: G,
}

impl<G> Number<G> {
    pub(super) fn takes(&self, value: u64) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

impl<G> fmt::Display for Number<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")?;
        if !self.unit.is_empty() {
            write!(f, " of {}", self.unit)?;
        }
        match self.most {
            ANY if self.least == 0 => {}
            ANY => write!(f, ", at least {}", self.least)?,
            most => write!(f, " from {} to {most}", self.least)?,
        }
        if !self.zero.is_empty() {
            write!(f, "; 0 means {}", self.zero)?;
        }
        Ok(())
    }
}

const ANY: u64 = u64::MAX;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Far beyond what one process can serve, and far below what its counters can hold.
const MILLION: u64 = 1_000_000;

type OfConfig = fn(&Config) -> u64;
type OfProject = fn(&OwnLimits) -> Option<u64>;

const fn number<G>(
    setting: &'static str,
    unit: &'static str,
    (least, most): (u64, u64),
    zero: &'static str,
    value: G,
) -> Number<G> {
    Number { setting, unit, least, most, zero, value }
}

pub(super) const NUMBERS: &[Number<OfConfig>] = &[
    number("limits.connections_per_session", "", (1, ANY), "", |it| {
        it.limits.connections_per_session as u64
    }),
    number("limits.connections_per_project", "", (1, ANY), "", |it| {
        it.limits.connections_per_project as u64
    }),
    number("limits.sessions_per_project", "", (1, ANY), "", |it| {
        it.limits.sessions_per_project as u64
    }),
    number("limits.signals_per_second", "signals", (0, u32::MAX as u64), "no limit", |it| {
        it.limits.signals_per_second.into()
    }),
    number(
        "limits.signals_per_second_per_project",
        "signals",
        (0, u32::MAX as u64),
        "no limit",
        |it| it.limits.signals_per_second_per_project.into(),
    ),
    number("limits.outbox_frames", "frames", (1, ANY), "", |it| it.limits.outbox_frames as u64),
    // The longest JSON form of a signal must fit, or nobody could receive it.
    number("limits.outbox_bytes", "bytes", (64 * 1024, ANY), "", |it| {
        it.limits.outbox_bytes as u64
    }),
    number("limits.streams_per_link", "streams", (1, ANY), "", |it| {
        it.limits.streams_per_link as u64
    }),
    number("limits.handshakes", "clients", (1, MILLION), "", |it| it.limits.handshakes as u64),
    number("limits.server_connections", "connections", (0, MILLION), "", |it| {
        it.limits.server_connections as u64
    }),
    number("limits.webhook_bytes", "bytes", (0, ANY), "", |it| it.limits.webhook_bytes as u64),
    number("links.hello_timeout_ms", "milliseconds", (1, HOUR), "", |it| it.links.hello_timeout_ms),
    number("links.http_keep_alive_ms", "milliseconds", (1000, DAY), "", |it| {
        it.links.http_keep_alive_ms
    }),
    // Pings go out at a third of it; below a second they would be the load.
    number("links.idle_timeout_ms", "milliseconds", (1000, DAY), "", |it| {
        it.links.idle_timeout_ms.into()
    }),
    number("links.drain_notice_ms", "milliseconds", (0, DAY), "", |it| it.links.drain_notice_ms),
    number("links.drain_ms", "milliseconds", (0, DAY), "", |it| it.links.drain_ms),
    number("links.drain_spread_ms", "milliseconds", (0, DAY), "all links end at once", |it| {
        it.links.drain_spread_ms
    }),
    number("resume.window_ms", "milliseconds", (0, 7 * DAY), "not at all", |it| {
        it.resume.window_ms.into()
    }),
    number("resume.backlog_bytes", "bytes", (0, ANY), "", |it| it.resume.backlog_bytes as u64),
    number("resume.state_bytes", "bytes", (0, ANY), "", |it| it.resume.state_bytes as u64),
    number("process.threads", "threads", (1, 1024), "", |it| it.process.threads as u64),
];

/// What one project has of its own.
pub(super) const PROJECT_NUMBERS: &[Number<OfProject>] = &[
    number("projects.*.limits.connections", "connections", (1, ANY), "", |it| {
        it.connections.map(|it| it as u64)
    }),
    number("projects.*.limits.sessions", "sessions", (1, ANY), "", |it| {
        it.sessions.map(|it| it as u64)
    }),
    number(
        "projects.*.limits.signals_per_second",
        "signals",
        (0, u32::MAX as u64),
        "no limit",
        |it| it.signals_per_second.map(u64::from),
    ),
    number(
        "projects.*.limits.resume_window_ms",
        "milliseconds",
        (0, 7 * DAY),
        "not at all",
        |it| it.resume_window_ms.map(u64::from),
    ),
];

const FILE: &str = "the path of a file, in quotes";
const SWITCH: &str = "true or false, without quotes";
const ADDRESS: &str =
    "an IP address and a port, in quotes, such as \"0.0.0.0:4433\" or \"[::]:4433\"";

const WORDS: &[(&str, &str)] = &[
    ("name", "1 to 64 letters, digits, '.', '_' or '-', in quotes"),
    ("listen", "a table that begins with [listen]"),
    ("listen.quic", ADDRESS),
    ("listen.tcp", ADDRESS),
    ("tls", "a table that begins with [tls]"),
    ("tls.certificate", FILE),
    ("tls.key", FILE),
    ("tls.plaintext_tcp", SWITCH),
    ("limits", "a table that begins with [limits]"),
    ("links", "a table that begins with [links]"),
    (
        "links.allowed_origins",
        "a list of origins in quotes, such as [\"https://app.example.com\"], or [\"*\"] for all",
    ),
    ("links.allowed_origins.*", ORIGIN),
    ("links.t1_tokens", SWITCH),
    ("links.subscribers_may_send", SWITCH),
    ("links.end_when_token_expires", SWITCH),
    ("resume", "a table that begins with [resume]"),
    ("resume.state_file", FILE),
    ("process", "a table that begins with [process]"),
    ("process.pid_file", FILE),
    ("projects", "a list of tables that each begin with [[projects]]"),
    ("projects.*", "a table that begins with [[projects]]"),
    ("projects.*.key", "1 to 64 letters, digits or hyphens, in quotes"),
    ("projects.*.secrets", "a list of texts in quotes, such as [\"a long random secret\"]"),
    ("projects.*.secrets.*", "a text in quotes"),
    ("projects.*.public_keys", "a list of files in quotes, such as [\"app.pub.pem\"]"),
    ("projects.*.public_keys.*", "the path of a file, or the text of a PEM, in quotes"),
    ("projects.*.limits", "a table that begins with [projects.limits]"),
    ("projects.*.webhook", "a table with url and secret that begins with [projects.webhook]"),
    ("projects.*.webhook.url", "a URL in quotes that begins with https:// or http://"),
    (
        "projects.*.webhook.secret",
        "whsec_ and 24 to 64 bytes in base64, in quotes; signalbox project new --webhook URL makes one",
    ),
];

pub(super) const ORIGIN: &str = "an origin as browsers send it, in quotes: scheme, host and no path, such as \
     \"https://app.example.com\" or \"http://localhost:3000\"";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{ProjectEntry, Webhook};

    /// The names of all settings that have a value.
    fn names(path: &str, value: &serde_json::Value, found: &mut BTreeSet<String>) {
        if !path.is_empty() {
            found.insert(path.to_owned());
        }
        let join = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
        };
        match value {
            serde_json::Value::Object(entries) => {
                entries.iter().for_each(|(name, value)| names(&join(name), value, found));
            }
            serde_json::Value::Array(items) => {
                items.iter().for_each(|item| names(&join("0"), item, found));
            }
            _ => {}
        }
    }

    #[test]
    fn every_setting_has_a_form_and_every_form_a_setting() {
        let mut config = Config::default();
        config.projects.push(ProjectEntry {
            public_keys: vec!["key.pem".into()],
            limits: OwnLimits {
                connections: Some(1),
                sessions: Some(1),
                signals_per_second: Some(1),
                resume_window_ms: Some(1),
            },
            webhook: Some(Webhook { url: "x".into(), secret: "x".into() }),
            ..ProjectEntry::with_secret("1".parse().unwrap(), "secret")
        });
        let mut found = BTreeSet::new();
        names("", &serde_json::to_value(&config).unwrap(), &mut found);
        let without: Vec<_> = found.iter().filter(|name| accepted(name).is_none()).collect();
        assert_eq!(without, Vec::<&String>::new());
        let known = NUMBERS.iter().map(|it| it.setting);
        let known = known.chain(PROJECT_NUMBERS.iter().map(|it| it.setting));
        let known = known.chain(WORDS.iter().map(|(setting, _)| *setting));
        for setting in known {
            assert!(found.contains(&setting.replace('*', "0")), "{setting} is no setting");
        }
        assert_eq!(accepted("links.soon"), None);
    }

    #[test]
    fn the_defaults_are_within_their_bounds() {
        for number in NUMBERS {
            assert!(number.takes((number.value)(&Config::default())), "{}", number.setting);
        }
    }
}
