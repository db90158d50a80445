//! Requests of operators to reload the configuration.
//!
//! Only the program around the gateway knows the sources of the configuration. So the gateway passes
//! each request on to it ([`ReloadRequests`]), and its answer back.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{metrics::Coalesced, reload::ReloadReport};

/// Time for a reload. The disk with its files may be slow.
const RELOAD_TIME: Duration = Duration::from_secs(30);

/// Receives the requests of operators to reload the configuration.
#[derive(Debug)]
pub struct ReloadRequests(mpsc::Receiver<ReloadRequest>);

impl ReloadRequests {
    /// The next request. It does not complete after the gateway has ended. Cancel safe.
    pub async fn next(&mut self) -> ReloadRequest {
        match self.0.recv().await {
            Some(request) => request,
            None => pending().await,
        }
    }
}

/// A request to reload the configuration. Dropping it answers that the reload has failed.
#[derive(Debug)]
pub struct ReloadRequest(oneshot::Sender<Result<ReloadReport, String>>);

impl ReloadRequest {
    /// Answers with what the reload has changed, or with the fault because of which nothing has changed.
    pub fn answer(self, outcome: Result<ReloadReport, String>) {
        // An operator that has gone needs no answer.
        let _ = self.0.send(outcome);
    }
}

/// Passes requests on. Clones are handles of the same one.
#[derive(Clone)]
pub(crate) struct ReloadRequester(Arc<Requester>);

struct Requester {
    /// One at a time is passed on.
    requests: mpsc::Sender<ReloadRequest>,
    /// The latest answer, which requests that wait share.
    outcomes: Coalesced<Option<Result<ReloadReport, ReloadError>>>,
}

/// Why a reload has no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReloadError {
    /// The operator's fault: nothing has changed.
    #[error("configuration not reloaded; the current one stays in effect: {0}")]
    Invalid(String),
    /// A fault of the disk.
    #[error("the reload has not ended within {} s; the log will say how it ends", RELOAD_TIME.as_secs())]
    Slow,
    /// A fault of the program.
    #[error("the reload has failed; the log says why")]
    Failed,
}

/// Both ends of the requests of one gateway.
pub(crate) fn reload_requests() -> (ReloadRequester, ReloadRequests) {
    let (sender, receiver) = mpsc::channel(1);
    let requester = Requester { requests: sender, outcomes: Coalesced::default() };
    (ReloadRequester(Arc::new(requester)), ReloadRequests(receiver))
}

impl ReloadRequester {
    /// Reloads, by a reload that begins after this call. Calls during a reload share the next one.
    pub(crate) async fn reload(&self) -> Result<ReloadReport, ReloadError> {
        let Requester { requests, outcomes } = &*self.0;
        let outcome = outcomes.collect(async || Some(request(requests).await)).await;
        outcome.unwrap_or(Err(ReloadError::Failed))
    }
}

async fn request(requests: &mpsc::Sender<ReloadRequest>) -> Result<ReloadReport, ReloadError> {
    let reloaded = async {
        let (sender, answer) = oneshot::channel();
        requests.send(ReloadRequest(sender)).await.map_err(|_| ReloadError::Failed)?;
        let outcome = answer.await.map_err(|_| ReloadError::Failed)?;
        outcome.map_err(ReloadError::Invalid)
    };
    timeout(RELOAD_TIME, reloaded).await.unwrap_or(Err(ReloadError::Slow))
}

#[cfg(test)]
mod tests {
    use tokio::{join, task::yield_now};

    use super::*;

    fn report(keys_changed: bool) -> ReloadReport {
        ReloadReport { changed: Vec::new(), awaiting_restart: Vec::new(), keys_changed }
    }

    #[tokio::test]
    async fn requests_during_a_reload_share_the_next_one() {
        let (requester, mut requests) = reload_requests();
        let first = tokio::spawn({
            let requester = requester.clone();
            async move { requester.reload().await }
        });
        let begun = requests.next().await;
        let serve = async {
            // Until the others wait.
            for _ in 0..10 {
                yield_now().await;
            }
            begun.answer(Err("a mistake".to_owned()));
            requests.next().await.answer(Ok(report(true)));
        };
        let (second, third, ()) = join!(requester.reload(), requester.reload(), serve);
        assert_eq!(first.await.unwrap(), Err(ReloadError::Invalid("a mistake".to_owned())));
        assert_eq!([second, third], [Ok(report(true)), Ok(report(true))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_does_not_end_or_panics_is_answered() {
        let (requester, mut requests) = reload_requests();
        let slow = async {
            let _held = requests.next().await;
            pending::<()>().await;
        };
        tokio::select! {
            outcome = requester.reload() => assert_eq!(outcome, Err(ReloadError::Slow)),
            () = slow => {}
        }
        let (outcome, ()) = join!(requester.reload(), async { drop(requests.next().await) });
        assert_eq!(outcome, Err(ReloadError::Failed));
        drop(requests);
        assert_eq!(requester.reload().await, Err(ReloadError::Failed), "the program has gone");
    }
}
