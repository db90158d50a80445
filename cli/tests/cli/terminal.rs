//! `join` at a terminal: line editor and prompt.

use std::process::Command;

use rexpect::session::{Options, PtySession, spawn_with_options};

use crate::{Gateway, Process, TIMEOUT, with_default_signals};

const ENTER: &str = "\r";
const LEFT: &str = "\u{1b}[D";
const UP: &str = "\u{1b}[A";

/// Starts a command at a terminal of its own.
pub(crate) fn at_terminal(command: Command, kind: &str) -> PtySession {
    let mut command = with_default_signals(&command);
    command.env("TERM", kind);
    let timeout = Some(TIMEOUT.as_millis().try_into().unwrap());
    spawn_with_options(command, Options::new().timeout_ms(timeout)).unwrap()
}

fn type_in(terminal: &mut PtySession, keys: &str) {
    terminal.send(keys).unwrap();
    terminal.flush().unwrap();
}

/// The next signal that another client receives.
fn heard(listener: &mut Process) -> String {
    loop {
        let event = listener.event();
        if event["event"] == "signal" {
            return event["data"].as_str().unwrap().to_owned();
        }
    }
}

#[test]
fn a_line_is_edited_while_others_talk() {
    let gateway = Gateway::start();
    let mut listener = gateway.join_json("wss");
    let mut terminal = at_terminal(gateway.command("join", "quic", "publisher"), "xterm");
    terminal.exp_string("/help").unwrap();
    terminal.exp_string("* you are").unwrap();
    type_in(&mut terminal, &format!("helo{LEFT}l{ENTER}"));
    assert_eq!(heard(&mut listener), "hello");
    terminal.exp_string("you: hello").unwrap();
    type_in(&mut terminal, "half of");
    terminal.exp_string("half of").unwrap();
    listener.type_line("meanwhile");
    // The typed text is printed again below.
    terminal.exp_string(": meanwhile").unwrap();
    terminal.exp_string("> half of").unwrap();
    assert_eq!(heard(&mut listener), "meanwhile");
    type_in(&mut terminal, &format!(" a line{ENTER}"));
    assert_eq!(heard(&mut listener), "half of a line");
    type_in(&mut terminal, &format!("{UP}{ENTER}"));
    assert_eq!(heard(&mut listener), "half of a line", "there is a history");
    type_in(&mut terminal, &format!("//who{ENTER}"));
    assert_eq!(heard(&mut listener), "/who");
    type_in(&mut terminal, &format!("/help{ENTER}"));
    terminal.exp_string("/kick ID").unwrap();
    type_in(&mut terminal, &format!("/what{ENTER}"));
    terminal.exp_string("unknown command /what").unwrap();
    type_in(&mut terminal, &format!("/to ff x{ENTER}"));
    terminal.exp_string("an id that starts with ff").unwrap();
}

#[test]
fn ctrl_c_and_ctrl_d_leave() {
    let gateway = Gateway::start();
    let mut listener = gateway.join_json("quic");
    // Terminals without cursor control have no editor.
    for term in ["xterm", "dumb"] {
        for key in ['d', 'c'] {
            let mut command = gateway.command("join", "wss", "publisher");
            command.arg("--no-presence");
            let mut terminal = at_terminal(command, term);
            terminal.exp_string("* you are").unwrap();
            assert_eq!(listener.event()["event"], "connectionCreated");
            terminal.send_control(key).unwrap();
            terminal.exp_string("* session ended (clientDisconnected)").unwrap();
            assert_eq!(listener.event()["reason"], "clientDisconnected", "{term}: ctrl-{key}");
        }
    }
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let gateway = Gateway::start();
    let join = gateway.command("join", "quic", "publisher");
    let mut command = Command::new("/bin/sh");
    let inner = r#"sh -c 'echo pid $$; exec "$0" "$@"' "$0" "$@""#;
    command.args(["-c", &format!("echo before $(stty -g); {inner}; echo after $(stty -g)")]);
    command.arg(join.get_program()).args(join.get_args());
    let mut terminal = at_terminal(command, "xterm");
    terminal.exp_string("before ").unwrap();
    let before = terminal.read_line().unwrap();
    terminal.exp_string("pid ").unwrap();
    let client = terminal.read_line().unwrap();
    terminal.exp_string("* you are").unwrap();
    type_in(&mut terminal, "half of");
    terminal.exp_string("half of").unwrap();
    assert!(Command::new("kill").args(["-TERM", client.trim()]).status().unwrap().success());
    terminal.exp_string("* session ended (clientDisconnected)").unwrap();
    terminal.exp_string("after ").unwrap();
    assert_eq!(terminal.read_line().unwrap().trim(), before.trim());
}

#[test]
fn a_signal_is_sent_to_a_short_id() {
    let gateway = Gateway::start();
    let mut listener = gateway.join_json("quic");
    let mut other = gateway.join("wss", "publisher");
    let printed = other.line_with("* you are");
    let short = printed.split(' ').nth(3).unwrap();
    let send = |to: &str| {
        let mut command = gateway.command("send", "quic", "publisher");
        command.args(["--to", to, "--data", "to you"]).output().unwrap()
    };
    assert!(send(short).status.success(), "as printed");
    other.line_with(": to you");
    let unknown = String::from_utf8(send("0000000").stderr).unwrap();
    assert!(unknown.contains("--to: no connection in the session"), "{unknown}");
    assert_eq!(listener.event()["event"], "connectionCreated");
    let events: Vec<_> = (0..4).map(|_| listener.event()).collect();
    for event in events {
        let reason = &event["reason"];
        assert!(reason.is_null() || reason == "clientDisconnected", "{event}");
    }
}
