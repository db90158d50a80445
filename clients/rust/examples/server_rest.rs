//! A server's side: sends a signal to a session over REST, and a client receives it.
//!
//! KEY and SECRET are the project's; `signalbox serve --dev` keeps them in
//! `.signalbox/dev/project.json`.
//!
//! ```sh
//! cargo run -p signalbox-client --example server_rest -- localhost:4433 TOKEN CA.pem KEY SECRET
//! ```
#![allow(clippy::print_stdout, reason = "printing is its purpose")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, header};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy, rt::TokioExecutor};
use signalbox_client::{ConnectOptions, Connector, Event, Sender, SessionId};
use signalbox_token::{NewServerToken, Signer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [host, token, ca, key, secret] = &arguments[..] else {
        anyhow::bail!("usage: server_rest HOST:PORT TOKEN CA.pem KEY SECRET");
    };
    let pem = std::fs::read(ca)?;
    let connector = Connector::with_roots_pem(&pem)?;
    let options = ConnectOptions::new(format!("wss://{host}"), token);
    let (client, mut events) = connector.connect(&options).await?;

    post_signal(host, &pem, (key, secret), client.session()).await?;
    loop {
        let event = events.next().await.context("the session ended early")?;
        if let Event::Signal { from: Sender::Server(gateway), data: Some(data), .. } = event {
            println!("received from a server through {gateway:?}: {data}");
            break;
        }
    }
    client.disconnect().await;
    Ok(())
}

/// Sends a signal to everyone in the session, with the vendor's REST API.
async fn post_signal(
    host: &str,
    ca: &[u8],
    (key, secret): (&str, &str),
    session: &SessionId,
) -> anyhow::Result<()> {
    let credential = NewServerToken {
        key: &key.parse()?,
        signer: Signer::Secret(secret),
        now: SystemTime::now().duration_since(UNIX_EPOCH)?,
        lifetime: Duration::from_secs(60),
    }
    .mint()?;
    let tls = signalbox_certs::client(signalbox_certs::roots_from_pem(ca)?, &[]);
    let https =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    let http: legacy::Client<_, Full<Bytes>> =
        legacy::Client::builder(TokioExecutor::new()).build(https);
    let request =
        Request::post(format!("https://{host}/v2/project/{key}/session/{session}/signal"))
            .header("X-OPENTOK-AUTH", credential)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(r#"{"type":"news","data":"hello from the server"}"#))?;
    let response = http.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status.is_success(), "HTTP {status}: {}", String::from_utf8_lossy(&body));
    println!("the gateway answered {status}");
    Ok(())
}
