//! Custom roots: connects to a gateway whose certificate was issued by an authority of its own, and
//! shows how to recognise a gateway that is not trusted.
//!
//! `signalbox serve --dev` keeps the certificate of its authority in `.signalbox/dev/ca.pem`.
//!
//! ```sh
//! cargo run -p signalbox-client --example custom_roots -- wss://localhost:4433 TOKEN CA.pem
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use anyhow::Context as _;
use signalbox_client::{ConnectError, ConnectOptions, Connector, UnreachableCause};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let usage = "usage: custom_roots URL TOKEN CA.pem";
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context(usage)?;
    let token = arguments.next().context(usage)?;
    let ca = arguments.next().context(usage)?;
    let options = ConnectOptions::new(url, token);

    // The roots of the operating system do not include the gateway's authority.
    let system = Connector::new()?;
    match system.connect(&options).await {
        Err(ConnectError::Unreachable { cause: UnreachableCause::UntrustedAuthority, .. }) => {
            println!("the operating system does not trust the gateway's authority");
        }
        Err(error) => return Err(error.into()),
        Ok((client, _)) => {
            println!("the operating system trusts the gateway's authority");
            client.disconnect().await;
        }
    }

    let pem = std::fs::read(&ca).with_context(|| format!("cannot read {ca}"))?;
    let (client, _events) = Connector::with_roots_pem(&pem)?.connect(&options).await?;
    println!("with {ca}: joined {}", client.session());
    client.disconnect().await;
    Ok(())
}
