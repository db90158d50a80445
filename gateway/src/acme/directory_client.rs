//! HTTPS to the directory of a certificate authority.

use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error as ProtocolError, HttpClient};
use rustls::RootCertStore;
use tokio::time::timeout;

use super::error::AcmeError;
use crate::supervise::blocking;

/// Time for one request, its response included.
const REQUEST: Duration = Duration::from_secs(30);

/// Bytes of one response; certificate chains have some thousand.
const RESPONSE_BYTES: usize = 1024 * 1024;

/// A client that trusts the configured roots. Clones share its connections.
#[derive(Clone)]
pub(super) struct DirectoryClient(
    Arc<legacy::Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>>,
);

impl DirectoryClient {
    /// Trusts the authorities in `ca`, or those of the system.
    pub(super) async fn new(ca: Option<PathBuf>) -> Result<Self, AcmeError> {
        // Reads many files.
        let roots = blocking("root certificates for ACME", || roots(ca)).await?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(signalbox_certs::client(roots, &[]))
            .https_only()
            .enable_http1()
            .build();
        Ok(Self(Arc::new(legacy::Client::builder(TokioExecutor::new()).build(connector))))
    }
}

fn roots(ca: Option<PathBuf>) -> Result<RootCertStore, AcmeError> {
    let Some(path) = ca else { return Ok(signalbox_certs::native_roots().store) };
    match std::fs::read(&path) {
        Ok(pem) => signalbox_certs::roots_from_pem(&pem)
            .map_err(|source| AcmeError::Roots { path, source: source.into() }),
        Err(source) => Err(AcmeError::Roots { path, source: source.into() }),
    }
}

impl HttpClient for DirectoryClient {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, ProtocolError>> + Send>> {
        let sending = self.0.request(request);
        let exchange = async move {
            let response = sending.await.map_err(|error| ProtocolError::Other(error.into()))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, RESPONSE_BYTES).collect().await;
            let body = body.map_err(ProtocolError::Other)?.to_bytes();
            Ok(BytesResponse { parts, body: Box::new(body) })
        };
        Box::pin(async move {
            let late = || ProtocolError::Other(format!("no answer within {REQUEST:?}").into());
            timeout(REQUEST, exchange).await.unwrap_or_else(|_| Err(late()))
        })
    }
}
