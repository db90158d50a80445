//! `all`: every scenario in turn, with shorter measurements, and the document of their figures.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use anyhow::Context as _;
use clap::{ValueEnum as _, builder::PossibleValue};
use signalbox_loadgen::{output::note, peer::PeerKind};
use signalbox_report::Report;

/// `docs/benchmarks.md`, with places for figures and words.
const TEMPLATE: &str = include_str!("benchmarks.md");

/// Length of a measurement, in seconds: there are many, and the whole must not take too long.
const SECONDS: f64 = 5.0;

const DEFAULT_REPEAT: usize = 3;

/// Every scenario in turn, with its defaults; `fairness` and `resumes` take long and are left out.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct All {
    /// Rounds of latency, fan-out, mesh, churn and REST.
    #[arg(long, value_name = "ROUNDS", default_value_t = DEFAULT_REPEAT)]
    repeat: usize,
    /// Rounds of single scenarios, 0 to leave one out. [default:
    /// capacity=1,flood=2,fairness=0,loss=2,browser=1,reconnect=5,crash=2,failover=1,resumes=0,idle=1]
    #[arg(long, value_name = "NAME=ROUNDS", value_delimiter = ',')]
    rounds: Vec<ScenarioRounds>,
    /// Measure these other systems too; they must be installed.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) compare_with: Vec<PeerKind>,
    /// Write a document with all tables and how to read them to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Rounds of one scenario.
#[derive(Debug, Clone)]
struct ScenarioRounds {
    name: String,
    rounds: usize,
}

impl FromStr for ScenarioRounds {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, rounds) = text.split_once('=').context("expected NAME=ROUNDS")?;
        let rounds = rounds.parse().context("the number of rounds is not a number")?;
        Ok(Self { name: name.to_owned(), rounds })
    }
}

impl All {
    /// Checks the flags before half an hour of measurements.
    pub(crate) fn check(&self, names: &[&str]) -> anyhow::Result<()> {
        for ScenarioRounds { name, .. } in &self.rounds {
            let known = names.contains(&name.as_str());
            anyhow::ensure!(known, "--rounds: {name} is not one of {}", names.join(", "));
        }
        anyhow::ensure!(
            self.markdown.is_none() || !cfg!(debug_assertions),
            "figures of a debug build are not written down: cargo run --release"
        );
        Ok(())
    }

    /// Rounds of a scenario.
    pub(crate) fn rounds(&self, name: &str, default: usize) -> usize {
        self.rounds.iter().rev().find(|it| it.name == name).map_or(default, |it| it.rounds)
    }

    /// Shortens the measurements of a scenario; `false` if it is left out.
    pub(crate) fn shorten(&self, name: &str, repeat: &mut usize, seconds: &mut f64) -> bool {
        (*repeat, *seconds) = (self.rounds(name, self.repeat), SECONDS);
        *repeat > 0
    }

    /// Whether a scenario can run on this machine; if not, notes why.
    pub(crate) fn can<T>(&self, name: &str, attempt: anyhow::Result<T>) -> bool {
        if let Err(error) = &attempt {
            note(format_args!("warning: {name} is left out: {error:#}"));
        }
        attempt.is_ok()
    }

    /// Writes the document, if one is wanted.
    pub(crate) fn write(&self, report: &Report) -> anyhow::Result<()> {
        let Some(file) = &self.markdown else { return Ok(()) };
        if report.run.interrupted {
            note("interrupted: no document is written, as some figures are missing");
            return Ok(());
        }
        std::fs::write(file, report.markdown(TEMPLATE, &self.command()))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The command for readers, without defaults.
    fn command(&self) -> String {
        let mut command = "./bench all".to_owned();
        let peers: Vec<_> =
            self.compare_with.iter().filter_map(PeerKind::to_possible_value).collect();
        if !peers.is_empty() {
            let names: Vec<_> = peers.iter().map(PossibleValue::get_name).collect();
            command.push_str(&format!(" --compare-with {}", names.join(",")));
        }
        if self.repeat != DEFAULT_REPEAT {
            command.push_str(&format!(" --repeat {}", self.repeat));
        }
        if !self.rounds.is_empty() {
            let rounds: BTreeMap<_, _> =
                self.rounds.iter().map(|it| (&it.name, it.rounds)).collect();
            let rounds: Vec<_> =
                rounds.iter().map(|(name, rounds)| format!("{name}={rounds}")).collect();
            command.push_str(&format!(" --rounds {}", rounds.join(",")));
        }
        command + " --markdown docs/benchmarks.md"
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        all: All,
    }

    fn all(flags: &[&str]) -> Result<All, clap::Error> {
        let flags = ["all"].iter().chain(flags);
        Cli::try_parse_from(flags).map(|it| it.all)
    }

    #[test]
    fn rounds_of_a_scenario_can_be_set() {
        let all = all(&["--rounds", "flood=1,resumes=2", "--compare-with", "nats,ws"]).unwrap();
        assert_eq!([all.rounds("flood", 2), all.rounds("crash", 2)], [1, 2]);
        let command = "./bench all --compare-with nats,ws --rounds flood=1,resumes=2 --markdown \
                       docs/benchmarks.md";
        assert_eq!(all.command(), command);
    }

    #[test]
    fn an_unknown_scenario_is_an_error() {
        let check = |rounds| {
            let all = all(&["--rounds", rounds]).unwrap();
            all.check(&["flood", "crash"]).map_err(|error| error.to_string())
        };
        assert_eq!(check("flood=1"), Ok(()));
        assert!(check("floods=1").unwrap_err().contains("flood, crash"));
        assert!(all(&["--rounds", "flood"]).is_err());
    }

    #[test]
    fn every_place_of_the_template_is_known() {
        let run = signalbox_report::Run::default();
        let report = Report { run, reading: "", sections: Vec::new() };
        let text = report.markdown(TEMPLATE, "run it");
        assert!(text.contains("run it") && !text.contains('{'), "{text}");
    }
}
