//! Draining of request bodies before the response.
//!
//! A client that is still writing its body does not read. If its connection were closed, it would
//! see a reset instead of the response, and one of the vendor's SDKs then crashes its process. So
//! the rest of the body is read and discarded, up to a bound.

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

/// Maximum bytes that are discarded; a client that sends more is cut off.
const MAX_DISCARDED: usize = 1024 * 1024;

/// A body that a handler reads, and whose rest can be drained.
pub(super) struct BodyDrain {
    body: SharedBody,
    /// Whether the client waits for `100 Continue`, which is sent when the body is first read.
    expects_continue: bool,
}

#[derive(Clone)]
struct SharedBody(Arc<Mutex<BodyState>>);

struct BodyState {
    body: Body,
    was_read: bool,
}

impl BodyDrain {
    /// Returns the request with a body that is shared with the drain.
    pub(super) fn new(request: Request) -> (Request, Self) {
        let expects_continue = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let body = SharedBody(Arc::new(Mutex::new(BodyState { body, was_read: false })));
        (Request::from_parts(parts, Body::new(body.clone())), Self { body, expects_continue })
    }

    /// Discards the rest of the body that arrives in time.
    pub(super) async fn drain(mut self, by: Instant) {
        let nothing_comes = self.expects_continue && !self.body.0.lock().was_read;
        if nothing_comes || self.body.is_end_stream() {
            return;
        }
        let rest = async {
            let mut total = 0;
            while let Some(Ok(frame)) = self.body.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
                if total > MAX_DISCARDED {
                    return;
                }
            }
        };
        let _ = timeout_at(by, rest).await;
    }
}

impl HttpBody for SharedBody {
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
