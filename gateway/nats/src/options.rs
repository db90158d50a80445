//! Options of the connection to NATS.

use std::{fmt, path::PathBuf};

use async_nats::ServerAddr;

/// Maximum number of servers. They are the members of one NATS cluster.
const MAX_SERVERS: usize = 16;

/// Maximum length of a namespace, in bytes.
const MAX_NAMESPACE: usize = 32;

/// Options of the connection to NATS, checked.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) namespace: String,
    pub(crate) credentials: NatsCredentials,
    pub(crate) tls: NatsTls,
}

/// The credentials of the gateway at NATS.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum NatsCredentials {
    /// None: the server asks for none, or for a client certificate.
    #[default]
    None,
    /// A user and its password.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A credentials file with a JWT and a seed, as `nsc` writes it. It is read once, at startup.
    File(PathBuf),
}

/// TLS towards NATS.
///
/// TLS is required if a URL begins with `tls://` or one of these files is set. Otherwise it is used
/// if the server demands it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// The certificates of the trusted authorities, as PEM. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// The client certificate and its key, as PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The options are invalid: the operator's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NatsOptionsError {
    /// There is no server, or there are too many.
    #[error("{0} NATS servers: set 1 to {MAX_SERVERS}, all of one NATS cluster")]
    Servers(usize),
    /// The text is not the URL of a NATS server. It is not repeated, as it may hold a password.
    #[error(
        "NATS server number {number} is not a URL of the form nats://HOST:PORT or tls://HOST:PORT"
    )]
    Url {
        /// Its position in the list, from 1.
        number: usize,
    },
    /// A URL contains credentials, and URLs appear in logs.
    #[error(
        "the URL of NATS server number {number} contains credentials: set user and password, a token or a credentials file instead"
    )]
    UrlCredentials {
        /// Its position in the list, from 1.
        number: usize,
    },
    /// The namespace cannot be part of a subject.
    #[error(
        "the namespace '{0}' is invalid: use 1 to {MAX_NAMESPACE} ASCII letters, digits, '_' or '-'"
    )]
    Namespace(String),
}

impl NatsOptions {
    /// Options without credentials, and with the trusted authorities of the system.
    ///
    /// # Errors
    /// [`NatsOptionsError`]: the operator's mistake.
    pub fn new(
        servers: &[impl AsRef<str>],
        namespace: impl Into<String>,
    ) -> Result<Self, NatsOptionsError> {
        if servers.is_empty() || servers.len() > MAX_SERVERS {
            return Err(NatsOptionsError::Servers(servers.len()));
        }
        let servers = servers.iter().zip(1..).map(|(url, number)| server(url.as_ref(), number));
        let namespace = namespace.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=MAX_NAMESPACE).contains(&namespace.len()) || !namespace.bytes().all(allowed) {
            return Err(NatsOptionsError::Namespace(namespace));
        }
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            namespace,
            credentials: NatsCredentials::None,
            tls: NatsTls::default(),
        })
    }

    /// Sets the credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: NatsCredentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Sets the files for TLS.
    #[must_use]
    pub fn tls(mut self, tls: NatsTls) -> Self {
        self.tls = tls;
        self
    }

    /// Whether the connection must use TLS.
    pub(crate) fn requires_tls(&self) -> bool {
        self.tls != NatsTls::default() || self.servers.iter().any(|it| it.scheme() == "tls")
    }

    /// The servers, for errors.
    pub(crate) fn server_list(&self) -> String {
        let servers: Vec<_> = self.servers.iter().map(ServerAddr::as_url_str).collect();
        servers.join(", ")
    }
}

fn server(text: &str, number: usize) -> Result<ServerAddr, NatsOptionsError> {
    let malformed = NatsOptionsError::Url { number };
    if !text.contains("://") {
        return Err(malformed);
    }
    let Ok(address) = text.parse::<ServerAddr>() else { return Err(malformed) };
    let url = address.clone().into_inner();
    if address.username().is_some() || address.password().is_some() {
        return Err(NatsOptionsError::UrlCredentials { number });
    }
    let is_plain = matches!(url.path(), "" | "/") && url.query().or(url.fragment()).is_none();
    let is_known = matches!(address.scheme(), "nats" | "tls");
    if is_plain && is_known && !address.host().is_empty() { Ok(address) } else { Err(malformed) }
}

impl fmt::Debug for NatsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(servers: &[&str], namespace: &str) -> NatsOptionsError {
        NatsOptions::new(servers, namespace).unwrap_err()
    }

    #[test]
    fn servers_are_urls_of_nats() {
        let servers = ["nats://a", "tls://[::1]:4222", "nats://10.0.0.1:4223/"];
        let options = NatsOptions::new(&servers, "ns_-1").unwrap();
        assert!(options.requires_tls());
        assert!(!NatsOptions::new(&["nats://a"], "ns").unwrap().requires_tls());
        assert_eq!(error(&[], "ns"), NatsOptionsError::Servers(0));
        assert_eq!(error(&["nats://a"; 17], "ns"), NatsOptionsError::Servers(17));
        NatsOptions::new(&["nats://a"; 16], "ns").unwrap();
        for url in [
            "",
            "a",
            "a:4222",
            "http://a",
            "ws://a",
            "nats://",
            "nats://a:x",
            "nats://a:99999",
            "nats://a/b",
            "nats://a?b",
            "nats://a#b",
            "nats:// a",
        ] {
            assert_eq!(
                error(&["nats://a", url], "ns"),
                NatsOptionsError::Url { number: 2 },
                "{url}"
            );
        }
    }

    #[test]
    fn namespaces_are_one_token_of_a_subject() {
        let long = "n".repeat(33);
        for namespace in ["", "a.b", "*", ">", "a b", "ä", "a\n", &long] {
            assert_eq!(
                error(&["nats://a"], namespace),
                NatsOptionsError::Namespace(namespace.to_owned())
            );
        }
        NatsOptions::new(&["nats://a"], "n".repeat(32)).unwrap();
    }

    #[test]
    fn secrets_are_neither_in_errors_nor_in_debug_output() {
        for url in ["nats://user:secret@a", "nats://secret@a"] {
            let error = error(&[url], "ns");
            assert_eq!(error, NatsOptionsError::UrlCredentials { number: 1 });
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let malformed = error(&["nats://user:secret@a:x"], "ns");
        assert!(!format!("{malformed} {malformed:?}").contains("secret"));
        let options = NatsOptions::new(&["nats://a"], "ns").unwrap();
        let (user, password) = ("gateway".to_owned(), "secret".to_owned());
        for credentials in
            [NatsCredentials::Password { user, password }, NatsCredentials::Token("secret".into())]
        {
            let debug = format!("{:?}", options.clone().credentials(credentials));
            assert!(!debug.contains("secret"), "{debug}");
        }
    }
}
