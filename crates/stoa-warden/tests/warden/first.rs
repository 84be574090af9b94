//! A run from its launch to its end.

use crate::common::{Warden, plan, users};
use stoa_proto::warden::{Enforcement, ended::Cause};

#[test]
fn a_program_runs_isolated_and_its_end_is_told_and_recorded() {
    for user in users() {
        let mut warden = Warden::start_as(user);
        for mechanism in warden.probe().mechanisms {
            eprintln!("{user:?} {} {:?} {}", mechanism.name, mechanism.enforcement(), mechanism.detail);
            assert!(mechanism.enforcement() == Enforcement::InForce || mechanism.name.ends_with("-limit"));
        }
        let outcome = warden.finish(plan(&["/bin/echo", "hello"]));
        assert_eq!(outcome.ended.cause(), Cause::ByItself, "{outcome:?}");
        assert_eq!((outcome.ended.code, outcome.output.as_str()), (0, "hello\n"));
    }
}
