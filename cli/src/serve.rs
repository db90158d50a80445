//! `signalbox serve`: run a gateway.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde::Serialize;
use signalbox_gateway::{Addresses, Config, Gateway, supervise::keep_running};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::{Notify, oneshot},
    time::timeout,
};
use tracing::{level_filters::LevelFilter, warn};

use crate::{
    chaos::{self, Chaos},
    config::Sources,
    dev::{Dev, DevProject, Tokens},
    logging, output,
    pid_file::PidFile,
    profile::{Profile, Written},
    reload::{self, Reload},
};

/// Run a gateway until it is told to stop (ctrl-c, SIGTERM or `signalbox drain`).
///
/// Told to stop, it asks its clients to go, one after the other; told twice, it stops at once.
///
/// Changes of the certificate and of the projects in the configuration are taken up while it
/// runs, within seconds or at once on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox serve --dev
      Try it: needs nothing, prints commands to join over QUIC and WebSocket.
  signalbox serve --config gateway.toml
      With a certificate and projects of your own; see `signalbox config` for all settings.
  signalbox serve --config gateway.toml --pid-file /run/signalbox.pid
      So that `signalbox drain --pid-file /run/signalbox.pid` ends it.
  signalbox serve --dev --quic 127.0.0.1:0 --tcp 127.0.0.1:0 --announce json
      For programs: the system chooses the ports, one line of JSON names them.
  signalbox serve --dev --chaos cut=10s,delay=200ms,drop=0.05,seed=7
      For authors of clients: cuts links, delays and drops packets on purpose.")]
pub(crate) struct Args {
    /// Make up a certificate authority, a project, a session and tokens, and listen on this
    /// machine only. They are kept for the next time.
    #[arg(long)]
    dev: bool,
    /// Where --dev keeps what it makes up.
    #[arg(long, value_name = "DIR", default_value = ".signalbox/dev", requires = "dev")]
    dev_dir: PathBuf,
    /// Behave like a bad network, to test clients: cut links, delay and drop packets.
    ///
    /// SPEC is a list of `cut=TIME` (mean lifetime of a link), `delay=TIME` (at most, of each
    /// packet), `drop=SHARE` (of packets) and `seed=NUMBER` (the same one repeats the same
    /// decisions). The default is cut=20s,delay=100ms,drop=0.02 and a seed that is printed.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, default_missing_value = "", requires = "dev")]
    chaos: Option<chaos::Spec>,
    #[command(flatten)]
    sources: Sources,
    /// How to say on standard output that the gateway is ready.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    announce: Announce,
    /// Log as JSON.
    #[arg(long)]
    log_json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Announce {
    Text,
    Json,
}

/// How long serving waits for the announcement to be read.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What programs read: exactly one line.
#[derive(Serialize)]
struct Announcement<'a> {
    quic: String,
    https: String,
    ca: Option<&'a Path>,
    project: Option<AnnouncedProject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<&'a Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chaos: Option<AnnouncedChaos>,
}

/// What programs need to repeat it, and to reach the gateway without it.
#[derive(Serialize)]
struct AnnouncedChaos {
    spec: chaos::Spec,
    quic: String,
    https: String,
}

#[derive(Serialize)]
struct AnnouncedProject<'a> {
    key: &'a str,
    secret: &'a str,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    survive_file_size_limit()?;
    logging::start_queued(LevelFilter::INFO, args.log_json)?;
    signalbox_certs::install_provider();
    let dev = args.dev.then(|| Dev::open(&args.dev_dir)).transpose()?;
    let mut defaults = dev.as_ref().map(Dev::defaults).unwrap_or_default();
    if args.chaos.is_some() {
        defaults.timeouts.idle_ms = chaos::IDLE_TIMEOUT_MS;
    }
    let config = args.sources.check(&defaults)?;
    let runtime = runtime(config.process.threads).context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, dev, config, defaults));
    // A file that is being read from a dead disk must not keep the process from ending.
    runtime.shutdown_background();
    result
}

/// A write beyond the limit of file sizes (RLIMIT_FSIZE, a quota) fails then, as on a full disk, where
/// the signal would end the process.
fn survive_file_size_limit() -> anyhow::Result<()> {
    let signal = rustix::process::Signal::XFSZ.as_raw();
    signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
        .context("cannot handle SIGXFSZ")?;
    Ok(())
}

/// One thread is this one, which then never wakes another.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

async fn serve(
    args: Args,
    dev: Option<Dev>,
    mut config: Config,
    defaults: Config,
) -> anyhow::Result<ExitCode> {
    // Before anybody can send them: a signal that comes early must not kill the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let public = Addresses { quic: config.listen.quic, tcp: config.listen.tcp };
    let chaos = match args.chaos {
        Some(spec) => {
            (config.listen.quic, config.listen.tcp) = (Chaos::hidden(), Chaos::hidden());
            Some(Chaos::bind(spec, public).await?)
        }
        None => None,
    };
    let gateway = Gateway::bind(config.clone())?;
    let addresses = chaos.as_ref().map_or_else(|| gateway.addresses(), Chaos::addresses);
    // The ports are ours, so no other gateway's name is overwritten.
    let _pid_file = config.process.pid_file.as_deref().map(PidFile::write).transpose()?;
    let projects = Reload::new(args.sources, defaults, &config, gateway.projects());
    tokio::spawn(reload::keep_up(gateway.certificates(), projects)?);
    // Kept to the end. Programs have what is in it from the announcement.
    let profile;
    let announcement = match args.announce {
        Announce::Json => {
            let chaos = chaos.as_ref().map(|chaos| AnnouncedChaos {
                spec: chaos.spec(),
                quic: gateway.addresses().quic.to_string(),
                https: gateway.addresses().tcp.to_string(),
            });
            profile = None;
            json_announcement(&config, addresses, dev.as_ref(), chaos)?
        }
        Announce::Text => {
            profile = dev.as_ref().and_then(|dev| write_profile(&config, addresses, dev));
            let file = profile.as_ref().map(Written::file);
            let mut text = text_announcement(&config, addresses, dev.as_ref(), file);
            if let Some(chaos) = &chaos {
                text.push('\n');
                text.push_str(&chaos_announcement(chaos.spec(), gateway.addresses()));
            }
            text
        }
    };
    announce(announcement).await;
    let chaos = {
        let hidden = gateway.addresses();
        async move {
            match chaos {
                Some(chaos) => chaos.run(hidden).await,
                None => std::future::pending().await,
            }
        }
    };
    if let Some(dev) = dev {
        tokio::spawn(async move {
            keep_running("certificate renewal", || dev.keep_certificate()).await;
        });
    }
    // Told a second time, it does not wait for anybody.
    let (told, again) = (Notify::new(), Notify::new());
    let listening = async {
        for notify in [&told, &again] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            notify.notify_one();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = gateway.run(told.notified(), again.notified()) => ended?,
        () = listening => {}
        () = chaos => bail!("the proxy of --chaos has ended"),
    }
    drop(profile);
    Ok(ExitCode::SUCCESS)
}

/// Prints that the gateway is ready. It serves all the same if nobody reads that: standard output may
/// be closed, full, or a pipe whose reader has stopped. (A task of the runtime's would keep the process
/// from ending then.)
async fn announce(announcement: String) {
    let (done, written) = oneshot::channel();
    let print = move || drop(done.send(output::line(announcement)));
    let problem = match std::thread::Builder::new().name("announcement".into()).spawn(print) {
        Err(error) => error.to_string(),
        Ok(_) => match timeout(ANNOUNCE_TIMEOUT, written).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_)) | Err(_) => "nobody reads it".into(),
        },
    };
    warn!(error = problem, "announcement not written to standard output; serving all the same");
}

fn json_announcement(
    config: &Config,
    addresses: Addresses,
    dev: Option<&Dev>,
    chaos: Option<AnnouncedChaos>,
) -> anyhow::Result<String> {
    let project = config.projects.first().and_then(|project| {
        let secret = project.secrets.first()?;
        Some(AnnouncedProject { key: project.key.as_str(), secret })
    });
    let announcement = Announcement {
        quic: reachable(addresses.quic).to_string(),
        https: reachable(addresses.tcp).to_string(),
        ca: match dev {
            Some(dev) => Some(dev.authority.ca_pem_path()),
            None => config.tls.certificate.as_deref(),
        },
        project,
        session: dev.map(|dev| dev.project.session.as_str()),
        tokens: dev.map(|dev| &dev.tokens),
        chaos,
    };
    Ok(serde_json::to_string(&announcement)?)
}

/// Writes what `join --dev` needs. Without it the commands are longer.
fn write_profile(config: &Config, addresses: Addresses, dev: &Dev) -> Option<Written> {
    let websocket = if config.tls.plaintext_tcp { "ws" } else { "wss" };
    let write = || {
        Profile {
            pid: std::process::id(),
            quic: format!("quic://{}", local_name(addresses.quic)),
            websocket: format!("{websocket}://{}", local_name(addresses.tcp)),
            ca: std::path::absolute(dev.authority.ca_pem_path())?,
            session: dev.project.session.to_string(),
            tokens: dev.tokens.clone(),
        }
        .write()
    };
    write()
        .inspect_err(
            |error| warn!(error = %format_args!("{error:#}"), "profile for --dev not written"),
        )
        .ok()
}

fn text_announcement(
    config: &Config,
    addresses: Addresses,
    dev: Option<&Dev>,
    profile: Option<&Path>,
) -> String {
    let Addresses { quic, tcp } = addresses;
    let (websocket, http) =
        if config.tls.plaintext_tcp { ("ws", "http") } else { ("wss", "https") };
    let Some(Dev { authority, project, tokens, .. }) = dev else {
        return format!("ready: QUIC on {quic} (UDP), {websocket} on {tcp} (TCP)");
    };
    let DevProject { key, secret, session } = project;
    let program = program();
    let ca = authority.ca_pem_path().display();
    let (quic, tcp) = (local_name(quic), local_name(tcp));
    let (tokens, by_quic, by_websocket) = match profile {
        Some(file) => (
            format!("in {}, one for each role, good for a day", file.display()),
            "--dev".to_owned(),
            format!("{websocket} --dev=moderator"),
        ),
        None => {
            let Tokens { moderator, publisher, subscriber } = tokens;
            (
                format!(
                    "good for a day\n\n  moderator   {moderator}\n\n  publisher   {publisher}\n\n  \
                     subscriber  {subscriber}"
                ),
                format!("quic://{quic} --ca {ca} --token {publisher}"),
                format!("{websocket}://{tcp} --ca {ca} --token {moderator}"),
            )
        }
    };
    format!(
        "\
Signalbox is ready.

  QUIC        quic://{quic}
  WebSocket   {websocket}://{tcp}
  Authority   {ca}
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

fn chaos_announcement(spec: chaos::Spec, gateway: Addresses) -> String {
    let Addresses { quic, tcp } = gateway;
    format!(
        "\
CHAOS: these ports cut links, delay and drop packets on purpose. Each act is logged. To repeat it:

  --chaos {spec}

Without chaos the gateway is at {quic} (UDP) and {tcp} (TCP).
"
    )
}

/// How to call this program again: by its path, from here if it is below here.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "signalbox".into());
    let here = std::env::current_dir().unwrap_or_default();
    let path = path.strip_prefix(&here).unwrap_or(&path);
    // A bare name would be looked up in the PATH.
    let bare = path.components().count() == 1;
    if bare { format!("./{}", path.display()) } else { path.display().to_string() }
}

/// An address that can be connected to, for one that may mean "all of this machine".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The same for people.
fn local_name(address: SocketAddr) -> String {
    let address = reachable(address);
    if address.ip().is_loopback() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::runtime::RuntimeFlavor::{CurrentThread, MultiThread};

    #[test]
    fn one_thread_is_this_one_and_more_are_as_many_as_are_asked_for() {
        let runtime = |threads| super::runtime(threads).unwrap();
        assert_eq!(runtime(1).handle().runtime_flavor(), CurrentThread);
        let three = runtime(3);
        assert_eq!(three.handle().runtime_flavor(), MultiThread);
        assert_eq!(three.metrics().num_workers(), 3);
    }
}
