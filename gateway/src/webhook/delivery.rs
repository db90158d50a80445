//! Posting events until the endpoint has taken them.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, header, http::uri::Authority};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::Mutex;
use rustls::RootCertStore;
use signalbox_protocol::ProjectKey;
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Endpoint, Shared,
    queue::{Queue, Waiting},
};
use crate::{
    clock::unix_time,
    error::with_causes,
    supervise::{blocking, catch},
};

/// How long one attempt may take, from connecting to the head of the answer.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Pauses between attempts: doubled from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long an event is tried (the vendor's figure).
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;

/// How long the rest of an answer may take. It changes nothing about whether the event was taken.
const REST: Duration = Duration::from_secs(2);

type Https = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An HTTP client that is made when it is first needed: it loads the system's authorities.
#[derive(Default)]
pub(super) struct Client(OnceCell<Https>);

impl Client {
    async fn get(&self) -> &Https {
        self.0
            .get_or_init(|| async {
                // Reads many files.
                let roots = blocking("authorities for webhooks", roots).await;
                let connector = HttpsConnectorBuilder::new()
                    .with_tls_config(signalbox_certs::client(roots, &[]))
                    .https_or_http()
                    .enable_http1()
                    .build();
                legacy::Client::builder(TokioExecutor::new()).build(connector)
            })
            .await
    }
}

fn roots() -> RootCertStore {
    let roots = signalbox_certs::native_roots();
    for error in roots.errors {
        warn!(%error, "cannot load all of the system's authorities for webhooks");
    }
    if roots.store.is_empty() {
        warn!("the system has no authorities: https webhooks will fail (SSL_CERT_FILE names some)");
    }
    roots.store
}

/// Why an attempt failed. The endpoint's fault, or the network's.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it did not answer within {} s", ATTEMPT.as_secs())]
    Timeout,
    // Its own text names only the phase that failed.
    #[error("{}", with_causes(.0))]
    Failed(#[source] legacy::Error),
    #[error("the gateway panicked: {0}")]
    Panicked(String),
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
}

/// Posts what is in one lane of a project's queue, until nothing is.
pub(super) async fn post_all(
    shared: Arc<Shared>,
    project: ProjectKey,
    queue: Arc<Mutex<Queue>>,
    lane: usize,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some((waiting, dropped)) = queue.lock().next(lane) else { return };
        // Looked up anew each time: the operator may have mended, or removed, the webhook.
        let endpoint =
            shared.projects.load().get(project.as_str()).and_then(|it| it.webhook().cloned());
        let Some(endpoint) = endpoint else {
            queue.lock().give_up(lane, dropped);
            continue;
        };
        // An event that cannot be posted must not keep those behind it for longer than others.
        let attempt = catch(attempt(&shared.client, &endpoint, &waiting, dropped)).await;
        let Err(error) = attempt.unwrap_or_else(|cause| Err(AttemptError::Panicked(cause))) else {
            if queue.lock().taken(lane) {
                info!(%project, "the webhook works again");
            }
            pause = FIRST_PAUSE;
            continue;
        };
        if waiting.at + GIVE_UP_AFTER <= unix_time() {
            warn!(%project, "giving up an event that the webhook did not take for a day");
            queue.lock().give_up(lane, dropped);
            continue;
        }
        if queue.lock().failed(dropped) {
            let host = endpoint.url.authority().map_or("", Authority::as_str);
            warn!(%project, host, %error, "the webhook fails; trying again");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn attempt(
    client: &Client,
    endpoint: &Endpoint,
    waiting: &Waiting,
    dropped: u64,
) -> Result<(), AttemptError> {
    let Waiting { id, body, .. } = waiting;
    let timestamp = unix_time().as_secs();
    let mut request = Request::post(&endpoint.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("signalbox/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", sign(&endpoint.key, id, timestamp, body));
    if dropped > 0 {
        request = request.header("signalbox-dropped", dropped);
    }
    let request = request.body(Full::new(body.clone()))?;
    let exchange =
        async { client.get().await.request(request).await.map_err(AttemptError::Failed) };
    let answer = timeout(ATTEMPT, exchange).await.unwrap_or(Err(AttemptError::Timeout))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(AttemptError::Status(status));
    }
    // Read only so that the connection can be used again.
    let rest = Limited::new(answer.into_body(), ANSWER_BYTES).collect();
    let _ = timeout(REST, rest).await;
    Ok(())
}

/// A signature of [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks),
/// version 1.
fn sign(key: &hmac::Key, id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another implementation, Python's `hmac`, made the expected value.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"an endpoint's secret of 32 bytes");
        let signature = sign(&key, "msg_1", 1_795_500_000, br#"{"event":"connectionCreated"}"#);
        assert_eq!(signature, "v1,+fbowHE2d0K11PzkKfn7UtfqbI+rDGB/+dSrnJ+mSUo=");
    }
}
