//! The environment of `serve --dev`.

use crate::{Gateway, TIMEOUT};
use serde_json::Value;
use std::sync::mpsc;

#[test]
fn the_dev_environment_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Gateway::serve(dir.path(), "text");
    let session = first.line_with("Session").split_whitespace().last().unwrap().to_owned();
    first.terminate();
    assert!(first.succeeds(), "SIGTERM ends it well");
    let mut second = Gateway::serve(dir.path(), "json");
    let announcement = second.event();
    assert_eq!(announcement["session"], Value::from(session));
    second.terminate();
    // Its end of the pipe closes without another line.
    let rest = second.lines.recv_timeout(TIMEOUT);
    assert_eq!(rest, Err(mpsc::RecvTimeoutError::Disconnected), "exactly one line");
    assert!(second.succeeds());
}
