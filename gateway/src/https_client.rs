//! HTTP clients that trust the system's certificate authorities.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::RootCertStore;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::supervise::blocking;

type HyperClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An HTTP client that is made at its first use, as it loads the system's root certificates. Clones
/// share it.
#[derive(Clone)]
pub(crate) struct HttpsClient {
    purpose: &'static str,
    client: Arc<OnceCell<HyperClient>>,
}

impl HttpsClient {
    /// `purpose` is for the log.
    pub(crate) fn new(purpose: &'static str) -> Self {
        Self { purpose, client: Arc::default() }
    }

    /// The client.
    pub(crate) async fn get(&self) -> &HyperClient {
        let purpose = self.purpose;
        self.client
            .get_or_init(|| async {
                // Reads many files.
                let roots = blocking("system root certificates", move || roots(purpose)).await;
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

fn roots(purpose: &'static str) -> RootCertStore {
    let roots = signalbox_certs::native_roots();
    for error in roots.errors {
        warn!(%error, purpose, "system root certificate not loaded; https requests may fail");
    }
    if roots.store.is_empty() {
        warn!(
            purpose,
            "system root certificates not found; https requests will fail; set SSL_CERT_FILE"
        );
    }
    roots.store
}
