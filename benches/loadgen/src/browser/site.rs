//! A web server for one page: its script, the SDK, its task and its reports.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, TcpListener as StdListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

/// The page itself. Its icon is empty, or the browser would ask for one.
const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\">\
                    <title>Signalbox</title><script type=\"module\" src=\"/page.js\"></script>";

/// The longest report.
const MAX_REPORT: usize = 16 * 1024 * 1024;

/// Reports of a page: one when it has begun, one when it has ended.
const REPORTS: usize = 2;

/// A report of the page.
#[derive(Debug)]
pub(super) enum PageReport {
    /// Its measurement begins.
    Begun,
    /// It has ended with this result.
    Ended(Bytes),
}

/// A running server. Dropping it ends it.
pub(super) struct Site {
    /// The address of the page.
    pub(super) url: String,
    pub(super) reports: mpsc::Receiver<PageReport>,
    _server: JoinSet<()>,
}

struct SiteContents {
    sdk: PathBuf,
    script: &'static str,
    task: Bytes,
    reports: mpsc::Sender<PageReport>,
}

impl Site {
    /// Starts it on the host of the calling thread.
    pub(super) fn start(sdk: &Path, script: &'static str, task: String) -> anyhow::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("cannot listen for the browser's page")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}/", listener.local_addr()?);
        let listener = TcpListener::from_std(listener)?;
        let (sender, reports) = mpsc::channel(REPORTS);
        let (sdk, task) = (sdk.to_owned(), task.into());
        let contents = Arc::new(SiteContents { sdk, script, task, reports: sender });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, contents));
        Ok(Self { url, reports, _server: server })
    }
}

/// Connections are those of one browser, which opens a handful.
async fn serve(listener: TcpListener, contents: Arc<SiteContents>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let contents = contents.clone();
        connections.spawn(async move {
            let answer = service_fn(|request| {
                let contents = contents.clone();
                async move { Ok::<_, Infallible>(contents.answer(request).await) }
            });
            // The browser may hang up at any time.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl SiteContents {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/") => found("text/html", PAGE),
            (&Method::GET, "/page.js") => found("text/javascript", self.script),
            (&Method::GET, "/task") => found("application/json", self.task.clone()),
            (&Method::GET, path) => match self.module(path) {
                Some(module) => found("text/javascript", module),
                None => status(StatusCode::NOT_FOUND),
            },
            (&Method::POST, "/begun") => self.report(PageReport::Begun),
            (&Method::POST, "/ended") => {
                match Limited::new(request.into_body(), MAX_REPORT).collect().await {
                    Ok(body) => self.report(PageReport::Ended(body.to_bytes())),
                    Err(_) => status(StatusCode::PAYLOAD_TOO_LARGE),
                }
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// A module of the SDK.
    fn module(&self, path: &str) -> Option<Vec<u8>> {
        let name = path.strip_prefix("/sdk/")?.strip_suffix(".js")?;
        let is_good = |it: char| it.is_ascii_alphanumeric() || "-_/".contains(it);
        name.chars()
            .all(is_good)
            .then(|| std::fs::read(self.sdk.join(format!("{name}.js"))).ok())?
    }

    fn report(&self, report: PageReport) -> Response<Full<Bytes>> {
        // More than a page has to report is not taken.
        match self.reports.try_send(report) {
            Ok(()) => status(StatusCode::NO_CONTENT),
            Err(_) => status(StatusCode::CONFLICT),
        }
    }
}

fn found(kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE.as_str(), kind),
        (CACHE_CONTROL.as_str(), "no-store"),
        // Isolated pages have clocks that are precise to 5 µs instead of 100.
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-embedder-policy", "require-corp"),
    ] {
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modules_of_the_sdk_are_served() {
        let dir = tempfile::tempdir().unwrap();
        let sdk = dir.path().join("sdk");
        std::fs::create_dir_all(sdk.join("link")).unwrap();
        for file in ["sdk/index.js", "sdk/link/web-transport.js", "sdk/notes.txt", "secret.js"] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        let (reports, _receiver) = mpsc::channel(1);
        let contents = SiteContents { sdk, script: "", task: Bytes::new(), reports };
        let served = |path| contents.module(path).is_some();
        assert!(served("/sdk/index.js") && served("/sdk/link/web-transport.js"));
        for path in ["/sdk/notes.txt", "/sdk/../secret.js", "/secret.js", "/sdk/none.js", "/sdk"] {
            assert!(!served(path), "{path}");
        }
    }
}
