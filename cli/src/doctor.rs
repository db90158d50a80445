//! `signalbox doctor`: looks for what keeps a gateway from working well on this machine.

mod certificate;
mod finding;
mod network;
mod system;

use std::{path::PathBuf, process::ExitCode};

use signalbox_gateway::Config;
use tokio::runtime::Runtime;

use self::{
    finding::{Finding, Level},
    network::Roots,
};
use crate::{
    config::{InvalidConfig, Sources},
    output,
};

/// Look for what keeps a gateway from working well on this machine: configuration, certificate, ports,
/// NATS, file descriptors, UDP, clock and memory.
///
/// Run it as the user of the gateway, before or while that runs. It changes nothing. With --url it also
/// connects to a gateway as a client does, from here: that shows whether UDP gets through. With --url and
/// no configuration, as on the machine of a client, it does only that. Each finding is ok, warn, fail or
/// skip, with the next step. The exit code is 1 if one of them is fail, else 0.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo -u signalbox signalbox doctor --config /etc/signalbox/signalbox.toml
      The machine and the configuration of a gateway.
  signalbox doctor --config gateway.toml --url quic://signal.example.com --url wss://signal.example.com
      Also whether clients reach it, over UDP and over TCP.
  signalbox doctor --url quic://signal.example.com --url wss://signal.example.com
      On the machine of a client: only whether the gateway can be reached from there.
  signalbox doctor --config gateway.toml --json | jq 'select(.level != \"ok\")'
      For programs: check, level, finding and next of each, one JSON object on each line.")]
pub(crate) struct Args {
    /// Configuration file of the gateway (TOML). Environment variables override it, as for `signalbox
    /// serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// URL of a gateway to connect to, as clients do; may be repeated.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// PEM file with the certificate authority that clients trust, instead of the system's authorities.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print JSON, one object on each line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    signalbox_certs::install_provider();
    let roots = network::roots(args.ca.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report { json: args.json, failed: false };
    let sources = Sources::of_file(args.config.clone());
    if sources.configure_nothing() && !args.url.is_empty() {
        report.add(Finding::skip(
            "gateway",
            "the checks of a gateway's machine, as there is no configuration",
            "pass --config on the machine of the gateway",
        ))?;
    } else {
        gateway(args, &sources, &roots, &runtime, &mut report)?;
    }
    for url in &args.url {
        report.add(runtime.block_on(network::reach(url, &roots)))?;
    }
    // A panic of a task must not keep the process.
    runtime.shutdown_background();
    Ok(output::code(!report.failed))
}

/// Checks the configuration of a gateway and this machine, on which it runs.
fn gateway(
    args: &Args,
    sources: &Sources,
    roots: &Roots,
    runtime: &Runtime,
    report: &mut Report,
) -> anyhow::Result<()> {
    let config = sources.lenient(&Config::default())?;
    let valid = match sources.check(&Config::default()) {
        Ok(_) => {
            report.add(Finding::ok("configuration", "it is valid"))?;
            true
        }
        Err(error) => {
            let next = if sources.configure_nothing() {
                "pass --config FILE, or only --url on the machine of a client"
            } else {
                "correct it; signalbox config check says the same"
            };
            report.add(configuration_fault(&error, next))?;
            false
        }
    };
    for finding in certificate::check(&config, roots, args.url.first().map(String::as_str)) {
        report.add(finding)?;
    }
    for finding in runtime.block_on(network::ports(&config)) {
        report.add(finding)?;
    }
    if !config.cluster.servers.is_empty() {
        report.add(runtime.block_on(network::nats(&config, valid)))?;
    }
    for finding in system::check(&config) {
        report.add(finding)?;
    }
    report.add(runtime.block_on(system::clock()))
}

fn configuration_fault(error: &anyhow::Error, next: &str) -> Finding {
    let text = match error.downcast_ref::<InvalidConfig>() {
        Some(invalid) => invalid.on_one_line(),
        None => format!("{error:#}"),
    };
    Finding::fail("configuration", text, next)
}

/// The findings so far.
struct Report {
    json: bool,
    failed: bool,
}

impl Report {
    fn add(&mut self, finding: Finding) -> anyhow::Result<()> {
        self.failed |= finding.level == Level::Fail;
        if self.json {
            output::line(serde_json::to_string(&finding)?)?;
        } else {
            output::line(finding)?;
        }
        Ok(())
    }
}
