//! As much HTTP/1.1 over TLS as the REST API needs: one request, its response, the next request.
//!
//! Not an HTTP library: the REST scenario finds the gateway's limit on one core with a generator on
//! another, and at 36,000 requests a second a general client would be the limit itself. The bytes
//! of a request are made once; a response is read line by line, its body by its length.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const CANNOT_CONNECT: &str = "cannot connect over TCP";

/// The longest response that the requests of a benchmark can have.
const MAX_RESPONSE: usize = 64 * 1024;

/// A server, for any number of connections.
#[derive(Clone)]
pub struct HttpEndpoint {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl HttpEndpoint {
    /// A client of an address as gateways announce it, with a certificate of this authority (PEM).
    pub fn new(address: &str, ca: &[u8]) -> anyhow::Result<Self> {
        let address: SocketAddr = address
            .parse()
            .with_context(|| format!("{address:?} is not an IP address and port"))?;
        let roots = signalbox_certs::roots_from_pem(ca)?;
        let config = signalbox_certs::client(roots, &[b"http/1.1"]);
        let name = ServerName::from(address.ip());
        Ok(Self { address, name, tls: TlsConnector::from(std::sync::Arc::new(config)) })
    }

    /// Connects.
    pub async fn connect(&self) -> anyhow::Result<HttpConnection> {
        self.secure(TcpStream::connect(self.address).await.context(CANNOT_CONNECT)?).await
    }

    /// The same from this address.
    pub async fn connect_from(&self, source: IpAddr) -> anyhow::Result<HttpConnection> {
        self.secure(self.connect_tcp(source).await?).await
    }

    /// The same without TLS.
    pub async fn connect_tcp(&self, source: IpAddr) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(self.address).await.context(CANNOT_CONNECT)
    }

    async fn secure(&self, stream: TcpStream) -> anyhow::Result<HttpConnection> {
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), stream).await;
        Ok(HttpConnection { stream: stream.context("the TLS handshake failed")?, read: Vec::new() })
    }

    /// A GET without a credential.
    pub fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).into_bytes()
    }

    /// A POST of JSON to this server, with or without a credential.
    pub fn post(&self, path: &str, credential: Option<&str>, json: &str) -> Vec<u8> {
        let credential = credential.map(|it| format!("X-OPENTOK-AUTH: {it}\r\n"));
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{}Content-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{json}",
            self.address,
            credential.unwrap_or_default(),
            json.len()
        )
        .into_bytes()
    }
}

/// A connection, kept alive until the server closes it.
pub struct HttpConnection {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// Its status code.
    pub status: u16,
    /// Its body is JSON.
    pub is_json: bool,
    /// The server closes the connection after it.
    pub closes: bool,
    /// Its body.
    pub body: String,
}

impl HttpConnection {
    /// Sends bytes without waiting for a response.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("cannot send a request")?;
        self.stream.flush().await.context("cannot send a request")
    }

    /// Waits until the server closes the connection.
    pub async fn closed(mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 1024];
        while self.stream.read(&mut bytes).await.context("cut")? > 0 {}
        Ok(())
    }

    /// Sends a request and reads its response.
    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<HttpResponse> {
        self.send(request).await?;
        self.read.clear();
        loop {
            let count = self.stream.read_buf(&mut self.read).await;
            ensure!(
                count.context("cannot read a response")? > 0,
                "the gateway closed an HTTP connection instead of responding"
            );
            if let Some(response) = parse(&self.read)? {
                return Ok(response);
            }
            ensure!(
                self.read.len() <= MAX_RESPONSE,
                "a response has more than {MAX_RESPONSE} bytes"
            );
        }
    }
}

/// The response, if all of it is there. More than one is an error: only one was asked for.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<HttpResponse>> {
    let text = std::str::from_utf8(bytes).context("a response is not text")?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
    let status = status.and_then(|it| it.parse().ok()).context("a response is not HTTP/1.1")?;
    let (mut length, mut is_json, mut closes) = (0, false, false);
    for line in lines {
        let (name, value) = line.split_once(':').context("a header has no colon")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().context("a length is not a number")?,
            "content-type" => is_json = value == "application/json",
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            "transfer-encoding" => bail!("a response is in pieces, which is not supported"),
            _ => {}
        }
    }
    ensure!(body.len() <= length, "a response is longer than it says");
    let whole = body.len() == length;
    Ok(whole.then(|| HttpResponse { status, is_json, closes, body: body.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_response_is_read_when_all_of_it_is_there() {
        let text = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\n\
                    connection: close\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]).unwrap(), None, "{end}");
        }
        let response = HttpResponse { status: 403, is_json: true, closes: true, body: "{}".into() };
        assert_eq!(parse(text.as_bytes()).unwrap(), Some(response));
    }

    #[test]
    fn an_response_without_a_body_keeps_the_connection() {
        let text = "HTTP/1.1 204 No Content\r\nkeep-alive: timeout=4\r\n\r\n";
        let response =
            HttpResponse { status: 204, is_json: false, closes: false, body: String::new() };
        assert_eq!(parse(text.as_bytes()).unwrap(), Some(response));
    }

    #[test]
    fn other_responses_are_errors() {
        for text in [
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "SSH-2.0\r\n\r\n",
        ] {
            parse(text.as_bytes()).unwrap_err();
        }
    }
}
