//! Curves as a picture: one SVG file without scripts, fonts or links, readable in light and dark.

use crate::curves::{Curve, Curves, Dot, Mark, columns};
use crate::plot::Plot;
use crate::scale::{Kind, Tick, Ticks, fitting_ticks, linear_ticks, log_ticks, usable_range};
use crate::svg_path::{Path, fixed};
use crate::text::{char_width, sanitize, truncate, truncate_start};
use std::fmt::Write as _;

/// The background a picture is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SvgScheme {
    /// Follows the reader's setting (`prefers-color-scheme`).
    #[default]
    Auto,
    /// Always light: for print.
    Light,
    /// Always dark: for slides.
    Dark,
}

/// The form of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvgOptions {
    /// In CSS pixels; at least 240.
    pub width: u32,
    /// In CSS pixels; at least 160.
    pub height: u32,
    /// Its background.
    pub scheme: SvgScheme,
}

impl Default for SvgOptions {
    fn default() -> Self {
        Self { width: 840, height: 400, scheme: SvgScheme::Auto }
    }
}

const FONT: &str = "-apple-system,BlinkMacSystemFont,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif";
const LIGHT: Colors = Colors {
    back: "#fff",
    border: "#d1d9e0",
    text: "#1f2328",
    muted: "#59636e",
    grid: "#e4e8ec",
    axis: "#afb8c1",
    bad: "#d1242f",
    curves: ["#2563eb", "#d9580c", "#15803d", "#c026d3", "#0e7490", "#7c3aed", "#a16207", "#dc2626"],
};
const DARK: Colors = Colors {
    back: "#0d1117",
    border: "#30363d",
    text: "#f0f6fc",
    muted: "#9198a1",
    grid: "#21262d",
    axis: "#484f58",
    bad: "#f85149",
    curves: ["#60a5fa", "#fb923c", "#4ade80", "#e879f9", "#22d3ee", "#a78bfa", "#facc15", "#f87171"],
};
/// Beyond this many marks of one curve a reader sees a strip anyway; the note has the count.
const MOST_MARKS: usize = 100;
/// Cells of the longest name in a legend.
const LONGEST_NAME: usize = 40;

struct Colors {
    back: &'static str,
    border: &'static str,
    text: &'static str,
    muted: &'static str,
    grid: &'static str,
    axis: &'static str,
    bad: &'static str,
    curves: [&'static str; 8],
}

impl Colors {
    fn css(&self, used: &[usize]) -> String {
        let mut css = format!(
            ".bg{{fill:{};stroke:{}}}.t{{fill:{}}}.m{{fill:{}}}.g{{stroke:{}}}.a{{stroke:{}}}.x{{fill:{}}}.h{{stroke:{}}}",
            self.back, self.border, self.text, self.muted, self.grid, self.axis, self.bad, self.back
        );
        for index in used {
            let color = self.curves[*index];
            let _ = write!(css, ".l{index}{{stroke:{color}}}.f{index}{{fill:{color}}}");
        }
        css
    }
}

/// Text for a file: escaped, and without what could steer a terminal that prints the file.
fn escape(text: &str) -> String {
    sanitize(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An estimate of the width of a text, since fonts differ: 0.56 em per cell suits the common sans-serif faces.
fn estimate(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if char_width(c) == 2 { 1.0 } else { 0.56 * char_width(c) as f64 }).sum::<f64>() * size
}

struct Picture<'p> {
    plot: &'p Plot<'p>,
    curves: Curves,
    width: f64,
    /// Edges of the area of the curves.
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    height: f64,
    y: (f64, f64),
    y_ticks: Ticks,
    out: String,
}

impl Plot<'_> {
    /// Draws it as an SVG file. `width`, `height` and `theme` of the plot are for the terminal and not used.
    pub fn to_svg(&self, options: SvgOptions) -> String {
        let curves = self.curves();
        let (width, height) =
            (f64::from(options.width.clamp(240, 10_000)), f64::from(options.height.clamp(160, 10_000)));
        let mut picture = Picture {
            plot: self,
            y: y_range(&curves, self.log_y),
            curves,
            width,
            left: 0.0,
            right: width - 24.0,
            top: 16.0,
            bottom: height - 46.0,
            height,
            y_ticks: Ticks::default(),
            out: String::new(),
        };
        picture.open(options.scheme);
        picture.heading();
        picture.y_axis();
        picture.x_axis();
        picture.all_curves();
        picture.out.push_str("</svg>\n");
        picture.out
    }
}

/// The range of the vertical axis: the data's and a margin that does not cross zero.
fn y_range(curves: &Curves, log: bool) -> (f64, f64) {
    let (low, high) = curves.y_range.unwrap_or((0.0, 1.0));
    let (low, high) = usable_range(low, high, if log { Kind::Log } else { Kind::Linear });
    let margin = (high - low) * 0.05;
    let below = if !log && low >= 0.0 && low < margin { 0.0 } else { low - margin };
    (below, high + margin)
}

impl Picture<'_> {
    fn open(&mut self, scheme: SvgScheme) {
        let (width, height) = (self.width, self.height);
        let used: Vec<usize> =
            (0..self.curves.list.len().min(8)).map(|index| (self.plot.first_color + index) % 8).collect();
        let css = match scheme {
            SvgScheme::Light => LIGHT.css(&used),
            SvgScheme::Dark => DARK.css(&used),
            SvgScheme::Auto => {
                format!("{}@media(prefers-color-scheme:dark){{{}}}", LIGHT.css(&used), DARK.css(&used))
            }
        };
        let _ = write!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"t d\" font-family=\"{FONT}\" font-size=\"12\">\n\
             <title id=\"t\">{}</title>\n<desc id=\"d\">{}</desc>\n\
             <style>{css}.g,.a{{stroke-width:1}}.b{{opacity:.18}}.r,.s{{fill:none;stroke-linejoin:round;stroke-linecap:round}}\
             .r{{stroke-width:1;opacity:.4}}.s{{stroke-width:2}}.n{{font-variant-numeric:tabular-nums}}\
             .h{{stroke-width:1.5}}</style>\n\
             <rect class=\"bg\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
            escape(&self.title()),
            escape(&self.description()),
            width - 1.0,
            height - 1.0,
        );
    }

    fn title(&self) -> String {
        if !self.plot.title.is_empty() {
            return self.plot.title.clone();
        }
        self.curves.list.iter().map(|curve| curve.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What a reader who cannot see the picture should know.
    fn description(&self) -> String {
        let ends: Vec<String> =
            self.curves.list.iter().map(|curve| format!("{} ends at {}", curve.name, curve.last)).collect();
        let axis = if self.plot.log_y { ", logarithmic vertical axis" } else { "" };
        let over = match self.plot.x.kind() {
            Kind::Time => "time",
            _ => "steps",
        };
        let mut text = format!("Line chart over {over}{axis}. {}.", ends.join("; "));
        for note in &self.curves.notes {
            let _ = write!(text, " {}.", note.trim_start_matches("! "));
        }
        text
    }

    fn text(&mut self, x: f64, y: f64, class: &str, attributes: &str, text: &str) {
        let _ = writeln!(
            self.out,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\"{attributes}>{}</text>",
            fixed(x),
            fixed(y),
            escape(text)
        );
    }

    /// Title, then one or more lines of legend.
    fn heading(&mut self) {
        let edge = 20.0;
        if !self.plot.title.is_empty() {
            let title = truncate(&sanitize(&self.plot.title), ((self.width - 2.0 * edge) / 9.0) as usize, true);
            self.text(edge, self.top + 16.0, "t", " font-size=\"16\" font-weight=\"600\"", &title);
            self.top += 28.0;
        }
        let mut x = edge;
        for index in 0..self.curves.list.len() {
            let curve = &self.curves.list[index];
            let name = truncate_start(&curve.name, LONGEST_NAME, true);
            let last = curve.last.clone();
            let wide = 24.0 + estimate(&name, 12.0) + 6.0 + estimate(&last, 12.0) * 1.08 + 20.0;
            if x > edge && x + wide - 20.0 > self.width - edge {
                x = edge;
                self.top += 20.0;
            }
            self.legend_entry(index, x, &name, &last);
            x += wide;
        }
        self.top += 28.0;
    }

    fn legend_entry(&mut self, index: usize, x: f64, name: &str, last: &str) {
        let color = self.color(index);
        let y = self.top + 12.0;
        let _ = writeln!(
            self.out,
            "<path class=\"s l{color}\"{} stroke-width=\"3\" d=\"M{} {}h16\"/>\
             <text class=\"m\" x=\"{}\" y=\"{}\">{} <tspan class=\"t n\" font-weight=\"600\">{}</tspan></text>",
            dash(index),
            fixed(x + 1.0),
            fixed(y - 4.0),
            fixed(x + 24.0),
            fixed(y),
            escape(name),
            escape(last)
        );
    }

    const fn color(&self, index: usize) -> usize {
        (self.plot.first_color + index) % 8
    }

    fn y_axis(&mut self) {
        let most = ((self.bottom - self.top) / 32.0).max(3.0) as usize;
        if self.curves.y_range.is_some() {
            self.y_ticks = if self.plot.log_y {
                log_ticks(self.y.0, self.y.1, most.max(4))
            } else {
                linear_ticks(self.y.0, self.y.1, most)
            };
        }
        let widest = self.y_ticks.list.iter().map(|tick| estimate(&tick.label, 12.0)).fold(0.0, f64::max);
        self.left = (widest + 30.0).max(36.0).round();
        let ticks = self.y_ticks.list.clone();
        let mut grid = String::new();
        for tick in &ticks {
            let y = self.y_of(tick.at);
            // Half pixels keep a line of one pixel sharp.
            let _ = write!(grid, "M{} {}H{}", fixed(self.left), fixed(y.round() + 0.5), fixed(self.right));
            self.text(self.left - 10.0, y + 4.0, "m n", " text-anchor=\"end\"", &tick.label);
        }
        let _ = writeln!(self.out, "<path class=\"g\" d=\"{grid}\"/>");
    }

    fn x_axis(&mut self) {
        let (low, high) = self.curves.x_range;
        let room = self.right - self.left;
        let drawn = self.curves.list.iter().any(|curve| !curve.raw.is_empty() || !curve.marks.is_empty());
        let fits = |ticks: &[Tick]| {
            let widest = ticks.iter().map(|tick| estimate(&tick.label, 12.0)).fold(0.0, f64::max);
            let gap = ticks.get(1).map_or(room, |second| (second.at - ticks[0].at) / (high - low) * room);
            gap >= widest + 24.0
        };
        let ticks = if drawn {
            fitting_ticks(low, high, (room / 64.0).max(1.0) as usize, self.plot.x.kind(), fits)
        } else {
            Ticks::default()
        };
        let base = self.bottom.round() + 0.5;
        let mut axis = format!("M{} {}H{}", fixed(self.left), fixed(base), fixed(self.right));
        for tick in &ticks.list {
            let x = self.x_of(tick.at);
            let _ = write!(axis, "M{} {}v5", fixed(x.round() + 0.5), fixed(base));
            let anchor = if x > self.right - 12.0 { "end" } else { "middle" };
            let at = if anchor == "end" { self.right } else { x };
            self.text(at, base + 18.0, "m n", &format!(" text-anchor=\"{anchor}\""), &tick.label);
        }
        let _ = writeln!(self.out, "<path class=\"a\" d=\"{axis}\"/>");
        let mut notes = self.curves.notes.clone();
        notes.extend(self.y_ticks.offset.iter().map(|offset| format!("values: add {offset}")));
        notes.extend(ticks.offset.iter().map(|offset| format!("steps: add {offset}")));
        let notes: Vec<&str> = notes.iter().map(|note| note.trim_start_matches("! ")).collect();
        let notes = notes.join("  ·  ");
        self.text(self.left, self.height - 11.0, "m", " font-size=\"11\"", &notes);
        let name = if self.plot.x.kind() == Kind::Time { "time" } else { "step" };
        self.text(self.right, self.height - 11.0, "m", " font-size=\"11\" text-anchor=\"end\"", name);
    }

    fn x_of(&self, x: f64) -> f64 {
        let (low, high) = self.curves.x_range;
        self.left + (x - low) / (high - low) * (self.right - self.left)
    }

    fn y_of(&self, y: f64) -> f64 {
        self.bottom - (y - self.y.0) / (self.y.1 - self.y.0) * (self.bottom - self.top)
    }

    fn all_curves(&mut self) {
        if self.curves.y_range.is_none() {
            let middle = ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0);
            self.text(middle.0, middle.1, "m", " font-size=\"14\" text-anchor=\"middle\"", "no points to draw");
        }
        let list = std::mem::take(&mut self.curves.list);
        for (index, curve) in list.iter().enumerate() {
            if !curve.smoothed.is_empty() {
                self.raw(index, curve);
            }
        }
        for (index, curve) in list.iter().enumerate() {
            self.strong(index, curve);
        }
        for curve in &list {
            self.marks(curve);
        }
        self.curves.list = list;
    }

    /// Raw values behind a smoothed curve: a pale line, or the band from minimum to maximum where points are dense.
    fn raw(&mut self, index: usize, curve: &Curve) {
        let color = self.color(index);
        for line in &curve.raw {
            let wide = columns(line, |x| (self.x_of(x) / 2.0) as i64);
            if line.len() < 3 * wide.len() {
                let path = self.line(line);
                let _ = writeln!(self.out, "<path class=\"r l{color}\" d=\"{path}\"/>");
                continue;
            }
            let mut path = Path::default();
            wide.iter().for_each(|column| path.point(self.x_of(column.x), self.y_of(column.high)));
            wide.iter().rev().for_each(|column| path.point(self.x_of(column.x), self.y_of(column.low)));
            let _ = writeln!(self.out, "<path class=\"b f{color}\" d=\"{}z\"/>", path.finish());
        }
    }

    fn strong(&mut self, index: usize, curve: &Curve) {
        let color = self.color(index);
        let area = self.right - self.left;
        let points: usize = curve.strong().iter().map(Vec::len).sum();
        // A thick stroke would turn dense raw values into a block.
        let thin = if curve.smoothed.is_empty() && points as f64 > area { " style=\"stroke-width:1.2\"" } else { "" };
        for line in curve.strong() {
            if let [dot] = line.as_slice() {
                self.disc(color, *dot, 3.0);
                continue;
            }
            let path = self.line(line);
            let _ = writeln!(self.out, "<path class=\"s l{color}\"{thin}{} d=\"{path}\"/>", dash(index));
        }
        if let Some(end) = curve.end() {
            self.disc(color, end, 3.5);
        }
    }

    fn disc(&mut self, color: usize, dot: Dot, radius: f64) {
        let (x, y) = (fixed(self.x_of(dot.x)), fixed(self.y_of(dot.y)));
        let _ = writeln!(self.out, "<circle class=\"f{color} h\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>");
    }

    /// A line through first, smallest, largest and last value of each pixel column.
    fn line(&self, line: &[Dot]) -> String {
        let mut path = Path::default();
        for column in columns(line, |x| self.x_of(x) as i64) {
            let x = self.x_of(column.x);
            path.point(x, self.y_of(column.first));
            if column.count > 1 {
                path.point(x, self.y_of(column.low));
                path.point(x, self.y_of(column.high));
                path.point(x, self.y_of(column.last));
            }
        }
        path.finish()
    }

    fn marks(&mut self, curve: &Curve) {
        for (x, mark) in curve.marks.iter().take(MOST_MARKS) {
            let x = fixed(self.x_of(*x));
            let (y, shape, what) = match mark {
                Mark::NotANumber => {
                    (self.bottom, "m-4-9 4 4 4-4 1.5 1.5-4 4 4 4-1.5 1.5-4-4-4 4-1.5-1.5 4-4-4-4z", "NaN")
                }
                Mark::Infinite => (self.top, "m-5 8 5-9 5 9z", "infinite"),
                Mark::NegativeInfinite => (self.bottom, "m-5-9 5 9 5-9z", "negative infinite"),
            };
            let _ = writeln!(
                self.out,
                "<path class=\"x\" d=\"M{x} {}{shape}\"><title>{}: {what}</title></path>",
                fixed(y),
                escape(&curve.name)
            );
        }
    }
}

/// Curves beyond the eighth share a colour with an earlier one and are dashed.
const fn dash(index: usize) -> &'static str {
    match index / 8 % 3 {
        0 => "",
        1 => " stroke-dasharray=\"6 4\"",
        _ => " stroke-dasharray=\"2 4\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::series;
    use crate::style::Theme;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_stay_text() {
        let evil = series("</text><script>alert(\"1\")</script>\u{1b}[2J&", &[1.0, 2.0]);
        let svg =
            Plot { title: "a<b".into(), ..Plot::new(vec![&evil], 0, 0, Theme::PLAIN) }.to_svg(SvgOptions::default());
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}') && svg.contains("a&lt;b"));
        assert!(svg.contains("&lt;/text&gt;"));
    }

    #[test]
    fn a_million_points_make_a_small_file() {
        let values: Vec<f64> =
            (0..1_000_000).map(|i| (f64::from(i) / 1e5).sin() + (f64::from(i) * 7919.0 % 1000.0) / 2e3).collect();
        let many = series("many", &values);
        let smooth = Plot { smoothing: Some(0.99), ..Plot::new(vec![&many], 0, 0, Theme::PLAIN) };
        let size = smooth.to_svg(SvgOptions::default()).len();
        assert!(size < 40_000, "{size}");
    }

    #[test]
    fn a_picture_follows_the_readers_scheme_unless_told() {
        let loss = series("loss", &[1.0, 2.0]);
        let plot = Plot::new(vec![&loss], 0, 0, Theme::PLAIN);
        assert!(plot.to_svg(SvgOptions::default()).contains("prefers-color-scheme:dark"));
        let dark = plot.to_svg(SvgOptions { scheme: SvgScheme::Dark, ..SvgOptions::default() });
        assert!(dark.contains(DARK.back) && !dark.contains("prefers-color-scheme"));
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -10.0..10.0, Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(f64::MAX)]
    }

    proptest! {
        #[test]
        fn no_data_makes_a_broken_picture(
            values in prop::collection::vec(any_value(), 0..30), log_y: bool, width: u32, height: u32, weight in 0.0..1.2f64
        ) {
            let data = series("x", &values);
            let plot = Plot { log_y, smoothing: Some(weight), ..Plot::new(vec![&data], 0, 0, Theme::PLAIN) };
            let svg = plot.to_svg(SvgOptions { width, height, scheme: SvgScheme::Auto });
            let numbers = svg.split(" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            for path in numbers {
                prop_assert!(!path.contains("NaN") && !path.contains("inf"), "{path}");
            }
        }
    }
}
