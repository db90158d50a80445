//! Results for people: text for a terminal, and the whole of `docs/benchmarks.md`.

mod ratios;
mod returns;
mod signals;
mod table;

use std::fmt::Write as _;

use serde::Serialize;
use signalbox_netem::LinkCounts;
use signalbox_protocol::Printable;

pub(crate) use self::table::{Table, with_spread};
use crate::{
    procfs,
    run::Run,
    scenario::{
        CapacityResult, CapacityRow, ChurnResult, CrashResult, FloodResult, IdleResult, LossResult,
        ReconnectResult, RestResult, ResumesResult, SignalsResult, SignalsRow,
    },
};

/// The file around the tables; `docs/benchmarks.md` is written from it and never by hand.
pub(crate) const FRAME: &str = include_str!("benchmarks.md.in");

/// The first of the warnings of a run that was ended.
const INTERRUPTED: &str =
    "the run was interrupted: only the rounds that were finished by then are in it";

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The gateway, as it names itself.
    pub gateway: String,
    /// Where.
    pub machine: String,
    /// The gateway was running already, so that nothing is known of its process and its network.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
    /// It was ended before everything was measured: only what was finished by then is in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Which run this is.
    #[serde(flatten)]
    pub run: Run,
    /// A lone signal at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<SignalsResult>,
    /// One to many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<SignalsResult>,
    /// All to all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<SignalsResult>,
    /// The highest rates from one to many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityResult>,
    /// Clients that come and go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<ChurnResult>,
    /// Signals from a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestResult>,
    /// Signals while strangers flood the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flood: Option<FloodResult>,
    /// Signals over a link that loses packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossResult>,
    /// Clients whose network changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<ReconnectResult>,
    /// Clients that find back after a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashResult>,
    /// Signals while many others resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<ResumesResult>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<IdleResult>,
}

impl Report {
    /// An empty report on gateways that are started on this machine.
    pub fn new(gateway: String) -> Self {
        let machine = format!("{}, loopback", procfs::machine());
        Self { gateway, machine, run: Run::this(), ..Self::default() }
    }

    /// An empty report on a gateway that runs already, wherever that is.
    pub fn elsewhere(gateway: String) -> Self {
        let machine = format!("{} (the clients')", procfs::machine());
        Self { gateway, machine, elsewhere: true, run: Run::this(), ..Self::default() }
    }

    /// Keeps what was finished when the run was interrupted. `false` if that is nothing.
    pub fn interrupted(&mut self) -> bool {
        self.interrupted = true;
        self.latency.take_if(|it| it.rows.is_empty());
        self.fanout.take_if(|it| it.rows.is_empty());
        self.mesh.take_if(|it| it.rows.is_empty());
        self.capacity.take_if(|it| it.rows.is_empty());
        self.churn.take_if(|it| it.rows.is_empty());
        self.rest.take_if(|it| it.rows.is_empty());
        self.flood.take_if(|it| it.rows.is_empty());
        self.loss.take_if(|it| it.rows.is_empty());
        self.reconnect.take_if(|it| it.rows.is_empty());
        self.crash.take_if(|it| it.rows.is_empty());
        self.resumes.take_if(|it| it.rows.is_empty());
        self.idle.take_if(|it| it.rows.is_empty());
        !self.scenarios().is_empty()
    }

    /// All that speaks against the figures.
    pub fn warnings(&self) -> Vec<String> {
        let signals = [("latency", &self.latency), ("fanout", &self.fanout), ("mesh", &self.mesh)];
        let signals = signals.into_iter().flat_map(|(name, result)| {
            let rows = result.iter().flat_map(|it| &it.rows);
            let failures = result.iter().flat_map(|it| it.failures.clone());
            let said = rows.flat_map(SignalsRow::warnings).chain(failures);
            said.map(move |it| format!("{name}: {it}")).collect::<Vec<_>>()
        });
        let capacity = self.capacity.iter().flat_map(|it| {
            let said = it.rows.iter().flat_map(CapacityRow::warnings).chain(it.failures.clone());
            said.map(|it| format!("capacity: {it}")).collect::<Vec<_>>()
        });
        let churn = self.churn.iter().flat_map(|it| &it.rows);
        let churn = churn.flat_map(|row| row.warnings().map(|it| format!("churn: {it}")));
        let signals = signals.chain(capacity).chain(churn);
        let rest = self.rest.iter().flat_map(|it| &it.rows);
        let rest = rest.flat_map(|row| row.warnings().map(|it| format!("rest: {it}")));
        let flood = self.flood.iter().flat_map(|it| &it.rows);
        let flood = flood.flat_map(|row| row.warnings().map(|it| format!("flood: {it}")));
        let loss = self.loss.iter().flat_map(|it| &it.rows);
        let loss = loss.flat_map(|row| row.warnings().map(|it| format!("loss: {it}")));
        let reconnect = self.reconnect.iter().flat_map(|it| &it.rows);
        let reconnect = reconnect.filter_map(|row| Some(format!("reconnect: {}", row.warning()?)));
        let resumes = self.resumes.iter().flat_map(|it| &it.rows);
        let resumes = resumes.flat_map(|row| row.warnings().map(|it| format!("resumes: {it}")));
        let idle = self.idle.iter().flat_map(|it| &it.rows);
        let idle = idle.flat_map(|row| row.warnings().map(|it| format!("idle: {it}")));
        let coming_back = reconnect.chain(resumes);
        let interrupted = self.interrupted.then(|| INTERRUPTED.to_owned()).into_iter();
        let signals = interrupted.chain(signals);
        signals.chain(rest).chain(flood).chain(loss).chain(coming_back).chain(idle).collect()
    }

    /// A table for each scenario.
    pub(crate) fn scenarios(&self) -> Vec<Table> {
        let parts = [
            self.latency.as_ref().map(signals::latency_table),
            self.fanout.as_ref().map(signals::fanout_table),
            self.mesh.as_ref().map(signals::mesh_table),
            self.capacity.as_ref().map(signals::capacity_table),
            self.churn.as_ref().map(signals::churn_table),
            self.rest.as_ref().map(rest_table),
            self.flood.as_ref().map(flood_table),
            self.loss.as_ref().map(loss_table),
            self.reconnect.as_ref().map(returns::reconnect_table),
            self.crash.as_ref().map(returns::crash_table),
            self.resumes.as_ref().map(returns::resumes_table),
            self.idle.as_ref().map(idle_table),
        ];
        parts.into_iter().flatten().collect()
    }

    /// The tables, in Markdown, which is good to read in a terminal, too.
    pub fn tables(&self) -> String {
        let ratios = serde_json::to_value(self).ok().and_then(|report| ratios::table(&report));
        let tables: Vec<_> = ratios.iter().chain(&self.scenarios()).map(Table::markdown).collect();
        let mut text = tables.join("\n");
        let warnings = self.warnings();
        if !warnings.is_empty() {
            text.push_str("\nNot to be trusted without a second look:\n\n");
            for warning in warnings {
                let _ = writeln!(text, "- {}", Printable(warning));
            }
        }
        text
    }

    /// The whole file.
    pub fn markdown(&self, command: &str) -> String {
        FRAME
            .replace("{machine}", &self.machine)
            .replace("{gateway}", &self.gateway)
            .replace("{command}", command)
            .replace("{tables}", self.tables().trim_end())
    }
}

fn rest_table(result: &RestResult) -> Table {
    let mut table = Table::new(&format!(
        "REST: signals to a session of {} over {} HTTPS connections, the gateway on one core",
        result.connections, result.servers
    ));
    table.row([
        "transport of the receivers",
        "requests/s",
        "deliveries/s",
        "gateway CPU µs per request",
        "request p50 µs",
        "request p99 µs",
        "gateway's use of its core",
        "generator's use of the other",
    ]);
    for row in &result.rows {
        table.row([
            row.transport.title(),
            &with_spread(row.requests, 0),
            &with_spread(row.deliveries, 0),
            &with_spread(row.gateway_us_per_request, 0),
            &with_spread(row.p50_us, 0),
            &with_spread(row.p99_us, 0),
            &format!("{:.2}", row.gateway_cores.median),
            &format!("{:.2}", row.generator_cores.median),
        ]);
    }
    table
}

fn flood_table(result: &FloodResult) -> Table {
    let mut table = Table::new(&format!(
        "Flood: {} requests per second without a credential over {} kept-alive connections, or {} \
         over new ones, beside {} signals per second",
        result.requests, result.flood_connections, result.fresh, result.rate
    ));
    table.row([
        "transport: flood",
        "p50 µs",
        "p99 µs",
        "p99 ÷ its control's",
        "generator late by µs (p99)",
        "gateway CPU, cores",
        "requests answered/s",
    ]);
    for row in &result.rows {
        table.row([
            &format!("{}: {}", row.transport.title(), row.attack.title()),
            &with_spread(row.p50_us, 0),
            &with_spread(row.p99_us, 0),
            &row.p99_to_control.map(|it| with_spread(it, 2)).unwrap_or_default(),
            &with_spread(row.lag_p99_us, 0),
            &format!("{:.2}", row.gateway_cores.median),
            &format!("{:.0}", row.answered.median),
        ]);
    }
    table
}

fn loss_table(result: &LossResult) -> Table {
    let LossResult { senders, rate, network, late_ms, .. } = result;
    let mut table = Table::new(&format!(
        "Loss: {senders} senders of {rate} signals per second each to one receiver behind a link \
         with {network}"
    ));
    table.row([
        "transport",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "p99 ÷ WebSocket's",
        &format!("later than {late_ms:.0} ms, %"),
        "lost packets, %",
        "late ÷ lost",
        "senders held up by a lost packet",
        "packets to the receiver: all / lost / dropped by the queue",
    ]);
    for row in &result.rows {
        let LinkCounts { lost, overflowed, .. } = row.to_receiver;
        table.row([
            row.transport.title(),
            &with_spread(row.p50_ms, 1),
            &with_spread(row.p99_ms, 1),
            &with_spread(row.p999_ms, 0),
            &row.p99_to_wss.map(|it| with_spread(it, 2)).unwrap_or_default(),
            &with_spread(row.late_percent, 1),
            &with_spread(row.packet_loss_percent, 2),
            &with_spread(row.late_to_loss, 2),
            &with_spread(row.senders_per_loss, 2),
            &format!("{} / {lost} / {overflowed}", row.to_receiver.offered()),
        ]);
    }
    table
}

fn idle_table(result: &IdleResult) -> Table {
    let mut table = Table::new(&format!("Memory: {} idle connections", result.connections));
    table.row([
        "transport",
        "KiB per connection",
        "the whole gateway, MiB",
        "beside it: slabs of the kernel, KiB per connection",
        "its socket buffers, KiB per connection",
    ]);
    for row in &result.rows {
        table.row([
            row.transport.title(),
            &with_spread(row.kib_per_connection, 1),
            &format!("{:.1}", row.gateway_kib.median / 1024.0),
            &with_spread(row.kernel_kib_per_connection, 1),
            &with_spread(row.buffers_kib_per_connection, 1),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_no_gaps_left() {
        let report = Report::new("signalbox 0".into());
        let text = report.markdown("run it");
        assert!(text.contains("signalbox 0") && text.contains("run it"));
        assert!(!text.contains('{'), "{text}");
    }
}
