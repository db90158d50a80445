//! A project as it is configured.

use std::fmt;

use serde::{Deserialize, Serialize};
use signalbox_protocol::ProjectKey;

use super::Problem;

/// One tenant. It has either secrets or public keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectEntry {
    /// Its key, which is in all its session ids: a number, or an application's id.
    pub key: ProjectKey,
    /// Its secrets; what is signed with any of them (HS256) is good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Its RSA public keys; what is signed with the private key of any of them (RS256) is good.
    /// Each is a file's path, or the PEM text itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<String>,
    /// What it may use, where that differs from the others.
    #[serde(default, skip_serializing_if = "OwnLimits::is_empty")]
    pub limits: OwnLimits,
    /// Where its server hears of connections, if it wants to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// What one project may use; what is not set here is as in [`Limits`](super::Limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    /// Connections in all its sessions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Sessions with a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
    /// Signals per second of all its clients and servers together; 0 means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signals_per_second: Option<u32>,
    /// How long a connection is kept when its link is lost, in milliseconds; 0 means not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_window_ms: Option<u32>,
}

impl OwnLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a project's server hears of its connections coming and going.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// An `https://` or `http://` URL that takes POST.
    pub url: String,
    /// `whsec_` and 24 to 64 bytes in base64, which sign what is posted (Standard Webhooks).
    pub secret: String,
}

impl ProjectEntry {
    /// A project that is known by a secret.
    pub fn with_secret(key: ProjectKey, secret: impl Into<String>) -> Self {
        Self {
            key,
            secrets: vec![secret.into()],
            public_keys: Vec::new(),
            limits: OwnLimits::default(),
            webhook: None,
        }
    }

    /// The same with the text of every public key in place of its path, and the files that cannot
    /// be read.
    pub(super) fn read_keys(&self) -> (Self, Vec<Problem>) {
        let (mut entry, mut problems) = (self.clone(), Vec::new());
        for (index, key) in entry.public_keys.iter_mut().enumerate() {
            if key.contains("-----BEGIN") {
                continue;
            }
            match std::fs::read(&*key) {
                // What is not text is no PEM, which is said where it is looked at.
                Ok(text) => *key = String::from_utf8_lossy(&text).into_owned(),
                Err(error) => {
                    let problem = format!("cannot be read: {key}: {error}");
                    problems.push(Problem::new(format!("public_keys.{index}"), problem));
                }
            }
        }
        (entry, problems)
    }
}

impl fmt::Debug for ProjectEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are never logged.
        f.debug_struct("ProjectEntry").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a token.
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}
