//! Conversions between the run model of `stoa-core` and its messages.
//!
//! Towards a message they cannot fail. From a message they can: a peer may send anything.

use crate::stoa as pb;
use std::path::PathBuf;
use std::time::Duration;
use stoa_core::metric::{Origin, Point, Series, SeriesSummary};
use stoa_core::run::{
    CodeState, EndReason, Enforcement, EnvironmentRef, Host, Limits, Mechanism, Mount, Network, Program, RunRecord,
    RunSpec, RunState, TerminalSize, UnixNanos, Usage, Variable,
};
use stoa_core::units::{Bytes, Cpus};
use stoa_core::{Exit, Failure, RunId};

/// A message that does not say what it must.
fn malformed(what: &str) -> Failure {
    Failure::new(Exit::Internal, format!("a message between client and daemon lacks a valid {what}"))
        .hint("client and daemon may differ in version: run `stoa daemon stop` and try again")
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap_or_else(|path| path.to_string_lossy().into_owned())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl From<Variable> for pb::Variable {
    fn from(variable: Variable) -> Self {
        Self { name: variable.name, value: variable.value }
    }
}

impl From<pb::Variable> for Variable {
    fn from(variable: pb::Variable) -> Self {
        Self { name: variable.name, value: variable.value }
    }
}

impl From<TerminalSize> for pb::TerminalSize {
    fn from(size: TerminalSize) -> Self {
        Self { rows: size.rows.into(), columns: size.columns.into() }
    }
}

impl From<pb::TerminalSize> for TerminalSize {
    fn from(size: pb::TerminalSize) -> Self {
        let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        Self { rows: clamp(size.rows), columns: clamp(size.columns) }
    }
}

impl From<Limits> for pb::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            cpu_thousandths: limits.cpus.map(|cpus| cpus.0),
            memory: limits.memory.map(|bytes| bytes.0),
            pids: limits.pids,
            gpus: limits.gpus,
            time_ms: limits.time.map(millis),
        }
    }
}

impl From<pb::Limits> for Limits {
    fn from(limits: pb::Limits) -> Self {
        Self {
            cpus: limits.cpu_thousandths.map(Cpus),
            memory: limits.memory.map(Bytes),
            pids: limits.pids,
            gpus: limits.gpus,
            time: limits.time_ms.map(Duration::from_millis),
        }
    }
}

impl From<Mount> for pb::Mount {
    fn from(mount: Mount) -> Self {
        Self { path: text(mount.path), writable: mount.writable }
    }
}

impl From<pb::Mount> for Mount {
    fn from(mount: pb::Mount) -> Self {
        Self { path: mount.path.into(), writable: mount.writable }
    }
}

fn convert<A: Into<B>, B>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(Into::into).collect()
}

fn try_convert<A, B: TryFrom<A>>(items: Vec<A>) -> Result<Vec<B>, B::Error> {
    items.into_iter().map(B::try_from).collect()
}

impl From<RunSpec> for pb::RunSpec {
    fn from(spec: RunSpec) -> Self {
        let (script, argv) = match spec.program {
            Program::Script { path, args } => (true, std::iter::once(text(path)).chain(args).collect()),
            Program::Command { argv } => (false, argv),
        };
        Self {
            name: spec.name,
            script,
            argv,
            cwd: text(spec.cwd),
            env: convert(spec.env),
            named_env: convert(spec.named_env),
            hidden_env: spec.hidden_env,
            limits: Some(spec.limits.into()),
            mounts: convert(spec.mounts),
            private_network: spec.network == Network::None,
            retries: spec.retries,
            allow_degraded: spec.allow_degraded,
            python: spec.python.map(text),
            terminal: spec.terminal.map(Into::into),
            stdin: spec.stdin,
            umask: spec.umask,
            repeats: spec.repeats.map(Into::into),
        }
    }
}

impl TryFrom<pb::RunSpec> for RunSpec {
    type Error = Failure;
    fn try_from(spec: pb::RunSpec) -> Result<Self, Failure> {
        let mut argv = spec.argv.into_iter();
        let first = argv.next().ok_or_else(|| malformed("program"))?;
        let program = if spec.script {
            Program::Script { path: first.into(), args: argv.collect() }
        } else {
            Program::Command { argv: std::iter::once(first).chain(argv).collect() }
        };
        let cwd = PathBuf::from(spec.cwd);
        if !cwd.is_absolute() {
            return Err(malformed("working folder"));
        }
        Ok(Self {
            name: spec.name,
            program,
            cwd,
            env: convert(spec.env),
            named_env: convert(spec.named_env),
            hidden_env: spec.hidden_env,
            limits: spec.limits.unwrap_or_default().into(),
            mounts: convert(spec.mounts),
            network: if spec.private_network { Network::None } else { Network::Host },
            retries: spec.retries,
            allow_degraded: spec.allow_degraded,
            python: spec.python.map(PathBuf::from),
            terminal: spec.terminal.map(Into::into),
            stdin: spec.stdin,
            umask: spec.umask,
            repeats: spec.repeats.map(RunId::try_from).transpose().map_err(|_| malformed("run id"))?,
        })
    }
}

impl From<RunState> for pb::RunState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Queued => Self::Queued,
            RunState::Preparing => Self::Preparing,
            RunState::Running => Self::Running,
            RunState::Succeeded => Self::Succeeded,
            RunState::Failed => Self::Failed,
            RunState::Stopped => Self::Stopped,
            RunState::Lost => Self::Lost,
        }
    }
}

impl TryFrom<pb::RunState> for RunState {
    type Error = Failure;
    fn try_from(state: pb::RunState) -> Result<Self, Failure> {
        Ok(match state {
            pb::RunState::Queued => Self::Queued,
            pb::RunState::Preparing => Self::Preparing,
            pb::RunState::Running => Self::Running,
            pb::RunState::Succeeded => Self::Succeeded,
            pb::RunState::Failed => Self::Failed,
            pb::RunState::Stopped => Self::Stopped,
            pb::RunState::Lost => Self::Lost,
            pb::RunState::Unspecified => return Err(malformed("state")),
        })
    }
}

impl From<EndReason> for pb::EndReason {
    fn from(end: EndReason) -> Self {
        use pb::end_reason::What;
        let what = match end {
            EndReason::Exited { code } => What::Exited(code),
            EndReason::Signaled { signal } => What::Signaled(signal),
            EndReason::OutOfMemory { limit } => {
                What::OutOfMemory(pb::OutOfMemory { limit: limit.map(|bytes| bytes.0) })
            }
            EndReason::TimeLimit { limit } => What::TimeLimitMs(millis(limit)),
            EndReason::LimitHit { limit } => What::LimitHit(limit),
            EndReason::Stopped { killed } => What::Stopped(killed),
            EndReason::Infrastructure { failure } => What::Infrastructure(failure.into()),
            EndReason::Lost { why } => What::Lost(why),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<pb::EndReason> for EndReason {
    type Error = Failure;
    fn try_from(end: pb::EndReason) -> Result<Self, Failure> {
        use pb::end_reason::What;
        Ok(match end.what.ok_or_else(|| malformed("end reason"))? {
            What::Exited(code) => Self::Exited { code },
            What::Signaled(signal) => Self::Signaled { signal },
            What::OutOfMemory(memory) => Self::OutOfMemory { limit: memory.limit.map(Bytes) },
            What::TimeLimitMs(limit) => Self::TimeLimit { limit: Duration::from_millis(limit) },
            What::LimitHit(limit) => Self::LimitHit { limit },
            What::Stopped(killed) => Self::Stopped { killed },
            What::Infrastructure(failure) => Self::Infrastructure { failure: failure.into() },
            What::Lost(why) => Self::Lost { why },
        })
    }
}

impl From<Usage> for pb::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            cpu_user_us: micros(usage.cpu_user),
            cpu_system_us: micros(usage.cpu_system),
            peak_memory: usage.peak_memory.map(|bytes| bytes.0),
            read: usage.read.0,
            written: usage.written.0,
            peak_gpu_memory: usage.peak_gpu_memory.map(|bytes| bytes.0),
        }
    }
}

impl From<pb::Usage> for Usage {
    fn from(usage: pb::Usage) -> Self {
        Self {
            cpu_user: Duration::from_micros(usage.cpu_user_us),
            cpu_system: Duration::from_micros(usage.cpu_system_us),
            peak_memory: usage.peak_memory.map(Bytes),
            read: Bytes(usage.read),
            written: Bytes(usage.written),
            peak_gpu_memory: usage.peak_gpu_memory.map(Bytes),
        }
    }
}

impl From<Mechanism> for pb::Mechanism {
    fn from(mechanism: Mechanism) -> Self {
        let enforcement = match mechanism.enforcement {
            Enforcement::InForce => pb::Enforcement::InForce,
            Enforcement::NotAsked => pb::Enforcement::NotAsked,
            Enforcement::Degraded => pb::Enforcement::Degraded,
        };
        Self { name: mechanism.name, enforcement: enforcement.into(), detail: mechanism.detail }
    }
}

impl TryFrom<pb::Mechanism> for Mechanism {
    type Error = Failure;
    fn try_from(mechanism: pb::Mechanism) -> Result<Self, Failure> {
        let enforcement = match mechanism.enforcement() {
            pb::Enforcement::InForce => Enforcement::InForce,
            pb::Enforcement::NotAsked => Enforcement::NotAsked,
            pb::Enforcement::Degraded => Enforcement::Degraded,
            pb::Enforcement::Unspecified => return Err(malformed("enforcement")),
        };
        Ok(Self { name: mechanism.name, enforcement, detail: mechanism.detail })
    }
}

impl From<CodeState> for pb::CodeState {
    fn from(code: CodeState) -> Self {
        Self {
            root: text(code.root),
            commit: code.commit,
            branch: code.branch,
            changed: code.changed,
            untracked_kept: code.untracked_kept,
            untracked_left: code.untracked_left,
        }
    }
}

impl From<pb::CodeState> for CodeState {
    fn from(code: pb::CodeState) -> Self {
        Self {
            root: code.root.into(),
            commit: code.commit,
            branch: code.branch,
            changed: code.changed,
            untracked_kept: code.untracked_kept,
            untracked_left: code.untracked_left,
        }
    }
}

impl From<EnvironmentRef> for pb::Environment {
    fn from(environment: EnvironmentRef) -> Self {
        Self {
            language: environment.language,
            interpreter: text(environment.interpreter),
            key: environment.key,
            source: environment.source,
            lock: environment.lock,
        }
    }
}

impl From<pb::Environment> for EnvironmentRef {
    fn from(environment: pb::Environment) -> Self {
        Self {
            language: environment.language,
            interpreter: environment.interpreter.into(),
            key: environment.key,
            source: environment.source,
            lock: environment.lock,
        }
    }
}

impl From<Host> for pb::Host {
    fn from(host: Host) -> Self {
        Self {
            name: host.name,
            kernel: host.kernel,
            system: host.system,
            cpu: host.cpu,
            cpus: host.cpus,
            memory: host.memory.0,
            gpus: host.gpus,
        }
    }
}

impl From<pb::Host> for Host {
    fn from(host: pb::Host) -> Self {
        Self {
            name: host.name,
            kernel: host.kernel,
            system: host.system,
            cpu: host.cpu,
            cpus: host.cpus,
            memory: Bytes(host.memory),
            gpus: host.gpus,
        }
    }
}

impl From<RunRecord> for pb::RunRecord {
    fn from(record: RunRecord) -> Self {
        Self {
            id: record.id.into(),
            name: record.name,
            spec: Some(record.spec.into()),
            state: pb::RunState::from(record.state).into(),
            end: record.end.map(Into::into),
            exit_code: record.exit_code.map(u32::from),
            created: record.created.0,
            started: record.started.map(|time| time.0),
            ended: record.ended.map(|time| time.0),
            attempt: record.attempt,
            command: record.command,
            dir: text(record.dir),
            project: record.project.map(text),
            usage: Some(record.usage.into()),
            isolation: convert(record.isolation),
            host: Some(record.host.into()),
            code: record.code.map(Into::into),
            environment: record.environment.map(Into::into),
            output: record.output.0,
            output_lost: record.output_lost.0,
        }
    }
}

impl TryFrom<pb::RunRecord> for RunRecord {
    type Error = Failure;
    fn try_from(record: pb::RunRecord) -> Result<Self, Failure> {
        let state = RunState::try_from(record.state())?;
        Ok(Self {
            id: record.id.try_into().map_err(|_| malformed("run id"))?,
            name: record.name,
            spec: record.spec.ok_or_else(|| malformed("specification"))?.try_into()?,
            state,
            end: record.end.map(EndReason::try_from).transpose()?,
            exit_code: record
                .exit_code
                .map(|code| u8::try_from(code).map_err(|_| malformed("exit code")))
                .transpose()?,
            created: UnixNanos(record.created),
            started: record.started.map(UnixNanos),
            ended: record.ended.map(UnixNanos),
            attempt: record.attempt,
            command: record.command,
            dir: record.dir.into(),
            project: record.project.map(PathBuf::from),
            usage: record.usage.unwrap_or_default().into(),
            isolation: try_convert(record.isolation)?,
            host: record.host.unwrap_or_default().into(),
            code: record.code.map(Into::into),
            environment: record.environment.map(Into::into),
            output: Bytes(record.output),
            output_lost: Bytes(record.output_lost),
        })
    }
}

impl From<Point> for pb::Point {
    fn from(point: Point) -> Self {
        Self { step: point.step, time: point.time, value: point.value }
    }
}

impl From<pb::Point> for Point {
    fn from(point: pb::Point) -> Self {
        Self { step: point.step, time: point.time, value: point.value }
    }
}

impl From<Series> for pb::Series {
    fn from(series: Series) -> Self {
        let Series { summary, points } = series;
        let origin = match summary.origin {
            Origin::Script => pb::Origin::Script,
            Origin::TensorBoard => pb::Origin::Tensorboard,
            Origin::System => pb::Origin::System,
        };
        Self {
            name: summary.name,
            origin: origin.into(),
            count: summary.count,
            non_finite: summary.non_finite,
            min: summary.min,
            max: summary.max,
            last: summary.last.map(Into::into),
            steps: points.iter().map(|point| point.step).collect(),
            times: points.iter().map(|point| point.time).collect(),
            values: points.iter().map(|point| point.value).collect(),
        }
    }
}

impl TryFrom<pb::Series> for Series {
    type Error = Failure;
    fn try_from(series: pb::Series) -> Result<Self, Failure> {
        let origin = match series.origin() {
            pb::Origin::Script => Origin::Script,
            pb::Origin::Tensorboard => Origin::TensorBoard,
            pb::Origin::System => Origin::System,
            pb::Origin::Unspecified => return Err(malformed("origin")),
        };
        if series.steps.len() != series.values.len() || series.times.len() != series.values.len() {
            return Err(malformed("series"));
        }
        let points = series.steps.iter().zip(&series.times).zip(&series.values);
        let points = points.map(|((&step, &time), &value)| Point { step, time, value }).collect();
        let summary = SeriesSummary {
            name: series.name,
            origin,
            count: series.count,
            non_finite: series.non_finite,
            min: series.min,
            max: series.max,
            last: series.last.map(Into::into),
        };
        Ok(Self { summary, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        RunRecord {
            id: RunId::from_random(77),
            name: "train".into(),
            spec: RunSpec {
                name: Some("train".into()),
                program: Program::Script { path: "train.py".into(), args: vec!["--epochs".into(), "3".into()] },
                cwd: "/home/ada/project".into(),
                env: vec![Variable { name: "LANG".into(), value: "C.UTF-8".into() }],
                named_env: vec![Variable { name: "HF_TOKEN".into(), value: "***".into() }],
                hidden_env: vec!["AWS_SECRET_ACCESS_KEY".into()],
                limits: Limits {
                    cpus: Some(Cpus(1500)),
                    memory: Some(Bytes(2 << 30)),
                    pids: Some(100),
                    gpus: Some(1),
                    time: Some(Duration::from_secs(600)),
                },
                mounts: vec![Mount { path: "/data".into(), writable: false }],
                network: Network::None,
                retries: 2,
                allow_degraded: true,
                python: Some("/usr/bin/python3".into()),
                terminal: Some(TerminalSize { rows: 24, columns: 80 }),
                stdin: true,
                umask: 0o022,
                repeats: Some(RunId::from_random(5)),
            },
            state: RunState::Failed,
            end: Some(EndReason::OutOfMemory { limit: Some(Bytes(2 << 30)) }),
            exit_code: Some(137),
            created: UnixNanos(1),
            started: Some(UnixNanos(2)),
            ended: Some(UnixNanos(3)),
            attempt: 2,
            command: vec!["/usr/bin/python3".into(), "train.py".into()],
            dir: "/var/lib/stoa/runs/x".into(),
            project: Some("/home/ada/project".into()),
            usage: Usage { cpu_user: Duration::from_micros(12), peak_memory: Some(Bytes(5)), ..Usage::default() },
            isolation: vec![Mechanism {
                name: "landlock".into(),
                enforcement: Enforcement::InForce,
                detail: "ABI 7".into(),
            }],
            host: Host { name: "box".into(), cpus: 8, ..Host::default() },
            code: Some(CodeState {
                root: "/home/ada/project".into(),
                commit: Some("abc".into()),
                ..CodeState::default()
            }),
            environment: Some(EnvironmentRef {
                language: "python".into(),
                interpreter: "/usr/bin/python3".into(),
                key: Some("k".into()),
                source: "PEP 723 block of train.py".into(),
                lock: vec!["numpy==2.0".into()],
            }),
            output: Bytes(100),
            output_lost: Bytes(1),
        }
    }

    #[test]
    fn a_record_survives_the_protocol() {
        let back = RunRecord::try_from(pb::RunRecord::from(record())).expect("valid");
        assert_eq!(back, record());
    }

    #[test]
    fn every_end_survives_the_protocol() {
        let failure = Failure::new(Exit::Unavailable, "no").cause("why").hint("do");
        for end in [
            EndReason::Exited { code: 3 },
            EndReason::Signaled { signal: 11 },
            EndReason::OutOfMemory { limit: None },
            EndReason::TimeLimit { limit: Duration::from_millis(1500) },
            EndReason::LimitHit { limit: "processes".into() },
            EndReason::Stopped { killed: true },
            EndReason::Infrastructure { failure },
            EndReason::Lost { why: "reboot".into() },
        ] {
            assert_eq!(EndReason::try_from(pb::EndReason::from(end.clone())).expect("valid"), end);
        }
    }

    #[test]
    fn a_malformed_message_is_refused_with_a_hint() {
        let failure = RunSpec::try_from(pb::RunSpec::default()).expect_err("no program");
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.hint.is_some());
        let uneven = pb::Series { origin: 1, steps: vec![1], ..pb::Series::default() };
        assert!(Series::try_from(uneven).is_err());
    }

    #[test]
    fn a_series_keeps_nan() {
        let point = Point { step: -1, time: 9, value: f64::NAN };
        let summary = SeriesSummary {
            name: "loss".into(),
            origin: Origin::Script,
            count: 1,
            non_finite: 1,
            min: None,
            max: None,
            last: Some(point),
        };
        let back = Series::try_from(pb::Series::from(Series { summary, points: vec![point] })).expect("valid");
        assert!(back.points[0].value.is_nan() && back.points[0].step == -1);
    }
}
