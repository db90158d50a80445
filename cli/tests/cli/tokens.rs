//! `token` and `session new`.

use crate::{Gateway, Process, run, signalbox, stdout};
use serde_json::Value;

#[test]
fn minted_tokens_and_sessions_are_accepted() {
    let gateway = Gateway::start();
    let (key, secret) = (gateway.text("/project/key"), gateway.text("/project/secret"));
    let session = stdout(&run(&["session", "new", "--key", key]));
    let token = stdout(&run(&[
        "token",
        "--key",
        key,
        "--secret",
        secret,
        "--session",
        &session,
        "--role",
        "moderator",
        "--data",
        "name=alice",
        "--expires-in",
        "1m",
    ]));
    let mut command = signalbox();
    command
        .args(["join", &gateway.url("quic"), "--ca", gateway.text("/ca"), "--json"])
        .env("SIGNALBOX_TOKEN", &token);
    let mut alice = Process::start(&mut command);
    let event = alice.event();
    assert_eq!(event["session"], Value::from(session.clone()));
    assert_eq!(event["connection"]["data"], "name=alice");

    let json = stdout(&run(&["session", "new", "--key", key, "--location", "10.1.2.3", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["session"].as_str().unwrap().starts_with("1_"));
    let other = run(&["token", "--key", "1", "--secret", "s", "--session", &session]);
    assert!(!other.status.success());
    assert!(String::from_utf8(other.stderr).unwrap().contains("belongs to project"));

    // A lifetime that the gateway would reject is an error of the command.
    let base = ["token", "--key", key, "--secret", secret, "--expires-in"];
    for (lifetime, of) in [("30d 1s", ["--session", &session]), ("25h", ["--server", "--json"])] {
        let refused = run(&[&base[..], &[lifetime], &of].concat());
        assert!(!refused.status.success());
        assert!(String::from_utf8(refused.stderr).unwrap().contains("longer than a gateway"));
    }
    for (lifetime, part) in [("3600", "time unit needed"), ("500ms", "less than a second")] {
        let refused = run(&[&base[..], &[lifetime, "--session", &session]].concat());
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(part), "{lifetime}: {said}");
    }
}
