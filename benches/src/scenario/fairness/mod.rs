//! `fairness`: the latency of signals in one session while members of another one send as fast as
//! the gateway reads.
//!
//! The senders and the members of their session need processor time, which they take from the
//! measuring machine. So each attack has a control: the same one, at the same time, on another
//! gateway.

use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    load::{self, Measured, Pattern},
    transport::TransportVariant,
    worker::{Members, MembersProgress, MembersRole},
};
use signalbox_report::{Chart, Column, Label, Metric, Round};

use super::{
    Columns, Outcome, Rounds, Scenario,
    controlled::{ControlledLabel, ControlledRound, compare_with_controls, latency_charts},
};
use crate::{Bench, all::All};

const RECEIVED: Metric<FairnessMeasured> =
    Metric::neutral("received", "/s", |it| it.attacked.map(|it| it.received));
const REFUSED: Metric<FairnessMeasured> =
    Metric::neutral("refused", "/s", |it| it.attacked.map(|it| it.refused));
const ENDED: Metric<FairnessMeasured> =
    Metric::lower("ended", "members", |it| it.attacked.map(|it| it.ended));

/// Latency of signals while members of another session send at full speed.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Fairness {
    /// Transports of all clients to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Signals per second: enough for a p99 of a few seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    rate: u32,
    /// Members of the small session.
    #[arg(long, value_name = "NUMBER", default_value_t = 9)]
    few: usize,
    /// Signals per second that each of them reads.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    reads: u32,
    /// Members of the large session.
    #[arg(long, value_name = "NUMBER", default_value_t = 992)]
    many: usize,
    /// Further members, which send, if there are several.
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    senders: usize,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

/// The session that is attacked by its own members while signals of another one are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FairnessVariant {
    /// None.
    Quiet,
    /// The small one, on another gateway.
    FewControl,
    /// The small one.
    Few,
    /// The same by several senders, on another gateway.
    SeveralControl,
    /// The same by several senders.
    Several,
    /// The large one, on another gateway.
    ManyControl,
    /// The large one.
    Many,
}

impl FairnessVariant {
    const ALL: [Self; 7] = [
        Self::Quiet,
        Self::FewControl,
        Self::Few,
        Self::SeveralControl,
        Self::Several,
        Self::ManyControl,
        Self::Many,
    ];

    /// For tables.
    fn title(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::FewControl => "control: one sender to few, another gateway",
            Self::Few => "one sender to few",
            Self::SeveralControl => "control: several senders to few, another gateway",
            Self::Several => "several senders to few",
            Self::ManyControl => "control: several senders to many, another gateway",
            Self::Many => "several senders to many",
        }
    }

    /// On another gateway than the measured one.
    fn is_control(self) -> bool {
        matches!(self, Self::FewControl | Self::SeveralControl | Self::ManyControl)
    }

    /// The attack that loads the machine in the same way, and not the gateway.
    fn control(self) -> Option<Self> {
        match self {
            Self::Few => Some(Self::FewControl),
            Self::Several => Some(Self::SeveralControl),
            Self::Many => Some(Self::ManyControl),
            _ => None,
        }
    }
}

/// A transport under an attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FairnessLabel {
    transport: TransportVariant,
    attack: FairnessVariant,
}

impl Label for FairnessLabel {
    fn title(&self) -> String {
        format!("{}: {}", self.group(), self.member())
    }

    fn group(&self) -> String {
        self.transport.title().to_owned()
    }

    fn member(&self) -> String {
        self.attack.title().to_owned()
    }

    /// Signals may be so late that they count as lost.
    fn may_fail(&self) -> bool {
        self.attack.control().is_some()
    }
}

impl ControlledLabel for FairnessLabel {
    fn control(&self) -> Option<Self> {
        Some(Self { attack: self.attack.control()?, ..*self })
    }
}

/// What became of the attacked session.
#[derive(Debug, Clone, Copy, Serialize)]
struct Attacked {
    /// Signals per second that its members received, senders not included.
    received: f64,
    /// Signals per second of its senders that the gateway refused.
    refused: f64,
    /// Members that the gateway ended, senders not included.
    ended: f64,
    /// Senders that the gateway ended.
    senders_ended: f64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FairnessMeasured {
    /// The signals between two clients in a session of their own.
    #[serde(flatten)]
    signals: Measured,
    #[serde(flatten)]
    attacked: Option<Attacked>,
    /// The p99 as a multiple of the control's in the same round.
    p99_to_control: Option<f64>,
}

impl Round for FairnessMeasured {
    fn warnings(&self) -> Vec<String> {
        self.signals.warnings.clone()
    }

    fn progress(&self) -> String {
        let Measured { latency_us, gateway_cores, other_cores, .. } = &self.signals;
        let attacked = self.attacked.map(|it| {
            format!(
                ", {:.0} received/s, {:.0} refused/s, {} members and {} senders ended",
                it.received, it.refused, it.ended, it.senders_ended
            )
        });
        format!(
            "p50 {:.0} µs, p99 {:.0} µs, gateway {:.2} cores, others {other_cores:.2}{}",
            latency_us.p50,
            latency_us.p99,
            gateway_cores.unwrap_or_default(),
            attacked.unwrap_or_default(),
        )
    }
}

impl ControlledRound for FairnessMeasured {
    fn signals(&self) -> &Measured {
        &self.signals
    }

    fn p99_to_control(&self) -> Option<f64> {
        self.p99_to_control
    }

    fn set_p99_to_control(&mut self, ratio: f64) {
        self.p99_to_control = Some(ratio);
    }
}

impl Scenario for Fairness {
    const NAME: &'static str = "fairness";
    const TITLE: &'static str = "Fairness";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<FairnessMeasured>] = &[
        FairnessMeasured::P50,
        FairnessMeasured::P99,
        FairnessMeasured::P99_TO_CONTROL,
        FairnessMeasured::LAG,
        FairnessMeasured::GATEWAY,
        RECEIVED,
        REFUSED,
        ENDED,
    ];

    type Label = FairnessLabel;
    type Round = FairnessMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        allow_files((self.few.max(self.many) + self.senders) as u64 + 200)?;
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            FairnessVariant::ALL.map(|attack| FairnessLabel { transport, attack })
        };
        let labels = self.transport.iter().flat_map(of).collect();
        let measure = async |label: &FairnessLabel, _| self.measure(bench, label).await;
        let repeat = self.rounds.repeat;
        let mut outcome = Outcome::measure(self, bench, repeat, labels, measure).await?;
        compare_with_controls(&mut outcome.rows);
        Ok(outcome)
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.rounds.adapt(Self::NAME, all);
        self.rounds.repeat = all.rounds(Self::NAME, 0);
        self.rounds.repeat > 0
    }

    fn heading(&self) -> String {
        format!(
            "Fairness: {} signals per second in one session, beside another one in which one sender, \
             or {}, send at full speed to {} members that read {} signals per second, or to {} \
             members",
            self.rate, self.senders, self.few, self.reads, self.many
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport: the other session"),
            Column::spread("p50 µs", &FairnessMeasured::P50, 0),
            Column::spread("p99 µs", &FairnessMeasured::P99, 0),
            Column::spread("p99 ÷ its control's", &FairnessMeasured::P99_TO_CONTROL, 2),
            Column::spread("generator late by µs (p99)", &FairnessMeasured::LAG, 0),
            Column::median("gateway CPU, cores", &FairnessMeasured::GATEWAY, 2),
            Column::median("there: received/s", &RECEIVED, 0),
            Column::median("refused/s", &REFUSED, 0),
            Column::spread("members ended", &ENDED, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let title = "p99 as a multiple of its control's: 1 is no harm";
        let bars = [
            outcome.bars("p99 of signals beside an attacked session", &FairnessMeasured::P99),
            outcome.bars_beside(title, &FairnessMeasured::P99_TO_CONTROL, Some(1.0)),
        ];
        let titles = FairnessVariant::ALL.map(|it| it.title().to_owned());
        let curves = latency_charts(outcome, titles);
        bars.into_iter().chain(curves).flatten().collect()
    }
}

impl Fairness {
    /// Both gateways run in every measurement, whichever of the two is attacked.
    async fn measure(
        &self,
        bench: &Bench,
        label: &FairnessLabel,
    ) -> anyhow::Result<FairnessMeasured> {
        let FairnessLabel { transport, attack } = *label;
        let gateway = bench.launcher.start_with_member_limits().await?;
        let other = bench.launcher.start_with_member_limits().await?;
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let target = gateway.target(transport)?;
        let process = Some(gateway.process());
        let attacked = if attack.is_control() { &other } else { &gateway };
        let (members, reading, senders) = match attack {
            FairnessVariant::Quiet => (0, MembersRole::Read, 0),
            FairnessVariant::FewControl | FairnessVariant::Few => {
                (self.few, MembersRole::ReadAtRate(self.reads), 1)
            }
            FairnessVariant::SeveralControl | FairnessVariant::Several => {
                (self.few, MembersRole::ReadAtRate(self.reads), self.senders)
            }
            FairnessVariant::ManyControl | FairnessVariant::Many => {
                (self.many, MembersRole::Read, self.senders)
            }
        };
        let measured = if attack == FairnessVariant::Quiet {
            let signals = load::measure(target, process, &load, &[other.pid()]).await?;
            FairnessMeasured { signals, attacked: None, p99_to_control: None }
        } else {
            let token = attacked.token()?;
            let start = async |members, role| {
                Members::start(attacked, transport, &token, members, role).await
            };
            let mut members = start(members, reading).await?;
            let mut senders = start(senders, MembersRole::Send).await?;
            let further: Vec<u32> =
                [Some(other.pid()), members.pid(), senders.pid()].into_iter().flatten().collect();
            let before = [members.progress().await?, senders.progress().await?];
            let signals = load::measure(target, process, &load, &further).await?;
            let after = [members.progress().await?, senders.progress().await?];
            senders.stop().await?;
            members.stop().await?;
            evaluate(signals, before, after)
        };
        gateway.stop().await?;
        other.stop().await?;
        Ok(measured)
    }
}

/// The progress of members and of senders, before and after.
fn evaluate(
    signals: Measured,
    before: [MembersProgress; 2],
    after: [MembersProgress; 2],
) -> FairnessMeasured {
    let each = |of: fn(&MembersProgress) -> u64| {
        let rate = |before: &MembersProgress, after: &MembersProgress| {
            let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
            (of(after) - of(before)) as f64 / seconds
        };
        [rate(&before[0], &after[0]), rate(&before[1], &after[1])]
    };
    let [received, _] = each(|it| it.received);
    let [_, refused] = each(|it| it.refused);
    let [ended, senders_ended] = after.map(|it| (it.slow + it.lost) as f64);
    let attacked = Some(Attacked { received, refused, ended, senders_ended });
    FairnessMeasured { signals, attacked, p99_to_control: None }
}

#[cfg(test)]
mod tests {
    use signalbox_report::Row;

    use super::*;

    #[test]
    fn each_attack_is_compared_round_by_round_with_its_own_control() {
        let p99s = |attack| match attack {
            FairnessVariant::Quiet => [1.0, 1.0],
            FairnessVariant::FewControl => [100.0, 200.0],
            FairnessVariant::Few => [150.0, 300.0],
            FairnessVariant::SeveralControl => [100.0, 100.0],
            FairnessVariant::Several => [200.0, 100.0],
            FairnessVariant::ManyControl => [400.0, 100.0],
            FairnessVariant::Many => [400.0, 300.0],
        };
        let round = |p99| FairnessMeasured {
            signals: Measured::with_p99(p99),
            attacked: None,
            p99_to_control: None,
        };
        let transport = TransportVariant::Quic;
        let mut rows = FairnessVariant::ALL.map(|attack| Row {
            label: FairnessLabel { transport, attack },
            rounds: p99s(attack).map(round).to_vec(),
        });
        compare_with_controls(&mut rows);
        let ratios: Vec<_> = rows
            .iter()
            .map(|row| {
                FairnessMeasured::P99_TO_CONTROL.spread(&row.rounds).map(|it| (it.min, it.max))
            })
            .collect();
        let [few, several, many] = [(1.5, 1.5), (1.0, 2.0), (1.0, 3.0)].map(Some);
        assert_eq!(ratios, [None, None, few, None, several, None, many]);
    }

    #[test]
    fn rates_are_per_second_and_ends_are_counted() {
        let at = |seconds: u64, received, refused, slow, lost| MembersProgress {
            at_ns: seconds * 1_000_000_000,
            received,
            refused,
            slow,
            lost,
            cpu_ns: 0,
        };
        let before = [at(1, 100, 0, 1, 0), at(1, 0, 50, 0, 0)];
        let after = [at(3, 500, 0, 3, 1), at(3, 0, 250, 0, 1)];
        let measured = evaluate(Measured::with_p99(1.0), before, after).attacked.unwrap();
        assert_eq!((measured.received, measured.refused), (200.0, 100.0));
        assert_eq!((measured.ended, measured.senders_ended), (4.0, 1.0));
    }
}
