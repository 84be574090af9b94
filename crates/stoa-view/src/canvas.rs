//! A grid of dots behind characters: braille cells of 2 x 4 dots, or one dot per character in ASCII.

use crate::curves::{Column, Dot, columns};
use crate::scale::RowAxis;
use crate::style::{Style, Tint};

/// Bits of a braille cell, `[row][column]`, as the Unicode block U+2800 numbers them.
const BRAILLE: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// What curves are drawn with in ASCII.
pub(crate) const GLYPHS: [char; 8] = ['*', '+', 'x', 'o', '#', '@', '%', '&'];
/// Raw values behind a smoothed curve in ASCII.
const FAINT_GLYPH: char = '.';

/// How visible a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Raw values behind a smoothed curve; hidden where a strong layer has ink.
    Faint,
    /// The curve.
    Strong,
}

struct Layer {
    series: usize,
    weight: Weight,
    cells: Vec<u8>,
}

/// Where values lie on a canvas.
pub(crate) struct Frame<'a> {
    /// Value at the left edge and at the right one.
    pub(crate) x: (f64, f64),
    /// The vertical axis.
    pub(crate) y: &'a RowAxis,
}

/// A grid of cells and the curves on it.
pub(crate) struct Canvas {
    columns: usize,
    rows: usize,
    braille: bool,
    layers: Vec<Layer>,
}

impl Canvas {
    pub(crate) fn new(columns: usize, rows: usize, braille: bool) -> Self {
        Self { columns, rows, braille, layers: Vec::new() }
    }

    const fn dots_per_cell(&self) -> (usize, usize) {
        if self.braille { (2, 4) } else { (1, 1) }
    }

    /// The cell column of a horizontal position.
    pub(crate) fn column(&self, frame: &Frame<'_>, x: f64) -> usize {
        self.dot_column(frame, x) as usize / self.dots_per_cell().0
    }

    fn dot_column(&self, frame: &Frame<'_>, x: f64) -> i64 {
        let most = (self.columns * self.dots_per_cell().0).saturating_sub(1) as f64;
        let part = (x - frame.x.0) / (frame.x.1 - frame.x.0);
        (part * most).round().clamp(0.0, most) as i64
    }

    fn dot_row(&self, frame: &Frame<'_>, y: f64) -> i64 {
        let per_cell = self.dots_per_cell().1 as f64;
        let most = (self.rows as f64 * per_cell - 1.0).max(0.0);
        (frame.y.position(y) * per_cell).floor().clamp(0.0, most) as i64
    }

    /// The cell row of a value.
    pub(crate) fn row(&self, frame: &Frame<'_>, y: f64) -> usize {
        self.dot_row(frame, y) as usize / self.dots_per_cell().1
    }

    /// Draws lines. Every column has the full extent of its values, so that no spike is lost.
    ///
    /// `dotted` keeps every second dot, which tells raw from smoothed where there is no colour.
    pub(crate) fn draw(&mut self, lines: &[Vec<Dot>], frame: &Frame<'_>, series: usize, weight: Weight, dotted: bool) {
        let mut layer = Layer { series, weight, cells: vec![0; self.columns * self.rows] };
        for line in lines {
            let mut previous: Option<Column> = None;
            for column in columns(line, |x| self.dot_column(frame, x)) {
                let (top, bottom) = (self.dot_row(frame, column.high), self.dot_row(frame, column.low));
                (top..=bottom).for_each(|row| self.ink(&mut layer, column.column, row, dotted));
                if let Some(before) = previous {
                    let from = (before.column, self.dot_row(frame, before.last));
                    self.connect(&mut layer, from, (column.column, self.dot_row(frame, column.first)), dotted);
                }
                previous = Some(column);
            }
        }
        self.layers.push(layer);
    }

    fn connect(&self, layer: &mut Layer, from: (i64, i64), to: (i64, i64), dotted: bool) {
        let (across, down) = (to.0 - from.0, to.1 - from.1);
        let length = across.abs().max(down.abs()).max(1);
        for at in 0..=length {
            let along =
                |start: i64, distance: i64| start + (distance as f64 * at as f64 / length as f64).round() as i64;
            self.ink(layer, along(from.0, across), along(from.1, down), dotted);
        }
    }

    fn ink(&self, layer: &mut Layer, x: i64, y: i64, dotted: bool) {
        let (wide, high) = self.dots_per_cell();
        let (x, y) = (x as usize, y as usize);
        let (column, row) = (x / wide, y / high);
        if column >= self.columns || row >= self.rows || (dotted && self.braille && (x + y) % 2 == 1) {
            return;
        }
        layer.cells[row * self.columns + column] |= if self.braille { BRAILLE[y % high][x % wide] } else { 1 };
    }

    /// The character of a cell and its look; `None` where there is no ink.
    pub(crate) fn cell(&self, column: usize, row: usize, first_color: usize) -> Option<(char, Style)> {
        let index = row * self.columns + column;
        let inked = |weight: Weight| self.layers.iter().filter(move |l| l.weight == weight && l.cells[index] != 0);
        let weight = if inked(Weight::Strong).next().is_some() { Weight::Strong } else { Weight::Faint };
        // The most dots win the colour; of equals the first series.
        let top = inked(weight).rev().max_by_key(|layer| layer.cells[index].count_ones())?;
        let smoothing = self.layers.iter().any(|layer| layer.weight == Weight::Faint);
        let style = match weight {
            Weight::Strong => Style { tint: Tint::Series(first_color + top.series), bold: smoothing },
            Weight::Faint => Style::tint(Tint::Faint(first_color + top.series)),
        };
        let glyph = if self.braille {
            let dots = inked(weight).fold(0, |dots, layer| dots | layer.cells[index]);
            char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')
        } else if weight == Weight::Faint {
            FAINT_GLYPH
        } else {
            GLYPHS[top.series % GLYPHS.len()]
        };
        Some((glyph, style))
    }

    /// The rows in which the strong layer of a series has ink in a column.
    pub(crate) fn inked_rows(&self, series: usize, column: usize) -> impl Iterator<Item = usize> + '_ {
        let layer = self.layers.iter().find(move |layer| layer.series == series && layer.weight == Weight::Strong);
        (0..self.rows).filter(move |row| layer.is_some_and(|layer| layer.cells[row * self.columns + column] != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Kind;

    fn drawn(line: &[(f64, f64)], columns: usize, rows: usize, braille: bool) -> Vec<String> {
        let axis = RowAxis::new(0.0, 9.0, rows, Kind::Linear);
        let frame = Frame { x: (0.0, 9.0), y: &axis };
        let mut canvas = Canvas::new(columns, rows, braille);
        let dots: Vec<Dot> = line.iter().map(|(x, y)| Dot { x: *x, y: *y }).collect();
        canvas.draw(&[dots], &frame, 0, Weight::Strong, false);
        (0..rows).map(|r| (0..columns).map(|c| canvas.cell(c, r, 0).map_or(' ', |cell| cell.0)).collect()).collect()
    }

    #[test]
    fn a_diagonal_is_a_diagonal() {
        assert_eq!(drawn(&[(0.0, 0.0), (9.0, 9.0)], 10, 10, false)[0], "         *");
        assert_eq!(drawn(&[(0.0, 0.0), (9.0, 9.0)], 10, 10, false)[9], "*         ");
        let lines = drawn(&[(0.0, 0.0), (9.0, 9.0)], 4, 2, true);
        assert!(lines.iter().all(|line| line.chars().any(|c| c > '\u{2800}')), "{lines:?}");
    }

    #[test]
    fn a_spike_reaches_the_top() {
        let mut line: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i) * 0.009, 0.0)).collect();
        line[500].1 = 9.0;
        let lines = drawn(&line, 10, 5, false);
        assert!(lines.iter().all(|line| line.contains('*')), "{lines:?}");
    }
}
