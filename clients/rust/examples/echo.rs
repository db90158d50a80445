//! Sends every signal back to its sender only.
//!
//! ```sh
//! cargo run -p signalbox-client --example echo -- quic://localhost:4433 TOKEN CA.pem
//! ```

use anyhow::Context as _;
use signalbox_client::{ConnectOptions, Connector, Event, Sender};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: echo URL TOKEN [CA.pem]")?;
    let token = arguments.next().context("usage: echo URL TOKEN [CA.pem]")?;
    let connector = match arguments.next() {
        Some(ca) => Connector::with_roots_pem(&std::fs::read(ca)?)?,
        None => Connector::new()?,
    };
    let (client, mut events) = connector.connect(&ConnectOptions::new(url, token)).await?;
    while let Some(event) = events.next().await {
        // The client's own signals are not echoed: that would never end.
        if let Event::Signal { from: Sender::Connection(from), signal_type, data, .. } = event
            && from != client.connection().id
        {
            let mut echo = client.signal().to(from);
            if let Some(signal_type) = signal_type {
                echo = echo.signal_type(signal_type);
            }
            if let Some(data) = data {
                echo = echo.data(data);
            }
            echo.enqueue().await?;
        }
    }
    Ok(())
}
