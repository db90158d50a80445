use signalbox_netem::{Impairment, LinkCounts};

use super::*;
use crate::{
    Transport,
    curve::{Point, Slice},
    load::{Measured, tests::measured},
    scenario::{IdleResult, IdleRow, SignalsResult, SignalsRow},
    stats::Spread,
    system::System,
};

/// A round whose signals took so long.
fn round(us: f64) -> Measured {
    let point = |quantile| Point { quantile, us: us * (1.0 + quantile) };
    let slice =
        |at_s| Slice { at_s, deliveries: 9, p50_us: us, p99_us: 2.0 * us, max_us: 3.0 * us };
    Measured {
        curve: [0.0, 0.5, 0.9, 1.0].map(point).to_vec(),
        timeline: [0.0, 0.5].map(slice).to_vec(),
        warnings: vec!["<others> were busy".into()],
        ..measured(us)
    }
}

fn signals_row(transport: Transport, rounds: Vec<Measured>) -> SignalsRow {
    let spread = |factor: f64| Spread::of(rounds.iter().map(|it| it.latency_us.p99 * factor));
    SignalsRow {
        system: System::Signalbox(transport),
        connections: 2,
        rate: 200.0,
        variant: String::new(),
        gateway_us_per_delivery: Some(spread(0.1)),
        p50_us: spread(0.5),
        p90_us: spread(0.9),
        p99_us: spread(1.0),
        p999_us: spread(1.0),
        max_us: spread(1.0),
        quiet_p99_us: None,
        lag_p50_us: spread(0.0),
        generator_cores: spread(0.0),
        rounds,
    }
}

fn report() -> Report {
    let rows = vec![
        signals_row(Transport::Quic, vec![round(100.0), round(110.0)]),
        signals_row(Transport::Wss, vec![round(200.0), round(220.0)]),
        // Measured, and nothing came of it.
        signals_row(Transport::WssJson, Vec::new()),
    ];
    let idle = IdleRow {
        transport: Transport::Quic,
        kib_per_connection: Spread::of([f64::NAN]),
        gateway_kib: Spread::of([0.0]),
        kernel_kib_per_connection: Spread::of([0.0]),
        buffers_kib_per_connection: Spread::of([0.0]),
        rounds: Vec::new(),
    };
    let mut report = Report::new("signalbox <0> at https://example.com".into());
    report.latency = Some(SignalsResult {
        scenario: "latency",
        load: "200 signals per second".into(),
        hot: None,
        seconds: 1.0,
        network: Impairment::default(),
        rows,
        failures: Vec::new(),
    });
    report.idle = Some(IdleResult { scenario: "idle", connections: 1, rows: vec![idle] });
    report.loss = Some(loss());
    report
}

fn loss() -> crate::scenario::LossResult {
    let zero = Spread::of([0.0]);
    let row = crate::scenario::LossRow {
        transport: Transport::Quic,
        p50_ms: zero,
        p99_ms: zero,
        p999_ms: zero,
        p99_to_wss: None,
        late_percent: zero,
        packet_loss_percent: zero,
        late_to_loss: zero,
        senders_per_loss: zero,
        to_receiver: LinkCounts::default(),
        rounds: Vec::new(),
    };
    crate::scenario::LossResult {
        scenario: "loss",
        senders: 1,
        rate: 1.0,
        seconds: 1.0,
        network: Impairment::default(),
        late_ms: 1.0,
        rows: vec![row],
    }
}

/// All that comes after `begin`, up to the next quotation mark.
fn values<'a>(page: &'a str, begin: &str) -> Vec<&'a str> {
    page.split(begin).skip(1).filter_map(|it| it.split('"').next()).collect()
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = report().page();
    let loads =
        ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "xlink:", "srcset"];
    for it in loads {
        assert!(!page.contains(it), "{it}");
    }
    // Only to itself, and to what is there.
    let ids = values(&page, " id=\"");
    let targets = values(&page, " href=\"");
    assert!(targets.len() >= 4, "{targets:?}");
    for target in targets {
        let id = target.strip_prefix('#').unwrap_or_else(|| panic!("a link to {target}"));
        assert_eq!(ids.iter().filter(|it| **it == id).count(), 1, "{id}");
    }
}

#[test]
fn a_page_is_whole_whatever_was_measured() {
    for page in [report().page(), Report::new("nothing".into()).page()] {
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for element in
            ["section", "figure", "table", "svg", "details", "div", "ul", "header", "main"]
        {
            let open = page.matches(&format!("<{element}")).count();
            assert_eq!(open, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        // In a table it may be said that a figure is none; a drawing would break.
        let drawings = page.split("<svg").skip(1).filter_map(|it| it.split("</svg>").next());
        for drawing in drawings {
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
            assert!(drawing.contains("<title>") && drawing.contains("<desc>"), "{drawing}");
        }
    }
}

#[test]
fn a_page_shows_what_was_measured() {
    let report = report();
    let page = report.page();
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("signalbox &lt;0&gt; at https://example.com") && !page.contains("<0>"));
    assert!(page.contains("&lt;others&gt; were busy"));
    assert!(page.contains(&report.run.started));
    for title in ["Latency by percentile", "Processor time per delivery", "Over time: QUIC"] {
        assert!(page.contains(&format!("<title>{title}")), "{title}");
    }
    // Each round over WebSocket took longer than each over QUIC.
    assert!(
        page.contains("<th scope=\"row\">p99 (lower is better)</th><td><strong>2</strong></td>"),
        "{page}"
    );
    assert!(page.contains("nothing was measured"), "idle has no finite figure");
}
