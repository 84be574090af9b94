//! What a run can see and reach, as root and as an unprivileged user.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use stoa_testkit::{STRANGER, Stoa, User, is_root, missing_program, skip};

/// What is looked at: credentials of tools, browsers and clouds in a home.
const CREDENTIALS: [&str; 24] = [
    ".ssh/id_ed25519",
    ".gnupg/private-keys-v1.d/key",
    ".aws/credentials",
    ".azure/msal_token_cache.json",
    ".config/gcloud/credentials.db",
    ".config/gh/hosts.yml",
    ".config/rclone/rclone.conf",
    ".config/google-chrome/Default/Cookies",
    ".config/chromium/Default/Login Data",
    ".config/BraveSoftware/Brave-Browser/Default/Cookies",
    ".mozilla/firefox/x.default/logins.json",
    ".docker/config.json",
    ".kube/config",
    ".netrc",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".pgpass",
    ".cargo/credentials.toml",
    ".kaggle/kaggle.json",
    ".cache/huggingface/token",
    ".local/share/keyrings/login.keyring",
    ".password-store/x.gpg",
    "notes.txt",
];

/// Variables with secrets or ways to agents.
const SECRET_VARIABLES: [&str; 10] = [
    "OPENAI_API_KEY",
    "HF_TOKEN",
    "WANDB_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "GITHUB_TOKEN",
    "DB_PASSWORD",
    "SSH_AUTH_SOCK",
    "DBUS_SESSION_BUS_ADDRESS",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// The content of each file that no run may see.
const SECRET: &str = "hunter2";

/// Writes the credentials into the home. They lie outside the project, which is a folder of the home.
fn fill_home(stoa: &Stoa) {
    for path in CREDENTIALS {
        stoa.write(Path::new("..").join(path), SECRET);
    }
}

/// What a shell script prints in a run.
#[track_caller]
fn inside(stoa: &Stoa, options: &[&str], script: &str) -> String {
    let output = stoa.stoa(["run"]).args(options).args(["--", "sh", "-c", script]).run();
    output.out() + &output.err()
}

#[test]
fn credentials_and_everything_else_of_the_home_are_hidden() {
    Stoa::for_each_user(|stoa| {
        fill_home(&stoa);
        let seen = inside(
            &stoa,
            &[],
            "grep -rs hunter2 \"$HOME\" . /proc/self/root\"$HOME\"; find \"$HOME\" -type f -size +0",
        );
        assert!(!seen.contains(SECRET), "{seen}");
        let files: Vec<&str> = seen.lines().collect();
        assert!(files.is_empty(), "files of the home are visible: {files:?}");
        for path in CREDENTIALS {
            let path = stoa.user_home().join(path).display().to_string();
            let said = inside(&stoa, &[], &format!("test -s '{path}' && echo readable; cat '{path}'"));
            assert!(!said.contains(SECRET) && !said.contains("readable"), "{path}: {said}");
        }
    });
}

#[test]
fn credentials_are_hidden_even_when_the_home_is_the_project() {
    Stoa::for_each_user(|stoa| {
        fill_home(&stoa);
        let run = |script: &str| {
            let output = stoa.stoa(["run", "--", "sh", "-c", script]).cwd(stoa.user_home()).run();
            output.out() + &output.err()
        };
        assert!(run("cat notes.txt").contains(SECRET), "the project itself is visible");
        let found = run("grep -rls hunter2 . | grep -v notes.txt");
        assert_eq!(found, "", "credentials are visible");
    });
}

#[test]
fn what_is_asked_for_by_name_is_visible() {
    let stoa = Stoa::new();
    fill_home(&stoa);
    assert_eq!(inside(&stoa, &["--mount", "~/.netrc:ro"], "cat ~/.netrc"), SECRET);
    let said = inside(&stoa, &["--mount", "~/.netrc:ro"], "echo x > ~/.netrc; cat ~/.ssh/id_ed25519");
    assert!(said.contains("Read-only") || said.contains("ermission denied"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn the_project_is_writable_and_the_system_is_not() {
    Stoa::for_each_user(|stoa| {
        stoa.write("data.txt", "old");
        let said =
            inside(&stoa, &[], "echo new > data.txt; mkdir -p out && echo made > out/file; rm -f gone; cat data.txt");
        assert_eq!(said, "new\n");
        assert_eq!(fs::read_to_string(stoa.project().join("out/file")).expect("it was made"), "made\n");
        for path in ["/etc/stoa-test", "/usr/bin/stoa-test", "/stoa-test", "/var/lib/stoa-test", "/sys/stoa-test"] {
            let said = inside(&stoa, &[], &format!("touch {path} && echo written"));
            assert!(!said.contains("written"), "{path}: {said}");
            assert!(!Path::new(path).exists(), "{path}");
        }
        let said = inside(&stoa, &[], "echo x > /proc/sys/kernel/hostname && echo written; ls -d /proc/sys/kernel");
        assert!(!said.contains("written"), "{said}");
    });
}

#[test]
fn files_beside_the_home_can_be_read_and_not_written() {
    // A folder such as /data: readable as it is to the user, so that data sets need no option.
    let stoa = Stoa::new();
    if !stoa.root().starts_with("/srv") {
        return skip("only root has a folder outside the private ones");
    }
    let data = stoa.root().join("data");
    fs::write(&data, "numbers").expect("a file");
    let said = inside(&stoa, &[], &format!("cat {0}; echo x > {0}", data.display()));
    assert!(said.starts_with("numbers"), "{said}");
    assert_eq!(fs::read_to_string(&data).expect("it stays"), "numbers");
}

#[test]
fn the_temporary_folders_are_private_and_go_with_the_run() {
    Stoa::for_each_user(|stoa| {
        for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
            let own = tempfile_in(folder, &stoa);
            let script = format!("ls -A {folder}; echo mine > {folder}/of-a-run && cat {folder}/of-a-run");
            let said = inside(&stoa, &[], &script);
            if let Some(own) = &own {
                let name = own.file_name().expect("a name").to_string_lossy();
                assert!(!said.contains(&*name), "{folder}: {said}");
                let _stays = fs::remove_file(own);
            }
            assert!(folder == "/run" || said.ends_with("mine\n"), "{folder}: {said}");
            assert!(!Path::new(folder).join("of-a-run").exists(), "{folder}");
        }
    });
}

/// A file in a folder that others share; `None` where that is not writable.
fn tempfile_in(folder: &str, stoa: &Stoa) -> Option<std::path::PathBuf> {
    let name = stoa.root().file_name().expect("a name").to_string_lossy();
    let path = Path::new(folder).join(format!("of-others-{name}"));
    fs::write(&path, "x").ok().map(|()| path)
}

#[test]
fn the_state_of_stoa_is_hidden_except_the_runs_own_folder() {
    Stoa::for_each_user(|stoa| {
        stoa.stoa(["run", "--name", "first", "--", "sh", "-c", "echo kept > $STOA_RUN_DIR/file"]).run().ok();
        let first = stoa.record("first");
        let kept = format!("{}/file", first["dir"].as_str().expect("a path"));
        assert_eq!(fs::read_to_string(&kept).expect("kept"), "kept\n");
        let state = stoa.state().display().to_string();
        let seen = inside(&stoa, &[], &format!("find {state} -type f -not -path '*/lib/python/*'; cat {kept}"));
        assert!(!seen.contains("kept\n"), "{seen}");
        assert!(!seen.contains("stoa.db") && !seen.contains("record.json") && !seen.contains(".log"), "{seen}");
        let said = inside(&stoa, &[], &format!("touch {state}/x {state}/runs/x {state}/lib/python/x && echo written"));
        assert!(!said.contains("written"), "{said}");
        let own = inside(&stoa, &[], "cd \"$STOA_RUN_DIR\" && echo $STOA_RUN_ID > id && cat id && ls -A ..");
        assert!(own.ends_with("files\n"), "only its own part of its folder: {own}");
    });
}

#[test]
fn the_daemon_cannot_be_reached_from_inside() {
    Stoa::for_each_user(|stoa| {
        let socket = stoa.stoa(["daemon", "start", "--json"]).run().ok().json()["socket"].clone();
        let socket = socket.as_str().expect("a path");
        assert!(Path::new(socket).exists());
        stoa.stoa(["run", "--name", "outer", "--", "true"]).run().ok();
        let variables = inside(&stoa, &[], "echo \"[$STOA_HOME][$XDG_RUNTIME_DIR]\"");
        assert_eq!(variables, "[][]\n");
        let said = inside(&stoa, &[], &format!("ls -la {socket} {}", stoa.runtime().display()));
        assert!(!said.contains("srw"), "{said}");
        // With the socket's folder made visible as well: the file system rules do not let a run connect by mistake.
        let program = stoa.program().display();
        let script =
            format!("STOA_HOME={} XDG_RUNTIME_DIR={} {program} ps", stoa.state().display(), stoa.runtime().display());
        let output = stoa.stoa(["run", "--mount"]).args([stoa.program()]).args(["--", "sh", "-c", &script]).run();
        // In a private folder it may start a Stoa of its own, which knows nothing of this one.
        assert!(!output.out().contains("outer"), "{}", output.out());
    });
}

#[test]
fn the_daemon_refuses_another_user_than_its_own() {
    if !is_root() {
        return skip("only root can become another user");
    }
    let stoa = Stoa::of(User::Stranger);
    stoa.stoa(["daemon", "start"]).run().ok();
    let socket = stoa.stoa(["daemon", "status", "--json"]).run().json()["socket"].as_str().expect("a path").to_owned();
    let folder = Path::new(&socket).parent().expect("a folder");
    assert_eq!(fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(folder).expect("there").permissions().mode() & 0o777, 0o700);
    // Root passes every file mode; the daemon itself must refuse it.
    let root = Stoa::new();
    root.stoa(["daemon", "start"]).run().ok();
    let own = root.stoa(["daemon", "status", "--json"]).run().json()["socket"].as_str().expect("a path").to_owned();
    fs::remove_file(&own).expect("its name goes");
    std::os::unix::fs::symlink(&socket, &own).expect("the stranger's socket stands there");
    let output = root.stoa(["run", "--", "true"]).run();
    output.code(77).explains("this daemon serves another user", &format!("uid {STRANGER}"), "STOA_HOME");
    fs::remove_file(&own).expect("it was a link");
    let pid = root.processes().into_iter().find(|process| process.line.starts_with("stoad")).expect("it lives").pid;
    root.kill(pid);
    // A third user stops at the folder, or at the socket.
    for mode in [0o700, 0o777] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("a mode");
        fs::set_permissions(stoa.runtime(), fs::Permissions::from_mode(mode)).expect("a mode");
        let script = format!("import socket; socket.socket(socket.AF_UNIX).connect({socket:?}); print('connected')");
        let python =
            root.any("setpriv", ["--reuid=65532", "--regid=65532", "--clear-groups", "python3", "-c", &script]);
        let output = python.run();
        assert_ne!(output.code, 0, "{}", output.out());
        assert!(output.err().contains("PermissionError"), "{}", output.err());
    }
}

#[test]
fn sockets_of_agents_cannot_be_reached() {
    Stoa::for_each_user(|stoa| {
        let agent = stoa.runtime().join("agent.sock");
        let _listener = UnixListener::bind(&agent).expect("it listens");
        stoa.give(&agent);
        let script = format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", agent.display().to_string());
        let control = stoa.any("python3", ["-c", &script]).run();
        assert_eq!(control.code, 0, "it can be reached outside: {}", control.err());
        let output = stoa.stoa(["run", "--", "python3", "-c", &script]).env("SSH_AUTH_SOCK", &agent).run();
        assert_eq!(output.code, 1, "{}", output.err());
        assert!(
            output.err().contains("FileNotFoundError") || output.err().contains("PermissionError"),
            "{}",
            output.err()
        );

        // Sockets without a file, as the session bus and X11 have them, come with the host's network.
        let name = format!("agent-of-{}", stoa.root().display());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let _listener = UnixListener::bind_addr(&address).expect("it listens");
        let script = format!("import socket; socket.socket(socket.AF_UNIX).connect('\\0' + {name:?})");
        let control = stoa.any("python3", ["-c", &script]).run();
        assert_eq!(control.code, 0, "it can be reached outside: {}", control.err());
        let output = stoa.stoa(["run", "--", "python3", "-c", &script]).run();
        assert!(output.code == 1 && output.err().contains("PermissionError"), "{}", output.err());
    });
}

#[test]
fn secrets_in_the_environment_are_hidden_and_masked_in_the_record() {
    Stoa::for_each_user(|stoa| {
        let with_secrets = |args: &[&str]| {
            let command = SECRET_VARIABLES.iter().fold(stoa.stoa(args), |command, name| command.env(name, SECRET));
            command.env("LEARNING_RATE", "0.1").env("TOKENIZERS_PARALLELISM", "false")
        };
        let output = with_secrets(&["run", "--name", "clean", "--", "env"]).run().ok();
        assert!(!output.out().contains(SECRET), "{}", output.out());
        assert!(output.out().contains("LEARNING_RATE=0.1\n"), "{}", output.out());
        assert!(output.out().contains("TOKENIZERS_PARALLELISM=false\n"), "{}", output.out());
        let hidden = stoa.record("clean")["spec"]["hidden_env"].to_string();
        assert!(SECRET_VARIABLES.iter().all(|name| hidden.contains(name)), "{hidden}");

        // By name, one is passed; nothing of Stoa keeps its value.
        let output = with_secrets(&["run", "--name", "told", "--env", "HF_TOKEN", "--", "env"]).run().ok();
        assert_eq!(output.out().matches(SECRET).count(), 1, "{}", output.out());
        assert!(output.out().contains("HF_TOKEN=hunter2\n"), "{}", output.out());
        let told = stoa.record("told");
        assert_eq!(told["spec"]["named_env"][0], serde_json::json!({"name": "HF_TOKEN", "value": "***"}));
        for text in [told.to_string(), stoa.stoa(["show", "told"]).run().out(), stoa.daemon_log()] {
            assert!(!text.contains(SECRET), "{text}");
        }
        let record = stoa.state().join("runs").join(told["id"].as_str().expect("an id")).join("record.json");
        assert!(!fs::read_to_string(record).expect("a record").contains(SECRET));

        // A failed run says what it did not get.
        let output = with_secrets(&["run", "--", "false"]).run().code(1);
        assert!(output.err().contains("HF_TOKEN") && output.err().contains("--env NAME"), "{}", output.err());
    });
}

#[test]
fn a_repeated_run_asks_for_a_secret_that_was_not_kept() {
    let stoa = Stoa::new();
    let run = ["run", "--name", "told", "--env", "HF_TOKEN", "--", "sh", "-c", "echo $HF_TOKEN"];
    stoa.stoa(run).env("HF_TOKEN", SECRET).run().ok();
    stoa.stoa(["again", "told"]).run().code(2).explains("HF_TOKEN is a secret", "", "HF_TOKEN=... stoa again");
    let output = stoa.stoa(["again", "told"]).env("HF_TOKEN", "another").run().ok();
    assert_eq!(output.out(), "another\n");
}

#[test]
fn a_run_sees_only_its_own_processes_and_has_no_privilege() {
    Stoa::for_each_user(|stoa| {
        let said = inside(
            &stoa,
            &[],
            "ls -d /proc/[0-9]* | wc -l; grep -E '^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status",
        );
        let mut lines = said.lines();
        let processes: u32 = lines.next().expect("a number").trim().parse().expect("a number");
        assert!(processes <= 5, "{said}");
        for line in lines {
            let (name, value) = line.split_once(':').expect("a field");
            let wanted = match name {
                "NoNewPrivs" => "1",
                "Seccomp" => "2",
                _ => "0000000000000000",
            };
            assert_eq!(value.trim(), wanted, "{name}");
        }
        for script in ["unshare --user true", "mount -t tmpfs none /mnt", "chroot / true", "su -c true", "kill -9 1"] {
            let said = inside(&stoa, &[], &format!("{script} && echo done"));
            assert!(script == "kill -9 1" || !said.contains("done"), "{script}: {said}");
        }
        let said = inside(&stoa, &[], "hostname 2>/dev/null || cat /proc/sys/kernel/hostname");
        assert!(!said.trim().is_empty());
    });
}

#[test]
fn without_a_network_only_the_runs_own_loopback_is_there() {
    Stoa::for_each_user(|stoa| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("it listens");
        let port = listener.local_addr().expect("an address").port();
        let script = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('connected')");
        let host = stoa.stoa(["run", "--", "python3", "-c", &script]).run().ok();
        assert_eq!(host.out(), "connected\n");
        let output = stoa.stoa(["run", "--net", "none", "--", "python3", "-c", &script]).run().code(1);
        assert!(output.err().contains("ConnectionRefusedError"), "its own loopback is up: {}", output.err());
        let devices = inside(&stoa, &["--net", "none"], "tail -n +3 /proc/net/dev | cut -d: -f1");
        assert_eq!(devices.trim(), "lo");
    });
}

#[test]
fn a_limit_that_cannot_be_enforced_is_refused_unless_it_is_accepted() {
    let stoa = if is_root() { Stoa::of(User::Stranger) } else { Stoa::new() };
    let output = stoa.stoa(["run", "--memory", "64M", "--", "true"]).run();
    if output.code == 0 {
        return skip("this user may limit memory here");
    }
    output.code(69).explains("memory", "cgroup", "--allow-degraded");
    let run = ["run", "--name", "loose", "--allow-degraded", "--memory", "64M", "--", "echo", "ran"];
    assert_eq!(stoa.stoa(run).run().ok().out(), "ran\n");
    let record = stoa.record("loose");
    let mechanisms = record["isolation"].as_array().expect("a list");
    let memory = mechanisms.iter().find(|mechanism| mechanism["name"] == "memory-limit").expect("it is listed");
    assert_eq!(memory["enforcement"], "degraded", "{memory}");
    let shown = stoa.stoa(["show", "loose"]).run().ok().out();
    assert!(shown.lines().any(|line| line.contains("memory-limit") && line.contains("NOT in force")), "{shown}");
}

#[test]
fn user_namespaces_that_are_forbidden_are_explained() {
    if !is_root() || missing_program("unshare") {
        return skip("only root can forbid them in a namespace of its own");
    }
    let stoa = Stoa::of(User::Stranger);
    // The limit counts namespaces below the one made here. That makes them as hard to have as Ubuntu's AppArmor rule.
    let program = stoa.program().display();
    let line = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && echo set >&2 && exec setpriv --ambient-caps=-all {program} run -- true"
    );
    let output = stoa.any("sh", ["-c", &line]).under(&["unshare", "--user", "--map-current-user", "--keep-caps"]).run();
    if !output.err().contains("set\n") {
        return skip("user namespaces cannot be forbidden here");
    }
    output.code(69).explains("cannot enforce `user-namespace`", "", "user.max_user_namespaces");
}

#[test]
fn doctor_names_every_mechanism_of_a_run() {
    Stoa::for_each_user(|stoa| {
        let output = stoa.stoa(["doctor", "--json"]).run();
        let report = output.json();
        let names = |list: &serde_json::Value| -> Vec<String> {
            let list = list.as_array().expect("a list").iter();
            list.map(|mechanism| mechanism["name"].as_str().expect("a name").to_owned()).collect()
        };
        stoa.stoa(["run", "--name", "one", "--", "true"]).run().ok();
        assert_eq!(names(&report["mechanisms"]), names(&stoa.record("one")["isolation"]));
        let missing = report["mechanisms"].as_array().expect("a list").iter().any(|m| m["enforcement"] == "degraded");
        assert_eq!(output.code, i32::from(missing), "{report}");
        for name in ["processor", "memory", "disk"] {
            assert!(report["requirements"].to_string().to_lowercase().contains(name), "{name}: {report}");
        }
    });
}
