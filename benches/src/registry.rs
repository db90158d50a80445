//! The list of scenarios. A new one needs its folder and one line here.

use signalbox_loadgen::output::note;
use signalbox_report::Section;

use crate::{
    Bench,
    all::All,
    scenario::{
        Scenario, browser::Browser, capacity::Capacity, churn::Churn, cluster::Cluster,
        crash::Crash, failover::Failover, fairness::Fairness, fanout::Fanout, flood::Flood,
        idle::Idle, latency::Latency, loss::Loss, mesh::Mesh, reconnect::Reconnect, rest::Rest,
        resumes::Resumes,
    },
};

/// Generates the commands of all scenarios from their types, in the order in which `all` runs them.
macro_rules! scenarios {
    ($($scenario:ident),* $(,)?) => {
        /// A scenario with its flags.
        #[derive(Debug, Clone, clap::Subcommand)]
        pub(crate) enum ScenarioCommand {
            $($scenario($scenario),)*
        }

        /// The names of all scenarios.
        pub(crate) const NAMES: &[&str] = &[$($scenario::NAME),*];

        impl ScenarioCommand {
            /// Measures; `None` if it was interrupted before the first result.
            pub(crate) async fn run(&self, bench: &Bench) -> anyhow::Result<Option<Section>> {
                match self {
                    $(Self::$scenario(it) => it.run(bench).await?.section(),)*
                }
            }

            /// The gateways that run already, if those are measured.
            pub(crate) fn remote(&self) -> Option<String> {
                match self {
                    $(Self::$scenario(it) => it.remote(),)*
                }
            }
        }

        /// Every scenario in turn, adapted for `all`.
        pub(crate) async fn run_all(bench: &Bench, all: &All) -> anyhow::Result<Vec<Section>> {
            // The flags of all of them are checked first: what follows takes half an hour.
            let commands = [$(in_all::<$scenario>(all)?.map(ScenarioCommand::$scenario)),*];
            let mut sections = Vec::new();
            for command in commands.iter().flatten() {
                if bench.is_interrupted() {
                    break;
                }
                sections.extend(command.run(bench).await?);
            }
            Ok(sections)
        }

        #[cfg(test)]
        fn check_all() {
            $(tests::check::<$scenario>();)*
        }
    };
}

scenarios!(
    Latency, Fanout, Mesh, Capacity, Churn, Rest, Flood, Fairness, Loss, Browser, Reconnect, Crash,
    Cluster, Failover, Resumes, Idle,
);

/// A scenario with its defaults, adapted for `all`; `None` if it is left out.
fn in_all<S: Scenario>(all: &All) -> anyhow::Result<Option<S>> {
    let mut scenario = defaults::<S>()?;
    let included = scenario.adapt(all);
    if !included {
        note(format_args!("{} is left out", S::NAME));
    }
    Ok(included.then_some(scenario))
}

/// Flags without any argument.
fn defaults<A: clap::Args>() -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new("defaults").no_binary_name(true));
    let matches = command.try_get_matches_from([""; 0])?;
    Ok(A::from_arg_matches(&matches)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Checks that hold for every scenario.
    pub(super) fn check<S: Scenario>() {
        defaults::<S>().unwrap_or_else(|error| panic!("{} has no defaults: {error}", S::NAME));
        let is_good = |it: char| it.is_ascii_lowercase();
        assert!(S::NAME.chars().all(is_good), "{} is a JSON key and an anchor", S::NAME);
        assert!(!S::READING.trim().is_empty(), "{} has words", S::NAME);
        let metrics = signalbox_report::describe(S::METRICS);
        assert_eq!(metrics.as_object().unwrap().len(), S::METRICS.len(), "{}", S::NAME);
    }

    #[test]
    fn scenarios_have_defaults_words_and_distinct_metrics() {
        check_all();
        assert_eq!(NAMES.iter().collect::<HashSet<_>>().len(), NAMES.len());
    }
}
