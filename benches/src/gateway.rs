//! The process under test: started with everything made up, ended by SIGTERM whatever happens.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Deserialize;
use signalbox_client::Connector;
use signalbox_gateway::token::{NewServerToken, NewToken, Signer};
use signalbox_netem::namespace::{Host, Network};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{
    place::Place,
    process::{Process, mortal},
    room::Room,
    transport::Transport,
};

/// On this machine, wherever the system likes.
const ANY_PORT: &str = "127.0.0.1:0";

/// Longer than any benchmark.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts gateways that share a made-up authority and project.
#[derive(Debug)]
pub struct Launcher {
    program: PathBuf,
    dir: TempDir,
    started: AtomicUsize,
    interrupted: watch::Sender<bool>,
}

/// How long a measurement that fails waits to learn whether it was interrupted: ctrl-c goes to the
/// gateways, too, which may be gone before the benchmark knows why.
const WHY: Duration = Duration::from_millis(200);

impl Launcher {
    /// Ends the measurement that goes on; there will be no other.
    pub fn interrupt(&self) {
        self.interrupted.send_replace(true);
    }

    /// Whether it has been interrupted.
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }

    /// A measurement; none if it is interrupted before it is done.
    pub(crate) async fn unless_interrupted<T>(
        &self,
        measurement: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Option<T>> {
        let mut interrupted = self.interrupted.subscribe();
        let result = tokio::select! {
            biased;
            _ = interrupted.wait_for(|it| *it) => return Ok(None),
            result = measurement => result,
        };
        if result.is_err() {
            let why = interrupted.wait_for(|it| *it);
            if tokio::time::timeout(WHY, why).await.is_ok() {
                return Ok(None);
            }
        }
        result.map(Some)
    }

    /// Uses the gateway at `program`; without one, the `signalbox` next to this executable. It need
    /// not be there unless one is started.
    ///
    /// # Errors
    /// If the system does not let us make a folder.
    pub fn new(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let beside = || {
            let own = std::env::current_exe().context("cannot tell where this program is")?;
            anyhow::Ok(own.with_file_name("signalbox"))
        };
        let program = program.map_or_else(beside, Ok)?;
        let dir = tempfile::Builder::new()
            .prefix("signalbox-bench-")
            .tempdir()
            .context("cannot make a folder for the gateway")?;
        Ok(Self {
            program,
            dir,
            started: AtomicUsize::new(0),
            interrupted: watch::Sender::new(false),
        })
    }

    /// What the program says that it is.
    pub fn version(&self) -> String {
        let output = Command::new(&self.program).arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|_| "unknown version".into())
    }

    /// A place for the process of another system, which gets a certificate of the gateways'
    /// authority.
    pub(crate) fn place<'a>(&self, emulation: Option<&'a Network>) -> anyhow::Result<Place<'a>> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.path().join(format!("system-{number}"));
        Place::new(dir, &self.authority(), emulation.map(Network::server))
    }

    fn authority(&self) -> PathBuf {
        self.dir.path().join("dev")
    }

    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn start(&self) -> anyhow::Result<Gateway> {
        self.run(Command::new(&self.program), None, ANY_PORT, ANY_PORT).await
    }

    /// The same with settings of its own, on the gateway's host of an emulated network, if there is
    /// one.
    pub(crate) async fn start_in(
        &self,
        emulation: Option<&Network>,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Gateway> {
        let Some(emulation) = emulation else { return self.start_with(settings).await };
        let mut command = mortal(&self.program);
        command.envs(settings.iter().copied());
        self.run(command, Some(emulation.server()), ANY_PORT, ANY_PORT).await
    }

    /// The same with settings of its own.
    pub(crate) async fn start_with(&self, settings: &[(&str, &str)]) -> anyhow::Result<Gateway> {
        let mut command = Command::new(&self.program);
        command.envs(settings.iter().copied());
        self.run(command, None, ANY_PORT, ANY_PORT).await
    }

    /// Kills a gateway without any notice and starts another in its place, on the same ports.
    pub(crate) async fn crash(&self, gateway: Gateway) -> anyhow::Result<Gateway> {
        let Gateway { process, announcement, .. } = gateway;
        process.kill()?;
        self.succeed(&announcement).await
    }

    /// Ends a gateway in an orderly way and starts another in its place, on the same ports.
    pub(crate) async fn restart(&self, gateway: Gateway) -> anyhow::Result<Gateway> {
        let announcement = gateway.announcement.clone();
        gateway.stop().await?;
        self.succeed(&announcement).await
    }

    async fn succeed(&self, announcement: &Announcement) -> anyhow::Result<Gateway> {
        let Announcement { quic, https, .. } = announcement;
        self.run(Command::new(&self.program), None, quic, https).await
    }

    /// Starts a gateway on this core alone.
    pub(crate) async fn start_on(&self, core: usize) -> anyhow::Result<Gateway> {
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
        anyhow::ensure!(
            self.program.is_file(),
            "there is no gateway at {}: build it (cargo build --release -p signalbox), or name \
             one with --gateway",
            self.program.display()
        );
        // Two may run at a time.
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
            format!("the gateway said {line:?}: are it and the benchmark of one version?")
        })?;
        let connector = announcement.connector()?;
        Ok(Gateway { process, connector, announcement })
    }
}

/// The line that a gateway prints for programs.
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
pub(crate) struct Gateway {
    process: Process,
    connector: Connector,
    announcement: Announcement,
}

impl Gateway {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn quic(&self) -> &str {
        &self.announcement.quic
    }

    pub(crate) fn https(&self) -> &str {
        &self.announcement.https
    }

    /// Connects clients that trust it; all over one UDP socket, on the host where the first of
    /// them was connected.
    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The same with another UDP socket, for clients on another host or with a line of their own.
    pub(crate) fn another_connector(&self) -> anyhow::Result<Connector> {
        self.announcement.connector()
    }

    /// The file of the authority that signed its certificate (PEM).
    pub(crate) fn ca(&self) -> &Path {
        &self.announcement.ca
    }

    /// The id of a new session.
    pub(crate) fn session(&self) -> anyhow::Result<SessionId> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).context("the system has no random numbers")?;
        let created_ms = u64::try_from(unix_time()?.as_millis())?;
        let key = &self.announcement.project.key;
        Ok(SessionId::mint(key, MediaMode::Relayed, None, created_ms, random))
    }

    /// A token for a new session. It opens it any number of times.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
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

    /// What its project's server shows to the REST API.
    pub(crate) fn credential(&self) -> anyhow::Result<String> {
        let Project { key, secret } = &self.announcement.project;
        let (signer, lifetime) = (Signer::Secret(secret), TOKEN_LIFETIME);
        Ok(NewServerToken { key, signer, now: unix_time()?, lifetime }.mint()?)
    }

    /// Where the REST API takes signals to a session.
    pub(crate) fn signal_path(&self, session: &SessionId) -> String {
        format!("/v2/project/{}/session/{session}/signal", self.announcement.project.key)
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// A new session for clients that are connected in this way.
    pub(crate) fn room(&self, transport: Transport) -> anyhow::Result<Room> {
        let ca = std::fs::read(self.ca()).context("cannot read the gateway's authority")?;
        let roots = signalbox_certs::roots_from_pem(&ca)?;
        let address = if transport.is_quic() { self.quic() } else { self.https() };
        Room::signalbox(transport, address.parse()?, address, roots, self.token()?)
    }
}

fn unix_time() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Raises the limit of open files for this process and the gateways that it starts, as far as
/// the system lets us.
///
/// # Errors
/// If that is less than `needed`.
pub fn allow_files(needed: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return Ok(());
    }
    let maximum = limit.maximum;
    anyhow::ensure!(
        enough(maximum),
        "this needs {needed} open files in one process and the system allows {}: raise the hard \
         limit (as root: ulimit -Hn {needed}; for good: LimitNOFILE= or limits.conf), or use \
         fewer --connections",
        maximum.unwrap_or_default()
    );
    limit.current = maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_gateway_is_said_with_the_next_step() {
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

    #[test]
    fn files_are_allowed_up_to_the_hard_limit() {
        allow_files(1).unwrap();
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = allow_files(u64::MAX).unwrap_err().to_string();
            assert!(error.contains("ulimit"), "{error}");
        }
    }
}
