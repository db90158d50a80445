use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn metrics() -> Value {
    let metric = |better: Option<&str>| json!({ "unit": "", "better": better });
    json!({
        "p50_us": metric(Some("lower")), "p99_us": metric(Some("lower")),
        "requests": metric(Some("higher")), "gateway_cores": metric(None),
    })
}

/// A report with one row of latency.
fn report(p99: [f64; 3], requests: [f64; 3], rounds: usize) -> Value {
    let spread = |it: [f64; 3]| json!({ "min": it[0], "median": it[1], "max": it[2] });
    json!({
        "gateway": "signalbox 1", "machine": "this one", "debug_build": false,
        "latency": { "rate": 200.0, "metrics": metrics(), "rows": [{
            "transport": "quic",
            "p99_us": spread(p99),
            "requests": spread(requests),
            "gateway_cores": spread(requests),
            "rounds": vec![json!({ "warnings": [] }); rounds],
        }]},
    })
}

/// `report`, with other values at these places.
fn but(mut report: Value, changes: &[(&str, Value)]) -> Value {
    for (place, value) in changes {
        *report.pointer_mut(place).unwrap() = value.clone();
    }
    report
}

fn compare(a: &str, b: &str) -> anyhow::Result<RunComparison> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    RunComparison::of(&file("a.json", a), &file("b.json", b))
}

fn compared(a: &Value, b: &Value) -> RunComparison {
    compare(&a.to_string(), &b.to_string()).unwrap()
}

fn verdicts(comparison: &RunComparison) -> Vec<(&str, &str)> {
    comparison.figures.iter().map(|it| (it.figure.as_str(), it.verdict)).collect()
}

#[test]
fn the_direction_of_improvement_is_in_the_json() {
    let a = report([90.0, 100.0, 110.0], [90.0, 100.0, 110.0], 3);
    let less = report([40.0, 50.0, 60.0], [40.0, 50.0, 60.0], 3);
    let comparison = compared(&a, &less);
    let expected =
        [("gateway_cores", "lower"), ("p99_us", "lower: better"), ("requests", "lower: worse")];
    assert_eq!(verdicts(&comparison), expected);
    assert_eq!(comparison.figures[0].ratio, Some(0.5));
    let expected =
        [("gateway_cores", "higher"), ("p99_us", "higher: worse"), ("requests", "higher: better")];
    assert_eq!(verdicts(&compared(&less, &a)), expected);
}

#[test]
fn rounds_that_overlap_are_noise_and_single_ones_say_nothing() {
    let a = report([90.0, 100.0, 200.0], [1.0, 1.0, 1.0], 3);
    let b = report([190.0, 300.0, 400.0], [1.0, 1.0, 1.0], 3);
    let comparison = compared(&a, &b);
    assert!(comparison.figures.iter().all(|it| it.verdict == "within the noise"));
    assert!((comparison.expected_by_chance - 0.3).abs() < 1e-9);
    let text = comparison.text();
    assert!(
        text.contains("| quic: p99_us | 100 ±55 % | 300 ±35 % | 3.00 | within the noise |"),
        "{text}"
    );
    assert!(text.contains("about 0.3 would differ by chance"), "{text}");
    let once = report([300.0; 3], [1.0; 3], 1);
    let comparison = compared(&a, &once);
    assert!(comparison.figures.iter().all(|it| it.difference == Separation::NotKnown));
    assert!(comparison.expected_by_chance.abs() < 1e-9);
}

#[test]
fn different_parameters_are_not_compared() {
    let a = report([1.0; 3], [1.0; 3], 3);
    let mut b = but(a.clone(), &[("/latency/rate", json!(500.0))]);
    b["idle"] = json!({ "metrics": {}, "rows": [] });
    let error = compare(&a.to_string(), &b.to_string()).unwrap_err().to_string();
    assert!(error.contains("no figure in common"), "{error}");
    assert!(
        error.contains("latency: not with the same parameters (rate: 200.0 and 500.0)"),
        "{error}"
    );
    assert!(error.contains("idle: only in B"), "{error}");

    let mut more = a.clone();
    let mut row = a["latency"]["rows"][0].clone();
    row["transport"] = json!("wss");
    more["latency"]["rows"].as_array_mut().unwrap().push(row);
    more["latency"]["rows"][0]["p50_us"] = more["latency"]["rows"][0]["p99_us"].clone();
    let comparison = compared(&a, &more);
    let expected = ["latency: wss: only in B", "latency: quic: p50_us: only in B"];
    assert_eq!(comparison.not_compared, expected);
    assert_eq!(comparison.figures.len(), 3);
}

#[test]
fn runs_that_are_hard_to_compare_are_reported() {
    let a = report([1.0; 3], [1.0; 3], 3);
    let b = but(
        a.clone(),
        &[
            ("/machine", json!("another one")),
            ("/debug_build", json!(true)),
            ("/latency/rows/0/rounds/1/warnings", json!(["others were busy"])),
        ],
    );
    let warnings = compared(&a, &b).warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for part in ["B is a debug build", "measurements with warnings: 1", "not the same machine"] {
        assert!(warnings.iter().any(|it| it.contains(part)), "no {part} in {warnings:?}");
    }
    let warned = |comparison: RunComparison| comparison.figures.iter().all(|it| it.warned);
    assert!(warned(compared(&a, &b)) && !warned(compared(&a, &a)));
    assert_eq!(compared(&a, &a).warnings, [""; 0]);
}

#[test]
fn a_failure_is_listed_and_the_rest_is_compared() {
    let a = report([1.0; 3], [1.0; 3], 3);
    let mut b = a.clone();
    b["latency"]["failures"] = json!(["nats, round 1: lost a signal"]);
    let comparison = compared(&a, &b);
    assert_eq!(comparison.figures.len(), 3);
    assert_eq!(comparison.not_compared, ["latency: failed in B: nats, round 1: lost a signal"]);
}

#[test]
fn loads_are_compared_with_the_same_load_only() {
    let spread = |us: f64| json!({ "min": us, "median": us, "max": us });
    let rounds = vec![json!({ "warnings": [] }); 2];
    let mesh = |rows: &[(f64, f64)]| {
        let row = |(rate, us): &(f64, f64)| {
            json!({ "transport": "quic", "connections": 50, "rate": rate, "p99_us": spread(*us),
                "rounds": rounds })
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        json!({ "gateway": "g", "machine": "m", "mesh": { "metrics": metrics(), "rows": rows } })
    };
    let comparison = compared(
        &mesh(&[(980.0, 100.0), (7840.0, 900.0)]),
        &mesh(&[(7840.0, 900.0), (980.0, 50.0)]),
    );
    let ratios: Vec<_> = comparison.figures.iter().map(|it| it.ratio).collect();
    assert_eq!(ratios, [Some(0.5), Some(1.0)]);
}

#[test]
fn negative_figures_have_no_ratio_and_single_rounds_no_chance() {
    let (a, b) = (report([2.0; 3], [-2.0; 3], 1), report([2.0; 3], [1.0; 3], 1));
    let comparison = compared(&a, &b);
    let ratio = |figure: &str| {
        comparison.figures.iter().find(|it| it.figure == figure).and_then(|it| it.ratio)
    };
    assert_eq!((ratio("requests"), ratio("p99_us")), (None, Some(1.0)));
    assert!(!comparison.text().contains("by chance"), "{}", comparison.text());
}

#[test]
fn other_files_are_errors() {
    let good = report([1.0; 3], [1.0; 3], 3).to_string();
    for (bad, about) in [
        ("## Latency\n", "is not JSON"),
        ("", "is not JSON"),
        ("[1, 2]", "is not a report"),
        ("{\"gateway\": \"signalbox 1\"}", "is not a report"),
    ] {
        for (a, b) in [(bad, good.as_str()), (good.as_str(), bad)] {
            let error = compare(a, b).unwrap_err().to_string();
            assert!(error.contains(about) && error.contains(".json"), "{error}");
        }
    }
    let nowhere = Path::new("/nowhere/a.json");
    let error = RunComparison::of(nowhere, nowhere).unwrap_err().to_string();
    assert!(error.contains("cannot read /nowhere/a.json"), "{error}");
}
