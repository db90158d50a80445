//! Reload on SIGHUP and over the network: what the log and the answer say of it, and that a mistake
//! changes nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
};

use serde_json::{Value, json};

use crate::{TIMEOUT, configured::Configured, run, signalbox, stdout};

/// Lines of a gateway's log.
fn log(gateway: &mut Configured) -> impl FnMut(&str) -> String + use<> {
    let mut lines = BufReader::new(gateway.process.child.stderr.take().unwrap()).lines();
    move |part: &str| {
        let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("the log never said: {part}"))
    }
}

#[test]
fn the_log_names_each_changed_setting_and_each_that_needs_a_restart() {
    let mut gateway = Configured::start();
    let mut says = log(&mut gateway);
    gateway.add("webhook = { url = \"https://a.example/HUSH\", secret = \"whsec_SFVTSEhVU0hIVVNISFVTSEhVU0hIVVNI\" }");
    gateway.add("[limits]\nconnections = 7\n[process]\nthreads = 2\n[log]\nfilter = \"debug\"");
    says("changed settings not applied; reload the gateway");
    gateway.process.signal("-HUP");
    for line in [
        "setting changed setting=\"limits.connections\" from=250000 to=7",
        "setting changed setting=\"log.filter\" from=\"info\" to=\"debug\"",
        "setting not changed: it needs a restart setting=\"process.threads\" from=1 to=2",
        "configuration reloaded changed=",
    ] {
        let said = says(line);
        assert!(!said.contains("HUSH"), "{said}");
    }
    let key = gateway.announcement["project"]["key"].as_str().unwrap().to_owned();
    // The level is in effect.
    let secret = gateway.announcement["project"]["secret"].as_str().unwrap().to_owned();
    let session = stdout(&run(&["session", "new", "--key", &key]));
    let new = ["token", "--key", &key, "--secret", &secret, "--session", &session];
    let token = stdout(&run(&new));
    assert!(gateway.lets_in(&token));
    says("connection joined");
}

#[test]
fn a_mistake_is_named_with_its_place_and_nothing_changes() {
    let mut gateway = Configured::start();
    let mut says = log(&mut gateway);
    let good = fs::read_to_string(&gateway.file).unwrap();
    let ops = format!("http://{}", gateway.announcement["ops"].as_str().unwrap());
    for (wrong, said) in [
        ("[limits]\nconnections = 7\noutbox_bytes = 1\n", "limits.outbox_bytes is 1, but must be"),
        ("[limits]\nconnections = 7\n[log]\nfilter = \"inof\"\n", "log.filter "),
        ("[limits\nconnections = 7\n", "is not valid TOML"),
    ] {
        fs::write(&gateway.file, format!("{good}{wrong}")).unwrap();
        gateway.process.signal("-HUP");
        let line = says("configuration not reloaded; the current one stays in effect");
        assert!(line.contains("gateway.toml:") && line.contains(said), "{line}");
    }
    fs::write(&gateway.file, &good).unwrap();
    let mut check = signalbox();
    check.args(["config", "check", "--against", &ops]).arg(&gateway.file);
    check.env("SIGNALBOX_OPS__LISTEN", "127.0.0.1:0");
    check.env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0").env("SIGNALBOX_LISTEN__TCP", "127.0.0.1:0");
    assert_eq!(stdout(&check.output().unwrap()), "valid; nothing differs");
}

/// The header of requests that change something.
const CHANGE: &str = "X-Signalbox-Admin: 1\r\n";

/// Asks the operations listener at this address to reload: the status and the body.
fn post_reload(ops: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(ops).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request =
        format!("POST /reload HTTP/1.1\r\nHost: {ops}\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn post_reload_json(ops: &str) -> (u16, Value) {
    let (status, body) = post_reload(ops, CHANGE);
    (status, serde_json::from_str(&body).unwrap())
}

#[test]
fn a_reload_over_the_network_answers_with_what_has_changed_or_with_the_mistake() {
    let gateway = Configured::start();
    let ops = gateway.announcement["ops"].as_str().unwrap();
    let nothing = json!({ "changed": [], "awaitingRestart": [], "keysChanged": false });
    assert_eq!(post_reload_json(ops), (200, nothing));
    let good = fs::read_to_string(&gateway.file).unwrap();
    gateway.add("[limits]\nconnections = 7\n[process]\nthreads = 2");
    let connections = |from: u32, to: u32| json!({ "setting": "limits.connections", "from": from, "to": to, "effect": "atOnce" });
    let threads = json!({ "setting": "process.threads", "from": 1, "to": 2, "effect": "restart" });
    let changed = json!({
        "changed": [connections(250_000, 7)], "awaitingRestart": [threads], "keysChanged": false
    });
    assert_eq!(post_reload_json(ops), (200, changed));

    for (wrong, said) in [
        ("[limits]\nconnections = 8\noutbox_bytes = 1\n", "limits.outbox_bytes is 1, but must be"),
        ("[limits\nconnections = 8\n", "is not valid TOML"),
    ] {
        fs::write(&gateway.file, format!("{good}{wrong}")).unwrap();
        let (status, answer) = post_reload_json(ops);
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, 422, "{message}");
        assert!(message.contains("gateway.toml:") && message.contains(said), "{message}");
        assert!(message.starts_with("configuration not reloaded; the current one stays"));
    }
    fs::remove_file(&gateway.file).unwrap();
    assert_eq!(post_reload_json(ops).0, 422);

    // The limit is that of the last file without a mistake.
    fs::write(&gateway.file, good).unwrap();
    assert_eq!(post_reload_json(ops).1["changed"], json!([connections(7, 250_000)]));
}

#[test]
fn reloads_at_once_are_all_answered() {
    let gateway = Configured::start();
    let ops = gateway.announcement["ops"].as_str().unwrap();
    gateway.add("[limits]\nconnections = 7");
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| post_reload_json(ops))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let changed = |answer: &Value| answer["changed"].as_array().unwrap().len();
    let with_the_change = answers.iter().filter(|(_, answer)| changed(answer) == 1).count();
    // Those that shared a later reload find nothing to change.
    assert!(with_the_change >= 1, "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| changed(answer) <= 1), "{answers:?}");
}

#[test]
fn a_reload_over_the_network_needs_the_token_the_header_and_the_own_origin() {
    let gateway = Configured::start();
    let ops = gateway.announcement["ops"].as_str().unwrap();
    let token = "0123456789abcdef";
    gateway.add(&format!("[ops]\ntoken = \"{token}\""));
    assert_eq!(post_reload(ops, CHANGE).0, 200);
    gateway.add("[limits]\nconnections = 7");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let foreign = "Origin: https://evil.example\r\n";
    for (headers, status) in [
        (CHANGE.to_owned(), 401),
        (format!("{CHANGE}Authorization: Bearer 0123456789abcdeF\r\n"), 401),
        (bearer.clone(), 403),
        (format!("{bearer}{CHANGE}{foreign}"), 403),
    ] {
        assert_eq!(post_reload(ops, &headers).0, status, "{headers}");
    }
    let (status, body) = post_reload(ops, &format!("{bearer}{CHANGE}"));
    assert_eq!(status, 200);
    assert!(body.contains("limits.connections"), "nothing has been reloaded before: {body}");
}
