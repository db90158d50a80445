//! `signalbox config check`: whether a gateway would start with a configuration, and what would change.

use std::{convert::Infallible, path::PathBuf, process::ExitCode, str::FromStr};

use serde_json::json;
use signalbox_gateway::{Config, RedactedConfig, SettingChange, SettingEffect};

use super::Sources;
use crate::{ops_client::OpsUrl, output};

/// The exit code for a change that needs a restart.
const NEEDS_RESTART: u8 = 3;

/// Check a configuration as `signalbox serve` does before it opens its ports: settings, certificate, keys
/// and projects. All faults are reported at once, with file and line.
///
/// With --against, print the settings that differ, and whether a reload applies them or a restart is
/// needed. Secrets are compared by fingerprints of 16 bits.
///
/// Exit codes: 0 if the configuration is valid; 3 if it is, and a difference needs a restart; 78 if it is
/// invalid; 1 if a file cannot be used or the gateway does not answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox config check /etc/signalbox/signalbox.toml
      Before a start or a reload: every fault with file and line.
  signalbox config check new.toml --against /etc/signalbox/signalbox.toml
      What differs between two files.
  signalbox config check new.toml --against http://127.0.0.1:4435
      What differs from the configuration of a running gateway (ops.listen).
  signalbox config check new.toml --against http://127.0.0.1:4435 --json | jq .changes
      For programs: setting, from, to and effect (atOnce, newConnections or restart) of each.")]
pub(super) struct Args {
    /// Configuration file (TOML). Environment variables override it, as for `signalbox serve`. Without
    /// it they are all there is.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Another file, or the URL of the operations listener of a running gateway.
    #[arg(long, value_name = "FILE|URL")]
    against: Option<Against>,
    /// Token of the listener (ops.token).
    #[arg(long, value_name = "TOKEN", env = "SIGNALBOX_OPS_TOKEN", hide_env_values = true)]
    ops_token: Option<String>,
    /// Print JSON: valid, problems and changes.
    #[arg(long)]
    json: bool,
}

/// The configuration to compare with.
#[derive(Debug, Clone)]
enum Against {
    File(PathBuf),
    Gateway(OpsUrl),
}

impl FromStr for Against {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::File(text.into()), Self::Gateway))
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    signalbox_certs::install_provider();
    let (config, invalid) = Sources::of_file(args.file.clone()).read(&Config::default())?.check();
    let is_valid = invalid.is_empty();
    let changes = match args.against.as_ref().filter(|_| is_valid) {
        Some(against) => args.load(against)?.changes_to(&config.redacted()),
        None => Vec::new(),
    };
    if args.json {
        output::line(json!({ "valid": is_valid, "problems": invalid, "changes": changes }))?;
    }
    if !is_valid {
        return if args.json { Ok(invalid.exit_code()) } else { Err(invalid.into()) };
    }
    if !args.json {
        print(args, &changes)?;
    }
    let restart = changes.iter().any(|change| change.effect == SettingEffect::Restart);
    Ok(if restart { ExitCode::from(NEEDS_RESTART) } else { ExitCode::SUCCESS })
}

fn print(args: &Args, changes: &[SettingChange]) -> anyhow::Result<()> {
    if args.against.is_none() {
        output::line("valid")?;
    } else if changes.is_empty() {
        output::line("valid; nothing differs")?;
    } else {
        let restarts = changes.iter().filter(|it| it.effect == SettingEffect::Restart).count();
        let differ = if changes.len() == 1 { "setting differs" } else { "settings differ" };
        let need = if restarts == 1 { "needs" } else { "need" };
        output::line(format_args!(
            "valid; {} {differ}, of which {restarts} {need} a restart:",
            changes.len()
        ))?;
        for change in changes {
            output::line(format_args!("  {}", signalbox_protocol::Printable(change)))?;
        }
    }
    Ok(())
}

impl Args {
    /// The other configuration.
    fn load(&self, against: &Against) -> anyhow::Result<RedactedConfig> {
        match against {
            Against::File(file) => {
                let sources = Sources::of_file(Some(file.clone()));
                Ok(sources.resolve(&Config::default())?.redacted())
            }
            Against::Gateway(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let asking = url.configuration(self.ops_token.as_deref());
                Ok(runtime.block_on(asking)?.settings)
            }
        }
    }
}
