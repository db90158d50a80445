//! Which pictures a scenario has, and what can be said of it in a line.

use super::{
    returns, signals,
    time::{Rounds, percentiles, timelines},
    verdict::{Named, Verdict},
};
use crate::{
    chart::{Bar, Bars, Dots, Group, Strip, number},
    difference::{Better, Figure},
    report::{Report, Table},
    scenario::{
        FloodResult, FloodRow, IdleResult, IdleRow, LossResult, LossRow, RestResult, RestRow,
    },
    stats::Spread,
};

/// A chart with its figures.
pub(super) struct Picture {
    pub(super) title: String,
    pub(super) svg: String,
    /// None if the table of the scenario has all of them.
    pub(super) data: Option<Table>,
}

/// What the page has of a scenario beside its table.
#[derive(Default)]
pub(super) struct Part {
    pub(super) pictures: Vec<Picture>,
    /// Each against the first row that has the figure under the same load.
    pub(super) verdicts: Vec<Verdict>,
}

impl Part {
    /// Of the scenario with this name. One that is not known here has its table alone.
    pub(super) fn of(report: &Report, name: &str) -> Self {
        let part = match name {
            "Latency" => report.latency.as_ref().map(signals::at_a_rate),
            "Fan-out" => report.fanout.as_ref().map(signals::at_a_rate),
            "Mesh" => report.mesh.as_ref().map(signals::at_a_rate),
            "Capacity" => report.capacity.as_ref().map(signals::capacity),
            "Churn" => report.churn.as_ref().map(signals::churn),
            "REST" => report.rest.as_ref().map(rest),
            "Flood" => report.flood.as_ref().map(flood),
            "Loss" => report.loss.as_ref().map(loss),
            "Reconnect" => report.reconnect.as_ref().map(returns::reconnect),
            "Crash" => report.crash.as_ref().map(returns::crash),
            "Resumes" => report.resumes.as_ref().map(returns::resumes),
            "Memory" => report.idle.as_ref().map(idle),
            _ => None,
        };
        part.unwrap_or_default()
    }
}

/// The styles of names, in the order in which they come up.
#[derive(Default)]
pub(super) struct Styles(Vec<String>);

impl Styles {
    pub(super) fn of(&mut self, name: &str) -> usize {
        let known = self.0.iter().position(|it| it == name);
        known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}

/// Of a row, over all its rounds.
pub(super) fn figure(spread: Spread, rounds: usize) -> Figure {
    Figure { spread, rounds }
}

/// A bar for each row.
pub(super) fn bars(title: &str, unit: &str, rows: &[Named]) -> Picture {
    let mut styles = Styles::default();
    let bar =
        |(name, it): &Named| Bar { name: name.clone(), style: styles.of(name), value: it.spread };
    let group = Group { name: String::new(), bars: rows.iter().map(bar).collect() };
    grouped(title, unit, vec![group], None)
}

/// Bars in groups, all of whose figures the table has.
pub(super) fn grouped(
    title: &str,
    unit: &str,
    groups: Vec<Group>,
    reference: Option<f64>,
) -> Picture {
    let description = "Medians of the rounds; whiskers go from the lowest to the highest. The \
                       figures are in the table.";
    let bars = Bars::new(title, description, unit, groups);
    let bars = if let Some(value) = reference { bars.reference(value) } else { bars };
    Picture { title: title.to_owned(), svg: bars.svg(), data: None }
}

fn rest(result: &RestResult) -> Part {
    let mut styles = Styles::default();
    let curves = result.rows.iter().map(|row| {
        let name = row.transport.title().to_owned();
        let rounds = row.rounds.iter().map(|it| it.curve.as_slice()).collect();
        Rounds { style: styles.of(&name), name, rounds }
    });
    let curves: Vec<_> = curves.collect();
    let rows = |pick: fn(&RestRow) -> Spread| -> Vec<Named> {
        let row =
            |it: &RestRow| (it.transport.title().to_owned(), figure(pick(it), it.rounds.len()));
        result.rows.iter().map(row).collect()
    };
    let (requests, cpu) = (rows(|it| it.requests), rows(|it| it.gateway_us_per_request));
    let mut pictures = vec![
        bars("Requests per second on one core", "/s", &requests),
        bars("The gateway's processor time per request", "µs", &cpu),
    ];
    pictures.extend(percentiles("Time to a request's answer by percentile", &curves));
    let verdicts = [
        Verdict::of("requests per second", Better::Higher, &requests),
        Verdict::of("CPU per request", Better::Lower, &cpu),
    ];
    Part { pictures, verdicts: verdicts.into_iter().flatten().collect() }
}

fn flood(result: &FloodResult) -> Part {
    let mut styles = Styles::default();
    let (mut p99, mut ratios, mut curves) = (Vec::new(), Vec::new(), Vec::new());
    for rows in result.rows.chunk_by(|a, b| a.transport == b.transport) {
        let Some(transport) = rows.first().map(|it| it.transport.title()) else { continue };
        let mut group = |pick: &dyn Fn(&FloodRow) -> Option<Spread>| Group {
            name: transport.to_owned(),
            bars: rows
                .iter()
                .filter_map(|row| {
                    let name = row.attack.title().to_owned();
                    Some(Bar { style: styles.of(&name), value: pick(row)?, name })
                })
                .collect(),
        };
        p99.push(group(&|row| Some(row.p99_us)));
        ratios.push(group(&|row| row.p99_to_control));
        let rounds = rows.iter().map(|row| Rounds {
            name: row.attack.title().to_owned(),
            style: styles.of(row.attack.title()),
            rounds: row.rounds.iter().map(|it| it.signals.curve.as_slice()).collect(),
        });
        let title = format!("Latency by percentile: {transport}");
        curves.extend(percentiles(&title, &rounds.collect::<Vec<_>>()));
    }
    let mut pictures = vec![
        grouped("p99 of the others' signals under a flood", "µs", p99, None),
        grouped("p99 as a multiple of its control's: 1 is no harm", "×", ratios, Some(1.0)),
    ];
    pictures.extend(curves);
    Part { pictures, verdicts: Vec::new() }
}

fn loss(result: &LossResult) -> Part {
    let mut styles = Styles::default();
    let (mut curves, mut lines) = (Vec::new(), Vec::new());
    let (mut late, mut longest) = (Vec::new(), Vec::new());
    for row in &result.rows {
        let name = row.transport.title().to_owned();
        let style = styles.of(&name);
        let senders = || row.rounds.iter().flat_map(|it| &it.senders);
        let strip = |values| Strip { name: name.clone(), style, values };
        late.push(strip(senders().map(|it| it.late * 100.0).collect()));
        longest.push(strip(senders().map(|it| it.max_ms).collect()));
        let rounds = row.rounds.iter().map(|it| it.curve.as_slice()).collect();
        curves.push(Rounds { name: name.clone(), style, rounds });
        let rounds = row.rounds.iter().map(|it| it.timeline.as_slice()).collect();
        lines.push(Rounds { name: name.clone(), style, rounds });
    }
    let rows = |pick: fn(&LossRow) -> Spread| -> Vec<Named> {
        let row =
            |it: &LossRow| (it.transport.title().to_owned(), figure(pick(it), it.rounds.len()));
        result.rows.iter().map(row).collect()
    };
    let held_up = rows(|it| it.senders_per_loss);
    let late_ms = number(result.late_ms);
    let unit = format!("% of a sender's signals later than {late_ms} ms");
    let mut pictures: Vec<_> = percentiles("Latency by percentile", &curves).into_iter().collect();
    pictures.push(strips("Late signals by sender: a dot for each, in each round", &unit, late));
    pictures.push(strips("Each sender's slowest signal, in each round", "ms", longest));
    pictures.push(bars("Senders held up by one lost packet", "", &held_up));
    pictures.extend(timelines("Over time", &lines));
    let verdicts = [
        Verdict::of("p99", Better::Lower, &rows(|it| it.p99_ms)),
        Verdict::of("late signals", Better::Lower, &rows(|it| it.late_percent)),
        Verdict::of("senders held up by a lost packet", Better::Lower, &held_up),
    ];
    Part { pictures, verdicts: verdicts.into_iter().flatten().collect() }
}

fn strips(title: &str, unit: &str, strips: Vec<Strip>) -> Picture {
    let description = "A dot for each sender and round; a line where half of them are. Dots at the \
                       same place are stacked.";
    let mut data = Table::new(title);
    data.row(["transport", "least", "half at most", "most"]);
    for strip in &strips {
        let Spread { min, median, max } = Spread::of(strip.values.iter().copied());
        data.row([&strip.name, &number(min), &number(median), &number(max)]);
    }
    let svg = Dots::new(title, description, unit, strips).svg();
    Picture { title: title.to_owned(), svg, data: Some(data) }
}

fn idle(result: &IdleResult) -> Part {
    let row = |it: &IdleRow| {
        (it.transport.title().to_owned(), figure(it.kib_per_connection, it.rounds.len()))
    };
    let rows: Vec<_> = result.rows.iter().map(row).collect();
    Part {
        pictures: vec![bars("Memory per idle connection", "KiB", &rows)],
        verdicts: Verdict::of("memory per connection", Better::Lower, &rows).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_style() {
        let mut styles = Styles::default();
        assert_eq!(["a", "b", "a", "c"].map(|it| styles.of(it)), [0, 1, 0, 2]);
    }
}
