//! `GET /admin/settings`: the configuration of `/config` setting by setting, with the meaning of each.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::json;
use crate::{
    config::{DescribedSetting, SettingChange},
    listen::ops::OpsState,
    reload::ConfigurationReport,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingsReport {
    settings: Vec<DescribedSetting>,
    /// Differences of the file that was read last, which take effect after a restart.
    awaiting_restart: Vec<SettingChange>,
}

pub(super) async fn show(State(state): State<OpsState>) -> Response {
    let ConfigurationReport { settings, awaiting_restart } = state.configuration.report();
    json(&SettingsReport { settings: settings.described(), awaiting_restart })
}
