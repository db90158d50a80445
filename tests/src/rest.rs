//! Raw requests to the REST API, valid and invalid.

use std::net::SocketAddr;

use signalbox_client::{ConnectionId, SessionId};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{PROJECT, World, credential, raw::tls_stream, within_timeout};

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// The head as it came, without the empty line.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The status with the code and message of an error body, which must be there.
    pub fn error(&self) -> (u16, i64, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        (self.status, body["code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
    }
}

/// A request with an `X-OPENTOK-AUTH` header, and a JSON body if there is one.
pub fn request(method: &str, path: &str, credential: &str, json: Option<&str>) -> String {
    let body = json.map_or_else(String::new, |json| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}", json.len())
    });
    let end = if json.is_some() { "" } else { "\r\n" };
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nX-OPENTOK-AUTH: {credential}\r\n{body}{end}")
}

/// The project's server, with a kept-alive connection.
pub struct Server {
    stream: TlsStream<TcpStream>,
    credential: String,
    /// The path of the world's session.
    session: String,
}

impl Server {
    /// A server of the world's own project.
    pub async fn of(world: &World) -> Self {
        Self::at(world.addresses().tcp, world.session()).await
    }

    /// A server that asks the gateway at this address about this session.
    pub async fn at(address: SocketAddr, session: &SessionId) -> Self {
        let stream = tls_stream(address).await;
        let session = format!("/v2/project/{}/session/{session}", PROJECT.0);
        Self { stream, credential: credential(PROJECT), session }
    }

    /// Sends a request for a path below the session.
    pub async fn ask(&mut self, method: &str, path: &str, json: Option<&str>) -> Answer {
        let path = format!("{}{path}", self.session);
        let request = request(method, &path, &self.credential, json);
        ask_on(&mut self.stream, request).await.expect("the connection is kept")
    }

    /// Sends a request for a path below the project.
    pub async fn ask_project(&mut self, method: &str, path: &str, json: Option<&str>) -> Answer {
        let path = format!("/v2/project/{}{path}", PROJECT.0);
        let request = request(method, &path, &self.credential, json);
        ask_on(&mut self.stream, request).await.expect("the connection is kept")
    }

    /// Sends a signal to the session, or to one connection.
    pub async fn signal(&mut self, to: Option<ConnectionId>, json: &str) -> Answer {
        let to = to.map_or_else(String::new, |id| format!("/connection/{id}"));
        self.ask("POST", &format!("{to}/signal"), Some(json)).await
    }

    /// Disconnects a connection.
    pub async fn disconnect(&mut self, id: ConnectionId) -> Answer {
        self.ask("DELETE", &format!("/connection/{id}"), None).await
    }
}

/// The path of the world's session.
pub fn session_path(world: &World) -> String {
    format!("/v2/project/{}/session/{}", PROJECT.0, world.session())
}

/// Sends bytes on a new connection and reads the response.
pub async fn ask(world: &World, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = tls_stream(world.addresses().tcp).await;
    stream.write_all(request.as_ref()).await.unwrap();
    answer(&mut stream).await.expect("an answer")
}

/// Sends bytes on this connection and reads the response.
pub async fn ask_on(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: impl AsRef<[u8]>,
) -> Option<Answer> {
    stream.write_all(request.as_ref()).await.ok()?;
    answer(stream).await
}

/// Reads one response; none if the connection has ended.
pub async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
    within_timeout("an answer", async {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                bytes.truncate(end);
                break std::mem::replace(&mut bytes, rest);
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
                return None;
            }
        };
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let chunked = answer.header("transfer-encoding") == Some("chunked");
        let length: usize = answer.header("content-length").map_or(0, |it| it.parse().unwrap());
        let done = |bytes: &[u8]| {
            if chunked { bytes.ends_with(b"0\r\n\r\n") } else { bytes.len() >= length }
        };
        while !done(&bytes) {
            if !matches!(stream.read_buf(&mut bytes).await, Ok(read) if read > 0) {
                break;
            }
        }
        answer.body = String::from_utf8(if chunked { unchunk(&bytes) } else { bytes }).unwrap();
        Some(answer)
    })
    .await
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        body.extend_from_slice(&bytes[end + 2..][..length]);
        bytes = &bytes[end + 2 + length + 2..];
    }
    body
}
