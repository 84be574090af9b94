//! How Stoa fails: one exit-code enum and one `error / cause / hint` value that crosses every boundary.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;

/// Exit codes of the `stoa` commands, after `sysexits.h`. A run's own exit code passes through instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: the command ran and its answer is "no" or "failed".
    Failed,
    /// 2: the command line, or a file named on it, cannot be used.
    Usage,
    /// 69: something needed is not available on this machine.
    Unavailable,
    /// 70: a defect of Stoa.
    Internal,
    /// 75: a passing condition; the same command may work later.
    TryAgain,
    /// 77: not permitted.
    NotPermitted,
    /// 78: a configuration or project file is wrong.
    Config,
    /// 126: the program exists but cannot be executed.
    NotExecutable,
    /// 127: the program was not found.
    NotFound,
}

impl Exit {
    /// Every code with its meaning, in the order of the numbers; the source of `stoa help exit-codes`.
    pub const ALL: [(Exit, &'static str); 10] = [
        (Exit::Ok, "done"),
        (Exit::Failed, "the command ran and its answer is \"failed\""),
        (Exit::Usage, "the command line, or a file named on it, cannot be used"),
        (Exit::Unavailable, "something needed is not available on this machine"),
        (Exit::Internal, "a defect of Stoa"),
        (Exit::TryAgain, "a passing condition; the same command may work later"),
        (Exit::NotPermitted, "not permitted"),
        (Exit::Config, "a configuration or project file is wrong"),
        (Exit::NotExecutable, "the program exists but cannot be executed"),
        (Exit::NotFound, "the program was not found"),
    ];

    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::TryAgain => 75,
            Self::NotPermitted => 77,
            Self::Config => 78,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }

    /// The enum value of a code that crossed a protocol; unknown codes are [`Exit::Internal`].
    pub fn from_code(code: u8) -> Self {
        Self::ALL.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code).unwrap_or(Self::Internal)
    }
}

/// What an error type adds so that it can be shown to a user.
pub trait Explain: Error {
    /// What the user can do about it, in one sentence without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }
    /// The exit code the command ends with.
    fn exit(&self) -> Exit;
}

/// A failure as the user reads it: what failed, why, and what to do. Travels unchanged through gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed.
    pub error: String,
    /// Why, the outermost cause first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The exit code the command ends with.
    pub exit: Exit,
}

impl Failure {
    /// A failure without cause or hint yet.
    pub fn new(exit: Exit, error: impl Into<String>) -> Self {
        Self { error: error.into(), causes: Vec::new(), hint: None, exit }
    }

    /// Adds a cause below those already there.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds the whole chain of `error` as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(current) = next {
            self.causes.push(current.to_string());
            next = current.source();
        }
        self
    }

    /// Says what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl<E: Explain + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Failure::new(error.exit(), error.to_string());
        failure.hint = error.hint();
        match error.source() {
            Some(source) => failure.caused_by(source),
            None => failure,
        }
    }
}

impl fmt::Display for Failure {
    /// The three lines that a user sees: `error:`, `cause:`, `hint:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        for cause in &self.causes {
            write!(f, "\n  cause: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the door")]
    struct Door(#[source] std::num::ParseIntError);
    impl Explain for Door {
        fn hint(&self) -> Option<String> {
            Some("use the key".into())
        }
        fn exit(&self) -> Exit {
            Exit::NotPermitted
        }
    }

    #[test]
    fn an_error_chain_becomes_error_cause_and_hint() {
        let failure = Failure::from(Door("x".parse::<i32>().unwrap_err()));
        assert_eq!(
            failure.to_string(),
            "error: cannot open the door\n  cause: invalid digit found in string\n  hint: use the key"
        );
        assert_eq!(failure.exit.code(), 77);
    }

    #[test]
    fn every_code_survives_a_protocol() {
        for (exit, _) in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), exit);
        }
        assert_eq!(Exit::from_code(200), Exit::Internal);
    }
}
