//! Axes: which values get a tick, and where a value lies.
//!
//! Tick steps are the nice numbers 1, 2 and 5 of Heckbert ("Nice Numbers for Graph Labels", Graphics Gems, 1990). Rows of a
//! terminal are coarse, so the vertical axis is chosen the other way round: candidates of step and rows per tick are scored by
//! how much of the height they use and how dense the labels are (after Talbot, Lin and Hanrahan, "An Extension of
//! Wilkinson's Algorithm for Positioning Tick Labels on Axes", InfoVis 2010), under the condition that every tick lies exactly
//! in the middle of a row. A label therefore never stands beside a value it does not name.

use crate::number::{log_label, show_number, tick_labels, time_label};

const NICE: [f64; 3] = [1.0, 2.0, 5.0];
/// Ranges narrower than this part of their values cannot be told from a constant in 53 bits with room for ticks.
const NARROWEST: f64 = 1e-11;
/// Narrower ranges would need steps below the smallest normal numbers.
const SMALLEST_RANGE: f64 = 1e-290;

/// A tick.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    /// Where: a value of the axis (its logarithm on a logarithmic one).
    pub(crate) at: f64,
    /// What it says.
    pub(crate) label: String,
}

/// Ticks and what has to be said about all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Ticks {
    pub(crate) list: Vec<Tick>,
    pub(crate) offset: Option<String>,
}

/// What the numbers of an axis mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any value.
    Linear,
    /// The decimal logarithm of a value.
    Log,
    /// Whole numbers.
    Whole,
    /// Seconds.
    Time,
}

/// A range that can be divided: a constant is widened to half its size on both sides.
pub(crate) fn usable_range(low: f64, high: f64, kind: Kind) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if high - low > (size * NARROWEST).max(SMALLEST_RANGE) {
        return (low, high);
    }
    let middle = low + (high - low) / 2.0;
    let half = match kind {
        Kind::Whole => 1.0,
        Kind::Time | Kind::Log => 0.5,
        Kind::Linear if size < SMALLEST_RANGE => 1.0,
        Kind::Linear => size / 2.0,
    };
    (middle - half, middle + half)
}

/// A vertical axis on rows of characters. Row 0 is the top one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowAxis {
    /// The value in the middle of row 0.
    top: f64,
    /// What one row is worth.
    unit: f64,
    /// How many rows there are.
    rows: usize,
    /// Ticks with their rows.
    pub(crate) ticks: Vec<(usize, Tick)>,
    /// See [`Ticks::offset`].
    pub(crate) offset: Option<String>,
}

impl RowAxis {
    /// An axis for values from `low` to `high`.
    pub(crate) fn new(low: f64, high: f64, rows: usize, kind: Kind) -> Self {
        let rows = rows.max(1);
        let given = (low, high);
        let (low, high) = usable_range(low, high, kind);
        if kind == Kind::Linear && given != (low, high) {
            return Self::constant(given.0, high, rows);
        }
        if kind == Kind::Log && high - low < 2.0 {
            return Self::unaligned(low, high, rows);
        }
        let Some(grid) = best_grid(low, high, rows, kind) else {
            return Self::unaligned(low, high, rows);
        };
        let unit = grid.step / grid.rows_per_tick;
        // The spare rows go to both sides, but not across zero.
        let spare = rows as f64 - (grid.last - grid.first + 1.0);
        let below = (spare / 2.0).floor();
        let below = if low >= 0.0 { below.min(grid.first.max(0.0)) } else { below };
        let below = if high <= 0.0 { below.max(spare - (-grid.last).max(0.0)).min(spare) } else { below };
        let bottom = grid.first - below;
        let highest = bottom + rows as f64 - 1.0;
        let mut axis = Self { top: highest * unit, unit, rows, ticks: Vec::new(), offset: None };
        let mut numbers = Vec::new();
        let mut at = (bottom / grid.rows_per_tick).ceil();
        while at * grid.rows_per_tick <= highest {
            numbers.push(at);
            at += 1.0;
        }
        let values: Vec<f64> = numbers.iter().map(|number| number * grid.step).collect();
        let places = numbers.iter().map(|number| (highest - number * grid.rows_per_tick) as usize);
        if kind == Kind::Log {
            let labels = values.iter().map(|value| log_label(1, *value as i32));
            axis.ticks = places
                .zip(values.iter().zip(labels))
                .map(|(row, (at, label))| (row, Tick { at: *at, label }))
                .collect();
            axis.add_log_minors(grid.step);
            return axis;
        }
        let labels = tick_labels(&values, grid.step);
        axis.offset = labels.offset;
        axis.ticks = places
            .zip(values.iter().zip(labels.texts))
            .map(|(row, (at, label))| (row, Tick { at: *at, label }))
            .collect();
        axis
    }

    /// An axis for one value, which is its only tick and lies in the middle.
    fn constant(value: f64, high: f64, rows: usize) -> Self {
        let middle = rows / 2;
        let unit = (high - value) / (rows as f64 / 2.0);
        let tick = Tick { at: value, label: show_number(value) };
        Self { top: value + unit * middle as f64, unit, rows, ticks: vec![(middle, tick)], offset: None }
    }

    /// An axis whose range is exactly the data's, with each tick in the row nearest to it.
    fn unaligned(low: f64, high: f64, rows: usize) -> Self {
        let unit = (high - low) / (rows as f64 - 0.5).max(0.5);
        let mut axis = Self { top: high - unit * 0.25, unit, rows, ticks: Vec::new(), offset: None };
        for tick in log_ticks(low, high, (rows / 2).max(2)).list {
            axis.add_if_free(tick);
        }
        axis
    }

    /// Ticks at 2 and 5 between decades that are far enough apart.
    fn add_log_minors(&mut self, step: f64) {
        if step > 1.0 || self.unit > 1.0 / 7.0 {
            return;
        }
        let bottom = self.top - self.unit * self.rows as f64;
        for exponent in bottom.floor() as i32..=self.top.ceil() as i32 {
            for mantissa in [2, 5] {
                self.add_if_free(log_tick(mantissa, exponent));
            }
        }
    }

    fn add_if_free(&mut self, tick: Tick) {
        let place = self.position(tick.at);
        if !(0.0..self.rows as f64).contains(&place) {
            return;
        }
        let row = place as usize;
        if self.ticks.iter().all(|(taken, _)| taken.abs_diff(row) > 1) {
            self.ticks.push((row, tick));
        }
    }

    /// Rows from the top edge of row 0: 0.5 is the middle of row 0. May lie outside.
    pub(crate) fn position(&self, value: f64) -> f64 {
        (self.top - value) / self.unit + 0.5
    }
}

struct Grid {
    step: f64,
    rows_per_tick: f64,
    /// Rows counted from the value 0, upwards.
    first: f64,
    last: f64,
}

fn best_grid(low: f64, high: f64, rows: usize, kind: Kind) -> Option<Grid> {
    let ideal = match rows {
        0..=4 => 1.0,
        5..=8 => 2.0,
        9..=16 => 3.0,
        _ => 4.0,
    };
    let furthest = if kind == Kind::Log { 12 } else { 8 };
    let mut best: Option<(f64, Grid)> = None;
    for rows_per_tick in (1..=furthest).map(f64::from) {
        let wanted = (high - low) / rows as f64 * rows_per_tick;
        let decade = 10f64.powf(wanted.log10().floor());
        for step in NICE.iter().flat_map(|nice| [nice * decade, nice * decade * 10.0]) {
            if !step.is_normal() || (kind != Kind::Linear && step < 0.999) {
                continue;
            }
            let unit = step / rows_per_tick;
            let (first, last) = ((low / unit + 0.5).floor(), (high / unit + 0.5).floor());
            if last - first + 1.0 > rows as f64 {
                continue;
            }
            let used = (high - low) / (unit * rows as f64);
            let ticks = (last / rows_per_tick).floor() - (first / rows_per_tick).ceil() + 1.0;
            // A label in every row of a high plot is a wall of numbers; fewer than two labels give no scale.
            let crowded = if rows_per_tick < 2.0 && rows > 8 { 0.15 } else { 0.0 };
            let scarce = if ticks < 2.0 { 0.5 } else { 0.0 };
            let score = used - 0.05 * (rows_per_tick - ideal).abs() - crowded - scarce;
            if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, Grid { step, rows_per_tick, first, last }));
            }
        }
    }
    best.map(|(_, grid)| grid)
}

fn log_tick(mantissa: u32, exponent: i32) -> Tick {
    Tick { at: f64::from(exponent) + f64::from(mantissa).log10(), label: log_label(mantissa, exponent) }
}

/// Ticks of a logarithmic axis, the important ones first: decades, then 2 and 5, then whatever nice numbers there are.
pub(crate) fn log_ticks(low: f64, high: f64, most: usize) -> Ticks {
    let inside = |tick: &Tick| (low..=high).contains(&tick.at);
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let every = NICE.iter().flat_map(|nice| [1.0, 10.0, 100.0].map(|ten| (nice * ten) as usize));
    let needed = ((last - first) as usize).div_ceil(most.max(1)).max(1);
    let every = every.filter(|step| *step >= needed).min().unwrap_or(needed);
    let decades = (first..=last).filter(|exponent| exponent.rem_euclid(every as i32) == 0);
    let mut list: Vec<Tick> = decades.map(|exponent| log_tick(1, exponent)).filter(inside).collect();
    if every == 1 && list.len() * 3 <= most {
        let minors = (first..=last).flat_map(|exponent| [2, 5].map(|mantissa| log_tick(mantissa, exponent)));
        list.extend(minors.filter(inside));
    }
    if list.len() < 2 && high < 300.0 && low > -300.0 {
        let linear = linear_ticks(10f64.powf(low), 10f64.powf(high), most);
        list.extend(
            linear.list.into_iter().filter(|tick| tick.at > 0.0).map(|tick| Tick { at: tick.at.log10(), ..tick }),
        );
    }
    Ticks { list, offset: None }
}

/// At most `most` ticks inside a range, 1, 2 or 5 times a power of ten apart.
pub(crate) fn linear_ticks(low: f64, high: f64, most: usize) -> Ticks {
    let Some(step) = steps_from((high - low) / most.max(1) as f64, Kind::Linear).next() else {
        return Ticks::default();
    };
    let values = multiples(low, high, step);
    let labels = tick_labels(&values, step);
    Ticks {
        list: values.into_iter().zip(labels.texts).map(|(at, label)| Tick { at, label }).collect(),
        offset: labels.offset,
    }
}

/// Ticks of a horizontal axis: the closest for which `fits` says that the labels do not touch.
pub(crate) fn fitting_ticks(low: f64, high: f64, most: usize, kind: Kind, fits: impl Fn(&[Tick]) -> bool) -> Ticks {
    for step in steps_from((high - low) / most.max(1) as f64, kind).take(24) {
        let values = multiples(low, high, step);
        let (texts, offset) = if kind == Kind::Time {
            (values.iter().map(|value| time_label(*value)).collect(), None)
        } else {
            let labels = tick_labels(&values, step);
            (labels.texts, labels.offset)
        };
        let list: Vec<Tick> = values.into_iter().zip(texts).map(|(at, label)| Tick { at, label }).collect();
        if fits(&list) {
            return Ticks { list, offset };
        }
    }
    Ticks::default()
}

/// Every multiple of a step in a range; none when there would be absurdly many.
fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    // A thousandth of a step, so that a tick at the very end is not lost to rounding.
    let (first, last) = ((low / step - 1e-3).ceil(), (high / step + 1e-3).floor());
    if !(first.is_finite() && last.is_finite()) || last - first > 1000.0 {
        return Vec::new();
    }
    (0..=(last - first).max(-1.0) as i64).filter(|_| last >= first).map(|count| (first + count as f64) * step).collect()
}

/// Nice steps of at least `least`, growing.
fn steps_from(least: f64, kind: Kind) -> impl Iterator<Item = f64> {
    /// Seconds of the steps of a clock, up to a day.
    const CLOCK: [f64; 16] =
        [1., 2., 5., 10., 15., 30., 60., 120., 300., 600., 900., 1800., 3600., 7200., 10800., 21600.];
    let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
    let decade = least.log10().floor() as i32;
    let in_units = move |unit: f64, from: i32| {
        (from..from + 12).flat_map(|exponent| NICE.map(|nice| nice * 10f64.powi(exponent))).map(move |step| step * unit)
    };
    let steps: Vec<f64> = match kind {
        Kind::Linear | Kind::Log => in_units(1.0, decade).collect(),
        Kind::Whole => in_units(1.0, decade.max(0)).collect(),
        Kind::Time if least < 0.5 => in_units(1.0, decade).take_while(|step| *step < 1.0).chain(CLOCK).collect(),
        Kind::Time => {
            let days = in_units(86400.0, ((least / 86400.0).log10().floor() as i32).max(0));
            CLOCK.into_iter().chain([43200.0]).chain(days).collect()
        }
    };
    steps.into_iter().filter(move |step| step.is_normal() && *step >= least * 0.999_999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(axis: &RowAxis) -> String {
        axis.ticks.iter().map(|(row, tick)| format!("{row}:{}", tick.label)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_lie_in_the_middle_of_rows() {
        let axis = RowAxis::new(0.0, 500.0, 12, Kind::Linear);
        for (row, tick) in &axis.ticks {
            assert!((axis.position(tick.at) - (*row as f64 + 0.5)).abs() < 1e-9);
        }
        assert_eq!(shown(&axis), "11:0 9:100 7:200 5:300 3:400 1:500");
    }

    #[test]
    fn a_constant_has_room_on_both_sides() {
        let axis = RowAxis::new(3.0, 3.0, 10, Kind::Linear);
        assert_eq!(axis.position(3.0), 5.5);
        assert_eq!(shown(&axis), "5:3");
    }

    #[test]
    fn logarithmic_axes_show_decades() {
        assert_eq!(shown(&RowAxis::new(-4.0, 0.0, 12, Kind::Log)), "10:1e-4 5:0.01 0:1");
        let narrow = RowAxis::new(0.3, 0.9, 12, Kind::Log);
        assert!(narrow.ticks.len() >= 2, "{narrow:?}");
        let wide = RowAxis::new(-300.0, 300.0, 12, Kind::Log);
        assert!((3..=8).contains(&wide.ticks.len()), "{}", shown(&wide));
    }

    #[test]
    fn clocks_tick_in_minutes_and_hours() {
        let ticks = fitting_ticks(0.0, 600.0, 6, Kind::Time, |_| true);
        let labels: Vec<&str> = ticks.list.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "2m", "4m", "6m", "8m", "10m"].map(|label| label));
    }

    proptest! {
        #[test]
        fn every_value_has_a_row(low in -1e12f64..1e12, range in 0f64..1e12, rows in 1usize..80) {
            let axis = RowAxis::new(low, low + range, rows, Kind::Linear);
            for value in [low, low + range] {
                let place = axis.position(value);
                prop_assert!(place > -1e-6 && place < rows as f64 + 1e-6, "{place} of {rows}");
            }
            prop_assert!(axis.ticks.iter().all(|(row, _)| *row < rows));
        }

        #[test]
        fn enough_rows_have_at_least_two_ticks(low in -1e6f64..1e6, range in 1e-3f64..1e6, rows in 5usize..80) {
            prop_assert!(RowAxis::new(low, low + range, rows, Kind::Linear).ticks.len() >= 2);
        }

        #[test]
        fn no_range_panics(low in -1e300f64..1e300, high in -1e300f64..1e300, most in 0usize..40, rows in 0usize..40) {
            let (low, high) = (low.min(high), low.max(high));
            for kind in [Kind::Linear, Kind::Log, Kind::Whole, Kind::Time] {
                let (low, high) = usable_range(low, high, kind);
                let _ = fitting_ticks(low, high, most, kind, |list| list.len() < 5);
            }
            let _ = (RowAxis::new(low, high, rows, Kind::Linear), RowAxis::new(low % 308.0, high % 308.0, rows, Kind::Log));
        }
    }
}
