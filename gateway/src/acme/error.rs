//! Failures of ACME, by whose fault they are.

use std::{error::Error as StdError, io, path::PathBuf};

use instant_acme::{Error as ProtocolError, Problem};
use signalbox_certs::{ChallengeError, LoadError};

/// Prefix of the types of problems (RFC 8555 §6.7).
const PROBLEM: &str = "urn:ietf:params:acme:error:";

/// The error for a certificate that was not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    /// The directory could not be reached.
    #[error("the directory does not answer: check tls.acme.directory, the network and tls.acme.ca")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The authority has failed, or what answers is not one.
    #[error("the answer of the directory is not that of a working authority")]
    Authority(#[source] ProtocolError),
    /// The authority has a fault of its own.
    #[error("the certificate authority has failed: {0}")]
    Failed(String),
    /// The order took too long.
    #[error("the certificate authority did not finish the order in time")]
    Timeout,
    /// The authority has refused the account or the order.
    #[error("the certificate authority refuses: {problem}; {hint}")]
    Refused {
        /// What the authority says.
        problem: String,
        /// The next step.
        hint: &'static str,
    },
    /// The authority could not validate a domain.
    #[error("{domain} was not validated: {problem}; port 443 of it must lead to listen.tcp")]
    Validation {
        /// The domain.
        domain: String,
        /// What the authority says.
        problem: String,
    },
    /// The authority does not offer `tls-alpn-01`.
    #[error("the certificate authority does not validate by tls-alpn-01: choose another directory")]
    NoChallenge,
    /// The roots for the directory cannot be used.
    #[error("tls.acme.ca cannot be used: {path}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A file cannot be read or written.
    #[error("cannot keep {path}: may this user write to tls.acme.storage, and is there space?")]
    Storage {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file of the account is damaged.
    #[error("{path} is damaged: remove it to register another account")]
    DamagedAccount {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The issued certificate cannot be used.
    #[error("the issued certificate cannot be used")]
    Certificate(#[source] LoadError),
    /// The certificate of a challenge could not be made.
    #[error("the challenge cannot be answered")]
    Challenge(#[from] ChallengeError),
}

/// Who can repair a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AcmeFault {
    Network,
    Authority,
    Configuration,
    Storage,
    Gateway,
}

impl AcmeFault {
    /// The name in logs.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Authority => "certificate authority",
            Self::Configuration => "configuration",
            Self::Storage => "storage",
            Self::Gateway => "gateway",
        }
    }
}

impl AcmeError {
    /// The failure of a request, as the library reports it.
    pub(super) fn of_request(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Api(problem) => Self::of_problem(&problem),
            ProtocolError::Timeout(_) => Self::Timeout,
            // From the HTTP client.
            ProtocolError::Other(source) => Self::Unreachable(source),
            error => Self::Authority(error),
        }
    }

    fn of_problem(problem: &Problem) -> Self {
        let text = problem_text(problem);
        let hint = match problem_type(problem) {
            "serverInternal" | "badNonce" => return Self::Failed(text),
            "rateLimited" => "there were too many orders or failures; it is tried again later",
            "rejectedIdentifier" | "unsupportedIdentifier" | "caa" | "dns" => {
                "correct tls.acme.domains, or the DNS of the domain"
            }
            "invalidContact" | "unsupportedContact" => "correct tls.acme.contact",
            "externalAccountRequired" => {
                "it requires an account from elsewhere, which is not supported: choose another \
                 directory"
            }
            "unauthorized" => {
                "the account may have been deactivated: remove account.json in tls.acme.storage to \
                 register another"
            }
            "userActionRequired" => "read its terms, and what it says",
            _ => "read what it says",
        };
        Self::Refused { problem: text, hint }
    }

    /// The failure of a domain's validation.
    pub(super) fn of_validation(domain: String, problem: Option<&Problem>) -> Self {
        let problem = problem.map_or_else(|| "the authority gives no reason".into(), problem_text);
        Self::Validation { domain, problem }
    }

    pub(super) fn fault(&self) -> AcmeFault {
        match self {
            Self::Unreachable(_) | Self::Validation { .. } => AcmeFault::Network,
            Self::Authority(_) | Self::Failed(_) | Self::Timeout => AcmeFault::Authority,
            Self::Refused { .. } | Self::NoChallenge | Self::Roots { .. } => {
                AcmeFault::Configuration
            }
            Self::Storage { .. } | Self::DamagedAccount { .. } | Self::Certificate(_) => {
                AcmeFault::Storage
            }
            Self::Challenge(_) => AcmeFault::Gateway,
        }
    }

    /// Whether the authority counts the attempt, so that the next one must be later.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Validation { .. } | Self::NoChallenge)
    }
}

/// Whether the authority does not know the account, as after it has lost its accounts.
pub(super) fn is_unknown_account(error: &ProtocolError) -> bool {
    matches!(error, ProtocolError::Api(problem) if problem_type(problem) == "accountDoesNotExist")
}

/// The type without the prefix.
fn problem_type(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|it| it.strip_prefix(PROBLEM)).unwrap_or_default()
}

/// What the authority says, with the type.
fn problem_text(problem: &Problem) -> String {
    let subproblems = problem.subproblems.iter().filter_map(|it| it.detail.as_deref());
    let details: Vec<_> = problem.detail.as_deref().into_iter().chain(subproblems).collect();
    format!("{} ({})", details.join("; "), problem_type(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: &str) -> AcmeError {
        let problem = serde_json::json!({ "type": format!("{PROBLEM}{kind}"), "detail": "no" });
        let problem: Problem = serde_json::from_value(problem).unwrap();
        AcmeError::of_request(ProtocolError::Api(problem))
    }

    #[test]
    fn each_failure_says_whose_fault_it_is_and_what_to_do() {
        for (kind, fault, hint) in [
            ("rejectedIdentifier", AcmeFault::Configuration, "correct tls.acme.domains"),
            ("invalidContact", AcmeFault::Configuration, "correct tls.acme.contact"),
            ("unauthorized", AcmeFault::Configuration, "remove account.json"),
            ("rateLimited", AcmeFault::Configuration, "tried again later"),
            ("serverInternal", AcmeFault::Authority, "has failed: no (serverInternal)"),
        ] {
            let error = refused(kind);
            assert_eq!(error.fault(), fault, "{kind}");
            assert!(error.to_string().contains(hint), "{error}");
        }
        let hangs = AcmeError::of_request(ProtocolError::Other("no answer".into()));
        assert_eq!((hangs.fault(), hangs.is_refusal()), (AcmeFault::Network, false));
        let page = AcmeError::of_request(ProtocolError::Str("no nonce"));
        assert_eq!(page.fault(), AcmeFault::Authority);
        let validation = AcmeError::of_validation("a.example".into(), None);
        assert!(validation.is_refusal() && validation.to_string().contains("port 443"));
    }
}
