//! `signalbox project new`: generated projects are loaded by a running gateway and used by a server.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
};

use serde_json::{Value, json};

use crate::{Gateway, Process, configured::Configured, run, signalbox, stdout};

/// Key and secret in the output of `project new --json`.
fn credentials(json: &str) -> (String, String) {
    let project: Value = serde_json::from_str(json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&project["key"]), text(&project["secrets"][0]))
}

fn token(key: &str, credential: [&str; 2]) -> String {
    let session = stdout(&run(&["session", "new", "--key", key]));
    stdout(&run(&["token", "--key", key, credential[0], credential[1], "--session", &session]))
}

#[test]
fn a_running_gateway_loads_a_new_project() {
    let gateway = Configured::start();
    let project = &gateway.announcement["project"];
    let (key, secret) = (project["key"].as_str().unwrap(), project["secret"].as_str().unwrap());
    assert_eq!((key.len(), secret.len()), (8, 40), "as the vendor's");
    assert!(gateway.lets_in(&token(key, ["--secret", secret])));

    // Noticed by polling.
    let (key, secret) = credentials(&stdout(&run(&["project", "new", "--json"])));
    let newcomer = token(&key, ["--secret", &secret]);
    assert!(!gateway.lets_in(&newcomer));
    gateway.add(&format!("[[projects]]\nkey = {key:?}\nsecrets = [{secret:?}]"));
    gateway.comes_to_let_in(&newcomer);

    // An application, with SIGHUP.
    let keys = gateway.dir.path().join("keys");
    let made = run(&["project", "new", "--application", "--keys-dir", keys.to_str().unwrap()]);
    let toml = stdout(&made);
    let id = toml.lines().find_map(|line| line.strip_prefix("key = ")).unwrap().trim_matches('"');
    let private = keys.join(format!("{id}.private.pem"));
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(String::from_utf8_lossy(&made.stderr).contains(private.to_str().unwrap()));
    let application = token(id, ["--private-key", private.to_str().unwrap()]);
    gateway.add(&toml);
    gateway.process.signal("-HUP");
    gateway.comes_to_let_in(&application);

    // Invalid projects change nothing, and are logged.
    let mut gateway = gateway;
    let mut log = BufReader::new(gateway.process.child.stderr.take().unwrap()).lines();
    let mut says = |part: &str| {
        let said = log.by_ref().map_while(Result::ok).any(|line| line.contains(part));
        assert!(said, "it never said: {part}");
    };
    gateway.add("[[projects]]\nkey = \"half\"");
    gateway.process.signal("-HUP");
    says("configuration not reloaded; the current one stays in effect");
    assert!(gateway.lets_in(&newcomer));
    gateway.process.terminate();
    assert!(gateway.process.succeeds());
}

#[test]
fn a_new_webhook_has_a_secret_that_the_gateway_takes() {
    let toml = stdout(&run(&["project", "new", "--webhook", "https://app.example.com/hooks"]));
    let (_, secret) = toml.split_once("secret = \"whsec_").unwrap();
    // The secret is printed once.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    fs::write(&file, &toml).unwrap();
    for json in [&["--json"][..], &[]] {
        let shown =
            signalbox().args(["config", "--config"]).arg(&file).args(json).output().unwrap();
        // The missing certificate is reported, too.
        let shown = [shown.stdout, shown.stderr].concat();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("https://app.example.com/hooks"), "{shown}");
        assert!(!shown.contains("whsec_") && !shown.contains(&secret[..10]), "{shown}");
    }
    let bad = run(&["project", "new", "--webhook", "app.example.com"]);
    assert!(!bad.status.success());
    assert!(String::from_utf8_lossy(&bad.stderr).contains("https://"), "{bad:?}");
}

#[test]
fn the_printed_curl_sends_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::serve(dir.path(), "text");
    let mut lines: Vec<String> = Vec::new();
    while !lines.last().is_some_and(|line| line.contains("--json '")) {
        lines.push(gateway.line());
    }
    let start = lines.iter().position(|line| line.contains("curl --cacert")).unwrap();
    let join = lines.iter().find(|line| line.contains(" join wss --dev")).unwrap();
    let shell = |line: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", line]).env("XDG_RUNTIME_DIR", dir.path());
        command
    };
    let mut member = Process::start(&mut shell(&format!("exec {} --json", join.trim())));
    assert_eq!(member.event()["event"], "sessionConnected");
    let curl = shell(&format!("{} --silent --show-error --fail", lines[start..].join("\n")));
    let output = { curl }.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let signal = member.event();
    assert_eq!(signal["type"], "news");
    assert_eq!(signal["data"], "from a server");
    assert_eq!(signal["from"], json!({ "server": "gateway" }));
}

#[test]
fn a_token_needs_something_to_sign_with() {
    for (arguments, part) in [
        (vec!["token", "--key", "1", "--server"], "--secret"),
        (vec!["token", "--key", "1", "--server", "--secret", ""], "empty"),
        (vec!["token", "--key", "1", "--secret", "s"], "--session"),
        (vec!["token", "--key", "1", "--server", "--private-key", "no/such"], "no/such"),
        (vec!["token", "--key", "1", "--server", "--secret", "s", "--role", "moderator"], "--role"),
    ] {
        let output = run(&arguments);
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
