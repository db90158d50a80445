//! Random programs over several gateways and a bus that delays, loses, repeats, cuts and heals, in
//! simulated time. After each program the guarantees of a cluster hold.
//!
//! `SIGNALBOX_PROGRAMS` sets the number of programs, `SIGNALBOX_SEED` the first seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

mod simulation;

use std::panic::{AssertUnwindSafe, catch_unwind};

use simulation::{Faults, Simulation};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn run(faults: Faults) {
    let first = number("SIGNALBOX_SEED", 0);
    let seeds = first..first + number("SIGNALBOX_PROGRAMS", 100);
    let failed: Vec<u64> = seeds
        .filter(|seed| {
            let run = AssertUnwindSafe(|| Simulation::new(*seed, faults).run());
            let failed = catch_unwind(run).is_err();
            if failed {
                eprintln!("the program with SIGNALBOX_SEED={seed} failed");
            }
            failed
        })
        .collect();
    assert!(failed.is_empty(), "programs failed: SIGNALBOX_SEED={failed:?}");
}

#[test]
fn a_bus_that_only_delays() {
    run(Faults { lossy: false, ..Faults::default() });
}

#[test]
fn a_bus_that_loses_and_repeats() {
    run(Faults { lossy: true, ..Faults::default() });
}

#[test]
fn gateways_that_are_cut_off_for_a_while() {
    run(Faults { lossy: true, cuts: true, ..Faults::default() });
}

#[test]
fn gateways_that_are_killed_and_restarted() {
    run(Faults { lossy: true, kills: true, ..Faults::default() });
}

#[test]
fn gateways_that_stop_for_a_while() {
    run(Faults { stops: true, ..Faults::default() });
}

#[test]
fn everything_at_once() {
    run(Faults { lossy: true, cuts: true, kills: true, stops: true });
}
