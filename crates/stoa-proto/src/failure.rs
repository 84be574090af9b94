//! Failures in gRPC: a status whose details are the whole `error / cause / hint`.

use crate::stoa as pb;
use prost::Message;
use stoa_core::{Exit, Failure};
use tonic::{Code, Status};

impl From<Failure> for pb::Failure {
    fn from(failure: Failure) -> Self {
        Self { error: failure.error, causes: failure.causes, hint: failure.hint, exit: u32::from(failure.exit.code()) }
    }
}

impl From<pb::Failure> for Failure {
    fn from(failure: pb::Failure) -> Self {
        Self {
            error: failure.error,
            causes: failure.causes,
            hint: failure.hint,
            exit: Exit::from_code(u8::try_from(failure.exit).unwrap_or(Exit::Internal.code())),
        }
    }
}

/// The status that carries a failure to a client.
pub fn to_status(failure: Failure) -> Status {
    let code = match failure.exit {
        Exit::Usage | Exit::Config => Code::InvalidArgument,
        Exit::NotFound => Code::NotFound,
        Exit::NotPermitted | Exit::NotExecutable => Code::PermissionDenied,
        Exit::TryAgain | Exit::Unavailable => Code::Unavailable,
        Exit::Ok | Exit::Failed => Code::FailedPrecondition,
        Exit::Internal => Code::Internal,
    };
    let message = failure.error.clone();
    Status::with_details(code, message, pb::Failure::from(failure).encode_to_vec().into())
}

/// The failure a client shows for a status.
pub fn from_status(status: &Status) -> Failure {
    match pb::Failure::decode(status.details()) {
        Ok(failure) if !failure.error.is_empty() => failure.into(),
        _ => Failure::new(Exit::Internal, "the daemon did not answer as expected").cause(format!(
            "{:?}: {}",
            status.code(),
            status.message()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_a_status() {
        let failure = Failure::new(Exit::Config, "cannot read `x`").cause("line 3").hint("mend it");
        assert_eq!(from_status(&to_status(failure.clone())), failure);
    }

    #[test]
    fn a_foreign_status_is_shown_too() {
        let failure = from_status(&Status::unimplemented("no such call"));
        assert_eq!(failure.exit, Exit::Internal);
        assert!(failure.causes[0].contains("no such call"));
    }
}
