//! `signalbox health`: the health check of a container.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::Output,
};

use serde_json::Value;

use crate::{Gateway, run, signalbox, stdout};

/// Asks as a container does: with the environment of its gateway.
fn ask(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = signalbox();
    command.arg("health").args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_gateway_is_healthy_until_it_has_ended_and_ready_until_it_drains() {
    let settings = [
        ("SIGNALBOX_OPS__LISTEN", "127.0.0.1:0"),
        ("SIGNALBOX_DRAIN__READINESS_DELAY_MS", "60000"),
    ];
    let gateway = Gateway::start_with(&settings);
    let (ops, https) = (gateway.text("/ops"), gateway.text("/https"));
    let by_ops = [("SIGNALBOX_OPS__LISTEN", ops)];
    // The certificate is that of an authority that nobody trusts, as far as this command knows.
    let by_tls = [("SIGNALBOX_LISTEN__TCP", https)];
    for environment in [by_ops, by_tls] {
        assert_eq!(stdout(&ask(&environment, &[])), "ok");
        assert_eq!(stdout(&ask(&environment, &["--ready"])), "ready");
    }
    let url = format!("http://{ops}");
    let answer: Value =
        serde_json::from_str(&stdout(&run(&["health", "--ops", &url, "--json"]))).unwrap();
    assert_eq!(answer["url"], format!("{url}/healthz"));
    assert_eq!((&answer["healthy"], &answer["status"]), (&true.into(), &200.into()));
    assert!(answer["ms"].as_f64().unwrap() > 0.0, "{answer}");

    // Mistakes in the configuration of a running gateway.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signalbox.toml");
    std::fs::write(&file, format!("ops.listen = {ops:?}\nlisten.tcp = 5\nno.such = 1\n")).unwrap();
    assert_eq!(stdout(&run(&["health", "--config", file.to_str().unwrap()])), "ok");
    std::fs::write(&file, "[ops\n").unwrap();
    let no_toml = run(&["health", "--config", file.to_str().unwrap()]);
    assert!(said(&no_toml).contains("signalbox.toml:1"), "{no_toml:?}");

    gateway.process.terminate();
    while ask(&by_ops, &["--ready"]).status.success() {}
    for environment in [by_ops, by_tls] {
        let ready = ask(&environment, &["--ready"]);
        assert_eq!(ready.status.code(), Some(1));
        assert!(said(&ready).contains("/readyz: HTTP 503: going down"), "{ready:?}");
        assert!(ask(&environment, &[]).status.success(), "it still answers");
    }
    let ready = ask(&by_ops, &["--ready", "--json"]);
    assert_eq!(ready.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&ready.stdout).unwrap();
    assert_eq!((&answer["healthy"], &answer["answer"]), (&false.into(), &"going down".into()));
    gateway.process.terminate();
    assert!(gateway.process.child.id() > 0);
}

#[test]
fn no_answer_is_not_healthy() {
    let refused = run(&["health", "--ops", "http://127.0.0.1:1", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(answer["error"].as_str().unwrap().contains("refused"), "{answer}");

    // A gateway that hangs: connections wait in the backlog.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let url = format!("http://{address}");
    let hanging = run(&["health", "--ops", &url, "--timeout", "300ms"]);
    assert!(said(&hanging).contains("no answer within 300ms"), "{hanging:?}");
    let tls = ask(&[("SIGNALBOX_LISTEN__TCP", &address)], &["--timeout", "300ms"]);
    assert!(said(&tls).contains("https://"), "{tls:?}");

    // Another program.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", other.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]);
        stream.write_all(b"220 mail\r\n").unwrap();
    });
    let answer = run(&["health", "--ops", &url]);
    assert!(said(&answer).contains("not HTTP"), "{answer:?}");
}
