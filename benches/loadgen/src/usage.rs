//! Processor time by process during a measurement, and whether that spoils it.

use std::time::Duration;

use crate::{clock::now_ns, machine, process::Process};

/// With more use of its thread than this, the generator may be measured instead of the gateway.
pub const GENERATOR_LIMIT: f64 = 0.85;

/// With more use of the machine by other processes, in cores, figures are not reliable.
const OTHERS_LIMIT: f64 = 0.2;

/// Processor time used so far.
pub struct Usage {
    at_ns: u64,
    /// By each process of the system under test; empty if it is not ours, so that it may be among
    /// the other processes.
    gateways: Vec<Duration>,
    generator: Duration,
    /// By further processes of the benchmark.
    further: Duration,
    /// By all processes, on all processors together.
    machine: Duration,
}

/// Processor time used between two points in time.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Length of the time.
    pub seconds: f64,
    /// Processor time of the gateway, in seconds: of all processes of the system under test.
    pub gateway: f64,
    /// The same of each.
    pub each: Vec<f64>,
    /// The same of the generator.
    pub generator: f64,
    /// Use of the machine by processes outside the benchmark, in cores.
    pub other_cores: f64,
    /// The gateway may be among them.
    pub elsewhere: bool,
}

impl Usage {
    /// Of the processes of the system under test, of this process (the generator), and of further
    /// processes of the benchmark.
    pub fn now<'a>(
        gateways: impl IntoIterator<Item = &'a Process>,
        further: &[u32],
    ) -> anyhow::Result<Self> {
        let at_ns = now_ns();
        let gateways = gateways.into_iter().map(|it| machine::cpu_time(it.pid()));
        Ok(Self {
            at_ns,
            gateways: gateways.collect::<anyhow::Result<_>>()?,
            generator: machine::cpu_time(std::process::id())?,
            further: further
                .iter()
                .map(|pid| machine::cpu_time(*pid))
                .sum::<anyhow::Result<_>>()?,
            machine: machine::machine_used(at_ns)?,
        })
    }

    /// The difference to an earlier point in time.
    pub fn since(&self, before: &Self) -> Used {
        let seconds = (self.at_ns - before.at_ns) as f64 / 1e9;
        let used = |of: fn(&Self) -> Duration| of(self).saturating_sub(of(before)).as_secs_f64();
        let each = self.gateways.iter().zip(&before.gateways);
        let each: Vec<_> =
            each.map(|(now, then)| now.saturating_sub(*then).as_secs_f64()).collect();
        let (gateway, generator) = (each.iter().sum::<f64>(), used(|it| it.generator));
        let others = used(|it| it.machine) - gateway - generator - used(|it| it.further);
        let (other_cores, elsewhere) = ((others / seconds).max(0.0), each.is_empty());
        Used { seconds, gateway, each, generator, other_cores, elsewhere }
    }
}

impl Used {
    /// Processors that the gateway kept busy.
    pub fn gateway_cores(&self) -> f64 {
        self.gateway / self.seconds
    }

    /// Share of the generator's one thread.
    pub fn generator_cores(&self) -> f64 {
        self.generator / self.seconds
    }

    /// Reasons not to trust a measurement of any kind.
    pub fn warnings(&self) -> Vec<String> {
        self.busy_generator().into_iter().chain(self.busy_others()).collect()
    }

    /// The warning that the generator may have been the limit.
    pub fn busy_generator(&self) -> Option<String> {
        let cores = self.generator_cores();
        (cores > GENERATOR_LIMIT).then(|| {
            format!(
                "the generator used {:.0} % of its thread: it may have been the limit",
                cores * 100.0
            )
        })
    }

    /// The warning that other processes were busy.
    pub fn busy_others(&self) -> Option<String> {
        let cores = self.other_cores;
        let who = if self.elsewhere {
            "other processes (with the gateway, if it runs on this machine)"
        } else {
            "other processes"
        };
        (cores > OTHERS_LIMIT).then(|| format!("{who} used {cores:.1} cores meanwhile"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(at_ns: u64, milliseconds: [u64; 4]) -> Usage {
        let [gateway, generator, further, machine] = milliseconds.map(Duration::from_millis);
        Usage { at_ns, gateways: vec![gateway], generator, further, machine }
    }

    #[test]
    fn the_rest_of_the_machine_is_other_processes() {
        let before = usage(1_000_000_000, [100, 500, 0, 1000]);
        let used = usage(3_000_000_000, [200, 700, 300, 1900]).since(&before);
        for (value, expected) in [
            (used.seconds, 2.0),
            (used.gateway_cores(), 0.05),
            (used.generator_cores(), 0.1),
            (used.other_cores, 0.15),
        ] {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
        assert_eq!(used.warnings(), [""; 0]);
    }

    #[test]
    fn processes_of_one_system_are_added_up() {
        let usage = |first, second| Usage {
            gateways: [first, second].map(Duration::from_millis).to_vec(),
            ..usage(1_000_000_000, [0, 0, 0, 2000])
        };
        let before = Usage { at_ns: 0, machine: Duration::ZERO, ..usage(100, 200) };
        let used = usage(600, 300).since(&before);
        assert!((used.gateway_cores() - 0.6).abs() < 1e-6, "{used:?}");
        assert!((used.each[1] - 0.1).abs() < 1e-6, "{used:?}");
        assert!((used.other_cores - 1.4).abs() < 1e-6, "{used:?}");
    }

    #[test]
    fn a_busy_generator_and_busy_others_cause_warnings() {
        let before = usage(0, [0, 0, 0, 0]);
        let used = usage(1_000_000_000, [100, 900, 0, 1400]).since(&before);
        assert_eq!(used.warnings().len(), 2, "{:?}", used.warnings());
        let elsewhere = Usage { gateways: Vec::new(), ..usage(1_000_000_000, [0, 100, 0, 900]) };
        let warning = elsewhere.since(&before).busy_others().unwrap();
        assert!(warning.contains("with the gateway, if it runs on this machine"), "{warning}");
    }
}
