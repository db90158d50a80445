//! An HTTP endpoint that gives each request to the test and answers with what the test says.

use std::collections::HashMap;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::within_timeout;

/// A request that was posted.
pub struct Posted {
    /// Its headers, by names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Posted {
    /// Its body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The answer to a request.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Whether its head announces a longer body, which never comes.
    pub unfinished: bool,
}

impl Reply {
    /// A success with this body, of which the end never comes.
    pub fn unfinished(body: &str) -> Self {
        Self { unfinished: true, ..body.into() }
    }
}

impl From<u16> for Reply {
    fn from(status: u16) -> Self {
        Self { status, ..Self::from("ok") }
    }
}

impl From<&str> for Reply {
    /// A success with this body.
    fn from(body: &str) -> Self {
        Self { status: 200, body: body.into(), unfinished: false }
    }
}

/// The endpoint.
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// Requests with the senders of their answers.
    pub posted: mpsc::Receiver<(Posted, mpsc::Sender<Reply>)>,
}

impl Endpoint {
    /// Listens for requests for this path and query.
    pub async fn at(path: &'static str) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", socket.local_addr().unwrap());
        let (sender, posted) = mpsc::channel(100);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(serve(path, stream, sender.clone()));
            }
        });
        Self { url, posted }
    }

    /// The next request, not yet answered.
    pub async fn hold(&mut self) -> (Posted, mpsc::Sender<Reply>) {
        within_timeout("a request", self.posted.recv()).await.unwrap()
    }

    /// The next request, answered so.
    pub async fn next(&mut self, reply: impl Into<Reply>) -> Posted {
        let (posted, answer) = self.hold().await;
        let _ = answer.send(reply.into()).await;
        posted
    }
}

async fn serve(
    path: &'static str,
    mut stream: TcpStream,
    posted: mpsc::Sender<(Posted, mpsc::Sender<Reply>)>,
) {
    let mut bytes = Vec::new();
    while let Ok(read) = stream.read_buf(&mut bytes).await
        && read > 0
    {
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let body = &bytes[end + 4..];
        let headers: HashMap<_, _> = head
            .lines()
            .skip(1)
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if body.len() < headers["content-length"].parse().unwrap() {
            continue;
        }
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{head}");
        let (answer, mut answered) = mpsc::channel(1);
        let posted_now = Posted { headers, body: body.to_vec() };
        if posted.send((posted_now, answer)).await.is_err() {
            return;
        }
        let Some(Reply { status, body, unfinished }) = answered.recv().await else { return };
        let length = body.len() + usize::from(unfinished);
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
        // The gateway may not want all of it.
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        bytes.clear();
    }
}
