//! The samples of one scrape, and their text.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, prometheus_text, text,
    },
    metrics::histogram::Histogram,
    registry::Registry,
};

use super::{declared::Metric, tally::Tally};

/// A format of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4, which everything reads.
    Prometheus,
}

impl Exposition {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The samples of one scrape.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<Family>);

/// The samples of one metric.
#[derive(Debug, Clone)]
struct Family {
    metric: &'static Metric,
    rows: Vec<(Vec<Label>, Value)>,
}

/// The value of a label.
pub(super) type Label = Cow<'static, str>;

/// The value of a sample.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Number(SampleNumber),
    Histogram(Histogram),
    Info,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum SampleNumber {
    Counter(u64),
    /// A counter of fractions, such as seconds.
    Fraction(f64),
    Gauge(f64),
}

impl Samples {
    /// Adds a metric with its samples. Each has a value for each label of the metric.
    pub(super) fn many<const N: usize>(
        &mut self,
        metric: &'static Metric,
        rows: impl IntoIterator<Item = ([Label; N], Value)>,
    ) {
        debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
        let rows: Vec<_> =
            rows.into_iter().map(|(labels, value)| (labels.to_vec(), value)).collect();
        if !rows.is_empty() {
            self.0.push(Family { metric, rows });
        }
    }

    /// Adds counters or gauges with their labels.
    pub(super) fn numbers<const N: usize>(
        &mut self,
        metric: &'static Metric,
        rows: impl IntoIterator<Item = ([&'static str; N], SampleNumber)>,
    ) {
        let row = |(labels, number): ([&'static str; N], _)| {
            (labels.map(Label::Borrowed), Value::Number(number))
        };
        self.many(metric, rows.into_iter().map(row));
    }

    /// Adds a gauge without labels.
    pub(super) fn gauge(&mut self, metric: &'static Metric, value: f64) {
        self.numbers(metric, [([], SampleNumber::Gauge(value))]);
    }

    /// Adds a counter without labels.
    pub(super) fn counter(&mut self, metric: &'static Metric, count: u64) {
        self.numbers(metric, [([], SampleNumber::Counter(count))]);
    }

    /// Adds the counts of a tally.
    pub(super) fn tally<const N: usize>(
        &mut self,
        metric: &'static Metric,
        tally: &Tally<[&'static str; N]>,
    ) {
        let counts = tally.all().into_iter();
        self.numbers(metric, counts.map(|(labels, count)| (labels, SampleNumber::Counter(count))));
    }

    /// The text of all samples.
    pub(crate) fn text(&self, format: Exposition) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut written = String::new();
        match format {
            Exposition::OpenMetrics => text::encode(&mut written, &registry)?,
            Exposition::Prometheus => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { metric, rows } in &self.0 {
            let unit = metric.unit.unit();
            let mut family = encoder.encode_descriptor(
                metric.name,
                metric.help,
                unit.as_ref(),
                metric.kind.metric_type(),
            )?;
            for (labels, value) in rows {
                let labels: Vec<(&str, &str)> = metric
                    .labels
                    .iter()
                    .zip(labels)
                    .map(|(name, value)| (*name, &**value))
                    .collect();
                match value {
                    Value::Info => family.encode_info(&labels)?,
                    Value::Histogram(histogram) => {
                        histogram.encode(family.encode_family(&labels)?)?;
                    }
                    Value::Number(number) if labels.is_empty() => number.encode(&mut family)?,
                    Value::Number(number) => number.encode(&mut family.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }
}

impl SampleNumber {
    fn encode(self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Counter(count) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None),
            Self::Fraction(count) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None),
            Self::Gauge(value) => encoder.encode_gauge(&value),
        }
    }
}
