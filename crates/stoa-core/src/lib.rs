//! The vocabulary of Stoa: ids, units, run specifications, records, errors and ports.
//!
//! Pure: no input or output, no clock, no async. Every other crate speaks in these types, and services meet
//! only in the traits of [`port`].
#![forbid(unsafe_code)]

pub mod failure;
pub mod id;
pub mod metric;
pub mod paths;
pub mod port;
pub mod run;
pub mod secret;
pub mod units;

pub use failure::{Exit, Explain, Failure};
pub use id::RunId;
pub use paths::Paths;
