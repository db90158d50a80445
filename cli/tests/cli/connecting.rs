//! Connecting to a gateway: with the profile of `serve --dev`, and the hints of failures.

use std::{
    net::UdpSocket,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::{Gateway, Process, signalbox, terminal::at_terminal};

/// A command whose profile is in this directory.
fn at_home(dir: &Path) -> Command {
    let mut command = signalbox();
    command.env("XDG_RUNTIME_DIR", dir);
    command
}

#[test]
fn the_gateway_of_dev_is_joined_by_short_commands() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(dir.path(), "text");
    let session = gateway.line_with("Session").split_whitespace().last().unwrap().to_owned();
    let commands =
        [gateway.line_with(" join --dev"), gateway.line_with(" join wss --dev=moderator")];
    let mut clients = commands.map(|command| {
        let words = command.split_whitespace().skip(1);
        let mut join = Process::start(at_home(dir.path()).args(words).arg("--json"));
        let event = join.event();
        assert_eq!(event["session"], Value::from(session.clone()), "as printed, it works");
        (join, event["connection"]["data"].clone())
    });
    assert_eq!(clients.each_ref().map(|it| it.1.clone()), ["role=publisher", "role=moderator"]);
    let file = dir.path().join("signalbox/dev.json");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "it holds tokens");
    // SIGNALBOX_TOKEN does not override --dev.
    let mut send = at_home(dir.path());
    let send = send.args(["send", "wss", "--dev", "--data", "x"]).env("SIGNALBOX_TOKEN", "T");
    assert!(send.status().unwrap().success());
    while clients[0].0.event()["data"] != "x" {}
    let both = at_home(dir.path()).args(["join", "--dev", "--token", "T"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2), "one or the other");

    gateway.terminate();
    assert!(gateway.succeeds());
    assert!(!file.exists(), "it is of a gateway that runs");
    let late = at_home(dir.path()).args(["join", "--dev"]).output().unwrap();
    let said = String::from_utf8(late.stderr).unwrap();
    assert!(said.contains("no gateway of `signalbox serve --dev` is running"), "{said}");
}

#[test]
fn several_urls_are_tried_in_order() {
    let gateway = Gateway::start();
    let good = gateway.url("quic");
    let (ca, token) = (gateway.text("/ca"), gateway.text("/tokens/publisher"));
    // Nothing answers at the first two.
    let urls = ["quic://127.0.0.1:1", "wss://127.0.0.1:1", good.as_str()];
    let mut send = signalbox();
    send.arg("send").args(urls).args(["--ca", ca, "--token", token, "--data", "x"]);
    assert!(send.status().unwrap().success());
    let transports = signalbox().args(["send", "quic", "wss", "--dev"]).output().unwrap();
    let said = String::from_utf8(transports.stderr).unwrap();
    assert!(said.contains("--dev takes one transport"), "{said}");
}

/// Without a profile, the printed commands contain URL, authority and token.
#[test]
fn without_a_profile_the_printed_commands_are_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Gateway::serve_command(dir.path(), "text");
    let mut gateway = Process::start(command.env("XDG_RUNTIME_DIR", "/proc/none"));
    for start in [" join quic://localhost:", " join wss://localhost:"] {
        let command = gateway.line_with(start);
        let words = command.split_whitespace().skip(1);
        let mut join = Process::start(signalbox().args(words).arg("--json"));
        assert_eq!(join.event()["event"], "sessionConnected", "as printed, it works");
    }
}

/// The standard error of `join` with this URL.
fn said(url: &str, arguments: &[&str], authorities: &str) -> String {
    let mut command = signalbox();
    command.args(["join", url, "--token", "T"]).args(arguments);
    let Output { status, stderr, .. } = command.env("SSL_CERT_FILE", authorities).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn connection_errors_come_with_a_hint() {
    let gateway = Gateway::start();
    let other = Gateway::start_with(&[("SIGNALBOX_TLS__PLAINTEXT_TCP", "true")]);
    let authorities = other.text("/ca");
    let hint = |url: &str, arguments: &[&str], part: &str| {
        let said = said(url, arguments, authorities);
        let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
        assert!(hint.contains(part), "{url}: {said}");
        assert_eq!(said.lines().count(), 2, "{said}");
    };
    for url in [gateway.url("quic"), gateway.url("wss")] {
        hint(&url, &[], "--ca FILE");
        hint(&url, &["--ca", authorities], "issued by another authority than that of --ca");
    }
    let tls = gateway.text("/https");
    hint(&format!("ws://{tls}"), &[], &format!("wss://{tls}"));
    let plain = other.text("/https");
    hint(&format!("wss://{plain}"), &[], &format!("ws://{plain}"));
    // Nothing listens on UDP there.
    hint(&format!("https://{tls}"), &[], &format!("wss://{tls}"));
    hint(&format!("http://{plain}"), &[], &format!("ws://{plain}"));
    hint("wss://127.0.0.1:1", &[], "no program listens on that port");
}

#[test]
fn a_slow_connect_prints_the_url_and_a_hint() {
    // Like a network that blocks UDP, this socket never answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut command = signalbox();
    command.args(["join", &format!("quic://{address}"), "--token", "T"]);
    let mut terminal = at_terminal(command, "xterm");
    terminal.exp_string(&format!("connecting to quic://{address}")).unwrap();
    terminal.exp_string(&format!("(tried quic://{address})")).unwrap();
    terminal.exp_string(&format!("try wss://{address}, or add it as a second URL")).unwrap();
    terminal.exp_eof().unwrap();
}
