//! The configuration: from defaults, file, environment and flags to one whole, and `signalbox
//! config`, which shows it with where each value came from.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
    value::{Dict, Value},
};
use signalbox_gateway::Config;

use crate::output;

/// Print the resolved configuration and where each value came from. Secrets are not shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox config
      The defaults, with what the environment changes.
  signalbox config --config gateway.toml
      What `signalbox serve --config gateway.toml` would use.")]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where the configuration comes from; each source overrides the ones before.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sources {
    /// TOML file with the configuration. Environment variables override it: SIGNALBOX_ and the
    /// setting with __ for the dot, as in SIGNALBOX_LINKS__IDLE_TIMEOUT_MS=10000.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// UDP address for QUIC (listen.quic).
    #[arg(long, value_name = "ADDRESS")]
    quic: Option<std::net::SocketAddr>,
    /// TCP address for WebSocket and HTTP (listen.tcp).
    #[arg(long, value_name = "ADDRESS")]
    tcp: Option<std::net::SocketAddr>,
    /// File that names the process while it runs, for `signalbox drain` (process.pid_file).
    #[arg(long, value_name = "PATH")]
    pid_file: Option<PathBuf>,
    /// Threads that carry links (process.threads).
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
}

impl Sources {
    /// All sources merged, `defaults` being the weakest.
    fn figment(&self, defaults: &Config) -> anyhow::Result<Figment> {
        let mut figment = Figment::from(Serialized::defaults(defaults));
        if let Some(file) = &self.config {
            // figment takes a missing file for an empty one.
            std::fs::metadata(file)
                .with_context(|| format!("cannot read the configuration {}", file.display()))?;
            figment = figment.merge(Toml::file_exact(file));
        }
        // Variables of other tools (SIGNALBOX_TOKEN …) have no section.
        let env = Env::prefixed("SIGNALBOX_")
            .filter(|name| name.as_str().contains("__") || name == "projects");
        figment = figment.merge(env.split("__"));
        let flags = [("listen.quic", self.quic), ("listen.tcp", self.tcp)];
        for (key, value) in flags {
            if let Some(value) = value {
                figment = figment.merge(Serialized::default(key, value));
            }
        }
        if let Some(pid_file) = &self.pid_file {
            figment = figment.merge(Serialized::default("process.pid_file", pid_file));
        }
        if let Some(threads) = self.threads {
            figment = figment.merge(Serialized::default("process.threads", threads));
        }
        Ok(figment)
    }

    /// The configuration.
    pub(crate) fn resolve(&self, defaults: &Config) -> anyhow::Result<Config> {
        self.figment(defaults)?.extract().map_err(|errors: figment::Error| {
            let said: Vec<_> = errors.into_iter().map(|error| explain(&error)).collect();
            anyhow::anyhow!("the configuration is not good: {}", said.join("; "))
        })
    }
}

/// What is wrong, where, and never with which value: that may be a secret.
fn explain(error: &figment::Error) -> String {
    let what = match &error.kind {
        Kind::InvalidType(_, expected) => format!("it must be {expected}"),
        Kind::InvalidValue(_, expected) => format!("its value is not good, it must be {expected}"),
        // A parser's text quotes the line, with a bar before it.
        Kind::Message(text) => {
            text.lines().filter(|line| !line.contains('|')).collect::<Vec<_>>().join(", ")
        }
        kind => kind.to_string(),
    };
    let mut said = what;
    if !error.path.is_empty() {
        said = format!("{}: {said}", error.path.join("."));
    }
    if let Some(metadata) = &error.metadata {
        said += &match &metadata.source {
            Some(source) => format!(" (in {source})"),
            None => format!(" (in {})", metadata.name),
        };
    }
    said
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = args.sources.resolve(&Config::default())?;
    let figment = args.sources.figment(&Config::default())?;
    let values: Dict = figment.extract()?;
    let mut lines = Vec::new();
    flatten("", &Value::from(values), &mut |key, value| {
        // Items of a list come from where the list comes from.
        let place = key.split_once(".0").map_or(key, |(list, _)| list);
        let source = figment
            .find_metadata(place)
            .map_or_else(|| "default".to_owned(), |metadata| source_of(metadata, place));
        lines.push((key.to_owned(), value, source));
    });
    if args.json {
        let object: serde_json::Map<_, _> = lines
            .into_iter()
            .map(|(key, value, source)| {
                (key, serde_json::json!({ "value": value, "source": source }))
            })
            .collect();
        output::line(serde_json::Value::Object(object))?;
    } else {
        for (key, value, source) in lines {
            output::line(format_args!("{key} = {value}  # {source}"))?;
        }
        for problem in config.problems() {
            output::note(format_args!("note: {problem}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn source_of(metadata: &figment::Metadata, key: &str) -> String {
    match (&metadata.source, metadata.name.as_ref()) {
        (Some(figment::Source::File(file)), _) => file.display().to_string(),
        (_, name) if name.contains("environment") => {
            format!("SIGNALBOX_{}", key.to_uppercase().replace('.', "__"))
        }
        (_, name) if name.contains("SocketAddr") => "flag".to_owned(),
        _ => "default".to_owned(),
    }
}

/// Calls `leaf` for every value, with its dotted path.
fn flatten(path: &str, value: &Value, leaf: &mut impl FnMut(&str, serde_json::Value)) {
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
        Value::Array(_, items) if path.ends_with(".secrets") => {
            leaf(path, format!("{} not shown", items.len()).into());
        }
        _ if path.ends_with(".secret") => leaf(path, "not shown".into()),
        value => leaf(path, serde_json::to_value(value).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(toml: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, toml)?;
        Sources { config: Some(file), ..Sources::default() }.resolve(&Config::default())
    }

    #[test]
    fn the_file_overrides_the_defaults() {
        let config = resolve("[links]\nidle_timeout_ms = 9000\n").unwrap();
        assert_eq!(config.links.idle_timeout_ms, 9000);
        assert_eq!(config.links.hello_timeout_ms, Config::default().links.hello_timeout_ms);
    }

    #[test]
    fn flags_override_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        std::fs::write(&file, "[listen]\nquic = \"127.0.0.1:1\"\ntcp = \"127.0.0.1:2\"").unwrap();
        let quic = Some("127.0.0.1:9".parse().unwrap());
        let sources = Sources { config: Some(file), quic, ..Sources::default() };
        let config = sources.resolve(&Config::default()).unwrap();
        assert_eq!(config.listen.quic.port(), 9);
        assert_eq!(config.listen.tcp.port(), 2);
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_it() {
        for (toml, part) in [
            ("[links]\nidle_timeout = 9\n", "idle_timeout"),
            ("[link]\n", "link"),
            ("[links]\nidle_timeout_ms = \"soon\"\n", "idle_timeout_ms"),
            ("[links\n", "line 1"),
        ] {
            let error = resolve(toml).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let missing = Sources { config: Some("no/such/file".into()), ..Sources::default() };
        let error = format!("{:#}", missing.resolve(&Config::default()).unwrap_err());
        assert!(error.contains("no/such/file"), "{error}");
    }

    #[test]
    fn errors_never_quote_what_may_be_a_secret() {
        for (toml, part) in [
            ("[[projects]]\nkey = \"1\"\nsecrets = \"HUSH\"", "projects.0.secrets"),
            ("[[projects]]\nkey = \"1\"\nsecrets = [\"HUSH", "line 3"),
            ("[[projects]]\nkey = \"1\"\nsecrets = [\"HUSH\"]\nsecrets = [\"HUSH\"]", "line 4"),
            ("[[projects]]\nkey = \"1\"\nwebhook = \"HUSH\"", "projects.0.webhook"),
            ("[[projects]]\nkey = \"1\"\nsecrets = [[\"HUSH\"]]", "projects.0.secrets"),
            ("projects = \"HUSH\"", "projects"),
        ] {
            let error = format!("{:#}", resolve(toml).unwrap_err());
            assert!(!error.contains("HUSH"), "{error}");
            assert!(error.contains(part) && error.contains("gateway.toml"), "{error}");
        }
    }
}
