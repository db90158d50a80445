//! The configuration: from defaults, file, environment and flags to one whole, and `signalbox
//! config`, which shows it with where each value came from, and all that is wrong with it.

mod mistakes;
mod sources;
mod toml_file;

use std::process::ExitCode;

use figment::value::Value;
use signalbox_gateway::Config;

pub(crate) use self::{mistakes::Mistakes, sources::Sources};
use crate::output;

/// Print the resolved configuration and where each value came from. Secrets are not shown.
///
/// What is wrong with it is said on standard error, all at once; then the exit code is 1, as
/// `signalbox serve` would not start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox config
      The defaults, with what the environment changes.
  signalbox config --config gateway.toml
      What `signalbox serve --config gateway.toml` would use, and whether it would start.
  signalbox config --config gateway.toml --json | jq .problems
      What is wrong with it, for programs.")]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Print JSON: an object with each setting, and the list of problems.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let read = args.sources.read(&Config::default())?;
    let (config, mut mistakes) = read.extract();
    mistakes.add(read.locate(config.problems()));
    let mut lines = Vec::new();
    flatten("", &read.value, &mut |key, value, tag| {
        lines.push((key.to_owned(), value, read.source_of(tag, key)));
    });
    if args.json {
        let mut object: serde_json::Map<_, _> = lines
            .into_iter()
            .map(|(key, value, source)| {
                (key, serde_json::json!({ "value": value, "source": source }))
            })
            .collect();
        object.insert("problems".into(), serde_json::to_value(&mistakes)?);
        output::line(serde_json::Value::Object(object))?;
        return Ok(output::code(mistakes.is_empty()));
    }
    for (key, value, source) in lines {
        output::line(format_args!("{key} = {value}  # {source}"))?;
    }
    mistakes.none()?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `leaf` for every value, with its dotted path and the tag that says where it is from.
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
        // Whatever is there instead of a list may be a secret.
        _ if path.ends_with(".secret") || path.ends_with(".secrets") => {
            leaf(path, "not shown".into(), value.tag());
        }
        value => leaf(path, serde_json::to_value(value).unwrap_or_default(), value.tag()),
    }
}

#[cfg(test)]
mod tests;
