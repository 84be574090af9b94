//! Legends: colour, letter, name and last value of each curve, packed into lines.

use crate::curves::Curve;
use crate::plot::marker;
use crate::style::{Line, Style, Theme, Tint};
use crate::text::{text_width, truncate};

/// Blanks between two entries.
const GAP: usize = 3;

/// One curve in a legend.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    key: String,
    style: Style,
    name: String,
    last: String,
}

impl Entry {
    pub(crate) fn width(&self) -> usize {
        text_width(&self.key) + 1 + text_width(&self.name) + if self.last.is_empty() { 0 } else { 1 + self.last.len() }
    }

    fn line(&self, room: usize, theme: Theme) -> Line {
        let mut line = Line::of(self.key.as_str(), self.style);
        let others = self.width() - text_width(&self.name);
        line.push(" ", Style::PLAIN);
        line.push(truncate(&self.name, room.saturating_sub(others), theme.unicode), Style::PLAIN);
        if !self.last.is_empty() {
            line.push(" ", Style::PLAIN);
            let bad = matches!(self.last.as_str(), "NaN" | "inf" | "-inf");
            line.push(self.last.as_str(), Style::bold(if bad { Tint::Bad } else { Tint::Plain }));
        }
        line
    }
}

/// An entry for each curve. The letter is left out when there is only one.
pub(crate) fn entries(curves: &[Curve], first_color: usize, theme: Theme) -> Vec<Entry> {
    let key = |index: usize| match (theme.unicode, curves.len()) {
        (true, 1) => "━━".to_owned(),
        (true, _) => format!("━━ {}", marker(index, true)),
        (false, _) => format!("{0}{0}", marker(index, false)),
    };
    let entry = |(index, curve): (usize, &Curve)| Entry {
        key: key(index),
        style: Style::bold(Tint::Series(first_color + index)),
        name: curve.name.clone(),
        last: curve.last.clone(),
    };
    curves.iter().enumerate().map(entry).collect()
}

/// At most `most` lines; what does not fit is counted at the end.
pub(crate) fn lines(entries: &[Entry], width: usize, most: usize, theme: Theme) -> Vec<Line> {
    if entries.is_empty() {
        return vec![Line::new()];
    }
    let mut lines: Vec<Line> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let left = entries.len() - index;
        let rest = if left > 1 { format!("+{} more", left - 1) } else { String::new() };
        let used = lines.last().map_or(width, Line::width);
        let reserve = if lines.len() >= most && !rest.is_empty() { GAP + rest.len() } else { 0 };
        if used + GAP + entry.width() + reserve <= width {
            let line = lines.last_mut().expect("an empty list counts as full");
            line.push(" ".repeat(GAP), Style::PLAIN);
            line.append(entry.line(width, theme));
        } else if lines.len() < most {
            let reserve = if lines.len() + 1 == most && left > 1 { GAP + rest.len() } else { 0 };
            lines.push(entry.line(width.saturating_sub(reserve), theme));
        } else {
            let line = lines.last_mut().expect("at least one line is allowed");
            line.push(format!("{}+{left} more", " ".repeat(GAP)), Style::tint(Tint::Muted));
            break;
        }
    }
    lines
}
