//! `signalbox config`: prints the resolved configuration, the source of each value, and all faults.

mod check;
mod error;
mod extract;
mod sources;
mod toml_file;

use std::process::ExitCode;

use clap::Subcommand;
use figment::value::Value;
use signalbox_gateway::{Config, is_secret};

pub(crate) use self::{error::InvalidConfig, sources::Sources};
use crate::output;

/// Print the resolved configuration and the source of each value, and check it.
///
/// Secrets are not shown. All faults are reported at once. The exit code is that of `signalbox serve`,
/// which would not start then: 78, or 1 if the only fault is a file that cannot be used.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  signalbox config --default > gateway.toml
      Write a file with every setting, its meaning, bounds and default.
  signalbox config --config gateway.toml
      Check a file: print what `signalbox serve --config gateway.toml` would use, and every fault.
  signalbox config --config gateway.toml --json | jq .problems
      The faults for programs: setting, kind, source (file and line, variable or flag), message.
  signalbox config check gateway.toml --against http://127.0.0.1:4435
      What a reload of a running gateway would change."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<ConfigCommand>,
    #[command(flatten)]
    sources: Sources,
    /// Print the default configuration file: every setting with its meaning, bounds and default.
    #[arg(long, exclusive = true)]
    default: bool,
    /// Print JSON: each setting with its value and source, and the list of problems.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(check::Args),
}

/// The exit code of a command that has failed with this error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref().map_or(ExitCode::FAILURE, InvalidConfig::exit_code)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(ConfigCommand::Check(args)) = &args.command {
        return check::run(args);
    }
    if args.default {
        output::line(signalbox_gateway::default_file().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let merged = args.sources.read(&Config::default())?;
    let (_, invalid) = merged.check();
    let mut settings = Vec::new();
    flatten("", merged.value(), &mut |key, value, tag| {
        settings.push((key.to_owned(), value, merged.source_of(tag, key)));
    });
    if args.json {
        let mut object: serde_json::Map<_, _> = settings
            .into_iter()
            .map(|(key, value, source)| {
                (key, serde_json::json!({ "value": value, "source": source }))
            })
            .collect();
        object.insert("problems".into(), serde_json::to_value(&invalid)?);
        output::line(serde_json::Value::Object(object))?;
        return Ok(invalid.exit_code());
    }
    for (key, value, source) in settings {
        output::line(format_args!("{key} = {value}  # {source}"))?;
    }
    invalid.into_result()?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `leaf` for every value, with its dotted path and the tag of its source.
fn flatten(
    path: &str,
    value: &Value,
    leaf: &mut impl FnMut(&str, serde_json::Value, figment::value::Tag),
) {
    let join = |name: &str| {
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    };
    match value {
        Value::Dict(_, entries) => {
            entries.iter().for_each(|(name, value)| flatten(&join(name), value, leaf));
        }
        Value::Array(_, items) if items.iter().any(|item| item.as_dict().is_some()) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&join(&index.to_string()), item, leaf);
            }
        }
        Value::Array(tag, items) if path.ends_with(".secrets") => {
            leaf(path, format!("{} not shown", items.len()).into(), *tag);
        }
        Value::Empty(tag, _) => leaf(path, serde_json::Value::Null, *tag),
        // A value of the wrong type may be a secret, too.
        _ if is_secret(path) => leaf(path, "not shown".into(), value.tag()),
        value => leaf(path, serde_json::to_value(value).unwrap_or_default(), value.tag()),
    }
}

#[cfg(test)]
mod tests;
