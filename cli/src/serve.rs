//! `signalbox serve`: run a gateway.

mod announcement;
mod dev_settings;
mod fleet;
mod nats_server;
mod page;
mod reload;
mod service_manager;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use signalbox_gateway::{Addresses, Config, Gateway, LogFilter, supervise::keep_running};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing::{level_filters::LevelFilter, warn};

use self::{
    announcement::{Announcement, program},
    reload::{Adapt, ConfigReload},
    service_manager::ServiceManager,
};
use crate::{
    address,
    chaos::{self, Chaos, ChaosSpec},
    config::Sources,
    dev::{
        DevEnvironment,
        lock::FileLock,
        profile::{DevCluster, DevGateway, DevProfile, ProfileGuard},
    },
    logging,
    pid_file::PidFile,
};

/// Run a gateway until ctrl-c, SIGTERM or `signalbox drain`.
///
/// The first signal starts a graceful shutdown: clients are asked to leave at times spread over
/// drain.spread_ms. A second signal disconnects all of them at once.
///
/// A changed certificate and changed projects are reloaded while it runs, within seconds. On SIGHUP, or
/// `POST /reload` on the operations listener, the whole configuration is, all of it or nothing; the log
/// names each setting that needs a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox serve --dev
      Try it: needs no setup, prints the address of a page and commands to join.
  signalbox serve --dev --gateways 3
      A cluster of three gateways with a nats-server, each a process that you can kill.
  signalbox serve --dev --cluster nats://127.0.0.1:4222
      One gateway of a cluster: type it in several terminals.
  signalbox serve --config gateway.toml
      With your own certificate and projects; `signalbox config --default` prints all settings.
  signalbox serve --config gateway.toml --pid-file /run/signalbox.pid
      For `signalbox drain --pid-file /run/signalbox.pid` to find it.
  signalbox serve --dev --quic 127.0.0.1:0 --tcp 127.0.0.1:0 --announce json
      For programs: the system chooses the ports, and one line of JSON reports them.
  signalbox serve --dev --chaos cut=10s,delay=200ms,drop=0.05,seed=7
      For authors of clients: cuts links, delays and drops packets on purpose.")]
pub(crate) struct Args {
    /// Generate a certificate authority, a project, a session and tokens, and listen on this machine
    /// only. All but the tokens are kept for the next start.
    #[arg(long)]
    dev: bool,
    /// Directory in which --dev keeps them.
    #[arg(long, value_name = "DIR", default_value = DEV_DIR, requires = "dev")]
    dev_dir: PathBuf,
    /// Behave like a bad network, to test clients: cut links, delay and drop packets.
    ///
    /// SPEC is a list of `cut=TIME` (mean lifetime of a link), `delay=TIME` (at most, of each
    /// packet), `drop=SHARE` (of packets) and `seed=NUMBER` (the same seed repeats the same
    /// decisions). The default is cut=20s,delay=100ms,drop=0.02 and a seed that is printed.
    #[arg(long, value_name = "SPEC", num_args = 0..=1, default_missing_value = "", requires = "dev")]
    chaos: Option<ChaosSpec>,
    /// Serve the page to other devices on the network, too, and print its address as a QR code.
    ///
    /// It has no TLS there: others on the network can read the signals and the tokens of the session.
    #[arg(long, requires = "dev", conflicts_with = "page")]
    lan: bool,
    /// Start a nats-server, which must be installed, and this number of gateways of one cluster, each
    /// in a process of its own.
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "dev",
        value_parser = clap::value_parser!(u8).range(1..=16),
        conflicts_with_all = ["name", "quic", "tcp", "page", "cluster", "pid_file", "chaos", "lan"]
    )]
    gateways: Option<u8>,
    /// Write the profile for --dev of client commands although programs read the announcement.
    #[arg(long, hide = true, requires = "dev")]
    dev_profile: bool,
    #[command(flatten)]
    sources: Sources,
    /// Format of the announcement on standard output when the gateway is ready.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    announce: AnnounceFormat,
    /// Log as JSON.
    #[arg(long)]
    log_json: bool,
}

/// Directory of `--dev` by default.
const DEV_DIR: &str = ".signalbox/dev";

/// Time that the service manager is asked for beyond that of the drain: for the last farewells, files
/// and log lines.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AnnounceFormat {
    Text,
    Json,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(count) = args.gateways {
        return fleet::run(&args, count);
    }
    survive_file_size_limit()?;
    let log_filter = logging::start_queued(LevelFilter::INFO, args.log_json)?;
    signalbox_certs::install_provider();
    // Held until the ports are bound, so that gateways that start together choose different ones.
    let lock = args.dev.then(|| DevEnvironment::lock(&args.dev_dir)).transpose()?;
    let dev = args.dev.then(|| DevEnvironment::open(&args.dev_dir)).transpose()?;
    let mut defaults = dev.as_ref().map(DevEnvironment::defaults).unwrap_or_default();
    if args.chaos.is_some() {
        defaults.timeouts.idle_ms = chaos::IDLE_TIMEOUT_MS;
    }
    let config = match &dev {
        Some(_) => dev_settings::choose(&args.sources, &mut defaults, args.lan)?,
        None => args.sources.check(&defaults)?,
    };
    log_filter.set(&config.log.filter).map_err(anyhow::Error::msg).context("log.filter")?;
    let runtime = runtime(config.process.threads).context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, dev, lock, log_filter, config, defaults));
    // A blocking read from a dead disk must not keep the process from ending.
    runtime.shutdown_background();
    result
}

/// Handles SIGXFSZ, so that a write beyond the file size limit (RLIMIT_FSIZE, a quota) fails as on a
/// full disk, instead of ending the process.
fn survive_file_size_limit() -> anyhow::Result<()> {
    let signal = rustix::process::Signal::XFSZ.as_raw();
    signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
        .context("cannot handle SIGXFSZ")?;
    Ok(())
}

/// A single thread is the current one, which then never has to wake another.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

async fn serve(
    args: Args,
    dev: Option<DevEnvironment>,
    lock: Option<FileLock>,
    log_filter: LogFilter,
    mut config: Config,
    defaults: Config,
) -> anyhow::Result<ExitCode> {
    // Handled from now on, so that an early signal does not kill the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let public = Addresses {
        quic: config.listen.quic,
        tcp: config.listen.tcp,
        page: config.listen.page,
        ops: config.ops.listen,
    };
    let configured = config.clone();
    let network = args.lan.then(page::network_ip).transpose()?;
    let chaos = match args.chaos {
        Some(spec) => Some(Chaos::bind(spec, public).await?),
        None => None,
    };
    let adapt = adapt(network, chaos.is_some());
    adapt(&mut config);
    let mut gateway = Gateway::bind(config.clone())?;
    gateway.set_log_filter(log_filter);
    let mut addresses = chaos.as_ref().map_or_else(|| gateway.addresses(), Chaos::addresses);
    addresses.page = gateway.addresses().page;
    drop(lock);
    tokio::select! {
        joined = gateway.join_cluster() => joined.context("cannot join the cluster")?,
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
    }
    let network = match (&dev, network) {
        (Some(dev), Some(ip)) => page::on_network(dev, addresses, ip)?,
        _ => None,
    };
    if let Some(dev) = &dev {
        gateway.set_page_session(page::session(dev, addresses, network.clone()));
    }
    // Only the owner of the ports gets here, so the file of another gateway is not overwritten.
    let _pid_file = config.process.pid_file.as_deref().map(PidFile::write).transpose()?;
    let reload = gateway.reload();
    let configuration =
        ConfigReload::new(args.sources, defaults, &configured, adapt, reload.clone());
    let service_manager = Arc::new(ServiceManager::of_environment(gateway.stats()));
    let requests = gateway.reload_requests();
    tokio::spawn(reload::watch(configuration, requests, service_manager.clone())?);
    tokio::spawn({
        let service_manager = service_manager.clone();
        async move { keep_running("watchdog", || service_manager.keep_alive()).await }
    });
    // Exists until the gateway has ended. Programs read the JSON announcement instead.
    let profile = match (args.announce, &dev) {
        (AnnounceFormat::Json, _) if !args.dev_profile => None,
        (_, dev) => dev
            .as_ref()
            .and_then(|dev| write_profile(&config, addresses, gateway.addresses().ops, dev)),
    };
    let peers = gateway.stats().cluster().map(|cluster| {
        cluster.peers.iter().map(|peer| peer.instance.gateway.to_string()).collect()
    });
    let announcement = Announcement {
        config: &config,
        public: addresses,
        gateway: gateway.addresses(),
        chaos: chaos.as_ref().map(Chaos::spec),
        dev: dev.as_ref(),
        network: network.as_ref(),
        dev_profile: profile.as_ref().map(ProfileGuard::file),
        peers,
    };
    service_manager.ready().await;
    announcement::print(match args.announce {
        AnnounceFormat::Text => announcement.text(),
        AnnounceFormat::Json => announcement.json()?,
    })
    .await;
    let chaos = {
        let addresses = gateway.addresses();
        async move {
            match chaos {
                Some(chaos) => chaos.run(addresses).await,
                None => std::future::pending().await,
            }
        }
    };
    if let Some(dev) = dev {
        tokio::spawn(async move {
            keep_running("certificate renewal", || dev.keep_certificate()).await;
        });
    }
    // The first signal, or a request of an operator, drains the gateway. Another signal ends all links
    // at once.
    let (drain, at_once) = (Notify::new(), Notify::new());
    let requested = gateway.drain_requested();
    let signals = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = requested => {}
        }
        let times = reload.drain();
        let drain_ms = times.readiness_delay_ms.saturating_add(times.timeout_ms);
        let stop_time = Duration::from_millis(drain_ms).saturating_add(AFTER_DRAIN);
        drain.notify_one();
        let second = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            at_once.notify_one();
        };
        tokio::join!(service_manager.stopping(stop_time), second);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = gateway.run(drain.notified(), at_once.notified()) => ended?,
        () = signals => {}
        () = chaos => bail!("the proxy of --chaos has ended"),
    }
    drop(profile);
    Ok(ExitCode::SUCCESS)
}

/// The changes of a configuration that `--lan` and `--chaos` imply.
fn adapt(network: Option<IpAddr>, is_chaotic: bool) -> Box<Adapt> {
    Box::new(move |config| {
        if let (Some(ip), Some(page)) = (network, config.listen.page) {
            config.auth.allowed_origins.push(page::origin(ip, page.port()));
        }
        if is_chaotic {
            (config.listen.quic, config.listen.tcp) =
                (Chaos::hidden_address(), Chaos::hidden_address());
        }
    })
}

/// Writes the profile for `--dev` of client commands. Without it the printed commands are longer.
fn write_profile(
    config: &Config,
    addresses: Addresses,
    ops: Option<SocketAddr>,
    dev: &DevEnvironment,
) -> Option<ProfileGuard> {
    let websocket = if config.tls.plaintext_tcp { "ws" } else { "wss" };
    let write = || {
        let cluster = &config.cluster;
        DevProfile {
            cluster: (!cluster.servers.is_empty()).then(|| DevCluster {
                servers: cluster.servers.clone(),
                namespace: cluster.namespace.clone(),
            }),
            gateways: vec![DevGateway {
                name: config.name.to_string(),
                pid: std::process::id(),
                quic: format!("quic://{}", address::local_name(addresses.quic)),
                websocket: format!("{websocket}://{}", address::local_name(addresses.tcp)),
                ops: ops.map(|address| format!("http://{}", address::local_name(address))),
            }],
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
