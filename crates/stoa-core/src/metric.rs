//! Metric series: names, points and the questions asked of them.

use serde::{Deserialize, Serialize};

/// One value of a series. `value` may be NaN or infinite; both are kept and shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The training step, or a count from 0 when the script gave none.
    pub step: i64,
    /// When it was logged, in nanoseconds since 1970.
    pub time: u64,
    /// The value.
    pub value: f64,
}

/// Where a series comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `stoa.log` in the run.
    Script,
    /// TensorBoard event files of the run.
    TensorBoard,
    /// Sampled by the daemon: `system/cpu`, `system/memory`, ...
    System,
}

/// What is known of a series without its points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesSummary {
    /// Its name, such as `train/loss`.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// How many points it has.
    pub count: u64,
    /// How many of them are NaN or infinite.
    pub non_finite: u64,
    /// The smallest finite value.
    pub min: Option<f64>,
    /// The largest finite value.
    pub max: Option<f64>,
    /// The last point.
    pub last: Option<Point>,
}

/// A series, or a downsampled view of one: at most the asked number of points, with every bucket's minimum and maximum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What is known of the whole series.
    pub summary: SeriesSummary,
    /// Points in the order of their steps.
    pub points: Vec<Point>,
}

/// Which series, and how many points of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Names, or prefixes ending in `/`; empty is every series.
    pub names: Vec<String>,
    /// The most points per series; 0 is summaries only.
    pub max_points: usize,
}
