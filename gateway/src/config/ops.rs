//! Configuration of the operations listener.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    Problem, SecretText,
    setting::{ADDRESS, FILE, Form, section},
};

/// Bytes of a token: few cannot be guessed by trying, and many do not fit into a header.
const MIN_TOKEN_BYTES: usize = 16;
const MAX_TOKEN_BYTES: usize = 512;

section! {
    /// Operations: health checks, metrics, the state of the cluster and the log level.
    pub struct OpsConfig {
        /// TCP address of plain HTTP with the admin page, /healthz, /readyz, /metrics, /cluster, /config,
        /// /log and /tail; without it there is none. An address that other machines can reach needs a
        /// token.
        listen: Option<SocketAddr> = None, ADDRESS, example "\"127.0.0.1:4435\"";
        /// Token that requests must present, as in Authorization: Bearer TOKEN; 16 to 512 visible ASCII
        /// characters. /healthz, /readyz and the files of the admin page need none.
        token: Option<SecretText> = None, Form::Text("a text in quotes"), example "\"…\"";
        /// File that contains the token, instead of token. It is read when the gateway starts
        /// and when it is reloaded.
        token_file: Option<PathBuf> = None, FILE, example "\"/etc/signalbox/ops-token\"";
        /// Host names by which browsers reach the admin page through a proxy, beside localhost and IP
        /// addresses.
        hosts: Vec<String> = Vec::new(), Form::List {
            list: "a list of host names in quotes, such as [\"ops.example.com\"]",
            item: HOST,
        };
        /// Show the data of signals to people that follow connections (signalbox tail --contents). If
        /// false, nobody sees it.
        contents: bool = false, Form::Boolean;
    }
}

/// A host name as the setting wants it.
const HOST: &str = "a host name without a port, in quotes, such as \"ops.example.com\"";

impl OpsConfig {
    pub(super) fn check(&self) -> Option<Problem> {
        if let Some(index) = self.hosts.iter().position(|host| !is_host(host)) {
            return Some(Problem::invalid(format!("hosts.{index}"), format!("must be {HOST}")));
        }
        let token = match self.token() {
            Ok(token) => token,
            Err(problem) => return Some(problem),
        };
        let address = self.listen.filter(|address| !address.ip().to_canonical().is_loopback())?;
        let reason = format!(
            "is {address}, which other machines can reach: set ops.token or ops.token_file, or \
             use a loopback address, such as 127.0.0.1:{}",
            address.port()
        );
        token.is_none().then(|| Problem::invalid("listen", reason))
    }

    /// The token, from either of its settings.
    pub(crate) fn token(&self) -> Result<Option<SecretText>, Problem> {
        let (setting, token) = match (&self.token, &self.token_file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Problem::invalid("token", "and token_file are both set: remove one"));
            }
            (Some(token), None) => ("token", token.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    let reason = format!("cannot be read: {} ({error})", file.display());
                    Problem::file("token_file", reason)
                })?;
                ("token_file", text.trim().to_owned().into())
            }
        };
        let bytes = token.as_bytes();
        if (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&bytes.len())
            && bytes.iter().all(u8::is_ascii_graphic)
        {
            return Ok(Some(token));
        }
        let reason = format!(
            "must be {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} visible ASCII characters without spaces; \
             openssl rand -hex 32 makes one"
        );
        Err(Problem::invalid(setting, reason))
    }
}

/// Whether this can be the host of a URL, without a port.
fn is_host(host: &str) -> bool {
    let labels = |label: &str| {
        !label.is_empty() && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    host.len() <= 253 && host.split('.').all(labels)
}
