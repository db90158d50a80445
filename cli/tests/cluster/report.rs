//! The results as a table.

use std::time::Duration;

use signalbox_tests::TransportMode;

use crate::{failures::Failure, record::Tally, traffic::Traffic};

/// Heading of the table.
pub(crate) const HEADING: &str = "\
| failure | transport | members | lost silently | lost, with a gap | duplicated | presence events | resumed | rejoined | recovered after (p50, max) |
|---|---|---|---|---|---|---|---|---|---|";

/// The result of one failure.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) text: String,
    /// What should not have happened.
    pub(crate) faults: Vec<String>,
}

impl Row {
    pub(crate) fn new(
        failure: Failure,
        transports: &[TransportMode],
        traffic: &Traffic,
        tally: &Tally,
        delays: &[Duration],
        faults: Vec<String>,
    ) -> Self {
        let transports: Vec<_> = transports.iter().map(|it| format!("{it:?}")).collect();
        let total = |count: fn(&crate::record::Record) -> usize| -> usize {
            traffic.members.iter().map(|member| count(&member.record.lock())).sum()
        };
        let text = format!(
            "| {failure} | {} | {} | {} | {} | {} | {} | {} | {} | {} ms, {} ms |",
            transports.join(", "),
            traffic.members.len(),
            tally.silent,
            tally.told + tally.rejected,
            tally.duplicates,
            total(|record| {
                // A member that joins again reads a whole list.
                if record.rejoins() > 0 { 0 } else { record.created.len() + record.destroyed.len() }
            }),
            total(|record| record.reconnects),
            total(crate::record::Record::rejoins),
            delays.get(delays.len() / 2).unwrap_or(&Duration::ZERO).as_millis(),
            delays.last().unwrap_or(&Duration::ZERO).as_millis(),
        );
        Self { text, faults }
    }
}
