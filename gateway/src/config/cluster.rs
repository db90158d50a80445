//! Configuration of a cluster: several gateways that serve the same sessions over NATS.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use signalbox_nats::{NatsCredentials, NatsOptions, NatsOptionsError, NatsTls};

use super::{
    Problem,
    setting::{FILE, Form, section},
};

section! {
    /// A cluster of gateways that serve the same sessions, over NATS. Without servers the gateway is
    /// alone. Each gateway needs a name of its own, and the same projects.
    pub struct ClusterConfig {
        /// NATS servers of one NATS cluster, at most 16. With tls:// the connection must use TLS.
        servers: Vec<String> = Vec::new(), Form::List {
            list: "a list of URLs in quotes, such as [\"nats://nats-1:4222\", \"nats://nats-2:4222\"]",
            item: "a URL in quotes, such as \"nats://nats-1:4222\"",
        };
        /// First part of all NATS subjects: 1 to 32 letters, digits, '_' or '-'. Gateways with another
        /// namespace are another cluster.
        namespace: String = "signalbox".into(),
            Form::Text("1 to 32 letters, digits, '_' or '-', in quotes");
        /// User at NATS, with a password.
        user: Option<String> = None, Form::Text("a text in quotes"), example "\"signalbox\"";
        /// Its password.
        password: Option<SecretText> = None, Form::Text("a text in quotes"), example "\"…\"";
        /// Token for NATS, instead of a user.
        token: Option<SecretText> = None, Form::Text("a text in quotes"), example "\"…\"";
        /// Credentials file for NATS as nsc writes it, instead of a user.
        credentials_file: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/nats.creds\"";
        /// PEM file with the authorities that NATS's certificate may be from; without it those of the
        /// system.
        ca: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/nats-ca.pem\"";
        /// PEM file with the gateway's client certificate for NATS.
        certificate: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/nats.crt\"";
        /// PEM file with its private key.
        key: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/nats.key\"";
        /// Keep /readyz at 200 while NATS cannot be reached. If false, it returns 503 then, if sessions
        /// are shared with other gateways.
        ready_without_bus: bool = false, Form::Boolean;
    }
}

/// A secret in the configuration, which appears in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl SecretText {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl ClusterConfig {
    /// The options of the connection to NATS; none if the gateway is alone.
    pub(crate) fn nats_options(&self) -> Result<Option<NatsOptions>, Vec<Problem>> {
        if self.servers.is_empty() {
            return Ok(None);
        }
        let options = NatsOptions::new(&self.servers, &self.namespace).map_err(problem);
        match (options, self.credentials(), self.tls()) {
            (Ok(options), Ok(credentials), Ok(tls)) => {
                Ok(Some(options.credentials(credentials).tls(tls)))
            }
            (options, credentials, tls) => {
                let problems = [options.err(), credentials.err(), tls.err()];
                Err(problems.into_iter().flatten().collect())
            }
        }
    }

    fn credentials(&self) -> Result<NatsCredentials, Problem> {
        let Self { user, password, token, credentials_file, .. } = self;
        match (user.clone(), password.clone(), token.clone(), credentials_file.clone()) {
            (None, None, None, None) => Ok(NatsCredentials::None),
            (Some(user), Some(SecretText(password)), None, None) => {
                Ok(NatsCredentials::Password { user, password })
            }
            (None, None, Some(SecretText(token)), None) => Ok(NatsCredentials::Token(token)),
            (None, None, None, Some(file)) => Ok(NatsCredentials::File(file)),
            (Some(_), None, ..) | (None, Some(_), ..) => {
                Err(Problem::invalid("user", "and password must be set together"))
            }
            _ => Err(Problem::invalid(
                "user",
                "is one of several credentials: set user and password, token, or credentials_file",
            )),
        }
    }

    fn tls(&self) -> Result<NatsTls, Problem> {
        let client = match (self.certificate.clone(), self.key.clone()) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err(Problem::invalid("certificate", "and key must be set together")),
        };
        Ok(NatsTls { ca: self.ca.clone(), client })
    }
}

fn problem(error: NatsOptionsError) -> Problem {
    let setting = match &error {
        NatsOptionsError::Servers(_) => "servers".to_owned(),
        NatsOptionsError::Url { number } | NatsOptionsError::UrlCredentials { number } => {
            format!("servers.{}", number - 1)
        }
        NatsOptionsError::Namespace(_) => "namespace".to_owned(),
    };
    Problem::invalid(setting, format!("cannot be used: {error}"))
}
