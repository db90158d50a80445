//! Validation of a configuration, before a gateway starts with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use signalbox_protocol::limits::GATEWAYS;

use super::{
    Config, Problem, ProblemKind,
    gateway_url::{GATEWAY_URL, check_gateway_url},
    origin::{ORIGIN, check_origin},
    project::{ConnectWebhookConfig, ProjectLimitOverrides},
    setting::{Form, Table},
};
use crate::{error_chain::with_causes, page::PAGES};

/// The values that a setting accepts: a phrase that follows "must be". None if there is no such
/// setting. Items of lists are named by their position, as in `projects.0.key`.
pub fn accepted(setting: &str) -> Option<String> {
    accepted_in("", &Config::TABLE, &setting.split('.').collect::<Vec<_>>())
}

fn accepted_in(outer: &str, table: &Table, path: &[&str]) -> Option<String> {
    let (name, rest) = path.split_first()?;
    let setting = table.settings.iter().find(|it| it.name == *name)?;
    let header = if outer.is_empty() { (*name).to_owned() } else { format!("{outer}.{name}") };
    let is_position = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    match (&setting.form, rest) {
        (Form::Table(_), []) => Some(format!("a table that begins with [{header}]")),
        (Form::Table(inner), rest) => accepted_in(&header, inner, rest),
        (Form::Tables(_), []) => {
            Some(format!("a list of tables that each begin with [[{header}]]"))
        }
        (Form::List { item, .. }, [at]) if is_position(at) => Some((*item).into()),
        (Form::Tables(_), [at]) if is_position(at) => {
            Some(format!("a table that begins with [[{header}]]"))
        }
        (Form::Tables(inner), [at, rest @ ..]) if is_position(at) => {
            accepted_in(&header, inner, rest)
        }
        (form, []) => form.description(),
        _ => None,
    }
}

impl Config {
    /// Faults of all settings but the projects, and of the files that they name.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(out_of_range(&Self::TABLE, &self.to_json()));
        for (index, origin) in self.auth.allowed_origins.iter().enumerate() {
            if let Err(error) = check_origin(origin) {
                let setting = format!("auth.allowed_origins.{index}");
                problems.push(Problem::invalid(setting, format!("{error}; it must be {ORIGIN}")));
            }
        }
        let gateways = &self.resume.gateways;
        if gateways.len() > GATEWAYS {
            let many = format!("has {} URLs, more than {GATEWAYS}", gateways.len());
            problems.push(Problem::invalid("resume.gateways", many));
        }
        for (index, url) in gateways.iter().enumerate() {
            if let Err(error) = check_gateway_url(url) {
                let setting = format!("resume.gateways.{index}");
                let must_be = format!("{error}; it must be {GATEWAY_URL}");
                problems.push(Problem::invalid(setting, must_be));
            }
        }
        if self.listen.page.is_some() && !PAGES {
            let missing = "this build has no page: build it with the feature pages".to_owned();
            problems.push(Problem::invalid("listen.page", missing));
        }
        problems.extend(self.opentok_js.check().map(|problem| problem.within("opentok_js")));
        problems.extend(self.proxy.check().into_iter().map(|problem| problem.within("proxy")));
        problems.extend(self.tracing.check().map(|problem| problem.within("tracing")));
        problems.extend(self.ops.check().map(|problem| problem.within("ops")));
        let cluster = self.cluster.nats_options().err().into_iter().flatten();
        problems.extend(cluster.map(|problem| problem.within("cluster")));
        self.check_certificate(&mut problems);
        let files = [
            ("resume.state_file", &self.resume.state_file),
            ("process.pid_file", &self.process.pid_file),
        ];
        for (setting, file) in files {
            if let Some(Err(reason)) = file.as_deref().map(check_directory) {
                problems.push(Problem::file(setting, reason));
            }
        }
        problems
    }

    fn check_certificate(&self, problems: &mut Vec<Problem>) {
        if self.tls.acme.is_enabled() {
            return self.check_acme(problems);
        }
        let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) else {
            let settings = [("tls.certificate", &self.tls.certificate), ("tls.key", &self.tls.key)];
            for (setting, _) in settings.into_iter().filter(|(_, file)| file.is_none()) {
                let hint = "name a PEM file, use [tls.acme], or try signalbox serve --dev".into();
                problems.push(Problem::new(setting, ProblemKind::Missing { hint }));
            }
            return;
        };
        for (error, of_key) in signalbox_certs::problems(certificate, key) {
            let setting = if of_key { "tls.key" } else { "tls.certificate" };
            problems
                .push(Problem::file(setting, format!("cannot be used: {}", with_causes(&error))));
        }
    }
}

impl Config {
    fn check_acme(&self, problems: &mut Vec<Problem>) {
        let acme = self.tls.acme.check().into_iter();
        problems.extend(acme.map(|problem| problem.within("acme").within("tls")));
        let files = [("tls.certificate", &self.tls.certificate), ("tls.key", &self.tls.key)];
        for (setting, _) in files.into_iter().filter(|(_, file)| file.is_some()) {
            let reason = "and tls.acme.domains are both set: remove one";
            problems.push(Problem::invalid(setting, reason));
        }
        if self.tls.plaintext_tcp {
            let reason = "must be false with tls.acme: the authority validates domains over TLS";
            problems.push(Problem::invalid("tls.plaintext_tcp", reason));
        }
    }
}

impl ProjectLimitOverrides {
    /// Faults of the limits of one project, by their names.
    pub(crate) fn check(&self) -> Vec<Problem> {
        out_of_range(&Self::TABLE, &serde_json::to_value(self).unwrap_or_default())
    }
}

impl ConnectWebhookConfig {
    /// Faults of its numbers, by their names.
    pub(crate) fn check(&self) -> Vec<Problem> {
        out_of_range(&Self::TABLE, &serde_json::to_value(self).unwrap_or_default())
    }
}

/// The numbers that are out of bounds, of a table and the tables inside. A list of tables is checked
/// by its owner.
fn out_of_range(table: &Table, values: &serde_json::Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for setting in table.settings {
        let Some(value) = values.get(setting.name) else { continue };
        match (&setting.form, value.as_u64()) {
            (Form::Number(number), Some(value)) if !number.accepts(value) => {
                let must_be = number.to_string();
                problems
                    .push(Problem::new(setting.name, ProblemKind::OutOfRange { value, must_be }));
            }
            (Form::Table(inner), _) => {
                let inner = out_of_range(inner, value).into_iter();
                problems.extend(inner.map(|problem| problem.within(setting.name)));
            }
            _ => {}
        }
    }
    problems
}

/// Checks that a file can be created at this path, by creating one with another name: only that is
/// certain.
pub(super) fn check_directory(file: &Path) -> Result<(), String> {
    let directory = match file.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        Some(directory) if file.file_name().is_some() => directory,
        _ => return Err(format!("does not name a file: {}", file.display())),
    };
    if !directory.is_dir() {
        return Err(format!("is in a directory that does not exist: {}", directory.display()));
    }
    if file.is_dir() {
        return Err(format!("is a directory: {}", file.display()));
    }
    let mut probe = file.as_os_str().to_owned();
    probe.push(".try");
    let probe = PathBuf::from(probe);
    match fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Ok(_) => {}
        // Another process tries it now, or was killed while it did.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(format!(
                "is in a directory in which this user cannot create files: {} ({error})",
                directory.display()
            ));
        }
    }
    let _ = fs::remove_file(&probe);
    Ok(())
}

#[cfg(test)]
mod tests;
