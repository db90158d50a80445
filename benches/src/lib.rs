//! The benchmark: what a gateway costs and how fast it is, per transport, side by side.
//!
//! A gateway is started in a process of its own; all clients are in this one, on one thread, so
//! that sender and receiver read the same clock and "the generator was the limit" is a question
//! with an answer: its thread was busy, or it was not. Only a flood comes from a third process, so
//! that it cannot delay what is measured, and so does a crowd that resumes.
//!
//! ```text
//! gateway      the process under test, from start to SIGTERM
//! procfs       what the system says about a process and the machine (Linux only)
//! clock        one monotonic clock, and a metronome that keeps to it
//! payload      128 bytes that say when they were meant to be sent
//! clients      many connections, made some at a time
//! process      a process that is ended whatever happens
//! wire/        light clients of every system that is compared
//! system       what is measured side by side
//! peers/       other systems, which are started for it
//! floors/      echoes without a relay
//! place        what their processes are given
//! room         where they meet
//! receivers    who has received how many signals, and how late
//! load         some senders, some receivers, a fixed rate: one measurement
//! lossy        many senders, a receiver behind a bad link: one measurement
//! arrivals     whom of them a lost packet held up
//! http         as much HTTP over TLS as the REST API needs
//! helper       a process beside the one that measures
//! flooder      requests without a credential, from a process of their own
//! crowd        clients that lose their links and resume together, from another
//! light        what the crowd is made of: links without the SDK
//! dialogue     two clients that signal to each other, and hear everything
//! cores        one core for the gateway, another one for the generator
//! usage        who used how much processor time, and whether that spoils a measurement
//! scenario/    latency, fanout, rest, flood, loss, reconnect, crash, resumes, idle: which measurements, in which order
//! stats        percentiles, medians, spread
//! curve        the whole distribution, and how it went over time
//! report       text and Markdown from results
//! difference   whether two figures differ by more than their rounds do
//! chart/       charts as SVG
//! page/        a page of tables and charts from results
//! compare/     two runs, figure by figure
//! run          what was asked for, when, and of which build
//! ```
//!
//! What is claimed are ratios within one run. Absolute figures belong to the machine and the hour.

mod arrivals;
mod chart;
mod clients;
mod clock;
mod compare;
mod cores;
mod crowd;
mod curve;
mod dialogue;
mod difference;
mod flooder;
mod floors;
mod gateway;
mod helper;
mod http;
mod light;
mod load;
mod lossy;
pub mod output;
mod page;
mod payload;
mod peers;
mod place;
mod process;
mod procfs;
mod receivers;
pub mod report;
mod room;
mod run;
pub mod scenario;
mod stats;
mod system;
mod transport;
mod usage;
mod wire;

pub use compare::{Compare, Comparison};
pub use crowd::Crowd;
pub use flooder::Flooder;
pub use floors::{Echo, Floor};
pub use gateway::{Launcher, allow_files};
pub use peers::{Kind as PeerKind, Peer};
pub use system::{System, Systems};
pub use transport::Transport;
