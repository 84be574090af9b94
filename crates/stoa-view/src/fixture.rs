//! Series and records for the tests of this crate.

use stoa_core::metric::{Origin, Point, Series, SeriesSummary};

/// A series with one point per step from 0, a second apart.
pub(crate) fn series(name: &str, values: &[f64]) -> Series {
    let points: Vec<Point> = (0i64..)
        .zip(values)
        .map(|(step, value)| Point {
            step,
            time: 1_700_000_000_000_000_000 + step as u64 * 1_000_000_000,
            value: *value,
        })
        .collect();
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let summary = SeriesSummary {
        name: name.to_owned(),
        origin: Origin::Script,
        count: points.len() as u64,
        non_finite: (values.len() - finite().count()) as u64,
        min: finite().reduce(f64::min),
        max: finite().reduce(f64::max),
        last: points.last().copied(),
    };
    Series { summary, points }
}
