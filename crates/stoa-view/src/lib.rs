//! What a person sees: tables, curves in the terminal and as SVG, dashboards, progress; or the same as JSON.
//!
//! Pure: every function takes data, a size, a theme and, where it matters, the time, and answers lines of styled text. Finding
//! out what the terminal can do, reading keys and writing are the caller's.
//!
//! ```
//! use stoa_core::metric::{Origin, Point, Series, SeriesSummary};
//! use stoa_view::{Plot, SvgOptions, Theme, to_text};
//!
//! let points: Vec<Point> = (0..50).map(|step| Point { step, time: 0, value: (step * step) as f64 }).collect();
//! let summary = SeriesSummary {
//!     name: "score".into(), origin: Origin::Script, count: 50, non_finite: 0, min: None, max: None, last: None,
//! };
//! let score = Series { summary, points };
//! let plot = Plot::new(vec![&score], 60, 12, Theme::FULL);
//! let terminal = to_text(&plot.render(), plot.theme.color);
//! assert_eq!(terminal.lines().count(), 12);
//! assert!(plot.to_svg(SvgOptions::default()).starts_with("<svg"));
//! ```
#![forbid(unsafe_code)]

mod canvas;
mod curves;
mod dashboard;
#[cfg(test)]
mod fixture;
mod json;
mod legend;
mod moment;
mod number;
mod plot;
mod runs;
mod scale;
mod smooth;
mod spark;
mod style;
mod svg;
mod svg_path;
mod table;
mod text;
mod watching;
mod width_table;

pub use curves::XAxis;
pub use dashboard::{Dashboard, inline_view};
pub use json::{series_to_json, to_json};
pub use moment::Now;
pub use number::show_number;
pub use plot::Plot;
pub use runs::{RunDetail, RunRow, RunTable};
pub use smooth::smooth;
pub use spark::{ProgressBar, sparkline, sparkline_from_zero};
pub use style::{ColorDepth, Line, SERIES_COLORS, Span, Style, Theme, Tint, to_text};
pub use svg::{SvgOptions, SvgScheme};
pub use table::{Align, Cell, Column, Table};
pub use text::{char_width, sanitize, take_width, text_width, truncate, truncate_start};
pub use watching::{Action, KEYS, Layout, Watching, importance};
