//! Series and records for the tests of this crate.

use crate::Now;
use std::time::Duration;
use stoa_core::metric::{Origin, Point, Series, SeriesSummary};
use stoa_core::run::{
    CodeState, EndReason, Enforcement, EnvironmentRef, Host, Limits, Mechanism, Mount, Network, Program, RunRecord,
    RunSpec, RunState, UnixNanos, Usage, Variable,
};
use stoa_core::units::{Bytes, Cpus};

/// A series with one point per step from 0, a second apart.
pub(crate) fn series(name: &str, values: &[f64]) -> Series {
    let points: Vec<Point> = (0i64..)
        .zip(values)
        .map(|(step, value)| Point {
            step,
            time: 1_700_000_000_000_000_000 + step as u64 * 1_000_000_000,
            value: *value,
        })
        .collect();
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let summary = SeriesSummary {
        name: name.to_owned(),
        origin: Origin::Script,
        count: points.len() as u64,
        non_finite: (values.len() - finite().count()) as u64,
        min: finite().reduce(f64::min),
        max: finite().reduce(f64::max),
        last: points.last().copied(),
    };
    Series { summary, points }
}

/// A series that the daemon sampled.
pub(crate) fn system(name: &str, values: &[f64]) -> Series {
    let mut series = series(name, values);
    series.summary.origin = Origin::System;
    series
}

/// The time at which tests look at things.
pub(crate) const NOW: Now = Now { time: UnixNanos(1_767_225_600_000_000_000), utc_offset: 0 };

fn before(seconds: u64) -> UnixNanos {
    UnixNanos(NOW.time.0 - seconds * 1_000_000_000)
}

/// A run that was accepted 5 minutes before [`NOW`] and, when it ended, took a minute.
pub(crate) fn record(name: &str, state: RunState, end: Option<EndReason>) -> RunRecord {
    let text = |text: &str| text.to_owned();
    let mechanism =
        |name: &str, enforcement, detail: &str| Mechanism { name: text(name), enforcement, detail: text(detail) };
    RunRecord {
        id: "r-01234567".parse().expect("a valid id"),
        name: text(name),
        spec: spec(),
        state,
        exit_code: end.as_ref().map(|end| if let EndReason::Exited { code } = end { *code as u8 } else { 137 }),
        created: before(300),
        started: Some(before(242)),
        ended: end.is_some().then(|| before(182)),
        end,
        attempt: 1,
        command: vec![text("/opt/python3.12/bin/python3"), text("train.py"), text("--epochs"), text("3")],
        dir: "/srv/.local/share/stoa/runs/r-01234567/files".into(),
        project: Some("/srv/cartpole".into()),
        usage: Usage {
            cpu_user: Duration::from_secs(224),
            cpu_system: Duration::from_millis(5300),
            peak_memory: Some(Bytes(612 << 20)),
            read: Bytes(96 << 20),
            written: Bytes(3 << 20),
            peak_gpu_memory: None,
        },
        isolation: vec![
            mechanism("landlock", Enforcement::InForce, "ABI 7"),
            mechanism("seccomp", Enforcement::InForce, ""),
            mechanism("memory-limit", Enforcement::Degraded, "no cgroup controller"),
        ],
        host: Host {
            name: text("workstation"),
            kernel: text("6.12.0"),
            system: text("Debian 12"),
            cpu: text("x86-64"),
            cpus: 16,
            memory: Bytes(64 << 30),
            gpus: Vec::new(),
        },
        code: Some(CodeState {
            root: "/srv/cartpole".into(),
            commit: Some(text("4f2a9c81d0e37b5566aa0123456789abcdef0123")),
            branch: Some(text("main")),
            changed: true,
            untracked_kept: vec![text("notes.txt")],
            untracked_left: 2,
        }),
        environment: Some(EnvironmentRef {
            language: text("python"),
            interpreter: "/opt/python3.12/bin/python3".into(),
            key: Some(text("9f86d081884c")),
            source: text("PEP 723 block of train.py"),
            lock: vec![text("torch==2.9.0"), text("numpy==2.3.0")],
        }),
        output: Bytes(48 << 10),
        output_lost: Bytes(0),
    }
}

fn spec() -> RunSpec {
    RunSpec {
        name: None,
        program: Program::Script { path: "train.py".into(), args: vec!["--epochs".to_owned(), "3".to_owned()] },
        cwd: "/srv/cartpole".into(),
        env: Vec::new(),
        named_env: vec![Variable { name: "SEED".to_owned(), value: "7".to_owned() }],
        hidden_env: vec!["AWS_SECRET_ACCESS_KEY".to_owned()],
        limits: Limits { cpus: Some(Cpus(2000)), memory: Some(Bytes(2 << 30)), ..Limits::default() },
        mounts: vec![Mount { path: "/data/sets".into(), writable: false }],
        network: Network::Host,
        retries: 0,
        allow_degraded: true,
        python: None,
        terminal: None,
        stdin: false,
        umask: 0o022,
        repeats: None,
    }
}
