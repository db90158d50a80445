//! Connection of a client command to a gateway: flags, target and connecting.

mod hint;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use signalbox_client::{Client, ConnectOptions, Connector, Events, Streams};

use crate::{
    dev::profile::{DevGateway, DevProfile, DevRole},
    output,
    stop_signals::StopSignals,
};

/// Time for a connection to complete after the command was asked to stop, so that the client can leave
/// its session.
const LATE_WELCOME: Duration = Duration::from_secs(1);

/// Time after which the URLs are printed at a terminal.
const PROGRESS: Duration = Duration::from_millis(500);

/// Environment variable with the token.
const TOKEN: &str = "SIGNALBOX_TOKEN";

/// The flags of every command that connects to a gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// URL of the gateway: quic://HOST:PORT, https://HOST:PORT (WebTransport), wss://HOST:PORT, or
    /// ws://HOST:PORT without TLS. The default port is 4433. Several URLs, of one gateway or of several,
    /// are tried in order: wss:// where quic:// is blocked, the next gateway where one is down. With --dev
    /// only `quic` (the default) or `wss`.
    #[arg(value_name = "URL", required_unless_present = "dev")]
    urls: Vec<String>,
    /// Connect to the gateway that `signalbox serve --dev` started on this machine, with its token
    /// for this role.
    #[arg(
        long,
        value_name = "ROLE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "publisher",
        conflicts_with_all = ["token", "ca"]
    )]
    dev: Option<DevRole>,
    /// With --dev and a cluster: the gateway to try first, by its name. The others come after it.
    #[arg(long, value_name = "NAME", requires = "dev")]
    gateway: Option<String>,
    /// Token from the project's server or `signalbox token` [env: SIGNALBOX_TOKEN].
    #[arg(long)]
    token: Option<String>,
    /// PEM file with the certificate authority to trust, instead of the system's authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// On QUIC, receive the signals of all senders on one stream.
    #[arg(long)]
    single_stream: bool,
    /// On WebSocket, speak JSON instead of postcard.
    #[arg(long)]
    websocket_json: bool,
}

/// The gateways, and the credentials for them.
pub(crate) struct ConnectTarget {
    urls: Vec<String>,
    ca: Option<PathBuf>,
    token: String,
    dev: bool,
}

impl ConnectTarget {
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().map(String::as_str)
    }

    pub(crate) fn is_dev(&self) -> bool {
        self.dev
    }

    pub(crate) fn has_ca(&self) -> bool {
        self.ca.is_some()
    }
}

impl ConnectArgs {
    /// Connects, unless the process is asked to stop first. A connection that completes shortly after
    /// that leaves its session at once.
    pub(crate) async fn connect_or(
        &self,
        stop: &mut StopSignals,
        presence: bool,
        rejoin: bool,
    ) -> anyhow::Result<(Client, Events)> {
        let target = self.target()?;
        let connecting = self.connect(&target, presence, rejoin);
        tokio::pin!(connecting);
        tokio::select! {
            connected = &mut connecting => connected,
            never = progress(&target) => match never {},
            () = stop.requested() => {
                if let Ok(Ok((client, _))) = tokio::time::timeout(LATE_WELCOME, connecting).await {
                    client.disconnect().await;
                }
                bail!("stopped while connecting")
            }
        }
    }

    fn target(&self) -> anyhow::Result<ConnectTarget> {
        let Some(role) = self.dev else {
            let token = self.token.clone().or_else(|| std::env::var(TOKEN).ok());
            let token = token.with_context(|| {
                format!("no token: pass --token TOKEN or set {TOKEN}, or use --dev with `signalbox serve --dev`")
            })?;
            let (urls, ca) = (self.urls.clone(), self.ca.clone());
            return Ok(ConnectTarget { urls, ca, token, dev: false });
        };
        let transport = match self.urls.as_slice() {
            [] => "quic",
            [transport] => transport,
            _ => bail!("--dev takes one transport: `quic` or `wss`"),
        };
        if !["quic", "wss", "ws"].contains(&transport) {
            bail!("{transport:?} is not a transport: with --dev use `quic` or `wss`");
        }
        let mut profile = DevProfile::read()?;
        if let Some(name) = &self.gateway {
            profile.prefer(name)?;
        }
        let token = profile.token(role).to_owned();
        let url = |it: DevGateway| if transport == "quic" { it.quic } else { it.websocket };
        let urls = profile.gateways.into_iter().map(url).collect();
        Ok(ConnectTarget { urls, ca: Some(profile.ca), token, dev: true })
    }

    async fn connect(
        &self,
        target: &ConnectTarget,
        presence: bool,
        rejoin: bool,
    ) -> anyhow::Result<(Client, Events)> {
        let connector = match &target.ca {
            None => Connector::new()?,
            Some(file) => {
                let pem = std::fs::read(file)
                    .with_context(|| format!("cannot read --ca {}", file.display()))?;
                Connector::with_roots_pem(&pem)
                    .with_context(|| format!("--ca {}", file.display()))?
            }
        };
        let mut options = ConnectOptions::new(target.urls.as_slice(), &target.token)
            .presence(presence)
            .rejoin(rejoin)
            .agent(concat!("signalbox-cli/", env!("CARGO_PKG_VERSION")));
        if self.single_stream {
            options = options.streams(Streams::Single);
        }
        if self.websocket_json {
            options = options.json();
        }
        connector.connect(&options).await.map_err(|error| match hint::hint(&error, target) {
            // On a line of its own, after the error with its causes.
            Some(hint) => anyhow::anyhow!("{:#}\nhint: {hint}", anyhow::Error::from(error)),
            None => error.into(),
        })
    }
}

/// Prints the URLs at a terminal if connecting takes a while.
async fn progress(target: &ConnectTarget) -> std::convert::Infallible {
    if io::stderr().is_terminal() {
        tokio::time::sleep(PROGRESS).await;
        let urls: Vec<_> = target.urls().collect();
        output::note(format_args!("connecting to {} …", urls.join(", ")));
    }
    std::future::pending().await
}
