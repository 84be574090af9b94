//! Smoothing of curves: the exponential moving average of TensorBoard.

/// Smooths values with weight `weight` on the past (0 is none, towards 1 is more), corrected for the start.
///
/// The method is TensorBoard's `resmoothDataset` (`tensorboard/components/vz_line_chart2/line-chart.ts`): a moving average
/// that starts at 0 and is divided by `1 - weight^n`, the bias correction of Adam (Kingma and Ba, 2015, section 3).
/// As there, values that are not finite pass through and leave the average alone.
pub fn smooth(values: &[f64], weight: f64) -> Vec<f64> {
    let weight = if weight.is_finite() { weight.clamp(0.0, 0.9999) } else { 0.0 };
    let mut average = 0.0;
    // weight^n, kept as a product so that a long series costs no powers.
    let mut past = 1.0;
    values
        .iter()
        .map(|&value| {
            if !value.is_finite() {
                return value;
            }
            average = average * weight + (1.0 - weight) * value;
            past *= weight;
            average / (1.0 - past)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_start_is_not_pulled_to_zero() {
        let smoothed = smooth(&[10.0, 10.0, 10.0], 0.9);
        assert!(smoothed.iter().all(|value| (value - 10.0).abs() < 1e-12), "{smoothed:?}");
    }

    #[test]
    fn values_follow_the_definition() {
        // n = 2: (0.5 * (0.5 * 1) + 0.5 * 3) / (1 - 0.25) = 1.75 / 0.75
        let smoothed = smooth(&[1.0, 3.0], 0.5);
        assert_eq!(smoothed[0], 1.0);
        assert!((smoothed[1] - 1.75 / 0.75).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_finite_passes_and_leaves_the_average_alone() {
        let smoothed = smooth(&[2.0, f64::NAN, f64::INFINITY, 2.0], 0.7);
        assert!(smoothed[1].is_nan() && smoothed[2].is_infinite());
        assert!((smoothed[3] - 2.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn an_average_stays_between_the_extremes(values in prop::collection::vec(-1e6f64..1e6, 1..50), weight in 0.0f64..1.0) {
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            for value in smooth(&values, weight) {
                prop_assert!(value >= low - 1e-6 && value <= high + 1e-6);
            }
        }
    }
}
