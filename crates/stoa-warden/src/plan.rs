//! A launch plan as the warden takes it: read from a memory file and checked once more.

use crate::refusal::{BadPlan, Refusal};
use prost::Message;
use rustix::fs::fstat;
use rustix::io::pread;
use std::os::fd::AsFd;
use stoa_proto::warden::{LaunchPlan, mount_step};
use stoa_sys::Errno;

/// The largest plan; the kernel takes 2 MiB of arguments and environment by default.
pub(crate) const MAX_PLAN: u64 = 16 << 20;

/// Reads and checks the plan in `file`.
pub(crate) fn read(file: impl AsFd) -> Result<LaunchPlan, Refusal> {
    let state = |source: Errno| Refusal::State { path: "the plan's memory file".into(), source };
    let size = fstat(&file).map_err(state)?.st_size.max(0).cast_unsigned();
    if size > MAX_PLAN {
        return Err(Refusal::Plan { run: String::new(), source: BadPlan::Large });
    }
    let mut bytes = vec![0; size as usize];
    let got = pread(&file, bytes.as_mut_slice(), 0).map_err(state)?;
    let plan = LaunchPlan::decode(&bytes[..got])?;
    check(&plan).map_err(|source| Refusal::Plan { run: plan.run_id.clone(), source })?;
    Ok(plan)
}

fn check(plan: &LaunchPlan) -> Result<(), BadPlan> {
    if plan.argv.first().is_none_or(String::is_empty) {
        return Err(BadPlan::NoProgram);
    }
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !plain(&plan.run_id) || plan.run_id.starts_with('.') {
        return Err(BadPlan::Name(plan.run_id.clone()));
    }
    let sources = plan.mounts.iter().filter(|step| binds(step.kind())).map(|step| &step.source);
    let paths = [&plan.state_dir, &plan.cwd].into_iter().chain(&plan.devices).chain(&plan.writable);
    for path in paths.chain(plan.mounts.iter().map(|step| &step.target)).chain(sources) {
        if !path.starts_with('/') {
            return Err(BadPlan::Relative(path.clone()));
        }
    }
    if plan.argv.iter().chain(&plan.env).any(|text| text.contains('\0')) {
        return Err(BadPlan::Zero);
    }
    match plan.mounts.iter().find(|step| step.kind() == mount_step::Kind::Unspecified) {
        Some(step) => Err(BadPlan::Kind(step.target.clone())),
        None => Ok(()),
    }
}

fn binds(kind: mount_step::Kind) -> bool {
    matches!(kind, mount_step::Kind::BindReadOnly | mount_step::Kind::BindWritable)
}

/// The name of the run's cgroup.
pub(crate) fn group_name(plan: &LaunchPlan) -> String {
    format!("{}-{}", plan.run_id, plan.attempt)
}

/// Where the program may lie: itself when it is a path, else one per folder of the plan's PATH.
pub(crate) fn candidates(plan: &LaunchPlan) -> Vec<String> {
    let program = &plan.argv[0];
    if program.contains('/') {
        return vec![program.clone()];
    }
    let path =
        plan.env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or("/usr/local/bin:/usr/bin:/bin");
    path.split(':').map(|folder| format!("{}/{program}", if folder.is_empty() { "." } else { folder })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> LaunchPlan {
        LaunchPlan {
            run_id: "r-12345678".into(),
            state_dir: "/state".into(),
            argv: vec!["true".into()],
            env: vec!["PATH=/bin::/opt/bin".into()],
            cwd: "/".into(),
            ..LaunchPlan::default()
        }
    }

    #[test]
    fn plans_that_cannot_be_meant_are_refused() {
        assert!(check(&plan()).is_ok());
        assert!(check(&LaunchPlan { argv: vec![], ..plan() }).is_err());
        assert!(check(&LaunchPlan { run_id: "../x".into(), ..plan() }).is_err());
        assert!(check(&LaunchPlan { run_id: "..".into(), ..plan() }).is_err());
        assert!(check(&LaunchPlan { cwd: "work".into(), ..plan() }).is_err());
        assert!(check(&LaunchPlan { writable: vec!["x".into()], ..plan() }).is_err());
        assert!(check(&LaunchPlan { env: vec!["A=\0".into()], ..plan() }).is_err());
    }

    #[test]
    fn a_bare_name_is_looked_for_on_the_path_of_the_run() {
        assert_eq!(candidates(&plan()), ["/bin/true", "./true", "/opt/bin/true"]);
        assert_eq!(candidates(&LaunchPlan { argv: vec!["./x".into()], ..plan() }), ["./x"]);
    }
}
