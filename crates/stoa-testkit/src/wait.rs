//! Waiting with a limit. The only place of the tests that pauses.

use std::time::{Duration, Instant};

/// The longest a test waits for one thing. Generous: a machine that is shared can stand still for seconds.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at a condition that has no event to wait for.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at a condition again and again until it holds; panics with `what` after [`LIMIT`].
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(until_within(LIMIT, holds), "waited {} s in vain: {what}", LIMIT.as_secs());
}

/// Whether a condition came to hold within `limit`.
pub fn until_within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if began.elapsed() > limit {
            return false;
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "conditions without an event, such as the content of /proc, are polled")]
fn pause() {
    std::thread::sleep(PAUSE);
}
