//! Samples what a run uses: processors, memory, input and output, GPUs.
//!
//! Series, one point a second, steps in seconds since the run started:
//!
//! | series | unit | from |
//! |---|---|---|
//! | `system/cpu` | cores in use since the last sample | `cpuacct.usage`, `cpu.stat`, or the processes' `stat` |
//! | `system/memory` | bytes | `memory.usage_in_bytes`, `memory.current`, or the processes' resident sets |
//! | `system/read`, `system/write` | bytes/s | `blkio.throttle.io_service_bytes*`, `io.stat`, or the processes' `io` |
//! | `system/gpu0/utilization`, `system/gpu0/memory` | percent, bytes | `nvidia-smi`, of all users |
//!
//! In the sum of resident sets shared pages count more than once; proportional sets take too long to read.

mod gpu;
mod usage;

use crate::append::Appender;
use crate::format::{encode_point, encode_points};
use std::ffi::CStr;
use std::io;
use std::time::Instant;
use stoa_core::metric::Origin;
use stoa_core::port::LiveRun;
use usage::Usage;

pub(crate) use gpu::Gpus;

/// The file of the run that the samples go to.
const FILE: &CStr = c"system.stm";
/// The series that [`crate::MetricService::peak_memory`] looks at.
pub(crate) const MEMORY: &str = "system/memory";

/// The samples of one run.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    before: Option<(Instant, Usage)>,
    appender: Option<Appender>,
    processes: usage::Processes,
}

impl Sampler {
    /// Takes a sample and writes it.
    pub(crate) fn sample(&mut self, run: &LiveRun, pids: &[i32], gpus: &Gpus) -> io::Result<()> {
        let (now, usage) = (Instant::now(), usage::of_run(run, pids, &mut self.processes));
        let mut values: Vec<(String, f64)> = Vec::new();
        if let Some(memory) = usage.memory {
            values.push((MEMORY.to_owned(), memory as f64));
        }
        let since_start = crate::append::now().saturating_sub(run.started) as f64 / 1e9;
        let (seconds, earlier) = match &self.before {
            Some((then, usage)) => (now.duration_since(*then).as_secs_f64(), *usage),
            None => (since_start, Usage::default()),
        };
        // The first sample's rates are over the time since the start, unless another process sampled before us.
        if seconds > 0.0 && (self.before.is_some() || since_start < 2.0) {
            let rate = |now: Option<u64>, before: Option<u64>| {
                now.map(|now| now.saturating_sub(before.unwrap_or(0)) as f64 / seconds)
            };
            let cpu = rate(usage.cpu_nanos, earlier.cpu_nanos).map(|nanos| nanos / 1e9);
            let (read, write) = (rate(usage.read, earlier.read), rate(usage.written, earlier.written));
            let named = [("system/cpu", cpu), ("system/read", read), ("system/write", write)];
            values.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        values.extend(gpus.values());
        self.before = Some((now, usage));
        self.write(run, since_start as i64, &values)
    }

    fn write(&mut self, run: &LiveRun, step: i64, values: &[(String, f64)]) -> io::Result<()> {
        let appender = match &mut self.appender {
            Some(appender) => appender,
            None => self.appender.insert(Appender::open(&run.dir, FILE, Origin::System, &mut |_| true)?),
        };
        let points: Vec<(u32, f64)> =
            values.iter().filter_map(|(name, value)| Some((appender.id("", name)?, *value))).collect();
        let time = crate::append::now();
        match points[..] {
            [] => {}
            [(id, value)] => encode_point(appender.frames(), id, time, step, value),
            _ => encode_points(appender.frames(), time, step, &points),
        }
        let written = appender.write();
        if written.is_err() {
            // The next sample starts from what the file has; samples are not worth keeping until the disk has space.
            self.appender = None;
        }
        written
    }
}
