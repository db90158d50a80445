//! `signalbox cluster status`: asks gateways for the state of their cluster.

mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use signalbox_gateway::ClusterReport;

use crate::{dev::profile::DevProfile, ops_client::OpsUrl, output};

/// Look at a cluster of gateways.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    Status(Args),
}

/// Print the state of a cluster as a gateway sees it: the bus, the other gateways, sessions, repairs.
///
/// The gateway must have an operations listener (ops.listen). The exit code is 0 if all gateways that
/// were asked are full parts of their cluster, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox cluster status
      The gateway on this machine with ops.listen = \"127.0.0.1:4435\".
  signalbox cluster status --ops http://127.0.0.1:4435 --ops http://127.0.0.1:4445
      Several gateways, one after the other.
  signalbox cluster status --dev
      All gateways of `signalbox serve --dev`.
  signalbox cluster status --json | jq .problems
      For programs: the answer of each gateway on one line.")]
pub(crate) struct Args {
    /// URL of the operations listener of a gateway; may be repeated.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:4435",
        conflicts_with = "dev"
    )]
    ops: Vec<OpsUrl>,
    /// Token of the listener (ops.token), the same for all of them.
    #[arg(long, value_name = "TOKEN", env = "SIGNALBOX_OPS_TOKEN", hide_env_values = true)]
    ops_token: Option<String>,
    /// Ask the gateways that `signalbox serve --dev` started on this machine.
    #[arg(long)]
    dev: bool,
    /// Print JSON, one line for each gateway.
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let urls = if args.dev { dev_urls()? } else { args.ops.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut healthy = true;
    for (number, url) in urls.iter().enumerate() {
        match runtime.block_on(url.cluster(args.ops_token.as_deref())) {
            Ok((answer, report)) => healthy &= print(args, number, &answer, &report)?,
            Err(error) => {
                healthy = false;
                if args.json {
                    let error = format!("{error:#}");
                    output::line(serde_json::json!({ "ops": url.to_string(), "error": error }))?;
                }
                output::error(&error);
            }
        }
    }
    Ok(output::code(healthy))
}

/// Prints the answer of a gateway. Returns whether it is healthy.
fn print(args: &Args, number: usize, answer: &str, report: &ClusterReport) -> anyhow::Result<bool> {
    if args.json {
        output::line(answer.trim_end())?;
    } else {
        if number > 0 {
            output::line("")?;
        }
        output::line(table::text(report))?;
    }
    Ok(report.healthy)
}

/// The gateways of the profile.
fn dev_urls() -> anyhow::Result<Vec<OpsUrl>> {
    let gateways = DevProfile::read()?.gateways.into_iter();
    gateways
        .map(|gateway| {
            let url = gateway.ops.context("the gateway has no operations listener")?;
            url.parse().map_err(anyhow::Error::msg)
        })
        .collect()
}
