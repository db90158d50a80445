//! A Prometheus that scrapes gateways and evaluates the alerts with short times, and promtool.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use signalbox_tests::{rest::ask_on, within_timeout};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// The rules.
pub(crate) const ALERTS: &str = "deploy/prometheus/alerts.yml";

/// Whether this machine has no Prometheus.
pub(crate) fn is_missing() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let has = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    !has("prometheus") || !has("promtool")
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs promtool with this input; it must succeed. Returns its output.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> String {
    let mut process = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Scrapes gateways once a second, by the addresses of their operations listeners, and evaluates
    /// the alerts as often. Durations of the rules become seconds.
    pub(crate) fn start(gateways: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        fs::write(file("alerts.yml"), shortened(&fs::read_to_string(root().join(ALERTS)).unwrap()))
            .unwrap();
        let targets: Vec<_> = gateways.iter().map(|address| format!("'{address}'")).collect();
        let targets = targets.join(", ");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [alerts.yml]\n\
             scrape_configs:\n\
             - job_name: signalbox\n  static_configs: [{{ targets: [{targets}] }}]\n"
        );
        fs::write(file("prometheus.yml"), configuration).unwrap();
        let mut process = Command::new("prometheus")
            .arg("--config.file")
            .arg(file("prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(file("data"))
            .args(["--web.listen-address", "127.0.0.1:0", "--log.format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let line: Value = serde_json::from_str(&line).ok()?;
                (line["msg"] == "Listening on").then(|| line["address"].as_str()?.parse().ok())?
            })
            .expect("Prometheus says where it listens");
        // Read to its end, so that Prometheus can write on.
        std::thread::spawn(move || log.for_each(drop));
        Self { process, address, _directory: directory }
    }

    /// The result of a request to the API; null while Prometheus starts.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let answer = ask_on(&mut stream, request).await.expect("an answer");
        if answer.status == 200 { answer.json()["data"].clone() } else { Value::Null }
    }

    /// The series of a query, at this moment.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await;
        answer["result"].as_array().cloned().unwrap_or_default()
    }

    /// The alerts that fire, with their annotations.
    pub(crate) async fn firing(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/alerts").await;
        let alerts = answer["alerts"].as_array().cloned().unwrap_or_default();
        alerts.into_iter().filter(|alert| alert["state"] == "firing").collect()
    }

    /// Waits until this alert fires.
    pub(crate) async fn fires(&self, name: &str) -> Value {
        let firing = async {
            loop {
                let firing = self.firing().await;
                if let Some(alert) = firing.into_iter().find(|it| it["labels"]["alertname"] == name)
                {
                    return alert;
                }
            }
        };
        within_timeout(name, firing).await
    }

    /// Waits until every gateway has been scraped several times. Returns the names of firing alerts.
    pub(crate) async fn settled(&self) -> Vec<String> {
        let query = "/api/v1/query?query=min(count_over_time(up%5B1h%5D))";
        let scraping = async {
            loop {
                let answer = self.get(query).await;
                let count = answer["result"][0]["value"][1].clone();
                if count.as_str().and_then(|it| it.parse::<u64>().ok()).is_some_and(|it| it >= 6) {
                    return;
                }
            }
        };
        within_timeout("some scrapes", scraping).await;
        let firing = self.firing().await;
        firing.iter().map(|it| it["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The rules with ranges of five seconds, and no more than a second before an alert fires.
fn shortened(rules: &str) -> String {
    let lines = rules.lines().map(|line| {
        if line.trim_start().starts_with("for: ") {
            return "        for: 1s".to_owned();
        }
        ["[5m]", "[10m]", "[15m]"]
            .iter()
            .fold(line.to_owned(), |line, range| line.replace(range, "[5s]"))
    });
    lines.map(|line| line + "\n").collect()
}
