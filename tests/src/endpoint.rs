//! An HTTP endpoint that gives each request to the test and answers with what the test says.

use std::collections::HashMap;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::within_timeout;

/// A success whose body never ends.
pub const UNFINISHED: u16 = 299;

/// A request that was posted.
pub struct Posted {
    /// Its headers, by names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The endpoint.
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// Requests with the senders of their status.
    pub posted: mpsc::Receiver<(Posted, mpsc::Sender<u16>)>,
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
    pub async fn hold(&mut self) -> (Posted, mpsc::Sender<u16>) {
        within_timeout("a request", self.posted.recv()).await.unwrap()
    }

    /// The next request, answered with this status.
    pub async fn next(&mut self, status: u16) -> Posted {
        let (posted, answer) = self.hold().await;
        answer.send(status).await.unwrap();
        posted
    }
}

async fn serve(
    path: &'static str,
    mut stream: TcpStream,
    posted: mpsc::Sender<(Posted, mpsc::Sender<u16>)>,
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
        let Some(status) = answered.recv().await else { return };
        // One that is never finished, if the test says so by a status of its own.
        let length = if status == UNFINISHED { 10 } else { 2 };
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\nok");
        stream.write_all(answer.as_bytes()).await.unwrap();
        bytes.clear();
    }
}
