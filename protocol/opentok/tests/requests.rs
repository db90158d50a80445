//! Requests of clients: what they ask for, and what malformed ones are answered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's panic is its answer")]

use proptest::prelude::*;
use signalbox_opentok::{Action, CreateConnection, Request};
use signalbox_protocol::{ConnectionId, Signal};

const BASE: &str = "/v2/partner/12345678/session/1_MX4x";
const ID: &str = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";

fn id() -> ConnectionId {
    ID.parse().unwrap()
}

fn request(body: &str) -> Request<'_> {
    Request { transaction: "t", from: ID, token: None, body }
}

fn body(method: &str, path: &str, content: &str) -> String {
    format!(r#"{{"method":"{method}","uri":"{BASE}{path}","content":{content}}}"#)
}

fn status(body: &str) -> Option<u16> {
    request(body).action().err().map(|refusal| refusal.status)
}

#[test]
fn each_request_has_its_meaning() {
    let signal = |to, signal_type: Option<&'static str>, data: Option<&'static str>| {
        Action::Signal { to, signal: Signal::new(signal_type, data) }
    };
    let create = |presence, agent: Option<&str>| {
        let (session, agent) = ("1_MX4x".to_owned(), agent.map(str::to_owned));
        Action::Create(CreateConnection { session, connection: id(), presence, agent })
    };
    let to_one = format!("/connection/{ID}/signal/u");
    let connection = format!("/connection/{ID}");
    for (body, expected) in [
        (
            body("signal", "/signal/u", r#"{"type":"chat","data":"hello"}"#),
            signal(None, Some("chat"), Some("hello")),
        ),
        (body("signal", "/signal/u", "{}"), signal(None, None, None)),
        (body("signal", "/signal/u", r#"{"type":null,"data":null}"#), signal(None, None, None)),
        (body("signal", &to_one, r#"{"data":""}"#), signal(Some(id()), None, Some(""))),
        // To the session itself: to all.
        (body("signal", "/connection/1_MX4x/signal/u", "{}"), signal(None, None, None)),
        (
            body("create", &connection, r#"{"userAgent":"x","clientVersion":"js-2.35.2"}"#),
            create(true, Some("js-2.35.2")),
        ),
        (
            body("create", &connection, r#"{"connectionEventsSuppressed":true}"#),
            create(false, None),
        ),
        (body("create", &connection, r#"{"clientVersion":7}"#), create(true, None)),
        (body("delete", &connection, "{}"), Action::Disconnect { id: id() }),
        // Without contents, and with members that nobody knows.
        (
            format!(r#"{{"uri":"{BASE}{connection}","method":"delete","more":[{{}}]}}"#),
            Action::Disconnect { id: id() },
        ),
    ] {
        assert_eq!(request(&body).action(), Ok(expected), "{body}");
    }
}

#[test]
fn other_requests_are_refused_and_none_is_fatal() {
    let connection = format!("/connection/{ID}");
    let upper = format!("/connection/{}", ID.to_uppercase());
    for (expected, body) in [
        (400, String::new()),
        (400, "null".to_owned()),
        (400, "{}".to_owned()),
        (400, r#"["signal"]"#.to_owned()),
        (400, r#"{"method":"signal"}"#.to_owned()),
        (400, r#"{"method":"signal","uri":"/v1/x","content":{}}"#.to_owned()),
        (400, r#"{"method":"signal","method":"signal","uri":"/v2/signal/x"}"#.to_owned()),
        (400, body("signal", "/signal/u", r#"{"data":"a","data":"b"}"#)),
        (400, body("signal", "/signal/u", r#"{"data":"\ud800"}"#)),
        (400, body("signal", "/signal/u", "[]")),
        (400, body("signal", "/signal/u", &format!("{}{}", "[".repeat(500), "]".repeat(500)))),
        (400, body("signal", "/signal/u", r#"{"data":{"a":1}}"#)),
        (400, body("signal", "/signal/u", r#"{"data":[1,{}]}"#)),
        (400, body("signal", "/signal/u", r#"{"data":1}"#)),
        (400, body("signal", "/signal/u", r#"{"data":-1.5}"#)),
        (400, body("signal", "/signal/u", r#"{"data":true}"#)),
        (400, body("signal", "/signal/u", r#"{"type":{}}"#)),
        (400, body("create", "/connection/me", "{}")),
        (400, body("create", &upper, "{}")),
        (400, format!(r#"{{"method":"create","uri":"/v2{connection}"}}"#)),
        (404, body("signal", "/connection/nobody/signal/u", "{}")),
        (404, body("delete", "/connection/nobody", "{}")),
        (403, body("create", "/stream/s", r#"{"type":{"audio":[]}}"#)),
        (403, body("delete", "/stream/s", "{}")),
        (403, body("create", "/connection/c/subscriber/s", "{}")),
        (403, body("update", "", "{}")),
        (403, body("migrate", "/migrate", "{}")),
        (403, body("signal", "", "{}")),
        (403, body("update", &connection, "{}")),
    ] {
        assert_eq!(status(&body), Some(expected), "{body}");
    }
}

#[test]
fn a_refusal_does_not_quote_the_request() {
    let bad = body("signal", "/signal/u", r#"{"data":"secret"#);
    let refusal = request(&bad).action().unwrap_err();
    assert!(!refusal.reason.contains("secret"), "{refusal}");
    assert!(refusal.reason.contains("at byte"), "{refusal}");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}") {
        let _ = request(&text).action();
    }

    #[test]
    fn arbitrary_members_never_panic(method in "[a-z]{0,8}", path in "[/a-z0-9-]{0,60}", content in "\\PC{0,60}") {
        let _ = request(&body(&method, &path, &content)).action();
    }

    #[test]
    fn data_arrives_as_it_was_sent(data in "\\PC{0,300}") {
        let content = serde_json::json!({ "data": data }).to_string();
        let body = body("signal", "/signal/u", &content);
        let Ok(Action::Signal { signal, .. }) = request(&body).action() else { panic!("{body}") };
        prop_assert_eq!(signal.data.as_deref(), Some(data.as_str()));
    }
}
