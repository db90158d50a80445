//! `signalbox tail`: prints what happens to a session, a connection or the sessions of a project, live.

mod format;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use signalbox_protocol::{ConnectionId, Printable, ProjectKey, SessionId};
use tokio::io::AsyncBufReadExt as _;

use crate::{dev::profile::DevProfile, ops_client::OpsUrl, output, stop_signals::StopSignals};

/// Bytes of a line, more than a signal with its data takes as JSON.
const MAX_LINE: usize = 128 * 1024;

/// Follow a session, a connection or a project live: who joins, leaves and resumes, gaps, and the type
/// and size of each signal.
///
/// The gateway must have an operations listener (ops.listen). Each gateway of a cluster shows the clients
/// that are connected to it. The data of signals is shown with --contents if the gateway allows it
/// (ops.contents). If this command reads too slowly, events are left out, and a line says how many.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("scope").required(true)))]
#[command(after_help = "\
Examples:
  signalbox tail --session 1_MX4…
      A session of the gateway on this machine with ops.listen = \"127.0.0.1:4435\".
  signalbox tail --connection 9bf31a85-0c5e-4b9b-8a39-0d2f3c1e4a5b --ops http://127.0.0.1:4435
      One connection: its own events, and the signals to it alone.
  signalbox tail --project 12345678 --json | jq 'select(.event == \"rejected\")'
      For programs: one JSON object on each line.
  signalbox tail --project 100 --dev
      A project of `signalbox serve --dev`.")]
pub(crate) struct Args {
    /// Follow this session.
    #[arg(long, value_name = "ID", group = "scope")]
    session: Option<SessionId>,
    /// Follow this connection.
    #[arg(long, value_name = "ID", group = "scope")]
    connection: Option<ConnectionId>,
    /// Follow all sessions of this project.
    #[arg(long, value_name = "KEY", group = "scope")]
    project: Option<ProjectKey>,
    /// Show the data of signals, if ops.contents of the gateway allows it.
    #[arg(long)]
    contents: bool,
    /// URL of the operations listener of the gateway.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:4435",
        conflicts_with = "dev"
    )]
    ops: OpsUrl,
    /// Token of the listener (ops.token).
    #[arg(long, value_name = "TOKEN", env = "SIGNALBOX_OPS_TOKEN", hide_env_values = true)]
    ops_token: Option<String>,
    /// Follow the gateway that `signalbox serve --dev` started on this machine; of a cluster, the first.
    #[arg(long)]
    dev: bool,
    /// Print JSON, one object on each line.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The path and query of the request.
    fn path(&self) -> String {
        let scope = match (&self.session, &self.connection, &self.project) {
            (Some(session), ..) => format!("session={session}"),
            (_, Some(connection), _) => format!("connection={connection}"),
            (.., project) => {
                format!("project={}", project.as_ref().map_or("", ProjectKey::as_str))
            }
        };
        format!("/tail?{scope}&contents={}", self.contents)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let url = if args.dev { dev_url()? } else { args.ops.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stop = StopSignals::listen()?;
        tokio::select! {
            followed = follow(args, &url) => followed,
            () = stop.requested() => Ok(ExitCode::SUCCESS),
        }
    })
}

async fn follow(args: &Args, url: &OpsUrl) -> anyhow::Result<ExitCode> {
    let mut lines = url.follow(&args.path(), args.ops_token.as_deref()).await?;
    if !args.json {
        output::note(format_args!("following {url}; ctrl-c ends it"));
    }
    let mut line = Vec::new();
    loop {
        let used = {
            let more = lines.fill_buf().await.with_context(|| format!("{url} was lost"))?;
            if more.is_empty() {
                bail!("{url} has ended");
            }
            let end = more.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(more.len(), |end| end + 1);
            line.extend_from_slice(more.get(..used).unwrap_or_default());
            used
        };
        lines.consume(used);
        if line.len() > MAX_LINE {
            bail!("{url} sent a line of more than {MAX_LINE} bytes: it is another program");
        }
        if line.ends_with(b"\n") {
            print(args, String::from_utf8_lossy(&line).trim_end())?;
            line.clear();
        }
    }
}

fn print(args: &Args, line: &str) -> anyhow::Result<()> {
    // Empty lines show that the gateway is alive.
    if line.is_empty() {
        return Ok(());
    }
    if args.json {
        output::line(line)?;
    } else {
        let event = serde_json::from_str(line).context("a line is no JSON")?;
        output::line(Printable(format::text(&event)))?;
    }
    Ok(())
}

fn dev_url() -> anyhow::Result<OpsUrl> {
    let first = DevProfile::read()?.gateways.into_iter().next().context("no gateway runs")?;
    let url = first.ops.context("the gateway has no operations listener")?;
    url.parse().map_err(anyhow::Error::msg)
}
