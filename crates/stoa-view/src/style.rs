//! Styled text without a terminal: lines of spans with meanings, turned into ANSI text or plain text by a theme.

use crate::text::{char_width, text_width};
use std::fmt::Write as _;

/// How many colours the terminal shows. The caller finds out (`NO_COLOR`, `TERM`, `COLORTERM`, whether it is a terminal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorDepth {
    /// No escape sequences at all.
    None,
    /// The sixteen colours of the terminal's own palette.
    Ansi16,
    /// The 256 colours of xterm.
    Ansi256,
    /// 24 bits.
    TrueColor,
}

/// What the output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Colours.
    pub color: ColorDepth,
    /// Whether braille, box drawing and block characters can be used; otherwise ASCII only.
    pub unicode: bool,
}

impl Theme {
    /// ASCII without colour: for files, pipes and dumb terminals.
    pub const PLAIN: Theme = Theme { color: ColorDepth::None, unicode: false };
    /// Everything a modern terminal can do.
    pub const FULL: Theme = Theme { color: ColorDepth::TrueColor, unicode: true };

    /// One of two texts.
    pub(crate) fn pick<T>(self, unicode: T, ascii: T) -> T {
        if self.unicode { unicode } else { ascii }
    }

    pub(crate) fn colored(self) -> bool {
        self.color != ColorDepth::None
    }
}

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    /// The terminal's own foreground.
    Plain,
    /// Frames and axes: there, but not in the way.
    Frame,
    /// Grid lines: the same, dimmed by the terminal, which knows its background.
    Grid,
    /// Secondary text.
    Muted,
    /// What one can act on: keys, commands.
    Accent,
    /// Went well.
    Good,
    /// Needs a look.
    Warning,
    /// Went wrong.
    Bad,
    /// The colour of the n-th curve; repeats after [`SERIES_COLORS`].
    Series(usize),
    /// The same, pale: raw values behind a smoothed curve.
    Faint(usize),
}

/// How many curves have a colour of their own.
pub const SERIES_COLORS: usize = 8;

/// Colours of curves. Each has a contrast of at least 3 to 1 on black and on white (WCAG 2.1, relative luminance between
/// 0.1 and 0.3), since the background of a terminal is not known.
const SERIES: [(u8, u8, u8); SERIES_COLORS] = [
    (0x3b, 0x82, 0xf6),
    (0xe5, 0x6b, 0x10),
    (0x16, 0x9c, 0x56),
    (0xd1, 0x4e, 0xa8),
    (0x08, 0x91, 0xb2),
    (0x8b, 0x5c, 0xf6),
    (0xae, 0x80, 0x0c),
    (0xe5, 0x48, 0x4d),
];
const SERIES_16: [u8; SERIES_COLORS] = [94, 33, 32, 35, 36, 95, 93, 31];

/// Pale curves among 256 colours: chosen by hand, since the nearest of the colour cube has another hue for some.
const FAINT_256: [u8; SERIES_COLORS] = [67, 137, 65, 133, 66, 97, 101, 131];

/// The colour of a curve, for pictures.
pub(crate) const fn series_rgb(index: usize) -> (u8, u8, u8) {
    SERIES[index % SERIES_COLORS]
}

impl Tint {
    const fn rgb(self) -> Option<(u8, u8, u8)> {
        Some(match self {
            Self::Plain => return None,
            Self::Frame | Self::Grid => (0x6e, 0x76, 0x81),
            Self::Muted => (0x84, 0x8d, 0x97),
            Self::Accent => (0x08, 0x91, 0xb2),
            Self::Good => (0x16, 0x9c, 0x56),
            Self::Warning => (0xb8, 0x86, 0x0b),
            Self::Bad => (0xe5, 0x48, 0x4d),
            Self::Series(index) => series_rgb(index),
            Self::Faint(index) => pale(series_rgb(index)),
        })
    }

    /// The code among sixteen colours.
    const fn ansi16(self) -> Option<u8> {
        Some(match self {
            Self::Plain => return None,
            Self::Frame | Self::Grid | Self::Muted => 90,
            Self::Accent => 36,
            Self::Good => 32,
            Self::Warning => 33,
            Self::Bad => 31,
            Self::Series(index) | Self::Faint(index) => SERIES_16[index % SERIES_COLORS],
        })
    }
}

/// Half way to a middle grey, which is pale on black and on white.
const fn pale((red, green, blue): (u8, u8, u8)) -> (u8, u8, u8) {
    const fn mix(part: u8) -> u8 {
        ((part as u16 * 45 + 0x78 * 55) / 100) as u8
    }
    (mix(red), mix(green), mix(blue))
}

/// The nearest of xterm's 6x6x6 colour cube and its grey ramp.
fn xterm256((red, green, blue): (u8, u8, u8)) -> u8 {
    const LEVELS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |part: u8| (0..6).min_by_key(|i| (LEVELS[*i] - i32::from(part)).abs()).unwrap_or(0);
    let (r, g, b) = (nearest(red), nearest(green), nearest(blue));
    let distance = |x: [i32; 3]| {
        x.iter().zip([red, green, blue]).map(|(a, b)| (a - i32::from(b)) * (a - i32::from(b))).sum::<i32>()
    };
    let mean = (i32::from(red) + i32::from(green) + i32::from(blue)) / 3;
    let gray = ((mean - 8 + 5) / 10).clamp(0, 23);
    if distance([8 + 10 * gray; 3]) < distance([LEVELS[r], LEVELS[g], LEVELS[b]]) {
        232 + gray as u8
    } else {
        (16 + 36 * r + 6 * g + b) as u8
    }
}

/// How a span looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Its colour.
    pub tint: Tint,
    /// Bold.
    pub bold: bool,
}

impl Style {
    /// The terminal's own.
    pub const PLAIN: Style = Style { tint: Tint::Plain, bold: false };

    /// A colour.
    pub const fn tint(tint: Tint) -> Self {
        Self { tint, bold: false }
    }

    /// A colour, bold.
    pub const fn bold(tint: Tint) -> Self {
        Self { tint, bold: true }
    }

    fn open(self, depth: ColorDepth, out: &mut String) {
        if self.bold {
            out.push_str("\x1b[1m");
        }
        if self.tint == Tint::Grid || (depth == ColorDepth::Ansi16 && matches!(self.tint, Tint::Faint(_))) {
            out.push_str("\x1b[2m");
        }
        // Writing to a `String` cannot fail.
        let _ = match (depth, self.tint.rgb(), self.tint.ansi16()) {
            (ColorDepth::Ansi16, _, Some(code)) => write!(out, "\x1b[{code}m"),
            (ColorDepth::Ansi256, ..) if let Tint::Faint(index) = self.tint => {
                write!(out, "\x1b[38;5;{}m", FAINT_256[index % SERIES_COLORS])
            }
            (ColorDepth::Ansi256, Some(rgb), _) => write!(out, "\x1b[38;5;{}m", xterm256(rgb)),
            (ColorDepth::TrueColor, Some((r, g, b)), _) => write!(out, "\x1b[38;2;{r};{g};{b}m"),
            _ => Ok(()),
        };
    }
}

/// Text of one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text: one line, no control characters.
    pub text: String,
    /// Its look.
    pub style: Style,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// From left to right.
    pub spans: Vec<Span>,
}

impl Line {
    /// An empty line.
    pub const fn new() -> Self {
        Self { spans: Vec::new() }
    }

    /// A line of one look.
    pub fn of(text: impl Into<String>, style: Style) -> Self {
        let mut line = Self::new();
        line.push(text, style);
        line
    }

    /// Appends text; joins it to the last span when that looks the same.
    pub fn push(&mut self, text: impl Into<String>, style: Style) {
        let text = text.into();
        if text.is_empty() {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if last.style == style => last.text.push_str(&text),
            _ => self.spans.push(Span { text, style }),
        }
    }

    /// Appends the spans of another line.
    pub fn append(&mut self, other: Line) {
        for span in other.spans {
            self.push(span.text, span.style);
        }
    }

    /// How many cells it takes.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| text_width(&span.text)).sum()
    }

    /// The same line, cut or filled with blanks to exactly `width` cells.
    #[must_use]
    pub fn fit(self, width: usize) -> Self {
        let mut fitted = Self::new();
        let mut used = 0;
        'cut: for span in self.spans {
            let mut kept = String::new();
            for c in span.text.chars() {
                if used + char_width(c) > width {
                    fitted.push(kept, span.style);
                    break 'cut;
                }
                used += char_width(c);
                kept.push(c);
            }
            fitted.push(kept, span.style);
        }
        fitted.push(" ".repeat(width - used), Style::PLAIN);
        fitted
    }

    /// The text alone, without blanks at the end.
    pub fn to_plain(&self) -> String {
        let text: String = self.spans.iter().map(|span| span.text.as_str()).collect();
        text.trim_end().to_owned()
    }

    /// The text with escape sequences as deep as the terminal's colours, without blanks at the end.
    pub fn to_ansi(&self, depth: ColorDepth) -> String {
        if depth == ColorDepth::None {
            return self.to_plain();
        }
        let mut out = String::new();
        let inked = self.spans.iter().rposition(|span| !span.text.trim_end().is_empty()).map_or(0, |last| last + 1);
        for (index, span) in self.spans[..inked].iter().enumerate() {
            let text = if index + 1 == inked { span.text.trim_end() } else { &span.text };
            if span.style == Style::PLAIN || text.trim().is_empty() {
                out.push_str(text);
                continue;
            }
            span.style.open(depth, &mut out);
            out.push_str(text);
            out.push_str("\x1b[0m");
        }
        out
    }
}

/// Lines as text, each ended by a line feed.
pub fn to_text(lines: &[Line], depth: ColorDepth) -> String {
    lines.iter().fold(String::new(), |mut out, line| {
        out.push_str(&line.to_ansi(depth));
        out.push('\n');
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_means_no_escape_sequence() {
        let line = Line::of("good", Style::bold(Tint::Good));
        assert_eq!(line.to_ansi(ColorDepth::None), "good");
        assert_eq!(line.to_ansi(ColorDepth::Ansi16), "\x1b[1m\x1b[32mgood\x1b[0m");
        assert_eq!(line.to_ansi(ColorDepth::TrueColor), "\x1b[1m\x1b[38;2;22;156;86mgood\x1b[0m");
    }

    #[test]
    fn a_line_is_cut_or_filled_to_its_width() {
        let mut line = Line::of("日本", Style::PLAIN);
        line.push("語x", Style::tint(Tint::Bad));
        assert_eq!(line.clone().fit(5).width(), 5);
        assert_eq!(line.clone().fit(5).to_plain(), "日本");
        assert_eq!(line.clone().fit(9).width(), 9);
        assert_eq!(line.fit(9).to_ansi(ColorDepth::Ansi16), "日本\x1b[31m語x\x1b[0m");
    }

    #[test]
    fn curve_colours_are_readable_on_black_and_on_white() {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        for (r, g, b) in SERIES {
            let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
            assert!(
                (luminance + 0.05) / 0.05 >= 3.0 && 1.05 / (luminance + 0.05) >= 3.0,
                "{r:x}{g:x}{b:x} {luminance}"
            );
        }
    }

    #[test]
    fn the_256_colours_keep_curves_apart() {
        let codes: std::collections::BTreeSet<u8> = SERIES.iter().map(|rgb| xterm256(*rgb)).collect();
        assert_eq!(codes.len(), SERIES_COLORS);
        assert_eq!(xterm256((0x80, 0x80, 0x80)), 244);
        assert_eq!(xterm256((255, 0, 0)), 196);
    }
}
