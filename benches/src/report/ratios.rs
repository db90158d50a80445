//! Signalbox beside the best of the other systems, figure by figure: what a reader takes away.

use clap::ValueEnum as _;
use serde_json::Value;

use super::Table;
use crate::Transport;

/// A figure that systems are compared by.
struct Figure {
    scenario: &'static str,
    field: &'static str,
    words: &'static str,
    higher_is_better: bool,
}

const FIGURES: [Figure; 7] = [
    lower("latency", "p50_us", "a lone signal's latency, p50"),
    lower("fanout", "gateway_us_per_delivery", "fan-out: CPU per delivery"),
    lower("mesh", "gateway_us_per_delivery", "mesh: CPU per delivery"),
    lower("mesh", "p50_us", "mesh: p50"),
    lower("mesh", "p99_us", "mesh: p99"),
    Figure {
        scenario: "capacity",
        field: "deliveries_per_second",
        words: "highest rate",
        higher_is_better: true,
    },
    lower("churn", "gateway_us_per_connect", "CPU per connect"),
];

const fn lower(scenario: &'static str, field: &'static str, words: &'static str) -> Figure {
    Figure { scenario, field, words, higher_is_better: false }
}

/// The transports that stand for the others, if they were measured.
const MAIN: [&str; 2] = ["quic", "wss"];

/// A row of a scenario: who, under which load, and its median.
struct Row<'a> {
    who: &'a str,
    load: String,
    median: f64,
}

/// A line for each figure and load that another system has, too, with a column for each way that
/// Signalbox was measured by; nothing if there is no line.
pub(super) fn table(report: &Value) -> Option<Table> {
    let mut table = Table::new("Beside the best of the other systems, as ratios of medians");
    let all: Vec<_> = FIGURES.iter().map(|figure| (figure, rows(report, figure))).collect();
    let mut own: Vec<&str> = Vec::new();
    for row in all.iter().flat_map(|(_, rows)| rows) {
        if is_own(row.who) && !own.contains(&row.who) {
            own.push(row.who);
        }
    }
    // Variants of them have other purposes than to be set beside other systems.
    if own.iter().any(|who| MAIN.contains(who)) {
        own.retain(|who| MAIN.contains(who) || who.contains("://"));
    }
    let column = |who: &&str| format!("{} ÷ best other", title(who));
    let columns = own.iter().map(column).chain(["best other".into()]);
    table.cells(["figure".into()].into_iter().chain(columns));
    let mut found = false;
    for (figure, rows) in &all {
        let mut loads: Vec<&String> = Vec::new();
        for row in rows {
            if !loads.contains(&&row.load) {
                loads.push(&row.load);
            }
        }
        for load in loads {
            let same = || rows.iter().filter(|row| row.load == *load);
            let others = same().filter(|row| is_other(row.who));
            let better = |a: &&Row<'_>, b: &&Row<'_>| {
                let order = a.median.total_cmp(&b.median);
                if figure.higher_is_better { order.reverse() } else { order }
            };
            let Some(best) = others.min_by(better) else { continue };
            let ratio = |who: &&str| {
                let own = same().find(|row| row.who == *who);
                own.map(|own| format!("{:.2}", own.median / best.median)).unwrap_or_default()
            };
            if best.median <= 0.0 || !same().any(|row| is_own(row.who)) {
                continue;
            }
            let wish = if figure.higher_is_better { "higher" } else { "lower" };
            let name = format!("{}{load} ({wish} is better)", figure.words);
            let ratios = own.iter().map(ratio).chain([best.who.to_owned()]);
            table.cells([name].into_iter().chain(ratios));
            found = true;
        }
    }
    found.then_some(table)
}

fn rows<'a>(report: &'a Value, figure: &Figure) -> Vec<Row<'a>> {
    let rows = report.get(figure.scenario).and_then(|it| it.get("rows")?.as_array());
    let row = |row: &'a Value| {
        let number = |name: &str| row.get(name)?.as_f64();
        let load = match figure.scenario {
            "fanout" => format!(", to {}", number("connections")?),
            "mesh" => format!(", {:.0}/s", number("connections")? * number("rate")?),
            "capacity" => format!(", to {}", number("receivers")?),
            _ => String::new(),
        };
        let median = row.get(figure.field)?.get("median")?.as_f64()?;
        Some(Row { who: row.get("transport")?.as_str()?, load, median })
    };
    rows.into_iter().flatten().filter_map(row).collect()
}

/// Signalbox, started here by one of our transports or running elsewhere.
fn is_own(who: &str) -> bool {
    Transport::from_str(who, false).is_ok() || who.contains("://")
}

/// Another system, not one of the floors.
fn is_other(who: &str) -> bool {
    !is_own(who) && !who.starts_with("floor")
}

/// As people call it.
fn title(who: &str) -> &str {
    Transport::from_str(who, false).map_or(who, |transport| transport.title())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_load_is_compared_with_the_best_of_the_others_under_it() {
        let row = |who: &str, connections: u32, cpu: f64| {
            let cpu = json!({ "median": cpu, "min": cpu, "max": cpu });
            json!({ "transport": who, "connections": connections, "rate": 1.0,
                "gateway_us_per_delivery": cpu })
        };
        let capacity = |who: &str, rate: f64| {
            json!({ "transport": who, "receivers": 100,
                "deliveries_per_second": { "median": rate } })
        };
        let report = json!({
            "fanout": { "rows": [
                row("quic", 100, 6.0), row("wss", 100, 3.0), row("A 1.0", 100, 4.0),
                row("B", 100, 8.0), row("floor: x", 100, 1.0), row("wss", 10, 5.0),
            ] },
            "capacity": { "rows": [
                capacity("wss", 300.0), capacity("A 1.0", 100.0), capacity("B", 200.0),
            ] },
        });
        let text = table(&report).unwrap().markdown();
        let head = "| QUIC, stream per sender ÷ best other | WebSocket over TLS, postcard ÷ best other | best other |";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("| 1.50 | 0.75 | A 1.0 |"), "{text}");
        assert!(text.contains("|  | 1.50 | B |"), "{text}");
        assert!(!text.contains("to 10 "), "nobody else was measured there: {text}");
        assert!(table(&json!({})).is_none());
    }

    #[test]
    fn a_gateway_elsewhere_has_a_column_and_what_was_not_measured_has_no_line() {
        let row = |who: &str, p50: f64| json!({ "transport": who, "p50_us": { "median": p50 } });
        let rows = |rows: Vec<Value>| table(&json!({ "latency": { "rows": rows } }));
        let target = row("wss://gateway.example:4433", 50.0);
        let text = rows(vec![target.clone(), row("A 1.0", 100.0)]).unwrap().markdown();
        assert!(text.contains("| figure | wss://gateway.example:4433 ÷ best other |"), "{text}");
        assert!(text.contains("| 0.50 | A 1.0 |"), "{text}");
        assert!(rows(vec![row("A 1.0", 100.0), row("floor: x", 1.0)]).is_none());
        assert!(rows(vec![target]).is_none());
    }
}
