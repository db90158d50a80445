//! Settings with their meaning, for operators.

use serde::Serialize;
use serde_json::Value;

use super::{
    Config, RedactedConfig, SettingEffect,
    default_file::paragraph,
    setting::{Form, Table},
};

/// A setting of a configuration without secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribedSetting {
    /// Its name with dots. Projects are named by their position.
    name: String,
    /// Its value; null if it is not set.
    value: Value,
    /// Whether it has its default. A setting of a project has none.
    is_default: bool,
    /// The time at which a change takes effect.
    effect: SettingEffect,
    /// What it does.
    about: String,
}

impl RedactedConfig {
    /// All settings, those of a table before those of the tables inside.
    pub(crate) fn described(&self) -> Vec<DescribedSetting> {
        let defaults = Config::default().redacted();
        let mut settings = Vec::new();
        describe(&mut settings, "", &Config::TABLE, &self.0, Some(&defaults.0));
        settings
    }
}

fn describe(
    settings: &mut Vec<DescribedSetting>,
    outer: &str,
    table: &Table,
    values: &Value,
    defaults: Option<&Value>,
) {
    for setting in table.settings {
        let name = format!("{outer}{}", setting.name);
        let value = values.get(setting.name).unwrap_or(&Value::Null);
        let default = defaults.map(|it| it.get(setting.name).unwrap_or(&Value::Null));
        match &setting.form {
            Form::Table(_) if value.is_null() => {}
            Form::Table(inner) => describe(settings, &format!("{name}."), inner, value, default),
            Form::Tables(inner) => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    describe(settings, &format!("{name}.{index}."), inner, item, None);
                }
            }
            _ => settings.push(DescribedSetting {
                value: value.clone(),
                is_default: default == Some(value),
                effect: SettingEffect::of(&name),
                about: paragraph(setting.doc),
                name,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProjectConfig;

    #[test]
    fn settings_are_described_and_changes_are_marked() {
        let mut config = Config::default();
        config.projects.push(ProjectConfig::with_secret("100".parse().unwrap(), "HUSH"));
        config.limits.connections = 7;
        let settings = config.redacted().described();
        assert!(!serde_json::to_string(&settings).unwrap().contains("HUSH"), "{settings:?}");
        let of = |name: &str| settings.iter().find(|it| it.name == name).unwrap();
        assert_eq!(of("projects.0.key").value, "100");
        let changed = of("limits.connections");
        assert_eq!((&changed.value, changed.is_default), (&7.into(), false));
        let usual = of("limits.outbox_bytes");
        assert!(usual.is_default && usual.about.contains("slow consumer"), "{usual:?}");
    }
}
