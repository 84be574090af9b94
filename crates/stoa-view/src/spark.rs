//! Curves in one line: sparklines and progress bars.

use crate::style::{Line, Style, Theme, Tint};
use crate::text::{sanitize, text_width, truncate};
use std::time::Duration;
use stoa_core::metric::Point;
use stoa_core::units::show_span;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const RAMP: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];

/// The last values as blocks of growing height, `width` at most; from the smallest to the largest value.
///
/// Where several points share a block, the largest is shown, so that no spike is lost; `!` is a value that is not finite.
pub fn sparkline(points: &[Point], width: usize, theme: Theme) -> String {
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let low = values.iter().copied().filter(|value| value.is_finite()).reduce(f64::min).unwrap_or(0.0);
    blocks(&values, low, width, theme)
}

/// A sparkline whose lowest block is zero: for quantities such as memory.
pub fn sparkline_from_zero(points: &[Point], width: usize, theme: Theme) -> String {
    blocks(&points.iter().map(|point| point.value).collect::<Vec<_>>(), 0.0, width, theme)
}

fn blocks(values: &[f64], low: f64, width: usize, theme: Theme) -> String {
    let width = width.min(values.len());
    let high = values.iter().copied().filter(|value| value.is_finite()).reduce(f64::max).unwrap_or(low);
    let levels = theme.pick(BLOCKS, RAMP);
    let level = |value: f64| {
        // Halves keep the difference finite for the largest floats.
        let (part, range) = (value / 2.0 - low / 2.0, high / 2.0 - low / 2.0);
        let height = if range > 0.0 { (part / range * 7.0).round() } else { 3.0 };
        levels[height.clamp(0.0, 7.0) as usize]
    };
    let bucket = |index: usize| &values[index * values.len() / width..(index + 1) * values.len() / width];
    (0..width)
        .map(|index| match bucket(index) {
            bucket if bucket.iter().any(|value| !value.is_finite()) => '!',
            bucket => level(bucket.iter().copied().fold(f64::MIN, f64::max)),
        })
        .collect()
}

/// How far something is.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgressBar {
    /// What it is about.
    pub label: String,
    /// From 0 to 1; `None` when the end is not known.
    pub fraction: Option<f64>,
    /// Since its start.
    pub elapsed: Duration,
    /// Until its end, when there is an estimate.
    pub eta: Option<Duration>,
}

/// Cells of the shortest and longest bar.
const BAR: std::ops::RangeInclusive<usize> = 8..=40;

impl ProgressBar {
    /// One line of exactly `width` cells: label, bar, percentage, time since the start and time left.
    pub fn render(&self, width: usize, theme: Theme) -> Line {
        let fraction = self.fraction.filter(|fraction| fraction.is_finite()).map(|fraction| fraction.clamp(0.0, 1.0));
        let mut tail = fraction.map(|fraction| format!(" {:>3.0}%", (fraction * 100.0).floor())).unwrap_or_default();
        tail.push_str(&format!("  {}", show_span(self.elapsed)));
        if let Some(eta) = self.eta {
            tail.push_str(&format!("  {} left", show_span(eta)));
        }
        let label = sanitize(&self.label);
        let room = width.saturating_sub(text_width(&tail));
        let bar = if fraction.is_some() {
            room.saturating_sub(text_width(&label) + 1).clamp(*BAR.start(), *BAR.end())
        } else {
            0
        };
        let label = truncate(&label, room.saturating_sub(bar + 1), theme.unicode);
        let mut line = Line::of(label, Style::PLAIN);
        if let Some(fraction) = fraction {
            line.push(" ", Style::PLAIN);
            line.append(bar_of(fraction, bar, theme));
        }
        line.push(tail, Style::tint(Tint::Muted));
        line.fit(width)
    }
}

fn bar_of(fraction: f64, width: usize, theme: Theme) -> Line {
    let halves = (fraction * width as f64 * 2.0).floor() as usize;
    let (full, half) = (halves / 2, theme.unicode && halves % 2 == 1);
    let tint = if fraction >= 1.0 { Tint::Good } else { Tint::Accent };
    let mut line = Line::of(theme.pick("━", "#").repeat(full), Style::tint(tint));
    if half {
        line.push("╸", Style::tint(tint));
    }
    let rest = width - full - usize::from(half);
    // Without colour a thin line is what tells the rest from the done part.
    let empty = if theme.colored() { theme.pick("━", "-") } else { theme.pick("─", "-") };
    line.push(empty.repeat(rest), Style::tint(if theme.colored() { Tint::Grid } else { Tint::Frame }));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::series;
    use proptest::prelude::*;

    const UNICODE: Theme = Theme { unicode: true, ..Theme::PLAIN };

    #[test]
    fn sparklines_show_shape_spikes_and_holes() {
        let of = |values: &[f64], width| sparkline(&series("x", values).points, width, UNICODE);
        assert_eq!(of(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8), "▁▂▃▄▅▆▇█");
        assert_eq!(of(&[1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 4), "▁█▁▁");
        assert_eq!(of(&[2.0, f64::NAN, 2.0], 10), "▄!▄");
        assert_eq!(of(&[], 10), "");
        assert_eq!(sparkline_from_zero(&series("x", &[6.0, 8.0]).points, 2, Theme::PLAIN), "+#");
    }

    #[test]
    fn bars_show_how_far_and_how_long() {
        let bar = |fraction, eta: Option<u64>| {
            let eta = eta.map(Duration::from_secs);
            let bar = ProgressBar { label: "training".into(), fraction, elapsed: Duration::from_secs(62), eta };
            (bar.render(50, UNICODE).to_plain(), bar.render(50, Theme::PLAIN).to_plain())
        };
        let (unicode, ascii) = bar(Some(0.43), Some(82));
        assert_eq!(unicode, "training ━━━━╸──────  43%  1 m 02 s  1 m 22 s left");
        assert_eq!(ascii, "training ####-------  43%  1 m 02 s  1 m 22 s left");
        assert_eq!(bar(None, None).0, "training  1 m 02 s");
        assert_eq!(bar(Some(1.0), None).1, "training ########################## 100%  1 m 02 s");
    }

    proptest! {
        #[test]
        fn a_bar_has_its_width(fraction: f64, width in 0usize..100, label in ".{0,20}", unicode: bool) {
            let bar = ProgressBar { label, fraction: Some(fraction), elapsed: Duration::MAX, eta: Some(Duration::MAX) };
            prop_assert_eq!(bar.render(width, Theme { unicode, ..Theme::PLAIN }).width(), width);
        }

        #[test]
        fn no_values_panic_a_sparkline(values in prop::collection::vec(any::<f64>(), 0..40), width in 0usize..50) {
            let points = series("x", &values).points;
            prop_assert!(text_width(&sparkline(&points, width, UNICODE)) <= width);
            prop_assert!(text_width(&sparkline_from_zero(&points, width, UNICODE)) <= width);
        }
    }
}
