//! Follows the metrics of runs and answers questions about them.
//!
//! Everything lies in a run's folder as `metrics/*.stm` (see [`format`]): points of `stoa.log`, written by the run's
//! own processes; points of TensorBoard event files and system samples, written by [`MetricService`]. There is no
//! database: a run's files are read once and then only at their growing end, into a memory of bounded size that keeps
//! every minimum, maximum, NaN and infinity.
//!
//! One thread serves all live runs, and sleeps while there are none. The writers never wait for it and lose
//! nothing when it is gone.
#![forbid(unsafe_code)]

mod append;
mod folder;
mod follow;
pub mod format;
mod index;
pub mod python;
mod scan;
mod service;
mod sketch;
mod system;
mod tensorboard;

pub use index::{Artifact, Facts};
pub use service::{Change, MetricError, MetricService, Subscription, Watch};
