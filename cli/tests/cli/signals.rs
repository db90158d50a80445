//! Signals between the clients `join` and `send`.

use crate::{Gateway, Process};
use serde_json::Value;
use std::{
    io::Write as _,
    process::{Command, Output},
};

#[test]
fn two_clients_exchange_signals() {
    let gateway = Gateway::start();
    let mut alice = gateway.join("quic", "publisher");
    let alice_id = alice.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    let mut bob = gateway.join("wss", "moderator");
    let bob_id = bob.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    assert!(bob.line().contains(&format!("{alice_id} is here role=publisher")));
    assert!(alice.line().contains(&format!("{bob_id} is here role=moderator")));

    alice.type_line("hello, everyone");
    assert_eq!(alice.line(), "you: hello, everyone");
    assert_eq!(bob.line(), format!("{alice_id}: hello, everyone"));
    bob.type_line(&format!("/to {alice_id} hello, you"));
    assert_eq!(alice.line(), format!("{bob_id}: hello, you"));
    bob.type_line("/type chat with a type");
    assert_eq!(bob.line(), "you [chat]: with a type");
    assert_eq!(alice.line(), format!("{bob_id} [chat]: with a type"));
    alice.type_line("/ping");
    assert_eq!(alice.line(), "you (ping)");
    assert_eq!(bob.line(), format!("{alice_id} (ping)"));
    // Invalid commands are reported and change nothing.
    alice.type_line("/to nobody x");
    alice.type_line("/what");
    alice.type_line("still here");
    assert_eq!(bob.line(), format!("{alice_id}: still here"));
    alice.type_line("/quit");
    assert_eq!(bob.line(), format!("* {alice_id} left: clientDisconnected"));
    assert!(alice.line_with("* session ended").contains("clientDisconnected"));
    assert!(alice.succeeds());

    let mut carol = gateway.join("quic", "publisher");
    let carol_id = carol.line_with("* you are").split(' ').nth(3).unwrap().to_owned();
    bob.line_with("is here");
    bob.type_line(&format!("/kick {carol_id}"));
    assert!(carol.line_with("* session ended").contains("forceDisconnected"));
    assert!(!carol.succeeds(), "being thrown out is no success");
    assert_eq!(bob.line(), format!("* {carol_id} left: forceDisconnected"));
    // SIGTERM makes the client leave, too.
    bob.terminate();
    assert!(bob.line_with("* session ended").contains("clientDisconnected"));
    assert!(bob.succeeds());
}

/// A killed process sends no goodbye. The others are told after the idle timeout and the resume window.
#[test]
fn a_client_that_is_killed_is_network_disconnected() {
    let gateway = Gateway::start_with(&[
        ("SIGNALBOX_TIMEOUTS__IDLE_MS", "1500"),
        ("SIGNALBOX_RESUME__WINDOW_MS", "500"),
    ]);
    let mut watcher = gateway.join_json("quic");
    for scheme in ["quic", "wss"] {
        let mut doomed = gateway.join_json(scheme);
        let id = watcher.event()["connection"]["id"].clone();
        // SIGKILL: the client cannot react.
        doomed.child.kill().unwrap();
        let event = watcher.event();
        assert_eq!(event["event"], "connectionDestroyed");
        assert_eq!((&event["id"], &event["reason"]), (&id, &"networkDisconnected".into()));
    }
}

/// The history of this repository, or the part that a shallow clone has.
#[test]
fn piped_lines_arrive_complete_and_in_order_on_both_transports() {
    let gateway = Gateway::start();
    let mut listeners = [gateway.join_json("quic"), gateway.join_json("wss")];
    let log = Command::new("git").args(["log", "--format=%s"]).output().unwrap();
    let history = String::from_utf8(log.stdout).unwrap();
    // Repeated, so that it exceeds the window of the sender.
    let lines: Vec<&str> =
        history.lines().cycle().take(history.lines().count().max(1000)).collect();
    assert!(!lines.is_empty(), "the tests run inside the repository");
    for scheme in ["quic", "wss"] {
        let mut command = gateway.command("send", scheme, "publisher");
        let mut send = Process::start(command.args(["--type", "line", "--stdin"]));
        let mut input = send.child.stdin.take().unwrap();
        let text = lines.join("\n");
        let feeding = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        for listener in &mut listeners {
            let mut heard = Vec::new();
            while heard.len() < lines.len() {
                let event = listener.event();
                if event["event"] == "signal" {
                    assert_eq!(event["type"], "line");
                    assert_eq!(event["seq"], heard.len() as u64 + 1);
                    heard.push(event["data"].as_str().unwrap().to_owned());
                }
            }
            assert_eq!(heard, lines);
        }
        feeding.join().unwrap();
        assert!(send.succeeds());
    }
}

#[test]
fn one_signal_is_sent_to_one_or_all() {
    let gateway = Gateway::start();
    let mut listener = Process::start(gateway.command("join", "wss", "subscriber").args([
        "--json",
        "--websocket-json",
        "--no-presence",
    ]));
    let me = listener.event()["connection"]["id"].as_str().unwrap().to_owned();
    let send = |arguments: &[&str]| {
        gateway.command("send", "quic", "publisher").args(arguments).output().unwrap()
    };
    assert!(send(&["--type", "chat", "--data", "to all"]).status.success());
    let event = listener.event();
    assert_eq!((&event["type"], &event["data"]), (&"chat".into(), &"to all".into()));
    assert!(send(&["--data", "to you", "--to", &me]).status.success());
    assert_eq!(listener.event()["data"], "to you");
    assert!(send(&[]).status.success(), "a ping");
    let event = listener.event();
    assert_eq!((&event["type"], &event["data"]), (&Value::Null, &Value::Null));

    let failure = |output: Output, part: &str| {
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(part), "{said}");
    };
    let nobody = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";
    failure(send(&["--to", nobody, "--data", "x"]), "notFound");
    failure(send(&["--to", "bob", "--data", "x"]), "connection id");
    failure(send(&["--type", "a b"]), "signal type may hold only");
    failure(send(&["--data", &"x".repeat(8193)]), "8193 bytes");
    let subscriber = gateway.command("send", "quic", "subscriber").args(["--data", "x"]).output();
    failure(subscriber.unwrap(), "forbidden");
}
