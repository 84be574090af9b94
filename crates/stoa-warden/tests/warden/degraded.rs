//! A host that allows no namespaces: refused with the remedy, and what still holds with `allow_degraded`.

use crate::common::{STRANGER, Warden, root, shell};
use std::time::{Duration, Instant};
use stoa_proto::warden::{Enforcement, LaunchPlan, ended::Cause};

/// A warden that may make no user namespace, in a user namespace whose limit is 0; `None` where that cannot be arranged.
fn confined() -> Option<Warden> {
    if !root() {
        eprintln!("skipped: only root can start a warden as another user");
        return None;
    }
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps=-all \"$0\"";
    let wrapper = ["unshare", "--user", "--map-current-user", "--keep-caps", "/bin/sh", "-c", script];
    let mut warden = Warden::start_in(&wrapper, Some(STRANGER));
    if warden.alive() {
        return Some(warden);
    }
    eprintln!("skipped: unshare or setpriv is missing or too old");
    None
}

#[test]
fn without_namespaces_a_run_is_refused_with_the_remedy() {
    let Some(mut warden) = confined() else { return };
    let mechanisms = warden.probe().mechanisms;
    let state = |name: &str| mechanisms.iter().find(|mechanism| mechanism.name == name).unwrap().enforcement();
    assert_eq!(state("user-namespace"), Enforcement::Degraded);
    assert_eq!(state("read-only-system"), Enforcement::Degraded);
    assert_eq!(state("seccomp"), Enforcement::InForce);
    let refused = warden.launch(shell("true")).err().expect("refused");
    assert_eq!(refused.error, "this machine cannot enforce `user-namespace` for the run");
    assert!(
        refused.hint.contains("user.max_user_namespaces") && refused.hint.contains("--allow-degraded"),
        "{refused:?}"
    );
}

#[test]
fn an_accepted_degraded_run_still_has_landlock_and_seccomp_and_ends_whole() {
    let Some(mut warden) = confined() else { return };
    let script = "grep -E '^(NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'; (echo x > /var/lib/x) 2>/dev/null && echo wrote; \
                  (setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &); (echo tmp > /tmp/stoa-degraded-$$ && rm /tmp/stoa-degraded-$$ && echo tmp)";
    let start = Instant::now();
    let outcome = warden.finish(LaunchPlan { allow_degraded: true, ..shell(script) });
    assert_eq!(outcome.ended.cause(), Cause::ByItself, "{outcome:?}");
    // What is killed may still say so.
    assert!(outcome.output.starts_with("NoNewPrivs:1\nSeccomp:2\ntmp\n"), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(8), "what it left behind was killed");
}

#[test]
fn a_degraded_run_is_stopped_with_its_descendants() {
    let Some(mut warden) = confined() else { return };
    let plan = LaunchPlan {
        allow_degraded: true,
        ..shell("trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.01; done")
    };
    let mut run = warden.launch(plan).unwrap();
    run.wait_for("ready");
    run.stop(50);
    assert_eq!(run.wait().cause(), Cause::Killed);
    warden.remove(&run.id);
}
