//! Many clients of the SDK.

use anyhow::Context as _;
use signalbox_client::{Client, ConnectError, ConnectOptions, Events};
use tokio::task::{JoinError, JoinSet};

use crate::{target::gateway::Gateway, transport::TransportVariant};

/// Clients that connect at the same time.
const CONNECTING: usize = 16;

/// Connects clients to one session, or to several of `session_size` each.
pub async fn connect(
    gateway: &Gateway,
    transport: TransportVariant,
    count: usize,
    session_size: usize,
) -> anyhow::Result<Vec<(Client, Events)>> {
    connect_with(gateway, count, session_size, |token| gateway.options(transport, token)).await
}

/// The same with other options.
pub async fn connect_with(
    gateway: &Gateway,
    count: usize,
    session_size: usize,
    options: impl Fn(&str) -> anyhow::Result<ConnectOptions>,
) -> anyhow::Result<Vec<(Client, Events)>> {
    let mut clients = Vec::with_capacity(count);
    let mut connecting = JoinSet::new();
    let mut token = String::new();
    for index in 0..count {
        if index % session_size.max(1) == 0 {
            token = gateway.token()?;
        }
        if connecting.len() >= CONNECTING
            && let Some(client) = connecting.join_next().await
        {
            clients.push(connected(client, clients.len(), gateway)?);
        }
        let options = options(&token)?;
        let connector = gateway.connector().clone();
        connecting.spawn(async move { connector.connect(&options).await });
    }
    while let Some(client) = connecting.join_next().await {
        clients.push(connected(client, clients.len(), gateway)?);
    }
    Ok(clients)
}

type Connecting = Result<Result<(Client, Events), ConnectError>, JoinError>;

fn connected(
    result: Connecting,
    index: usize,
    gateway: &Gateway,
) -> anyhow::Result<(Client, Events)> {
    result?.with_context(|| {
        format!(
            "client {} could not join; the end of the gateway's log:\n{}",
            index + 1,
            gateway.last_words()
        )
    })
}
