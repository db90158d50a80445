//! `signalbox health`: asks the gateway on this machine whether it is healthy.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustls_pki_types::ServerName;
use serde_json::json;
use signalbox_gateway::Config;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use crate::{
    address::reachable,
    config::Sources,
    http_get::{self, HttpAnswer},
    ops_client::OpsUrl,
    output,
};

/// Ask the gateway on this machine whether it is healthy: for health checks of containers, and scripts.
///
/// The gateway is asked at its operations listener (ops.listen) if it has one, else at its TCP port
/// (listen.tcp), whose certificate is not verified: it names the address for clients. The addresses are
/// those of the file and the environment variables with which the gateway was started. The exit code is
/// 0 if it is healthy, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox health --config /etc/signalbox/signalbox.toml
      Whether the gateway accepts and answers requests (GET /healthz).
  signalbox health --ready --ops http://127.0.0.1:4435
      Whether load balancers should route clients to it (GET /readyz), at this operations listener.
  signalbox health --json | jq .answer
      For programs: url, healthy, and either status, answer and ms, or error.")]
pub(crate) struct Args {
    /// Configuration file of the gateway (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// URL of the gateway's operations listener, in place of the addresses of the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    ops: Option<OpsUrl>,
    /// Ask whether it is ready for clients: not while it drains, or is cut off from its cluster.
    #[arg(long)]
    ready: bool,
    /// Time for the answer, as 500ms or 5s.
    #[arg(long, value_name = "TIME", default_value = "3s")]
    timeout: humantime::Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let endpoint = args.endpoint()?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let url = format!("{}://{}{path}", endpoint.scheme(), endpoint.authority);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let started = Instant::now();
    let asked = runtime.block_on(endpoint.ask(path, *args.timeout));
    let healthy = asked.as_ref().is_ok_and(|answer| answer.status == 200);
    match asked {
        Ok(answer) if args.json => {
            let ms = (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
            let HttpAnswer { status, .. } = answer;
            let answer = answer.first_line();
            output::line(json!({
                "url": url, "healthy": healthy, "status": status, "answer": answer, "ms": ms,
            }))?;
        }
        Ok(answer) if healthy => output::line(answer.first_line())?,
        Ok(answer) => bail!("{url}: HTTP {}: {}", answer.status, answer.first_line()),
        Err(error) => {
            if args.json {
                let error = format!("{error:#}");
                output::line(json!({ "url": url, "healthy": false, "error": error }))?;
            }
            return Err(error.context(url));
        }
    }
    Ok(output::code(healthy))
}

/// A listener that answers health checks.
struct HealthEndpoint {
    authority: String,
    tls: bool,
}

impl Args {
    fn endpoint(&self) -> anyhow::Result<HealthEndpoint> {
        if let Some(ops) = &self.ops {
            return Ok(HealthEndpoint { authority: ops.authority().to_owned(), tls: false });
        }
        // A mistake in the file must not make a healthy gateway, which keeps its settings, look dead.
        let config = Sources::of_file(self.config.clone()).lenient(&Config::default())?;
        Ok(HealthEndpoint::of(&config))
    }
}

/// Whether a gateway with this configuration answers on this machine.
pub(crate) async fn answers(config: &Config, time: Duration) -> bool {
    let asked = HealthEndpoint::of(config).ask("/healthz", time).await;
    asked.is_ok_and(|answer| answer.status == 200 && answer.first_line() == "ok")
}

impl HealthEndpoint {
    fn of(config: &Config) -> Self {
        let (address, tls) = match config.ops.listen {
            Some(address) => (address, false),
            None => (config.listen.tcp, !config.tls.plaintext_tcp),
        };
        Self { authority: reachable(address).to_string(), tls }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    async fn ask(&self, path: &str, time: Duration) -> anyhow::Result<HttpAnswer> {
        let answer = async {
            let stream = TcpStream::connect(&self.authority).await.context("cannot connect")?;
            if !self.tls {
                return http_get::get(stream, &self.authority, path, None).await;
            }
            let name = ServerName::try_from("localhost")?;
            let connector = TlsConnector::from(Arc::new(signalbox_certs::unverified_client()));
            let stream = connector.connect(name, stream).await.context("TLS failed")?;
            http_get::get(stream, &self.authority, path, None).await
        };
        match timeout(time, answer).await {
            Ok(answer) => answer,
            Err(_) => bail!("no answer within {}", humantime::format_duration(time)),
        }
    }
}
