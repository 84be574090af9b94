//! Quantities a user types: memory, processors, time. Parsing and printing only.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a quantity could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    /// Not a size.
    #[error("`{0}` is not a memory size: use a number with K, M, G or T, such as `512M` or `2G`")]
    Bytes(String),
    /// Not a number of processors.
    #[error("`{0}` is not a number of CPUs: use a number above 0, such as `1` or `2.5`")]
    Cpus(String),
    /// Not a time span.
    #[error("`{0}` is not a time span: use a number with s, m, h or d, such as `90s`, `10m` or `1h30m`")]
    Span(String),
}

/// A number of bytes. `2G` is 2 x 1024^3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || BadQuantity::Bytes(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let number_end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
        let (number, unit) = lower.split_at(number_end);
        let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let bytes = number * f64::from(1u32 << (shift / 2)) * f64::from(1u32 << (shift - shift / 2));
        if bytes >= 1.0 && bytes < 2f64.powi(60) { Ok(Self(bytes as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Bytes {
    /// The largest unit that leaves a number of at least 1, with at most one decimal: `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let text = match units.iter().find(|(shift, _)| self.0 >= 1 << shift) {
            Some((shift, unit)) => {
                let tenths = (self.0 as f64 / 2f64.powi(*shift) * 10.0).round() as u64;
                if tenths.is_multiple_of(10) {
                    format!("{} {unit}", tenths / 10)
                } else {
                    format!("{}.{} {unit}", tenths / 10, tenths % 10)
                }
            }
            None => format!("{} B", self.0),
        };
        f.pad(&text)
    }
}

/// Processors in thousandths: `2.5` is 2500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(pub u32);

impl Cpus {
    /// How many threads make sense under this limit: the limit rounded up, at least 1.
    pub const fn threads(self) -> u32 {
        if self.0 <= 1000 { 1 } else { self.0.div_ceil(1000) }
    }
}

impl FromStr for Cpus {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let thousandths = text.trim().parse::<f64>().unwrap_or(f64::NAN) * 1000.0;
        // Below a hundredth of a processor the kernel's shortest quota (1 ms in 100 ms) cannot be expressed.
        if (10.0..=1e8).contains(&thousandths) {
            Ok(Self(thousandths.round() as u32))
        } else {
            Err(BadQuantity::Cpus(text.to_owned()))
        }
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}", f64::from(self.0) / 1000.0))
    }
}

/// Reads a time span: `90`, `90s`, `1.5h`, `1h30m`, `250ms`. A bare number is seconds.
pub fn parse_span(text: &str) -> Result<Duration, BadQuantity> {
    let bad = || BadQuantity::Span(text.to_owned());
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..number_end].parse().map_err(|_| bad())?;
        rest = &rest[number_end..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit_end] {
                "ms" => 0.001,
                "" | "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return Err(bad()),
            };
        rest = &rest[unit_end..];
    }
    if total > 0.0 && total < 1e10 { Ok(Duration::from_secs_f64(total)) } else { Err(bad()) }
}

/// Shows a time span with two units at the most: `950 ms`, `12.3 s`, `4 m 02 s`, `3 h 20 m`, `5 d 4 h`.
pub fn show_span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in
            [("1", 1), ("2G", 2 << 30), ("512m", 512 << 20), ("1.5GiB", 3 << 29), ("10 KB", 10240), ("1T", 1 << 40)]
        {
            assert_eq!(text.parse::<Bytes>().unwrap().0, bytes, "{text}");
        }
        for text in ["", "G", "0", "-1", "1X", "1e99T", "99999999T", "1.2.3"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_print_short() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 << 30, "2 GiB"), (1 << 40, "1 TiB")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn cpus_read_and_print() {
        assert_eq!("2.5".parse::<Cpus>().unwrap(), Cpus(2500));
        assert_eq!(Cpus(2500).to_string(), "2.5");
        assert_eq!([Cpus(100), Cpus(1000), Cpus(1001), Cpus(4000)].map(Cpus::threads), [1, 1, 2, 4]);
        for text in ["", "0", "-1", "nan", "inf", "all"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans_read_and_print() {
        for (text, millis) in [
            ("90", 90_000),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(parse_span(text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "0", "m", "10x", "1h-2m", "1e400s"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert_eq!(show_span(Duration::from_millis(950)), "950 ms");
        assert_eq!(show_span(Duration::from_secs(242)), "4 m 02 s");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".*") {
            let _ = (text.parse::<Bytes>(), text.parse::<Cpus>(), parse_span(&text));
        }
    }
}
