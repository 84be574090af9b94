//! Plans, compared word by word, and the rules they must keep.

use super::*;
use expect_test::{Expect, expect};

fn spec(cwd: &str) -> RunSpec {
    RunSpec {
        name: None,
        program: Program::Command { argv: vec!["true".into()] },
        cwd: cwd.into(),
        env: vec![],
        named_env: vec![],
        hidden_env: vec![],
        limits: Limits::default(),
        mounts: vec![],
        network: Network::Host,
        retries: 0,
        allow_degraded: false,
        python: None,
        terminal: None,
        stdin: false,
        umask: 0o022,
        repeats: None,
    }
}

fn place<'a>(home: &'a str, stoa_home: &'a str, project: Option<&'a str>) -> Place<'a> {
    Place {
        id: "r-00000001",
        attempt: 1,
        user_home: Path::new(home),
        root: home == "/root",
        stoa_home: Path::new(stoa_home),
        sockets: Path::new("/run/stoa"),
        python_library: Path::new("/s/lib/python"),
        state: Path::new("/s/runs/r/state"),
        files: Path::new("/s/runs/r/files"),
        project: project.map(Path::new),
        project_source: None,
        hostname: "box",
        devices: &[],
        device_env: &[],
    }
}

fn plan(spec: &RunSpec, place: &Place<'_>, mounts: &[Mount], env: &[Variable]) -> inner::LaunchPlan {
    let argv = ["/bin/true".to_owned()];
    let limits = &spec.limits;
    let work = Work { argv: &argv, env, mounts, terminal: None, stdin: false, network: spec.network, limits };
    launch_plan(spec, place, &work)
}

fn check(plan: &inner::LaunchPlan, expected: &Expect) {
    let lines = plan.mounts.iter().map(|step| {
        let kind = match step.kind() {
            Kind::BindReadOnly => "read-only",
            Kind::BindWritable => "writable",
            Kind::Tmpfs => "empty",
            Kind::Hide => "hide",
            Kind::Unspecified => "?",
        };
        let source = if step.source.is_empty() || step.source == step.target {
            String::new()
        } else {
            format!(" from {}", step.source)
        };
        format!("{kind} {}{source}{}\n", step.target, if step.optional && kind != "hide" { " (if there)" } else { "" })
    });
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn a_user_in_a_project() {
    let mut asked = spec("/home/ada/project/src");
    asked.mounts = vec![Mount { path: "/data/sets".into(), writable: false }];
    let interpreter = [Mount { path: "/home/ada/.pyenv/versions/3.11.7".into(), writable: false }];
    let place = place("/home/ada", "/home/ada/.local/share/stoa", Some("/home/ada/project"));
    check(
        &plan(&asked, &place, &interpreter, &[]),
        &expect![[r#"
            empty /home
            hide /root
            writable /home/ada/.cache/fontconfig (if there)
            writable /home/ada/.cache/huggingface (if there)
            writable /home/ada/.cache/jax (if there)
            writable /home/ada/.cache/matplotlib (if there)
            writable /home/ada/.cache/torch (if there)
            writable /home/ada/.cache/torch_extensions (if there)
            writable /home/ada/.keras (if there)
            writable /home/ada/.nv (if there)
            writable /home/ada/.triton (if there)
            hide /home/ada/.cache/huggingface/token
            hide /home/ada/.cache/huggingface/stored_tokens
            read-only /home/ada/.pyenv/versions/3.11.7
            read-only /s/lib/python (if there)
            writable /home/ada/project
            read-only /home/ada/project/.git/config (if there)
            read-only /home/ada/project/.git/hooks (if there)
            read-only /data/sets
            writable /s/runs/r/files
        "#]],
    );
}

#[test]
fn a_project_that_is_the_home_keeps_its_credentials_hidden() {
    let place = place("/home/ada", "/home/ada/.local/share/stoa", Some("/home/ada"));
    let plan = plan(&spec("/home/ada"), &place, &[], &[]);
    let bound = plan.mounts.iter().position(|step| step.target == "/home/ada").expect("the project is bound");
    for path in CREDENTIAL_PATHS {
        let hidden = plan
            .mounts
            .iter()
            .rposition(|step| step.kind() == Kind::Hide && step.target == format!("/home/ada/{path}"));
        assert!(hidden.is_some_and(|hidden| hidden > bound), "{path}");
    }
    let state =
        plan.mounts.iter().rposition(|step| step.kind() == Kind::Tmpfs && step.target == "/home/ada/.local/share/stoa");
    assert!(state.is_some_and(|state| state > bound));
}

#[test]
fn a_mount_asked_for_by_name_wins_over_hiding() {
    let mut asked = spec("/root");
    asked.mounts = vec![Mount { path: "/root/.ssh".into(), writable: false }];
    let plan = plan(&asked, &place("/root", "/var/lib/stoa", Some("/root")), &[], &[]);
    let last = plan.mounts.iter().rfind(|step| step.target == "/root/.ssh").expect("bound");
    assert_eq!(last.kind(), Kind::BindReadOnly);
}

#[test]
fn a_script_outside_the_project_is_visible_with_its_folder_but_not_with_the_home() {
    let bound = |script: &str| {
        let mut asked = spec("/srv/x");
        asked.program = Program::Script { path: script.into(), args: vec![] };
        let plan = plan(&asked, &place("/home/ada", "/home/ada/.local/share/stoa", Some("/srv/x")), &[], &[]);
        let read_only = plan.mounts.into_iter().filter(|step| step.kind() == Kind::BindReadOnly);
        read_only.map(|step| step.target).collect::<Vec<_>>()
    };
    assert!(bound("/home/ada/tools/train.py").contains(&"/home/ada/tools".to_owned()));
    assert!(bound("/home/ada/train.py").contains(&"/home/ada/train.py".to_owned()));
    assert!(bound("/tmp/train.py").contains(&"/tmp/train.py".to_owned()));
    assert!(!bound("/srv/other/train.py").contains(&"/srv/other".to_owned()), "it is visible already");
}

#[test]
fn roots_own_secrets_and_stoas_state_are_hidden_from_its_runs() {
    let plan = plan(&spec("/srv/x"), &place("/root", "/var/lib/stoa", Some("/srv/x")), &[], &[]);
    let emptied = |path: &str| {
        plan.mounts.iter().any(|step| matches!(step.kind(), Kind::Hide | Kind::Tmpfs) && step.target == path)
    };
    for path in ["/etc/shadow", "/var/lib/stoa", "/root", "/home"] {
        assert!(emptied(path), "{path}");
    }
}

#[test]
fn sockets_of_the_daemon_and_the_session_are_hidden_wherever_they_are() {
    let mut asked = spec("/srv/x");
    asked.env = vec![Variable { name: "XDG_RUNTIME_DIR".into(), value: "/srv/x/run".into() }];
    let place = Place { sockets: Path::new("/data/sockets"), ..place("/root", "/var/lib/stoa", Some("/srv/x")) };
    let plan = plan(&asked, &place, &[], &[]);
    let last = |path: &str| plan.mounts.iter().rposition(|step| step.kind() == Kind::Hide && step.target == path);
    let project = plan.mounts.iter().position(|step| step.target == "/srv/x").expect("the project is bound");
    assert!(last("/data/sockets").is_some());
    assert!(last("/srv/x/run").is_some_and(|hidden| hidden > project), "in the project as well");
}

#[test]
fn the_environment_has_one_value_per_name_and_the_users_word_is_last() {
    let variable = |name: &str, value: &str| Variable { name: name.into(), value: value.into() };
    let mut asked = spec("/srv/x");
    asked.env =
        vec![variable("LANG", "C"), variable("OMP_NUM_THREADS", "64"), variable("XDG_RUNTIME_DIR", "/run/user/1")];
    asked.named_env = vec![variable("OMP_NUM_THREADS", "2"), variable("STOA_RUN_ID", "forged")];
    let computed = [variable("OMP_NUM_THREADS", "4"), variable("PYTHONUNBUFFERED", "1")];
    let plan = plan(&asked, &place("/root", "/s", Some("/srv/x")), &[], &computed);
    expect![[r#"
        LANG=C
        OMP_NUM_THREADS=2
        PYTHONUNBUFFERED=1
        STOA_RUN_ID=r-00000001
        STOA_RUN_DIR=/s/runs/r/files"#]]
    .assert_eq(&plan.env.join("\n"));
}

#[test]
fn there_is_always_a_process_limit() {
    let plan = plan(&spec("/srv/x"), &place("/root", "/s", None), &[], &[]);
    assert_eq!(plan.limits.map(|limits| limits.pids), Some(DEFAULT_PIDS));
}
