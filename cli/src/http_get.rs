//! One HTTP GET to a gateway on this machine.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

/// The error for an answer of something else.
const NO_HTTP: &str =
    "the answer is not HTTP: this is another program, or another port of the gateway";

/// Bytes of the head of an answer.
const MAX_HEAD: usize = 16 * 1024;

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
    send(&mut stream, "HTTP/1.1", authority, path, token).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).ok();
    let parts = answer.as_deref().and_then(|answer| answer.split_once("\r\n\r\n"));
    let Some((status, body)) = parts.and_then(|(head, body)| Some((status(head)?, body))) else {
        bail!(NO_HTTP);
    };
    Ok(HttpAnswer { status, body: body.to_owned() })
}

/// The beginning of an answer, whose body comes in pieces.
pub(crate) struct BegunAnswer<S> {
    pub(crate) status: u16,
    pub(crate) body: BufReader<S>,
}

/// The same as [`get`], but the body is read by the caller.
pub(crate) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    authority: &str,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<BegunAnswer<S>> {
    // In this version a body ends with the connection, and has no chunks.
    send(&mut stream, "HTTP/1.0", authority, path, token).await?;
    let mut body = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = (&mut body).take(MAX_HEAD as u64);
        let read = line.read_line(&mut head).await.context(NO_HTTP)?;
        ensure!(read > 0 && head.len() <= MAX_HEAD, NO_HTTP);
    }
    let status = status(&head).context(NO_HTTP)?;
    Ok(BegunAnswer { status, body })
}

/// The status in the head of an answer.
fn status(head: &str) -> Option<u16> {
    let versioned = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
    versioned?.get(..3)?.parse().ok()
}

async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    version: &str,
    authority: &str,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<()> {
    let token = token.unwrap_or_default();
    ensure!(
        token.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token has other characters than visible ASCII"
    );
    let credential =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let request = format!(
        "GET {path} {version}\r\nHost: {authority}\r\n{credential}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    Ok(())
}
