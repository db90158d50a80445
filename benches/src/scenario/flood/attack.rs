//! The rows of the scenario: a transport under a flood.

use serde::Serialize;
use signalbox_loadgen::{
    transport::TransportVariant,
    worker::{FloodKind, FloodOrder},
};
use signalbox_report::Label;

use super::{super::controlled::ControlledLabel, Flood};

/// A flood while signals are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Attack {
    /// Its kind; `None` for no flood.
    kind: Option<FloodKind>,
    /// Addresses from which it comes.
    addresses: u32,
    /// To another gateway than the measured one.
    pub(super) is_control: bool,
}

impl Attack {
    /// No flood, and each flood after its control.
    pub(super) fn all(flood: &Flood) -> Vec<Self> {
        let quiet = Self { kind: None, addresses: 0, is_control: false };
        let pair = |kind, addresses| {
            [true, false].map(|is_control| Self { kind: Some(kind), addresses, is_control })
        };
        let of_kind =
            |kind: &FloodKind| flood.addresses.iter().flat_map(|it| pair(*kind, *it)).collect();
        let floods = flood.attacks.iter().map(of_kind);
        std::iter::once(vec![quiet]).chain(floods).flatten().collect()
    }

    /// For tables.
    pub(super) fn title(self) -> String {
        let Some(kind) = self.kind else { return "quiet".into() };
        let addresses = match self.addresses {
            1 => "1 address".to_owned(),
            number => format!("{number} addresses"),
        };
        let control = if self.is_control { "control: " } else { "" };
        format!("{control}{} from {addresses}", kind.title())
    }

    /// The flood that loads the machine in the same way, and not the gateway.
    pub(super) fn control(self) -> Option<Self> {
        (self.kind.is_some() && !self.is_control).then_some(Self { is_control: true, ..self })
    }

    /// The flood to start, if there is one.
    pub(super) fn order(self, flood: &Flood) -> Option<FloodOrder> {
        let kind = self.kind?;
        let rate = match kind {
            FloodKind::Fresh => flood.fresh,
            FloodKind::Initials => flood.initials,
            _ => flood.requests,
        };
        let connections = if kind.is_held() { flood.held } else { flood.flood_connections };
        let connections = connections.max(self.addresses);
        Some(FloodOrder { kind, rate, connections, addresses: self.addresses })
    }
}

/// A transport under a flood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FloodLabel {
    pub(super) transport: TransportVariant,
    #[serde(flatten)]
    pub(super) attack: Attack,
}

impl Label for FloodLabel {
    fn title(&self) -> String {
        format!("{}: {}", self.group(), self.member())
    }

    fn group(&self) -> String {
        self.transport.title().to_owned()
    }

    fn member(&self) -> String {
        self.attack.title()
    }
}

impl ControlledLabel for FloodLabel {
    fn control(&self) -> Option<Self> {
        Some(Self { attack: self.attack.control()?, ..*self })
    }
}
