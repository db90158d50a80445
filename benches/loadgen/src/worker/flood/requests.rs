//! HTTP requests without a valid credential, at a rate.
//!
//! The requests are written by [`crate::http`], as in the REST scenario, and not by an HTTP
//! library: on two cores the flood competes with the gateway for processor time, so every
//! microsecond of a request is in the figures of the control and of the flood alike.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::ensure;
use serde::de::IgnoredAny;
use tokio::task::JoinSet;

use super::{FloodKind, FloodWorker, RAMP, SharedProgress};
use crate::{
    clock::{nanos, now_ns},
    http::{HttpEndpoint, HttpResponse},
};

/// A credential that no project has signed. It has the form of one, so that its signature is checked.
const CREDENTIAL: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiIxMjM0NTY3OCIsImlhdCI6MTAwMCwiZXhwIjo0MTAwMDAwMDAwLCJpc3QiOiJwcm9qZWN0In0.\
    c2lnbmF0dXJlIG9mIG5vYm9keSwgMzIgYnl0ZXMgbG9uZyE";

impl FloodWorker {
    /// Starts all connections.
    pub(super) fn start_requests(
        &self,
        progress: &SharedProgress,
        senders: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let server = HttpEndpoint::new(&self.https, &self.ca()?)?;
        let credential = (self.kind == FloodKind::BadCredential).then_some(CREDENTIAL);
        let request: Arc<[u8]> = match self.kind {
            FloodKind::Health => server.get("/healthz"),
            _ => server.post(&self.path, credential, r#"{"data":"flood"}"#),
        }
        .into();
        let start_ns = now_ns();
        for index in 0..self.connections {
            let sender = FloodConnection {
                server: server.clone(),
                source: self.source(index),
                request: request.clone(),
                first_ns: start_ns + self.first_ns(index),
                interval_ns: self.interval_ns(),
                fresh: self.kind == FloodKind::Fresh,
                progress: progress.clone(),
            };
            senders.spawn(sender.run());
        }
        Ok(())
    }

    /// Time between two requests of a connection.
    fn interval_ns(&self) -> u64 {
        nanos(Duration::from_secs(1)) * u64::from(self.connections) / u64::from(self.rate)
    }

    /// Time of a connection's first request. All connections take turns.
    fn first_ns(&self, index: u32) -> u64 {
        let spread = |time_ns: u64| time_ns * u64::from(index) / u64::from(self.connections);
        spread(nanos(RAMP)) + spread(self.interval_ns())
    }
}

/// One connection, or one at a time.
struct FloodConnection {
    server: HttpEndpoint,
    source: IpAddr,
    request: Arc<[u8]>,
    first_ns: u64,
    interval_ns: u64,
    fresh: bool,
    progress: SharedProgress,
}

impl FloodConnection {
    /// Sends each request when it is due, and overdue ones at once.
    async fn run(self) -> anyhow::Result<()> {
        let mut connection = None;
        let mut due_ns = self.first_ns;
        loop {
            let early_ns = due_ns.saturating_sub(now_ns());
            if early_ns > 0 {
                tokio::time::sleep(Duration::from_nanos(early_ns)).await;
            }
            due_ns += self.interval_ns;
            let mut open = match connection.take() {
                Some(open) => open,
                None => match self.server.connect_from(self.source).await {
                    Ok(open) => {
                        self.progress.lock().connected += 1;
                        open
                    }
                    Err(_) => {
                        self.progress.lock().refused += 1;
                        continue;
                    }
                },
            };
            let Ok(response) = open.exchange(&self.request).await else {
                self.progress.lock().refused += 1;
                continue;
            };
            if response.status == 429 {
                self.progress.lock().refused += 1;
                continue;
            }
            check(&response)?;
            self.progress.lock().answered += 1;
            if !self.fresh && !response.closes {
                connection = Some(open);
            }
        }
    }
}

/// A request without a valid credential must be refused, with a JSON body; a health check succeeds.
fn check(response: &HttpResponse) -> anyhow::Result<()> {
    let is_json = response.is_json && serde_json::from_str::<IgnoredAny>(&response.body).is_ok();
    ensure!(
        (response.status == 403 && is_json) || (response.status == 200 && response.body == "ok\n"),
        "a request without a credential was answered with {response:?} instead of 403 and JSON"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::worker, *};

    #[test]
    fn connections_take_turns() {
        let worker = worker(FloodKind::KeptAlive);
        assert_eq!(worker.interval_ns(), 5_000_000);
        // One joins every 20 ms, and sends 100 µs after the one before.
        assert_eq!(worker.first_ns(0), 0);
        assert_eq!(worker.first_ns(1), 20_100_000);
        assert_eq!(worker.first_ns(49), 49 * 20_100_000);
    }

    #[test]
    fn only_a_refusal_in_json_is_a_response() {
        let response = |status, is_json, body: &str| HttpResponse {
            status,
            is_json,
            closes: false,
            body: body.into(),
        };
        check(&response(403, true, r#"{"code":-1}"#)).unwrap();
        check(&response(200, false, "ok\n")).unwrap();
        for wrong in [
            response(204, true, r#"{"code":-1}"#),
            response(403, false, r#"{"code":-1}"#),
            response(403, true, ""),
            response(503, true, "{}"),
        ] {
            check(&wrong).unwrap_err();
        }
    }
}
