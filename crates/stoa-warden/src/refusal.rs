//! Why the warden refuses a request: error, cause and hint.

use std::path::PathBuf;
use stoa_core::{Exit, Explain, Failure};
use stoa_proto::warden::Refused;
use stoa_sys::Errno;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the daemon sent a request that the warden cannot read")]
    Request(#[from] prost::DecodeError),
    #[error("the daemon sent a request without its content")]
    Empty,
    #[error("the launch plan of `{run}` is not usable")]
    Plan {
        run: String,
        #[source]
        source: BadPlan,
    },
    #[error("cannot use `{path}`")]
    State {
        path: String,
        #[source]
        source: Errno,
    },
    #[error("run `{0}` is already running")]
    Running(String),
    #[error("this machine cannot enforce `{mechanism}` for the run")]
    Unenforced {
        mechanism: &'static str,
        #[source]
        source: Cause,
        remedy: String,
    },
    #[error("cannot make the cgroup of the run")]
    Cgroup(#[source] CgroupFailed),
    #[error("cannot start a process in new namespaces")]
    Fork(#[source] Errno),
    #[error("the cgroup of `{run}` cannot be removed")]
    Busy {
        run: String,
        #[source]
        source: Cause,
    },
    #[error("the warden is out of descriptors")]
    Descriptors(#[source] Errno),
}

/// A cause that was found by trying.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(pub(crate) String);

/// A setting of a cgroup that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {errno}", path.display())]
pub(crate) struct CgroupFailed {
    pub(crate) path: PathBuf,
    pub(crate) errno: Errno,
}

/// What is wrong with a plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPlan {
    #[error("it has no program")]
    NoProgram,
    #[error("`{0}` is not a plain name")]
    Name(String),
    #[error("`{0}` is not an absolute path")]
    Relative(String),
    #[error("an argument or variable contains a zero byte")]
    Zero,
    #[error("mount step `{0}` has no kind")]
    Kind(String),
    #[error("it came without its memory file")]
    Missing,
    #[error("it is larger than {} MiB", crate::plan::MAX_PLAN >> 20)]
    Large,
}

impl Explain for Refusal {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unenforced { remedy, .. } => {
                Some(format!("{remedy}; or run with `--allow-degraded`, which goes without it and records that"))
            }
            Self::State { source: Errno::NOSPC | Errno::DQUOT, .. } => {
                Some("free some space, or move Stoa's state with STOA_HOME".into())
            }
            Self::Fork(Errno::AGAIN | Errno::NOSPC | Errno::NOMEM) => Some(
                "wait until other runs have ended, or raise `user.max_user_namespaces` and the process limit".into(),
            ),
            Self::Busy { .. } => Some("wait: processes that the kernel cannot end yet are still in it".into()),
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Request(_) | Self::Empty | Self::Plan { .. } => Exit::Internal,
            Self::State { .. } | Self::Unenforced { .. } | Self::Cgroup(_) => Exit::Unavailable,
            Self::Running(_) | Self::Fork(_) | Self::Busy { .. } | Self::Descriptors(_) => Exit::TryAgain,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let failure = Failure::from(refusal);
        Self {
            error: failure.error,
            causes: failure.causes,
            hint: failure.hint.unwrap_or_default(),
            exit: failure.exit.code().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_error_cause_and_hint() {
        let refusal = Refusal::Unenforced {
            mechanism: "memory-limit",
            source: Cause("no memory controller".into()),
            remedy: "start the daemon in a delegated scope".into(),
        };
        let refused = Refused::from(refusal);
        assert_eq!(refused.error, "this machine cannot enforce `memory-limit` for the run");
        assert_eq!(refused.causes, ["no memory controller"]);
        assert!(refused.hint.contains("--allow-degraded"));
        assert_eq!(refused.exit, 69);
    }
}
