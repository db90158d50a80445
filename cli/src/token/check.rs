//! `signalbox token check`: whether a gateway accepts a client's token, and why not.

use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use signalbox_gateway::{Config, Projects};
use signalbox_protocol::{Printable, limits::TOKEN_BYTES};
use signalbox_token::{Grant, LEEWAY, TokenError, verify_client_token};

use crate::{clock::unix_time, config::Sources, dev::DevProject, output};

/// Check a client's token as a gateway does when a client joins: its shape, project, signature, session
/// and times. Print what it grants, or why it is invalid.
///
/// No gateway is asked, so a token that was revoked is valid here. The exit code is 0 if the token is
/// valid and 1 if it is not; 78 if the configuration is invalid.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox token check TOKEN --config gateway.toml
      With the projects of a configuration.
  signalbox token check --dev < token.txt
      A token from standard input, with the project of `signalbox serve --dev`.
  SIGNALBOX_PROJECTS='[{key=\"12345678\",secrets=[\"SECRET\"]}]' signalbox token check TOKEN
      With a project that no file has.
  signalbox token check TOKEN --config gateway.toml --json | jq .cause
      For programs: why it is invalid, as in the metric signalbox_tokens_rejected_total.")]
pub(super) struct Args {
    /// The token. Without it, standard input is read.
    #[arg(env = "SIGNALBOX_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Configuration file of a gateway (TOML) with the projects. Environment variables override it, as for
    /// `signalbox serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use the project of the gateway that `signalbox serve --dev` started on this machine.
    #[arg(long, conflicts_with = "config")]
    dev: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    signalbox_certs::install_provider();
    let mut defaults = Config::default();
    if args.dev {
        defaults.projects = vec![DevProject::of_running_gateway()?.config()];
    }
    let sources = Sources::of_file(args.config.clone());
    let config = sources.resolve(&defaults)?;
    anyhow::ensure!(
        !config.projects.is_empty(),
        "no project is configured: pass --config FILE, or --dev with `signalbox serve --dev`"
    );
    let projects = match Projects::from_config(&config) {
        Ok(projects) => projects,
        Err(problems) => return Err(sources.locate(&defaults, problems)?.into()),
    };
    let token = args.token.clone().filter(|it| !it.is_empty()).map_or_else(from_stdin, Ok)?;
    let now = unix_time();
    let checked = verify_client_token(&projects, token.trim(), config.auth.legacy_t1_tokens, now);
    match (&checked, args.json) {
        (Ok(grant), false) => print(grant, now)?,
        (Ok(grant), true) => output::line(as_json(grant))?,
        (Err(error), false) => output::line(format_args!(
            "invalid: {error}\n  a client is told {}",
            error.close_reason().name()
        ))?,
        (Err(error), true) => output::line(error_as_json(error))?,
    }
    Ok(output::code(checked.is_ok()))
}

/// The token on standard input. What is longer than any token is cut off, which is still too long.
fn from_stdin() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    anyhow::ensure!(
        !stdin.is_terminal(),
        "no token: pass TOKEN, set SIGNALBOX_TOKEN, or write it to standard input"
    );
    // With white space around it.
    let longest = TOKEN_BYTES as u64 + 1024;
    let mut token = String::new();
    let read = stdin.lock().take(longest).read_to_string(&mut token);
    read.context("cannot read a token from standard input")?;
    anyhow::ensure!(!token.trim().is_empty(), "no token: standard input is empty");
    Ok(token)
}

fn print(grant: &Grant, now: Duration) -> anyhow::Result<()> {
    let Grant { session, role, connection_data, expires_at, token_id, issued_at } = grant;
    let row = |name: &str, value: &dyn std::fmt::Display| {
        output::line(format_args!("  {name:7}  {}", Printable(value)))
    };
    output::line("valid")?;
    row("project", session.project())?;
    row("session", session)?;
    row("role", &role.name())?;
    row("data", connection_data)?;
    if let Some(issued_at) = issued_at {
        row("issued", &time(*issued_at))?;
    }
    let seconds = |it: Duration| humantime::format_duration(Duration::from_secs(it.as_secs()));
    match expires_at.checked_sub(now) {
        Some(left) => {
            row("expires", &format_args!("{}, in {}", time(*expires_at), seconds(left)))?;
        }
        None => row(
            "expired",
            &format_args!(
                "{}; accepted for {} after that, as clocks differ",
                time(*expires_at),
                seconds(LEEWAY)
            ),
        )?,
    }
    if let Some(token_id) = token_id {
        row("id", token_id)?;
    }
    Ok(())
}

/// A time of a valid token, which is in the past or at most a month from now.
fn time(since_1970: Duration) -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_1970)
}

fn as_json(grant: &Grant) -> serde_json::Value {
    let Grant { session, role, connection_data, expires_at, token_id, issued_at } = grant;
    json!({
        "valid": true,
        "project": session.project(),
        "session": session,
        "role": role.name(),
        "data": connection_data,
        "issuedAt": issued_at.map(|it| it.as_secs()),
        "expiresAt": expires_at.as_secs(),
        "id": token_id,
    })
}

fn error_as_json(error: &TokenError) -> serde_json::Value {
    json!({
        "valid": false,
        "cause": error.name(),
        "reason": error.close_reason().name(),
        "message": error.to_string(),
    })
}
