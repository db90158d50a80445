//! `signalbox token`: mints a client's token or a server's credential, and checks tokens.

mod check;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use signalbox_protocol::{ProjectKey, Role, SessionId, limits::CONNECTION_DATA_BYTES};
use signalbox_token::{MAX_CREDENTIAL_LIFETIME, MAX_LIFETIME, NewServerToken, NewToken, Signer};

use crate::{clock::unix_time, output};

/// Mint a token for a client to join a session, or a server's credential.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  signalbox token --key 12345678 --secret SECRET --session SESSION
      A token for a publisher, valid for a day.
  signalbox token --key 12345678 --secret SECRET --session SESSION \\
      --role moderator --data name=alice --expires-in 1h
  signalbox token --key APPLICATION-ID --private-key private.pem --session SESSION
      The same for a project with public keys.
  curl -H \"X-OPENTOK-AUTH: $(signalbox token --key 12345678 --secret SECRET --server)\" \\
      https://signal.example.com:4433/v2/project/12345678/session/SESSION/connection
      A server's credential for the REST API, valid for five minutes.
  signalbox token check TOKEN --config gateway.toml
      Whether a gateway accepts a token, and why not."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    #[command(flatten)]
    project: ProjectCredentials,
    /// Session to join.
    #[arg(long, value_name = "ID", required_unless_present = "server")]
    session: Option<SessionId>,
    /// Mint a server's credential for the REST API instead. It cannot join a session.
    #[arg(long, conflicts_with_all = ["session", "role", "data"])]
    server: bool,
    /// Role of the client.
    #[arg(long, default_value = "publisher")]
    role: RoleName,
    /// Connection data, which all clients in the session see; at most 4096 bytes.
    #[arg(long, default_value = "")]
    data: String,
    /// Lifetime of the token, as 90s, 1h or 7d: at most 30d, or 1d with --server [default: 1d, or 5m
    /// with --server].
    #[arg(long, value_name = "TIME")]
    expires_in: Option<humantime::Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Check(check::Args),
}

/// A project's credentials.
#[derive(Debug, clap::Args)]
struct ProjectCredentials {
    /// The project's key.
    #[arg(long, required = true)]
    key: Option<ProjectKey>,
    /// A secret of the project.
    #[arg(
        long,
        env = "SIGNALBOX_SECRET",
        hide_env_values = true,
        required_unless_present = "private_key"
    )]
    secret: Option<String>,
    /// PEM file with the private key of an application. Overrides the secret.
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Subscriber,
    Publisher,
    Moderator,
    #[value(name = "publisheronly")]
    PublisherOnly,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Subscriber => Self::Subscriber,
            RoleName::Publisher => Self::Publisher,
            RoleName::Moderator => Self::Moderator,
            RoleName::PublisherOnly => Self::PublisherOnly,
        }
    }
}

/// Default lifetimes: a day for clients, as with the vendor, and for servers that of the vendor's SDKs.
const CLIENT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const SERVER_LIFETIME: Duration = Duration::from_secs(5 * 60);
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { command, project, session, role, data, .. } = args;
    if let Some(TokenCommand::Check(args)) = command {
        return check::run(args);
    }
    let ProjectCredentials { key, secret, private_key } = project;
    let key = key.as_ref().context("--key is missing")?;
    let private_key = private_key
        .as_ref()
        .map(|file| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        })
        .transpose()?;
    let signer = match (&private_key, secret) {
        (Some(pem), _) => Signer::PrivateKey(pem),
        (None, Some(secret)) if !secret.is_empty() => Signer::Secret(secret),
        (None, _) => anyhow::bail!("the secret is empty; set --secret or SIGNALBOX_SECRET"),
    };
    let now = unix_time();
    let default = if args.server { SERVER_LIFETIME } else { CLIENT_LIFETIME };
    let lifetime = args.expires_in.map_or(default, Into::into);
    anyhow::ensure!(
        lifetime >= SECOND,
        "--expires-in is less than a second; tokens count whole seconds, so use 1s or more"
    );
    let expires_at = now.as_secs().saturating_add(lifetime.as_secs());
    let longest = if args.server { MAX_CREDENTIAL_LIFETIME } else { MAX_LIFETIME };
    anyhow::ensure!(
        lifetime <= longest,
        "--expires-in is longer than a gateway accepts; use at most {}",
        humantime::format_duration(longest)
    );
    let token = if let Some(session) = session {
        anyhow::ensure!(
            session.project() == key,
            "the session belongs to project {}, not {key}; use --key {0}",
            session.project()
        );
        anyhow::ensure!(
            data.len() <= CONNECTION_DATA_BYTES,
            "--data has {} bytes, at most {CONNECTION_DATA_BYTES} are allowed",
            data.len()
        );
        let role = (*role).into();
        NewToken { key, signer, session, role, connection_data: data, now, lifetime }.mint()
    } else {
        NewServerToken { key, signer, now, lifetime }.mint()
    };
    let token = token.context("cannot sign the token; --private-key must be an RSA key in PEM")?;
    if args.json {
        output::line(serde_json::json!({ "token": token, "expiresAt": expires_at }))?;
    } else {
        output::line(token)?;
    }
    Ok(ExitCode::SUCCESS)
}
