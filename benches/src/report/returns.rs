//! The tables of clients that come back.

use super::{Table, with_spread};
use crate::scenario::{CrashResult, ReconnectResult, ResumesResult};

pub(super) fn reconnect_table(result: &ReconnectResult) -> Table {
    let mut table = Table::new(&format!(
        "Reconnect: a network that changes under signals each way, one every {} ms",
        result.interval_ms
    ));
    table.row([
        "round trip: way back",
        "first signal after ms",
        "at most ms",
        "in round trips",
        "longest silence ms",
        "noticed after ms",
        "a signal there and back, before, ms",
    ]);
    for row in &result.rows {
        table.row([
            &format!("{} ms: {}", row.rtt_ms, row.way.title()),
            &with_spread(row.back_ms, 1),
            &format!("{:.1}", row.back_ms.max),
            &row.back_round_trips.map(|it| format!("{it:.2}")).unwrap_or_default(),
            &format!("{:.0}", row.silence_ms.max),
            &row.noticed_ms.map(|it| with_spread(it, 0)).unwrap_or_default(),
            &with_spread(row.round_trip_ms, 1),
        ]);
    }
    table
}

pub(super) fn crash_table(result: &CrashResult) -> Table {
    let mut table = Table::new(&format!(
        "Crash: a gateway under {} clients is killed, or told to go, and started anew",
        result.clients
    ));
    table.row([
        "clients",
        "next gateway ready ms",
        "noticed p50 ms",
        "back p50 ms",
        "back p99 ms",
        "back max ms",
        "from noticing to back, max ms",
    ]);
    for row in &result.rows {
        table.row([
            &row.title(),
            &with_spread(row.ready_ms, 0),
            &with_spread(row.noticed_p50_ms, 0),
            &with_spread(row.p50_ms, 0),
            &with_spread(row.p99_ms, 0),
            &with_spread(row.max_ms, 0),
            &with_spread(row.return_max_ms, 0),
        ]);
    }
    table
}

pub(super) fn resumes_table(result: &ResumesResult) -> Table {
    let mut table = Table::new(&format!(
        "Resumes: {} clients come back within {} seconds, beside {} signals per second of others",
        result.connections, result.seconds, result.rate
    ));
    table.row([
        "transport",
        "p99 before µs",
        "p99 meanwhile µs",
        "meanwhile ÷ before",
        "that ÷ its control's",
        "generator late by µs (p99)",
        "gateway CPU, cores",
        "their process's use of its thread",
        "resume p50 ms",
        "resume p99 ms",
        "all back s",
        "attempts repeated",
    ]);
    for row in &result.rows {
        table.row([
            &row.title(),
            &with_spread(row.p99_before_us, 0),
            &with_spread(row.p99_during_us, 0),
            &with_spread(row.ratio, 1),
            &row.ratio_to_control.map(|it| with_spread(it, 2)).unwrap_or_default(),
            &with_spread(row.lag_p99_us, 0),
            &format!("{:.2}", row.gateway_cores.median),
            &format!("{:.2}", row.crowd_cores.median),
            &with_spread(row.resume_p50_us.scaled(1e-3), 1),
            &with_spread(row.resume_p99_us.scaled(1e-3), 1),
            &with_spread(row.all_back_s, 1),
            &format!("{:.0}", row.retries.median),
        ]);
    }
    table
}
