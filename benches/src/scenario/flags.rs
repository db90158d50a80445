//! Flags and labels that several scenarios have.

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::{
    load::{Load, Pattern},
    transport::TransportVariant,
};
use signalbox_report::Label;

use crate::all::All;

/// Length and number of measurements.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Rounds {
    /// Length of one measurement in seconds, without its warm-up.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before a measurement.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    #[serde(skip)]
    pub(crate) warm_up: f64,
    /// Rounds over all rows.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    #[serde(skip)]
    pub(crate) repeat: usize,
}

impl Rounds {
    /// Adapts the defaults for `all`; `false` if the scenario is left out.
    pub(super) fn adapt(&mut self, name: &str, all: &All) -> bool {
        all.shorten(name, &mut self.repeat, &mut self.seconds)
    }

    pub(super) fn warm_up(&self) -> Duration {
        time(self.warm_up)
    }

    pub(super) fn duration(&self) -> Duration {
        time(self.seconds)
    }

    pub(super) fn load(&self, connections: usize, pattern: Pattern, rate: f64) -> Load {
        let (warm_up, duration) = (self.warm_up(), self.duration());
        Load { connections, pattern, rate, warm_up, duration }
    }
}

/// Times are not negative, and shorter than a day.
pub(super) fn time(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))
}

/// A row for a transport.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TransportLabel {
    pub(super) transport: TransportVariant,
}

impl TransportLabel {
    pub(super) fn all(transports: &[TransportVariant]) -> Vec<Self> {
        transports.iter().map(|it| Self { transport: *it }).collect()
    }
}

impl Label for TransportLabel {
    fn title(&self) -> String {
        self.transport.title().to_owned()
    }
}
