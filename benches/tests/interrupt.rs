//! An interrupted run shows its finished rounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's panic is its answer")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use signalbox_certs::DevAuthority;
use signalbox_gateway::{Config, Gateway, ProjectConfig};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId};
use signalbox_token::{NewToken, Signer};

/// A gateway that runs already, and a token for it.
fn start(dir: &std::path::Path) -> (String, String) {
    signalbox_certs::install_provider();
    let authority = DevAuthority::open(dir, SystemTime::now()).unwrap();
    let key: ProjectKey = "12345678".parse().unwrap();
    let mut config = Config::default();
    config.listen.quic = "127.0.0.1:0".parse().unwrap();
    config.listen.tcp = "127.0.0.1:0".parse().unwrap();
    config.tls.certificate = Some(authority.certificate_path().to_owned());
    config.tls.key = Some(authority.key_path().to_owned());
    config.projects = vec![ProjectConfig::with_secret(key.clone(), "secret")];
    let session = SessionId::mint(&key, MediaMode::Relayed, None, 0, [7; 24]);
    let token = NewToken {
        key: &key,
        signer: Signer::Secret("secret"),
        session: &session,
        role: Role::Publisher,
        connection_data: "",
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap(),
        lifetime: Duration::from_secs(3600),
    };
    let token = token.mint().unwrap();
    let (ready, address) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::bind(config).unwrap();
            ready.send(gateway.addresses().tcp).unwrap();
            gateway.run(std::future::pending(), std::future::pending()).await.unwrap();
        });
    });
    (format!("wss://{}", address.recv().unwrap()), token)
}

#[test]
fn finished_rounds_are_shown_when_a_run_is_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let (url, token) = start(dir.path());
    let page = dir.path().join("page.html");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_signalbox-bench"));
    bench
        .args(["latency", "--target", &url, "--token", &token, "--ca"])
        .arg(dir.path().join("ca.pem"));
    bench.args(["--seconds", "0.3", "--warm-up", "0.1", "--repeat", "1000", "--json", "--report"]);
    bench.arg(&page).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bench = bench.spawn().unwrap();
    let mut progress = BufReader::new(bench.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("latency 2/1000") {
        line.clear();
        assert_ne!(progress.read_line(&mut line).unwrap(), 0, "it ended by itself");
    }
    let id = bench.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Keeps reading, or it would block.
    let rest = std::thread::spawn(move || std::io::read_to_string(progress).unwrap());
    let mut output = String::new();
    bench.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(bench.wait().unwrap().code(), Some(130));
    assert!(rest.join().unwrap().contains("interrupted"));
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["interrupted"], true);
    let rounds = report["latency"]["rows"][0]["rounds"].as_array().unwrap().len();
    assert!((2..1000).contains(&rounds), "{rounds}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("the run was interrupted"), "the page says so, too");
    assert!(page.contains("The gateway was running already") && !page.contains("loopback"));
}
