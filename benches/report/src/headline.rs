//! The summary of a run: our systems beside the best of the others, figure by figure.

use crate::{Better, Contender, Label, Metric, Round, Row, Table};

/// One figure of all rows that take part in the summary.
#[derive(Debug)]
pub struct Headline {
    name: &'static str,
    better: Better,
    entries: Vec<HeadlineEntry>,
}

#[derive(Debug)]
struct HeadlineEntry {
    contender: Contender,
    system: String,
    load: String,
    median: f64,
}

impl Headline {
    /// A metric, if it is one that systems are compared by.
    pub fn of<L: Label, R: Round>(metric: &Metric<R>, rows: &[Row<L, R>]) -> Option<Self> {
        let (name, better) = (metric.headline?, metric.better?);
        let entries = rows.iter().filter_map(|row| {
            let (contender, system, load) = row.label.summary()?;
            let median = metric.spread(&row.rounds)?.median;
            Some(HeadlineEntry { contender, system, load, median })
        });
        Some(Self { name, better, entries: entries.collect() })
    }

    /// A line for each figure and load that another system has too, with a column for each of our
    /// systems; `None` without any line.
    pub(crate) fn table<'a>(headlines: impl Iterator<Item = &'a Self> + Clone) -> Option<Table> {
        let entries = headlines.clone().flat_map(|it| &it.entries);
        let mut own: Vec<(&str, Contender)> = Vec::new();
        for it in entries.filter(|it| it.contender != Contender::Other) {
            if !own.iter().any(|(system, _)| *system == it.system) {
                own.push((&it.system, it.contender));
            }
        }
        if own.iter().any(|(_, contender)| *contender == Contender::Main) {
            own.retain(|(_, contender)| *contender == Contender::Main);
        }
        let columns = own.iter().map(|(system, _)| format!("{system} ÷ best other"));
        let head = ["figure".into()].into_iter().chain(columns).chain(["best other".into()]);
        let mut table =
            Table::new("Beside the best of the other systems, as ratios of medians", head);
        for headline in headlines {
            headline.rows(&own, &mut table);
        }
        (!table.rows.is_empty()).then_some(table)
    }

    fn rows(&self, own: &[(&str, Contender)], table: &mut Table) {
        let mut loads: Vec<&String> = Vec::new();
        for entry in &self.entries {
            if !loads.contains(&&entry.load) {
                loads.push(&entry.load);
            }
        }
        for load in loads {
            let same = || self.entries.iter().filter(|it| it.load == *load);
            let others = same().filter(|it| it.contender == Contender::Other);
            let order = |a: &&HeadlineEntry, b: &&HeadlineEntry| match self.better {
                Better::Lower => a.median.total_cmp(&b.median),
                Better::Higher => b.median.total_cmp(&a.median),
            };
            let Some(best) = others.min_by(order) else { continue };
            let ratio = |(system, _): &(&str, Contender)| {
                let own = same().find(|it| it.system == *system);
                own.map(|own| format!("{:.2}", own.median / best.median)).unwrap_or_default()
            };
            if best.median <= 0.0 || same().all(|it| it.contender == Contender::Other) {
                continue;
            }
            let name = format!("{}{load} ({})", self.name, self.better.words());
            let ratios = own.iter().map(ratio).chain([best.system.clone()]);
            table.row([name].into_iter().chain(ratios));
        }
    }
}

#[cfg(test)]
mod tests {
    use Contender::{Main, Other, Variant};

    use super::*;

    fn headline(better: Better, entries: &[(Contender, &str, &str, f64)]) -> Headline {
        let entry =
            |(contender, system, load, median): &(Contender, &str, &str, f64)| HeadlineEntry {
                contender: *contender,
                system: (*system).into(),
                load: (*load).into(),
                median: *median,
            };
        Headline { name: "figure", better, entries: entries.iter().map(entry).collect() }
    }

    #[test]
    fn each_load_is_compared_with_the_best_of_the_others_under_it() {
        let cpu = headline(
            Better::Lower,
            &[
                (Main, "QUIC", ", to 100", 6.0),
                (Main, "WebSocket", ", to 100", 3.0),
                (Variant, "JSON", ", to 100", 9.0),
                (Other, "A 1.0", ", to 100", 4.0),
                (Other, "B", ", to 100", 8.0),
                (Main, "WebSocket", ", to 10", 5.0),
            ],
        );
        let rate = headline(
            Better::Higher,
            &[
                (Main, "WebSocket", ", to 100", 300.0),
                (Other, "A 1.0", ", to 100", 100.0),
                (Other, "B", ", to 100", 200.0),
            ],
        );
        let text = Headline::table([cpu, rate].iter()).unwrap().markdown();
        let head = "| QUIC ÷ best other | WebSocket ÷ best other | best other |";
        assert!(text.contains(head), "{text}");
        assert!(text.contains("| 1.50 | 0.75 | A 1.0 |"), "{text}");
        assert!(text.contains("|  | 1.50 | B |"), "{text}");
        assert!(!text.contains("to 10 "), "nobody else was measured there: {text}");
        assert!(Headline::table([].iter()).is_none());
    }

    #[test]
    fn a_target_has_a_column_and_lonely_figures_have_no_line() {
        let table = |entries: &[(Contender, &str, &str, f64)]| {
            Headline::table([headline(Better::Lower, entries)].iter())
        };
        let target = (Main, "wss://gateway.example:4433", "", 50.0);
        let text = table(&[target, (Other, "A 1.0", "", 100.0)]).unwrap().markdown();
        assert!(text.contains("| figure | wss://gateway.example:4433 ÷ best other |"), "{text}");
        assert!(text.contains("| 0.50 | A 1.0 |"), "{text}");
        assert!(table(&[(Other, "A 1.0", "", 100.0)]).is_none());
        assert!(table(&[target]).is_none());
        let text = table(&[(Variant, "JSON", "", 1.0), (Other, "A", "", 1.0)]).unwrap().markdown();
        assert!(text.contains("JSON ÷"), "without a main form, variants are compared: {text}");
    }
}
