//! The two protocols of Stoa and the file formats that cross a process boundary.
//!
//! [`warden`] is the inner one (messages only); `stoa` the outer one (gRPC, feature `outer`). The generated code lies in
//! `generated/` and is remade by `cargo xtask proto` from the folder `proto/`.
#![forbid(unsafe_code)]

#[cfg(feature = "outer")]
mod convert;
#[cfg(feature = "outer")]
pub mod failure;
mod inner;
pub mod output;

/// Messages between the daemon, the warden and the init of a run.
#[expect(missing_docs, clippy::all, reason = "generated; documented in proto/warden/v1/warden.proto")]
#[path = "generated/stoa.warden.v1.rs"]
pub mod warden;

/// Messages, client and server of the gRPC service.
#[cfg(feature = "outer")]
#[expect(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; documented in proto/stoa/v1/stoa.proto"
)]
#[path = "generated/stoa.v1.rs"]
pub mod stoa;

/// Version of the outer protocol; sent as [`VERSION_HEADER`] with each call and compared by the daemon.
pub const VERSION: &str = "1";
/// The metadata key of [`VERSION`].
pub const VERSION_HEADER: &str = "stoa-protocol";
