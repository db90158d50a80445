//! Validation: everything for which a gateway would not start, found before it does.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    Config, ProjectEntry,
    forms::{NUMBERS, ORIGIN, PROJECT_NUMBERS},
};
use crate::project::Projects;

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The setting, with dots, and with the position of what is in a list: `projects.0.key`.
    pub setting: String,
    /// What is wrong with it, and what to do: a text that follows the setting's name.
    pub problem: String,
}

impl Problem {
    /// A problem of this setting.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }

    /// The same problem of a setting that is inside another.
    pub(crate) fn within(self, setting: impl fmt::Display) -> Self {
        let setting = match self.setting.as_str() {
            "" => setting.to_string(),
            inner => format!("{setting}.{inner}"),
        };
        Self { setting, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.problem)
    }
}

impl Config {
    /// Everything for which a gateway would not start with this, the files that it names included.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for number in NUMBERS {
            let value = (number.value)(self);
            if !number.takes(value) {
                let problem = format!("is {value}, but must be {number}");
                problems.push(Problem::new(number.setting, problem));
            }
        }
        for (index, origin) in self.links.allowed_origins.iter().enumerate() {
            if let Err(why) = check_origin(origin) {
                let setting = format!("links.allowed_origins.{index}");
                problems.push(Problem::new(setting, format!("{why}; it must be {ORIGIN}")));
            }
        }
        self.check_certificate(&mut problems);
        let files = [
            ("resume.state_file", &self.resume.state_file),
            ("process.pid_file", &self.process.pid_file),
        ];
        for (setting, file) in files {
            if let Some(Err(why)) = file.as_deref().map(check_directory) {
                problems.push(Problem::new(setting, why));
            }
        }
        if let Err(wrong) = self.projects() {
            problems.extend(wrong);
        }
        problems
    }

    fn check_certificate(&self, problems: &mut Vec<Problem>) {
        let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) else {
            let settings = [("tls.certificate", &self.tls.certificate), ("tls.key", &self.tls.key)];
            for (setting, _) in settings.into_iter().filter(|(_, file)| file.is_none()) {
                let problem = "is not set: name a PEM file, or try signalbox serve --dev";
                problems.push(Problem::new(setting, problem));
            }
            return;
        };
        for (error, of_key) in signalbox_certs::problems(certificate, key) {
            let setting = if of_key { "tls.key" } else { "tls.certificate" };
            problems.push(Problem::new(setting, format!("cannot be used: {}", chain(&error))));
        }
    }

    /// The projects with the text of their public keys, which are read from their files.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn read_projects(&self) -> Result<Vec<ProjectEntry>, Vec<Problem>> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for (index, entry) in self.projects.iter().enumerate() {
            let (entry, unread) = entry.read_keys();
            entries.push(entry);
            let within = |problem: Problem| problem.within(format_args!("projects.{index}"));
            problems.extend(unread.into_iter().map(within));
        }
        if problems.is_empty() {
            return Ok(entries);
        }
        // The rest is said, too, but not that the path of a file that cannot be read is no key.
        let rest = Projects::new(&entries, self).err().unwrap_or_default();
        let known = |rest: &Problem| problems.iter().any(|known| known.setting == rest.setting);
        let rest: Vec<_> = rest.into_iter().filter(|it| !known(it)).collect();
        problems.extend(rest);
        Err(problems)
    }

    pub(crate) fn projects(&self) -> Result<Projects, Vec<Problem>> {
        Projects::new(&self.read_projects()?, self)
    }
}

impl ProjectEntry {
    /// What is wrong with the numbers that it has of its own.
    pub(crate) fn check_limits(&self) -> impl Iterator<Item = Problem> {
        PROJECT_NUMBERS.iter().filter_map(|number| {
            let value = (number.value)(&self.limits)?;
            let name = number.setting.trim_start_matches("projects.*.");
            (!number.takes(value))
                .then(|| Problem::new(name, format!("is {value}, but must be {number}")))
        })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Whether a browser can send this as the origin of a page: "scheme://host" with a port if it is
/// not the scheme's own (RFC 6454 §6.2), or `null`.
fn check_origin(origin: &str) -> Result<(), String> {
    if matches!(origin, "*" | "null") {
        return Ok(());
    }
    if origin.contains('*') {
        return Err("has a * in it, which can stand only alone, for all origins".into());
    }
    if !origin.is_ascii()
        || origin.contains(|it: char| it.is_ascii_whitespace() || it.is_ascii_control())
    {
        return Err(
            "has a character that no origin has (a name in other letters is sent as xn--…)".into(),
        );
    }
    let Some((scheme, host)) = origin.split_once("://") else {
        return Err("has no scheme, such as https://".into());
    };
    let is_scheme = |it: char| it.is_ascii_alphanumeric() || "+-.".contains(it);
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return Err("has no scheme, such as https://".into());
    }
    if let Some(name) = host.strip_suffix('/').filter(|it| !it.is_empty() && !it.contains('/')) {
        return Err(format!(
            "ends with a slash, which no origin does: write \"{scheme}://{name}\""
        ));
    }
    if host.contains(['/', '?', '#']) {
        return Err("has a path, which no origin has".into());
    }
    if host.contains('@') {
        return Err("has a user's name, which no origin has".into());
    }
    // The colons of an IPv6 address are in brackets.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if name.is_empty() {
        return Err("has no host".into());
    }
    let Some(port) = port else { return Ok(()) };
    if port.parse::<u16>().is_err() {
        return Err("has a port that is none".into());
    }
    let is_default =
        |with: &str, default: &str| scheme.eq_ignore_ascii_case(with) && port == default;
    if is_default("https", "443") || is_default("http", "80") {
        return Err(format!("names the port that browsers leave out: write \"{scheme}://{name}\""));
    }
    Ok(())
}

/// Whether a file can be made where this one is to be, which is tried, as only that is certain.
fn check_directory(file: &Path) -> Result<(), String> {
    let directory = match file.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        Some(directory) if file.file_name().is_some() => directory,
        _ => return Err(format!("names no file: {}", file.display())),
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
                "is in a directory in which this user can write no file: {} ({error})",
                directory.display()
            ));
        }
    }
    let _ = fs::remove_file(&probe);
    Ok(())
}

#[cfg(test)]
mod tests;
