//! Paths of SVG in few bytes: tenths of a pixel, relative to the point before.

use std::fmt::Write as _;

/// A polygon chain.
#[derive(Debug, Default)]
pub(crate) struct Path {
    out: String,
    /// The last point, in tenths of a pixel.
    at: (i64, i64),
}

/// Beyond this no picture reaches; it keeps sums of tenths exact.
const FURTHEST: f64 = 1e6;

fn tenths(value: f64) -> i64 {
    (value.clamp(-FURTHEST, FURTHEST) * 10.0).round() as i64
}

/// A coordinate with at most one decimal.
pub(crate) fn fixed(value: f64) -> String {
    let mut out = String::new();
    push(&mut out, tenths(value));
    out
}

/// Appends a number given in tenths, with a blank before it where it would run into the last one.
fn push(out: &mut String, tenths: i64) {
    if tenths >= 0 && out.ends_with(|c: char| c.is_ascii_digit()) {
        out.push(' ');
    }
    if tenths < 0 {
        out.push('-');
    }
    let (whole, rest) = (tenths.abs() / 10, tenths.abs() % 10);
    // Writing to a `String` cannot fail.
    let _ = match (whole, rest) {
        (_, 0) => write!(out, "{whole}"),
        (0, _) => write!(out, ".{rest}"),
        _ => write!(out, "{whole}.{rest}"),
    };
}

impl Path {
    /// Appends a point; one that lies where the last one does is left out.
    pub(crate) fn point(&mut self, x: f64, y: f64) {
        let next = (tenths(x), tenths(y));
        if self.out.is_empty() {
            self.out.push('M');
            push(&mut self.out, next.0);
            push(&mut self.out, next.1);
            self.out.push('l');
        } else if next != self.at {
            push(&mut self.out, next.0 - self.at.0);
            push(&mut self.out, next.1 - self.at.1);
        }
        self.at = next;
    }

    /// The path data.
    pub(crate) fn finish(mut self) -> String {
        if self.out.ends_with('l') {
            self.out.push_str("0 0");
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short() {
        let mut path = Path::default();
        for (x, y) in [(1.0, 2.0), (1.5, 1.75), (1.5, 1.75), (11.5, 2.0)] {
            path.point(x, y);
        }
        assert_eq!(path.finish(), "M1 2l.5-.2 10 .2");
    }

    #[test]
    fn one_point_is_a_path() {
        let mut path = Path::default();
        path.point(3.0, -0.04);
        assert_eq!(path.finish(), "M3 0l0 0");
    }
}
