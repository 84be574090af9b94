//! Failures of the connection, and failures a daemon sends.

use stoa_core::{Exit, Failure};
use tonic::Status;

/// What a request came to that did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The daemon refused or failed.
    Answered(Failure),
    /// The connection broke: the daemon is gone.
    Broken(Failure),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        // A daemon's own answers carry a failure; a broken connection has none.
        if status.details().is_empty() {
            let failure = Failure::new(Exit::TryAgain, "the connection to the daemon broke")
                .cause(status.message().to_owned())
                .hint("try again; `stoa daemon status` shows where its log lies");
            Self::Broken(failure)
        } else {
            Self::Answered(stoa_proto::failure::from_status(&status))
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Answered(failure) | Trouble::Broken(failure) => failure,
        }
    }
}

/// For `map_err` on requests that are not tried again.
pub(crate) fn failed(status: Status) -> Failure {
    Trouble::from(status).into()
}
