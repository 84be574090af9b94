//! The warden as its daemon and its runs meet it: real launches, as root and as an unprivileged user.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests, and what they skip is told")]

mod common;
mod degraded;
mod first;
mod isolation;
mod supervision;
