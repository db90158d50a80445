//! Configuration of the protocol of the vendor's browser SDK.

use super::{
    Problem,
    setting::{Form, UNBOUNDED, number, section},
};

/// The accepted form of the prefix.
pub(super) const PREFIX: &str = "a path of letters, digits, '.', '_' and '-' that begins with a slash, in quotes, such as \
     \"/opentok\"";

/// First segments of paths that the gateway has otherwise.
const TAKEN: [&str; 6] = ["v1", "v2", "session", "openapi.yaml", "healthz", "readyz"];

section! {
    /// The vendor's unmodified browser SDK as a client. Pages add one line: OT.setProxyUrl with the
    /// URL of the TCP port and the prefix. auth.allowed_origins holds for them, too.
    pub struct OpenTokJsConfig {
        /// Path on the TCP port below which the SDK is served; without it it is not.
        prefix: Option<String> = None, Form::Text(PREFIX), example "\"/opentok\"";
        /// HTTP connections of pages that are kept open for the SDK's reports, one for each signal
        /// that a page sends. Beyond it each report needs a connection of its own.
        kept_connections: usize = 1024, number("connections", 0, UNBOUNDED);
    }
}

impl OpenTokJsConfig {
    pub(super) fn check(&self) -> Option<Problem> {
        let prefix = self.prefix.as_deref()?;
        let is_valid = |segment: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed)
        };
        let segments = || prefix.strip_prefix('/').unwrap_or_default().split('/');
        if !segments().all(is_valid) {
            return Some(Problem::invalid("prefix", format!("must be {PREFIX}")));
        }
        let first = segments().next().filter(|first| TAKEN.contains(first))?;
        Some(Problem::invalid("prefix", format!("begins with /{first}, which has another meaning")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_path_that_nothing_else_has() {
        let problem = |prefix: &str| {
            let config = OpenTokJsConfig { prefix: Some(prefix.to_owned()), ..Default::default() };
            config.check()
        };
        for good in ["/opentok", "/a/b-c/d_e.f", "/v3"] {
            assert!(problem(good).is_none(), "{good}");
        }
        for bad in
            ["", "/", "opentok", "/opentok/", "//a", "/a b", "/{x}", "/*", "/..", "/v1", "/v2/x"]
        {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
