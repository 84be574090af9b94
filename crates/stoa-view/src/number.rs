//! Numbers as people read them: four significant digits, `12.5k`, `1e-4`, tick labels of one axis in one form.

/// Factors and their suffixes (SI), largest first.
const SUFFIXES: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
/// Above this, and below [`SMALLEST_PLAIN`], numbers are shown with an exponent.
const LARGEST_PLAIN: f64 = 1e15;
const SMALLEST_PLAIN: f64 = 1e-3;
/// From here on, ticks use a suffix.
const FIRST_SUFFIXED_TICK: f64 = 1e4;
/// Labels with more decimals than this are shown as differences from an offset.
const MOST_DECIMALS: usize = 5;

/// A value with four significant digits: `0.8134`, `475`, `12.35k`, `1.2e-5`, `NaN`, `inf`.
///
/// Whole numbers below 100,000 keep all their digits.
pub fn show_number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value.fract() == 0.0 && value.abs() < 1e5 {
        return format!("{}", value as i64);
    }
    // Rounding first keeps 999,999 from becoming `1000k`.
    let rounded = format!("{value:.3e}").parse().ok().filter(|rounded: &f64| rounded.is_finite()).unwrap_or(value);
    let size = rounded.abs();
    if !(SMALLEST_PLAIN..LARGEST_PLAIN).contains(&size) {
        return scientific(rounded, 3);
    }
    let (scaled, suffix) = SUFFIXES
        .iter()
        .find(|(factor, _)| size >= *factor && size >= FIRST_SUFFIXED_TICK)
        .map_or((rounded, ""), |(factor, suffix)| (rounded / factor, *suffix));
    let decimals = (3 - scaled.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{}{suffix}", trim_zeros(&format!("{scaled:.decimals$}")))
}

/// Mantissa and exponent, the mantissa with at most `decimals` decimals.
fn scientific(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e{exponent}", trim_zeros(mantissa)),
        None => text,
    }
}

fn trim_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// The labels of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labels {
    /// One for each tick.
    pub(crate) texts: Vec<String>,
    /// What has to be added to each; said beside the axis.
    pub(crate) offset: Option<String>,
}

/// Labels of ticks that lie `step` apart: all with the same number of decimals and the same suffix or exponent.
///
/// Where the ticks differ only in late digits, the labels are differences from an offset, as in Matplotlib.
pub(crate) fn tick_labels(values: &[f64], step: f64) -> Labels {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if largest == 0.0 || step <= 0.0 {
        return Labels { texts: values.iter().map(|value| show_number(*value)).collect(), offset: None };
    }
    let (factor, suffix) = form_of(largest);
    // A hundredth of a step tells a label's last digit from rounding noise.
    let decimals = decimals_of(step / factor);
    if decimals <= MOST_DECIMALS {
        let texts = values.iter().map(|value| one_label(*value, factor, decimals, &suffix)).collect();
        return Labels { texts, offset: None };
    }
    let base = values.first().copied().unwrap_or_default().min(values.last().copied().unwrap_or_default());
    let differences: Vec<f64> = values.iter().map(|value| ((value - base) / step).round() * step).collect();
    let largest = differences.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let (factor, suffix) = form_of(largest);
    let decimals = decimals_of(step / factor);
    let texts = differences.iter().map(|value| format!("+{}", one_label(*value, factor, decimals, &suffix))).collect();
    Labels { texts, offset: Some(exact(base, step)) }
}

/// The factor that labels are divided by, and what stands behind them for it.
fn form_of(largest: f64) -> (f64, String) {
    if largest == 0.0 {
        return (1.0, String::new());
    }
    if !(SMALLEST_PLAIN..LARGEST_PLAIN).contains(&largest) {
        let exponent = largest.log10().floor() as i32;
        return (10f64.powi(exponent), format!("e{exponent}"));
    }
    let suffixed = SUFFIXES.iter().find(|(factor, _)| largest >= *factor && largest >= FIRST_SUFFIXED_TICK);
    suffixed.map_or((1.0, String::new()), |(factor, suffix)| (*factor, (*suffix).to_owned()))
}

/// How many decimals a step of 1, 2 or 5 times a power of ten needs.
fn decimals_of(step: f64) -> usize {
    if step > 0.0 { (-(step.log10() + 1e-9).floor()).clamp(0.0, 300.0) as usize } else { 0 }
}

fn one_label(value: f64, factor: f64, decimals: usize, suffix: &str) -> String {
    let text = format!("{:.decimals$}", value / factor);
    let text = if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text };
    if text == "0" { text } else { format!("{text}{suffix}") }
}

/// All the digits of an offset down to the step.
fn exact(value: f64, step: f64) -> String {
    let decimals = decimals_of(step);
    if (1e-6..LARGEST_PLAIN).contains(&value.abs()) && decimals <= 12 {
        trim_zeros(&format!("{value:.decimals$}")).to_owned()
    } else {
        scientific(value, 15)
    }
}

/// The label of a tick on a logarithmic axis, `mantissa` being 1 to 9: `1e-4`, `0.05`, `200`, `5k`.
pub(crate) fn log_label(mantissa: u32, exponent: i32) -> String {
    if (-3..15).contains(&exponent) {
        short_whole(f64::from(mantissa) * 10f64.powi(exponent))
    } else {
        format!("{mantissa}e{exponent}")
    }
}

/// Whole thousands with a suffix, also where [`show_number`] keeps all digits.
fn short_whole(value: f64) -> String {
    let suffixed = SUFFIXES.iter().find(|(factor, _)| value >= *factor && value % factor == 0.0);
    suffixed.map_or_else(|| show_number(value), |(factor, suffix)| format!("{}{suffix}", value / factor))
}

/// A time since the start of an axis, in seconds, with two units at most: `250ms`, `45s`, `1m30s`, `2h`, `3d12h`.
pub(crate) fn time_label(seconds: f64) -> String {
    if seconds == 0.0 || !seconds.is_finite() {
        return "0".to_owned();
    }
    if seconds.abs() < 1.0 {
        return format!("{}ms", show_number((seconds * 1e6).round() / 1e3));
    }
    if seconds.abs() < 60.0 {
        return format!("{}s", show_number(seconds));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let whole = seconds.abs().round() as u64;
    let (large, large_unit, small, small_unit) = match whole {
        0..3600 => (whole / 60, "m", whole % 60, "s"),
        3600..86400 => (whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => (whole / 86400, "d", whole % 86400 / 3600, "h"),
    };
    if small == 0 {
        format!("{sign}{large}{large_unit}")
    } else {
        format!("{sign}{large}{large_unit}{small:02}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_have_four_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (475.0, "475"),
            (12400.0, "12400"),
            (0.813_44, "0.8134"),
            (123.456, "123.5"),
            (12_345.6, "12.35k"),
            (999_999.9, "1M"),
            (2_500_000.0, "2.5M"),
            (0.000_012, "1.2e-5"),
            (-3.2e20, "-3.2e20"),
            (999.96, "1000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::MAX, "1.798e308"),
            (5e-324, "4.941e-324"),
        ] {
            assert_eq!(show_number(value), text, "{value}");
        }
    }

    #[test]
    fn labels_of_an_axis_share_one_form() {
        let labels = |values: &[f64], step| tick_labels(values, step).texts.join(" ");
        assert_eq!(labels(&[0.0, 0.05, 0.1], 0.05), "0 0.05 0.10");
        assert_eq!(labels(&[0.0, 2500.0, 12500.0], 500.0), "0 2.5k 12.5k");
        assert_eq!(labels(&[0.0, 1e-4, 2e-4], 1e-4), "0 1e-4 2e-4");
        assert_eq!(labels(&[-2e6, 0.0, 2e6], 2e6), "-2M 0 2M");
        assert_eq!(labels(&[0.001, 0.0015], 5e-4), "0.0010 0.0015");
        assert_eq!(labels(&[1e300, 2e300], 1e300), "1e300 2e300");
    }

    #[test]
    fn late_digits_become_an_offset() {
        let labels = tick_labels(&[1_000_000.001, 1_000_000.002], 0.001);
        assert_eq!(labels.texts, ["0", "+0.001"].map(|text| if text == "0" { "+0".into() } else { text.to_string() }));
        assert_eq!(labels.offset.as_deref(), Some("1000000.001"));
    }

    #[test]
    fn decades_and_times_read_short() {
        assert_eq!(
            [log_label(1, -4), log_label(5, -2), log_label(2, 2), log_label(1, 4)].join(" "),
            "1e-4 0.05 200 10k"
        );
        let times = [0.0, 0.25, 45.0, 90.0, 7200.0, 5400.0, 302_400.0].map(time_label);
        assert_eq!(times.join(" "), "0 250ms 45s 1m30s 2h 1h30m 3d12h");
    }

    proptest! {
        #[test]
        fn a_shown_number_reads_back_near(value in -1e14f64..1e14) {
            let text = show_number(value);
            let (number, factor) = match SUFFIXES.iter().find(|(_, suffix)| text.ends_with(suffix)) {
                Some((factor, suffix)) => (text.trim_end_matches(suffix), *factor),
                None => (text.as_str(), 1.0),
            };
            let back = number.parse::<f64>().unwrap() * factor;
            prop_assert!((back - value).abs() <= value.abs() * 1e-3, "{value} {text}");
        }

        #[test]
        fn no_number_panics(value: f64, step: f64, mantissa in 1u32..10, exponent in -330i32..310) {
            let _ = (show_number(value), tick_labels(&[value, 0.0], step), log_label(mantissa, exponent), time_label(value));
        }
    }
}
