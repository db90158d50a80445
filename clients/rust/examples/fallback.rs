//! Fallback: QUIC where UDP gets through, else WebSocket.
//!
//! To see the fallback, name a port at which nothing listens as the first URL.
//!
//! ```sh
//! cargo run -p signalbox-client --example fallback -- \
//!     quic://localhost:9 wss://localhost:4433 TOKEN CA.pem
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::time::Instant;

use anyhow::Context as _;
use signalbox_client::{ConnectError, ConnectOptions, Connector};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let usage = "usage: fallback FIRST_URL SECOND_URL TOKEN [CA.pem]";
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().context(usage)?;
    let second = arguments.next().context(usage)?;
    let token = arguments.next().context(usage)?;
    let connector = match arguments.next() {
        Some(ca) => Connector::with_roots_pem(&std::fs::read(ca)?)?,
        None => Connector::new()?,
    };
    let options = ConnectOptions::new([first, second], token);
    let started = Instant::now();
    match connector.connect(&options).await {
        Ok((client, _events)) => {
            // The second URL is tried 300 ms after the first.
            println!("joined {} after {} ms", client.session(), started.elapsed().as_millis());
            client.disconnect().await;
            Ok(())
        }
        Err(ConnectError::Refused { reason, message }) => {
            anyhow::bail!("the gateway refused the token ({reason}): {message}")
        }
        Err(error) => Err(error.into()),
    }
}
