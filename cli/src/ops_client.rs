//! Requests to the operations listener of a gateway.

use std::{fmt, io, str::FromStr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use signalbox_gateway::{ClusterReport, ConfigurationReport};
use tokio::{
    io::{AsyncBufRead, AsyncReadExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::http_get::{self, HttpAnswer};

/// Time for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an error that are read.
const MAX_ERROR: u64 = 4096;

/// The URL of an operations listener: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpsUrl {
    /// Host and port.
    authority: String,
}

impl FromStr for OpsUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let must_be = "it must be http://HOST:PORT, such as http://127.0.0.1:4435";
        let authority = text.strip_prefix("http://").ok_or(must_be)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(must_be)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) || port.parse::<u16>().is_err() {
            return Err(must_be);
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl fmt::Display for OpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl OpsUrl {
    /// The state of the cluster, from a listener without a token.
    pub(crate) async fn report(&self) -> anyhow::Result<ClusterReport> {
        Ok(self.cluster(None).await?.1)
    }

    /// The answer to `GET /cluster`, as text and read.
    pub(crate) async fn cluster(
        &self,
        token: Option<&str>,
    ) -> anyhow::Result<(String, ClusterReport)> {
        self.get("/cluster", token).await
    }

    /// The configuration in effect.
    pub(crate) async fn configuration(
        &self,
        token: Option<&str>,
    ) -> anyhow::Result<ConfigurationReport> {
        Ok(self.get("/config", token).await?.1)
    }

    /// The answer to a request, as text and read.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<(String, T)> {
        let Ok(answer) = timeout(TIMEOUT, self.request(path, token)).await else {
            bail!("{self} has not answered within {} s", TIMEOUT.as_secs());
        };
        let answer = answer.with_context(|| self.to_string())?;
        let read = serde_json::from_str(&answer)
            .with_context(|| format!("{self} is a gateway of another version"))?;
        Ok((answer, read))
    }

    /// The body of an answer that comes in pieces, without an end.
    pub(crate) async fn follow(
        &self,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<impl AsyncBufRead + Unpin + use<>> {
        let Ok(begun) = timeout(TIMEOUT, self.begin(path, token)).await else {
            bail!("{self} has not answered within {} s", TIMEOUT.as_secs());
        };
        begun.with_context(|| self.to_string())
    }

    async fn begin(
        &self,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<impl AsyncBufRead + Unpin + use<>> {
        let stream = TcpStream::connect(&self.authority).await.map_err(explained)?;
        let begun = http_get::begin(stream, &self.authority, path, token).await?;
        if begun.status != 200 {
            let mut body = Vec::new();
            begun.body.take(MAX_ERROR).read_to_end(&mut body).await?;
            let body = String::from_utf8_lossy(&body).into_owned();
            bail!("HTTP {}: {}", begun.status, hint(&HttpAnswer { status: begun.status, body }));
        }
        Ok(begun.body)
    }

    /// The address, as in the URL.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    async fn request(&self, path: &str, token: Option<&str>) -> anyhow::Result<String> {
        let stream = TcpStream::connect(&self.authority).await.map_err(explained)?;
        let answer = http_get::get(stream, &self.authority, path, token).await?;
        ensure!(answer.status == 200, "HTTP {}: {}", answer.status, hint(&answer));
        Ok(answer.body)
    }
}

/// The next step after an answer that is an error.
fn hint(answer: &HttpAnswer) -> &str {
    match answer.status {
        401 => "pass the gateway's ops.token with --ops-token",
        _ => answer.first_line(),
    }
}

/// The error of connecting, with the next step.
fn explained(error: io::Error) -> anyhow::Error {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    let error = anyhow::Error::from(error);
    if refused {
        error.context(
            "nothing listens there: set ops.listen of the gateway, or name its address with --ops",
        )
    } else {
        error.context("cannot connect")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_a_port() {
        for good in ["http://127.0.0.1:1", "http://localhost:4435/", "http://[::1]:4435"] {
            let url = OpsUrl::from_str(good).unwrap();
            assert_eq!(url.to_string(), good.trim_end_matches('/'));
        }
        for bad in
            ["127.0.0.1:1", "https://a:1", "http://a", "http://:1", "http://a:b", "http://a:1/x"]
        {
            OpsUrl::from_str(bad).unwrap_err();
        }
        OpsUrl::from_str("http://a\r\nb:1").unwrap_err();
    }
}
