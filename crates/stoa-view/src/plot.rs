//! Curves in the terminal: axes, legend, curves, marks and notes, for any size.

use crate::canvas::{Canvas, Frame, GLYPHS, Weight};
use crate::curves::{Curves, Mark, XAxis};
use crate::legend;
use crate::number::show_number;
use crate::scale::{Kind, RowAxis, Tick, Ticks, fitting_ticks};
use crate::style::{Line, Style, Theme, Tint};
use crate::text::{sanitize, text_width, truncate};
use std::collections::BTreeMap;
use stoa_core::metric::Series;

/// Curves of some series on common axes.
///
/// Honest by construction: each column shows the full extent of its values, ticks lie exactly where they stand, lines break
/// at values that cannot be drawn, and those are marked at their step and counted below.
#[derive(Debug, Clone)]
pub struct Plot<'a> {
    /// What to draw, in the order of the legend.
    pub series: Vec<&'a Series>,
    /// What the horizontal axis counts.
    pub x: XAxis,
    /// Logarithmic vertical axis.
    pub log_y: bool,
    /// Weight of the moving average, from 0 to 1 (see [`crate::smooth()`]); raw values stay visible behind it.
    pub smoothing: Option<f64>,
    /// Whether a note tells of the smoothing; off where the reader is told beside the plot.
    pub smoothing_note: bool,
    /// A line above; empty for none.
    pub title: String,
    /// The colour of the first series; the others follow.
    pub first_color: usize,
    /// Cells across.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// What the output can show.
    pub theme: Theme,
}

/// From this height on, notes have a line of their own.
const NOTES_FROM: usize = 7;
/// From this height on, the horizontal axis has labels; one line less, and it is a bare line.
const LABELS_FROM: usize = 5;
/// From this width on, the vertical axis has labels.
const Y_LABELS_FROM: usize = 16;
/// From this width on, curves carry their letter at their end.
const LETTERS_FROM: usize = 36;

impl<'a> Plot<'a> {
    /// A plot over training steps with a linear axis and without smoothing or title.
    pub fn new(series: Vec<&'a Series>, width: usize, height: usize, theme: Theme) -> Self {
        Self {
            series,
            x: XAxis::Step,
            log_y: false,
            smoothing: None,
            smoothing_note: true,
            title: String::new(),
            first_color: 0,
            width,
            height,
            theme,
        }
    }

    /// Draws it: exactly `height` lines of exactly `width` cells.
    pub fn render(&self) -> Vec<Line> {
        if self.width == 0 || self.height == 0 {
            return vec![Line::new(); self.height];
        }
        let curves = self.curves();
        let drawing = Drawing::new(self, &curves, !curves.notes.is_empty());
        let drawing = if drawing.notes.is_empty() || drawing.has_notes_line {
            drawing
        } else {
            Drawing::new(self, &curves, true)
        };
        let mut lines = drawing.lines();
        lines.truncate(self.height);
        lines.resize(self.height, Line::new());
        lines.into_iter().map(|line| line.fit(self.width)).collect()
    }

    pub(crate) fn curves(&self) -> Curves {
        let mut curves = Curves::new(&self.series, self.x, self.log_y, self.smoothing);
        if self.smoothing_note
            && let Some(weight) = self.smoothing.filter(|weight| *weight > 0.0)
        {
            curves.notes.push(format!("smoothed {}, raw values behind", show_number(weight)));
        }
        curves
    }

    fn y_kind(&self) -> Kind {
        if self.log_y { Kind::Log } else { Kind::Linear }
    }
}

/// The letter or sign by which a curve is known without colour.
pub(crate) fn marker(index: usize, unicode: bool) -> char {
    if unicode { char::from(b'A' + (index % 26) as u8) } else { GLYPHS[index % GLYPHS.len()] }
}

/// Everything about a plot that depends on its size.
struct Drawing<'p> {
    plot: &'p Plot<'p>,
    curves: &'p Curves,
    header: Vec<Line>,
    notes: Vec<String>,
    has_notes_line: bool,
    rows: usize,
    columns: usize,
    /// Cells of the labels of the vertical axis.
    label_width: usize,
    y: RowAxis,
    x: Ticks,
    canvas: Canvas,
    /// What lies over the curves, by row and column; the column after the last is the margin.
    overlay: BTreeMap<(usize, usize), (char, Style)>,
}

impl<'p> Drawing<'p> {
    fn new(plot: &'p Plot<'p>, curves: &'p Curves, wants_notes: bool) -> Self {
        let has_notes_line = wants_notes && plot.height >= NOTES_FROM;
        let header = if plot.height >= 4 { header(plot, curves, has_notes_line) } else { Vec::new() };
        let below =
            usize::from(plot.height >= 4) + usize::from(plot.height >= LABELS_FROM) + usize::from(has_notes_line);
        let rows = plot.height.saturating_sub(header.len() + below).max(1);
        let (low, high) = curves.y_range.unwrap_or((0.0, 1.0));
        let mut y = RowAxis::new(low, high, rows, plot.y_kind());
        if curves.y_range.is_none() || plot.width < Y_LABELS_FROM {
            y.ticks.clear();
        }
        let label_width = y.ticks.iter().map(|(_, tick)| text_width(&tick.label)).max().unwrap_or(0);
        let margin = if curves.list.len() > 1 && plot.width >= LETTERS_FROM { 2 } else { 0 };
        let columns = plot.width.saturating_sub(label_width + 2 + margin).max(1);
        let mut drawing = Self {
            plot,
            curves,
            header,
            notes: curves.notes.clone(),
            has_notes_line,
            rows,
            columns,
            label_width,
            y,
            x: Ticks::default(),
            canvas: Canvas::new(columns, rows, plot.theme.unicode),
            overlay: BTreeMap::new(),
        };
        drawing.draw_curves();
        drawing.place_lone_points();
        drawing.place_letters();
        drawing.place_marks();
        drawing.choose_x_ticks();
        drawing.notes.extend(drawing.y.offset.as_ref().map(|offset| format!("values: add {offset}")));
        drawing.notes.extend(drawing.x.offset.as_ref().map(|offset| format!("steps: add {offset}")));
        drawing
    }

    fn frame(&self) -> Frame<'_> {
        Frame { x: self.curves.x_range, y: &self.y }
    }

    fn draw_curves(&mut self) {
        let mut canvas = std::mem::replace(&mut self.canvas, Canvas::new(0, 0, false));
        let dotted = !self.plot.theme.colored();
        for (index, curve) in self.curves.list.iter().enumerate() {
            if !curve.smoothed.is_empty() {
                canvas.draw(&curve.raw, &self.frame(), index, Weight::Faint, dotted);
            }
            canvas.draw(curve.strong(), &self.frame(), index, Weight::Strong, false);
        }
        self.canvas = canvas;
    }

    /// A point without neighbours is one dot of a braille cell: easily missed, so that it gets a bullet.
    fn place_lone_points(&mut self) {
        if !self.plot.theme.unicode {
            return;
        }
        for (index, curve) in self.curves.list.iter().enumerate() {
            for line in curve.strong().iter().filter(|line| line.len() == 1) {
                let cell = (self.canvas.row(&self.frame(), line[0].y), self.canvas.column(&self.frame(), line[0].x));
                self.overlay.insert(cell, ('•', self.series_style(index)));
            }
        }
    }

    fn series_style(&self, index: usize) -> Style {
        Style::bold(Tint::Series(self.plot.first_color + index))
    }

    /// A letter at the end of each curve; without colour also along it, since braille dots look all the same.
    fn place_letters(&mut self) {
        if self.curves.list.len() < 2 || self.plot.width < LETTERS_FROM {
            return;
        }
        let unicode = self.plot.theme.unicode;
        for (index, curve) in self.curves.list.iter().enumerate() {
            let Some(end) = curve.end() else { continue };
            let column = self.canvas.column(&self.frame(), end.x) + 1;
            let row = self.canvas.row(&self.frame(), end.y);
            let near = [0, -1, 1, -2, 2, -3, 3].map(|away| row.checked_add_signed(away));
            let free =
                near.into_iter().flatten().find(|row| *row < self.rows && !self.overlay.contains_key(&(*row, column)));
            if let Some(row) = free {
                self.overlay.insert((row, column), (marker(index, unicode), self.series_style(index)));
            }
        }
        if !self.plot.theme.colored() && unicode {
            self.letter_curves();
        }
    }

    fn letter_curves(&mut self) {
        let count = self.curves.list.len();
        let every = (self.columns / 4).max(2 * count).max(8);
        for index in 0..count {
            let mut column = every / 4 + index * every / count;
            while column < self.columns {
                if let Some(row) = self.canvas.inked_rows(index, column).next() {
                    let letter = (marker(index, true), self.series_style(index));
                    self.overlay.entry((row, column)).or_insert(letter);
                }
                column += every;
            }
        }
    }

    /// NaN on the horizontal axis, infinities at the edge they left through.
    fn place_marks(&mut self) {
        for (index, curve) in self.curves.list.iter().enumerate() {
            let tint = if self.curves.list.len() > 1 { self.series_style(index) } else { Style::bold(Tint::Bad) };
            for (x, mark) in &curve.marks {
                let column = self.canvas.column(&self.frame(), *x);
                let (row, glyph) = match mark {
                    Mark::NotANumber => (self.axis_row(), '!'),
                    Mark::Infinite => (0, self.plot.theme.pick('▲', '^')),
                    Mark::NegativeInfinite => (self.axis_row(), self.plot.theme.pick('▼', 'v')),
                };
                self.overlay.insert((row, column), (glyph, tint));
            }
        }
    }

    /// The line of the horizontal axis counts as a row below the curves, where there is one.
    fn axis_row(&self) -> usize {
        if self.plot.height >= 4 { self.rows } else { self.rows - 1 }
    }

    fn choose_x_ticks(&mut self) {
        if self.plot.height < LABELS_FROM || self.curves.list.iter().all(|c| c.raw.is_empty() && c.marks.is_empty()) {
            return;
        }
        let (low, high) = self.curves.x_range;
        let fits = |ticks: &[Tick]| {
            let mut free_from = 0;
            ticks.iter().all(|tick| {
                let (start, end) = self.label_cells(tick);
                let fits = start >= free_from && end <= self.plot.width;
                free_from = end + 3;
                fits
            })
        };
        self.x = fitting_ticks(low, high, (self.columns / 7).max(1), self.plot.x.kind(), fits);
    }

    /// Where the label of a horizontal tick begins and ends: centred, pushed inside at the right edge.
    fn label_cells(&self, tick: &Tick) -> (usize, usize) {
        let width = text_width(&tick.label);
        let center = self.label_width + 2 + self.canvas.column(&self.frame(), tick.at);
        let start = center.saturating_sub(width / 2).min(self.plot.width.saturating_sub(width));
        (start, start + width)
    }

    fn lines(mut self) -> Vec<Line> {
        self.place_message();
        let mut lines = std::mem::take(&mut self.header);
        lines.extend((0..self.rows).map(|row| self.row(row)));
        if self.plot.height >= 4 {
            lines.push(self.axis());
        }
        if self.plot.height >= LABELS_FROM {
            lines.push(self.x_labels());
        }
        if self.has_notes_line {
            lines.push(self.notes_line());
        }
        lines
    }

    /// Says why there is no curve.
    fn place_message(&mut self) {
        if self.curves.y_range.is_some() {
            return;
        }
        let known = self.plot.series.iter().any(|series| !series.points.is_empty());
        let text = if known { "nothing to draw" } else { "no points yet" };
        let text = truncate(text, self.columns, self.plot.theme.unicode);
        let start = (self.columns - text_width(&text)) / 2;
        for (offset, c) in text.chars().enumerate() {
            self.overlay.insert((self.rows / 2, start + offset), (c, Style::tint(Tint::Muted)));
        }
    }

    fn row(&self, row: usize) -> Line {
        let theme = self.plot.theme;
        let tick = self.y.ticks.iter().find(|(at, _)| *at == row).map(|(_, tick)| tick);
        let label = tick.map_or("", |tick| tick.label.as_str());
        let mut line = Line::of(format!("{label:>width$} ", width = self.label_width), Style::tint(Tint::Muted));
        let edge = if tick.is_some() { theme.pick("┤", "+") } else { theme.pick("│", "|") };
        line.push(edge, Style::tint(Tint::Frame));
        for column in 0..self.columns + 2 {
            let on_canvas = column < self.columns;
            let cell = self.overlay.get(&(row, column)).copied();
            let cell =
                cell.or_else(|| on_canvas.then(|| self.canvas.cell(column, row, self.plot.first_color)).flatten());
            match cell {
                Some((glyph, style)) => line.push(glyph, style),
                None if tick.is_some() && on_canvas => line.push(self.grid(column), Style::tint(Tint::Grid)),
                None => line.push(' ', Style::PLAIN),
            }
        }
        line
    }

    /// Grid lines help where colour keeps them in the background; without it they are a sparse row of dots.
    fn grid(&self, column: usize) -> char {
        match (self.plot.theme.unicode, self.plot.theme.colored()) {
            (true, true) => '┈',
            (true, false) if column % 4 == 3 => '·',
            _ => ' ',
        }
    }

    fn axis(&self) -> Line {
        let theme = self.plot.theme;
        let mut line = Line::of(" ".repeat(self.label_width + 1), Style::PLAIN);
        line.push(theme.pick('└', '+'), Style::tint(Tint::Frame));
        let ticks: Vec<usize> = self.x.list.iter().map(|tick| self.canvas.column(&self.frame(), tick.at)).collect();
        for column in 0..self.columns {
            match self.overlay.get(&(self.rows, column)) {
                Some((glyph, style)) => line.push(*glyph, *style),
                None if ticks.contains(&column) => line.push(theme.pick('┬', '+'), Style::tint(Tint::Frame)),
                None => line.push(theme.pick('─', '-'), Style::tint(Tint::Frame)),
            }
        }
        line
    }

    fn x_labels(&self) -> Line {
        let name = match self.plot.x {
            XAxis::Step => "step",
            XAxis::Time => "time",
        };
        let named = self.columns >= 24 && !self.x.list.is_empty();
        let limit = if named { self.plot.width - name.len() - 2 } else { self.plot.width };
        let mut line = Line::new();
        for tick in &self.x.list {
            let (start, end) = self.label_cells(tick);
            if end <= limit {
                line.push(" ".repeat(start.saturating_sub(line.width())), Style::PLAIN);
                line.push(tick.label.as_str(), Style::tint(Tint::Muted));
            }
        }
        if named {
            line.push(" ".repeat(self.plot.width - name.len() - line.width()), Style::PLAIN);
            line.push(name, Style::tint(Tint::Frame));
        }
        line
    }

    fn notes_line(&self) -> Line {
        let separator = self.plot.theme.pick(" · ", " | ");
        let mut line = Line::of(" ".repeat((self.label_width + 2).min(self.plot.width / 4)), Style::PLAIN);
        let room = self.plot.width - line.width();
        let mut notes = Line::new();
        for note in &self.notes {
            let tint = if note.starts_with('!') { Tint::Bad } else { Tint::Muted };
            if !notes.spans.is_empty() {
                notes.push(separator, Style::tint(Tint::Frame));
            }
            let note = truncate(note, room.saturating_sub(notes.width()), self.plot.theme.unicode);
            notes.push(note, Style::tint(tint));
        }
        line.append(notes);
        line
    }
}

/// Title and legend; in one line where both fit. Low plots have no line for notes, so that they stand here.
fn header(plot: &Plot<'_>, curves: &Curves, has_notes_line: bool) -> Vec<Line> {
    let title = sanitize(&plot.title);
    let one = curves.list.len() == 1 && (title.is_empty() || title == curves.list[0].name);
    let title = if one { String::new() } else { truncate(&title, plot.width, plot.theme.unicode) };
    let most = if plot.height >= 16 { 3 } else { usize::from(plot.height >= 9) + 1 };
    let entries = legend::entries(&curves.list, plot.first_color, plot.theme);
    let mut first = if title.is_empty() { Line::new() } else { Line::of(title, Style::bold(Tint::Plain)) };
    let room = plot.width.saturating_sub(first.width() + 3);
    let mut lines = if first.spans.is_empty() {
        legend::lines(&entries, plot.width, most, plot.theme)
    } else if entries.iter().map(|entry| entry.width() + 3).sum::<usize>() <= room + 3 {
        let legend = legend::lines(&entries, room, 1, plot.theme).pop().unwrap_or_default();
        first.push(" ".repeat(plot.width - first.width() - legend.width()), Style::PLAIN);
        first.append(legend);
        vec![first]
    } else if plot.height >= 8 {
        let mut lines = vec![first];
        lines.extend(legend::lines(&entries, plot.width, most, plot.theme));
        lines
    } else {
        legend::lines(&entries, plot.width, 1, plot.theme)
    };
    if let (false, Some(last)) = (has_notes_line || curves.notes.is_empty(), lines.last_mut()) {
        last.push(format!("  {}", curves.notes.join(plot.theme.pick(" · ", " | "))), Style::tint(Tint::Warning));
    }
    lines
}
