//! Prints every kind of plot, table and dashboard, and writes the SVG ones to a folder: `gallery [FOLDER] [plain|ascii|16|256]`.
#![expect(clippy::print_stdout, reason = "a gallery is for looking at")]

#[path = "../src/fixture.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod fixture;

use std::f64::consts::PI;
use std::time::Duration;
use stoa_core::metric::{Origin, Point, Series, SeriesSummary};
use stoa_core::run::{EndReason, RunState};
use stoa_view::{
    ColorDepth, Dashboard, Now, Plot, ProgressBar, RunDetail, RunRow, RunTable, SvgOptions, SvgScheme, Theme, Watching,
    XAxis, inline_view, to_text,
};

/// A small linear congruential generator, so that every gallery looks the same.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    }
}

fn series(name: &str, every: i64, values: impl IntoIterator<Item = f64>) -> Series {
    let point = |(index, value): (i64, f64)| Point {
        step: index * every,
        time: 1_760_000_000_000_000_000 + index as u64 * 700_000_000,
        value,
    };
    let points: Vec<Point> = (0i64..).zip(values).map(point).collect();
    let finite = || points.iter().map(|point| point.value).filter(|value| value.is_finite());
    let summary = SeriesSummary {
        name: name.to_owned(),
        origin: Origin::Script,
        count: points.len() as u64,
        non_finite: (points.len() - finite().count()) as u64,
        min: finite().reduce(f64::min),
        max: finite().reduce(f64::max),
        last: points.last().copied(),
    };
    Series { summary, points }
}

fn loss(name: &str, seed: u64, floor: f64, count: usize) -> Series {
    let mut noise = Noise(seed);
    series(
        name,
        25,
        (0..count).map(|i| {
            let level = floor + 2.3 * (-(i as f64) / (count as f64 / 6.0)).exp();
            level * (1.0 + 0.25 * noise.next())
        }),
    )
}

fn reward(seed: u64) -> Series {
    let mut noise = Noise(seed);
    series(
        "rollout/ep_rew_mean",
        256,
        (0..120)
            .map(|i| (500.0 / (1.0 + (-(f64::from(i) - 45.0) / 11.0).exp()) + 14.0 * noise.next()).clamp(9.0, 500.0)),
    )
}

fn plots<'a>(all: &'a [Series], theme: Theme, width: usize) -> Vec<Plot<'a>> {
    let base = |indices: &[usize], title: &str, height: usize| Plot {
        title: title.to_owned(),
        ..Plot::new(indices.iter().map(|index| &all[*index]).collect(), width, height, theme)
    };
    vec![
        base(&[0], "", 16),
        Plot { smoothing: Some(0.95), ..base(&[1], "", 18) },
        Plot { smoothing: Some(0.95), log_y: true, ..base(&[1, 2], "Loss, log scale", 18) },
        base(&[0, 3, 4], "Several curves", 18),
        Plot { x: XAxis::Time, ..base(&[5], "Spikes", 12) },
        base(&[6], "What cannot be drawn", 12),
        base(&[7], "", 8),
        base(&[8], "", 8),
        base(&[9], "", 8),
        base(&[10], "", 9),
        base(&[11], "", 9),
        Plot { width: 20, ..base(&[0], "", 6) },
        Plot { width: 32, ..base(&[1, 2], "tiny", 8) },
    ]
}

fn all_series() -> Vec<Series> {
    let mut noise = Noise(7);
    let spikes = (0..5000).map(|i| if i == 3210 { 40.0 } else { 2.0 + noise.next() });
    let spikes = series("grad_norm", 1, spikes.collect::<Vec<_>>());
    vec![
        reward(3),
        loss("train/loss", 1, 0.08, 1200),
        loss("eval/loss", 2, 0.2, 150),
        series("sine", 256, (0..120).map(|i| 250.0 + 200.0 * (f64::from(i) / 60.0 * PI).sin())),
        series("cosine", 256, (0..120).map(|i| 250.0 + 200.0 * (f64::from(i) / 60.0 * PI).cos())),
        spikes,
        series(
            "broken",
            10,
            (0..60).map(|i| match i {
                20..=22 => f64::NAN,
                35 => f64::INFINITY,
                50 => f64::NEG_INFINITY,
                _ => f64::from(i).sqrt(),
            }),
        ),
        series("constant", 1, (0..50).map(|_| 0.5)),
        series("single point", 1, [0.123]),
        series("empty", 1, []),
        series("tiny range far from zero", 1000, (0..50).map(|i| 1_000_000.0 + f64::from(i) * 1e-5)),
        series("huge", 1_000_000, (0..50).map(|i| f64::from(i) * 1e40)),
    ]
}

fn runs(theme: Theme) -> String {
    let out_of_memory = EndReason::OutOfMemory { limit: Some(stoa_core::units::Bytes(2 << 30)) };
    let records = [
        fixture::record("cartpole-ppo", RunState::Running, None),
        fixture::record("日本語の実験 🚀", RunState::Succeeded, Some(EndReason::Exited { code: 0 })),
        fixture::record("sweep-17", RunState::Failed, Some(out_of_memory)),
        fixture::record("evil\u{1b}[2J", RunState::Stopped, Some(EndReason::Stopped { killed: true })),
        fixture::record("waiting", RunState::Queued, None),
        fixture::record("gone", RunState::Lost, Some(EndReason::Lost { why: "the machine was rebooted".into() })),
    ];
    let metric = |index| (index % 2 == 0).then(|| "reward 475.2".to_owned());
    let rows = records.iter().enumerate().map(|(index, record)| RunRow { record, metric: metric(index) }).collect();
    let table = RunTable { rows }.render(Some(110), fixture::NOW, theme);
    let detail = RunDetail { record: &records[2] }.render(100, fixture::NOW, theme);
    let bar = |fraction| ProgressBar {
        label: "downloading torch".into(),
        fraction: Some(fraction),
        elapsed: Duration::from_secs(14),
        eta: Some(Duration::from_secs(21)),
    };
    let bars = [0.0, 0.39, 1.0].map(|fraction| bar(fraction).render(80, theme));
    [table, detail, bars.to_vec()].iter().map(|lines| to_text(lines, theme.color) + "\n").collect()
}

fn dashboards(theme: Theme) -> String {
    let record = fixture::record("cartpole-ppo", RunState::Running, None);
    let mut noise = Noise(11);
    let mut system = |name: &str, level: f64| {
        let mut made = series(name, 1, (0..40).map(|_| level * (1.0 + 0.4 * noise.next())).collect::<Vec<_>>());
        made.summary.origin = Origin::System;
        made
    };
    let mut all = vec![system("system/cpu", 1.6), system("system/memory", 4e8)];
    all.extend([reward(3), loss("train/loss", 1, 0.08, 600), loss("train/value_loss", 4, 0.5, 600)]);
    all.push(series("train/learning_rate", 256, (0..100).map(|i| 1e-3 * (1.0 - f64::from(i) / 100.0))));
    all.push(loss("eval/loss", 5, 0.3, 80));
    let log: Vec<String> =
        (0..40).map(|i| format!("| step {:>6} | fps 4213 | reward {:.1} |", i * 256, 9.5 * f64::from(i))).collect();
    let watching = Watching { smoothing: Some(0.9), ..Watching::default() };
    let dashboard =
        Dashboard { record: &record, series: &all, log: &log, watching: &watching, now: fixture::NOW, theme };
    let full = to_text(&dashboard.render(140, 44), theme.color);
    full + "\n" + &to_text(&inline_view(&record, &all, fixture::NOW, 100, 14, theme), theme.color)
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let (color, unicode) = match () {
        () if has("ascii") => (ColorDepth::None, false),
        () if has("plain") => (ColorDepth::None, true),
        () if has("16") => (ColorDepth::Ansi16, true),
        () if has("256") => (ColorDepth::Ansi256, true),
        () => (ColorDepth::TrueColor, true),
    };
    let theme = Theme { color, unicode };
    let all = all_series();
    for plot in plots(&all, theme, 100) {
        println!("{}", to_text(&plot.render(), color));
    }
    println!("{}", runs(theme));
    println!("{}", dashboards(theme));
    let Some(folder) = arguments.iter().find(|argument| argument.contains('/')) else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    for (index, plot) in plots(&all, theme, 100).iter().enumerate() {
        for (scheme, name) in [(SvgScheme::Auto, "auto"), (SvgScheme::Light, "light"), (SvgScheme::Dark, "dark")] {
            let svg = plot.to_svg(SvgOptions { scheme, ..SvgOptions::default() });
            std::fs::write(format!("{folder}/{index:02}-{name}.svg"), svg)?;
        }
    }
    Ok(())
}
