//! The clients of a measurement: sessions of ten at the gateway that is killed, and one at each of the
//! others.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use signalbox_client::{Client, ConnectOptions, Connector, Events};
use signalbox_loadgen::{
    clock::now_ns,
    target::{cluster::GatewayCluster, gateway::Gateway},
    transport::TransportVariant,
};
use signalbox_protocol::ConnectionId;
use tokio::task::JoinSet;

use super::{FailoverLabel, ledger::Ledger};

/// Gateways of the cluster.
pub(super) const GATEWAYS: usize = 3;

/// Clients of a session at the gateway that is killed.
const DOOMED: usize = 10;

/// Clients that share an address of the loopback and a UDP socket. Gateways share their permits between
/// addresses, and thousands of clients have many. The datagrams of many more would overflow the buffer
/// of the socket while they resume, and be lost as they are not with one socket for each client.
const CLIENTS_PER_ADDRESS: usize = 100;

/// Clients that connect at the same time: so few that the preferred gateway answers in its head start.
const CONNECTING: usize = 8;

/// Attempts of a client to join its gateway.
const ATTEMPTS: usize = 20;

/// One client.
pub(super) struct Watched {
    pub(super) client: Client,
    pub(super) id: ConnectionId,
    pub(super) session: usize,
    /// At the gateway that is killed.
    pub(super) doomed: bool,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl Watched {
    /// Whether it receives signals until the end.
    pub(super) fn receives(&self, label: FailoverLabel) -> bool {
        label.is_resumable() || !self.doomed
    }
}

/// All clients, those at the gateways that stay included.
pub(super) fn count(connections: usize) -> usize {
    connections + sessions(connections) * (GATEWAYS - 1)
}

pub(super) fn sessions(connections: usize) -> usize {
    connections.div_ceil(DOOMED)
}

/// Clients of a session at the gateway that is killed.
pub(super) fn doomed_in(session: usize, connections: usize) -> usize {
    connections.saturating_sub(session * DOOMED).min(DOOMED)
}

/// Connects all clients, session by session: first those at the gateway that is killed.
pub(super) async fn join(
    cluster: &GatewayCluster,
    label: FailoverLabel,
    idle: Duration,
    watching: &mut JoinSet<()>,
) -> anyhow::Result<Vec<Watched>> {
    let gateways = cluster.gateways();
    let [killed, others @ ..] = gateways else { anyhow::bail!("a cluster without gateways") };
    let mut joining: JoinSet<anyhow::Result<(usize, Watched, Events)>> = JoinSet::new();
    let mut joined: Vec<_> = (0..count(label.connections)).map(|_| None).collect();
    let addresses = count(label.connections).div_ceil(CLIENTS_PER_ADDRESS);
    let connectors: Vec<Connector> =
        (0..addresses).map(|it| killed.connector().with_local_address(local_address(it))).collect();
    let mut index = 0;
    for session in 0..sessions(label.connections) {
        let token = killed.token()?;
        let doomed = doomed_in(session, label.connections);
        let members = doomed + others.len();
        let homes = std::iter::repeat_n((killed, true), doomed);
        for (home, doomed) in homes.chain(others.iter().map(|it| (it, false))) {
            let next = next_of(gateways, home, label.transport)?;
            let options = options(gateways, home, index, label.transport, &token)?
                .keep_alive(idle / 3)
                .resume(label.is_resumable() || !doomed)
                .rejoin(label.is_resumable() || !doomed);
            let connector = connectors.get(index % addresses).context("no connectors")?.clone();
            if joining.len() >= CONNECTING
                && let Some(done) = joining.join_next().await
            {
                hold(done??, &mut joined, watching);
            }
            joining.spawn(async move {
                let (client, events) = join_at(&connector, &options, &next).await?;
                let id = client.connection().id;
                let ledger = Arc::new(Mutex::new(Ledger::new(members - 1)));
                Ok((index, Watched { client, id, session, doomed, ledger }, events))
            });
            index += 1;
        }
    }
    while let Some(done) = joining.join_next().await {
        hold(done??, &mut joined, watching);
    }
    Ok(joined.into_iter().flatten().collect())
}

/// An address of the loopback for clients.
fn local_address(index: usize) -> IpAddr {
    const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 1]);
    Ipv4Addr::from_bits(FIRST + u32::try_from(index).unwrap_or(0)).into()
}

/// The URL of the gateway that a client is told of at its own.
fn next_of(
    gateways: &[Gateway],
    home: &Gateway,
    transport: TransportVariant,
) -> anyhow::Result<String> {
    let turn = gateways.iter().cycle().skip_while(|it| it.pid() != home.pid());
    let next = turn.take(gateways.len() + 1).nth(1).context("a cluster without gateways")?;
    Ok(format!("{}://{}", transport.scheme(), next.address(transport)))
}

/// Joins at the gateway that names this next one. A gateway that is slow to answer loses the client
/// to another.
async fn join_at(
    connector: &Connector,
    options: &ConnectOptions,
    next: &str,
) -> anyhow::Result<(Client, Events)> {
    for _ in 0..ATTEMPTS {
        let (client, events) =
            connector.connect(options).await.context("a client could not join")?;
        if client.gateways().first().is_some_and(|it| it == next) {
            return Ok((client, events));
        }
        client.disconnect().await;
    }
    anyhow::bail!("another gateway answered first in {ATTEMPTS} attempts: the machine is too busy")
}

fn hold(
    (index, client, mut events): (usize, Watched, Events),
    joined: &mut [Option<Watched>],
    watching: &mut JoinSet<()>,
) {
    let ledger = client.ledger.clone();
    watching.spawn(async move {
        while let Some(event) = events.next().await {
            ledger.lock().event(event, now_ns());
        }
    });
    if let Some(slot) = joined.get_mut(index) {
        *slot = Some(client);
    }
}

/// With the URLs of all gateways: first its own, then the others in turn.
fn options(
    gateways: &[Gateway],
    home: &Gateway,
    turn: usize,
    transport: TransportVariant,
    token: &str,
) -> anyhow::Result<ConnectOptions> {
    let others: Vec<_> = gateways.iter().filter(|it| it.pid() != home.pid()).collect();
    let others = others.iter().cycle().skip(turn % others.len().max(1)).take(others.len());
    let all = [home].into_iter().chain(others.copied());
    let addresses: Vec<_> = all.map(|it| it.address(transport)).collect();
    Ok(transport.options_to_any(&addresses, token)?.presence(true))
}
