use super::*;
use crate::{Better, Figure, NamedRounds, Palette, QuantilePoint, Run, Spread, TimeSlice};

fn points(us: f64) -> Vec<QuantilePoint> {
    let point = |quantile| QuantilePoint { quantile, us: us * (1.0 + quantile) };
    [0.0, 0.5, 0.9, 1.0].map(point).to_vec()
}

fn slices(us: f64) -> Vec<TimeSlice> {
    let slice =
        |at_s| TimeSlice { at_s, deliveries: 9, p50_us: us, p99_us: 2.0 * us, max_us: 3.0 * us };
    [0.0, 0.5].map(slice).to_vec()
}

fn bars(title: &str, palette: &Palette, named: &[(String, Figure)]) -> Chart {
    let bars = named.iter().map(|(name, it)| (name.clone(), it.spread)).collect();
    Chart::groups(title, "µs", palette, vec![(String::new(), bars)], None)
}

fn latency() -> Section {
    let (quic, tcp) = ("QUIC <b>".to_owned(), "WebSocket".to_owned());
    let palette = Palette::of([quic.clone(), tcp.clone()]);
    let (curve, timeline) = (points(100.0), slices(100.0));
    let curves = [NamedRounds { name: quic.clone(), rounds: vec![curve.as_slice()] }];
    let timelines = [NamedRounds { name: quic.clone(), rounds: vec![timeline.as_slice()] }];
    let figure = |us| Figure { spread: Spread::of([us, us * 1.1]), rounds: 2 };
    let named = [(quic.clone(), figure(100.0)), (tcp, figure(200.0))];
    let mut charts: Vec<_> =
        Chart::percentiles("Latency by percentile", &palette, &curves).into_iter().collect();
    charts.push(bars("Processor time per delivery", &palette, &named));
    charts.extend(Chart::timelines("Over time", &timelines));
    let mut table = Table::new("Latency: one <sender>", ["row", "p99 & µs"]);
    table.row([quic, "100".into()]);
    Section {
        name: "latency",
        title: "Latency",
        reading: "**Due** is `when`.",
        table,
        charts,
        relative: RelativeFigure::of("p99", Better::Lower, &named).into_iter().collect(),
        headlines: Vec::new(),
        warnings: vec!["<others> were busy".into()],
        json: serde_json::Value::Null,
    }
}

/// Measured, and without a finite figure.
fn memory() -> Section {
    let spread = Spread::of([f64::NAN]);
    let named = [("QUIC".to_owned(), Figure { spread, rounds: 1 })];
    let palette = Palette::of(["QUIC".to_owned()]);
    Section {
        name: "idle",
        title: "Memory",
        reading: "",
        table: Table::new("Memory: none", ["row"]),
        charts: vec![bars("Memory", &palette, &named)],
        relative: Vec::new(),
        headlines: Vec::new(),
        warnings: Vec::new(),
        json: serde_json::Value::Null,
    }
}

fn report(sections: Vec<Section>) -> Report {
    let gateway = "signalbox <0> at https://example.com".into();
    let started = "2001-09-09T01:46:40Z".into();
    Report {
        run: Run { gateway, started, ..Run::default() },
        reading: "- All *figures*.",
        sections,
    }
}

/// All that comes after `begin`, up to the next quotation mark.
fn values<'a>(page: &'a str, begin: &str) -> Vec<&'a str> {
    page.split(begin).skip(1).filter_map(|it| it.split('"').next()).collect()
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = report(vec![latency(), memory()]).page();
    let loads =
        ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "xlink:", "srcset"];
    for it in loads {
        assert!(!page.contains(it), "{it}");
    }
    // Links lead to parts of the page that are there.
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
    for page in [report(vec![latency(), memory()]).page(), report(Vec::new()).page()] {
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
        for element in
            ["section", "figure", "table", "svg", "details", "div", "ul", "header", "main"]
        {
            let open = page.matches(&format!("<{element}")).count();
            assert_eq!(open, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        // A table may say that a figure is not a number; a drawing would break.
        let drawings = page.split("<svg").skip(1).filter_map(|it| it.split("</svg>").next());
        for drawing in drawings {
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
            assert!(drawing.contains("<title>") && drawing.contains("<desc>"), "{drawing}");
        }
    }
}

#[test]
fn a_page_shows_what_was_measured() {
    let report = report(vec![latency(), memory()]);
    let page = report.page();
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("signalbox &lt;0&gt; at https://example.com") && !page.contains("<0>"));
    assert!(page.contains("&lt;others&gt; were busy"));
    assert!(page.contains(&report.run.started));
    assert!(page.contains("<strong>Due</strong> is <code>when</code>."));
    assert!(
        page.contains("<th scope=\"col\">row</th><th scope=\"col\">p99 &amp; µs</th>"),
        "{page}"
    );
    assert!(page.contains("<th scope=\"row\">QUIC &lt;b&gt;</th><td>100</td>"), "{page}");
    assert!(page.contains("aria-label=\"Latency: one &lt;sender&gt;\""), "{page}");
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
