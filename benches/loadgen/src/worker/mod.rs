//! Worker processes: this program with a hidden command, for work that must not delay the
//! measuring thread.

mod flood;
mod members;
mod process;
mod swarm;

pub use self::{
    flood::{FloodGenerator, FloodKind, FloodOrder, FloodProgress, FloodWorker},
    members::{Members, MembersProgress, MembersRole, MembersWorker},
    process::WorkerProcess,
    swarm::{ReconnectSwarm, SwarmResult, SwarmWorker},
};
use crate::{baseline::EchoWorker, peer::requests::ResponderWorker};

/// The hidden commands.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum WorkerCommand {
    /// Floods a gateway; `flood` starts it.
    #[command(hide = true)]
    FloodWorker(FloodWorker),
    /// Holds members of a session, or senders at full speed; `fairness` starts it.
    #[command(hide = true)]
    MembersWorker(MembersWorker),
    /// Holds many clients; `resumes` starts it.
    #[command(hide = true)]
    SwarmWorker(SwarmWorker),
    /// Sends everything back; `latency --baselines` starts it.
    #[command(hide = true)]
    EchoWorker(EchoWorker),
    /// Replies to requests over NATS; `cluster` starts it.
    #[command(hide = true)]
    ResponderWorker(ResponderWorker),
}

impl WorkerCommand {
    /// Works until standard input ends.
    pub async fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::FloodWorker(worker) => worker.run().await,
            Self::MembersWorker(worker) => worker.run().await,
            Self::SwarmWorker(worker) => worker.run().await,
            Self::EchoWorker(worker) => worker.run().await,
            Self::ResponderWorker(worker) => worker.run().await,
        }
    }
}
