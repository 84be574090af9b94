//! The full-screen view of a run: header, a grid of curves, the end of its output, keys. And a small one for in between.

use crate::curves::XAxis;
use crate::moment::Now;
use crate::number::show_number;
use crate::plot::Plot;
use crate::runs::state_text;
use crate::spark::sparkline_from_zero;
use crate::style::{Line, Style, Theme, Tint};
use crate::text::{sanitize, text_width, truncate, truncate_start};
use crate::watching::{KEYS, Layout, Watching, group_of, importance};
use std::collections::BTreeMap;
use stoa_core::metric::{Origin, Series};
use stoa_core::run::RunRecord;
use stoa_core::units::{Bytes, show_span};

/// The smallest plot of the grid, below which fewer are shown.
const LEAST_PLOT: (usize, usize) = (34, 8);
/// Cells between plots.
const GAP: usize = 3;
/// A plot this many times wider than high (in cells) looks right, since cells are twice as high as wide.
const BEST_RATIO: f64 = 3.8;
/// Cells of the sparklines in the header.
const SPARK: usize = 12;

/// Everything that is seen of a run at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Dashboard<'a> {
    /// The run.
    pub record: &'a RunRecord,
    /// Its series, system ones among them.
    pub series: &'a [Series],
    /// The last lines of its output; may hold anything.
    pub log: &'a [String],
    /// What the user chose.
    pub watching: &'a Watching,
    /// The time.
    pub now: Now,
    /// What the output can show.
    pub theme: Theme,
}

/// Heights of the parts.
struct Heights {
    header: usize,
    plots: usize,
    log: usize,
    footer: usize,
}

impl<'a> Dashboard<'a> {
    /// Draws it: exactly `height` lines of exactly `width` cells.
    pub fn render(&self, width: usize, height: usize) -> Vec<Line> {
        let shown = self.shown();
        let heights = self.heights(height, shown.is_empty());
        let mut lines = self.header(width, heights.header);
        let (grid, from, to) = self.grid(&shown, width, heights.plots);
        lines.extend(grid);
        lines.extend(self.log_lines(width, heights.log));
        if heights.footer > 0 {
            lines.push(self.footer(width, (from, to, shown.len())));
        }
        lines.truncate(height);
        lines.resize(height, Line::new());
        lines.into_iter().map(|line| line.fit(width)).collect()
    }

    /// What a screen of this size has place for; [`Watching::apply`] needs it.
    pub fn layout(&self, width: usize, height: usize) -> Layout {
        let plots = self.shown().len();
        let heights = self.heights(height, plots == 0);
        let (columns, rows) = best_grid(plots.max(1), width, heights.plots.max(1));
        let output_hidden = self.log.len().saturating_sub(heights.log.saturating_sub(1));
        Layout { plots, per_page: columns * rows, output_hidden }
    }

    /// The series the grid has place for, by group: the group with the metric that matters most first, the system's last.
    fn shown(&self) -> Vec<&'a Series> {
        let mut shown: Vec<&Series> = self.series.iter().filter(|series| self.watching.shows(series)).collect();
        let mut best: BTreeMap<&str, _> = BTreeMap::new();
        for series in &shown {
            let first = best.entry(group_of(&series.summary.name)).or_insert_with(|| importance(series));
            *first = importance(series).min(first.clone());
        }
        shown.sort_by_cached_key(|series| {
            let group = best.get(group_of(&series.summary.name)).cloned();
            (series.summary.origin == Origin::System, group, importance(series))
        });
        shown
    }

    fn heights(&self, height: usize, no_plots: bool) -> Heights {
        let header = match height {
            0..=9 => 1,
            10..=15 => 2,
            _ => 3,
        };
        let footer = usize::from(height >= 6);
        let rest = height.saturating_sub(header + footer);
        let log = match rest {
            _ if self.log.is_empty() => 0,
            0..=11 if !no_plots => 0,
            _ if no_plots => rest.saturating_sub(6),
            _ => (rest / 4).clamp(4, 14),
        };
        Heights { header, plots: rest - log.min(rest), log, footer }
    }

    fn header(&self, width: usize, height: usize) -> Vec<Line> {
        let record = self.record;
        let mut lines = vec![header_line(record, self.series, self.watching.paused, self.now, width, self.theme)];
        if height >= 2 {
            let end = record.end.as_ref().map(|end| sanitize(&end.to_string())).unwrap_or_default();
            let room = width.saturating_sub(if end.is_empty() { 0 } else { text_width(&end) + 3 });
            let what = truncate(&sanitize(&record.spec.program.summary()), room, self.theme.unicode);
            let mut line = Line::of(what, Style::tint(Tint::Muted));
            if !end.is_empty() {
                line.push(" ".repeat(width.saturating_sub(line.width() + text_width(&end))), Style::PLAIN);
                line.push(end, state_text(record.state, self.theme).1);
            }
            lines.push(line);
        }
        if height >= 3 {
            lines.push(rule("", width, self.theme));
        }
        lines
    }

    /// The lines of the grid, and which plots they show.
    fn grid(&self, shown: &[&'a Series], width: usize, height: usize) -> (Vec<Line>, usize, usize) {
        if height == 0 {
            return (Vec::new(), 0, 0);
        }
        if shown.is_empty() {
            return (self.nothing_to_plot(width, height), 0, 0);
        }
        if let Some(series) = self.watching.focus.and_then(|focus| shown.get(focus)) {
            let place = self.watching.focus.unwrap_or(0);
            return (self.plot(series, shown, width, height), place, place + 1);
        }
        let (columns, rows) = best_grid(shown.len(), width, height);
        let per_page = columns * rows;
        let from = self.watching.first_plot.min(shown.len().saturating_sub(1)) / per_page * per_page;
        let page = &shown[from..(from + per_page).min(shown.len())];
        let mut lines = Vec::new();
        for (index, row) in page.chunks(columns).enumerate() {
            // Lines that do not divide evenly go to the upper rows.
            let cell_height = height / rows + usize::from(index < height % rows);
            // A last row that is not full is stretched, unless it is the end of several pages.
            let across = if shown.len() <= per_page { row.len() } else { columns };
            let cell_width = (width.saturating_sub(GAP * (across - 1)) / across).max(1);
            let plots = row.iter().map(|series| self.plot(series, shown, cell_width, cell_height));
            lines.extend(beside(&plots.collect::<Vec<_>>(), cell_height));
        }
        lines.resize(height, Line::new());
        (lines, from, from + page.len())
    }

    fn plot(&self, series: &'a Series, shown: &[&'a Series], width: usize, height: usize) -> Vec<Line> {
        let mut groups: Vec<&str> = shown.iter().map(|series| group_of(&series.summary.name)).collect();
        groups.dedup();
        let color = groups.iter().position(|group| *group == group_of(&series.summary.name)).unwrap_or(0);
        Plot {
            x: self.watching.x,
            log_y: self.watching.log_y,
            smoothing: self.watching.smoothing,
            // The footer says so.
            smoothing_note: false,
            first_color: color,
            ..Plot::new(vec![series], width, height, self.theme)
        }
        .render()
    }

    fn nothing_to_plot(&self, width: usize, height: usize) -> Vec<Line> {
        let text = if self.series.iter().any(|series| series.summary.origin != Origin::System) {
            "no metric is selected"
        } else if self.record.state.ended() {
            "this run logged no metrics"
        } else {
            "waiting for metrics: stoa.log({\"loss\": x}, step=n), or TensorBoard files"
        };
        let text = truncate(text, width, self.theme.unicode);
        let mut lines = vec![Line::new(); height];
        let mut line = Line::of(" ".repeat((width - text_width(&text)) / 2), Style::PLAIN);
        line.push(text, Style::tint(Tint::Muted));
        lines[height / 2] = line;
        lines
    }

    fn log_lines(&self, width: usize, height: usize) -> Vec<Line> {
        if height == 0 {
            return Vec::new();
        }
        let room = height - 1;
        let end = self.log.len().saturating_sub(self.watching.log_scroll.min(self.log.len().saturating_sub(room)));
        let hidden = self.log.len() - end;
        let title = if hidden > 0 { format!("output, {hidden} lines below") } else { "output".to_owned() };
        let mut lines = vec![rule(&title, width, self.theme)];
        for text in &self.log[end.saturating_sub(room)..end] {
            lines.push(Line::of(truncate(&last_state(text), width, self.theme.unicode), Style::PLAIN));
        }
        lines.resize(height, Line::new());
        lines
    }

    fn footer(&self, width: usize, (from, to, all): (usize, usize, usize)) -> Line {
        let watching = self.watching;
        let mut right = String::new();
        if all > to - from {
            right = format!("{}-{to} of {all}", from + 1);
        }
        let mut line = Line::new();
        for (key, what, _) in KEYS {
            let on = match key {
                'l' => watching.log_y,
                's' => watching.smoothing.is_some(),
                't' => watching.x == XAxis::Time,
                'p' => watching.paused,
                _ => false,
            };
            let what = match (key, watching.smoothing) {
                ('s', Some(weight)) => format!("{what} {}", show_number(weight)),
                _ => what.to_owned(),
            };
            if line.width() + what.len() + 4 + right.len() > width {
                break;
            }
            line.push(key, Style::bold(Tint::Accent));
            line.push(" ", Style::PLAIN);
            line.push(what, if on { Style::bold(Tint::Plain) } else { Style::tint(Tint::Muted) });
            line.push("  ", Style::PLAIN);
        }
        line.push(" ".repeat(width.saturating_sub(line.width() + right.len())), Style::PLAIN);
        line.push(right, Style::tint(Tint::Muted));
        line
    }
}

/// What a line of output looks like in the end: a carriage return starts it anew, as progress bars do.
fn last_state(text: &str) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    sanitize(text.rsplit('\r').next().unwrap_or(text))
}

/// State, name, id and time; processor and memory at the right.
fn header_line(record: &RunRecord, series: &[Series], paused: bool, now: Now, width: usize, theme: Theme) -> Line {
    let (state, style) = state_text(record.state, theme);
    let mut line = Line::of(state, Style { bold: true, ..style });
    line.push("  ", Style::PLAIN);
    line.push(truncate_start(&sanitize(&record.name), (width / 3).max(8), theme.unicode), Style::bold(Tint::Plain));
    line.push(format!("  {}", record.id), Style::tint(Tint::Muted));
    if let Some(span) = record.duration(now.time) {
        line.push(format!("  {}", show_span(span)), Style::PLAIN);
    }
    if record.attempt > 1 {
        line.push(format!("  attempt {}", record.attempt), Style::tint(Tint::Warning));
    }
    if paused {
        line.push("  paused", Style::bold(Tint::Warning));
    }
    let mut right = Line::new();
    for (name, label) in [("system/cpu", "cpu"), ("system/memory", "mem")] {
        right.append(gauge(series, name, label, theme));
    }
    if line.width() + right.width() + 2 <= width {
        line.push(" ".repeat(width - line.width() - right.width()), Style::PLAIN);
        line.append(right);
    }
    line
}

/// Label, sparkline and last value of a system series; empty without one.
fn gauge(series: &[Series], name: &str, label: &str, theme: Theme) -> Line {
    let Some(series) = series.iter().find(|series| series.summary.name == name) else { return Line::new() };
    let Some(last) = series.summary.last.or(series.points.last().copied()) else { return Line::new() };
    let recent = &series.points[series.points.len().saturating_sub(SPARK)..];
    let memory = name.ends_with("memory");
    let value = if memory { Bytes(last.value.max(0.0) as u64).to_string() } else { format!("{:.1}", last.value) };
    let spark = sparkline_from_zero(recent, SPARK, theme);
    let mut line = Line::of(format!("  {label} "), Style::tint(Tint::Muted));
    line.push(spark, Style::tint(Tint::Accent));
    line.push(format!(" {value}"), Style::PLAIN);
    line
}

fn rule(title: &str, width: usize, theme: Theme) -> Line {
    let dash = theme.pick("─", "-");
    let title = if title.is_empty() { String::new() } else { format!(" {title} ") };
    let mut line = Line::of(dash.repeat(2.min(width)), Style::tint(Tint::Frame));
    line.push(title, Style::tint(Tint::Muted));
    line.push(dash.repeat(width.saturating_sub(line.width())), Style::tint(Tint::Frame));
    line
}

/// Columns and rows for `count` plots: as many as fit, in the best shape.
fn best_grid(count: usize, width: usize, height: usize) -> (usize, usize) {
    let most_columns = ((width + GAP) / (LEAST_PLOT.0 + GAP)).max(1);
    let most_rows = (height / LEAST_PLOT.1).max(1);
    let shape = |columns: usize| {
        let rows = count.div_ceil(columns).min(most_rows);
        let ratio = (width as f64 / columns as f64) / (height as f64 / rows as f64);
        (rows, (count.min(columns * rows), -(ratio / BEST_RATIO).ln().abs()))
    };
    let best = (1..=most_columns.min(count))
        .max_by(|a, b| shape(*a).1.partial_cmp(&shape(*b).1).unwrap_or(std::cmp::Ordering::Equal));
    let columns = best.unwrap_or(1);
    (columns, shape(columns).0)
}

fn beside(plots: &[Vec<Line>], height: usize) -> Vec<Line> {
    (0..height)
        .map(|row| {
            plots.iter().enumerate().fold(Line::new(), |mut line, (index, plot)| {
                if index > 0 {
                    line.push(" ".repeat(GAP), Style::PLAIN);
                }
                line.append(plot.get(row).cloned().unwrap_or_default());
                line
            })
        })
        .collect()
}

/// A live view of a few lines that is drawn again in place: header, the curve that matters most, the last value of the others.
///
/// Exactly `height` lines of exactly `width` cells.
pub fn inline_view(
    record: &RunRecord,
    series: &[Series],
    now: Now,
    width: usize,
    height: usize,
    theme: Theme,
) -> Vec<Line> {
    let mut lines = vec![header_line(record, series, false, now, width, theme)];
    let mut metrics: Vec<&Series> = series.iter().filter(|series| series.summary.origin != Origin::System).collect();
    metrics.sort_by_key(|series| importance(series));
    let others = others_line(metrics.get(1..).unwrap_or_default(), width);
    let room = height.saturating_sub(1 + usize::from(others.is_some()));
    match metrics.first() {
        Some(first) => lines.extend(Plot::new(vec![first], width, room, theme).render()),
        None => lines.push(Line::of("waiting for metrics", Style::tint(Tint::Muted))),
    }
    lines.extend(others);
    lines.truncate(height);
    lines.resize(height, Line::new());
    lines.into_iter().map(|line| line.fit(width)).collect()
}

fn others_line(others: &[&Series], width: usize) -> Option<Line> {
    let mut line = Line::new();
    for series in others {
        let Some(last) = series.summary.last else { continue };
        let (name, value) = (sanitize(&series.summary.name), show_number(last.value));
        if line.width() + text_width(&name) + value.len() + 4 > width {
            break;
        }
        line.push(if line.spans.is_empty() { "" } else { "   " }, Style::PLAIN);
        line.push(format!("{name} "), Style::tint(Tint::Muted));
        line.push(value, if last.value.is_finite() { Style::PLAIN } else { Style::bold(Tint::Bad) });
    }
    (!line.spans.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, record, series, system};
    use crate::style::{ColorDepth, to_text};
    use expect_test::expect;
    use proptest::prelude::*;
    use stoa_core::run::{EndReason, RunState};

    const UNICODE: Theme = Theme { unicode: true, ..Theme::PLAIN };

    fn sample() -> Vec<Series> {
        let ramp: Vec<f64> = (0..60).map(f64::from).collect();
        let fall: Vec<f64> = (1..60).map(|i| 10.0 / f64::from(i)).collect();
        let mut all =
            vec![series("train/loss", &fall), series("rollout/reward", &ramp), series("train/lr", &[1e-3, 5e-4, 1e-4])];
        all.push(system("system/cpu", &[0.5, 1.9, 2.0]));
        all.push(system("system/memory", &[2e8, 3e8, 4e8]));
        all
    }

    fn drawn(record: &RunRecord, watching: &Watching, width: usize, height: usize) -> String {
        let log: Vec<String> = (0..30).map(|i| format!("\u{1b}[32mepoch {i}\u{1b}[0m loss {}", 30 - i)).collect();
        let all = sample();
        let dashboard = Dashboard { record, series: &all, log: &log, watching, now: NOW, theme: UNICODE };
        to_text(&dashboard.render(width, height), ColorDepth::None)
    }

    #[test]
    fn a_dashboard_has_header_curves_output_and_keys() {
        let record = record("cartpole-ppo", RunState::Running, None);
        expect![[r#"
            ● running  cartpole-ppo  r-01234567  4 m 02 s                         cpu ▃██ 2.0  mem ▅▆█ 381.5 MiB
            train.py --epochs 3
            ────────────────────────────────────────────────────────────────────────────────────────────────────
            ━━ rollout/reward 59                               ━━ train/loss 0.1695
            60 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   · ⣀⡠⠤   10 ┤⡄  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
               │                                 ⢀⣀⠤⠤⠔⠒⠉⠉         │⢱
            40 ┤   ·   ·   ·   ·   ·   ·  ⢀⣀⠤⠤⠒⠊⠉⠁ ·   ·   ·      │⠸⡀
               │                   ⣀⡠⠤⠔⠒⠉⠉⠁                     5 ┤ ⡇ ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
            20 ┤   ·   ·   ⢀⣀⠤⠤⠒⠊⠉⠉·   ·   ·   ·   ·   ·   ·      │ ⠸⡀
               │    ⣀⡠⠤⠤⠒⠊⠉⠁                                      │  ⠈⠢⠤⣀⣀⣀⣀
             0 ┤⠔⠒⠉⠉   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·    0 ┤   ·   · ⠉⠉⠉⠉⠉⠉⠉⠉⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒
               └┬──────┬──────┬───────┬──────┬───────┬──────      └┬──────┬───────┬──────┬───────┬──────┬──────
                0     10     20      30     40      50  step       0     10      20     30      40     50  step
            ━━ train/lr 1e-4
                   │
            0.0010 ┤⠒⠒⠤⠤⠤⢄⣀⣀⣀  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
                   │         ⠉⠉⠉⠑⠒⠒⠒⠤⠤⠤⢄⣀⣀⣀
                   │                       ⠉⠉⠉⠉⠒⠒⠒⠢⠤⠤⠤⣀⣀⣀⡀
            0.0005 ┤   ·   ·   ·   ·   ·   ·   ·   ·   · ⠈⠉⠉⠉⠒⠒⠒⠢⠤⠤⠤⠤⣀⣀⣀⣀⣀ ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
                   │                                                      ⠉⠉⠉⠉⠉⠒⠒⠒⠒⠒⠤⠤⠤⠤⠤⣀⣀⣀⣀⣀
                   │                                                                          ⠉⠉⠉⠉⠉⠒⠒⠒⠒⠒⠤⠤⠤⠤⠤⣀⣀⣀
                   └┬─────────────────────────────────────────────┬────────────────────────────────────────────┬
                    0                                             1                                         step
            ── output ──────────────────────────────────────────────────────────────────────────────────────────
            epoch 25 loss 5
            epoch 26 loss 4
            epoch 27 loss 3
            epoch 28 loss 2
            epoch 29 loss 1
            q quit  l log scale  s smooth  t time  p pause  f focus  n next plots  b back  y system
        "#]]
        .assert_eq(&drawn(&record, &Watching::default(), 100, 30));
    }

    #[test]
    fn a_small_screen_shows_what_fits() {
        let record =
            record("sweep", RunState::Failed, Some(EndReason::TimeLimit { limit: std::time::Duration::from_secs(60) }));
        let watching = Watching { log_y: true, focus: Some(1), paused: true, ..Watching::default() };
        expect![[r#"
            ✗ failed  sweep  r-01234567  1 m 00 s  paused
            train.py --epochs 3           time limit of 1 m 00 s reached
            ━━ train/loss 0.1695
            10 ┤⢆  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
               │⠈⢆
               │ ⠈⠢⡀
               │   ⠈⠑⢄
             1 ┤   ·  ⠉⠒⠒⠤⣀⣀   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
               │            ⠉⠉⠒⠒⠤⢄⣀⣀⡀
               │                    ⠈⠉⠉⠉⠑⠒⠒⠢⠤⠤⠤⠤⣀⣀⣀⣀⣀
               │                                     ⠉⠉⠉⠉⠑⠒⠒⠒⠒⠒⠒⠢⠤⠤⠤⠤⠤⠤⣀
               └┬────────┬─────────┬────────┬─────────┬─────────┬───────
                0       10        20       30        40        50   step
            q quit  l log scale  s smooth  t time  p pause      2-2 of 3
        "#]]
        .assert_eq(&drawn(&record, &watching, 60, 14));
    }

    #[test]
    fn the_inline_view_shows_the_metric_that_matters() {
        let record = record("cartpole-ppo", RunState::Running, None);
        let lines = inline_view(&record, &sample(), NOW, 80, 14, UNICODE);
        expect![[r#"
            ● running  cartpole-ppo  r-01234567  4 m 02 s     cpu ▃██ 2.0  mem ▅▆█ 381.5 MiB
            ━━ rollout/reward 59
               │                                                                    ⢀⣀⣀⠤⠤⠔⠒⠉
            50 ┤   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ⢀⣀⣀⠤⠤⠤⠒⠉⠉⠁  ·   ·
               │                                                  ⢀⣀⣀⠤⠔⠒⠒⠉⠉⠁
               │                                         ⢀⣀⠤⠤⠔⠒⠒⠉⠉⠁
               │                                 ⣀⠤⠤⠔⠒⠒⠉⠉⠁
               │                      ⢀⣀⣀⠤⠤⠔⠒⠒⠉⠉⠉
               │             ⢀⣀⣀⠤⠤⠔⠒⠒⠊⠁
               │    ⢀⣀⣀⠤⠤⠔⠒⠉⠉⠁
             0 ┤⠤⠒⠉⠉⠁  ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·   ·
               └┬────────────┬───────────┬────────────┬────────────┬────────────┬───────────
                0           10          20           30           40           50       step
            train/loss 0.1695   train/lr 1e-4
        "#]]
        .assert_eq(&to_text(&lines, ColorDepth::None));
    }

    #[test]
    fn without_metrics_it_says_how_to_log_some() {
        let record = record("quiet", RunState::Running, None);
        let dashboard = Dashboard {
            record: &record,
            series: &[],
            log: &[],
            watching: &Watching::default(),
            now: NOW,
            theme: UNICODE,
        };
        assert!(to_text(&dashboard.render(90, 20), ColorDepth::None).contains("stoa.log"));
    }

    proptest! {
        #[test]
        fn a_dashboard_fits_any_screen(
            width in 0usize..220, height in 0usize..70, values in prop::collection::vec(any::<f64>(), 0..20),
            count in 0usize..30, scroll: usize, first_plot: usize, focus in prop::option::of(0usize..40), log_y: bool,
            unicode: bool,
        ) {
            let all: Vec<Series> = (0..count).map(|i| series(&format!("g{}/m{i}", i % 3), &values)).collect();
            let log: Vec<String> = (0..count).map(|i| format!("line {i} \u{1b}[2J 日本語")).collect();
            let watching = Watching { log_y, focus, first_plot, log_scroll: scroll, ..Watching::default() };
            let record = record("日本 \u{1b}[2J", RunState::Running, None);
            let theme = Theme { unicode, ..Theme::PLAIN };
            let dashboard = Dashboard { record: &record, series: &all, log: &log, watching: &watching, now: NOW, theme };
            let full = dashboard.render(width, height);
            let layout = dashboard.layout(width, height);
            prop_assert!(layout.per_page >= 1 && layout.plots == count);
            let small = inline_view(&record, &all, NOW, width, height, theme);
            prop_assert_eq!((full.len(), small.len()), (height, height));
            prop_assert!(full.iter().chain(&small).all(|line| line.width() == width));
        }
    }
}
