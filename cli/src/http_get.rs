//! One HTTP GET to a gateway on this machine.

use anyhow::{bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Maximum length of an answer, in bytes: far more than a large cluster needs.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// The answer of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl HttpAnswer {
    /// The first line of the body. Gateways state the reason of an error there.
    pub(crate) fn first_line(&self) -> &str {
        self.body.lines().next().unwrap_or_default()
    }
}

/// Requests `path` of the server at `authority` over its open connection, which is closed with the
/// answer. The caller limits the time. `token` is that of an operations listener.
pub(crate) async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    authority: &str,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<HttpAnswer> {
    let token = token.unwrap_or_default();
    ensure!(
        token.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token has other characters than visible ASCII"
    );
    let credential =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\n{credential}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).ok();
    let parts = answer.as_deref().and_then(|answer| answer.split_once("\r\n\r\n"));
    let status = parts
        .and_then(|(head, _)| head.strip_prefix("HTTP/1.1 ")?.get(..3))
        .and_then(|status| status.parse().ok());
    let (Some(status), Some((_, body))) = (status, parts) else {
        bail!("the answer is not HTTP: this is another program, or another port of the gateway");
    };
    Ok(HttpAnswer { status, body: body.to_owned() })
}
