//! Requests to the operations listener of a gateway, and the metrics and events that it answers with.

use std::{collections::BTreeSet, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{
    World,
    rest::{Answer, ask_on},
    within_timeout,
};

/// Lets a gateway listen for operations, on a free port.
pub fn with_ops(config: &mut signalbox_gateway::Config) {
    config.ops.listen = Some(([127, 0, 0, 1], 0).into());
}

/// Sends a request with these headers (each ending with a line end) to a gateway's operations
/// listener.
pub async fn ask_ops(world: &World, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let address = world.addresses().ops.expect("the gateway has an operations listener");
    ask_at(address, method, path, headers, body).await
}

async fn ask_at(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    ask_on(&mut stream, request).await.expect("an answer")
}

/// `GET path`, without further headers.
pub async fn get_ops(world: &World, path: &str) -> Answer {
    ask_ops(world, "GET", path, "", "").await
}

/// A follower of live events (`GET /tail`).
#[derive(Debug)]
pub struct Follower {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

impl Follower {
    /// Follows what a query names.
    pub async fn of(world: &World, query: &str) -> Self {
        let address = world.addresses().ops.expect("the gateway has an operations listener");
        let mut stream = TcpStream::connect(address).await.unwrap();
        // In this version a body has no chunks.
        let request = format!("GET /tail?{query} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let status = within_timeout("an answer", lines.next_line()).await.unwrap().unwrap();
        assert!(status.ends_with(" 200 OK"), "{status}");
        while !lines.next_line().await.unwrap().unwrap().is_empty() {}
        Self { lines }
    }

    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<serde_json::Value> {
        // Empty lines come while nothing happens.
        let event = async {
            loop {
                let line = self.lines.next_line().await.unwrap()?;
                if !line.is_empty() {
                    return Some(serde_json::from_str(&line).unwrap());
                }
            }
        };
        within_timeout("an event", event).await
    }

    /// The next event of this kind.
    pub async fn next_of(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let event = self.next().await.expect("it is still followed");
            if event["event"] == kind {
                return event;
            }
        }
    }
}

/// The samples of one scrape.
#[derive(Debug)]
pub struct Scrape {
    /// The text, in the format of Prometheus.
    pub text: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

impl Scrape {
    /// Scrapes a gateway.
    pub async fn of(world: &World) -> Self {
        let answer = get_ops(world, "/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self::read(answer.body)
    }

    fn read(text: String) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            Sample { name: name.to_owned(), labels: labels.to_owned(), value }
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(sample).collect();
        Self { text, samples }
    }

    /// The sum of all samples of this name that have these labels, each written as `name="value"`;
    /// zero if there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let has = |sample: &&Sample| {
            sample.name == name && labels.iter().all(|label| sample.labels.contains(label))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// The names of all metrics; those of histograms without the suffixes of their samples.
    pub fn names(&self) -> BTreeSet<String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Scrapes a gateway until this holds.
    pub async fn until(world: &World, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        let scraping = async {
            loop {
                let scrape = Self::of(world).await;
                if holds(&scrape) {
                    return scrape;
                }
            }
        };
        within_timeout(what, scraping).await
    }
}
