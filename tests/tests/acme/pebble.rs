//! Pebble, the test server of Let's Encrypt, and a DNS server that leads all names to this machine.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
};

use signalbox_tests::{authority, raw::tls_stream, rest::ask_on, within_timeout};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

/// A domain for which Pebble issues nothing.
pub(crate) const BLOCKED: &str = "blocked.example.test";

/// The reason that these tests cannot run.
pub(crate) fn unavailable() -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let has = |program| env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let is_here = has("pebble") && has("pebble-challtestsrv");
    (!is_here).then(|| "needs pebble and pebble-challtestsrv".to_owned())
}

/// Addresses of the servers, which a gateway must know before they are started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    directory: SocketAddr,
    management: SocketAddr,
    dns: SocketAddr,
    dns_management: SocketAddr,
    /// The TCP port of the gateway, to which the domains lead.
    pub(crate) gateway: SocketAddr,
}

impl Ports {
    pub(crate) fn free() -> Self {
        let listeners = [(); 5].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [directory, management, dns, dns_management, gateway] =
            listeners.map(|listener| listener.local_addr().unwrap());
        Self { directory, management, dns, dns_management, gateway }
    }

    /// The URL of the directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.directory.port())
    }
}

/// The running servers.
pub(crate) struct Pebble {
    ports: Ports,
    _files: TempDir,
    _processes: [Child; 2],
}

impl Pebble {
    /// Starts them. Certificates are valid for this time. `validated` is the port that is validated.
    pub(crate) async fn start(ports: Ports, validity_s: u32, validated: u16) -> Self {
        let files = tempfile::tempdir().unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": ports.directory,
            "managementListenAddress": ports.management,
            "certificate": authority().certificate_path(),
            "privateKey": authority().key_path(),
            "httpPort": 1,
            "tlsPort": validated,
            "domainBlocklist": [BLOCKED],
            "certificateValidityPeriod": validity_s,
        }});
        std::fs::write(files.path().join("pebble.json"), config.to_string()).unwrap();
        let dns = Command::new("pebble-challtestsrv")
            .args(["-defaultIPv4", &Ipv4Addr::LOCALHOST.to_string(), "-defaultIPv6", ""])
            .args(["-dns01", &ports.dns.to_string()])
            .args(["-management", &ports.dns_management.to_string()])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        listens(ports.dns).await;
        let mut pebble = Command::new("pebble")
            .args(["-config", "pebble.json", "-dnsserver", &ports.dns.to_string()])
            .current_dir(files.path())
            // Otherwise it waits for up to 15 seconds before it validates.
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(pebble.stdout.take().unwrap()).lines();
        let ready = async {
            let mut seen = String::new();
            loop {
                let line = log.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("pebble has ended: {seen}"));
                if line.contains("ACME directory available") {
                    return;
                }
                seen += &line;
            }
        };
        within_timeout("pebble starts", ready).await;
        // It says so a moment before it is true.
        listens(ports.directory).await;
        listens(ports.management).await;
        // A process that cannot write its log blocks.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { ports, _files: files, _processes: [dns, pebble] }
    }

    /// The root of the certificates that it issues, which is another one after each start.
    pub(crate) async fn root(&self) -> Vec<u8> {
        let mut stream = tls_stream(self.ports.management).await;
        let request = "GET /roots/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        ask_on(&mut stream, request).await.unwrap().body.into_bytes()
    }
}

/// Waits until a server listens.
async fn listens(address: SocketAddr) {
    let connecting = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within_timeout("a server listens", connecting).await;
}
