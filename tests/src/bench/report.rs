//! Samples to rows, rows to text or JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One measurement: nanoseconds of CPU time a packet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// [`Case::name`](super::case::Case::name)
    pub case: String,
    /// [`Case::flows`](super::case::Case::flows)
    pub flows: u64,
    /// Of the pipeline.
    pub ns: f64,
    /// Of the floor, measured just before.
    pub floor_ns: f64,
}

/// One row, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which case.
    pub case: String,
    /// Over how many flows.
    pub flows: u64,
    /// The least that a packet took.
    pub ns_min: f64,
    /// The median.
    pub ns_median: f64,
    /// The least of the floor.
    pub floor_ns_min: f64,
    /// The floor's median.
    pub floor_ns_median: f64,
    /// Median over the floor's median.
    pub ratio: f64,
}

/// One row a case, sorted by name and flows.
pub fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut cases: BTreeMap<(&str, u64), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        cases.entry((&sample.case, sample.flows)).or_default().push(sample);
    }
    cases.into_iter().map(|((case, flows), samples)| row(case, flows, &samples)).collect()
}

fn row(case: &str, flows: u64, samples: &[&Sample]) -> Row {
    let (ns_min, ns_median) = min_and_median(samples.iter().map(|sample| sample.ns));
    let (floor_ns_min, floor_ns_median) = min_and_median(samples.iter().map(|sample| sample.floor_ns));
    let ratio = round(ns_median / floor_ns_median);
    Row { case: case.into(), flows, ns_min, ns_median, floor_ns_min, floor_ns_median, ratio }
}

fn min_and_median(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    (round(sorted[0]), round(sorted[sorted.len() / 2]))
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// A table for people.
pub fn table(rows: &[Row]) -> String {
    let head = format!(
        "{:<18} {:>8}  {:>7} {:>7}  {:>9} {:>7}  {:>6}  {:>11}\n",
        "case", "flows", "min ns", "median", "floor min", "median", "ratio", "above floor"
    );
    rows.iter().fold(head, |text, row| {
        let Row { case, flows, ns_min, ns_median, floor_ns_min, floor_ns_median, ratio } = row;
        text + &format!(
            "{case:<18} {flows:>8}  {ns_min:>7.2} {ns_median:>7.2}  {floor_ns_min:>9.2} {floor_ns_median:>7.2}  {ratio:>5.2}x  {:>11.2}
",
            ns_median - floor_ns_median
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_minimum_and_the_median_of_its_samples() {
        let sample = |ns, floor_ns| Sample { case: "c".into(), flows: 1, ns, floor_ns };
        let rows = rows(&[sample(30.0, 10.0), sample(20.0, 8.0), sample(50.0, 12.0)]);
        let expected = Row {
            case: "c".into(),
            flows: 1,
            ns_min: 20.0,
            ns_median: 30.0,
            floor_ns_min: 8.0,
            floor_ns_median: 10.0,
            ratio: 3.0,
        };
        assert_eq!(rows, [expected]);
    }
}
