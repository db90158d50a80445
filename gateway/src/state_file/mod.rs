//! The state file, by which resumable connections survive a clean restart: saved at the end of a
//! drain, and restored by the next process before it admits clients. It is removed when it is read,
//! as its connections must not be restored twice.

mod deadline;
mod revocations;
mod signed;

use std::{path::PathBuf, sync::Arc};

use aws_lc_rs::hmac;
use tokio::time::Instant;
use tracing::{info, warn};

pub(crate) use self::revocations::RevocationFile;
use self::{
    deadline::run_blocking_until,
    signed::{SavedState, SignedFile},
};
use crate::{error_chain::with_causes, lifecycle::Lifecycle, services::Services};

/// The first bytes of a state file.
const MAGIC: &[u8; 16] = b"signalbox state\n";

/// The state file of a gateway.
pub(crate) struct StateFile(Arc<SignedFile>);

impl StateFile {
    /// A file with a snapshot of at most `max_bytes`.
    pub(crate) fn new(path: PathBuf, max_bytes: usize, key: hmac::Key) -> Self {
        Self(Arc::new(SignedFile::new(MAGIC, path, max_bytes, key)))
    }

    /// Restores the connections of the previous process. They expire at the end of the windows that
    /// began when the file was written. A file that cannot be used is logged, and costs its
    /// connections only.
    pub(crate) fn restore(&self, services: &Services, lifecycle: &Lifecycle) {
        let file = self.0.path().display();
        let SavedState { contents, age } = match self.0.take() {
            Ok(Some(state)) => state,
            Ok(None) => {
                info!(%file, "no state file found");
                return;
            }
            Err(error) => return reject(&file, &error),
        };
        match services.relay().restore(&contents, services.uptime()) {
            Ok(restored) => {
                info!(%file, connections = restored.len(), "connections restored");
                for connection in restored {
                    let window = services.resume_window(connection.session_id().project());
                    let left = window.saturating_sub(age);
                    lifecycle.expire_after(left, connection, services.uptime());
                }
            }
            Err(error) => reject(&file, &error),
        }
    }

    /// Saves resumable connections for the next process and ends all others. If the file is not
    /// written by the deadline, the resumable connections end, too.
    pub(crate) async fn save(&self, services: &Services, until: Instant) {
        let max_bytes = self.0.max_bytes();
        let snapshot = Arc::new(services.relay().snapshot(max_bytes, services.uptime()));
        let (connections, omitted) = (snapshot.connections, snapshot.left_out);
        if omitted > 0 {
            warn!(omitted, "connections closed: resume.state_file_max_bytes has no room for them");
        }
        let (signed, content) = (self.0.clone(), snapshot.clone());
        let write = move || signed.write(&content.bytes);
        let signed = self.0.clone();
        // A file that is written late must not bring back connections that have been closed.
        let written = run_blocking_until(until, write, move |_| signed.remove()).await;
        let file = self.0.path().display();
        let error = match &written {
            Ok(Ok(())) => {
                info!(%file, connections, "state file written");
                return;
            }
            Ok(Err(error)) => with_causes(error).to_string(),
            Err(error) => with_causes(error).to_string(),
        };
        warn!(%file, error, connections, "state file not written; connections closed");
        services.relay().discard(&snapshot);
    }
}

fn reject(file: &dyn std::fmt::Display, error: &dyn std::error::Error) {
    let error = with_causes(error);
    warn!(%file, %error, "state file rejected; its clients join as new connections");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use signalbox_protocol::{
        ConnectionId, ConnectionInfo, MediaMode, ProjectKey, Role, SessionId, Transport,
    };
    use signalbox_relay::{Encoding, Join, ResumeOptions, TokenIdentity};

    use super::*;
    use crate::{Config, ProjectConfig, clock::unix_time, context::ServerContext, keys::Keys};

    /// The window of thirty seconds begins when the file is written, not when it is read.
    #[tokio::test(start_paused = true)]
    async fn restored_connections_have_the_rest_of_their_window() {
        let directory = tempfile::tempdir().unwrap();
        let key = Keys::of(b"secret").state_file();
        let file = StateFile::new(directory.path().join("state"), 10_000, key);
        let key: ProjectKey = "1".parse().unwrap();
        let project = ProjectConfig::with_secret(key.clone(), "secret");
        let config = Config { projects: vec![project], ..Config::default() };
        let first = ServerContext::of(&config).services;
        let join = Join {
            session: SessionId::mint(&key, MediaMode::Relayed, None, 0, [0; 24]),
            info: ConnectionInfo {
                id: ConnectionId::from_bytes([1; 16]),
                created_at: 0,
                data: String::new(),
            },
            role: Role::Publisher,
            token: TokenIdentity::default(),
            presence: true,
            encoding: Encoding::Shared,
            transport: Transport::WebSocket,
            resume: Some(ResumeOptions {
                secret: [0; 32],
                token_until: Duration::MAX,
                orphan_window: Duration::from_secs(30),
            }),
        };
        let _joined = first.relay().join(join, first.uptime()).unwrap();
        let snapshot = first.relay().snapshot(10_000, first.uptime());
        let written_at = unix_time() - Duration::from_secs(20);
        file.0.write_as_of(written_at, &snapshot.bytes).unwrap();

        let second = ServerContext::of(&config);
        file.restore(&second.services, &second.lifecycle);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(second.services.relay().stats().connections, 1);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(second.services.relay().stats().connections, 0);
    }
}
