//! What a person sees: tables, curves in the terminal and as SVG, dashboards, progress; or the same as JSON.
//!
//! Pure: every function takes data, a size, a theme and, where it matters, the time, and answers lines of styled text. Finding
//! out what the terminal can do, reading keys and writing are the caller's.
#![forbid(unsafe_code)]

mod canvas;
mod curves;
#[cfg(test)]
mod fixture;
mod legend;
mod number;
mod plot;
mod scale;
mod smooth;
mod style;
mod svg;
mod svg_path;
mod text;
mod width_table;

pub use curves::XAxis;
pub use number::show_number;
pub use plot::Plot;
pub use smooth::smooth;
pub use style::{ColorDepth, Line, SERIES_COLORS, Span, Style, Theme, Tint, to_text};
pub use svg::{SvgOptions, SvgScheme};
pub use text::{char_width, sanitize, take_width, text_width, truncate, truncate_start};
