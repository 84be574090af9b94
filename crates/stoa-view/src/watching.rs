//! What a user chose to see of a run, and how keys change it.

use crate::curves::XAxis;
use std::collections::BTreeSet;
use stoa_core::metric::{Origin, Series};

/// The choices of a person who watches a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watching {
    /// Metrics not to draw.
    pub hidden: BTreeSet<String>,
    /// Whether the system's series are drawn too.
    pub system: bool,
    /// Logarithmic vertical axes.
    pub log_y: bool,
    /// Weight of the moving average.
    pub smoothing: Option<f64>,
    /// What the horizontal axes count.
    pub x: XAxis,
    /// Whether the picture stands still; the caller then stops handing in new data.
    pub paused: bool,
    /// The first plot of the page.
    pub first_plot: usize,
    /// The one plot that fills the grid, counted as the grid counts.
    pub focus: Option<usize>,
    /// How many lines of output the view is above the end.
    pub log_scroll: usize,
}

/// What a screen has place for: see [`crate::Dashboard::layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// How many plots there are.
    pub plots: usize,
    /// How many of them are seen at once; at least 1.
    pub per_page: usize,
    /// Lines of output for which there is no place.
    pub output_hidden: usize,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leaves the view; the run goes on. Changes nothing here.
    Quit,
    /// Linear or logarithmic.
    LogScale,
    /// Off, 0.6, 0.9, 0.99, off.
    Smoothing,
    /// Steps or time.
    Time,
    /// Holds the picture.
    Pause,
    /// One plot at a time: the first, the next, ..., all.
    Focus,
    /// Further plots.
    More,
    /// Earlier plots.
    Less,
    /// Draws the system's series too.
    System,
    /// Earlier output.
    Up,
    /// Later output.
    Down,
}

/// Keys, what the footer says of them, and what they do.
pub const KEYS: [(char, &str, Action); 11] = [
    ('q', "quit", Action::Quit),
    ('l', "log scale", Action::LogScale),
    ('s', "smooth", Action::Smoothing),
    ('t', "time", Action::Time),
    ('p', "pause", Action::Pause),
    ('f', "focus", Action::Focus),
    ('n', "next plots", Action::More),
    ('b', "back", Action::Less),
    ('y', "system", Action::System),
    ('k', "output up", Action::Up),
    ('j', "down", Action::Down),
];

impl Action {
    /// What a key does, if anything.
    pub fn of_key(key: char) -> Option<Self> {
        KEYS.iter().find(|(known, _, _)| *known == key).map(|(_, _, action)| *action)
    }
}

impl Watching {
    /// Whether a series has a plot.
    pub fn shows(&self, series: &Series) -> bool {
        !self.hidden.contains(&series.summary.name) && (self.system || series.summary.origin != Origin::System)
    }

    /// Changes the choices. `layout` is what the screen has place for.
    pub fn apply(&mut self, action: Action, layout: Layout) {
        let Layout { plots, per_page, output_hidden } = layout;
        match action {
            Action::Quit => {}
            Action::LogScale => self.log_y = !self.log_y,
            Action::Smoothing => {
                self.smoothing = match self.smoothing {
                    None => Some(0.6),
                    Some(weight) if weight < 0.9 => Some(0.9),
                    Some(weight) if weight < 0.99 => Some(0.99),
                    Some(_) => None,
                };
            }
            Action::Time => self.x = if self.x == XAxis::Step { XAxis::Time } else { XAxis::Step },
            Action::Pause => self.paused = !self.paused,
            Action::Focus => {
                self.focus = match self.focus {
                    None if plots > 0 => Some(self.first_plot.min(plots - 1)),
                    Some(at) if at + 1 < plots => Some(at + 1),
                    _ => None,
                };
            }
            Action::More => {
                let next = (self.first_plot / per_page.max(1) + 1).saturating_mul(per_page);
                self.first_plot = if next < plots { next } else { self.first_plot };
            }
            Action::Less => self.first_plot = self.first_plot.saturating_sub(per_page),
            Action::System => self.system = !self.system,
            Action::Up => self.log_scroll = self.log_scroll.saturating_add(1).min(output_hidden),
            Action::Down => self.log_scroll = self.log_scroll.saturating_sub(1),
        }
    }
}

/// The part of a metric's name before the last `/`; empty without one.
pub(crate) fn group_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(group, _)| group)
}

/// How early a metric is shown when there is place for one: scores first, then losses, then the rest; evaluation before training.
pub fn importance(series: &Series) -> (usize, bool, String) {
    const WORDS: [&[&str]; 3] =
        [&["reward", "rew_mean", "return", "score"], &["accuracy", "acc", "f1", "auc"], &["loss"]];
    let name = series.summary.name.to_lowercase();
    let of_word = WORDS.iter().position(|words| words.iter().any(|word| name.contains(word)));
    let evaluation = ["eval", "val", "test"].iter().any(|word| name.starts_with(word));
    (of_word.unwrap_or(WORDS.len()), !evaluation, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{series, system};

    #[test]
    fn keys_turn_things_on_and_off_again() {
        let mut watching = Watching::default();
        let layout = Layout { plots: 5, per_page: 2, output_hidden: 1 };
        for key in "lstpyssstlpynnnkkjbb".chars() {
            watching.apply(Action::of_key(key).unwrap(), layout);
        }
        assert_eq!(watching, Watching::default());
    }

    #[test]
    fn focus_walks_through_the_plots_and_back_to_all() {
        let mut watching = Watching::default();
        let mut seen = Vec::new();
        for _ in 0..4 {
            watching.apply(Action::Focus, Layout { plots: 3, ..Layout::default() });
            seen.push(watching.focus);
        }
        assert_eq!(seen, [Some(0), Some(1), Some(2), None]);
        watching.apply(Action::Focus, Layout::default());
        assert_eq!(watching.focus, None);
    }

    #[test]
    fn pages_are_those_of_the_screen() {
        let mut watching = Watching::default();
        let layout = Layout { plots: 14, per_page: 6, output_hidden: 0 };
        let mut seen = Vec::new();
        for action in [Action::More, Action::More, Action::More, Action::Less, Action::Less, Action::Less] {
            watching.apply(action, layout);
            seen.push(watching.first_plot);
        }
        assert_eq!(seen, [6, 12, 12, 6, 0, 0]);
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let keys: BTreeSet<char> = KEYS.iter().map(|(key, _, _)| *key).collect();
        assert_eq!(keys.len(), KEYS.len());
    }

    #[test]
    fn scores_come_before_losses_and_the_system_is_hidden() {
        let mut all = [
            series("train/loss", &[]),
            series("lr", &[]),
            series("rollout/ep_rew_mean", &[]),
            series("eval/loss", &[]),
        ];
        all.sort_by_key(importance);
        let names: Vec<&str> = all.iter().map(|series| series.summary.name.as_str()).collect();
        assert_eq!(names, ["rollout/ep_rew_mean", "eval/loss", "train/loss", "lr"]);
        assert!(!Watching::default().shows(&system("system/cpu", &[1.0])));
    }
}
