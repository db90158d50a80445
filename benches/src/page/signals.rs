//! The pictures of what several systems can be measured in.

use super::{
    pictures::{Part, Styles, bars, figure, grouped},
    time::{Rounds, percentiles, timelines},
    verdict::{Named, Verdict},
};
use crate::{
    chart::{Bar, Group},
    difference::{Better, Figure},
    scenario::{CapacityResult, ChurnResult, ChurnRow, SignalsResult, SignalsRow},
    stats::Spread,
};

/// Latency, fan-out and mesh.
pub(super) fn at_a_rate(result: &SignalsResult) -> Part {
    let mut styles = Styles::default();
    let (mut curves, mut lines) = (Vec::new(), Vec::new());
    for row in &result.rows {
        let name = row.title();
        let style = styles.of(&name);
        let rounds = row.rounds.iter().map(|it| it.curve.as_slice()).collect();
        curves.push(Rounds { name: name.clone(), style, rounds });
        let rounds = row.rounds.iter().map(|it| it.timeline.as_slice()).collect();
        lines.push(Rounds { name, style, rounds });
    }
    let rows = |pick: fn(&SignalsRow) -> Option<Spread>| {
        known(result.rows.iter().map(|it| (it.title(), pick(it), it.rounds.len())))
    };
    let mut pictures: Vec<_> = percentiles("Latency by percentile", &curves).into_iter().collect();
    let cpu = rows(|it| it.gateway_us_per_delivery);
    if !cpu.is_empty() {
        pictures.push(bars("Processor time per delivery", "µs", &cpu));
    }
    let quiet = rows(|it| it.quiet_p99_us);
    if !quiet.is_empty() {
        pictures.push(bars("p99 of the quiet senders' signals", "µs", &quiet));
    }
    pictures.extend(timelines("Over time", &lines));
    Part { pictures, verdicts: verdicts_by_load(result) }
}

/// A figure of a row, if it has it.
type Pick = fn(&SignalsRow) -> Option<Spread>;

/// Systems beside each other under one load after the other: what a system does under another load
/// says nothing of the others.
fn verdicts_by_load(result: &SignalsResult) -> Vec<Verdict> {
    let figures: [(&str, Pick); 4] = [
        ("p50", |it| Some(it.p50_us)),
        ("p99", |it| Some(it.p99_us)),
        ("p99 of the quiet", |it| it.quiet_p99_us),
        ("CPU per delivery", |it| it.gateway_us_per_delivery),
    ];
    let mut loads: Vec<&str> = Vec::new();
    for row in &result.rows {
        if !loads.contains(&row.variant.as_str()) {
            loads.push(&row.variant);
        }
    }
    let of = |load: &str, (what, pick): (&str, Pick)| {
        let rows = result.rows.iter().filter(|it| it.variant == load);
        let rows = known(rows.map(|it| (it.system.title(), pick(it), it.rounds.len())));
        Verdict::of(&format!("{what}{load}"), Better::Lower, &rows)
    };
    loads.iter().flat_map(|load| figures.iter().filter_map(|it| of(load, *it))).collect()
}

pub(super) fn capacity(result: &CapacityResult) -> Part {
    let mut receivers: Vec<_> = result.rows.iter().map(|it| it.receivers).collect();
    receivers.sort_unstable();
    receivers.dedup();
    let mut styles = Styles::default();
    let (mut rates, mut costs, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for receivers in receivers {
        let rows = || result.rows.iter().filter(|it| it.receivers == receivers);
        let mut group = |values: Vec<(String, Spread)>| Group {
            name: format!("to {receivers} receivers"),
            bars: values
                .into_iter()
                .map(|(name, value)| Bar { style: styles.of(&name), name, value })
                .collect(),
        };
        rates.push(group(rows().map(|it| (it.system.title(), it.deliveries_per_second)).collect()));
        let cost = rows().filter_map(|it| Some((it.system.title(), it.gateway_us_per_delivery?)));
        costs.push(group(cost.collect()));
        let rate = |it: &crate::scenario::CapacityRow| {
            (it.system.title(), figure(it.deliveries_per_second, it.rounds.len()))
        };
        let rates: Vec<Named> = rows().map(rate).collect();
        verdicts.extend(Verdict::of(
            &format!("deliveries/s to {receivers}"),
            Better::Higher,
            &rates,
        ));
    }
    let mut pictures = vec![grouped("Highest rate that was kept, deliveries", "/s", rates, None)];
    if costs.iter().any(|it| !it.bars.is_empty()) {
        pictures.push(grouped("Processor time per delivery at that rate", "µs", costs, None));
    }
    Part { pictures, verdicts }
}

pub(super) fn churn(result: &ChurnResult) -> Part {
    let rows = |pick: fn(&ChurnRow) -> Option<Spread>| {
        known(result.rows.iter().map(|it| (it.system.title(), pick(it), it.rounds.len())))
    };
    let connects = rows(|it| Some(it.connects_per_second));
    let joined = rows(|it| Some(it.p99_us));
    let cpu = rows(|it| it.gateway_us_per_connect);
    let mut pictures = vec![
        bars("Connects per second", "/s", &connects),
        bars("From dialling to being in, p99", "µs", &joined),
    ];
    if !cpu.is_empty() {
        pictures.push(bars("Processor time per connect", "µs", &cpu));
    }
    let verdicts = [
        Verdict::of("connects per second", Better::Higher, &connects),
        Verdict::of("p99 until in", Better::Lower, &joined),
        Verdict::of("CPU per connect", Better::Lower, &cpu),
    ];
    Part { pictures, verdicts: verdicts.into_iter().flatten().collect() }
}

/// The rows that have the figure: what is not a process of ours has no processor time.
fn known(rows: impl Iterator<Item = (String, Option<Spread>, usize)>) -> Vec<Named> {
    rows.filter_map(|(name, spread, rounds)| Some((name, Figure { spread: spread?, rounds })))
        .collect()
}
