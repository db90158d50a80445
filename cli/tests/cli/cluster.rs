//! Clusters of `serve --dev`: several gateways by one command, fail-over, and `cluster status`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use signalbox_test_nats::NatsServer;
use tokio::runtime::Runtime;

use crate::{Gateway, Process, TIMEOUT, signalbox};

/// A nats-server, and the directory of its gateways.
struct Scene {
    runtime: Runtime,
    nats: NatsServer,
    dir: tempfile::TempDir,
}

impl Scene {
    fn start(configuration: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let nats = runtime.block_on(NatsServer::start(configuration));
        Self { runtime, nats, dir: tempfile::tempdir().unwrap() }
    }

    /// The command that starts a gateway of the cluster.
    fn serve(&self, announce: &str) -> Command {
        let mut command = Gateway::serve_command(self.dir.path(), announce);
        command.args(["--cluster", &self.nats.url()]);
        command
    }

    /// The error of a gateway that does not start.
    fn refused(&self, change: impl FnOnce(&mut Command)) -> String {
        let mut command = self.serve("json");
        change(&mut command);
        refused(&mut command)
    }
}

/// The only error line of a command that fails.
fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(stdout.is_empty(), "it was not ready");
    let mut errors = log.lines().skip_while(|line| !line.starts_with("error: "));
    let error = errors.next().unwrap_or_else(|| panic!("no error: {log}")).to_owned();
    assert_eq!(errors.next(), None, "it is the last line, and the only one");
    error
}

fn at_home(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = signalbox();
    command.env("XDG_RUNTIME_DIR", dir).args(arguments);
    command
}

/// Waits until `cluster status --dev` succeeds, and returns its lines.
fn status(dir: &Path, gateways: usize) -> Vec<Value> {
    let deadline = std::time::Instant::now() + TIMEOUT;
    loop {
        let output = at_home(dir, &["cluster", "status", "--dev", "--json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let healthy = lines.iter().all(|it| {
            it["healthy"] == true && it["peers"].as_array().unwrap().len() == gateways - 1
        });
        assert_eq!(output.status.success(), lines.iter().all(|it| it["healthy"] == true));
        if healthy && lines.len() == gateways {
            return lines;
        }
        assert!(std::time::Instant::now() < deadline, "{text}");
    }
}

#[test]
fn the_same_command_starts_gateways_of_one_cluster() {
    let scene = Scene::start("");
    let mut first = Process::start(&mut scene.serve("text"));
    let alone = first.line_with("Cluster");
    assert!(alone.contains("no other gateway yet"), "{alone}");
    let by_quic = first.line_with(" join --dev --gateway dev-");
    let mut second = Process::start(&mut scene.serve("text"));
    let with = second.line_with("Cluster");
    let name = by_quic.split_whitespace().last().unwrap().to_owned();
    assert!(with.contains(&format!("with {name}")), "{with}");
    let by_websocket = second.line_with(" join wss --dev=moderator --gateway dev-");
    status(scene.dir.path(), 2);

    // The commands as printed join one session at two gateways.
    let mut clients = [&by_quic, &by_websocket].map(|command| {
        let words: Vec<_> = command.split_whitespace().skip(1).chain(["--json"]).collect();
        let mut join = Process::start(&mut at_home(scene.dir.path(), &words));
        assert_eq!(join.event()["event"], "sessionConnected");
        join
    });
    clients[0].type_line("over the cluster");
    clients[1].line_with("over the cluster");
    let reports = status(scene.dir.path(), 2);
    assert_eq!(reports[0]["name"], Value::from(name));
    for report in reports {
        assert_eq!(report["sessions"]["shared"], 1, "{report}");
        assert_eq!(report["bus"]["connected"], true, "{report}");
    }

    // The client of a killed gateway goes on at the other one as the same connection.
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    clients[0].line_with("sessionReconnected");
    clients[1].type_line("after the end");
    clients[0].line_with("after the end");
    let text = at_home(scene.dir.path(), &["cluster", "status", "--dev"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("dev-") && !text.contains("\n\n"), "one gateway is left: {text}");
    second.terminate();
    assert!(second.succeeds());
    assert!(!scene.dir.path().join("signalbox/dev.json").exists());
}

#[test]
fn status_tells_when_nats_is_gone_and_when_nothing_listens() {
    let mut scene = Scene::start("");
    let mut gateway = Process::start(&mut scene.serve("json"));
    let announcement = gateway.event();
    let ops = format!("http://{}", announcement["ops"].as_str().unwrap());
    let ask = || signalbox().args(["cluster", "status", "--ops", &ops]).output().unwrap();
    scene.runtime.block_on(scene.nats.kill());
    let deadline = std::time::Instant::now() + TIMEOUT;
    let text = loop {
        let output = ask();
        let text = String::from_utf8(output.stdout).unwrap();
        if text.contains("NATS has not been reachable") {
            assert_eq!(output.status.code(), Some(1));
            break text;
        }
        assert!(std::time::Instant::now() < deadline, "{text}");
    };
    assert!(text.lines().next().unwrap().contains("is degraded: NATS"), "{text}");
    scene.runtime.block_on(scene.nats.restart());
    while !ask().status.success() {
        assert!(std::time::Instant::now() < deadline);
    }

    gateway.terminate();
    assert!(gateway.succeeds());
    let output = ask();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing listens there: set ops.listen"), "{said}");
    // Other servers, and gateways on their own.
    let alone = Gateway::start();
    for (address, part) in [("/https", "not HTTP"), ("/ops", "cluster.servers is not set")] {
        let url = format!("http://{}", alone.text(address));
        let said = refused(signalbox().args(["cluster", "status", "--ops", &url]));
        assert!(said.contains(part), "{said}");
    }
}

/// The status and the body of the answer to a request with this host.
fn get(address: &str, path: &str, host: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    // It ends the connection.
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_operations_listener_answers_programs_of_this_machine() {
    let gateway = Gateway::start();
    let address = gateway.text("/ops");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    for (path, status, part) in [
        ("/healthz", "200", "ok"),
        ("/readyz", "200", "ready"),
        ("/cluster", "404", "cluster.servers is not set"),
        ("/metrics", "200", "signalbox_ready 1"),
        ("/v2", "404", "/healthz, /readyz"),
    ] {
        for host in [address, "localhost", "[::1]:4435"] {
            let (got, body) = get(address, path, host);
            assert_eq!(got, status, "{path}");
            assert!(body.contains(part), "{body}");
        }
        // A web site could point a name of its own at this machine.
        assert_eq!(get(address, path, "rebound.example:80").0, "421");
        assert_eq!(get(address, path, "127.0.0.1@rebound.example").0, "400");
    }
    // Nothing of it is on the ports for clients.
    let (status, _) =
        get(gateway.text("/page").split('/').nth(2).unwrap(), "/cluster", "localhost");
    assert_eq!(status, "404");
}

/// Sets settings of the cluster.
fn with(command: &mut Command, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        command.env(format!("SIGNALBOX_CLUSTER__{name}"), value);
    }
}

const GOOD: &[(&str, &str)] = &[("USER", "gateway"), ("PASSWORD", "right")];

#[test]
fn a_gateway_that_cannot_join_its_cluster_says_what_to_change() {
    let mut scene = Scene::start("authorization { user: gateway, password: right }\n");
    for settings in [&[("USER", "gateway"), ("PASSWORD", "wrong")][..], &[]] {
        let said = scene.refused(|command| with(command, settings));
        assert!(
            said.contains("refuses the credentials") && said.contains("cluster.user"),
            "{said}"
        );
        assert!(!said.contains("wrong"), "{said}");
    }
    let named = |command: &mut Command| with(command.args(["--name", "gw-1"]), GOOD);
    let mut command = scene.serve("json");
    named(&mut command);
    let mut first = Process::start(&mut command);
    assert_eq!(first.event()["name"], "gw-1");
    let said = scene.refused(named);
    assert!(said.contains("another gateway named 'gw-1'") && said.contains("`name`"), "{said}");
    scene.runtime.block_on(scene.nats.kill());
    let said = scene.refused(|command| with(command, GOOD));
    assert!(said.contains("no NATS server can be reached"), "{said}");
    assert!(said.contains("correct cluster.servers"), "{said}");
}

/// Faults of settings are found without NATS, and name their source.
#[test]
fn settings_of_a_cluster_are_checked_before_it_is_joined() {
    let dir = tempfile::tempdir().unwrap();
    for (variable, value, part) in [
        ("CLUSTER__USER", "gateway", "cluster.user and password must be set together"),
        ("CLUSTER__NAMESPACE", "a.b", "cluster.namespace cannot be used: the namespace 'a.b'"),
        (
            "OPS__LISTEN",
            "0.0.0.0:4435",
            "ops.listen is 0.0.0.0:4435, which other machines can reach: set ops.token",
        ),
    ] {
        let mut command = Gateway::serve_command(dir.path(), "json");
        command.args(["--cluster", "nats://127.0.0.1:1"]);
        let output = command.env(format!("SIGNALBOX_{variable}"), value).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("\n  SIGNALBOX_{variable}: {part}")), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("  ")).count(), 1, "{said}");
    }
    let mut command = Gateway::serve_command(dir.path(), "json");
    let output = command.args(["--cluster", "http://a"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\n  flag --cluster: cluster.servers.0 cannot be used"), "{said}");
    // `config` shows no secret.
    let mut config = signalbox();
    with(config.arg("config"), &[("USER", "gateway"), ("PASSWORD", "hush"), ("TOKEN", "hush")]);
    let output = config.output().unwrap();
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("cluster.password = \"not shown\"") && !shown.contains("hush"),
        "{shown}"
    );
}
