//! `doctor`: each finding that can be provoked.

use std::{
    net::{TcpListener, UdpSocket},
    process::Command,
};

use serde_json::Value;

use crate::{Gateway, certificates::issue, configured::Configured, signalbox};

/// A machine for a gateway: its certificate, and what is changed of the rest.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    /// With a certificate that is valid for this many days.
    fn new(days: i32) -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        issue(scene.dir.path(), days);
        scene
    }

    fn doctor(&self) -> Command {
        let mut command = signalbox();
        command.args(["doctor", "--json"]);
        command.env("SIGNALBOX_TLS__CERTIFICATE", self.dir.path().join("cert.pem"));
        command.env("SIGNALBOX_TLS__KEY", self.dir.path().join("key.pem"));
        command.env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0");
        command.env("SIGNALBOX_LISTEN__TCP", "127.0.0.1:0");
        command
    }
}

/// The findings of a run, and its exit code.
fn findings(command: &mut Command) -> (Vec<Value>, Option<i32>) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output.status.code())
}

/// Whether there is a finding of this check and level with this text. Others are in the message.
#[track_caller]
fn finds(command: &mut Command, check: &str, level: &str, part: &str) {
    let (all, code) = findings(command);
    let found = all.iter().any(|it| {
        let text = format!("{} {}", it["finding"].as_str().unwrap(), it["next"]);
        it["check"] == check && it["level"] == level && text.contains(part)
    });
    assert!(found, "{check} {level} {part}: {all:#?}");
    let failed = all.iter().any(|it| it["level"] == "fail");
    assert_eq!(code, Some(i32::from(failed)), "{all:#?}");
    // Everything that is not ok has a next step.
    assert!(all.iter().all(|it| (it["level"] == "ok") == it["next"].is_null()), "{all:#?}");
}

#[test]
fn a_running_gateway_holds_its_ports_and_answers_clients() {
    let gateway = Configured::start();
    let text = |name: &str| gateway.announcement[name].as_str().unwrap().to_owned();
    let doctor = |url: &str| {
        let mut command = signalbox();
        command.args(["doctor", "--json", "--config"]).arg(&gateway.file);
        command.args(["--ca", gateway.dev.text("/ca"), "--url", url]);
        command.env("SIGNALBOX_LISTEN__QUIC", text("quic"));
        command.env("SIGNALBOX_LISTEN__TCP", text("https"));
        command.env("SIGNALBOX_OPS__LISTEN", text("ops"));
        command
    };
    let (quic, wss) = (format!("quic://{}", text("quic")), format!("wss://{}", text("https")));
    for setting in ["listen.quic", "listen.tcp", "ops.listen"] {
        let part = format!("{setting} 127.0.0.1");
        finds(&mut doctor(&quic), "ports", "ok", &part);
    }
    finds(&mut doctor(&quic), "ports", "ok", "held by a running gateway");
    finds(&mut doctor(&quic), "reach", "ok", "over UDP");
    finds(&mut doctor(&wss), "reach", "ok", "over TCP");
    finds(&mut doctor(&quic), "certificate", "ok", "its chain leads to the authority of --ca");
    finds(
        &mut doctor("quic://other.invalid"),
        "certificate",
        "fail",
        "clients connect to other.invalid",
    );
    finds(&mut doctor("quic://other.invalid"), "reach", "fail", "cannot find the address");
    finds(
        doctor(&quic).env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0"),
        "ports",
        "warn",
        "is free, although",
    );
}

/// The machine of a client has no configuration of a gateway.
#[test]
fn without_a_configuration_only_the_reach_is_checked() {
    let gateway = Gateway::start();
    let doctor = |urls: &[&str]| {
        let mut command = signalbox();
        command.args(["doctor", "--json", "--ca", gateway.text("/ca")]);
        urls.iter().for_each(|url| {
            command.args(["--url", url]);
        });
        command
    };
    let (quic, wss) = (gateway.url("quic"), gateway.url("wss"));
    let levels = |command: &mut Command| {
        let (all, code) = findings(command);
        let of = |it: &Value| format!("{} {}", it["check"].as_str().unwrap(), it["level"]);
        (all.iter().map(of).collect::<Vec<_>>().join(", "), code)
    };
    let (reached, skipped) = (r#"reach "ok""#, r#"gateway "skip""#);
    assert_eq!(
        levels(&mut doctor(&[&quic, &wss])),
        (format!("{skipped}, {reached}, {reached}"), Some(0))
    );
    finds(&mut doctor(&[&quic]), "gateway", "skip", "pass --config");
    // The variables of other commands are no configuration.
    assert_eq!(levels(doctor(&[&quic]).env("SIGNALBOX_TOKEN", "x")).1, Some(0));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(
        levels(&mut doctor(&[&wss, &format!("wss://{closed}")])),
        (format!(r#"{skipped}, {reached}, reach "fail""#), Some(1))
    );
    // A gateway that is configured by variables is checked.
    let mut configured = doctor(&[&quic]);
    configured.env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0");
    finds(&mut configured, "certificate", "fail", "none is configured");
    // Without a URL there is nothing else to check.
    finds(&mut doctor(&[]), "configuration", "fail", "pass --config FILE, or only --url");
}

#[test]
fn a_gateway_that_nothing_reaches_is_named() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::new(90);
    let mut doctor = scene.doctor();
    doctor.args(["--url", &format!("wss://{closed}")]);
    finds(&mut doctor, "reach", "fail", "firewalls");
}

#[test]
fn ports_of_other_programs_are_named() {
    let scene = Scene::new(90);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp, tcp_address) =
        (udp.local_addr().map(|it| (udp, it)).unwrap(), tcp.local_addr().unwrap());
    let doctor = |name: &str, address: &str| {
        let mut command = scene.doctor();
        command.env(name, address);
        command
    };
    let quic = &mut doctor("SIGNALBOX_LISTEN__QUIC", &udp.1.to_string());
    finds(quic, "ports", "fail", "change listen.quic");
    let ops = &mut doctor("SIGNALBOX_OPS__LISTEN", &tcp_address.to_string());
    // It accepts, and says nothing.
    finds(ops, "ports", "fail", "end the other program, or change ops.listen");
    finds(
        &mut doctor("SIGNALBOX_LISTEN__TCP", "203.0.113.1:4433"),
        "ports",
        "fail",
        "address of this machine",
    );
    drop((udp, tcp));
}

#[test]
fn certificates_that_clients_reject_are_named() {
    for (days, level, part) in
        [(-1, "fail", "has expired"), (90, "ok", "89 more days"), (90, "ok", "is for localhost")]
    {
        finds(&mut Scene::new(days).doctor(), "certificate", level, part);
    }
    let scene = Scene::new(90);
    finds(&mut scene.doctor(), "certificate", "warn", "its chain");
    let mut other_key = scene.doctor();
    let other = Scene::new(90);
    other_key.env("SIGNALBOX_TLS__KEY", other.dir.path().join("key.pem"));
    finds(&mut other_key, "certificate", "fail", "does not belong to the certificate");
    finds(&mut other_key, "configuration", "fail", "tls.key");
    finds(
        scene.doctor().env_remove("SIGNALBOX_TLS__KEY"),
        "certificate",
        "fail",
        "none is configured",
    );
}

#[test]
fn the_bus_must_answer() {
    let scene = Scene::new(90);
    let mut doctor = scene.doctor();
    doctor.env("SIGNALBOX_CLUSTER__SERVERS", "[\"nats://127.0.0.1:1\"]");
    finds(&mut doctor, "nats", "fail", "no NATS server can be reached");
    doctor.env("SIGNALBOX_LIMITS__OUTBOX_BYTES", "1");
    finds(&mut doctor, "nats", "warn", "not checked");
}

#[test]
fn limits_beyond_the_machine_are_named() {
    let scene = Scene::new(90);
    finds(&mut scene.doctor(), "memory", "warn", "two thirds");
    let memory = (u64::MAX / 4).to_string();
    finds(
        scene.doctor().env("SIGNALBOX_LIMITS__MEMORY_BYTES", memory),
        "memory",
        "fail",
        "is more than",
    );
    // A limit of the shell, which its children inherit.
    let doctor = scene.doctor();
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]).arg(doctor.get_program());
    few.args(doctor.get_args());
    few.envs(doctor.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finds(&mut few, "descriptors", "warn", "may open 256 files");
}

#[test]
fn people_read_the_same() {
    let gateway = Gateway::start();
    let scene = Scene::new(-1);
    let mut command = signalbox();
    command.args(["doctor"]).env("SIGNALBOX_TLS__CERTIFICATE", scene.dir.path().join("cert.pem"));
    command.env("SIGNALBOX_TLS__KEY", scene.dir.path().join("key.pem"));
    command.env("SIGNALBOX_LISTEN__TCP", gateway.text("/https"));
    command.env("SIGNALBOX_LISTEN__QUIC", "127.0.0.1:0");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nFAIL  certificate    it has expired"), "{text}");
    assert!(text.contains("\n                     → renew it"), "{text}");
    assert!(text.contains("held by a running gateway"), "{text}");
}
