//! The state file: what a gateway that goes down leaves to the one that comes up in its place.
//!
//! Whoever holds the file holds the tickets of all connections in it, so it is for its owner alone;
//! and a forged file could bring connections about that nobody has joined, so it is authenticated
//! with a key that only gateways with this state file have (`secret.rs`). It is removed once it is
//! read: what is in it is good once.
//!
//! ```text
//! "signalbox state\n" · when, milliseconds since 1970 (u64, little endian) · HMAC-SHA256 of all else · relay
//! ```

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{clock::unix_time, file, lifecycle::Lifecycle, services::Services};

const MAGIC: &[u8; 16] = b"signalbox state\n";
const PROOF: usize = 32;
const HEAD: usize = MAGIC.len() + size_of::<u64>() + PROOF;

/// Where it is, and how it is known to be ours.
pub(crate) struct StateFile {
    path: PathBuf,
    max_bytes: usize,
    key: hmac::Key,
}

/// What was in it.
pub(crate) struct State {
    /// For the relay.
    pub(crate) bytes: Vec<u8>,
    /// How long ago it was written.
    pub(crate) age: Duration,
}

/// Why it is of no use. What to mend is the operator's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    #[error("others than its owner may read or write it; it is not trusted")]
    Open,
    #[error("it is no state file; it is left alone")]
    Foreign,
    #[error("it is longer than resume.state_file_max_bytes")]
    TooLong,
    #[error("it is damaged, or was written by a gateway with another key file")]
    NotOurs,
}

impl StateFile {
    /// The file, with at most so many bytes for the relay.
    pub(crate) fn new(path: PathBuf, max_bytes: usize, key: hmac::Key) -> Self {
        Self { path, max_bytes, key }
    }

    /// Takes up what the gateway before has left, before anybody is let in. Those who do not come
    /// back in time end as ever. What cannot be taken up is told to the operator, and costs the
    /// resumes alone.
    pub(crate) fn take_up(&self, services: &Services, lifecycle: &Lifecycle) {
        let file = self.path.display();
        let State { bytes, age } = match self.take() {
            Ok(Some(state)) => state,
            Ok(None) => {
                info!(%file, "there is no state file: nobody can come back from before");
                return;
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%file, %error, cause, "the state file is refused: nobody can come back from before");
                return;
            }
        };
        match services.relay().thaw(&bytes, services.uptime()) {
            Ok(all) => {
                info!(%file, connections = all.len(), "those of before can come back");
                for away in all {
                    let window = services.resume_window(away.session_id().project());
                    let left = window.saturating_sub(age);
                    lifecycle.expire_after(left, away, services.uptime());
                }
            }
            Err(error) => {
                warn!(%file, %error, "the state file is refused: nobody can come back from before");
            }
        }
    }

    /// Leaves those who may come back to the next gateway, and ends the others. If the file is not
    /// written by then, these end, too.
    pub(crate) async fn leave(self: &Arc<Self>, services: &Services, until: Instant) {
        let frozen = Arc::new(services.relay().freeze(self.max_bytes, services.uptime()));
        let (connections, left_out) = (frozen.connections, frozen.left_out);
        if left_out > 0 {
            warn!(
                left_out,
                "more connections than resume.state_file_max_bytes has room for: these end"
            );
        }
        let (this, bytes) = (self.clone(), frozen.clone());
        let write = move || this.write(&bytes.bytes);
        let this = self.clone();
        let written = aside(write, until, move |_| {
            // These have been told of as gone.
            let _ = std::fs::remove_file(&this.path);
        });
        let file = self.path.display();
        let (error, cause) = match written.await {
            Ok(Ok(())) => {
                info!(%file, connections, "left to the next gateway");
                return;
            }
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                (error.to_string(), cause)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                (error.to_string(), cause)
            }
        };
        warn!(%file, error, cause, connections, "the state file is not written: these end");
        services.relay().abandon(&frozen);
    }

    /// Reads it and removes it, even if it is of no use; but not if it is something else. `None` if
    /// there is none, or an empty file in its place.
    pub(crate) fn take(&self) -> Result<Option<State>, StateError> {
        let file = match open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let state = self.read(&file);
        if matches!(state, Ok(None)) {
            return Ok(None);
        }
        if !matches!(state, Err(StateError::Foreign)) {
            std::fs::remove_file(&self.path)?;
        }
        state
    }

    fn read(&self, mut file: &File) -> Result<Option<State>, StateError> {
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Ok(None);
        }
        let mut magic = [0; MAGIC.len()];
        if file.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(StateError::Foreign);
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(StateError::Open);
        }
        let most = (HEAD - MAGIC.len()).saturating_add(self.max_bytes);
        let mut rest = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut rest)?;
        if rest.len() > most {
            return Err(StateError::TooLong);
        }
        let (at, rest) = rest.split_first_chunk().ok_or(StateError::NotOurs)?;
        let (proof, bytes) = rest.split_first_chunk::<PROOF>().ok_or(StateError::NotOurs)?;
        let said = [MAGIC, &at[..], bytes].concat();
        hmac::verify(&self.key, &said, proof).map_err(|_| StateError::NotOurs)?;
        // A clock that was set back makes it new.
        let at = Duration::from_millis(u64::from_le_bytes(*at));
        Ok(Some(State { bytes: bytes.to_vec(), age: unix_time().saturating_sub(at) }))
    }

    /// Writes all of it, or nothing.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), StateError> {
        self.write_as_of(unix_time(), bytes)
    }

    fn write_as_of(&self, at: Duration, bytes: &[u8]) -> Result<(), StateError> {
        match open(&self.path) {
            Ok(mut file) => {
                let mut magic = [0; MAGIC.len()];
                let foreign = file.read_exact(&mut magic).is_err() || magic != *MAGIC;
                if foreign && file.metadata()?.len() > 0 {
                    return Err(StateError::Foreign);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX).to_le_bytes();
        let proof = hmac::sign(&self.key, &[MAGIC, &at[..], bytes].concat());
        Ok(file::replace(&self.path, &[MAGIC, &at, proof.as_ref(), bytes])?)
    }
}

/// Opens a file; not what would make us wait for somebody at its other end.
fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

/// Why work on a thread of its own has no result.
#[derive(Debug, thiserror::Error)]
enum NoResult {
    #[error("it took longer than drain.timeout_ms allows")]
    Late,
    #[error("no thread could be started for it")]
    NoThread(#[source] io::Error),
    #[error("writing it panicked; the log says why")]
    Panicked,
}

/// Does something that may block on a thread of its own. Nothing waits for that thread beyond
/// `until`, not even the end of the process, which would wait for a thread of the runtime. A result
/// that comes later goes to `late`.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    until: Instant,
    late: impl FnOnce(T) + Send + 'static,
) -> Result<T, NoResult> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("state file".into())
        .spawn(move || {
            if let Err(result) = done.send(work()) {
                late(result);
            }
        })
        .map_err(NoResult::NoThread)?;
    let result = timeout_at(until, result).await.map_err(|_| NoResult::Late)?;
    result.map_err(|_| NoResult::Panicked)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use signalbox_protocol::{
        ConnectionId, ConnectionInfo, MediaMode, ProjectKey, Role, SessionId, Transport,
    };
    use signalbox_relay::{Encoding, Join};

    use super::*;
    use crate::{Config, ProjectConfig, context::ServerContext, keys::Keys};

    /// A place for a file of its own, gone with it.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("state")
        }

        fn file(&self, secret: &[u8]) -> StateFile {
            StateFile::new(self.path(), 100, Keys::of(secret).state_file())
        }

        fn files(&self) -> usize {
            fs::read_dir(self.0.path()).unwrap().count()
        }
    }

    #[test]
    fn what_is_written_is_read_once_by_its_owner_alone() {
        let place = Place::new();
        let file = place.file(b"secret");
        assert!(file.take().unwrap().is_none());
        fs::write(place.0.path().join("state.new"), "half").unwrap();
        file.write(b"old").unwrap();
        file.write(b"relay").unwrap();
        assert_eq!(place.files(), 1);
        assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o777, 0o600);
        let state = file.take().unwrap().unwrap();
        assert_eq!(state.bytes, b"relay");
        assert!(state.age < Duration::from_secs(60));
        assert_eq!(place.files(), 0);
    }

    #[test]
    fn what_is_damaged_or_of_another_key_is_refused_and_removed() {
        let place = Place::new();
        let file = place.file(b"secret");
        file.write(b"relay").unwrap();
        let good = fs::read(place.path()).unwrap();
        let refused = |bytes: &[u8]| {
            fs::write(place.path(), bytes).unwrap();
            fs::set_permissions(place.path(), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(file.take(), Err(StateError::NotOurs)));
            assert_eq!(place.files(), 0);
        };
        for end in MAGIC.len()..good.len() {
            refused(&good[..end]);
        }
        for at in MAGIC.len()..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            refused(&changed);
        }
        file.write(b"relay").unwrap();
        assert!(matches!(place.file(b"other").take(), Err(StateError::NotOurs)));
    }

    #[test]
    fn what_others_may_read_is_not_trusted() {
        let place = Place::new();
        let file = place.file(b"secret");
        file.write(b"relay").unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.take(), Err(StateError::Open)));
        assert_eq!(place.files(), 0);
    }

    #[test]
    fn more_than_there_may_be_is_not_read() {
        let place = Place::new();
        place.file(b"secret").write(&[0; 101]).unwrap();
        assert!(matches!(place.file(b"secret").take(), Err(StateError::TooLong)));
        place.file(b"secret").write(&[0; 100]).unwrap();
        assert!(place.file(b"secret").take().unwrap().is_some());
    }

    #[test]
    fn what_is_something_else_is_left_alone() {
        let place = Place::new();
        let file = place.file(b"secret");
        for other in ["short", "somebody's only copy of a novel"] {
            fs::write(place.path(), other).unwrap();
            assert!(matches!(file.take(), Err(StateError::Foreign)));
            assert!(matches!(file.write(b"relay"), Err(StateError::Foreign)));
            assert_eq!(fs::read_to_string(place.path()).unwrap(), other);
            assert_eq!(place.files(), 1);
        }
        // Nobody is at the other end.
        fs::remove_file(place.path()).unwrap();
        let made = std::process::Command::new("mkfifo").arg(place.path()).status().unwrap();
        assert!(made.success());
        assert!(file.take().is_err());
        assert!(file.write(b"relay").is_err());
        fs::remove_file(place.path()).unwrap();
        fs::create_dir(place.path()).unwrap();
        assert!(file.take().is_err());
        assert!(file.write(b"relay").is_err());
        assert_eq!(place.files(), 1);
    }

    #[test]
    fn an_empty_file_is_none_and_is_written_over() {
        let place = Place::new();
        let file = place.file(b"secret");
        fs::write(place.path(), "").unwrap();
        assert!(file.take().unwrap().is_none());
        file.write(b"relay").unwrap();
        assert_eq!(file.take().unwrap().unwrap().bytes, b"relay");
    }

    /// The window of thirty seconds begins when the file is written, not when it is read.
    #[tokio::test(start_paused = true)]
    async fn those_of_before_have_what_is_left_of_their_window() {
        let place = Place::new();
        let file = StateFile { max_bytes: 10_000, ..place.file(b"secret") };
        let key: ProjectKey = "1".parse().unwrap();
        let project = ProjectConfig::with_secret(key.clone(), "secret");
        let config = Config { projects: vec![project], ..Config::default() };
        let gateway = || ServerContext::of(&config);
        let first = gateway().services;
        let join = Join {
            session: SessionId::mint(&key, MediaMode::Relayed, None, 0, [0; 24]),
            info: ConnectionInfo {
                id: ConnectionId::from_bytes([1; 16]),
                created_at: 0,
                data: String::new(),
            },
            role: Role::Publisher,
            presence: true,
            encoding: Encoding::Shared,
            transport: Transport::WebSocket,
        };
        let joined = first.relay().join(join, first.uptime()).unwrap();
        assert!(joined.connection.keep([0; 32], Duration::MAX));
        let frozen = first.relay().freeze(file.max_bytes, first.uptime());
        file.write_as_of(unix_time() - Duration::from_secs(20), &frozen.bytes).unwrap();
        let second = gateway();
        file.take_up(&second.services, &second.lifecycle);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(second.services.relay().stats().connections, 1);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(second.services.relay().stats().connections, 0);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_not_waited_for() {
        let (go_on, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let (late, was_late) = std::sync::mpsc::sync_channel(1);
        let work = move || wait.recv().is_ok();
        let soon = Instant::now() + Duration::from_millis(10);
        let result = aside(work, soon, move |result| late.send(result).unwrap()).await;
        assert!(matches!(result, Err(NoResult::Late)));
        go_on.send(()).unwrap();
        assert_eq!(was_late.recv(), Ok(true));
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(aside(|| 1, later, |_| ()).await.unwrap(), 1);
        // One that panics is no reason to wait.
        let result = aside(|| panic!("as a test"), later, |(): ()| ()).await;
        assert!(matches!(result, Err(NoResult::Panicked)));
    }
}
