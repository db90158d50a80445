//! Where the configuration comes from: defaults, file, environment and flags.

use std::path::PathBuf;

use anyhow::Context as _;
use figment::{
    Figment, Metadata, Profile, Provider, Source,
    providers::{Env, Serialized},
    value::{Dict, Map, Tag, Value},
};
use signalbox_gateway::{Config, Problem};
use signalbox_protocol::GatewayId;
use toml::de::DeTable;

use super::{
    mistakes::{Mistake, Mistakes, extract},
    toml_file::TomlFile,
};

/// Where the configuration comes from; each source overrides the ones before.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Sources {
    /// TOML file with the configuration. Environment variables override it: SIGNALBOX_ and the
    /// setting with __ for the dot, as in SIGNALBOX_LINKS__IDLE_TIMEOUT_MS=10000.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of this gateway (name), which clients see as the sender of the servers' signals.
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<GatewayId>,
    /// UDP address for QUIC (listen.quic).
    #[arg(long, value_name = "ADDRESS")]
    pub(super) quic: Option<std::net::SocketAddr>,
    /// TCP address for WebSocket and HTTP (listen.tcp).
    #[arg(long, value_name = "ADDRESS")]
    pub(super) tcp: Option<std::net::SocketAddr>,
    /// File that names the process while it runs, for `signalbox drain` (process.pid_file).
    #[arg(long, value_name = "PATH")]
    pub(super) pid_file: Option<PathBuf>,
    /// Threads that carry links (process.threads).
    #[arg(long, value_name = "NUMBER")]
    pub(super) threads: Option<usize>,
}

impl Sources {
    /// All sources merged, `defaults` being the weakest.
    pub(super) fn read(&self, defaults: &Config) -> anyhow::Result<Read> {
        let mut figment = Figment::from(Serialized::defaults(defaults));
        let mut file = None;
        if let Some(path) = &self.config {
            let read = TomlFile::read(path)
                .with_context(|| format!("cannot read the configuration {}", path.display()))?;
            figment = figment.merge(&read);
            file = Some(read);
        }
        // Variables of other tools (SIGNALBOX_TOKEN …) have no section.
        let env = Env::prefixed("SIGNALBOX_")
            .filter(|name| name.as_str().contains("__") || name == "projects" || name == "name");
        let env = env.split("__");
        let twice =
            env.iter().filter_map(|(name, value)| said_twice(name.as_str(), &value)).collect();
        figment = figment.merge(env);
        let flags = [
            ("", "name", "--name", self.name.as_ref().map(|it| Value::from(it.as_str()))),
            ("listen", "quic", "--quic", self.quic.map(|it| Value::from(it.to_string()))),
            ("listen", "tcp", "--tcp", self.tcp.map(|it| Value::from(it.to_string()))),
            ("process", "pid_file", "--pid-file", self.pid_file.as_deref().map(path_value)),
            ("process", "threads", "--threads", self.threads.map(Value::from)),
        ];
        for (section, name, flag, value) in flags {
            if let Some(value) = value {
                figment = figment.merge(Flag { section, name, flag, value });
            }
        }
        let value = figment.find_value("").unwrap_or_else(|_| Dict::new().into());
        Ok(Read { figment, value, file, twice })
    }

    /// The configuration, if each setting has a value of its kind.
    pub(crate) fn resolve(&self, defaults: &Config) -> anyhow::Result<Config> {
        let (config, mistakes) = self.read(defaults)?.extract();
        mistakes.none()?;
        Ok(config)
    }

    /// The configuration, if a gateway would start with it.
    pub(crate) fn check(&self, defaults: &Config) -> anyhow::Result<Config> {
        let read = self.read(defaults)?;
        let (config, mut mistakes) = read.extract();
        mistakes.add(read.locate(config.problems()));
        mistakes.none()?;
        Ok(config)
    }
}

impl Sources {
    /// Says where the setting of each problem is set.
    pub(crate) fn locate(
        &self,
        defaults: &Config,
        problems: Vec<Problem>,
    ) -> anyhow::Result<Mistakes> {
        let mut mistakes = Mistakes::default();
        mistakes.add(self.read(defaults)?.locate(problems));
        Ok(mistakes)
    }
}

fn path_value(path: &std::path::Path) -> Value {
    Value::from(path.to_string_lossy().into_owned())
}

/// What all sources say together.
pub(super) struct Read {
    figment: Figment,
    pub(super) value: Value,
    file: Option<TomlFile>,
    /// Variables that say one thing twice.
    twice: Vec<Mistake>,
}

impl Read {
    /// The configuration, with defaults for what has no value of its kind, and what these are.
    pub(super) fn extract(&self) -> (Config, Mistakes) {
        let mut mistakes = Mistakes::default();
        if let Some(file) = &self.file {
            mistakes.add(file.mistakes());
        }
        mistakes.add(self.twice.clone());
        let (config, problems) = extract(self.value.clone());
        mistakes.add(self.locate(problems));
        (config, mistakes)
    }

    /// Says where the setting of each problem is set.
    pub(super) fn locate(&self, problems: Vec<Problem>) -> Vec<Mistake> {
        problems.into_iter().map(|problem| self.place(problem)).collect()
    }

    fn place(&self, problem: Problem) -> Mistake {
        let Problem { setting, problem } = problem;
        let mut mistake = Mistake { setting: Some(setting), problem, source: None, line: None };
        let setting = mistake.setting.as_deref().unwrap_or_default();
        let source = self.source_of(self.tag_of(setting), setting);
        if source != DEFAULT {
            let is_file = |file: &&TomlFile| file.name() == source;
            mistake.line = self.file.as_ref().filter(is_file).and_then(|it| it.line_of(setting));
            mistake.source = Some(source);
        }
        mistake
    }

    /// The tag of a value; of one that is not set, that of the item of a list that it is missing in.
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

    /// What a person calls the source of a value.
    pub(super) fn source_of(&self, tag: Tag, setting: &str) -> String {
        let Some(metadata) = self.figment.get_metadata(tag) else { return DEFAULT.to_owned() };
        match (&metadata.source, metadata.name.as_ref()) {
            (Some(Source::File(file)), _) => file.display().to_string(),
            (_, name) if name.contains("environment") => variable(setting),
            (_, name) if name.starts_with(FLAG) => name.to_owned(),
            _ => DEFAULT.to_owned(),
        }
    }
}

const DEFAULT: &str = "default";
const FLAG: &str = "flag ";

/// The environment variable of a setting; what is in a list has that of the list.
fn variable(setting: &str) -> String {
    let in_list = |part: &&str| part.bytes().all(|it| it.is_ascii_digit());
    let parts: Vec<_> = setting.split('.').take_while(|part| !in_list(part)).collect();
    format!("SIGNALBOX_{}", parts.join("__").to_uppercase())
}

/// A variable whose value is a list or a table in which a name is there twice. figment takes the last
/// one; in a file it is a mistake. Whatever else is wrong with a value, figment finds.
pub(super) fn said_twice(setting: &str, value: &str) -> Option<Mistake> {
    let error = DeTable::parse(&format!("value = {value}")).err()?;
    error.message().contains("duplicate key").then(|| Mistake {
        setting: Some(setting.to_owned()),
        problem: "must not say the same name twice".into(),
        source: Some(variable(setting)),
        line: None,
    })
}

/// A setting that a flag sets.
struct Flag {
    /// The setting's table; empty for a setting outside all tables.
    section: &'static str,
    name: &'static str,
    flag: &'static str,
    value: Value,
}

impl Provider for Flag {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("{FLAG}{}", self.flag))
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
