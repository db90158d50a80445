//! Every log line of a link, and of a REST request, has its id.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _, pipe},
    net::TcpStream,
};

use serde_json::Value;

use crate::{Gateway, Process, TIMEOUT, run, stdout};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Runs a gateway without TLS over TCP while it gets the clients of `act`, and returns its log.
fn log_of(level: &str, arguments: &[&str], act: impl FnOnce(&Gateway)) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = pipe().unwrap();
    let reading = std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    let mut command = Gateway::serve_command(dir.path(), "json");
    command.args(arguments).env("SIGNALBOX_LOG", level).env("SIGNALBOX_TLS__PLAINTEXT_TCP", "true");
    let mut process = Process::start_with_log(&mut command, writer.into());
    drop(command);
    let announcement = process.event();
    let gateway = Gateway { process, announcement, _dir: dir };
    act(&gateway);
    gateway.process.terminate();
    assert!(gateway.process.succeeds());
    reading.join().unwrap()
}

/// Sends a request to the TCP port or the operations listener, and returns the head of the response.
fn request(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    let end = format!("Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    write!(stream, "{head}\r\nHost: localhost\r\n{end}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().0.to_owned()
}

/// Lists the connections of the session, with these further headers.
fn list(gateway: &Gateway, headers: &str) -> String {
    let (key, secret) = (gateway.text("/project/key"), gateway.text("/project/secret"));
    let credential = stdout(&run(&["token", "--server", "--key", key, "--secret", secret]));
    let session = gateway.text("/session");
    let head = format!(
        "GET /v2/project/{key}/session/{session}/connection HTTP/1.1\r\nX-OPENTOK-AUTH: {credential}{headers}"
    );
    request(gateway.text("/https"), &head, "")
}

/// The spans of a line with this message, in JSON.
fn spans<'a>(log: &'a [Value], message: &str) -> Vec<&'a Vec<Value>> {
    let lines = log.iter().filter(|line| line["fields"]["message"] == message);
    lines
        .map(|line| line["spans"].as_array().unwrap_or_else(|| panic!("no spans: {line}")))
        .collect()
}

#[test]
fn all_lines_of_a_link_have_its_id_and_those_of_another_have_another() {
    let log = log_of("debug", &["--log-json"], |gateway| {
        drop((gateway.join_json("quic"), gateway.join_json("ws")));
        // No WebSocket.
        request(gateway.text("/https"), "nonsense", "");
    });
    let log: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = |spans: &Vec<Value>| {
        let link = spans.last().unwrap();
        assert_eq!(link["name"], "link");
        assert!(link["remote"].is_string() && link["session"].is_string(), "{link}");
        link["id"].as_u64().unwrap()
    };
    let joined: BTreeSet<u64> = spans(&log, "connection joined").into_iter().map(id).collect();
    let ended: BTreeSet<u64> = spans(&log, "link ended").into_iter().map(id).collect();
    assert_eq!(joined.len(), 2);
    assert_eq!(joined, ended);
    let [failed] = spans(&log, "HTTP connection failed")[..] else { panic!("{log:?}") };
    assert_eq!(failed[0]["name"], "client");
    assert!(failed[0]["remote"].is_string(), "{failed:?}");
    assert!(!joined.contains(&failed[0]["id"].as_u64().unwrap()));
}

#[test]
fn text_has_the_same_id_also_for_a_link_that_is_older_than_the_level() {
    let log = log_of("info", &[], |gateway| {
        let member = gateway.join_json("quic");
        let head = request(gateway.text("/ops"), "PUT /log HTTP/1.1", "debug");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        member.terminate();
        assert!(member.succeeds());
    });
    let ended: Vec<_> = log.iter().filter(|line| line.contains("link ended")).collect();
    let [ended] = ended[..] else { panic!("{log:?}") };
    let (_, id) = ended.split_once(" link{id=").unwrap_or_else(|| panic!("{ended}"));
    assert!(id.split(' ').next().unwrap().parse::<u64>().is_ok(), "{ended}");
    assert!(ended.contains(" transport=\"quic\" ") && ended.contains(" session="), "{ended}");
}

#[test]
fn the_lines_of_a_request_have_its_id_and_its_trace() {
    let trace = format!("\r\ntraceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01");
    let mut given = String::new();
    let log = log_of("debug", &[], |gateway| {
        let head = list(gateway, &format!("\r\nX-Request-Id: order-7{trace}"));
        assert!(head.contains("x-request-id: order-7"), "{head}");
        let head = list(gateway, "");
        let (_, id) = head.split_once("x-request-id: ").unwrap_or_else(|| panic!("{head}"));
        given.push_str(id.lines().next().unwrap());
    });
    let mut lines = log.iter().filter(|line| line.contains("request answered"));
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    let expected = format!(
        "request{{id=\"order-7\" trace_id=\"{TRACE_ID}\" method=\"GET\" \
         route=/v2/project/{{project}}/session/{{session}}/connection}}"
    );
    assert!(first.contains(&expected) && first.contains(" client{id="), "{first}");
    assert!(second.contains(&format!("request{{id=\"{given}\" method=")), "{second}");
}
