//! The time at which a changed setting takes effect, for each setting.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::SettingEffect::{AtOnce, NewConnections, Restart};
use super::Config;

/// The time at which a changed setting takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SettingEffect {
    /// When the configuration is reloaded, for everybody.
    AtOnce,
    /// When it is reloaded, for links, sessions and requests that begin afterwards.
    NewConnections,
    /// When the gateway is started again.
    Restart,
}

impl SettingEffect {
    /// The effect in words: "takes effect" comes before them.
    pub fn in_words(self) -> &'static str {
        match self {
            AtOnce => "at once",
            NewConnections => "for new connections",
            Restart => "after a restart",
        }
    }

    /// The effect of a setting, by its name with dots. Items of lists are named by their position, and
    /// projects by their position or key.
    pub fn of(setting: &str) -> Self {
        let name = match setting.strip_prefix("projects.").and_then(|it| it.split_once('.')) {
            Some((_, rest)) => format!("projects.{rest}"),
            None => setting.to_owned(),
        };
        let is_it = |known: &str| {
            name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let found = EFFECTS.iter().find(|(known, _)| is_it(known));
        // A whole project is added or removed.
        let unknown = if name.starts_with("projects") { AtOnce } else { Restart };
        found.map_or(unknown, |(_, effect)| *effect)
    }
}

impl Config {
    /// This configuration with those settings of another one that only a restart changes.
    pub(crate) fn with_restart_settings_of(&self, running: &Self) -> Self {
        let (mut settings, before) = (self.to_json(), running.to_json());
        for (name, _) in EFFECTS.iter().filter(|(_, effect)| *effect == Restart) {
            let pointer = format!("/{}", name.replace('.', "/"));
            if let (Some(setting), Some(value)) =
                (settings.pointer_mut(&pointer), before.pointer(&pointer))
            {
                setting.clone_from(value);
            }
        }
        // Both are configurations already, so their settings are one, too.
        serde_json::from_value(settings).unwrap_or_else(|_| running.clone())
    }
}

/// Every setting. Those that need a restart are what addresses, the cluster and the process are made from.
const EFFECTS: &[(&str, SettingEffect)] = &[
    ("name", Restart),
    ("listen.quic", Restart),
    ("listen.tcp", Restart),
    ("listen.page", Restart),
    ("proxy.trusted", NewConnections),
    ("proxy.header", NewConnections),
    ("proxy.protocol", NewConnections),
    ("tls.certificate", NewConnections),
    ("tls.key", NewConnections),
    ("tls.plaintext_tcp", Restart),
    ("tls.acme.domains", Restart),
    ("tls.acme.directory", Restart),
    ("tls.acme.terms_of_service_agreed", Restart),
    ("tls.acme.contact", Restart),
    ("tls.acme.storage", Restart),
    ("tls.acme.ca", Restart),
    ("auth.allowed_origins", NewConnections),
    ("auth.legacy_t1_tokens", NewConnections),
    ("auth.subscribers_may_send", NewConnections),
    ("auth.end_on_token_expiry", NewConnections),
    ("limits.connections", AtOnce),
    ("limits.memory_bytes", AtOnce),
    ("limits.connections_per_session", AtOnce),
    ("limits.connections_per_project", AtOnce),
    ("limits.connections_per_user", AtOnce),
    ("limits.sessions_per_project", AtOnce),
    ("limits.signals_per_second_per_connection", NewConnections),
    ("limits.bytes_per_second_per_connection", NewConnections),
    ("limits.deliveries_per_second_per_session", NewConnections),
    ("limits.signals_per_second_per_project", AtOnce),
    ("limits.outbox_frames", NewConnections),
    ("limits.outbox_bytes", NewConnections),
    ("limits.streams_per_client", NewConnections),
    ("limits.pending_handshakes", AtOnce),
    ("limits.http_keep_alive_connections", NewConnections),
    ("limits.webhook_queue_bytes", AtOnce),
    ("limits.address.links_per_second", AtOnce),
    ("limits.address.pending_links", AtOnce),
    ("limits.address.requests_per_second", AtOnce),
    ("limits.address.invalid_tokens_per_second", AtOnce),
    ("timeouts.hello_ms", NewConnections),
    ("timeouts.idle_ms", NewConnections),
    ("timeouts.http_keep_alive_ms", NewConnections),
    ("resume.window_ms", AtOnce),
    ("resume.gateways", NewConnections),
    ("resume.history_bytes", NewConnections),
    ("resume.state_file", Restart),
    ("resume.state_file_max_bytes", Restart),
    ("cluster.servers", Restart),
    ("cluster.namespace", Restart),
    ("cluster.user", Restart),
    ("cluster.password", Restart),
    ("cluster.token", Restart),
    ("cluster.credentials_file", Restart),
    ("cluster.ca", Restart),
    ("cluster.certificate", Restart),
    ("cluster.key", Restart),
    ("cluster.ready_without_bus", Restart),
    ("opentok_js.prefix", NewConnections),
    ("opentok_js.kept_connections", NewConnections),
    ("log.filter", AtOnce),
    ("ops.listen", Restart),
    ("ops.token", AtOnce),
    ("ops.token_file", AtOnce),
    ("ops.hosts", Restart),
    ("ops.contents", AtOnce),
    ("tracing.endpoint", Restart),
    ("tracing.sample_one_in", Restart),
    ("tracing.service_name", Restart),
    ("drain.readiness_delay_ms", AtOnce),
    ("drain.spread_ms", AtOnce),
    ("drain.timeout_ms", AtOnce),
    ("process.pid_file", Restart),
    ("process.threads", Restart),
    ("projects.key", AtOnce),
    ("projects.secrets", AtOnce),
    ("projects.public_keys", AtOnce),
    ("projects.limits.connections", AtOnce),
    ("projects.limits.connections_per_user", AtOnce),
    ("projects.limits.sessions", AtOnce),
    ("projects.limits.signals_per_second", AtOnce),
    ("projects.limits.resume_window_ms", AtOnce),
    ("projects.webhook.url", AtOnce),
    ("projects.webhook.secret", AtOnce),
    ("projects.connect_webhook.url", NewConnections),
    ("projects.connect_webhook.secret", NewConnections),
    ("projects.connect_webhook.timeout_ms", NewConnections),
    ("projects.connect_webhook.max_waiting", NewConnections),
];

/// The effects as a table in Markdown, for the manual.
pub fn effects_reference() -> String {
    let mut text = String::from("| takes effect | settings |\n|---|---|\n");
    for wanted in [AtOnce, NewConnections, Restart] {
        let settings = EFFECTS.iter().filter(|(_, effect)| *effect == wanted);
        let names: Vec<_> = settings.map(|(name, _)| format!("`{name}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} | {} |", wanted.in_words(), names.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::setting::{Form, Table},
        *,
    };

    fn names(outer: &str, table: &Table) -> Vec<String> {
        let names = table.settings.iter().flat_map(|setting| {
            let name = format!("{outer}{}", setting.name);
            match &setting.form {
                Form::Table(inner) | Form::Tables(inner) => names(&format!("{name}."), inner),
                _ => vec![name],
            }
        });
        names.collect()
    }

    #[test]
    fn every_setting_has_an_effect() {
        let known: Vec<_> = EFFECTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let (mut known, mut declared) = (known, names("", &Config::TABLE));
        known.sort();
        declared.sort();
        assert_eq!(known, declared, "gateway/src/config/effect.rs lists every setting once");
    }

    #[test]
    fn a_reload_keeps_what_only_a_restart_changes() {
        let mut running = Config::default();
        running.listen.page = Some(([127, 0, 0, 1], 1).into());
        running.cluster.password = Some("hush".to_owned().into());
        running.drain.spread_ms = 5;
        let mut wanted = Config::default();
        wanted.process.threads = 9;
        wanted.limits.connections = 7;
        let next = wanted.with_restart_settings_of(&running);
        let mut expected = running.clone();
        expected.limits.connections = 7;
        expected.drain.spread_ms = Config::default().drain.spread_ms;
        assert_eq!(next, expected);
    }

    #[test]
    fn items_and_projects_have_the_effect_of_their_setting() {
        for (setting, effect) in [
            ("name", Restart),
            ("resume.gateways.3", NewConnections),
            ("limits.address.pending_links", AtOnce),
            ("projects.12345678.limits.connections", AtOnce),
            ("projects.0.secrets.1", AtOnce),
            ("projects.12345678", AtOnce),
            ("no.such", Restart),
        ] {
            assert_eq!(SettingEffect::of(setting), effect, "{setting}");
        }
    }
}
