//! Clients rejoin after a restart or a crash of the gateway without action of the application.

use crate::{Gateway, Process};

/// Clients of each transport.
const CLIENTS: usize = 10;

/// Ends the gateway, starts another one on its ports, and waits until all clients are in their session
/// again.
fn everyone_is_back_after(end: impl Fn(&mut Process)) {
    let dir = tempfile::tempdir().unwrap();
    let serve = |quic: &str, tcp: &str| {
        let mut command = crate::signalbox();
        command.args(["serve", "--dev", "--announce", "json", "--quic", quic, "--tcp", tcp]);
        command.arg("--dev-dir").arg(dir.path());
        let mut process = Process::start(&mut command);
        let announcement = process.event();
        Gateway { process, announcement, _dir: tempfile::tempdir().unwrap() }
    };
    let mut gateway = serve("127.0.0.1:0", "127.0.0.1:0");
    let mut clients: Vec<Process> = (0..2 * CLIENTS)
        .map(|index| gateway.join_json(if index < CLIENTS { "quic" } else { "wss" }))
        .collect();
    let (quic, tcp) = (gateway.text("/quic").to_owned(), gateway.text("/https").to_owned());
    end(&mut gateway.process);
    drop(gateway);
    let _successor = serve(&quic, &tcp);
    for client in &mut clients {
        // The presence events of joining come first, then the end of the link, then the new ones.
        let reconnecting = client.line_with("session");
        assert!(reconnecting.contains("sessionReconnecting"), "{reconnecting}");
        let back = client.line_with("session");
        assert!(back.contains("sessionRejoined"), "{back}");
    }
    // All of them are in one session again.
    clients[0].type_line("is everybody here?");
    for client in &mut clients {
        client.line_with("is everybody here?");
    }
}

#[test]
fn all_clients_rejoin_after_a_crash() {
    everyone_is_back_after(|gateway| gateway.child.kill().unwrap());
}

#[test]
fn all_clients_rejoin_after_a_restart() {
    everyone_is_back_after(|gateway| {
        gateway.terminate();
        assert!(gateway.child.wait().unwrap().success());
    });
}
