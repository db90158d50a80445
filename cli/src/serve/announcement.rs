//! The announcement that the gateway is ready: text with commands for people, or a line of JSON.

use std::{path::Path, time::Duration};

use serde::Serialize;
use signalbox_gateway::{Addresses, Config, NetworkPage};
use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use super::page;
use crate::{
    address::{local_name, reachable},
    chaos::ChaosSpec,
    dev::{DevEnvironment, DevProject, DevTokens},
    output,
};

/// Time for the announcement to be read.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A gateway that is ready.
pub(super) struct Announcement<'a> {
    pub(super) config: &'a Config,
    /// The addresses for clients.
    pub(super) public: Addresses,
    /// The addresses of the gateway itself: other ones behind the proxy of `--chaos`.
    pub(super) gateway: Addresses,
    pub(super) chaos: Option<ChaosSpec>,
    pub(super) dev: Option<&'a DevEnvironment>,
    /// The page for other devices, with `--lan`.
    pub(super) network: Option<&'a NetworkPage>,
    /// The file for `--dev` of client commands, if it was written.
    pub(super) dev_profile: Option<&'a Path>,
    /// The other gateways of the cluster, if there is one.
    pub(super) peers: Option<Vec<String>>,
}

/// Prints an announcement. The gateway serves all the same if it is not read: standard output may be
/// closed, full, or a pipe whose reader has stopped. (A blocking task of the runtime would keep the
/// process from ending then, so the write has a thread of its own.)
pub(super) async fn print(announcement: String) {
    let (done, written) = oneshot::channel();
    let print = move || drop(done.send(output::line(announcement)));
    let problem = match std::thread::Builder::new().name("announcement".into()).spawn(print) {
        Err(error) => error.to_string(),
        Ok(_) => match timeout(TIMEOUT, written).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) | Err(_) => "standard output is not read".into(),
        },
    };
    warn!(error = problem, "announcement not written to standard output; serving all the same");
}

/// The announcement for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonAnnouncement<'a> {
    name: &'a str,
    quic: String,
    https: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_page: Option<&'a str>,
    ca: Option<&'a Path>,
    project: Option<JsonProject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a DevTokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chaos: Option<JsonChaos>,
}

#[derive(Serialize)]
struct JsonProject<'a> {
    key: &'a str,
    secret: &'a str,
}

/// The spec with its seed, to repeat it, and the addresses of the gateway without it.
#[derive(Serialize)]
struct JsonChaos {
    spec: ChaosSpec,
    quic: String,
    https: String,
}

impl Announcement<'_> {
    /// Exactly one line of JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        let Self { config, public, gateway, chaos, dev, .. } = self;
        let project = config.projects.first().and_then(|project| {
            let secret = project.secrets.first()?;
            Some(JsonProject { key: project.key.as_str(), secret })
        });
        serde_json::to_string(&JsonAnnouncement {
            name: config.name.as_str(),
            quic: reachable(public.quic).to_string(),
            https: reachable(public.tcp).to_string(),
            ops: gateway.ops.map(|address| address.to_string()),
            page: self.page(),
            network_page: self.network.map(|it| it.url.as_str()),
            ca: match dev {
                Some(dev) => Some(dev.authority.ca_pem_path()),
                None => config.tls.certificate.as_deref(),
            },
            project,
            session: dev.map(|dev| dev.project.session.as_str()),
            tokens: dev.map(|dev| &dev.tokens),
            chaos: chaos.map(|spec| JsonChaos {
                spec,
                quic: gateway.quic.to_string(),
                https: gateway.tcp.to_string(),
            }),
        })
    }

    /// The page's address; with its key in the dev environment.
    fn page(&self) -> Option<String> {
        match self.dev {
            Some(dev) => page::url(dev, self.public),
            None => Some(format!("http://{}/", local_name(self.public.page?))),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.dev {
            Some(dev) => self.commands(dev),
            None => {
                let websocket = if self.config.tls.plaintext_tcp { "ws" } else { "wss" };
                let Addresses { quic, tcp, .. } = self.public;
                let page = self.page().map_or_else(String::new, |url| format!(", page {url}"));
                let ops = self.gateway.ops;
                let ops =
                    ops.map_or_else(String::new, |it| format!(", operations on http://{it}/"));
                format!("ready: QUIC on {quic} (UDP), {websocket} on {tcp} (TCP){page}{ops}")
            }
        };
        if let Some(spec) = self.chaos {
            text.push('\n');
            text.push_str(&chaos_notice(spec, self.gateway));
        }
        text
    }

    /// Commands to join the session of `--dev`.
    fn commands(&self, dev: &DevEnvironment) -> String {
        let DevEnvironment { authority, project, tokens, .. } = dev;
        let (websocket, http) =
            if self.config.tls.plaintext_tcp { ("ws", "http") } else { ("wss", "https") };
        let DevProject { key, secret, session } = project;
        let program = program();
        let ca = authority.ca_pem_path().display();
        let (quic, tcp) = (local_name(self.public.quic), local_name(self.public.tcp));
        let name = &self.config.name;
        let gateway =
            self.peers.as_ref().map_or_else(String::new, |_| format!(" --gateway {name}"));
        let (tokens, by_quic, by_websocket) = match self.dev_profile {
            Some(file) => (
                format!("in {}, one for each role, valid for a day", file.display()),
                format!("--dev{gateway}"),
                format!("{websocket} --dev=moderator{gateway}"),
            ),
            None => {
                let DevTokens { moderator, publisher, subscriber } = tokens;
                (
                    format!(
                        "valid for a day\n\n  moderator   {moderator}\n\n  publisher   {publisher}\n\n  \
                         subscriber  {subscriber}"
                    ),
                    format!("quic://{quic} --ca {ca} --token {publisher}"),
                    format!("{websocket}://{tcp} --ca {ca} --token {moderator}"),
                )
            }
        };
        let mut page = self.page().map_or_else(String::new, |url| {
            format!("Open this page in a browser, and again in a second tab:\n\n  {url}\n\n")
        });
        if let Some(NetworkPage { url, .. }) = self.network {
            let code = page::terminal_code(url);
            page +=
                &format!("On another device in the network, without TLS:\n\n  {url}\n\n{code}\n\n");
        }
        let cluster = self.cluster();
        let operations = self.operations();
        format!(
            "\
Signalbox is ready.

{page}{cluster}  QUIC        quic://{quic}
  WebSocket   {websocket}://{tcp}
{operations}  Authority   {ca}
  Project     {key}
  Secret      {secret}
  Session     {session}
  Tokens      {tokens}

Join over QUIC, in a second terminal:

  {program} join {by_quic}

Join over WebSocket as a moderator, in a third:

  {program} join {by_websocket}

Send both a signal as your server would, over REST:

  curl --cacert {ca} {http}://{tcp}/v2/project/{key}/session/{session}/signal \\
    -H \"X-OPENTOK-AUTH: $({program} token --server --key {key} --secret {secret})\" \\
    --json '{{\"type\":\"news\",\"data\":\"from a server\"}}'
"
        )
    }

    /// The row about the operations listener, if there is one.
    fn operations(&self) -> String {
        let Some(ops) = self.gateway.ops.map(local_name) else { return String::new() };
        let cluster = self.peers.as_ref().map_or("", |_| ", /cluster");
        format!(
            "  Operations  http://{ops}/ is the admin page; /metrics, /healthz, /readyz, /log{cluster}\n"
        )
    }

    /// The rows about the cluster, if there is one.
    fn cluster(&self) -> String {
        let Some(peers) = &self.peers else { return String::new() };
        let Config { name, cluster, .. } = self.config;
        let servers = cluster.servers.join(", ");
        let peers = match peers.as_slice() {
            [] => "no other gateway yet: type this command in another terminal".to_owned(),
            peers => format!("with {}", peers.join(", ")),
        };
        format!("  Gateway     {name}\n  Cluster     {servers}, {peers}\n")
    }
}

fn chaos_notice(spec: ChaosSpec, gateway: Addresses) -> String {
    let Addresses { quic, tcp, .. } = gateway;
    format!(
        "\
CHAOS: these ports cut links, delay and drop packets on purpose, and log each time. To repeat it:

  --chaos {spec}

Without chaos the gateway is at {quic} (UDP) and {tcp} (TCP).
"
    )
}

/// The command that runs this program again: its path, relative if it is below the current directory.
pub(super) fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "signalbox".into());
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(&path);
    // A bare name would be looked up in the PATH.
    let bare = path.components().count() == 1;
    if bare { format!("./{}", path.display()) } else { path.display().to_string() }
}
