//! `tail`: the events of a session at a terminal and for programs, and its errors.

use serde_json::Value;

use crate::{Gateway, Process, run, signalbox};

#[test]
fn a_session_is_followed_while_clients_come_and_go() {
    let gateway = Gateway::start();
    let ops = format!("http://{}", gateway.text("/ops"));
    let session = gateway.text("/session").to_owned();
    let follow = |arguments: &[&str]| {
        let mut command = signalbox();
        command.args(["tail", "--session", &session, "--ops", &ops]).args(arguments);
        Process::start(&mut command)
    };
    let (mut people, mut programs) = (follow(&[]), follow(&["--json"]));
    // They follow once their connections have been answered.
    let followed = |process: &mut Process, part: &str| {
        loop {
            drop(gateway.join_json("wss"));
            if let Ok(line) = process.lines.recv_timeout(std::time::Duration::from_secs(1)) {
                assert!(line.contains("joined"), "{line}");
                break;
            }
        }
        process.line_with(part)
    };
    let line = followed(&mut people, " detached ");
    assert!(line.contains("reason=") && line.contains(&session), "{line}");
    let line = followed(&mut programs, "\"detached\"");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["session"], *session);
    people.signal("-INT");
    assert!(people.succeeds());
    gateway.process.terminate();
    assert!(!programs.succeeds(), "the gateway has ended");
}

#[test]
fn errors_name_the_next_step() {
    let gateway = Gateway::start();
    let ops = format!("http://{}", gateway.text("/ops"));
    for (arguments, part) in [
        (&["--ops", &*ops][..], "--session"),
        (&["--ops", "http://127.0.0.1:1", "--project", "1"], "nothing listens there"),
        (&["--ops", &ops, "--project", "1", "--contents"], "set ops.contents = true"),
    ] {
        let output = run(&[&["tail"], arguments].concat());
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
