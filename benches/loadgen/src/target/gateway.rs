//! Gateways under test: started in development mode, each in a process of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::Deserialize;
use signalbox_certs::DevAuthority;
use signalbox_client::{ConnectOptions, Connector};
use signalbox_netem::namespace::{Host, Network};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId};
use signalbox_token::{NewServerToken, NewToken, Signer};
use tempfile::TempDir;

use crate::{
    process::{Process, ProcessDir, mortal},
    target::Target,
    transport::TransportVariant,
};

/// Any port of the loopback.
const ANY_PORT: &str = "127.0.0.1:0";

/// Longer than any benchmark.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits of addresses, which are off: all clients of a benchmark have one address.
const NO_ADDRESS_LIMITS: [(&str, &str); 4] = [
    ("SIGNALBOX_LIMITS__ADDRESS__LINKS_PER_SECOND", "0"),
    ("SIGNALBOX_LIMITS__ADDRESS__PENDING_LINKS", "0"),
    ("SIGNALBOX_LIMITS__ADDRESS__REQUESTS_PER_SECOND", "0"),
    ("SIGNALBOX_LIMITS__ADDRESS__INVALID_TOKENS_PER_SECOND", "0"),
];

/// Limits of members, which are off: the generators send more than ordinary applications.
const NO_MEMBER_LIMITS: [(&str, &str); 3] = [
    ("SIGNALBOX_LIMITS__SIGNALS_PER_SECOND_PER_CONNECTION", "0"),
    ("SIGNALBOX_LIMITS__BYTES_PER_SECOND_PER_CONNECTION", "0"),
    ("SIGNALBOX_LIMITS__DELIVERIES_PER_SECOND_PER_SESSION", "0"),
];

/// Starts gateways that share a generated authority and project.
#[derive(Debug)]
pub struct Launcher {
    program: PathBuf,
    dir: TempDir,
    started: AtomicUsize,
}

impl Launcher {
    /// Uses the gateway at `program`; without one, the `signalbox` beside this program. It need not
    /// exist unless a gateway is started.
    pub fn new(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let beside = || {
            let own = std::env::current_exe().context("cannot tell where this program is")?;
            anyhow::Ok(own.with_file_name("signalbox"))
        };
        let program = program.map_or_else(beside, Ok)?;
        let dir = tempfile::Builder::new()
            .prefix("signalbox-bench-")
            .tempdir()
            .context("cannot create a directory for the gateway")?;
        Ok(Self { program, dir, started: AtomicUsize::new(0) })
    }

    /// The name and version that the program prints.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|_| "unknown version".into())
    }

    /// A directory for the process of another system, with a certificate of the gateways'
    /// authority.
    pub fn process_dir<'a>(
        &self,
        emulation: Option<&'a Network>,
    ) -> anyhow::Result<ProcessDir<'a>> {
        self.directory_on(emulation.map(Network::server))
    }

    /// The same for a process on this host, or on this machine's own loopback.
    pub fn directory_on<'a>(&self, host: Option<&'a Host>) -> anyhow::Result<ProcessDir<'a>> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.path().join(format!("system-{number}"));
        ProcessDir::new(dir, &self.authority(), host)
    }

    fn authority(&self) -> PathBuf {
        self.dir.path().join("dev")
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        self.start_with(&[]).await
    }

    /// The same with the limits of addresses and of members that gateways have by default.
    pub async fn start_limited(&self) -> anyhow::Result<Gateway> {
        self.serve(Command::new(&self.program), None, ANY_PORT, ANY_PORT).await
    }

    /// The same with the limits of members alone.
    pub async fn start_with_member_limits(&self) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&self.program);
        command.envs(NO_ADDRESS_LIMITS);
        self.serve(command, None, ANY_PORT, ANY_PORT).await
    }

    /// The same with these settings, on the server's host of an emulated network if there is one.
    pub async fn start_in(
        &self,
        emulation: Option<&Network>,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Gateway> {
        let Some(emulation) = emulation else { return self.start_with(settings).await };
        let mut command = mortal(&self.program);
        command.envs(settings.iter().copied());
        self.run(command, Some(emulation.server()), ANY_PORT, ANY_PORT).await
    }

    /// The same with these settings.
    pub async fn start_with(&self, settings: &[(&str, &str)]) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&self.program);
        command.envs(settings.iter().copied());
        self.run(command, None, ANY_PORT, ANY_PORT).await
    }

    /// The same on this UDP and TCP port.
    pub(super) async fn start_at(
        &self,
        port: u16,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&self.program);
        command.envs(settings.iter().copied());
        let address = format!("127.0.0.1:{port}");
        self.run(command, None, &address, &address).await
    }

    /// Kills a gateway and starts another in its place, on the same ports.
    pub async fn crash(&self, gateway: Gateway) -> anyhow::Result<Gateway> {
        let Gateway { process, announcement, .. } = gateway;
        process.kill()?;
        self.succeed(&announcement).await
    }

    /// Shuts a gateway down and starts another in its place, on the same ports.
    pub async fn restart(&self, gateway: Gateway) -> anyhow::Result<Gateway> {
        let announcement = gateway.announcement.clone();
        gateway.stop().await?;
        self.succeed(&announcement).await
    }

    async fn succeed(&self, announcement: &Announcement) -> anyhow::Result<Gateway> {
        let Announcement { quic, https, .. } = announcement;
        self.run(Command::new(&self.program), None, quic, https).await
    }

    /// Starts a gateway on this core alone.
    pub async fn start_on(&self, core: usize) -> anyhow::Result<Gateway> {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).arg(&self.program);
        self.run(command, None, ANY_PORT, ANY_PORT).await
    }

    async fn run(
        &self,
        mut command: Command,
        host: Option<&Host>,
        quic: &str,
        tcp: &str,
    ) -> anyhow::Result<Gateway> {
        command.envs(NO_ADDRESS_LIMITS).envs(NO_MEMBER_LIMITS);
        self.serve(command, host, quic, tcp).await
    }

    async fn serve(
        &self,
        mut command: Command,
        host: Option<&Host>,
        quic: &str,
        tcp: &str,
    ) -> anyhow::Result<Gateway> {
        anyhow::ensure!(
            self.program.is_file(),
            "there is no gateway at {}: build it (cargo build --release -p signalbox), or name \
             one with --gateway",
            self.program.display()
        );
        // Two may run at the same time.
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.dir.path().join(format!("gateway-{number}.log"));
        command
            .args(["serve", "--dev", "--announce", "json"])
            .args(["--quic", quic, "--tcp", tcp])
            .arg("--dev-dir")
            .arg(self.authority())
            .stdout(Stdio::piped());
        let mut process = {
            let _inside = host.map(Host::enter).transpose()?;
            Process::spawn("the gateway", &mut command, log)?
        };
        let line = process.first_line().await?;
        let announcement: Announcement = serde_json::from_str(&line).with_context(|| {
            format!("the gateway printed {line:?}: do its version and the benchmark's match?")
        })?;
        let connector = announcement.connector()?;
        Ok(Gateway { process, connector, announcement })
    }
}

/// The line that a gateway prints with `--announce json`.
#[derive(Debug, Clone, Deserialize)]
struct Announcement {
    quic: String,
    https: String,
    ca: PathBuf,
    project: Project,
}

#[derive(Debug, Clone, Deserialize)]
struct Project {
    key: ProjectKey,
    secret: String,
}

impl Announcement {
    fn connector(&self) -> anyhow::Result<Connector> {
        let ca = std::fs::read(&self.ca).with_context(|| {
            format!("cannot read the gateway's authority {}", self.ca.display())
        })?;
        Ok(Connector::with_roots_pem(&ca)?)
    }
}

/// A running gateway. Dropping it ends it.
pub struct Gateway {
    process: Process,
    connector: Connector,
    announcement: Announcement,
}

impl Gateway {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its QUIC address.
    pub fn quic(&self) -> &str {
        &self.announcement.quic
    }

    /// Its HTTPS address.
    pub fn https(&self) -> &str {
        &self.announcement.https
    }

    /// Connects clients of the SDK that trust it, all over one UDP socket, on the host where the
    /// first of them was connected.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The same over another UDP socket, for clients on another host or behind a proxy.
    pub fn another_connector(&self) -> anyhow::Result<Connector> {
        self.announcement.connector()
    }

    /// The file of the authority that signed its certificate (PEM).
    pub fn ca(&self) -> &Path {
        &self.announcement.ca
    }

    /// The hash of its certificate, with which a browser accepts it.
    pub fn certificate_sha256(&self) -> anyhow::Result<[u8; 32]> {
        let dir = self.ca().parent().context("the gateway's authority has no directory")?;
        Ok(DevAuthority::open(dir, SystemTime::now())?.leaf_sha256())
    }

    /// The id of a new session.
    pub fn session(&self) -> anyhow::Result<SessionId> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).context("the OS random generator failed")?;
        let created_ms = u64::try_from(unix_time()?.as_millis())?;
        let key = &self.announcement.project.key;
        Ok(SessionId::mint(key, MediaMode::Relayed, None, created_ms, random))
    }

    /// A token for a new session, for any number of clients.
    pub fn token(&self) -> anyhow::Result<String> {
        let Project { key, secret } = &self.announcement.project;
        let token = NewToken {
            key,
            signer: Signer::Secret(secret),
            session: &self.session()?,
            role: Role::Publisher,
            connection_data: "",
            now: unix_time()?,
            lifetime: TOKEN_LIFETIME,
        };
        Ok(token.mint()?)
    }

    /// A server's credential for the REST API.
    pub fn credential(&self) -> anyhow::Result<String> {
        let Project { key, secret } = &self.announcement.project;
        let (signer, lifetime) = (Signer::Secret(secret), TOKEN_LIFETIME);
        Ok(NewServerToken { key, signer, now: unix_time()?, lifetime }.mint()?)
    }

    /// The path of the REST API for signals to a session.
    pub fn signal_path(&self, session: &SessionId) -> String {
        format!("/v2/project/{}/session/{session}/signal", self.announcement.project.key)
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Waits until its log reports this many gateways of its cluster as joined.
    pub(super) async fn peers_joined(&mut self, count: usize) -> anyhow::Result<()> {
        let joined = |log: &str| (log.matches("gateway joined").count() >= count).then_some(());
        self.process.logged(joined).await
    }

    /// Kills it.
    pub fn kill(self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Shuts it down.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its address for a transport.
    pub fn address(&self, transport: TransportVariant) -> &str {
        if transport.is_quic() { self.quic() } else { self.https() }
    }

    /// Options of an SDK client that joins the session of `token`, without presence.
    ///
    /// # Errors
    /// The SDK does not have this transport.
    pub fn options(
        &self,
        transport: TransportVariant,
        token: &str,
    ) -> anyhow::Result<ConnectOptions> {
        transport.options_to(self.address(transport), token)
    }

    /// A new session for clients over this transport.
    pub fn target(&self, transport: TransportVariant) -> anyhow::Result<Target> {
        self.target_of(transport, self.token()?)
    }

    /// The session of a token for clients over this transport.
    pub(super) fn target_of(
        &self,
        transport: TransportVariant,
        token: String,
    ) -> anyhow::Result<Target> {
        let ca = std::fs::read(self.ca()).context("cannot read the gateway's authority")?;
        let roots = signalbox_certs::roots_from_pem(&ca)?;
        let address = self.address(transport);
        Target::signalbox(transport, address.parse()?, address, roots, token)
    }
}

fn unix_time() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_for_a_missing_gateway_has_the_next_step() {
        let launcher = Launcher::new(Some("no/such/program".into())).unwrap();
        let error = launcher.start().await.err().unwrap();
        assert!(error.to_string().contains("--gateway"), "{error}");
    }

    #[test]
    fn the_announcement_is_understood() {
        let line = r#"{"quic":"127.0.0.1:1","https":"127.0.0.1:2","ca":"ca.pem",
            "project":{"key":"12345678","secret":"s"},"session":"x","tokens":{}}"#;
        let announcement: Announcement = serde_json::from_str(line).unwrap();
        assert_eq!(announcement.quic, "127.0.0.1:1");
        assert_eq!(announcement.project.key.as_str(), "12345678");
    }
}
