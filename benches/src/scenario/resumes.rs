//! The scenario with a network that is back: thousands of clients resume within seconds, and others,
//! who never were away, signal to each other meanwhile.
//!
//! Coming back costs the clients' machine, too, which here is the one that measures. So it is set
//! beside a control: the same clients come back, at the same time, to another gateway.

use std::time::Duration;

use serde::Serialize;

use super::{Rounds, order};
use crate::{
    clock::{nanos, now_ns},
    crowd::{Resumed, Running},
    gateway::{Launcher, allow_files},
    load::{self, Measured, PAUSE, Pattern},
    output::note,
    stats::Spread,
    transport::Transport,
    usage::GENERATOR_LIMIT,
};

/// How long it takes a gateway to notice that a QUIC client has fallen silent: its idle timeout by
/// default, and a third for the keep-alive that it sent itself.
const QUIC_SILENCE: Duration = Duration::from_secs(40);

/// The same over TCP, where the system says it at once, but ten thousand times.
const TCP_SILENCE: Duration = Duration::from_secs(3);

/// Connections are kept for longer than the measurement takes on a slow machine.
const SETTINGS: &[(&str, &str)] = &[("SIGNALBOX_RESUME__WINDOW_MS", "120000")];

/// Connections that may be used up while everyone is there, beside the crowd.
const SPARE_FILES: u64 = 1000;

/// What thousands of clients that resume do to the latency of others' signals.
#[derive(Debug, Clone, clap::Args)]
pub struct Resumes {
    /// Transports of those who come back and of those who signal, to set side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
    /// Connections that are away and resume.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub connections: usize,
    /// Signals per second of those who stay.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub rate: u32,
    /// Seconds within which they resume, evenly; and length of each measurement.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Rounds over all transports.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    pub repeat: usize,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct ResumesResult {
    /// `resumes`.
    pub scenario: &'static str,
    /// Connections that resume.
    pub connections: usize,
    /// Signals per second of the others.
    pub rate: u32,
    /// Seconds within which they resume.
    pub seconds: f64,
    /// A row for each transport, and one for its control.
    pub rows: Vec<ResumesRow>,
}

/// All rounds of one transport, or of its control.
#[derive(Debug, Serialize)]
pub struct ResumesRow {
    /// The transport.
    pub transport: Transport,
    /// They resumed at another gateway than the one that was measured.
    pub elsewhere: bool,
    /// Latency of the others' signals while nobody resumes: 99 % are at most this, in microseconds.
    pub p99_before_us: Spread,
    /// While they resume.
    pub p99_during_us: Spread,
    /// The one as a multiple of the other, round by round.
    pub ratio: Spread,
    /// The same multiple as a multiple of the control's.
    pub ratio_to_control: Option<Spread>,
    /// How late the measuring side itself was with one signal in a hundred, while they resume.
    pub lag_p99_us: Spread,
    /// Processors that the measured gateway kept busy while they resume.
    pub gateway_cores: Spread,
    /// Use that the resuming process made of its one thread.
    pub crowd_cores: Spread,
    /// From when a client was to resume to when it had: half of all, in microseconds.
    pub resume_p50_us: Spread,
    /// 99 %.
    pub resume_p99_us: Spread,
    /// From the first attempt to when everyone was back, in seconds.
    pub all_back_s: Spread,
    /// Attempts that failed and were made again.
    pub retries: Spread,
    /// The single measurements.
    pub rounds: Vec<ResumesMeasured>,
}

/// What came of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct ResumesMeasured {
    /// The others' signals while nobody resumes.
    pub before: Measured,
    /// While they do.
    pub during: Measured,
    /// How they came back.
    pub resumed: Resumed,
}

impl ResumesMeasured {
    fn ratio(&self) -> f64 {
        self.during.latency_us.p99 / self.before.latency_us.p99
    }
}

type Done = Vec<(Transport, bool, Vec<ResumesMeasured>)>;

impl ResumesRow {
    fn new(
        transport: Transport,
        elsewhere: bool,
        rounds: Vec<ResumesMeasured>,
        control: Option<&[ResumesMeasured]>,
    ) -> Self {
        let spread = |pick: fn(&ResumesMeasured) -> f64| Spread::of(rounds.iter().map(pick));
        let ratios = |control: &[ResumesMeasured]| {
            Spread::of(rounds.iter().zip(control).map(|(it, control)| it.ratio() / control.ratio()))
        };
        Self {
            transport,
            elsewhere,
            p99_before_us: spread(|it| it.before.latency_us.p99),
            p99_during_us: spread(|it| it.during.latency_us.p99),
            ratio: spread(ResumesMeasured::ratio),
            ratio_to_control: control.map(ratios),
            lag_p99_us: spread(|it| it.during.lag_us.p99),
            gateway_cores: spread(|it| it.during.gateway_cores.unwrap_or_default()),
            crowd_cores: spread(|it| it.resumed.cores),
            resume_p50_us: spread(|it| it.resumed.each_us.p50),
            resume_p99_us: spread(|it| it.resumed.each_us.p99),
            all_back_s: spread(|it| it.resumed.seconds),
            retries: spread(|it| it.resumed.retries as f64),
            rounds,
        }
    }

    /// For tables.
    pub(crate) fn title(&self) -> String {
        title(self.transport, self.elsewhere)
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let title = self.title();
        self.rounds.iter().enumerate().flat_map(move |(round, measured)| {
            let ResumesMeasured { before, during, resumed } = measured;
            let busy = (resumed.cores > GENERATOR_LIMIT).then(|| {
                let percent = resumed.cores * 100.0;
                format!("those who resumed used {percent:.0} % of their thread: it was the limit")
            });
            let said = before.warnings.iter().chain(&during.warnings).cloned().chain(busy);
            let title = title.clone();
            said.map(move |warning| format!("{title}, round {}: {warning}", round + 1))
        })
    }
}

fn title(transport: Transport, elsewhere: bool) -> String {
    let name = transport.title();
    if elsewhere { format!("{name}: control: at another gateway") } else { name.to_owned() }
}

impl Resumes {
    /// Measures.
    ///
    /// # Errors
    /// If a gateway cannot be run, a signal is lost, or a client does not get back its connection.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<ResumesResult> {
        anyhow::ensure!(self.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        allow_files(self.connections as u64 + SPARE_FILES)?;
        let mut done: Done = Vec::new();
        for transport in &self.transport {
            done.extend([true, false].map(|elsewhere| (*transport, elsewhere, Vec::new())));
        }
        'rounds: for round in 0..self.repeat {
            for transport in order(&self.transport, round) {
                for elsewhere in order(&[true, false], round) {
                    let measuring = self.measure(launcher, transport, elsewhere);
                    let Some(measured) = launcher.unless_interrupted(measuring).await? else {
                        break 'rounds;
                    };
                    note(format_args!(
                        "resumes {}/{}  {}: p99 {:.0} µs before, {:.0} µs meanwhile; all back in \
                         {:.1} s, p99 {:.1} ms, {} again; gateway {:.2} cores, they {:.2}, others \
                         {:.2}",
                        round + 1,
                        self.repeat,
                        title(transport, elsewhere),
                        measured.before.latency_us.p99,
                        measured.during.latency_us.p99,
                        measured.resumed.seconds,
                        measured.resumed.each_us.p99 / 1000.0,
                        measured.resumed.retries,
                        measured.during.gateway_cores.unwrap_or_default(),
                        measured.resumed.cores,
                        measured.during.other_cores,
                    ));
                    let row = done.iter_mut().find(|it| (it.0, it.1) == (transport, elsewhere));
                    if let Some((_, _, rounds)) = row {
                        rounds.push(measured);
                    }
                }
            }
        }
        done.retain(|(_, _, rounds)| !rounds.is_empty());
        Ok(ResumesResult {
            scenario: "resumes",
            connections: self.connections,
            rate: self.rate,
            seconds: self.seconds,
            rows: rows(&done),
        })
    }

    /// Both gateways run in every measurement, whichever of them they resume at.
    async fn measure(
        &self,
        launcher: &Launcher,
        transport: Transport,
        elsewhere: bool,
    ) -> anyhow::Result<ResumesMeasured> {
        let gateway = launcher.start_with(SETTINGS).await?;
        let other = launcher.start_with(SETTINGS).await?;
        let target = if elsewhere { &other } else { &gateway };
        let rounds = Rounds { seconds: self.seconds, warm_up: 1.0, repeat: 1 };
        let load = rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let process = Some(gateway.process());

        let tickets = Running::lost(target, transport, self.connections).await?;
        let silence = if transport.is_quic() { QUIC_SILENCE } else { TCP_SILENCE };
        tokio::time::sleep(silence).await;
        let mut crowd = Running::ready(target, transport, tickets).await?;
        let beside: Vec<u32> = [other.pid()].into_iter().chain(crowd.pid()).collect();
        let before = load::measure(gateway.room(transport)?, process, &load, &beside).await?;
        crowd.go(now_ns() + nanos(PAUSE + load.warm_up), load.duration).await?;
        let during = load::measure(gateway.room(transport)?, process, &load, &beside).await?;
        let resumed = crowd.resumed().await?;
        crowd.stop().await?;
        gateway.stop().await?;
        other.stop().await?;
        Ok(ResumesMeasured { before, during, resumed })
    }
}

fn rows(done: &Done) -> Vec<ResumesRow> {
    let row = |(transport, elsewhere, own): &(Transport, bool, Vec<ResumesMeasured>)| {
        let mut controls = done.iter().filter(|it| !elsewhere && it.0 == *transport && it.1);
        let control = controls.next().map(|it| it.2.as_slice());
        ResumesRow::new(*transport, *elsewhere, own.clone(), control)
    };
    done.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::tests::measured, stats::Percentiles};

    fn round(before: f64, during: f64, cores: f64) -> ResumesMeasured {
        let each_us = Percentiles { p50: 1.0, p90: 1.0, p99: 1.0, p999: 1.0, max: 1.0 };
        let resumed = Resumed { each_us, seconds: 5.0, retries: 0, cores };
        ResumesMeasured { before: measured(before), during: measured(during), resumed }
    }

    #[test]
    fn ratios_are_compared_round_by_round_with_those_of_the_control() {
        let control = vec![round(100.0, 200.0, 0.5), round(100.0, 100.0, 0.5)];
        let own = vec![round(100.0, 400.0, 0.5), round(200.0, 600.0, 0.5)];
        let done = vec![(Transport::Quic, true, control), (Transport::Quic, false, own)];
        let rows = rows(&done);
        let ratio = |row: &ResumesRow| (row.ratio.min, row.ratio.max);
        assert_eq!(rows.iter().map(ratio).collect::<Vec<_>>(), [(1.0, 2.0), (3.0, 4.0)]);
        let to_control: Vec<_> =
            rows.iter().map(|row| row.ratio_to_control.map(|it| (it.min, it.max))).collect();
        assert_eq!(to_control, [None, Some((2.0, 3.0))]);
    }

    #[test]
    fn a_crowd_that_was_the_limit_is_said() {
        let rounds = vec![round(1.0, 1.0, 0.5), round(1.0, 1.0, 0.95)];
        let row = ResumesRow::new(Transport::Wss, false, rounds, None);
        let warnings: Vec<_> = row.warnings().collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("round 2"), "{warnings:?}");
    }
}
