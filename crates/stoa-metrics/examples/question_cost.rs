//! Measures what questions about a large run cost.
//!
//! `cargo run --release -p stoa-metrics --example question_cost [POINTS]`
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::fs::File;
use std::io::{BufWriter, Error, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use stoa_core::metric::{Origin, SeriesQuery};
use stoa_core::port::{LiveRun, Metrics};
use stoa_metrics::MetricService;
use stoa_metrics::format::{Header, encode_name, encode_point};

fn main() -> Result<(), Error> {
    let points: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let run = tempfile::tempdir()?;
    write_points(&run.path().join("metrics"), points)?;
    let query = SeriesQuery { names: Vec::new(), max_points: 1000 };
    let service = MetricService::new();
    let ask = |what: &str| {
        let start = Instant::now();
        let found = service.series(run.path(), &query).map_err(|failure| Error::other(failure.to_string()))?;
        let (count, shown) = (found[0].summary.count, found[0].points.len());
        println!("{what}: {:.2} ms, {count} points, {shown} shown", milliseconds(start.elapsed()));
        Ok::<(), Error>(())
    };
    ask("first question")?;
    ask("second question, run ended")?;
    service.started(LiveRun {
        id: "r-00000000".parse().map_err(Error::other)?,
        dir: run.path().to_owned(),
        project: None,
        init_pid: None,
        cgroups: Vec::new(),
        started: 0,
    });
    ask("question, run live")?;
    append_points(&run.path().join("metrics/a.stm"), points, 1000)?;
    ask("question after 1,000 more points")?;
    let start = Instant::now();
    for _ in 0..100 {
        service.series(run.path(), &query).map_err(|failure| Error::other(failure.to_string()))?;
    }
    println!("question with nothing new: {:.3} ms", milliseconds(start.elapsed()) / 100.0);
    Ok(())
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

fn write_points(folder: &Path, points: u64) -> Result<(), Error> {
    std::fs::create_dir(folder)?;
    let mut file = BufWriter::new(File::create(folder.join("a.stm"))?);
    file.write_all(&Header { origin: Origin::Script, pid: 1, created: 1 }.encode())?;
    let mut frames = Vec::new();
    encode_name(&mut frames, 0, 1, "", "loss");
    for step in 0..points {
        encode_point(&mut frames, 0, step * 1000, step as i64, (step as f64 / 1e5).sin());
        if frames.len() > 1 << 16 {
            file.write_all(&frames)?;
            frames.clear();
        }
    }
    file.write_all(&frames)?;
    file.flush()
}

fn append_points(path: &Path, from: u64, points: u64) -> Result<(), Error> {
    let mut frames = Vec::new();
    (from..from + points).for_each(|step| encode_point(&mut frames, 0, step * 1000, step as i64, 0.5));
    File::options().append(true).open(path)?.write_all(&frames)
}
