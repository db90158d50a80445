//! `signalbox`: the gateway and its tools. Each command has a module of its own.

mod address;
mod bench;
mod chaos;
mod child;
mod clock;
mod cluster;
mod completions;
mod config;
mod connect;
mod dev;
mod doctor;
#[cfg(target_os = "linux")]
mod drain;
mod health;
mod http_get;
mod id_prefix;
mod join;
mod line_reader;
mod logging;
mod man_pages;
mod ops_client;
mod output;
mod pid_file;
mod project;
mod random;
mod send;
mod serve;
mod session;
mod stop_signals;
mod tail;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Self-hosted signaling over QUIC, WebTransport and WebSocket.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

const EXAMPLES: &str = "\
Examples:
  signalbox serve --dev
      Start a gateway on this machine and print commands to join it.
  signalbox join --dev
      Join its session: typed lines are sent, events are printed.
  git log --format=%s | signalbox send wss --dev --type line --stdin
      Send each line as a signal.
  signalbox join quic://signal.example.com wss://signal.example.com --token TOKEN
      Join a session of another gateway, over WebSocket where QUIC is blocked.
  signalbox join quic://a.example.com quic://b.example.com --token TOKEN
      Join it on the second gateway where the first is down.
  signalbox serve --dev --gateways 3
      Start a cluster of three gateways, to try what happens when one of them is killed.
  signalbox drain --pid-file /run/signalbox.pid
      Shut a gateway down gracefully, and wait until it has exited.
  signalbox bench latency
      Measure the latency of one signal at a time over each transport.
  signalbox project new >> gateway.toml
      Add a project to a configuration; a running gateway reloads it within seconds.

Environment:
  SIGNALBOX_TOKEN    token for join and send, instead of --token, and for token check
  SIGNALBOX_SECRET   project secret for token, instead of --secret
  SIGNALBOX_LOG      log level or levels by target, such as debug or signalbox_gateway=trace";

#[derive(Debug, Subcommand)]
enum CliCommand {
    Serve(serve::Args),
    #[cfg(target_os = "linux")]
    Drain(drain::Args),
    Health(health::Args),
    Join(join::Args),
    Send(send::Args),
    #[command(subcommand)]
    Project(project::ProjectCommand),
    Token(token::Args),
    #[command(subcommand)]
    Session(session::SessionCommand),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    Config(config::Args),
    Tail(tail::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    ManPages(man_pages::Args),
    #[command(hide = true)]
    Child(child::Args),
}

fn main() -> ExitCode {
    let _flush = logging::FlushOnDrop;
    let result = match Cli::parse().command {
        CliCommand::Serve(args) => serve::run(args),
        #[cfg(target_os = "linux")]
        CliCommand::Drain(args) => drain::run(&args),
        CliCommand::Health(args) => health::run(&args),
        CliCommand::Join(args) => join::run(args),
        CliCommand::Send(args) => send::run(args),
        CliCommand::Project(project::ProjectCommand::New(args)) => project::new(&args),
        CliCommand::Token(args) => token::run(&args),
        CliCommand::Session(session::SessionCommand::New(args)) => session::new(&args),
        CliCommand::Cluster(cluster::ClusterCommand::Status(args)) => cluster::status(&args),
        CliCommand::Config(args) => config::run(&args),
        CliCommand::Tail(args) => tail::run(&args),
        CliCommand::Doctor(args) => doctor::run(&args),
        CliCommand::Bench(args) => bench::run(args),
        CliCommand::Completions(args) => completions::run(&args),
        CliCommand::ManPages(args) => man_pages::run(&args),
        CliCommand::Child(args) => child::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            config::exit_code(&error)
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
