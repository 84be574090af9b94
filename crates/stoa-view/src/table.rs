//! Tables that fit the terminal: one line per row, the wide column shortened, nothing behind the last word.

use crate::style::{Line, Style, Theme, Tint};
use crate::text::{sanitize, text_width, truncate};

/// Blanks between two columns.
const GAP: usize = 2;
/// Elastic columns are shortened to this first; the others only when that is not enough.
const ELASTIC_LEAST: usize = 12;
/// No column gets narrower than this.
const LEAST: usize = 4;

/// On which side of its column a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its heading.
    pub title: String,
    /// Its side.
    pub align: Align,
    /// Whether it is shortened before the others.
    pub elastic: bool,
}

impl Column {
    /// A column of text.
    pub fn left(title: &str) -> Self {
        Self { title: title.to_owned(), align: Align::Left, elastic: false }
    }

    /// A column of numbers.
    pub fn right(title: &str) -> Self {
        Self { title: title.to_owned(), align: Align::Right, elastic: false }
    }

    /// A column of long texts.
    pub fn elastic(title: &str) -> Self {
        Self { title: title.to_owned(), align: Align::Left, elastic: true }
    }
}

/// One field of a row.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A field. Control sequences in the text are taken out.
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: sanitize(text.as_ref()), style }
    }

    /// A field in the terminal's own colour.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Style::PLAIN)
    }
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Appends a row; missing fields are empty, those without a column are left out.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Lines of at most `width` cells (any width when `None`), the headings first.
    pub fn render(&self, width: Option<usize>, theme: Theme) -> Vec<Line> {
        let widths = self.widths(width.unwrap_or(usize::MAX));
        let heading = |column: &Column| Cell::new(&column.title, Style::tint(Tint::Muted));
        let mut lines = vec![self.line(&self.columns.iter().map(heading).collect::<Vec<_>>(), &widths, theme)];
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths, theme)));
        match width {
            Some(width) => lines.into_iter().map(|line| cut(line, width)).collect(),
            None => lines,
        }
    }

    fn widths(&self, most: usize) -> Vec<usize> {
        let natural = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| text_width(&cell.text));
            cells.chain([text_width(&column.title)]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(natural).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        for (least, elastic_only) in [(ELASTIC_LEAST, true), (LEAST, true), (LEAST, false)] {
            loop {
                let total = widths.iter().sum::<usize>() + gaps;
                let may_shrink =
                    |index: &usize| widths[*index] > least && (!elastic_only || self.columns[*index].elastic);
                let Some(widest) = (0..widths.len()).filter(may_shrink).max_by_key(|index| widths[*index]) else {
                    break;
                };
                if total <= most {
                    return widths;
                }
                widths[widest] -= 1;
            }
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize], theme: Theme) -> Line {
        let mut line = Line::new();
        let mut pending = 0;
        for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
            let text = truncate(&cell.text, *width, theme.unicode);
            let rest = width - text_width(&text);
            let (before, after) = if column.align == Align::Right { (rest, 0) } else { (0, rest) };
            if text.is_empty() {
                pending += width + GAP;
                continue;
            }
            // Blanks are written when text follows, so that no line ends in them.
            line.push(" ".repeat(pending + before), Style::PLAIN);
            line.push(text, cell.style);
            pending = after + GAP;
        }
        line
    }
}

fn cut(line: Line, width: usize) -> Line {
    if line.width() <= width { line } else { line.fit(width) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn sample() -> Table {
        let mut table = Table::new(vec![Column::left("RUN"), Column::elastic("WHAT"), Column::right("STEP")]);
        let row = |cells: [&str; 3]| cells.iter().map(Cell::plain).collect();
        table.row(row(["r-1", "train.py --learning-rate 0.001 --epochs 300", "12400"]));
        table.row(row(["r-22", "学習スクリプト.py 🚀", "7"]));
        table.row(row(["r-3", "evil\u{1b}[2J\nname", ""]));
        table
    }

    fn text(width: Option<usize>) -> String {
        crate::to_text(&sample().render(width, Theme { unicode: true, ..Theme::PLAIN }), crate::ColorDepth::None)
    }

    #[test]
    fn columns_line_up_for_wide_characters_and_shrink() {
        expect![[r#"
            RUN   WHAT                                          STEP
            r-1   train.py --learning-rate 0.001 --epochs 300  12400
            r-22  学習スクリプト.py 🚀                             7
            r-3   evil name
        "#]]
        .assert_eq(&text(None));
        expect![[r#"
            RUN   WHAT                STEP
            r-1   train.py --learn…  12400
            r-22  学習スクリプト.p…      7
            r-3   evil name
        "#]]
        .assert_eq(&text(Some(30)));
    }

    proptest! {
        #[test]
        fn no_line_is_too_long_or_ends_in_blanks(width in 0usize..80, texts in prop::collection::vec(".{0,20}", 3)) {
            let mut table = sample();
            table.row(texts.iter().map(Cell::plain).collect());
            for line in table.render(Some(width), Theme::PLAIN) {
                prop_assert!(line.width() <= width);
            }
        }
    }
}
