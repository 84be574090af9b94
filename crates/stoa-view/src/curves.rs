//! From metric points to curves that can be drawn: coordinates, gaps, marks for what cannot be drawn, counts.

use crate::number::show_number;
use crate::scale::{Kind, usable_range};
use crate::smooth::smooth;
use crate::text::sanitize;
use stoa_core::metric::{Point, Series};

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XAxis {
    /// Training steps.
    #[default]
    Step,
    /// Time since the earliest point shown.
    Time,
}

impl XAxis {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Step => Kind::Whole,
            Self::Time => Kind::Time,
        }
    }
}

/// A finite point in the coordinates of the axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dot {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// A value that has no place on the vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    NotANumber,
    Infinite,
    NegativeInfinite,
}

/// One series, ready to draw. Lines are broken where a value cannot be drawn.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) raw: Vec<Vec<Dot>>,
    /// Empty without smoothing.
    pub(crate) smoothed: Vec<Vec<Dot>>,
    pub(crate) marks: Vec<(f64, Mark)>,
    /// The last value, as text; empty when there is none.
    pub(crate) last: String,
}

impl Curve {
    /// The lines that carry the curve: smoothed where there are such.
    pub(crate) fn strong(&self) -> &[Vec<Dot>] {
        if self.smoothed.is_empty() { &self.raw } else { &self.smoothed }
    }

    /// Where the curve ends.
    pub(crate) fn end(&self) -> Option<Dot> {
        self.strong().last().and_then(|line| line.last().copied())
    }
}

/// All series of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Curves {
    pub(crate) list: Vec<Curve>,
    /// From the smallest to the largest; `None` when nothing can be drawn.
    pub(crate) y_range: Option<(f64, f64)>,
    /// Never empty.
    pub(crate) x_range: (f64, f64),
    /// What the reader must know: counts of what is not drawn.
    pub(crate) notes: Vec<String>,
}

/// Steps beyond this are not exact as floats.
const EXACT: i64 = 1 << 53;
/// Values beyond this are drawn at it, so that differences of two values stay finite.
const LARGEST: f64 = 1e300;

impl Curves {
    pub(crate) fn new(series: &[&Series], x: XAxis, log_y: bool, smoothing: Option<f64>) -> Self {
        let points = || series.iter().flat_map(|series| series.points.iter());
        let large = points().any(|point| point.step.unsigned_abs() > EXACT as u64);
        let step_base = if large { points().map(|point| point.step).min().unwrap_or(0) } else { 0 };
        let first_time = points().map(|point| point.time).min().unwrap_or(0);
        let place = |point: &Point| match x {
            XAxis::Step => (i128::from(point.step) - i128::from(step_base)) as f64,
            XAxis::Time => (point.time - first_time) as f64 / 1e9,
        };
        let smoothing = smoothing.filter(|weight| *weight > 0.0);
        let mut dropped = 0;
        let list: Vec<Curve> = series
            .iter()
            .map(|series| {
                let (curve, not_positive) = curve_of(series, place, log_y, smoothing);
                dropped += not_positive;
                curve
            })
            .collect();
        // Steps beyond 2^53 are told apart by subtracting the smallest.
        let (x_low, x_high) = extent(points().map(place)).unwrap_or((0.0, 1.0));
        let y_range = extent(list.iter().flat_map(|curve| curve.raw.iter().flatten()).map(|dot| dot.y));
        let mut notes = non_finite_notes(series);
        if dropped > 0 {
            notes.push(format!("{dropped} {} <= 0 not on the log scale", plural(dropped, "value")));
        }
        if points().any(|point| point.value.is_finite() && point.value.abs() > LARGEST) {
            notes.push(format!("values beyond {LARGEST:e} drawn there"));
        }
        if step_base != 0 && x == XAxis::Step {
            notes.push(format!("step {step_base} is 0"));
        }
        Self { list, y_range, x_range: usable_range(x_low, x_high, x.kind()), notes }
    }
}

fn curve_of(series: &Series, place: impl Fn(&Point) -> f64, log_y: bool, smoothing: Option<f64>) -> (Curve, usize) {
    let xs: Vec<f64> = series.points.iter().map(place).collect();
    let values: Vec<f64> = series.points.iter().map(|point| point.value.clamp(-LARGEST, LARGEST)).collect();
    let values: Vec<f64> =
        values.iter().zip(&series.points).map(|(v, p)| if p.value.is_infinite() { p.value } else { *v }).collect();
    // On a logarithmic axis an average over values that are not shown would be an average of something else.
    let drawable = |value: f64| value.is_finite() && (!log_y || value > 0.0);
    let shown: Vec<f64> = values.iter().map(|value| if drawable(*value) { *value } else { f64::NAN }).collect();
    let smoothed = smoothing.map(|weight| lines(&xs, &smooth(&shown, weight), log_y)).unwrap_or_default();
    let marks = xs.iter().zip(&values).filter_map(|(x, value)| match value {
        value if value.is_nan() => Some((*x, Mark::NotANumber)),
        value if value.is_finite() => None,
        value if *value > 0.0 => Some((*x, Mark::Infinite)),
        _ => Some((*x, Mark::NegativeInfinite)),
    });
    let dropped = values.iter().filter(|value| value.is_finite() && !drawable(**value)).count();
    let last = series.summary.last.or(series.points.last().copied());
    let curve = Curve {
        name: sanitize(&series.summary.name),
        raw: lines(&xs, &shown, log_y),
        smoothed,
        marks: marks.collect(),
        last: last.map(|point| show_number(point.value)).unwrap_or_default(),
    };
    (curve, dropped)
}

/// Runs of finite values.
fn lines(xs: &[f64], values: &[f64], log_y: bool) -> Vec<Vec<Dot>> {
    let mut lines = Vec::new();
    let mut current: Vec<Dot> = Vec::new();
    for (x, value) in xs.iter().zip(values) {
        if value.is_finite() {
            current.push(Dot { x: *x, y: if log_y { value.log10() } else { *value } });
        } else if !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    lines
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

fn non_finite_notes(series: &[&Series]) -> Vec<String> {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let nan = points().filter(|point| point.value.is_nan()).count();
    let infinite = points().filter(|point| point.value.is_infinite()).count();
    let known: u64 = series.iter().map(|series| series.summary.non_finite).sum();
    let mut notes = Vec::new();
    if nan > 0 {
        notes.push(format!("! {nan} NaN"));
    }
    if infinite > 0 {
        notes.push(format!("! {infinite} infinite"));
    }
    if known > (nan + infinite) as u64 {
        notes.push(format!("! {known} not finite in the whole series"));
    }
    notes
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// All points of a line that fall into one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Column {
    pub(crate) column: i64,
    /// Of its first point.
    pub(crate) x: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) count: usize,
}

/// First, last, smallest and largest of each column: the four values that make a line drawn from them equal, dot for dot, to
/// one drawn from all points (Jugel, Jerzak, Hackenbroich and Markl, "M4: A Visualization-Oriented Time Series Data
/// Aggregation", VLDB 2014).
pub(crate) fn columns(line: &[Dot], column_of: impl Fn(f64) -> i64) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for dot in line {
        let column = column_of(dot.x);
        match columns.last_mut() {
            Some(current) if current.column == column => {
                current.last = dot.y;
                current.low = current.low.min(dot.y);
                current.high = current.high.max(dot.y);
                current.count += 1;
            }
            _ => {
                columns.push(Column { column, x: dot.x, first: dot.y, last: dot.y, low: dot.y, high: dot.y, count: 1 });
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::series;

    #[test]
    fn lines_break_at_what_cannot_be_drawn_and_it_is_counted() {
        let loss = series("loss", &[1.0, 2.0, f64::NAN, 3.0, f64::INFINITY, -1.0]);
        let curves = Curves::new(&[&loss], XAxis::Step, false, None);
        assert_eq!(curves.list[0].raw.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(curves.list[0].marks, [(2.0, Mark::NotANumber), (4.0, Mark::Infinite)]);
        assert_eq!(curves.notes, ["! 1 NaN", "! 1 infinite"]);
        let log = Curves::new(&[&loss], XAxis::Step, true, Some(0.5));
        assert_eq!(log.notes[2..], ["1 value <= 0 not on the log scale"]);
    }

    #[test]
    fn columns_keep_the_spike() {
        let line: Vec<Dot> = (0..1000).map(|i| Dot { x: f64::from(i), y: if i == 357 { 99.0 } else { 1.0 } }).collect();
        let columns = columns(&line, |x| (x / 100.0) as i64);
        assert_eq!(columns.len(), 10);
        assert_eq!((columns[3].low, columns[3].high, columns[3].count), (1.0, 99.0, 100));
    }

    #[test]
    fn steps_too_large_for_floats_are_told_apart() {
        let mut far = series("far", &[1.0, 2.0]);
        far.points[0].step = i64::MAX - 1;
        far.points[1].step = i64::MAX;
        let curves = Curves::new(&[&far], XAxis::Step, false, None);
        assert_eq!(curves.x_range, (0.0, 1.0));
        assert_eq!(curves.notes, [format!("step {} is 0", i64::MAX - 1)]);
    }
}
