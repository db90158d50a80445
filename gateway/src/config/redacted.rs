//! The configuration without its secrets, and the differences between two.
//!
//! In place of a secret there is a fingerprint of 16 bits. It shows that a secret was changed, or that
//! two gateways have the same one, and it does not help to find the secret: one guess in 65,536 has it.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Config, SettingEffect};

/// Last parts of the names of secret settings.
const SECRETS: [&str; 4] = ["secret", "secrets", "password", "token"];

/// Whether the value of a setting must not be shown, by its name with dots.
pub fn is_secret(setting: &str) -> bool {
    SECRETS.contains(&setting.rsplit('.').next().unwrap_or_default())
}

/// A configuration without secrets: the settings as in the file, each secret with its fingerprint in its
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedactedConfig(pub(super) Value);

/// A difference between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// The setting with dots. Projects are named by their key: `projects.12345678.limits.connections`.
    pub setting: String,
    /// The value before; null if it was not set.
    pub from: Value,
    /// The value after; null if it is not set.
    pub to: Value,
    /// The time at which it takes effect.
    pub effect: SettingEffect,
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, from, to, effect } = self;
        write!(f, "{setting}: {} → {} ({})", Shown(from), Shown(to), effect.in_words())
    }
}

/// A value as people write it.
struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("not set"),
            value => write!(f, "{value}"),
        }
    }
}

impl Config {
    /// The configuration without secrets.
    pub fn redacted(&self) -> RedactedConfig {
        let mut settings = self.to_json();
        redact("", &mut settings);
        RedactedConfig(settings)
    }

    /// The settings as in the file, secrets included.
    pub(super) fn to_json(&self) -> Value {
        // They are numbers, booleans, texts, lists and tables, which JSON has all.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn redact(name: &str, value: &mut Value) {
    match value {
        Value::Object(settings) => {
            settings.iter_mut().for_each(|(name, value)| redact(name, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(name, item)),
        Value::String(text) if SECRETS.contains(&name) => *text = fingerprint("not shown", text),
        // Only webhooks have one. Its path may hold a token.
        Value::String(text) if name == "url" => *text = fingerprint(host(text), text),
        _ => {}
    }
}

fn fingerprint(shown: &str, secret: &str) -> String {
    let hash = digest(&SHA256, secret.as_bytes());
    let start: String = hash.as_ref().iter().take(2).map(|byte| format!("{byte:02x}")).collect();
    format!("{shown} (fingerprint {start})")
}

/// A URL up to its path.
fn host(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after_scheme..).and_then(|rest| rest.find(['/', '?', '#']));
    end.and_then(|end| url.get(..after_scheme + end)).unwrap_or(url)
}

impl RedactedConfig {
    /// The settings that another configuration has different values for, by name.
    pub fn changes_to(&self, new: &Self) -> Vec<SettingChange> {
        let (mut before, mut after) = (self.settings(), new.settings());
        let names: std::collections::BTreeSet<_> =
            before.keys().chain(after.keys()).cloned().collect();
        let changes = names.into_iter().filter_map(|setting| {
            let from = before.remove(&setting).unwrap_or_default();
            let to = after.remove(&setting).unwrap_or_default();
            let effect = SettingEffect::of(&setting);
            (from != to).then_some(SettingChange { setting, from, to, effect })
        });
        changes.collect()
    }

    /// Each setting by its name with dots.
    fn settings(&self) -> BTreeMap<String, Value> {
        let mut settings = BTreeMap::new();
        flatten("", &self.0, &mut settings);
        settings
    }
}

fn flatten(name: &str, value: &Value, settings: &mut BTreeMap<String, Value>) {
    let inner = |part: &str| {
        if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") }
    };
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(part, value)| flatten(&inner(part), value, settings));
        }
        Value::Array(items) if name == "projects" => {
            for (index, project) in items.iter().enumerate() {
                let key = project.get("key").and_then(Value::as_str);
                flatten(&inner(key.unwrap_or(&index.to_string())), project, settings);
            }
        }
        value => {
            settings.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{ProjectConfig, WebhookConfig};

    fn config() -> Config {
        let mut config = Config::default();
        let mut project = ProjectConfig::with_secret("100".parse().unwrap(), "HUSH-1");
        project.webhook = Some(WebhookConfig {
            url: "https://app.example.com/HUSH-2?token=HUSH-3".into(),
            secret: "HUSH-4".into(),
        });
        config.projects.push(project);
        config.cluster.password = Some("HUSH-5".to_owned().into());
        config.cluster.token = Some("HUSH-6".to_owned().into());
        config.ops.token = Some("HUSH-7".to_owned().into());
        config
    }

    #[test]
    fn no_secret_is_shown_and_all_else_is() {
        let redacted = serde_json::to_value(config().redacted()).unwrap();
        let text = redacted.to_string();
        assert!(!text.contains("HUSH"), "{text}");
        let url = redacted["projects"][0]["webhook"]["url"].as_str().unwrap();
        assert!(url.starts_with("https://app.example.com (fingerprint "), "{url}");
        assert_eq!(redacted["limits"]["outbox_frames"], 4096);
        assert_eq!(redacted["projects"][0]["key"], "100");
        let secrets = redacted["projects"][0]["secrets"].as_array().unwrap();
        assert!(secrets[0].as_str().unwrap().starts_with("not shown (fingerprint "));
        for (setting, secret) in
            [("cluster.password", true), ("projects.0.secrets", true), ("tls.key", false)]
        {
            assert_eq!(is_secret(setting), secret, "{setting}");
        }
    }

    #[test]
    fn differences_are_named_with_both_values_and_secrets_by_their_fingerprints() {
        let (old, mut new) = (config(), config());
        assert_eq!(old.redacted().changes_to(&new.redacted()), []);
        new.limits.connections = 7;
        new.listen.page = Some(([127, 0, 0, 1], 1).into());
        new.projects[0].secrets.push("HUSH-8".into());
        new.projects.insert(0, ProjectConfig::with_secret("200".parse().unwrap(), "HUSH-9"));
        let changes = old.redacted().changes_to(&new.redacted());
        let shown: Vec<_> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown[0], "limits.connections: 250000 → 7 (at once)");
        assert_eq!(shown[1], "listen.page: not set → \"127.0.0.1:1\" (after a restart)");
        assert!(
            shown[2].starts_with("projects.100.secrets: [\"not shown (fingerprint "),
            "{shown:?}"
        );
        assert_eq!(shown[3], "projects.200.key: not set → \"200\" (at once)");
        assert!(!shown.concat().contains("HUSH"), "{shown:?}");
        assert_eq!(changes[0].from, json!(250_000));
        let back = new.redacted().changes_to(&old.redacted());
        assert_eq!(back.len(), changes.len());
    }
}
