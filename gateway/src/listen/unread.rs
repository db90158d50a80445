//! What is left of a request's body when its answer is known.
//!
//! A client that is in the middle of writing does not read: if its connection were closed under
//! it, it would see a reset and never the answer, and one of the vendor's SDKs takes its whole
//! process down then. So what is still coming is taken and thrown away, up to a bound.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, http::header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// Bytes that are thrown away at most; whoever sends more is cut off.
const MAX_BYTES: usize = 1024 * 1024;

/// The far end of a body that somebody else reads.
pub(super) struct Unread {
    body: Shared,
    /// Its sender waits for our word, which is given when the body is first read.
    waits: bool,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    body: Body,
    was_read: bool,
}

impl Unread {
    /// The same request, and a hold on its body.
    pub(super) fn of(request: Request) -> (Request, Self) {
        let waits = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let body = Shared(Arc::new(Mutex::new(Inner { body, was_read: false })));
        (Request::from_parts(parts, Body::new(body.clone())), Self { body, waits })
    }

    /// Throws away what is left and comes in time.
    pub(super) async fn drain(mut self, by: Instant) {
        let nothing_comes = self.waits && !self.body.0.lock().was_read;
        if nothing_comes || self.body.is_end_stream() {
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
        let _ = timeout_at(by, rest).await;
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut inner = self.0.lock();
        inner.was_read = true;
        Pin::new(&mut inner.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}
