//! The file of revocations, beside the state file: written after every change, so that it survives a
//! crash as well.

use std::{path::Path, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    deadline::run_blocking_until,
    signed::{SignedFile, StateFileError},
};
use crate::{
    error_chain::with_causes,
    file,
    revocation::{self, RevocationChange, Revocations},
    services::Services,
};

const MAGIC: &[u8; 16] = b"signalbox revoke";

/// Format of the contents. To be raised with every change that is not an appended variant.
const FORMAT: u16 = 1;

/// Maximum length of the contents: those of several full lists.
const MAX_BYTES: usize = 1024 * 1024 * 1024;

/// Time for one write, after which it is tried again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between a failed write and the next one.
const RETRY: Duration = Duration::from_secs(5);

/// The file of revocations of a gateway.
#[derive(Clone)]
pub(crate) struct RevocationFile {
    signed: Arc<SignedFile>,
    /// Held by the write in progress.
    turn: Arc<Mutex<()>>,
}

#[derive(Serialize, Deserialize)]
struct RevocationFileContents {
    format: u16,
    changes: Vec<RevocationChange>,
}

impl RevocationFile {
    /// The file beside this state file.
    pub(crate) fn beside(state_file: &Path, key: hmac::Key) -> Self {
        let path = file::with_suffix(state_file, ".revocations");
        let signed = Arc::new(SignedFile::new(MAGIC, path, MAX_BYTES, key));
        Self { signed, turn: Arc::default() }
    }

    /// Restores the revocations of earlier processes. A file that cannot be used is logged.
    pub(crate) fn restore(&self, services: &Services) {
        let file = self.signed.path().display();
        match self.read() {
            Ok(None) => {}
            Ok(Some(changes)) => {
                let is_added = |change: &&_| matches!(change, RevocationChange::Added(_));
                let revocations = changes.iter().filter(is_added).count();
                let disconnected = revocation::merge(services, changes);
                info!(%file, revocations, disconnected, "revocations restored");
            }
            Err(error) => {
                let error = with_causes(&error);
                warn!(%file, %error, "revocations not restored; revoked tokens are valid again");
            }
        }
    }

    fn read(&self) -> Result<Option<Vec<RevocationChange>>, StateFileError> {
        let Some(state) = self.signed.read()? else { return Ok(None) };
        let (format, _) = postcard::take_from_bytes::<u16>(&state.contents)
            .map_err(|_| StateFileError::OtherVersion)?;
        if format != FORMAT {
            return Err(StateFileError::OtherVersion);
        }
        let contents: RevocationFileContents =
            postcard::from_bytes(&state.contents).map_err(|_| StateFileError::OtherVersion)?;
        Ok(Some(contents.changes))
    }

    /// Writes the file after every change until `stop`, changes before it included. Changes during a
    /// write are written together by the next.
    pub(crate) async fn keep(&self, services: &Arc<Services>, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = services.revocations().changed() => {}
                () = stop.cancelled() => return,
            }
            while !self.write(services).await {
                if stop.run_until_cancelled(sleep(RETRY)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Writes the file. `false` if that failed, which is logged.
    async fn write(&self, services: &Arc<Services>) -> bool {
        let (file, list) = (self.clone(), services.clone());
        // A write that takes too long goes on, and must not overtake the next one.
        let write = move || {
            let _turn = file.turn.lock();
            let changes = list.revocations().read(Revocations::changes);
            let contents = RevocationFileContents { format: FORMAT, changes };
            // Serialization cannot fail for these types.
            file.signed.write(&postcard::to_stdvec(&contents).unwrap_or_default())
        };
        let until = Instant::now() + WRITE_TIMEOUT;
        let written = run_blocking_until(until, write, |_| {}).await;
        let error = match &written {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => with_causes(error).to_string(),
            Err(error) => with_causes(error).to_string(),
        };
        let file = self.signed.path().display();
        warn!(%file, error, "revocations not written; a restart would lose some");
        false
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::ProjectKey;

    use super::*;
    use crate::{
        Config,
        context::ServerContext,
        keys::Keys,
        revocation::{Matcher, NewRevocation, revoke},
    };

    fn services() -> Arc<Services> {
        ServerContext::of(&Config::default()).services
    }

    fn revoke_all_of(services: &Services, user: &str) {
        let matcher =
            Matcher { token_id: None, connection_data: Some(user.to_owned()), session: None };
        let project = "1".parse().unwrap();
        let new = NewRevocation { project, matcher, issued_before: Some(1), expires: u64::MAX };
        revoke(services, new).unwrap();
    }

    #[tokio::test]
    async fn revocations_are_restored_as_often_as_needed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let file = RevocationFile::beside(&path, Keys::of(b"secret").state_file());
        let first = services();
        file.restore(&first);
        let project: ProjectKey = "1".parse().unwrap();
        revoke_all_of(&first, "alice");
        revoke_all_of(&first, "bob");
        let bob = first.revocations().of_project(&project)[1].id;
        first.revocations().delete(&project, bob).unwrap();
        // Changes before the stop are written.
        let stop = CancellationToken::new();
        stop.cancel();
        file.keep(&first, &stop).await;
        for _ in 0..2 {
            let next = services();
            file.restore(&next);
            assert_eq!(next.revocations().read(Revocations::changes).len(), 2);
            assert_eq!(
                next.revocations().of_project(&project),
                first.revocations().of_project(&project)
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_restores_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let key = || Keys::of(b"secret").state_file();
        let file = RevocationFile::beside(&path, key());
        let is_rejected = || {
            let services = services();
            file.restore(&services);
            assert!(services.revocations().read(Revocations::changes).is_empty());
        };
        // Of another format, or incomplete.
        let other =
            postcard::to_stdvec(&RevocationFileContents { format: FORMAT + 1, changes: vec![] })
                .unwrap();
        for contents in [&other[..], &[1, 9], &[]] {
            file.signed.write(contents).unwrap();
            assert!(file.read().is_err());
            is_rejected();
        }
        // A state file, which is left alone.
        let path = file.signed.path().to_owned();
        std::fs::remove_file(&path).unwrap();
        SignedFile::new(super::super::MAGIC, path, 100, key()).write(b"relay").unwrap();
        is_rejected();
        assert!(!file.write(&services()).await);
    }
}
