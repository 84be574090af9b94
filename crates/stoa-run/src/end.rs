//! From what the init of a run recorded to why the run ended. Pure.

use std::time::Duration;
use stoa_core::run::{EndReason, Limits, Usage};
use stoa_core::units::Bytes;
use stoa_core::{Exit, Failure};
use stoa_proto::warden::{Ended, Removed, ended::Cause};

/// What GNU `timeout` answers; used when a program ends with code 0 at its time limit.
const TIME_LIMIT_CODE: u8 = 124;
const SIGKILL: i32 = 9;

/// Why a run ended, the exit code for its client, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) reason: EndReason,
    pub(crate) exit_code: u8,
    pub(crate) usage: Usage,
}

/// Judges the record of an init. `program` is what was executed, for messages.
pub(crate) fn judge(ended: &Ended, counters: &Removed, limits: &Limits, program: &str) -> End {
    let own_code = if ended.signal != 0 { 128 + ended.signal } else { ended.code };
    let own_code = u8::try_from(own_code & 0xff).unwrap_or(1);
    let success = ended.signal == 0 && ended.code == 0;
    let (reason, exit_code) = match ended.cause() {
        Cause::ExecFailed => started_badly(exec_failure(ended.code, program)),
        Cause::SetupFailed => started_badly(setup_failure(ended)),
        Cause::TimeLimit => {
            let limit = limits.time.unwrap_or(Duration::ZERO);
            (EndReason::TimeLimit { limit }, if own_code == 0 { TIME_LIMIT_CODE } else { own_code })
        }
        Cause::Stopped => (EndReason::Stopped { killed: false }, own_code),
        Cause::Killed => (EndReason::Stopped { killed: true }, own_code),
        Cause::ByItself | Cause::Unspecified if success => (EndReason::Exited { code: 0 }, 0),
        Cause::ByItself | Cause::Unspecified if counters.oom_kills > 0 => {
            (EndReason::OutOfMemory { limit: limits.memory }, own_code)
        }
        Cause::ByItself | Cause::Unspecified if counters.pids_limit_hits > 0 => {
            (EndReason::LimitHit { limit: "processes".into() }, own_code)
        }
        Cause::ByItself | Cause::Unspecified if ended.signal != 0 => {
            (EndReason::Signaled { signal: ended.signal }, own_code)
        }
        Cause::ByItself | Cause::Unspecified => (EndReason::Exited { code: ended.code }, own_code),
    };
    End { reason, exit_code, usage: usage(ended, counters) }
}

/// The end of a run whose init was killed before it could record one.
pub(crate) fn killed(counters: &Removed, limits: &Limits) -> End {
    let reason = if counters.oom_kills > 0 {
        EndReason::OutOfMemory { limit: limits.memory }
    } else {
        EndReason::Signaled { signal: SIGKILL }
    };
    End { reason, exit_code: 128 + SIGKILL as u8, usage: usage(&Ended::default(), counters) }
}

fn started_badly(failure: Failure) -> (EndReason, u8) {
    let code = failure.exit.code();
    (EndReason::Infrastructure { failure }, code)
}

fn exec_failure(errno: i32, program: &str) -> Failure {
    let cause = std::io::Error::from_raw_os_error(errno);
    let (exit, hint) = match cause.kind() {
        std::io::ErrorKind::NotFound => (
            Exit::NotFound,
            "the program, or the interpreter its first line names, is not visible in the run; `--mount` its folder",
        ),
        std::io::ErrorKind::PermissionDenied => (Exit::NotExecutable, "make it executable: `chmod +x`"),
        _ => (Exit::NotExecutable, "check that it is a program for this machine"),
    };
    Failure::new(exit, format!("cannot execute `{program}`")).caused_by(&cause).hint(hint)
}

fn setup_failure(ended: &Ended) -> Failure {
    let failure = Failure::new(Exit::Unavailable, format!("cannot isolate the run: {}", ended.what));
    match ended.code {
        0 => failure,
        errno => failure.caused_by(&std::io::Error::from_raw_os_error(errno)),
    }
    .hint("`stoa doctor` shows which mechanisms work here; `--allow-degraded` starts with what there is")
}

/// The cgroup counts what every process of the run used; without one, the init knows what it has reaped.
fn usage(ended: &Ended, counters: &Removed) -> Usage {
    /// Unit of `ru_inblock` and `ru_oublock`.
    const BLOCK: u64 = 512;
    let larger = |a: u64, b: u64| a.max(b);
    let peak = if counters.peak_memory > 0 { counters.peak_memory } else { ended.max_rss };
    Usage {
        cpu_user: Duration::from_micros(larger(counters.cpu_user_us, ended.cpu_user_us)),
        cpu_system: Duration::from_micros(larger(counters.cpu_system_us, ended.cpu_system_us)),
        peak_memory: Some(peak).filter(|peak| *peak > 0).map(Bytes),
        read: Bytes(larger(counters.read_bytes, ended.blocks_in.saturating_mul(BLOCK))),
        written: Bytes(larger(counters.written_bytes, ended.blocks_out.saturating_mul(BLOCK))),
        peak_gpu_memory: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(cause: Cause, code: i32, signal: i32) -> Ended {
        Ended { cause: cause.into(), code, signal, ..Ended::default() }
    }

    fn reason(ended: &Ended, counters: &Removed) -> (String, u8) {
        let limits = Limits { memory: Some(Bytes(64 << 20)), time: Some(Duration::from_secs(2)), ..Limits::default() };
        let end = judge(ended, counters, &limits, "train");
        (end.reason.to_string(), end.exit_code)
    }

    #[test]
    fn codes_and_signals_pass_through() {
        let none = Removed::default();
        assert_eq!(reason(&ended(Cause::ByItself, 0, 0), &none), ("exit code 0".into(), 0));
        assert_eq!(reason(&ended(Cause::ByItself, 3, 0), &none), ("exit code 3".into(), 3));
        assert_eq!(reason(&ended(Cause::ByItself, 0, 11), &none), ("killed by signal 11 (SIGSEGV)".into(), 139));
        assert_eq!(reason(&ended(Cause::Stopped, 0, 15), &none), ("stopped".into(), 143));
        assert_eq!(reason(&ended(Cause::Killed, 0, 9), &none), ("stopped (killed)".into(), 137));
    }

    #[test]
    fn out_of_memory_is_not_called_signal_9() {
        let oom = Removed { oom_kills: 1, ..Removed::default() };
        assert_eq!(reason(&ended(Cause::ByItself, 0, 9), &oom), ("out of memory (limit 64 MiB)".into(), 137));
        assert_eq!(
            reason(&ended(Cause::ByItself, 1, 0), &oom).0,
            "out of memory (limit 64 MiB)",
            "a worker was killed"
        );
        assert_eq!(reason(&ended(Cause::ByItself, 0, 0), &oom).0, "exit code 0", "it coped");
        assert_eq!(killed(&oom, &Limits::default()).reason, EndReason::OutOfMemory { limit: None });
    }

    #[test]
    fn a_program_that_ends_well_at_its_time_limit_has_not_succeeded() {
        assert_eq!(
            reason(&ended(Cause::TimeLimit, 0, 0), &Removed::default()),
            ("time limit of 2.0 s reached".into(), 124)
        );
        assert_eq!(reason(&ended(Cause::TimeLimit, 0, 9), &Removed::default()).1, 137);
    }

    #[test]
    fn a_program_that_is_missing_ends_as_in_a_shell() {
        assert_eq!(
            reason(&ended(Cause::ExecFailed, 2, 0), &Removed::default()),
            ("cannot execute `train`".into(), 127)
        );
        assert_eq!(reason(&ended(Cause::ExecFailed, 13, 0), &Removed::default()).1, 126);
        assert_eq!(reason(&ended(Cause::ExecFailed, 8, 0), &Removed::default()).1, 126);
    }

    #[test]
    fn the_process_limit_is_named() {
        let hit = Removed { pids_limit_hits: 4, ..Removed::default() };
        assert_eq!(reason(&ended(Cause::ByItself, 1, 0), &hit).0, "limit of processes reached");
    }
}
