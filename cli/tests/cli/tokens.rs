//! `token`, `token check` and `session new`.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use signalbox_protocol::{Role, SessionId};
use signalbox_token::{NewToken, Signer};

use crate::{Gateway, Process, run, signalbox, stdout};

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

const KEY: &str = "12345678";

/// A token of a project.
fn mint(session: &str, secret: &str, flags: &[&str]) -> String {
    let base = ["token", "--key", KEY, "--secret", secret, "--session", session];
    stdout(&run(&[&base, flags].concat()))
}

/// `token check` with one project.
fn check(arguments: &[&str]) -> Command {
    let mut command = signalbox();
    command.args(["token", "check"]).args(arguments);
    command.env("SIGNALBOX_PROJECTS", r#"[{key="12345678",secrets=["old","new"]}]"#);
    command
}

/// Its JSON and exit code.
fn checked(command: &mut Command) -> (Value, Option<i32>) {
    let output = command.arg("--json").output().unwrap();
    let result = serde_json::from_slice(&output.stdout);
    (result.unwrap_or_else(|error| panic!("{error}: {output:?}")), output.status.code())
}

fn with_stdin(command: &mut Command, text: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_checked_token_is_described() {
    let session = stdout(&run(&["session", "new", "--key", KEY]));
    let flags = ["--role", "moderator", "--data", "name=\u{1b}alice", "--expires-in", "1h"];
    let token = mint(&session, "new", &flags);
    let (described, code) = checked(&mut check(&[&token]));
    assert_eq!(code, Some(0), "{described}");
    for (name, value) in [
        ("valid", json!(true)),
        ("project", json!(KEY)),
        ("session", json!(session)),
        ("role", json!("moderator")),
        ("data", json!("name=\u{1b}alice")),
    ] {
        assert_eq!(described[name], value, "{described}");
    }
    let seconds = |name: &str| described[name].as_u64().unwrap();
    assert_eq!(seconds("expiresAt"), seconds("issuedAt") + 3600);

    // From the environment and from standard input, for people.
    let from_variable = check(&[]).env("SIGNALBOX_TOKEN", &token).output().unwrap();
    let from_stdin = with_stdin(&mut check(&[]), &format!("{token}\n"));
    for output in [from_variable, from_stdin] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = stdout(&output);
        assert!(text.starts_with("valid\n"), "{text}");
        assert!(text.contains(&format!("session  {session}")), "{text}");
        assert!(text.contains("data     name=\\u{1b}alice"), "{text}");
        assert!(text.contains("Z, in 59m"), "{text}");
    }
}

#[test]
fn an_invalid_token_is_explained() {
    let session = stdout(&run(&["session", "new", "--key", KEY]));
    let other_session = stdout(&run(&["session", "new", "--key", "87654321"]));
    let other_project = ["token", "--key", "87654321", "--secret", "new", "--session"];
    let other_project = stdout(&run(&[&other_project[..], &[&other_session]].concat()));
    let server = stdout(&run(&["token", "--key", KEY, "--secret", "new", "--server"]));
    let too_long = "x".repeat(20_000);
    let forged = mint(&session, "guessed", &[]);
    for (token, cause, reason) in [
        (forged.as_str(), "signature", "invalidToken"),
        (&other_project, "unknownProject", "invalidToken"),
        (&server, "malformed", "invalidToken"),
        ("T1==x", "legacyT1", "invalidToken"),
        (&too_long, "tooLong", "invalidToken"),
    ] {
        let mut check = check(&[token]);
        check.env("SIGNALBOX_AUTH__LEGACY_T1_TOKENS", "false");
        let (described, code) = checked(&mut check);
        assert_eq!(code, Some(1), "{described}");
        assert_eq!(
            [&described["valid"], &described["cause"], &described["reason"]],
            [&json!(false), &json!(cause), &json!(reason)],
            "{described}"
        );
    }
    let output = check(&[&forged]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "invalid: the token's signature is invalid\n  a client is told invalidToken\n"
    );

    // One that expired an hour ago.
    let session: SessionId = session.parse().unwrap();
    let hour = Duration::from_hours(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expired = NewToken {
        key: session.project(),
        signer: Signer::Secret("old"),
        session: &session,
        role: Role::Publisher,
        connection_data: "",
        now: now - 2 * hour,
        lifetime: hour,
    };
    let (described, code) = checked(&mut check(&[&expired.mint().unwrap()]));
    assert_eq!((&described["cause"], code), (&json!("expired"), Some(1)), "{described}");
    // Clocks may differ by a minute.
    let now = now - hour - Duration::from_secs(30);
    let output = check(&[&NewToken { now, ..expired }.mint().unwrap()]).output().unwrap();
    assert!(stdout(&output).contains("Z; accepted for 1m after that"), "{output:?}");
}

#[test]
fn a_token_is_checked_with_the_project_of_dev_or_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = Gateway::serve_command(dir.path(), "json");
    let mut process = Process::start(serve.arg("--dev-profile"));
    let announcement = process.event();
    let text = |path: &str| announcement.pointer(path).and_then(Value::as_str).unwrap();
    let token = text("/tokens/subscriber");
    let mut dev = signalbox();
    dev.args(["token", "check", "--dev", token]).env("XDG_RUNTIME_DIR", dir.path());
    let (described, code) = checked(&mut dev);
    assert_eq!((&described["role"], code), (&json!("subscriber"), Some(0)), "{described}");

    let file = dir.path().join("gateway.toml");
    let (key, secret) = (text("/project/key"), text("/project/secret"));
    // It lacks a certificate, which only a gateway needs.
    let project = format!("[[projects]]\nkey = {key:?}\nsecrets = [{secret:?}]\n");
    std::fs::write(&file, project).unwrap();
    let with_file = || {
        let mut command = signalbox();
        command.args(["token", "check", token, "--config"]).arg(&file);
        command
    };
    assert_eq!(checked(&mut with_file()).1, Some(0));
    std::fs::write(&file, format!("[[projects]]\nkey = {key:?}\n")).unwrap();
    let output = with_file().output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("projects.0 has no secret"));

    let output = signalbox().args(["token", "check", token]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("pass --config FILE, or --dev"));
    let output = with_stdin(&mut check(&[]), " \n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input is empty"));
}
