//! How a command reaches the gateway: the flags that say so, and the connection they lead to.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use signalbox_client::{Client, ConnectOptions, Connector, Events, Streams};

use crate::{
    hints, output,
    profile::{DevRole, Profile},
    stop::Stop,
};

/// How long a client that is asked to stop while it connects waits for the connection, so that it
/// can say goodbye on it.
const LATE_WELCOME: Duration = Duration::from_secs(1);

/// When a person who waits for the connection is told what is tried.
const PROGRESS: Duration = Duration::from_millis(500);

/// The token, unless a flag says it.
const TOKEN: &str = "SIGNALBOX_TOKEN";

/// How to reach the gateway; the same for every command that does.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArgs {
    /// The gateway: quic://HOST:PORT, wss://HOST:PORT, or ws://HOST:PORT without TLS. The port is
    /// 4433 unless named. With --dev only `quic` (the default) or `wss`.
    #[arg(required_unless_present = "dev")]
    url: Option<String>,
    /// Reach the gateway that `signalbox serve --dev` started on this machine, with its token for
    /// this role.
    #[arg(
        long,
        value_name = "ROLE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "publisher",
        conflicts_with_all = ["fallback", "token", "ca"]
    )]
    dev: Option<DevRole>,
    /// Another way to the same gateway, if the first does not work, such as wss:// where quic:// is
    /// blocked.
    #[arg(long, value_name = "URL")]
    fallback: Option<String>,
    /// The token, from the project's server or `signalbox token` [env: SIGNALBOX_TOKEN].
    #[arg(long)]
    token: Option<String>,
    /// PEM file with the certificate authority to trust, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// On QUIC, take all senders on one stream.
    #[arg(long)]
    single_stream: bool,
    /// On WebSocket, speak JSON instead of postcard.
    #[arg(long)]
    websocket_json: bool,
}

/// What the flags, or the profile of `serve --dev`, say.
pub(crate) struct Target {
    url: String,
    fallback: Option<String>,
    ca: Option<PathBuf>,
    token: String,
    dev: bool,
}

impl Target {
    /// The ways to the gateway, the first one first.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        [Some(&self.url), self.fallback.as_ref()].into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn is_dev(&self) -> bool {
        self.dev
    }

    pub(crate) fn has_ca(&self) -> bool {
        self.ca.is_some()
    }
}

impl LinkArgs {
    /// Connects, unless the process is asked to stop first. A connection that the gateway has made
    /// by then is left again.
    pub(crate) async fn connect_or(
        &self,
        stop: &mut Stop,
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

    fn target(&self) -> anyhow::Result<Target> {
        let Some(role) = self.dev else {
            let token = self.token.clone().or_else(|| std::env::var(TOKEN).ok());
            let token = token.with_context(|| {
                format!("a token is needed: --token TOKEN, {TOKEN}, or --dev for `signalbox serve --dev`")
            })?;
            let url = self.url.clone().context("the gateway's URL is needed")?;
            let (fallback, ca) = (self.fallback.clone(), self.ca.clone());
            return Ok(Target { url, fallback, ca, token, dev: false });
        };
        let transport = self.url.as_deref().unwrap_or("quic");
        if !["quic", "wss", "ws"].contains(&transport) {
            bail!("{transport:?}: with --dev it is only `quic` or `wss`; the rest is known");
        }
        let profile = Profile::read()?;
        let token = profile.token(role).to_owned();
        let url = if transport == "quic" { profile.quic } else { profile.websocket };
        Ok(Target { url, fallback: None, ca: Some(profile.ca), token, dev: true })
    }

    async fn connect(
        &self,
        target: &Target,
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
        let mut options = ConnectOptions::new(&target.url, &target.token)
            .presence(presence)
            .rejoin(rejoin)
            .agent(concat!("signalbox-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(fallback) = &target.fallback {
            options = options.fallback(fallback);
        }
        if self.single_stream {
            options = options.streams(Streams::Single);
        }
        if self.websocket_json {
            options = options.json();
        }
        connector.connect(&options).await.map_err(|error| match hints::hint(&error, target) {
            // A line of its own; what was behind the error is said in its first.
            Some(hint) => anyhow::anyhow!("{:#}\nhint: {hint}", anyhow::Error::from(error)),
            None => error.into(),
        })
    }
}

/// Tells a person who waits what is tried.
async fn progress(target: &Target) -> std::convert::Infallible {
    if io::stderr().is_terminal() {
        tokio::time::sleep(PROGRESS).await;
        let urls: Vec<_> = target.urls().collect();
        output::note(format_args!("connecting to {} …", urls.join(" and ")));
    }
    std::future::pending().await
}
