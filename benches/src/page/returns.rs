//! The pictures of clients that come back.

use super::{
    pictures::{Part, Picture, Styles, figure, grouped},
    time::{Rounds, percentiles, timelines},
    verdict::{Named, Verdict},
};
use crate::{
    chart::{Axis, Bar, Group, Lines, Scale, Series, number},
    difference::Better,
    report::Table,
    scenario::{CrashResult, CrashRow, ReconnectResult, ReconnectRow, ResumesResult},
    stats::Spread,
};

/// Points of a line of thousands of clients.
const POINTS: usize = 200;

pub(super) fn reconnect(result: &ReconnectResult) -> Part {
    let mut styles = Styles::default();
    let mut round_trips: Vec<_> = result.rows.iter().map(|it| it.rtt_ms).collect();
    round_trips.sort_unstable();
    round_trips.dedup();
    let mut groups = |pick: fn(&ReconnectRow) -> Spread| -> Vec<Group> {
        let mut group = |rtt: &u32| Group {
            name: format!("round trip of {rtt} ms"),
            bars: result
                .rows
                .iter()
                .filter(|it| it.rtt_ms == *rtt)
                .map(|it| Bar {
                    name: it.way.title().to_owned(),
                    style: styles.of(it.way.title()),
                    value: pick(it),
                })
                .collect(),
        };
        round_trips.iter().map(&mut group).collect()
    };
    let pictures = vec![
        grouped("Time to the first signal by the new way", "ms", groups(|it| it.back_ms), None),
        grouped(
            "Longest time without a signal, noticing included",
            "ms",
            groups(|it| it.silence_ms),
            None,
        ),
    ];
    let verdicts = round_trips.iter().filter_map(|rtt| {
        let rows = result.rows.iter().filter(|it| it.rtt_ms == *rtt);
        let rows: Vec<Named> = rows
            .map(|it| (it.way.title().to_owned(), figure(it.back_ms, it.rounds.len())))
            .collect();
        Verdict::of(&format!("first signal over {rtt} ms"), Better::Lower, &rows)
    });
    Part { pictures, verdicts: verdicts.collect() }
}

pub(super) fn crash(result: &CrashResult) -> Part {
    let of_an_ending = result.rows.chunk_by(|a, b| a.ending == b.ending);
    Part { pictures: of_an_ending.filter_map(ending).collect(), verdicts: Vec::new() }
}

/// Which share of the clients is back after which time, in all rounds together.
fn ending(rows: &[CrashRow]) -> Option<Picture> {
    let title = match rows.first()?.ending.title() {
        "killed" => "Clients that are back after their gateway was killed".to_owned(),
        title => format!("Clients that are back after {title}"),
    };
    let mut styles = Styles::default();
    let mut data = Table::new(&title);
    data.row(["all rounds together", "50 % ms", "90 % ms", "99 % ms", "all ms"]);
    let mut lines = Vec::new();
    for row in rows {
        let talking = if row.talking { "talking" } else { "quiet" };
        let name = format!("{}, {talking}", row.transport.title());
        let mut back: Vec<_> =
            row.rounds.iter().flat_map(|it| it.each_ms.iter().map(|it| it.1)).collect();
        back.sort_by(f64::total_cmp);
        let count = back.len();
        let at = |share: f64| {
            let rank = (count as f64 * share).ceil() as usize;
            back.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        let [half, most, nearly, all] = [0.5, 0.9, 0.99, 1.0].map(|it| number(at(it)));
        data.row([&name, &half, &most, &nearly, &all]);
        let step = count.div_ceil(POINTS).max(1);
        let share = |index: usize| (index + 1) as f64 * 100.0 / count as f64;
        let point = |(index, ms): (usize, &f64)| (*ms, share(index));
        let points = back.iter().enumerate().map(point);
        // The last one is drawn, however many are left out.
        let kept = points.enumerate().filter(|(it, _)| (count - 1 - it).is_multiple_of(step));
        let kept: Vec<_> = kept.map(|it| it.1).collect();
        lines.push((Series::new(&name, styles.of(&name), vec![kept.clone()]), kept));
    }
    let times = lines.iter().flat_map(|it| &it.1).map(|it| it.0);
    let times: Vec<_> = times.collect();
    let x = Axis {
        label: "ms since the signal to the gateway".into(),
        scale: Scale::fitting(times.into_iter()),
    };
    let y = Axis { label: "clients back, %".into(), scale: Scale::until(100.0) };
    let description = "The share of the clients that are in their session again, over the time \
                       since the gateway was told to go or killed.";
    let series = lines.into_iter().map(|it| it.0).collect();
    let svg = Lines::new(&title, description, x, y, series).svg();
    Some(Picture { title, svg, data: Some(data) })
}

pub(super) fn resumes(result: &ResumesResult) -> Part {
    let mut ratios = Vec::new();
    let mut groups = Vec::new();
    let (mut curves, mut lines) = (Vec::new(), Vec::new());
    for (row, style) in result.rows.iter().zip(0..) {
        let bar = |name: &str, style, value| Bar { name: name.to_owned(), style, value };
        groups.push(Group {
            name: row.title(),
            bars: vec![
                bar("while nobody resumes", 0, row.p99_before_us),
                bar("while they resume", 1, row.p99_during_us),
            ],
        });
        ratios.extend(row.ratio_to_control.map(|it| bar(&row.title(), style, it)));
        let rounds = row.rounds.iter().map(|it| it.during.curve.as_slice()).collect();
        curves.push(Rounds { name: row.title(), style, rounds });
        let rounds = row.rounds.iter().map(|it| it.during.timeline.as_slice()).collect();
        lines.push(Rounds { name: row.title(), style, rounds });
    }
    let ratios = Group { name: String::new(), bars: ratios };
    let mut pictures = vec![
        grouped("p99 of the others' signals", "µs", groups, None),
        grouped(
            "How much more that is than the control's: 1 is no harm",
            "×",
            vec![ratios],
            Some(1.0),
        ),
    ];
    pictures.extend(percentiles("Latency by percentile, while they resume", &curves));
    pictures.extend(timelines("While they resume", &lines));
    Part { pictures, verdicts: Vec::new() }
}
