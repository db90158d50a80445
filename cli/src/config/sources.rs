//! Sources of the configuration: defaults, file, environment and flags.

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;
use figment::{
    Figment, Metadata, Profile, Provider, Source,
    providers::{Env, Serialized},
    value::{Dict, Map, Tag, UncasedStr, Value},
};
use signalbox_gateway::{Config, Gateway, Problem, ProblemKind};
use signalbox_protocol::GatewayId;
use toml::de::DeTable;

use super::{
    error::{InvalidConfig, LocatedProblem, SettingSource},
    extract::extract,
    toml_file::TomlFile,
};
use crate::logging;

/// Sources of the configuration. Each overrides the ones before it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sources {
    /// Configuration file (TOML). Environment variables override it: SIGNALBOX_ and the setting
    /// with __ for the dot, as in SIGNALBOX_TIMEOUTS__IDLE_MS=10000.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of this gateway, which clients see as the sender of the servers' signals (name).
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<GatewayId>,
    /// UDP address for QUIC (listen.quic).
    #[arg(long, value_name = "ADDRESS")]
    pub(super) quic: Option<std::net::SocketAddr>,
    /// TCP address for WebSocket and HTTP (listen.tcp).
    #[arg(long, value_name = "ADDRESS")]
    pub(super) tcp: Option<std::net::SocketAddr>,
    /// TCP address of the page for browsers, without TLS (listen.page).
    #[arg(long, value_name = "ADDRESS")]
    pub(super) page: Option<std::net::SocketAddr>,
    /// NATS servers of a cluster of gateways, separated by commas (cluster.servers).
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(super) cluster: Vec<String>,
    /// File for the process id, for `signalbox drain` (process.pid_file).
    #[arg(long, value_name = "PATH")]
    pub(super) pid_file: Option<PathBuf>,
    /// Threads that carry links (process.threads).
    #[arg(long, value_name = "NUMBER")]
    pub(super) threads: Option<usize>,
}

impl Sources {
    /// The environment and a file, without flags.
    pub(crate) fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Whether neither a file nor a variable configures a gateway.
    pub(crate) fn configure_nothing(&self) -> bool {
        self.config.is_none() && environment().iter().next().is_none()
    }

    /// All sources merged, `defaults` being the weakest.
    pub(super) fn read(&self, defaults: &Config) -> anyhow::Result<MergedConfig> {
        let mut figment = Figment::from(Serialized::defaults(defaults));
        let mut file = None;
        if let Some(path) = &self.config {
            let read = TomlFile::read(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))?;
            figment = figment.merge(&read);
            file = Some(read);
        }
        let env = environment();
        let repeated =
            env.iter().filter_map(|(name, value)| repeated(name.as_str(), &value)).collect();
        figment = figment.merge(env);
        if let Some(filter) = std::env::var(logging::VARIABLE).ok().filter(|it| !it.is_empty()) {
            let value = Value::from(filter);
            let name = format!("{VARIABLE}{}", logging::VARIABLE);
            figment =
                figment.merge(NamedValue { section: "log", name: "filter", source: name, value });
        }
        let servers = (!self.cluster.is_empty()).then(|| Value::from(self.cluster.clone()));
        let flags = [
            ("", "name", "--name", self.name.as_ref().map(|it| Value::from(it.as_str()))),
            ("listen", "quic", "--quic", self.quic.map(|it| Value::from(it.to_string()))),
            ("listen", "tcp", "--tcp", self.tcp.map(|it| Value::from(it.to_string()))),
            ("listen", "page", "--page", self.page.map(|it| Value::from(it.to_string()))),
            ("cluster", "servers", "--cluster", servers),
            ("process", "pid_file", "--pid-file", self.pid_file.as_deref().map(path_value)),
            ("process", "threads", "--threads", self.threads.map(Value::from)),
        ];
        for (section, name, flag, value) in flags {
            if let Some(value) = value {
                let source = format!("{FLAG}{flag}");
                figment = figment.merge(NamedValue { section, name, source, value });
            }
        }
        let value = figment.find_value("").unwrap_or_else(|_| Dict::new().into());
        Ok(MergedConfig { figment, value, file, repeated })
    }

    /// Adds those that may be the same for several gateways to a command that starts one.
    pub(crate) fn pass_on(&self, command: &mut Command) {
        if let Some(file) = &self.config {
            command.arg("--config").arg(file);
        }
        if let Some(threads) = self.threads {
            command.arg("--threads").arg(threads.to_string());
        }
    }

    /// The configuration, with defaults in place of invalid values. Fails for a file that is not TOML.
    pub(crate) fn lenient(&self, defaults: &Config) -> anyhow::Result<Config> {
        let merged = self.read(defaults)?;
        let (config, invalid) = merged.extract();
        if merged.file.as_ref().is_some_and(|file| !file.syntax_errors().is_empty()) {
            invalid.into_result()?;
        }
        Ok(config)
    }

    /// The configuration, if each setting has a value of its kind.
    pub(crate) fn resolve(&self, defaults: &Config) -> anyhow::Result<Config> {
        let (config, invalid) = self.read(defaults)?.extract();
        invalid.into_result()?;
        Ok(config)
    }

    /// The configuration, if a gateway would start with it.
    pub(crate) fn check(&self, defaults: &Config) -> anyhow::Result<Config> {
        let (config, invalid) = self.read(defaults)?.check();
        invalid.into_result()?;
        Ok(config)
    }

    /// Finds where the setting of each problem is set.
    pub(crate) fn locate(
        &self,
        defaults: &Config,
        problems: Vec<Problem>,
    ) -> anyhow::Result<InvalidConfig> {
        let mut invalid = InvalidConfig::default();
        invalid.add(self.read(defaults)?.locate(problems));
        Ok(invalid)
    }
}

/// The settings in the environment. Variables of other tools (SIGNALBOX_TOKEN …) have no section.
fn environment() -> Env {
    let is_setting =
        |name: &UncasedStr| name.as_str().contains("__") || name == "projects" || name == "name";
    Env::prefixed("SIGNALBOX_").filter(is_setting).split("__")
}

fn path_value(path: &std::path::Path) -> Value {
    Value::from(path.to_string_lossy().into_owned())
}

/// The values of all sources, merged.
pub(super) struct MergedConfig {
    figment: Figment,
    value: Value,
    file: Option<TomlFile>,
    /// Variables whose value has a name twice.
    repeated: Vec<LocatedProblem>,
}

impl MergedConfig {
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// The configuration and all its faults, the files that it names included.
    pub(super) fn check(&self) -> (Config, InvalidConfig) {
        let (config, mut invalid) = self.extract();
        invalid.add(self.locate(Gateway::check(&config)));
        let filter = logging::check_filter(&config.log.filter).err();
        let kind = filter.map(|reason| ProblemKind::Invalid { reason });
        let problem = kind.map(|kind| Problem::new("log.filter", kind));
        invalid.add(self.locate(problem.into_iter().collect()));
        (config, invalid)
    }

    /// The configuration, with defaults in place of values of the wrong type, and what these are.
    pub(super) fn extract(&self) -> (Config, InvalidConfig) {
        let mut invalid = InvalidConfig::default();
        if let Some(file) = &self.file {
            invalid.add(file.syntax_errors());
        }
        invalid.add(self.repeated.clone());
        let (config, problems) = extract(self.value.clone());
        invalid.add(self.locate(problems));
        (config, invalid)
    }

    /// Finds where the setting of each problem is set.
    pub(super) fn locate(&self, problems: Vec<Problem>) -> Vec<LocatedProblem> {
        let locate = |Problem { setting, kind }| {
            let source = self.source_of(self.tag_of(&setting), &setting);
            LocatedProblem::Setting { setting, kind, source }
        };
        problems.into_iter().map(locate).collect()
    }

    /// The tag of a value; of a missing one in a list, the tag of the item that it is missing in.
    fn tag_of(&self, setting: &str) -> Tag {
        let (mut value, mut in_list) = (&self.value, false);
        for part in setting.split('.') {
            let inner = match value {
                Value::Dict(_, entries) => entries.get(part),
                Value::Array(_, items) => {
                    in_list = true;
                    part.parse().ok().and_then(|it: usize| items.get(it))
                }
                _ => None,
            };
            match inner {
                Some(inner) => value = inner,
                None if in_list => break,
                None => return Tag::Default,
            }
        }
        value.tag()
    }

    /// The source of a value, by the tag that figment gave it.
    pub(super) fn source_of(&self, tag: Tag, setting: &str) -> SettingSource {
        let Some(metadata) = self.figment.get_metadata(tag) else { return SettingSource::Default };
        match (&metadata.source, metadata.name.as_ref()) {
            (Some(Source::File(path)), _) => {
                let line = self.file.as_ref().and_then(|file| file.line_of(setting));
                SettingSource::File { path: path.clone(), line }
            }
            (_, name) if name.contains("environment") => SettingSource::Variable(variable(setting)),
            (_, name) => match (name.strip_prefix(FLAG), name.strip_prefix(VARIABLE)) {
                (Some(flag), _) => SettingSource::Flag(flag.to_owned()),
                (_, Some(variable)) => SettingSource::Variable(variable.to_owned()),
                _ => SettingSource::Default,
            },
        }
    }
}

const FLAG: &str = "flag ";
const VARIABLE: &str = "variable ";

/// The environment variable of a setting; what is in a list has that of the list.
fn variable(setting: &str) -> String {
    let in_list = |part: &&str| part.bytes().all(|it| it.is_ascii_digit());
    let parts: Vec<_> = setting.split('.').take_while(|part| !in_list(part)).collect();
    format!("SIGNALBOX_{}", parts.join("__").to_uppercase())
}

/// The fault of a variable whose value is a list or a table in which a name is there twice: figment
/// takes the last one, but a file may not have it either. All other faults figment finds.
pub(super) fn repeated(setting: &str, value: &str) -> Option<LocatedProblem> {
    let error = DeTable::parse(&format!("value = {value}")).err()?;
    error.message().contains("duplicate key").then(|| LocatedProblem::Setting {
        setting: setting.to_owned(),
        kind: ProblemKind::Repeated,
        source: SettingSource::Variable(variable(setting)),
    })
}

/// A setting that a flag sets, or a variable with a name of its own.
struct NamedValue {
    /// The section; empty for a setting outside all of them.
    section: &'static str,
    name: &'static str,
    /// [`FLAG`] or [`VARIABLE`], and the name.
    source: String,
    value: Value,
}

impl Provider for NamedValue {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let inner = Dict::from([(self.name.to_owned(), self.value.clone())]);
        let outer = match self.section {
            "" => inner,
            section => Dict::from([(section.to_owned(), inner.into())]),
        };
        Ok(Map::from([(Profile::Default, outer)]))
    }
}
