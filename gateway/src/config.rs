//! What a gateway is told: where it listens, whom it knows, what it allows.
//!
//! The types here are the configuration file (TOML), field by field; every field has a default,
//! and a name that is not known is an error. Where the values come from (file, environment,
//! flags) is the command line's business.

mod entry;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::entry::{OwnLimits, ProjectEntry, Webhook};
use crate::project::Projects;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: Listen,
    /// Its certificate.
    pub tls: Tls,
    /// Its tenants. Without one nobody can join.
    pub projects: Vec<ProjectEntry>,
    /// What clients may use of it.
    pub limits: Limits,
    /// How links are treated.
    pub links: Links,
    /// How connections outlive their links.
    pub resume: Resume,
    /// What whoever runs the process wants of it.
    pub process: Process,
}

/// Where the gateway listens. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// UDP address for QUIC.
    pub quic: SocketAddr,
    /// TCP address for WebSocket and HTTP.
    pub tcp: SocketAddr,
}

/// Port on which a gateway listens unless told otherwise, UDP and TCP alike.
pub const DEFAULT_PORT: u16 = 4433;

impl Default for Listen {
    fn default() -> Self {
        let everywhere = SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT));
        Self { quic: everywhere, tcp: everywhere }
    }
}

/// The certificate, for QUIC and TCP alike. Files that change are loaded anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key.
    pub key: Option<PathBuf>,
    /// Speak plaintext on the TCP port, for a proxy in front that ends TLS. QUIC has TLS always.
    pub plaintext_tcp: bool,
}

/// What clients may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections that one session may have.
    pub connections_per_session: usize,
    /// Connections that one project may have.
    pub connections_per_project: usize,
    /// Sessions with a connection that one project may have.
    pub sessions_per_project: usize,
    /// Signals per second that one project may send, its clients and servers together; 0 means
    /// no limit.
    pub signals_per_second_per_project: u32,
    /// Signals per second that one connection may send; 0 means no limit.
    pub signals_per_second: u32,
    /// Frames that may wait for one connection before it is ended as a slow consumer.
    pub outbox_frames: usize,
    /// Bytes that may wait for one connection before it is ended as a slow consumer.
    pub outbox_bytes: usize,
    /// Streams that one QUIC client may have open towards it, one per sender; beyond that the
    /// sender that has been quiet longest loses its stream until it speaks again.
    pub streams_per_link: usize,
    /// Clients that may be in the middle of a handshake or of an HTTP request.
    pub handshakes: usize,
    /// HTTP connections of servers with a credential that may be kept open between requests.
    pub server_connections: usize,
    /// Bytes of events that may wait for one project's webhook; beyond that the oldest go.
    pub webhook_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let relay = signalbox_relay::Settings::default();
        Self {
            connections_per_session: relay.connections_per_session,
            connections_per_project: relay.project.connections,
            sessions_per_project: relay.project.sessions,
            signals_per_second_per_project: relay.project.signals_per_second,
            signals_per_second: relay.signals_per_second,
            outbox_frames: relay.outbox_frames,
            outbox_bytes: relay.outbox_bytes,
            streams_per_link: 256,
            handshakes: 1024,
            server_connections: 256,
            // Some fifteen thousand events of usual size.
            webhook_bytes: 4 * 1024 * 1024,
        }
    }
}

/// How links are treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How long a client may take from its first packet, or from its WebSocket upgrade, to its
    /// hello, in milliseconds.
    pub hello_timeout_ms: u64,
    /// How long an HTTP connection of a server may be idle between requests, in milliseconds. A
    /// load balancer must close its idle connections before that.
    pub http_keep_alive_ms: u64,
    /// After how long a silence a link is taken for lost, in milliseconds.
    pub idle_timeout_ms: u32,
    /// How long the gateway goes on as before when it is told to go down, but for saying at
    /// `/readyz` that it is not ready, so that nobody is sent to it any more; in milliseconds.
    pub drain_notice_ms: u64,
    /// How long the gateway waits for its clients to take their leave when it goes down, in
    /// milliseconds.
    pub drain_ms: u64,
    /// Over how long the ends of its links are spread then, in milliseconds; at most until a
    /// second before `drain_ms` are over. 0 ends all of them at once, unasked.
    pub drain_spread_ms: u64,
    /// Origins (RFC 6454) whose pages may open a WebSocket; `*` means any. Clients that are no
    /// browsers send none and are let in.
    pub allowed_origins: Vec<String>,
    /// Whether clients may join with tokens of the legacy form `T1==`.
    pub t1_tokens: bool,
    /// Whether subscribers may send signals.
    pub subscribers_may_send: bool,
    /// Whether a connection ends when its token expires; if not, the token's time matters only
    /// when joining, as with the vendor.
    pub end_when_token_expires: bool,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            hello_timeout_ms: 5000,
            // nginx and the usual load balancers keep a connection for 60 seconds.
            http_keep_alive_ms: 75_000,
            idle_timeout_ms: 30_000,
            drain_notice_ms: 0,
            drain_ms: 10_000,
            drain_spread_ms: 3000,
            allowed_origins: vec!["*".into()],
            t1_tokens: true,
            subscribers_may_send: false,
            end_when_token_expires: false,
        }
    }
}

/// How connections outlive their links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// How long a connection whose client asked for it is kept when its link is lost, in
    /// milliseconds; 0 means not at all.
    pub window_ms: u32,
    /// Bytes of signals and events that a session keeps for those who are away.
    pub backlog_bytes: usize,
    /// File by which connections outlive a clean restart of the gateway, if they are kept. It is for
    /// its owner alone, as whoever has it can come back in their place. Its directory must exist.
    pub state_file: Option<PathBuf>,
    /// Bytes that it may have; sessions that find no room in it end.
    pub state_bytes: usize,
}

impl Default for Resume {
    fn default() -> Self {
        Self {
            window_ms: 30_000,
            backlog_bytes: 1024 * 1024,
            state_file: None,
            state_bytes: 64 * 1024 * 1024,
        }
    }
}

/// What whoever runs the process wants of it. The program's business, not the gateway's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// File that names the process while it runs, for `signalbox drain`.
    pub pid_file: Option<PathBuf>,
    /// Threads that carry links. Waking one thread from another costs more than all else that is
    /// done for a signal, so one thread does most until it is busy all the time.
    pub threads: usize,
}

impl Default for Process {
    fn default() -> Self {
        Self { pid_file: None, threads: 1 }
    }
}

impl Config {
    /// Everything that is wrong with the values, in words that name the setting.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut least = |name: &str, value: u64, least: u64| {
            if value < least {
                problems.push(format!("{name} is {value}, but must be at least {least}"));
            }
        };
        let Limits {
            connections_per_session,
            connections_per_project,
            outbox_frames,
            outbox_bytes,
            streams_per_link,
            handshakes,
            sessions_per_project,
            // No limit, or no places, are possible choices.
            signals_per_second: _,
            signals_per_second_per_project: _,
            server_connections: _,
            webhook_bytes: _,
        } = self.limits;
        least("limits.connections_per_session", connections_per_session as u64, 1);
        least("limits.connections_per_project", connections_per_project as u64, 1);
        least("limits.sessions_per_project", sessions_per_project as u64, 1);
        least("limits.outbox_frames", outbox_frames as u64, 1);
        // The longest JSON form of a signal must fit, or nobody could receive it.
        least("limits.outbox_bytes", outbox_bytes as u64, 64 * 1024);
        least("limits.streams_per_link", streams_per_link as u64, 1);
        least("limits.handshakes", handshakes as u64, 1);
        least("links.hello_timeout_ms", self.links.hello_timeout_ms, 1);
        least("links.http_keep_alive_ms", self.links.http_keep_alive_ms, 1000);
        // Pings go out at a third of it; below a second they would be the load.
        least("links.idle_timeout_ms", self.links.idle_timeout_ms.into(), 1000);
        least("process.threads", self.process.threads as u64, 1);
        if self.tls.certificate.is_none() || self.tls.key.is_none() {
            problems.push(
                "tls.certificate and tls.key are not set: name PEM files, or try `serve --dev`"
                    .into(),
            );
        }
        if let Some(file) = &self.resume.state_file
            && !file
                .parent()
                .is_some_and(|directory| directory.as_os_str().is_empty() || directory.is_dir())
        {
            problems
                .push(format!("resume.state_file: there is no directory for {}", file.display()));
        }
        if let Err(wrong) = self.projects() {
            problems.extend(wrong);
        }
        problems
    }

    /// The projects with the text of their public keys, which are read from their files.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn read_projects(&self) -> Result<Vec<ProjectEntry>, Vec<String>> {
        let (entries, problems): (Vec<_>, Vec<_>) =
            self.projects.iter().map(ProjectEntry::read_keys).partition(Result::is_ok);
        if problems.is_empty() {
            Ok(entries.into_iter().flatten().collect())
        } else {
            Err(problems.into_iter().filter_map(Result::err).collect())
        }
    }

    pub(crate) fn projects(&self) -> Result<Projects, Vec<String>> {
        Projects::new(&self.read_projects()?, self)
    }

    /// For how long what happens is kept, with this window: a link may have been dead for the idle
    /// time before that was noticed, and then the connection may be away for the whole window.
    pub(crate) fn backlog_age(&self, window_ms: u32) -> Duration {
        if window_ms == 0 {
            return Duration::ZERO;
        }
        // A WebSocket's silence is noticed up to a third later.
        Duration::from_millis(window_ms.into()) + self.links.idle_timeout() * 4 / 3
    }

    pub(crate) fn relay_settings(&self) -> signalbox_relay::Settings {
        signalbox_relay::Settings {
            connections_per_session: self.limits.connections_per_session,
            project: signalbox_relay::ProjectLimits {
                connections: self.limits.connections_per_project,
                sessions: self.limits.sessions_per_project,
                signals_per_second: self.limits.signals_per_second_per_project,
                backlog_age: self.backlog_age(self.resume.window_ms),
            },
            outbox_frames: self.limits.outbox_frames,
            outbox_bytes: self.limits.outbox_bytes,
            signals_per_second: self.limits.signals_per_second,
            subscribers_may_send: self.links.subscribers_may_send,
            backlog_bytes: self.resume.backlog_bytes,
        }
    }
}

impl Links {
    pub(crate) fn hello_timeout(&self) -> Duration {
        Duration::from_millis(self.hello_timeout_ms)
    }

    pub(crate) fn http_keep_alive(&self) -> Duration {
        Duration::from_millis(self.http_keep_alive_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.into())
    }

    pub(crate) fn drain_notice(&self) -> Duration {
        Duration::from_millis(self.drain_notice_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) fn drain_spread(&self) -> Duration {
        Duration::from_millis(self.drain_spread_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        let entry = |key: &str, secret| ProjectEntry::with_secret(key.parse().unwrap(), secret);
        let config = Config {
            projects: vec![entry("1", "s"), entry("1", "s"), entry("2", "")],
            limits: Limits { outbox_frames: 0, ..Limits::default() },
            ..Config::default()
        };
        let problems = config.problems();
        for part in ["limits.outbox_frames", "tls.certificate", "no secret", "there twice"] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}");
        }
        assert_eq!(problems.len(), 4, "{problems:#?}");
    }

    #[test]
    fn a_state_file_has_a_directory() {
        let is_bad = |file: PathBuf| {
            let resume = Resume { state_file: Some(file), ..Resume::default() };
            let problems = Config { resume, ..Config::default() }.problems();
            problems.iter().any(|problem| problem.starts_with("resume.state_file"))
        };
        assert!(!is_bad("state".into()), "this one");
        assert!(!is_bad(std::env::temp_dir().join("state")));
        assert!(is_bad("not/there/state".into()));
        assert!(is_bad("/".into()));
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let mut entry = ProjectEntry::with_secret("1".parse().unwrap(), "hush");
        let secret = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo".to_owned();
        entry.webhook = Some(Webhook { url: "https://example.com".into(), secret });
        let config = Config { projects: vec![entry], ..Config::default() };
        let shown = format!("{config:?} {:?} {:?}", config.projects(), config.projects[0].webhook);
        assert!(!shown.contains("hush") && !shown.contains("aHVz"), "{shown}");
    }

    #[test]
    fn a_project_is_of_one_kind_and_its_parts_are_good() {
        let good = ProjectEntry::with_secret("1".parse().unwrap(), "s");
        let webhook =
            |url: &str, secret: &str| Some(Webhook { url: url.into(), secret: secret.into() });
        let secret = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";
        let none = OwnLimits { connections: Some(0), ..OwnLimits::default() };
        for (part, entry) in [
            ("one kind", ProjectEntry { public_keys: vec!["-----BEGIN".into()], ..good.clone() }),
            (
                "not the PEM",
                ProjectEntry { public_keys: vec!["-----BEGIN".into()], ..good.clone() },
            ),
            (
                "no/such/file",
                ProjectEntry { public_keys: vec!["no/such/file".into()], ..good.clone() },
            ),
            ("at least 1", ProjectEntry { limits: none, ..good.clone() }),
            ("url", ProjectEntry { webhook: webhook("ftp://example.com", secret), ..good.clone() }),
            ("url", ProjectEntry { webhook: webhook("/hook", secret), ..good.clone() }),
            (
                "password",
                ProjectEntry { webhook: webhook("http://me:pw@a", secret), ..good.clone() },
            ),
            (
                "public key",
                ProjectEntry {
                    secrets: vec![],
                    public_keys: vec!["-----BEGIN RSA PRIVATE KEY-----".into()],
                    ..good.clone()
                },
            ),
            ("secret", ProjectEntry { webhook: webhook("http://a", "hush"), ..good.clone() }),
            ("secret", ProjectEntry { webhook: webhook("http://a", "whsec_aHVzaA=="), ..good }),
        ] {
            let config = Config { projects: vec![entry], ..Config::default() };
            let problems = config.problems().join("; ");
            assert!(problems.contains(part), "{part}: {problems}");
        }
    }
}
