//! Ports, NATS, and the way of clients to a gateway.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use rustls::RootCertStore;
use signalbox_client::{CloseReason, ConnectError, ConnectOptions, Connector};
use signalbox_gateway::{Config, Gateway};
use tokio::time::timeout;

use super::finding::Finding;
use crate::health;

/// Time for the gateway on this machine to answer.
const HEALTH: Duration = Duration::from_secs(3);

/// Time for NATS, which has limits of its own.
const NATS: Duration = Duration::from_secs(20);

/// Time for a connection to a gateway.
const REACH: Duration = Duration::from_secs(15);

/// The authorities that clients trust.
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// What they are, for people.
    pub(super) names: &'static str,
    /// As PEM; none if they are those of the system.
    pem: Option<Vec<u8>>,
}

/// The authorities in a file, or those of the system.
pub(super) fn roots(ca: Option<&Path>) -> anyhow::Result<Roots> {
    let Some(file) = ca else {
        let store = signalbox_certs::native_roots().store;
        return Ok(Roots { store, names: "an authority of this system", pem: None });
    };
    let pem =
        std::fs::read(file).with_context(|| format!("cannot read --ca {}", file.display()))?;
    let store = signalbox_certs::roots_from_pem(&pem)
        .with_context(|| format!("--ca {}", file.display()))?;
    Ok(Roots { store, names: "the authority of --ca", pem: Some(pem) })
}

/// Whether each port is free, or the gateway's own.
pub(super) async fn ports(config: &Config) -> Vec<Finding> {
    let udp = |address| UdpSocket::bind(address).map(drop);
    let tcp = |address| TcpListener::bind(address).map(drop);
    let optional = [("listen.page", config.listen.page), ("ops.listen", config.ops.listen)];
    let mut bound = vec![
        ("listen.quic", config.listen.quic, udp(config.listen.quic)),
        ("listen.tcp", config.listen.tcp, tcp(config.listen.tcp)),
    ];
    for (setting, address) in optional {
        bound.extend(address.map(|address| (setting, address, tcp(address))));
    }
    let in_use = |result: &io::Result<()>| {
        result.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    let runs =
        bound.iter().any(|(.., result)| in_use(result)) && health::answers(config, HEALTH).await;
    let findings =
        bound.into_iter().map(|(setting, address, result)| port(setting, address, result, runs));
    findings.collect()
}

fn port(setting: &str, address: SocketAddr, bound: io::Result<()>, runs: bool) -> Finding {
    let place = format!("{setting} {address}");
    match bound {
        Ok(()) if runs => {
            let text = format!("{place} is free, although a gateway runs with this configuration");
            Finding::warn("ports", text, "the configuration may have changed: restart the gateway")
        }
        Ok(()) => Finding::ok("ports", format!("{place} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && runs => {
            Finding::ok("ports", format!("{place} is held by a running gateway"))
        }
        Err(error) => {
            let next = match error.kind() {
                ErrorKind::AddrInUse => format!("end the other program, or change {setting}"),
                ErrorKind::PermissionDenied => {
                    "use a port above 1023, or give the gateway CAP_NET_BIND_SERVICE".to_owned()
                }
                _ => format!("change {setting} to an address of this machine, such as 0.0.0.0"),
            };
            Finding::fail("ports", format!("{place} cannot be used: {error}"), next)
        }
    }
}

/// Connects to NATS as a gateway does before it joins the cluster, and checks the permissions.
pub(super) async fn nats(config: &Config, valid: bool) -> Finding {
    if !valid {
        let next = "correct the configuration first";
        return Finding::warn("nats", "not checked, as the configuration is invalid", next);
    }
    let mut alone = config.clone();
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    (alone.listen.quic, alone.listen.tcp) = (free, free);
    (alone.listen.page, alone.ops.listen, alone.resume.state_file) = Default::default();
    // The gateway itself may run.
    if let Ok(name) = format!("doctor-{}", std::process::id()).parse() {
        alone.name = name;
    }
    let joining = async {
        let mut gateway = Gateway::bind(alone).map_err(anyhow::Error::from)?;
        gateway.join_cluster().await.map_err(anyhow::Error::from)
    };
    match timeout(NATS, joining).await {
        Ok(Ok(())) => {
            let servers = config.cluster.servers.join(", ");
            Finding::ok("nats", format!("{servers} can be reached, with all permissions"))
        }
        // It says what to do.
        Ok(Err(error)) => Finding::fail(
            "nats",
            format!("{error:#}"),
            "see docs/clustering.md for what NATS needs",
        ),
        Err(_) => Finding::fail("nats", "no answer", "check that NATS runs and is not overloaded"),
    }
}

/// Connects to a gateway as a client does, with a token that no gateway accepts: its rejection shows that
/// everything before it works.
pub(super) async fn reach(url: &str, roots: &Roots) -> Finding {
    let connector = match &roots.pem {
        Some(pem) => Connector::with_roots_pem(pem),
        None => Connector::new(),
    };
    let connector = match connector {
        Ok(connector) => connector,
        Err(error) => return Finding::fail("reach", error.to_string(), "correct --ca"),
    };
    let options = ConnectOptions::new(url, "doctor").rejoin(false);
    let udp = !url.starts_with("ws");
    match timeout(REACH, connector.connect(&options)).await {
        Ok(Err(ConnectError::Refused { reason: CloseReason::InvalidToken, .. })) => {
            let over = if udp { "UDP" } else { "TCP" };
            Finding::ok("reach", format!("{url} answers clients from here, over {over}"))
        }
        Ok(Ok(_)) => Finding::warn(
            "reach",
            format!("{url} accepts a token that is none"),
            "it is no gateway of this version",
        ),
        Ok(Err(error)) => Finding::fail(
            "reach",
            format!("{url}: {:#}", anyhow::Error::from(error)),
            next_after(udp),
        ),
        Err(_) => Finding::fail("reach", format!("{url} has not answered"), next_after(udp)),
    }
}

fn next_after(udp: bool) -> &'static str {
    if udp {
        "check that the gateway runs, and that firewalls let UDP to its port through, in both \
         directions; try wss:// to compare"
    } else {
        "check that the gateway runs, and that firewalls and proxies let its port through"
    }
}
