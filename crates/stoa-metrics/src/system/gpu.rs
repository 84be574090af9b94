//! Reads the load of NVIDIA GPUs from one `nvidia-smi` process that reports once a second.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const QUERY: [&str; 4] = ["--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-l", "1"];
/// What is kept of a line that does not end; no true line is that long.
const MAX_LINE: usize = 4096;

/// The load of one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Load {
    /// Percent of the time in which a kernel ran; `None` where the device does not say.
    utilization: Option<f64>,
    /// Bytes in use.
    memory: Option<f64>,
}

/// The GPUs of this machine, watched while a run is live.
#[derive(Debug, Default)]
pub(crate) struct Gpus {
    source: Option<Source>,
    /// It was tried and does not work here.
    absent: bool,
    loads: BTreeMap<u32, Load>,
}

#[derive(Debug)]
struct Source {
    child: Child,
    output: ChildStdout,
    line: Vec<u8>,
}

impl Gpus {
    /// Starts watching when there is something to watch, and takes in what was reported since the last call.
    pub(crate) fn refresh(&mut self) {
        if self.source.is_none() && !self.absent {
            self.source = start();
            self.absent = self.source.is_none();
        }
        let Some(source) = &mut self.source else { return };
        let mut piece = [0; 4096];
        loop {
            match source.output.read(&mut piece) {
                Ok(0) => break,
                Ok(len) => take_lines(&mut source.line, &piece[..len], &mut self.loads),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        // It ended by itself: no driver, or a driver that went away.
        self.stop();
        self.absent = true;
    }

    /// Stops watching.
    pub(crate) fn stop(&mut self) {
        if let Some(mut source) = self.source.take() {
            // It may have ended already; either way it is reaped.
            let _ = source.child.kill();
            let _ = source.child.wait();
        }
        self.loads.clear();
    }

    /// Series names and values of the last report.
    pub(crate) fn values(&self) -> impl Iterator<Item = (String, f64)> {
        self.loads.iter().flat_map(|(index, load)| {
            let named = [("utilization", load.utilization), ("memory", load.memory)];
            named.into_iter().filter_map(move |(what, value)| Some((format!("system/gpu{index}/{what}"), value?)))
        })
    }
}

impl Drop for Gpus {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start() -> Option<Source> {
    if !Path::new("/dev/nvidiactl").exists() {
        return None;
    }
    let mut command = Command::new("nvidia-smi");
    command.args(QUERY).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
    let mut child = command.spawn().ok()?;
    let output = child.stdout.take().expect("its output was asked for as a pipe");
    let mut source = Source { child, output, line: Vec::new() };
    let flags = rustix::fs::fcntl_getfl(&source.output);
    match flags.and_then(|flags| rustix::fs::fcntl_setfl(&source.output, flags | rustix::fs::OFlags::NONBLOCK)) {
        Ok(()) => Some(source),
        Err(_) => {
            let _ = source.child.kill();
            let _ = source.child.wait();
            None
        }
    }
}

fn take_lines(line: &mut Vec<u8>, piece: &[u8], loads: &mut BTreeMap<u32, Load>) {
    for byte in piece {
        if *byte == b'\n' {
            if let Some((index, load)) = parse(&String::from_utf8_lossy(line)) {
                loads.insert(index, load);
            }
            line.clear();
        } else if line.len() < MAX_LINE {
            line.push(*byte);
        }
    }
}

/// One line of the report: `0, 37, 1024`, memory in MiB. What a device does not know reads `[N/A]` or `[Not
/// Supported]`.
fn parse(line: &str) -> Option<(u32, Load)> {
    let mut fields = line.split(',').map(str::trim);
    let index = fields.next()?.parse().ok()?;
    let (utilization, memory) = (fields.next()?.parse().ok(), fields.next()?.parse().ok());
    let load = Load { utilization, memory: memory.map(|mebibytes: f64| mebibytes * 1_048_576.0) };
    (utilization.is_some() || memory.is_some()).then_some((index, load))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_two_devices_is_read_however_it_is_cut() {
        let report =
            b"0, 37, 1024\n1, [N/A], 2\nFailed to initialize NVML: Driver/library version mismatch\n0, 99, 81000\n2,\n";
        for cut in 0..report.len() {
            let (mut line, mut loads) = (Vec::new(), BTreeMap::new());
            take_lines(&mut line, &report[..cut], &mut loads);
            take_lines(&mut line, &report[cut..], &mut loads);
            let gpus = Gpus { source: None, absent: true, loads };
            let values: Vec<(String, f64)> = gpus.values().collect();
            let wanted = [
                ("system/gpu0/utilization", 99.0),
                ("system/gpu0/memory", 81000.0 * 1_048_576.0),
                ("system/gpu1/memory", 2.0 * 1_048_576.0),
            ];
            assert_eq!(values, wanted.map(|(name, value)| (name.to_owned(), value)));
        }
    }
}
