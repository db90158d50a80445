//! What is measured: which measurements, in which order, for which transports.

use std::{fmt::Display, time::Duration};

mod capacity;
mod churn;
mod crash;
mod flood;
mod idle;
mod loss;
mod reconnect;
mod rest;
mod resumes;
mod signals;

pub use capacity::{Capacity, CapacityResult, CapacityRow};
pub use churn::{Churn, ChurnMeasured, ChurnResult, ChurnRow};
pub use crash::{Crash, CrashResult, CrashRow};
pub use flood::{Flood, FloodResult, FloodRow};
pub use idle::{Idle, IdleResult, IdleRow};
pub use loss::{Loss, LossResult, LossRow};
pub use reconnect::{Reconnect, ReconnectResult, ReconnectRow};
pub use rest::{Rest, RestResult, RestRow};
pub use resumes::{Resumes, ResumesResult, ResumesRow};
pub use signals::{Fanout, Latency, Mesh, Rounds, SignalsResult, SignalsRow};

/// No time is negative, and no benchmark runs for a day.
fn time(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))
}

/// The order of a round: every second one runs backwards, so that a machine that gets slower or
/// faster with time does so for all transports alike.
fn order<T: Copy>(items: &[T], round: usize) -> Vec<T> {
    let mut items = items.to_vec();
    if !round.is_multiple_of(2) {
        items.reverse();
    }
    items
}

/// What was said against the measurements of a row, with the round in which it was.
fn by_round<'a>(
    title: impl Display,
    rounds: impl Iterator<Item = &'a Vec<String>>,
) -> impl Iterator<Item = String> {
    rounds.zip(1..).flat_map(move |(warnings, round)| {
        let said = |warning| format!("{title}, round {round}: {warning}");
        warnings.iter().map(said).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_runs_backwards() {
        assert_eq!(order(&[1, 2, 3], 0), [1, 2, 3]);
        assert_eq!(order(&[1, 2, 3], 1), [3, 2, 1]);
    }
}
