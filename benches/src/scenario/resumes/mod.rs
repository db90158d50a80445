//! `resumes`: the latency of signals while a swarm of thousands of other clients resumes within
//! seconds.
//!
//! Resuming costs the clients' machine processor time too, and here that is the measuring one. So
//! each measurement has a control: the same clients resume, at the same time, at another gateway.

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::{
    clock::{nanos, now_ns},
    files::allow_files,
    load::{self, Measured, PAUSE, Pattern},
    transport::TransportVariant,
    usage::GENERATOR_LIMIT,
    worker::{ReconnectSwarm, SwarmResult},
};
use signalbox_report::{Chart, Column, Label, Metric, Palette, Round, Row, Spread};

use super::{Columns, Outcome, Rounds, Scenario};
use crate::{Bench, all::All};

/// Time in which a gateway detects that a QUIC client is silent: its default idle timeout, and a
/// third of it for its own keep-alive.
const QUIC_SILENCE: Duration = Duration::from_secs(40);

/// The same over TCP, where the system reports it at once, but ten thousand times.
const TCP_SILENCE: Duration = Duration::from_secs(3);

/// Connections can be resumed for longer than the measurement takes on a slow machine.
const SETTINGS: &[(&str, &str)] = &[("SIGNALBOX_RESUME__WINDOW_MS", "120000")];

/// Open files beside the swarm's.
const SPARE_FILES: u64 = 1000;

const P99_BEFORE: Metric<ResumesMeasured> =
    Metric::lower("p99_before_us", "µs", |it| Some(it.before.latency_us.p99));
const P99_DURING: Metric<ResumesMeasured> =
    Metric::lower("p99_during_us", "µs", |it| Some(it.during.latency_us.p99));
const RATIO: Metric<ResumesMeasured> = Metric::lower("ratio", "×", |it| Some(it.ratio()));
/// The ratio of each round as a multiple of its control's.
const RATIO_TO_CONTROL: Metric<ResumesMeasured> =
    Metric::lower("ratio_to_control", "×", |it| it.ratio_to_control);
const LAG: Metric<ResumesMeasured> =
    Metric::neutral("lag_p99_us", "µs", |it| Some(it.during.lag_us.p99));
const GATEWAY: Metric<ResumesMeasured> =
    Metric::neutral("gateway_cores", "cores", |it| it.during.gateway_cores);
const SWARM: Metric<ResumesMeasured> =
    Metric::neutral("swarm_cores", "cores", |it| Some(it.resumed.cores));
const RESUME_P50: Metric<ResumesMeasured> =
    Metric::lower("resume_p50_ms", "ms", |it| Some(it.resumed.each_us.p50 / 1e3));
const RESUME_P99: Metric<ResumesMeasured> =
    Metric::lower("resume_p99_ms", "ms", |it| Some(it.resumed.each_us.p99 / 1e3));
const ALL_BACK: Metric<ResumesMeasured> =
    Metric::lower("all_back_s", "s", |it| Some(it.resumed.seconds));
const RETRIES: Metric<ResumesMeasured> =
    Metric::lower("retries", "", |it| Some(it.resumed.retries as f64));

/// Latency of signals while thousands of other clients resume.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Resumes {
    /// Transports of the resuming and of the signalling clients, to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Detached connections that resume.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    connections: usize,
    /// Signals per second of the others.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    rate: u32,
    /// Seconds within which they resume, evenly; and length of each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds over all transports.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    #[serde(skip)]
    repeat: usize,
}

/// A transport, or its control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct ResumesLabel {
    transport: TransportVariant,
    /// The clients resume at another gateway than the measured one.
    control: bool,
}

impl Label for ResumesLabel {
    fn title(&self) -> String {
        let name = self.transport.title();
        if self.control { format!("{name}: control: at another gateway") } else { name.to_owned() }
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ResumesMeasured {
    /// The others' signals before.
    before: Measured,
    /// While the swarm resumes.
    during: Measured,
    /// The result of the swarm's resumption.
    resumed: SwarmResult,
    /// The ratio of the p99s as a multiple of the control's in the same round.
    ratio_to_control: Option<f64>,
}

impl ResumesMeasured {
    fn ratio(&self) -> f64 {
        self.during.latency_us.p99 / self.before.latency_us.p99
    }
}

impl Round for ResumesMeasured {
    fn warnings(&self) -> Vec<String> {
        let Self { before, during, resumed, .. } = self;
        let busy = (resumed.cores > GENERATOR_LIMIT).then(|| {
            let percent = resumed.cores * 100.0;
            format!("the swarm used {percent:.0} % of its thread: it was the limit")
        });
        before.warnings.iter().chain(&during.warnings).cloned().chain(busy).collect()
    }

    fn progress(&self) -> String {
        format!(
            "p99 {:.0} µs before, {:.0} µs meanwhile; all back in {:.1} s, p99 {:.1} ms, {} \
             retries; gateway {:.2} cores, swarm {:.2}, others {:.2}",
            self.before.latency_us.p99,
            self.during.latency_us.p99,
            self.resumed.seconds,
            self.resumed.each_us.p99 / 1000.0,
            self.resumed.retries,
            self.during.gateway_cores.unwrap_or_default(),
            self.resumed.cores,
            self.during.other_cores,
        )
    }
}

impl Scenario for Resumes {
    const NAME: &'static str = "resumes";
    const TITLE: &'static str = "Resumes";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<ResumesMeasured>] = &[
        P99_BEFORE,
        P99_DURING,
        RATIO,
        RATIO_TO_CONTROL,
        LAG,
        GATEWAY,
        SWARM,
        RESUME_P50,
        RESUME_P99,
        ALL_BACK,
        RETRIES,
    ];

    type Label = ResumesLabel;
    type Round = ResumesMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        allow_files(self.connections as u64 + SPARE_FILES)?;
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            [true, false].map(|control| ResumesLabel { transport, control })
        };
        let labels = self.transport.iter().flat_map(of).collect();
        let measure = async |label: &ResumesLabel, _| self.measure(bench, *label).await;
        let mut outcome = Outcome::measure(self, bench, self.repeat, labels, measure).await?;
        compare_with_controls(&mut outcome.rows);
        Ok(outcome)
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 0);
        self.repeat > 0
    }

    fn heading(&self) -> String {
        format!(
            "Resumes: {} clients come back within {} seconds, beside {} signals per second of others",
            self.connections, self.seconds, self.rate
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport"),
            Column::spread("p99 before µs", &P99_BEFORE, 0),
            Column::spread("p99 meanwhile µs", &P99_DURING, 0),
            Column::spread("meanwhile ÷ before", &RATIO, 1),
            Column::spread("that ÷ its control's", &RATIO_TO_CONTROL, 2),
            Column::spread("generator late by µs (p99)", &LAG, 0),
            Column::median("gateway CPU, cores", &GATEWAY, 2),
            Column::median("swarm's use of its thread", &SWARM, 2),
            Column::spread("resume p50 ms", &RESUME_P50, 1),
            Column::spread("resume p99 ms", &RESUME_P99, 1),
            Column::spread("all back s", &ALL_BACK, 1),
            Column::median("attempts repeated", &RETRIES, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let phases = ["while nobody resumes", "while they resume"].map(str::to_owned);
        let palette = Palette::of(phases.clone());
        let groups = outcome.rows.iter().map(|row| {
            let p99s = [&P99_BEFORE, &P99_DURING].map(|metric| row.spread(metric));
            (row.label.title(), phases.iter().cloned().zip(p99s).collect::<Vec<(String, Spread)>>())
        });
        let title = "p99 of the others' signals";
        let p99s = Chart::groups(title, "µs", &palette, groups.collect(), None);
        let title = "How much more that is than the control's: 1 is no harm";
        let title_during = "Latency by percentile, while they resume";
        let charts = [
            Some(p99s),
            outcome.bars_beside(title, &RATIO_TO_CONTROL, Some(1.0)),
            outcome.percentiles(title_during, |it| &it.during.curve),
        ];
        let timelines = outcome.parts(|it| &it.during.timeline);
        let over_time = Chart::timelines("While they resume", &timelines);
        charts.into_iter().flatten().chain(over_time).collect()
    }
}

impl Resumes {
    /// Both gateways run in every measurement, whichever of the two the swarm resumes at.
    async fn measure(&self, bench: &Bench, label: ResumesLabel) -> anyhow::Result<ResumesMeasured> {
        let ResumesLabel { transport, control } = label;
        let gateway = bench.launcher.start_with(SETTINGS).await?;
        let other = bench.launcher.start_with(SETTINGS).await?;
        let target = if control { &other } else { &gateway };
        let rounds = Rounds { seconds: self.seconds, warm_up: 1.0, repeat: 1 };
        let load = rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let process = Some(gateway.process());

        let tickets = ReconnectSwarm::join_and_lose(target, transport, self.connections).await?;
        let silence = if transport.is_quic() { QUIC_SILENCE } else { TCP_SILENCE };
        tokio::time::sleep(silence).await;
        let mut swarm = ReconnectSwarm::prepare(target, transport, tickets).await?;
        let further: Vec<u32> = [other.pid()].into_iter().chain(swarm.pid()).collect();
        let before = load::measure(gateway.target(transport)?, process, &load, &further).await?;
        swarm.resume(now_ns() + nanos(PAUSE + load.warm_up), load.duration).await?;
        let during = load::measure(gateway.target(transport)?, process, &load, &further).await?;
        let resumed = swarm.result().await?;
        swarm.stop().await?;
        gateway.stop().await?;
        other.stop().await?;
        Ok(ResumesMeasured { before, during, resumed, ratio_to_control: None })
    }
}

/// Compares each row with its control, round by round.
fn compare_with_controls(rows: &mut [Row<ResumesLabel, ResumesMeasured>]) {
    let ratios = |row: &Row<ResumesLabel, ResumesMeasured>| -> Vec<f64> {
        row.rounds.iter().map(ResumesMeasured::ratio).collect()
    };
    let known: Vec<_> = rows.iter().map(|row| (row.label, ratios(row))).collect();
    for row in rows.iter_mut().filter(|it| !it.label.control) {
        let control = ResumesLabel { control: true, ..row.label };
        let Some((_, controls)) = known.iter().find(|it| it.0 == control) else { continue };
        for (round, control) in row.rounds.iter_mut().zip(controls) {
            round.ratio_to_control = Some(round.ratio() / control);
        }
    }
}

#[cfg(test)]
mod tests {
    use signalbox_report::Percentiles;

    use super::*;

    fn round(before: f64, during: f64, cores: f64) -> ResumesMeasured {
        let each_us = Percentiles { p50: 1.0, p90: 1.0, p99: 1.0, p999: 1.0, max: 1.0 };
        ResumesMeasured {
            before: Measured::with_p99(before),
            during: Measured::with_p99(during),
            resumed: SwarmResult { each_us, seconds: 5.0, retries: 0, cores },
            ratio_to_control: None,
        }
    }

    fn row(control: bool, rounds: Vec<ResumesMeasured>) -> Row<ResumesLabel, ResumesMeasured> {
        Row { label: ResumesLabel { transport: TransportVariant::Quic, control }, rounds }
    }

    #[test]
    fn ratios_are_compared_round_by_round_with_those_of_the_control() {
        let control = row(true, vec![round(100.0, 200.0, 0.5), round(100.0, 100.0, 0.5)]);
        let own = row(false, vec![round(100.0, 400.0, 0.5), round(200.0, 600.0, 0.5)]);
        let mut rows = [control, own];
        compare_with_controls(&mut rows);
        let range = |metric: &Metric<_>| {
            rows.each_ref().map(|row| metric.spread(&row.rounds).map(|it| (it.min, it.max)))
        };
        assert_eq!(range(&RATIO), [Some((1.0, 2.0)), Some((3.0, 4.0))]);
        assert_eq!(range(&RATIO_TO_CONTROL), [None, Some((2.0, 3.0))]);
    }

    #[test]
    fn a_swarm_that_was_the_limit_causes_a_warning() {
        let row = row(false, vec![round(1.0, 1.0, 0.5), round(1.0, 1.0, 0.95)]);
        let warnings = row.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("round 2"), "{warnings:?}");
    }
}
