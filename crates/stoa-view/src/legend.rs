//! Legends: colour, letter, name and last value of each curve, packed into lines.

use crate::curves::Curve;
use crate::plot::marker;
use crate::style::{Line, Style, Theme, Tint};
use crate::text::{text_width, truncate_start};

/// Blanks between two entries.
const GAP: usize = 3;
/// Names are not shortened below this.
const SHORTEST_NAME: usize = 8;

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

    fn line(&self, longest_name: usize, theme: Theme) -> Line {
        let mut line = Line::of(self.key.as_str(), self.style);
        line.push(" ", Style::PLAIN);
        line.push(truncate_start(&self.name, longest_name, theme.unicode), Style::PLAIN);
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

/// At most `most` lines. Names are shortened so that all curves have a place; what still does not fit is counted at the end.
pub(crate) fn lines(entries: &[Entry], width: usize, most: usize, theme: Theme) -> Vec<Line> {
    if entries.is_empty() {
        return vec![Line::new()];
    }
    let longest = entries.iter().map(|entry| text_width(&entry.name)).max().unwrap_or(0);
    let shortest = SHORTEST_NAME.min(longest);
    for limit in (shortest..=longest).rev() {
        let (lines, left) = pack(entries, width, most, limit, theme);
        if left == 0 {
            return lines;
        }
    }
    let (mut lines, left) = pack(entries, width, most, shortest, theme);
    if let Some(last) = lines.last_mut() {
        let more = format!("{}+{left} more", " ".repeat(GAP));
        let kept = std::mem::take(last);
        *last = if kept.width() + more.len() > width { kept.fit(width.saturating_sub(more.len())) } else { kept };
        last.push(more, Style::tint(Tint::Muted));
    }
    lines
}

/// Lines of entries whose names take at most `limit` cells, and how many entries found no place.
fn pack(entries: &[Entry], width: usize, most: usize, limit: usize, theme: Theme) -> (Vec<Line>, usize) {
    let mut lines: Vec<Line> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let line = entry.line(limit, theme);
        let may_grow = lines.len() < most && (line.width() <= width || limit <= SHORTEST_NAME);
        match lines.last_mut() {
            Some(last) if last.width() + GAP + line.width() <= width => {
                last.push(" ".repeat(GAP), Style::PLAIN);
                last.append(line);
            }
            _ if may_grow => lines.push(line),
            _ => return (lines, entries.len() - index),
        }
    }
    (lines, 0)
}
