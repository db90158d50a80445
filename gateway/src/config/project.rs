//! Configuration of one project.

use std::fmt;

use signalbox_protocol::ProjectKey;

use super::{
    Problem,
    setting::{Form, UNBOUNDED, number, number_or_zero, table},
};
use crate::config::{MILLION, RESUME_WINDOW_MAX_MS, SIGNALS_MAX};

table! {
    /// A project: a tenant with its own sessions and credentials. One table for each.
    /// It has either secrets or public keys.
    #[derive(Clone, PartialEq, Eq)]
    pub struct ProjectConfig {
        /// The key that is part of all its session ids: a number, or an application's id. 1 to 64
        /// letters, digits or hyphens.
        key: ProjectKey, Form::Text("1 to 64 letters, digits or hyphens, in quotes"), example "\"100\"";
        /// Secrets for tokens and credentials signed with HS256. Each of them is accepted, so that
        /// one can be replaced without downtime.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<String>, Form::List {
            list: "a list of texts in quotes, such as [\"a long random secret\"]",
            item: "a text in quotes",
        }, example "[\"a long random secret\"]";
        /// RSA public keys for tokens and credentials signed with RS256, instead of secrets. Each is
        /// the path of a PEM file, or the PEM text itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        public_keys: Vec<String>, Form::List {
            list: "a list of files in quotes, such as [\"app.pub.pem\"]",
            item: "the path of a file, or the text of a PEM, in quotes",
        }, example "[\"app.pub.pem\"]";
        /// Limits of its own.
        #[serde(default, skip_serializing_if = "ProjectLimitOverrides::is_empty")]
        limits: ProjectLimitOverrides, Form::Table(&ProjectLimitOverrides::TABLE), example "";
        /// The webhook, if the project's server wants connection events.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        webhook: Option<WebhookConfig>, Form::Table(&WebhookConfig::TABLE), example "";
        /// The connect webhook, if the project's server decides on each connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connect_webhook: Option<ConnectWebhookConfig>, Form::Table(&ConnectWebhookConfig::TABLE),
            example "";
    }
}

table! {
    /// Limits of the project. A limit that is not set here is the general one.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ProjectLimitOverrides {
        /// Connections in all its sessions together, instead of `limits.connections_per_project`.
        #[serde(skip_serializing_if = "Option::is_none")]
        connections: Option<usize>, number("connections", 1, UNBOUNDED), example "500";
        /// Connections of one user on this gateway, instead of `limits.connections_per_user`.
        #[serde(skip_serializing_if = "Option::is_none")]
        connections_per_user: Option<usize>,
            number_or_zero("connections", 0, UNBOUNDED, "no limit"), example "5";
        /// Sessions with a connection, instead of `limits.sessions_per_project`.
        #[serde(skip_serializing_if = "Option::is_none")]
        sessions: Option<usize>, number("sessions", 1, UNBOUNDED), example "100";
        /// Signals per second of all its clients and servers together, instead of
        /// `limits.signals_per_second_per_project`.
        #[serde(skip_serializing_if = "Option::is_none")]
        signals_per_second: Option<u32>, number_or_zero("signals", 0, SIGNALS_MAX, "no limit"), example "500";
        /// Time for a client to resume its connection after its link was lost, instead of
        /// `resume.window_ms`.
        #[serde(skip_serializing_if = "Option::is_none")]
        resume_window_ms: Option<u32>,
            number_or_zero("milliseconds", 0, RESUME_WINDOW_MAX_MS, "not at all"), example "60000";
    }
}

table! {
    /// Endpoint of the project's server that receives connection events.
    #[derive(Clone, PartialEq, Eq)]
    pub struct WebhookConfig {
        /// URL that receives the events by POST.
        url: String, Form::Text("a URL in quotes that begins with https:// or http://"),
            example "\"https://app.example.com/signalbox\"";
        /// Secret that signs the events (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64.
        /// `signalbox project new --webhook URL` makes one.
        secret: String, Form::Text(
            "whsec_ and 24 to 64 bytes in base64, in quotes; signalbox project new --webhook URL makes one"
        ), example "\"whsec_…\"";
    }
}

/// Time for an answer of a project's server. The clients' own time to join is 5 seconds.
const CONNECT_TIMEOUT_MS: u64 = 2000;
const CONNECT_TIMEOUT_MAX_MS: u64 = 4000;

/// Clients that wait for a project's server.
const CONNECT_WAITING: usize = 256;

fn connect_timeout_ms() -> u64 {
    CONNECT_TIMEOUT_MS
}

fn connect_waiting() -> usize {
    CONNECT_WAITING
}

table! {
    /// Endpoint of the project's server that is asked before each new connection. Without its answer
    /// there is no connection.
    #[derive(Clone, PartialEq, Eq)]
    pub struct ConnectWebhookConfig {
        /// URL that receives the requests by POST.
        url: String, Form::Text("a URL in quotes that begins with https:// or http://"),
            example "\"https://app.example.com/signalbox/connect\"";
        /// Secret that signs the requests (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64.
        /// `signalbox project new --webhook URL` makes one.
        secret: String, Form::Text(
            "whsec_ and 24 to 64 bytes in base64, in quotes; signalbox project new --webhook URL makes one"
        ), example "\"whsec_…\"";
        /// Time for an answer, connecting included. Beyond it the client is refused, and comes back
        /// later.
        #[serde(default = "connect_timeout_ms")]
        timeout_ms: u64, number("milliseconds", 1, CONNECT_TIMEOUT_MAX_MS), example "2000";
        /// Clients that wait for an answer at the same time, and requests in flight. Beyond it more
        /// are refused, and come back later.
        #[serde(default = "connect_waiting")]
        max_waiting: usize, number("clients", 1, MILLION), example "256";
    }
}

impl ConnectWebhookConfig {
    /// A connect webhook with the defaults.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secret: secret.into(),
            timeout_ms: CONNECT_TIMEOUT_MS,
            max_waiting: CONNECT_WAITING,
        }
    }
}

impl fmt::Debug for ConnectWebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a token.
        f.debug_struct("ConnectWebhookConfig").finish_non_exhaustive()
    }
}

impl ProjectConfig {
    /// A project with one secret.
    pub fn with_secret(key: ProjectKey, secret: impl Into<String>) -> Self {
        Self {
            key,
            secrets: vec![secret.into()],
            public_keys: Vec::new(),
            limits: ProjectLimitOverrides::default(),
            webhook: None,
            connect_webhook: None,
        }
    }

    /// The same project with the text of every public key in place of its path, and the files that
    /// could not be read.
    pub(crate) fn read_keys(&self) -> (Self, Vec<Problem>) {
        let (mut project, mut problems) = (self.clone(), Vec::new());
        for (index, key) in project.public_keys.iter_mut().enumerate() {
            if key.contains("-----BEGIN") {
                continue;
            }
            match std::fs::read(&*key) {
                // A file that is not text is reported by the parser as no PEM.
                Ok(text) => *key = String::from_utf8_lossy(&text).into_owned(),
                Err(error) => {
                    let reason = format!("cannot be read: {key}: {error}");
                    problems.push(Problem::file(format!("public_keys.{index}"), reason));
                }
            }
        }
        (project, problems)
    }
}

impl ProjectLimitOverrides {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for ProjectConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are never logged.
        f.debug_struct("ProjectConfig").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a token.
        f.debug_struct("WebhookConfig").finish_non_exhaustive()
    }
}
