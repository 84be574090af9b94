//! Measures what following runs costs the daemon.
//!
//! `cargo run --release -p stoa-metrics --example follow_cost`: processor time and wake-ups of the service while no run
//! is live, while one is live, and while one that logs a million points a second is watched.
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::fs::File;
use std::io::{Error, Write};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use stoa_core::metric::{Origin, SeriesQuery};
use stoa_core::port::{LiveRun, Metrics};
use stoa_metrics::MetricService;
use stoa_metrics::format::{Header, encode_name, encode_point};

const SPAN: Duration = Duration::from_secs(5);

fn main() -> Result<(), Error> {
    let run = tempfile::tempdir()?;
    std::fs::create_dir(run.path().join("metrics"))?;
    let service = MetricService::new();
    let live = live_run(run.path())?;
    // The thread starts with the first run.
    service.started(live.clone());
    service.ended(&live.id);
    measure("no run live", || Ok(()))?;
    service.started(live.clone());
    measure("one run live", || Ok(()))?;
    let mut writer = Writer::new(run.path())?;
    let news = service.subscribe(run.path());
    let query = SeriesQuery { names: Vec::new(), max_points: 1000 };
    measure("watched, a million points a second, asked four times a second", || {
        let end = Instant::now() + SPAN;
        let mut next_question = Instant::now();
        while Instant::now() < end {
            writer.write(100_000)?;
            news.wait(Duration::from_millis(100));
            if Instant::now() >= next_question {
                service.series(run.path(), &query).map_err(|failure| Error::other(failure.to_string()))?;
                next_question += Duration::from_millis(250);
            }
        }
        Ok(())
    })?;
    service.ended(&live.id);
    Ok(())
}

fn live_run(dir: &Path) -> Result<LiveRun, Error> {
    Ok(LiveRun {
        id: "r-00000000".parse().map_err(Error::other)?,
        dir: dir.to_owned(),
        project: None,
        init_pid: Some(std::process::id() as i32),
        cgroups: Vec::new(),
        started: 0,
    })
}

/// Prints what the threads of this process but the first used in the meantime.
fn measure(what: &str, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let (before, start) = (service_usage()?, Instant::now());
    work()?;
    let (_keep, nothing) = channel::<()>();
    // Nothing is ever sent: it waits out the span.
    let _ = nothing.recv_timeout(SPAN.saturating_sub(start.elapsed()));
    let (after, seconds) = (service_usage()?, start.elapsed().as_secs_f64());
    let percent = (after.0 - before.0) as f64 / 1e7 / seconds;
    println!("{what}: {percent:.3} % of a core, {:.1} wake-ups a second", (after.1 - before.1) as f64 / seconds);
    Ok(())
}

/// Nanoseconds on a processor and times put on one, of the service's thread (`/proc/PID/task/TID/schedstat`).
fn service_usage() -> Result<(u64, u64), Error> {
    let mut total = (0, 0);
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "metrics" {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            let fields: Vec<u64> = text.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
            total = (total.0 + fields[0], total.1 + fields[2]);
        }
    }
    Ok(total)
}

struct Writer {
    file: File,
    step: i64,
}

impl Writer {
    fn new(run: &Path) -> Result<Self, Error> {
        let mut file = File::create(run.join("metrics/a.stm"))?;
        let mut bytes = Header { origin: Origin::Script, pid: 1, created: 1 }.encode().to_vec();
        encode_name(&mut bytes, 0, 1, "", "loss");
        file.write_all(&bytes)?;
        Ok(Self { file, step: 0 })
    }

    fn write(&mut self, points: i64) -> Result<(), Error> {
        let mut frames = Vec::new();
        for step in self.step..self.step + points {
            encode_point(&mut frames, 0, step as u64, step, step as f64);
        }
        self.step += points;
        self.file.write_all(&frames)
    }
}
