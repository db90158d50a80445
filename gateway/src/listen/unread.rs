//! What is left of a request's body when its answer is known.
//!
//! A client that is in the middle of writing does not read: if its connection were closed under
//! it, it would see a reset and never the answer, and one of the vendor's SDKs takes its whole
//! process down then. So what is still coming is taken and thrown away, up to a bound.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, http::header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

/// Bytes that are thrown away at most; whoever sends more is cut off.
const MAX_BYTES: usize = 1024 * 1024;

/// The far end of a body that somebody else reads.
pub(super) struct Unread {
    body: Shared,
    /// It waits for our word before it sends, so there is nothing to take.
    waits: bool,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Unread {
    /// The same request, and a hold on its body.
    pub(super) fn of(request: Request) -> (Request, Self) {
        let waits = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let body = Shared(Arc::new(Mutex::new(body)));
        (Request::from_parts(parts, Body::new(body.clone())), Self { body, waits })
    }

    /// Throws away what is left, for at most this long.
    pub(super) async fn drain(mut self, time: Duration) {
        if self.waits || self.body.is_end_stream() {
            return;
        }
        let rest = async {
            let mut total = 0;
            while let Some(Ok(frame)) = self.body.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
                if total > MAX_BYTES {
                    return;
                }
            }
        };
        let _ = timeout(time, rest).await;
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}
