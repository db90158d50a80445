//! `docs/metrics.md`, the alerts, their runbook and the dashboard name the metrics that the gateway has.

use std::collections::BTreeSet;

use serde_json::Value;
use signalbox_gateway::{metric_names, metrics_reference};

use super::root;

/// Files whose names of metrics are checked.
const ALERTS: &str = "deploy/prometheus/alerts.yml";
const ALERT_TESTS: &str = "deploy/prometheus/alerts.test.yml";
const DASHBOARD: &str = "deploy/grafana/signalbox.json";
const RUNBOOK: &str = "docs/runbook.md";

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// With `UPDATE_DOCS=1` the page is written.
#[test]
fn the_reference_is_that_of_the_code() {
    let path = "docs/metrics.md";
    let page = text(path);
    let (head, tables) = page.split_at(page.find("\n## Gateway\n").unwrap() + 1);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(path), format!("{head}{}", metrics_reference())).unwrap();
        return;
    }
    let update = "write the page with UPDATE_DOCS=1 cargo test -p signalbox-tests --test documents";
    assert!(tables == metrics_reference(), "{update}");
}

/// Words that begin like a metric.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| {
        word.len() > "signalbox_".len()
            && (word.starts_with("signalbox_") || word.starts_with("process_"))
    };
    // `signalbox_` crates and log targets are no metrics.
    let is_target = |word: &&str| ["signalbox_gateway", "signalbox_cluster"].contains(word);
    words.filter(is_metric).filter(|word| !is_target(word)).map(str::to_owned).collect()
}

/// The metric without the suffix of a histogram's sample.
fn base(name: &str) -> &str {
    let histogram = ["_bucket", "_count", "_sum"];
    histogram.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

#[test]
fn alerts_runbook_and_dashboard_use_metrics_that_exist() {
    let declared: BTreeSet<_> = metric_names().into_iter().collect();
    for path in
        [ALERTS, ALERT_TESTS, DASHBOARD, RUNBOOK, "docs/operations.md", "docs/clustering.md"]
    {
        for name in metrics_in(&text(path)) {
            let exists = declared.contains(&name) || declared.contains(base(&name));
            assert!(exists, "{path}: there is no metric {name}");
        }
    }
    assert!(metrics_in(&text(DASHBOARD)).len() > 40, "the dashboard shows most metrics");
}

fn alerts() -> BTreeSet<String> {
    let names = text(ALERTS);
    let names = names.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_section_of_the_runbook_and_a_test() {
    let alerts = alerts();
    assert!(alerts.len() > 20);
    let runbook = text(RUNBOOK);
    let sections: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(sections, alerts);
    let (rules, tests) = (text(ALERTS), text(ALERT_TESTS));
    for alert in alerts {
        let link = format!("runbook: docs/runbook.md#{}", alert.to_lowercase());
        assert_eq!(rules.matches(&format!("{link}\n")).count(), 1, "{alert}");
        assert!(tests.contains(&format!("{link}\n")), "{alert} never fires in a test");
        let silent = format!("alertname: {alert}\n        exp_alerts: []");
        assert!(tests.contains(&silent), "{alert} is never silent in a test");
    }
}

#[test]
fn the_dashboard_is_complete() {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{title} overlaps another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            assert!(!metrics_in(query).is_empty(), "{title}: {query}");
            assert!(query.contains("{instance=~\"$instance\""), "{title}: {query}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    assert!(panels.len() > 30);
}
