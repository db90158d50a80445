//! What a gateway is told: where it listens, whom it knows, what it allows.
//!
//! The types here are the configuration file (TOML), field by field; every field has a default,
//! and a name that is not known is an error. Where the values come from (file, environment,
//! flags) is the command line's business.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::ProjectKey;

use crate::project::{Project, Projects};

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

/// One tenant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectEntry {
    /// Its key, which is in all its session ids.
    pub key: ProjectKey,
    /// Its secrets; a token signed with any of them is good.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for ProjectEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets are never logged.
        f.debug_struct("ProjectEntry").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What clients may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections that one session may have.
    pub connections_per_session: usize,
    /// Connections that one project may have.
    pub connections_per_project: usize,
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
}

impl Default for Limits {
    fn default() -> Self {
        let relay = signalbox_relay::Settings::default();
        Self {
            connections_per_session: relay.connections_per_session,
            connections_per_project: relay.connections_per_project,
            signals_per_second: relay.signals_per_second,
            outbox_frames: relay.outbox_frames,
            outbox_bytes: relay.outbox_bytes,
            streams_per_link: 256,
            handshakes: 1024,
        }
    }
}

/// How links are treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// How long a client may take from its first packet to its hello, in milliseconds.
    pub hello_timeout_ms: u64,
    /// After how long a silence a link is taken for lost, in milliseconds.
    pub idle_timeout_ms: u32,
    /// How long the gateway waits for its clients to take their leave when it goes down, in
    /// milliseconds.
    pub drain_ms: u64,
    /// Origins (RFC 6454) whose pages may open a WebSocket; `*` means any. Clients that are no
    /// browsers send none and are let in.
    pub allowed_origins: Vec<String>,
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
            idle_timeout_ms: 30_000,
            drain_ms: 10_000,
            allowed_origins: vec!["*".into()],
            subscribers_may_send: false,
            end_when_token_expires: false,
        }
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
            signals_per_second: _,
        } = self.limits;
        least("limits.connections_per_session", connections_per_session as u64, 1);
        least("limits.connections_per_project", connections_per_project as u64, 1);
        least("limits.outbox_frames", outbox_frames as u64, 1);
        // The longest JSON form of a signal must fit, or nobody could receive it.
        least("limits.outbox_bytes", outbox_bytes as u64, 64 * 1024);
        least("limits.streams_per_link", streams_per_link as u64, 1);
        least("limits.handshakes", handshakes as u64, 1);
        least("links.hello_timeout_ms", self.links.hello_timeout_ms, 1);
        // Pings go out at a third of it; below a second they would be the load.
        least("links.idle_timeout_ms", self.links.idle_timeout_ms.into(), 1000);
        if self.tls.certificate.is_none() || self.tls.key.is_none() {
            problems.push(
                "tls.certificate and tls.key are not set: name PEM files, or try `serve --dev`"
                    .into(),
            );
        }
        for (index, project) in self.projects.iter().enumerate() {
            if project.secrets.iter().all(String::is_empty) {
                problems.push(format!("projects[{index}] ({}) has no secret", project.key));
            }
            if self.projects.iter().take(index).any(|other| other.key == project.key) {
                problems.push(format!("projects[{index}] ({}) is there twice", project.key));
            }
        }
        problems
    }

    pub(crate) fn projects(&self) -> Projects {
        let secrets = |entry: &ProjectEntry| {
            // An empty secret would let anyone sign.
            entry.secrets.iter().filter(|secret| !secret.is_empty()).cloned().collect::<Vec<_>>()
        };
        Projects::new(self.projects.iter().map(|it| Project::new(it.key.clone(), secrets(it))))
    }

    pub(crate) fn relay_settings(&self) -> signalbox_relay::Settings {
        signalbox_relay::Settings {
            connections_per_session: self.limits.connections_per_session,
            connections_per_project: self.limits.connections_per_project,
            outbox_frames: self.limits.outbox_frames,
            outbox_bytes: self.limits.outbox_bytes,
            signals_per_second: self.limits.signals_per_second,
            subscribers_may_send: self.links.subscribers_may_send,
        }
    }
}

impl Links {
    pub(crate) fn hello_timeout(&self) -> Duration {
        Duration::from_millis(self.hello_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.into())
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        let entry = |key: &str, secret: &str| ProjectEntry {
            key: key.parse().unwrap(),
            secrets: vec![secret.into()],
        };
        let config = Config {
            projects: vec![entry("1", "s"), entry("1", "")],
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
    fn secrets_are_not_in_debug_output() {
        let entry = ProjectEntry { key: "1".parse().unwrap(), secrets: vec!["hush".into()] };
        let config = Config { projects: vec![entry], ..Config::default() };
        assert!(!format!("{config:?} {:?}", config.projects()).contains("hush"));
    }
}
