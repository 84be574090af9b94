//! Rows of figures, and whether they keep what `PROMISES.md` says.

use super::Measured;
use super::stats::{Interval, Spread};
use crate::check::{Bound, BoundKind, Promise};
use std::io::{IsTerminal, Write};

/// Prints figures as they come and remembers whether all promises are kept.
pub(super) struct Report<'a> {
    bench: &'a str,
    promises: &'a [Promise],
    kept: bool,
    seen: Vec<String>,
}

/// A figure of ours, and of a peer where there is one.
struct Row<'a> {
    measure: &'a str,
    own: (&'a str, Spread),
    peer: Option<(&'a str, Spread)>,
    ratio: Option<Interval>,
    adds: Option<Interval>,
    unit: &'a str,
}

impl<'a> Report<'a> {
    pub(super) fn new(bench: &'a str, promises: &'a [Promise]) -> Self {
        let report = Self { bench, promises, kept: true, seen: Vec::new() };
        let machine = stoa_hw::Inventory::read("/".as_ref());
        println!(
            "{bench}: {} x {}, {}, kernel {}, {}",
            machine.processor.allowed, machine.processor.model, machine.memory, machine.kernel, machine.system
        );
        println!("{:<20}{:<30}{:<42}ratio [95 %]", "measure", "stoa, median [min, max]", "peer, median [min, max]");
        report
    }

    /// Whether every promise that was measured is kept; names those that were not measured.
    pub(super) fn finish(self) -> bool {
        for promise in self.promises {
            if !self.seen.contains(&key(&promise.measure, &promise.peer)) {
                println!("not measured: {} against {} ({})", promise.measure, promise.peer, promise.bound);
            }
        }
        self.kept
    }

    /// Says that a peer could not be measured.
    pub(super) fn skip(&self, peer: &str, reason: &str) {
        println!("skipped: {} {peer}: {reason}", self.bench);
    }

    /// The first subject against each of the others: wall time and processor time, in milliseconds.
    pub(super) fn compare(&mut self, measured: &[Measured]) {
        let Some((own, peers)) = measured.split_first() else { return };
        for peer in peers {
            self.wall(own, peer);
            self.cpu(own, peer);
        }
    }

    fn wall(&mut self, own: &Measured, peer: &Measured) {
        let (ours, theirs) = (own.wall_medians(), peer.wall_medians());
        let pairs = || ours.iter().zip(&theirs);
        let (Some(own_spread), Some(peer_spread)) = (Spread::of(&own.walls()), Spread::of(&peer.walls())) else {
            return;
        };
        self.row(&Row {
            measure: &format!("{} wall", self.bench),
            own: (&own.name, own_spread),
            peer: Some((&peer.name, peer_spread)),
            ratio: Interval::of_median(&pairs().map(|(a, b)| a / b).collect::<Vec<_>>()),
            adds: Interval::of_median(&pairs().map(|(a, b)| a - b).collect::<Vec<_>>()),
            unit: "ms",
        });
    }

    fn cpu(&mut self, own: &Measured, peer: &Measured) {
        let (ours, theirs) = (own.cpu_means(), peer.cpu_means());
        let (Some(own_spread), Some(peer_spread)) = (mean(&ours), mean(&theirs)) else { return };
        self.row(&Row {
            measure: &format!("{} cpu", self.bench),
            own: (&own.name, own_spread),
            peer: Some((&peer.name, peer_spread)),
            ratio: Interval::of_ratio(&ours, &theirs),
            adds: None,
            unit: "ms",
        });
    }

    /// A figure beside a peer's, compared elsewhere.
    pub(super) fn ratio(&mut self, measure: &str, own: Spread, peer: (&str, Spread), ratio: Interval, unit: &str) {
        self.row(&Row { measure, own: ("stoa", own), peer: Some(peer), ratio: Some(ratio), adds: None, unit });
    }

    /// A figure without a peer.
    pub(super) fn figure(&mut self, measure: &str, spread: Spread, unit: &str) {
        self.row(&Row { measure, own: ("stoa", spread), peer: None, ratio: None, adds: None, unit });
    }

    fn row(&mut self, row: &Row<'_>) {
        let peer_name = row.peer.map_or("-", |(name, _)| name);
        let mut line = format!("{:<20}{:<30}", row.measure, side(row.own.0, row.own.1, row.unit));
        line += &format!("{:<42}", row.peer.map(|(name, spread)| side(name, spread, row.unit)).unwrap_or_default());
        if let Some(ratio) = row.ratio {
            line += &format!("ratio {}   ", interval(ratio));
        }
        if let Some(promise) = self.promise(row.measure, peer_name) {
            let kept = judge(&promise.bound, row);
            line += &format!("promise {}   {}", promise.bound, if kept { "kept" } else { "missed" });
            if let (BoundKind::Adds, Some(adds)) = (promise.bound.kind, row.adds) {
                line += &format!(" (adds {} {})", interval(adds), row.unit);
            }
            self.kept &= kept;
            self.seen.push(key(row.measure, peer_name));
        }
        println!("{}", line.trim_end());
    }

    fn promise(&self, measure: &str, peer: &str) -> Option<&'a Promise> {
        self.promises.iter().find(|promise| key(&promise.measure, &promise.peer) == key(measure, peer))
    }
}

fn key(measure: &str, peer: &str) -> String {
    format!("{measure} / {peer}").to_lowercase()
}

fn judge(bound: &Bound, row: &Row<'_>) -> bool {
    let value = match bound.kind {
        BoundKind::Figure => Some(row.own.1.median),
        BoundKind::Ratio => row.ratio.map(|ratio| ratio.value),
        BoundKind::Adds => row.adds.map(|adds| adds.value),
    };
    value.is_some_and(|value| value <= bound.most)
}

fn side(name: &str, spread: Spread, unit: &str) -> String {
    if spread.min == spread.max {
        return format!("{name} {} {unit}", number(spread.median));
    }
    format!("{name} {} {unit} [{}, {}]", number(spread.median), number(spread.min), number(spread.max))
}

fn interval(interval: Interval) -> String {
    format!("{} [{}, {}]", number(interval.value), number(interval.low), number(interval.high))
}

/// Three significant digits, which is more than a shared machine repeats.
fn number(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    format!("{value:.*}", usize::try_from((2 - digits).clamp(0, 6)).unwrap_or(0))
}

impl Measured {
    /// The middle repetition of each round, in milliseconds.
    pub(super) fn wall_medians(&self) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| Spread::of(&round.wall)).map(|spread| spread.median * 1e3).collect()
    }

    /// Every repetition, in milliseconds.
    pub(super) fn walls(&self) -> Vec<f64> {
        self.rounds.iter().flat_map(|round| &round.wall).map(|seconds| seconds * 1e3).collect()
    }

    /// Processor time per repetition of each round, in milliseconds.
    fn cpu_means(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.cpu * 1e3 / self.times as f64).collect()
    }
}

/// The mean in the place of the median: the kernel counts processor time in steps longer than one repetition.
fn mean(values: &[f64]) -> Option<Spread> {
    let spread = Spread::of(values)?;
    Some(Spread { median: values.iter().sum::<f64>() / values.len() as f64, ..spread })
}

/// A line on the terminal that the next one replaces; nothing when nobody watches.
pub(super) fn progress(text: &str) {
    let mut output = std::io::stderr().lock();
    if output.is_terminal() {
        // Progress that cannot be shown is no reason to stop.
        let _ = write!(output, "\r\x1b[K{text}").and_then(|()| output.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, seconds: f64) -> Measured {
        let round = Round { wall: vec![seconds, seconds * 1.1, seconds * 0.9], cpu: seconds };
        Measured { name: name.to_owned(), rounds: vec![round; 5], times: 3 }
    }
    use super::super::worker::Round;

    fn promise(bound: &str) -> Promise {
        Promise {
            measure: "demo wall".to_owned(),
            peer: "peer".to_owned(),
            bound: bound.parse().unwrap(),
            bench: "demo".to_owned(),
        }
    }

    #[test]
    fn promises_are_judged_by_ratio_and_by_difference() {
        for (bound, kept) in
            [("ratio <= 0.6", true), ("ratio <= 0.4", false), ("adds <= 0 ms", true), ("adds <= -9 ms", false)]
        {
            let promises = [promise(bound)];
            let mut report = Report::new("demo", &promises);
            report.compare(&[measured("stoa", 0.005), measured("peer", 0.010)]);
            assert_eq!(report.finish(), kept, "{bound}");
        }
    }

    #[test]
    fn figures_are_judged() {
        let figure = Promise { peer: "-".to_owned(), ..promise("<= 5 ms") };
        for (median, kept) in [(4.0, true), (6.0, false)] {
            let promises = [figure.clone()];
            let mut report = Report::new("demo", &promises);
            report.figure("demo wall", Spread { min: median, median, max: median }, "ms");
            assert_eq!(report.finish(), kept);
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [(0.0, "0.00"), (0.3161, "0.316"), (4.7, "4.70"), (1234.5, "1234"), (0.000_12, "0.000120")]
        {
            assert_eq!(number(value), text);
        }
    }
}
