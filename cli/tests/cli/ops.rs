//! The operations listener of a process: the log filter at run time, and the token of `cluster status`.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

use crate::{Gateway, TIMEOUT, run};

/// The status and the body of an answer.
fn put_log(address: &str, filter: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = filter.len();
    write!(
        stream,
        "PUT /log HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{filter}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

#[test]
fn the_log_filter_changes_while_the_gateway_runs() {
    let mut gateway = Gateway::start_with(&[("SIGNALBOX_LOG", "warn")]);
    let address = gateway.text("/ops").to_owned();
    let mut log = BufReader::new(gateway.process.child.stderr.take().unwrap()).lines();
    let (status, error) = put_log(&address, "inof");
    assert!(status == "400" && error.contains("\"inof\"; use off, error"), "{status} {error}");
    let (status, _) = put_log(&address, &"x".repeat(2000));
    assert_eq!(status, "400");
    let (status, filter) = put_log(&address, "debug\n");
    assert!(status == "200" && filter.contains("signalbox=debug"), "{status} {filter}");
    drop(gateway.join_json("quic"));
    log.find(|line| line.as_ref().unwrap().contains("connection joined")).unwrap().unwrap();
    // Messages of the WebSocket library contain tokens, so no filter lets them through.
    assert_eq!(put_log(&address, "off,tungstenite=trace").0, "200");
    drop(gateway.join_json("wss"));
    gateway.process.terminate();
    let rest: Vec<_> = log.map_while(Result::ok).collect();
    assert!(!rest.iter().any(|line| line.contains("tungstenite")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("gateway stopped")), "{rest:?}");
}

#[test]
fn cluster_status_presents_the_token() {
    let token = "0123456789abcdef";
    let gateway = Gateway::start_with(&[("SIGNALBOX_OPS__TOKEN", token)]);
    let url = format!("http://{}", gateway.text("/ops"));
    let said = |arguments: &[&str]| {
        let output = run(&[&["cluster", "status", "--ops", &url], arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&[]).contains("pass the gateway's ops.token with --ops-token"));
    assert!(said(&["--ops-token", token]).contains("cluster.servers is not set"));
}
