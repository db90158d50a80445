//! Environment of `serve --dev`: a generated certificate authority, project, session and tokens. All
//! but the tokens are kept in a directory, so that earlier commands and trust settings keep working.

pub(crate) mod lock;
pub(crate) mod profile;

use std::{
    fs::DirBuilder,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use signalbox_certs::DevAuthority;
use signalbox_gateway::{Config, ProjectConfig, supervise::blocking};
use signalbox_protocol::{MediaMode, ProjectKey, Role, SessionId, json};
use signalbox_token::{NewToken, Signer};

use self::{lock::FileLock, profile::DevProfile};
use crate::{
    clock::{unix_ms, unix_time},
    random::random,
};

/// The file of the project, beside that of the certificate authority.
const PROJECT_FILE: &str = "project.json";

/// Lifetime of the printed tokens: a working day. Each start mints new ones.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Interval at which a running gateway checks whether its certificate must be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(60 * 60);

/// The generated environment.
pub(crate) struct DevEnvironment {
    dir: PathBuf,
    pub(crate) authority: DevAuthority,
    pub(crate) project: DevProject,
    pub(crate) tokens: DevTokens,
}

/// The project and its session.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DevProject {
    pub(crate) key: ProjectKey,
    pub(crate) secret: String,
    pub(crate) session: SessionId,
}

/// A token for each role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DevTokens {
    pub(crate) moderator: String,
    pub(crate) publisher: String,
    pub(crate) subscriber: String,
}

impl DevEnvironment {
    /// Locks the directory for a gateway that starts.
    pub(crate) fn lock(dir: &Path) -> anyhow::Result<FileLock> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.with_context(|| format!("cannot use the folder {}", dir.display()))?;
        FileLock::acquire(&dir.join("start.lock"))
    }

    /// Opens the directory, or creates it.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let authority = DevAuthority::open(dir, SystemTime::now())?;
        let project = DevProject::open(&dir.join(PROJECT_FILE))?;
        let token = |role: Role| {
            let new = NewToken {
                key: &project.key,
                signer: Signer::Secret(&project.secret),
                session: &project.session,
                role,
                connection_data: &format!("role={}", role.name()),
                now: unix_time(),
                lifetime: TOKEN_LIFETIME,
            };
            new.mint()
        };
        let tokens = DevTokens {
            moderator: token(Role::Moderator)?,
            publisher: token(Role::Publisher)?,
            subscriber: token(Role::Subscriber)?,
        };
        Ok(Self { dir: dir.to_owned(), authority, project, tokens })
    }

    /// Default configuration: addresses of this machine only, the certificate and the project.
    pub(crate) fn defaults(&self) -> Config {
        let mut config = Config::default();
        config.listen.quic.set_ip([127, 0, 0, 1].into());
        config.listen.tcp.set_ip([127, 0, 0, 1].into());
        // Not to become a part of another cluster at the same NATS.
        config.cluster.namespace = "signalbox-dev".into();
        // A developer wants it to stop soon after ctrl-c.
        config.drain.spread_ms = 300;
        config.tls.certificate = Some(self.authority.certificate_path().to_owned());
        config.tls.key = Some(self.authority.key_path().to_owned());
        config.projects = vec![self.project.config()];
        config
    }

    /// The secret in the page's address. It is the project's for ever, so that bookmarks stay valid.
    pub(crate) fn page_key(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.project.secret.as_bytes());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"signalbox page").as_ref())
    }

    /// Renews the certificate, which is valid for two weeks at most, when it is due. The gateway
    /// notices the new file and reloads it.
    pub(crate) async fn keep_certificate(&self) {
        let mut every = tokio::time::interval(RENEW_EVERY);
        loop {
            every.tick().await;
            let dir = self.dir.clone();
            let renew = move || DevAuthority::open(&dir, SystemTime::now());
            if let Err(error) = blocking("certificate renewal", renew).await {
                tracing::warn!(%error, "development certificate not renewed");
            }
        }
    }
}

impl DevProject {
    fn open(file: &Path) -> anyhow::Result<Self> {
        if let Some(project) = Self::read(file)? {
            return Ok(project);
        }
        let project = Self::generate()?;
        project.save(file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(project)
    }

    /// The project in a file, if that exists.
    fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        match std::fs::read_to_string(file) {
            Ok(text) => json::from_str(&text).map(Some).with_context(|| {
                format!("{} is damaged; delete it to get a new project", file.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// The project of the gateway that runs on this machine.
    pub(crate) fn of_running_gateway() -> anyhow::Result<Self> {
        let file = DevProfile::read()?.ca.with_file_name(PROJECT_FILE);
        Self::read(&file)?.with_context(|| format!("{} does not exist", file.display()))
    }

    /// Its part of a configuration.
    pub(crate) fn config(&self) -> ProjectConfig {
        ProjectConfig::with_secret(self.key.clone(), &self.secret)
    }

    fn generate() -> anyhow::Result<Self> {
        let key = crate::project::new_key()?;
        let secret = crate::project::new_secret()?;
        let session = SessionId::mint(&key, MediaMode::Relayed, None, unix_ms(), random()?);
        Ok(Self { key, secret, session })
    }

    /// The file has mode 0600, as it holds a secret.
    fn save(&self, file: &Path) -> anyhow::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(file)?;
        out.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = DevEnvironment::open(dir.path()).unwrap();
        let second = DevEnvironment::open(dir.path()).unwrap();
        assert_eq!(first.project.key, second.project.key);
        assert_eq!(first.project.secret, second.project.secret);
        assert_eq!(first.project.session, second.project.session);
        assert_eq!(first.authority.ca_pem(), second.authority.ca_pem());
        assert_eq!(signalbox_gateway::Gateway::check(&first.defaults()), []);
    }

    #[test]
    fn a_damaged_project_is_not_replaced_silently() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("project.json"), "{").unwrap();
        let error = DevEnvironment::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("project.json") && error.contains("delete"), "{error}");
    }
}
