//! Dates and ages as text. The time zone is an argument.

use std::time::Duration;
use stoa_core::run::UnixNanos;

/// When something is looked at, and where the reader's clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The time.
    pub time: UnixNanos,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset: i32,
}

impl Now {
    /// Date and time of day: `2026-03-01 14:07:09`, local time.
    pub fn date_time(self, moment: UnixNanos) -> String {
        let seconds = (moment.0 / 1_000_000_000) as i64 + i64::from(self.utc_offset);
        let (year, month, day) = civil(seconds.div_euclid(86400));
        let second = seconds.rem_euclid(86400);
        format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second % 3600 / 60, second % 60)
    }

    /// How long ago, in one unit: `now`, `42s`, `5m`, `3h`, `12d`.
    pub fn age(self, moment: UnixNanos) -> String {
        short_span(self.time.since(moment))
    }
}

/// A span in its largest unit.
pub(crate) fn short_span(span: Duration) -> String {
    match span.as_secs() {
        0 => "now".to_owned(),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

/// Year, month and day of a number of days since 1970-01-01: `civil_from_days` of Howard Hinnant's "chrono-Compatible
/// Low-Level Date Algorithms".
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds: u64, utc_offset| {
            Now { time: UnixNanos(0), utc_offset }.date_time(UnixNanos(seconds * 1_000_000_000))
        };
        assert_eq!(at(0, 0), "1970-01-01 00:00:00");
        assert_eq!(at(951_782_400, 0), "2000-02-29 00:00:00");
        assert_eq!(at(1_767_225_599, 0), "2025-12-31 23:59:59");
        assert_eq!(at(1_767_225_599, 3600), "2026-01-01 00:59:59");
        assert_eq!(at(0, -3600), "1969-12-31 23:00:00");
    }

    #[test]
    fn ages_have_one_unit() {
        let age = |seconds: u64| short_span(Duration::from_secs(seconds));
        assert_eq!([0, 42, 300, 7300, 200_000].map(age).join(" "), "now 42s 5m 2h 2d");
    }
}
