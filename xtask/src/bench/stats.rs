//! Medians and their uncertainty.

/// How often the rounds are drawn again for an interval; more changes its ends by less than the noise between machines.
const DRAWS: usize = 2000;

/// Smallest, middle and largest of many values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// A figure whose spread is not known.
    pub(crate) fn only(value: f64) -> Self {
        Self { min: value, median: value, max: value }
    }

    /// Of values that are all finite; `None` when there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self { min: *sorted.first()?, median: middle(&sorted), max: *sorted.last()? })
    }
}

/// A figure with the interval that holds it in 95 of 100 repetitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// The median of `values`, one of each round.
    pub(crate) fn of_median(values: &[f64]) -> Option<Self> {
        Self::of(values.len(), |rounds| {
            let mut drawn: Vec<f64> = rounds.iter().map(|round| values[*round]).collect();
            drawn.sort_by(f64::total_cmp);
            middle(&drawn)
        })
    }

    /// The sum of `ours` divided by that of `theirs`, one of each round: for what a single round counts too coarsely.
    pub(crate) fn of_ratio(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let sum = |values: &[f64], rounds: &[usize]| rounds.iter().map(|round| values[*round]).sum::<f64>();
        let interval = Self::of(ours.len().min(theirs.len()), |rounds| sum(ours, rounds) / sum(theirs, rounds))?;
        interval.value.is_finite().then_some(interval)
    }

    /// A figure of all rounds, with its percentile bootstrap interval over the rounds (Efron and Tibshirani, An
    /// Introduction to the Bootstrap, 1993, chapter 13).
    fn of(rounds: usize, figure: impl Fn(&[usize]) -> f64) -> Option<Self> {
        if rounds == 0 {
            return None;
        }
        let all: Vec<usize> = (0..rounds).collect();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut draw = || (0..rounds).map(|_| random.below(rounds)).collect::<Vec<usize>>();
        let mut figures: Vec<f64> = (0..DRAWS).map(|_| figure(&draw())).collect();
        figures.sort_by(f64::total_cmp);
        Some(Self { value: figure(&all), low: figures[DRAWS / 40], high: figures[DRAWS - 1 - DRAWS / 40] })
    }
}

/// The median of sorted values; at least one.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[half - 1], sorted[half]) } else { sorted[half] }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same draws in every run, so that a printed interval can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 10.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn an_interval_holds_its_figure_and_narrows_with_agreement() {
        let wide = Interval::of_median(&[0.2, 0.5, 0.3, 0.9, 0.4, 0.6, 0.35]).unwrap();
        assert!(wide.low < wide.value && wide.value < wide.high, "{wide:?}");
        let sure = Interval::of_median(&[0.5; 9]).unwrap();
        assert_eq!((sure.low, sure.value, sure.high), (0.5, 0.5, 0.5));
        assert_eq!(Interval::of_median(&[]), None);
    }

    #[test]
    fn sums_are_compared_where_a_round_is_too_short() {
        let ratio = Interval::of_ratio(&[0.0, 10.0, 0.0, 10.0], &[10.0, 20.0, 10.0, 0.0]).unwrap();
        assert!((ratio.value - 0.5).abs() < 1e-12 && ratio.low < 0.5 && ratio.high > 0.5, "{ratio:?}");
        assert_eq!(Interval::of_ratio(&[1.0], &[0.0]), None);
    }
}
