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
    /// The median of `values`, one of each round, with its percentile bootstrap interval (Efron and Tibshirani, An
    /// Introduction to the Bootstrap, 1993, chapter 13).
    pub(crate) fn of_median(values: &[f64]) -> Option<Self> {
        let value = Spread::of(values)?.median;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut medians: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let mut draw: Vec<f64> = values.iter().map(|_| values[random.below(values.len())]).collect();
                draw.sort_by(f64::total_cmp);
                middle(&draw)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Some(Self { value, low: medians[DRAWS / 40], high: medians[DRAWS - 1 - DRAWS / 40] })
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
    }
}
