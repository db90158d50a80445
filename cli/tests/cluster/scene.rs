//! Gateways, NATS servers and clients on a host of their own, whose ports are free and whose cables
//! can be pulled.

use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use signalbox_client::SessionId;
use signalbox_netem::{
    Direction, LinkModel,
    namespace::{self, Network},
};
use signalbox_test_nats::NatsServer;
use signalbox_tests::{
    PROJECT, TransportMode, authority, new_session, rest::Server, within_timeout,
};
use tokio::time::Instant;

use crate::{
    failures::WINDOW,
    support::{Process, signalbox},
};

/// Gateways of a scene.
pub(crate) const GATEWAYS: usize = 3;

/// NATS ports. The servers of a NATS cluster reach each other at 100 more.
const NATS_PORT: u16 = 4222;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// The library of Debian's faketime.
const FAKE_TIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Three gateways of one cluster.
pub(crate) struct Scene {
    pub(crate) nats: Vec<NatsServer>,
    pub(crate) session: SessionId,
    gateways: Vec<Option<Process>>,
    directory: tempfile::TempDir,
    settings: SceneSettings,
    network: Network,
}

/// What differs between scenes.
#[derive(Debug, Clone)]
pub(crate) struct SceneSettings {
    /// Resume window of the gateways.
    pub(crate) window: Duration,
    /// Nodes of the NATS cluster.
    pub(crate) nats_nodes: u16,
    /// The namespace of each gateway.
    pub(crate) namespaces: [&'static str; GATEWAYS],
    /// Whether the clock of the last gateway is ten minutes ahead.
    pub(crate) clock_ahead: bool,
}

impl Default for SceneSettings {
    fn default() -> Self {
        Self {
            window: WINDOW,
            nats_nodes: 1,
            namespaces: ["signalbox"; GATEWAYS],
            clock_ahead: false,
        }
    }
}

/// The reason that this machine cannot run a scene; `None` if it can.
pub(crate) fn unavailable() -> Option<String> {
    let missing = || {
        NatsServer::is_missing().then(|| "needs nats-server: apt install nats-server".to_owned())
    };
    namespace::unavailable().or_else(missing)
}

/// The reason that this machine cannot run a scene with different clocks.
pub(crate) fn clocks_unavailable() -> Option<String> {
    let missing = !Path::new(FAKE_TIME).exists();
    let missing = missing.then(|| format!("needs {FAKE_TIME}: apt install faketime"));
    unavailable().or(missing)
}

/// Runs a scene, with its clients, on a host of its own.
pub(crate) fn with_scene<T>(settings: SceneSettings, run: impl AsyncFnOnce(&mut Scene) -> T) -> T {
    let network = Network::start(LinkModel::default(), LinkModel::default(), 1).unwrap();
    // The other host stands for nothing: packets on the way there are lost.
    network.link().cut(Direction::Both, FOR_EVER);
    // Threads and processes that this thread starts are on the host, too.
    let _entered = network.server().enter().unwrap();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut scene = Scene::start(settings, network).await;
        run(&mut scene).await
    })
}

impl Scene {
    async fn start(settings: SceneSettings, network: Network) -> Self {
        // Rules for local addresses come first from now on. A lost packet leaves over the link.
        let rules = "route add default dev wire table 100\n\
                     rule add pref 100 lookup local\n\
                     rule del pref 0\n";
        network.server().ip(rules).unwrap();
        let mut scene = Self {
            nats: Vec::new(),
            session: new_session(PROJECT.0),
            gateways: Vec::new(),
            directory: tempfile::tempdir().unwrap(),
            settings,
            network,
        };
        for node in 0..scene.settings.nats_nodes {
            let configuration = scene.nats_configuration(node);
            scene
                .nats
                .push(NatsServer::start_at("0.0.0.0", NATS_PORT + node, &configuration).await);
        }
        for gateway in 0..GATEWAYS {
            scene.gateways.push(None);
            scene.launch(gateway);
        }
        for gateway in 0..GATEWAYS {
            scene.is_up(gateway);
        }
        scene.are_settled().await;
        scene
    }

    fn nats_configuration(&self, node: u16) -> String {
        let nodes = self.settings.nats_nodes;
        if nodes == 1 {
            return String::new();
        }
        let port = |node| NATS_PORT + node + 100;
        let routes: Vec<_> =
            (0..nodes).map(|node| format!("nats://127.0.0.1:{}", port(node))).collect();
        let (own, routes) = (port(node), routes.join(", "));
        format!("cluster {{ name: c, listen: \"127.0.0.1:{own}\", routes: [{routes}] }}\n")
    }

    /// Starts the process of a gateway.
    pub(crate) fn launch(&mut self, gateway: usize) {
        // With an address of its own at NATS, so that its cable can be pulled alone.
        let servers: Vec<_> = (0..self.settings.nats_nodes)
            .map(|node| format!("\"nats://{}:{}\"", cable(gateway), NATS_PORT + node))
            .collect();
        let (authority, (key, secret)) = (authority(), PROJECT);
        let configuration = format!(
            "name = \"gw-{gateway}\"\n\
             [listen]\nquic = \"{address}\"\ntcp = \"{address}\"\n\
             [tls]\ncertificate = {certificate:?}\nkey = {tls_key:?}\n\
             [timeouts]\nidle_ms = 1500\n\
             [resume]\nwindow_ms = {window}\n\
             [drain]\nspread_ms = 200\n\
             [cluster]\nservers = [{servers}]\nnamespace = \"{namespace}\"\n\
             [[projects]]\nkey = \"{key}\"\nsecrets = [\"{secret}\"]\n",
            address = address(gateway),
            certificate = authority.certificate_path(),
            tls_key = authority.key_path(),
            window = self.settings.window.as_millis(),
            servers = servers.join(", "),
            namespace = self.settings.namespaces[gateway],
        );
        let file = self.directory.path().join(format!("gw-{gateway}.toml"));
        fs::write(&file, configuration).unwrap();
        let log = File::options().create(true).append(true).open(self.log(gateway)).unwrap();
        let mut command = signalbox();
        if self.settings.clock_ahead && gateway == GATEWAYS - 1 {
            command.env("LD_PRELOAD", FAKE_TIME).env("FAKETIME", "+10m");
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.args(["serve", "--announce", "json", "--config"]).arg(file);
        command.env("XDG_RUNTIME_DIR", self.directory.path()).env("NO_COLOR", "1");
        self.gateways[gateway] = Some(Process::start_with_log(&mut command, Stdio::from(log)));
    }

    /// Waits until a gateway serves clients.
    pub(crate) fn is_up(&mut self, gateway: usize) {
        let process = self.gateways[gateway].as_mut().expect("the gateway runs");
        process.event();
    }

    pub(crate) fn process(&self, gateway: usize) -> &Process {
        self.gateways[gateway].as_ref().expect("the gateway runs")
    }

    /// Kills a gateway.
    pub(crate) fn kill(&mut self, gateway: usize) {
        self.gateways[gateway] = None;
    }

    /// Stops a gateway, and waits until it has ended.
    pub(crate) async fn stop(&mut self, gateway: usize) {
        let process = self.gateways[gateway].take().expect("the gateway runs");
        process.terminate();
        let stopped = tokio::task::spawn_blocking(move || process.succeeds());
        assert!(within_timeout("the gateway stops", stopped).await.unwrap());
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = usize> {
        (0..GATEWAYS).filter(|gateway| self.gateways[*gateway].is_some())
    }

    /// Pulls the cable between a gateway and NATS: packets in both directions are lost, silently.
    pub(crate) fn pull_cable(&self, gateway: usize) {
        let address = cable(gateway);
        self.ip(&format!(
            "rule add pref 1 to {address} lookup 100\nrule add pref 2 from {address} lookup 100\n"
        ));
    }

    /// Plugs it in again.
    pub(crate) fn plug_cable(&self) {
        self.ip("rule del pref 1\nrule del pref 2\n");
    }

    fn ip(&self, commands: &str) {
        self.network.server().ip(commands).unwrap();
    }

    /// The URLs of all gateways, a gateway first.
    pub(crate) fn urls(&self, first: usize, transport: TransportMode) -> Vec<String> {
        let scheme = match transport {
            _ if !transport.is_udp() => "wss",
            TransportMode::WebTransport => "https",
            _ => "quic",
        };
        let order = (first..GATEWAYS).chain(0..first);
        order.map(|gateway| format!("{scheme}://{}", address(gateway))).collect()
    }

    /// A server that talks to a gateway.
    pub(crate) async fn server(&self, gateway: usize) -> Server {
        Server::at(address(gateway), &self.session).await
    }

    /// Waits until all running gateways answer requests about sessions of others: 404 is the answer
    /// of a gateway that knows that nobody is connected anywhere.
    pub(crate) async fn are_settled(&self) {
        for gateway in self.running() {
            let mut server = self.server(gateway).await;
            let settled =
                async { while server.ask("GET", "/connection", None).await.status >= 500 {} };
            within_timeout("the gateway is settled", settled).await;
        }
    }

    /// The connections that a gateway lists.
    pub(crate) async fn listed(&self, gateway: usize) -> BTreeSet<String> {
        let answer = self.server(gateway).await.ask("GET", "/connection", None).await;
        if answer.status != 200 {
            return BTreeSet::new();
        }
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["connectionId"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until all running gateways list exactly these connections. Otherwise returns the lists
    /// that they have.
    pub(crate) async fn all_list(&self, expected: &BTreeSet<String>) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        for gateway in self.running() {
            loop {
                let listed = self.listed(gateway).await;
                if listed == *expected {
                    break;
                }
                if Instant::now() > deadline {
                    let surplus: Vec<_> = listed.difference(expected).collect();
                    let missing: Vec<_> = expected.difference(&listed).collect();
                    return Err(format!(
                        "gw-{gateway} lists too many: {surplus:?}, and not: {missing:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn log(&self, gateway: usize) -> PathBuf {
        self.directory.path().join(format!("gw-{gateway}.log"))
    }

    /// The logs of the gateways.
    pub(crate) fn logs(&self) -> String {
        let log = |gateway| fs::read_to_string(self.log(gateway)).unwrap_or_default();
        (0..GATEWAYS).map(|gateway| format!("--- gw-{gateway}\n{}", log(gateway))).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// The address and port of a gateway, for QUIC and TCP.
fn address(gateway: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + u16::try_from(gateway).unwrap()))
}

/// The address at which a gateway reaches NATS.
fn cable(gateway: usize) -> String {
    format!("127.0.1.{}", gateway + 1)
}
