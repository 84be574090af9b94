//! Conversions between the inner protocol and the run model.

use crate::warden as inner;
use stoa_core::run::{Enforcement, Mechanism};
use stoa_core::{Exit, Failure};

impl From<inner::Mechanism> for Mechanism {
    /// What the warden leaves unspecified counts as not in force.
    fn from(mechanism: inner::Mechanism) -> Self {
        let enforcement = match mechanism.enforcement() {
            inner::Enforcement::InForce => Enforcement::InForce,
            inner::Enforcement::NotAsked => Enforcement::NotAsked,
            _ => Enforcement::Degraded,
        };
        Self { name: mechanism.name, enforcement, detail: mechanism.detail }
    }
}

impl From<inner::Refused> for Failure {
    fn from(refused: inner::Refused) -> Self {
        Self {
            error: refused.error,
            causes: refused.causes,
            hint: Some(refused.hint).filter(|hint| !hint.is_empty()),
            exit: Exit::from_code(u8::try_from(refused.exit).unwrap_or(Exit::Internal.code())),
        }
    }
}
