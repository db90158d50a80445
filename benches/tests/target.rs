//! A gateway that runs already and cannot be measured: it is said why, and nothing else is needed.
#![allow(clippy::unwrap_used, reason = "a test's panic is its answer")]

use std::net::TcpListener;

use clap::{Args as _, FromArgMatches as _};
use signalbox_bench::{Launcher, scenario::Latency};

/// What measuring says of a target at this address. There is no gateway to be started here.
async fn said(url: &str) -> String {
    let command = Latency::augment_args(clap::Command::new("latency").no_binary_name(true));
    let words = ["--target", url, "--token", "T", "--seconds", "0.1", "--repeat", "1"];
    let latency = Latency::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap();
    let launcher = Launcher::new(Some("no/such/gateway".into())).unwrap();
    format!("{:#}", latency.run(&launcher).await.unwrap_err())
}

#[tokio::test]
async fn a_target_that_is_not_there_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let said = said(&format!("wss://{address}")).await;
    assert!(said.contains(&format!("cannot connect to {address}")), "{said}");
}

#[tokio::test]
async fn a_target_that_hangs_up_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Not before the request has come, or the end would be a reset.
        let mut head = [0; 1];
        std::io::Read::read_exact(&mut &stream, &mut head).unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let said = said(&format!("ws://{address}")).await;
    assert!(said.contains("client 0") || said.contains("client 1"), "{said}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_target_that_speaks_something_else_is_said() {
    let said = said("http://localhost:1").await;
    assert!(said.contains("HOST:PORT"), "{said}");
}
