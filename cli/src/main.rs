//! `signalbox`: the gateway and its tools. Parse, run, exit; each command has a file of its own.

mod bench;
mod chaos;
mod completions;
mod config;
mod dev;
mod drain;
mod hints;
mod ids;
mod join;
mod lines;
mod link;
mod logging;
mod output;
mod pid_file;
mod profile;
mod project;
mod reload;
mod send;
mod serve;
mod stop;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Self-hosted signaling over QUIC and WebSocket.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  signalbox serve --dev
      Start a gateway on this machine and print commands to join it.
  signalbox join --dev
      Join its session; typed lines are sent, events are printed.
  git log --format=%s | signalbox send wss --dev --type line --stdin
      Send each line as a signal.
  signalbox join quic://signal.example.com --fallback wss://signal.example.com --token TOKEN
      Join a session of another gateway, over WebSocket where QUIC is blocked.
  signalbox drain --pid-file /run/signalbox.pid
      End a gateway without a jolt for its clients, and wait until it has ended.
  signalbox bench latency
      Measure a lone signal's latency over each transport.
  signalbox project new >> gateway.toml
      Add a project to a configuration; a running gateway takes it up within seconds.

Environment:
  SIGNALBOX_TOKEN    token for join and send, instead of --token
  SIGNALBOX_SECRET   project secret for token, instead of --secret
  SIGNALBOX_LOG      what is logged, e.g. debug or signalbox_gateway=trace (default: info)";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Drain(drain::Args),
    Join(join::Args),
    Send(send::Args),
    #[command(subcommand)]
    Project(project::ProjectCommand),
    Token(token::TokenArgs),
    #[command(subcommand)]
    Session(token::SessionCommand),
    Config(config::Args),
    Bench(bench::Args),
    Completions(completions::Args),
}

fn main() -> ExitCode {
    let _flush = logging::FlushOnDrop;
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Drain(args) => drain::run(&args),
        Command::Join(args) => join::run(args),
        Command::Send(args) => send::run(args),
        Command::Project(project::ProjectCommand::New(args)) => project::new(&args),
        Command::Token(args) => token::run(&args),
        Command::Session(token::SessionCommand::New(args)) => token::new_session(&args),
        Command::Config(args) => config::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
