//! Tables of what several systems can be measured in: signals at a rate, the highest rate, and
//! coming and going.

use signalbox_netem::Impairment;

use super::{Table, with_spread};
use crate::{
    scenario::{CapacityResult, ChurnResult, SignalsResult},
    stats::Spread,
};

pub(super) fn latency_table(result: &SignalsResult) -> Table {
    let mut table = Table::new(&format!(
        "Latency: one sender, one receiver, {}, one at a time{}",
        result.load,
        over(result.network)
    ));
    table.row([
        "transport",
        "p50 µs",
        "p90 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs",
        "gateway CPU µs per signal",
        "generator late by µs (p50)",
    ]);
    for row in &result.rows {
        table.row([
            &row.title(),
            &with_spread(row.p50_us, 0),
            &with_spread(row.p90_us, 0),
            &with_spread(row.p99_us, 0),
            &with_spread(row.p999_us, 0),
            &with_spread(row.max_us, 0),
            &known(row.gateway_us_per_delivery, 0),
            &with_spread(row.lag_p50_us, 0),
        ]);
    }
    table
}

/// Nothing over the plain loopback.
fn over(network: Impairment) -> String {
    let words = network.to_string();
    if words.is_empty() { words } else { format!(", over a network with {words}") }
}

/// Nothing of a system that runs elsewhere.
fn known(spread: Option<Spread>, digits: usize) -> String {
    spread.map(|it| with_spread(it, digits)).unwrap_or_default()
}

pub(super) fn fanout_table(result: &SignalsResult) -> Table {
    many_table("Fan-out: one sender", result)
}

pub(super) fn mesh_table(result: &SignalsResult) -> Table {
    many_table("Mesh: all talk to all,", result)
}

fn many_table(title: &str, result: &SignalsResult) -> Table {
    let mut table = Table::new(&format!("{title} {}{}", result.load, over(result.network)));
    let head = ["transport", "p50 µs", "p99 µs", "gateway CPU µs per delivery"];
    let generator = "generator's use of its thread";
    if result.hot.is_some() {
        table.row([head[0], head[1], head[2], "p99 µs of the quiet", head[3], generator]);
    } else {
        table.row([head[0], head[1], head[2], head[3], generator]);
    }
    for row in &result.rows {
        let (title, p50, p99) =
            (row.title(), with_spread(row.p50_us, 0), with_spread(row.p99_us, 0));
        let cpu = known(row.gateway_us_per_delivery, 2);
        let generator = format!("{:.0} %", row.generator_cores.median * 100.0);
        if result.hot.is_some() {
            table.row([&title, &p50, &p99, &known(row.quiet_p99_us, 0), &cpu, &generator]);
        } else {
            table.row([&title, &p50, &p99, &cpu, &generator]);
        }
    }
    table
}

pub(super) fn capacity_table(result: &CapacityResult) -> Table {
    let mut table = Table::new(&format!(
        "Capacity: highest rate from one sender to many with p99 under {} ms",
        result.bound_ms
    ));
    table.row([
        "transport",
        "receivers",
        "deliveries/s",
        "gateway CPU µs per delivery",
        "gateway's use of processors",
        "generator's use of its thread",
    ]);
    for row in &result.rows {
        table.row([
            &row.system.title(),
            &row.receivers.to_string(),
            &with_spread(row.deliveries_per_second, 0),
            &known(row.gateway_us_per_delivery, 2),
            &known(row.gateway_cores, 2),
            &format!("{:.0} %", row.generator_cores.median * 100.0),
        ]);
    }
    table
}

pub(super) fn churn_table(result: &ChurnResult) -> Table {
    let mut table = Table::new(&format!(
        "Churn: {} clients at a time connect with a full handshake, join, and leave",
        result.clients
    ));
    table.row([
        "transport",
        "connects/s",
        "from dialling to being in, p50 µs",
        "p99 µs",
        "gateway CPU µs per connect",
        "gateway's use of processors",
        "generator's use of its thread",
    ]);
    for row in &result.rows {
        table.row([
            &row.system.title(),
            &with_spread(row.connects_per_second, 0),
            &with_spread(row.p50_us, 0),
            &with_spread(row.p99_us, 0),
            &known(row.gateway_us_per_connect, 0),
            &known(row.gateway_cores, 2),
            &format!("{:.0} %", row.generator_cores.median * 100.0),
        ]);
    }
    table
}
