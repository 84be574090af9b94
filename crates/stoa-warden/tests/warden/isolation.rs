//! What a run can see and do, checked from inside: as root and as an unprivileged user.

use crate::common::{Outcome, Warden, plan, shell, step, users};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use stoa_proto::warden::{LaunchPlan, ended::Cause, mount_step::Kind};

/// A folder that `user` owns.
fn folder_of(user: Option<u32>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), user, user).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs `script` as every user and hands each outcome to `check`.
fn each(script: &str, check: impl Fn(Option<u32>, Outcome)) {
    for user in users() {
        check(user, Warden::start_as(user).sh(script));
    }
}

fn output_of_each(script: &str, expected: &str) {
    each(script, |user, outcome| assert_eq!(outcome.output, expected, "as {user:?}: {outcome:?}"));
}

/// Runs a Python program as every user; skipped where there is no system Python.
fn python_of_each(program: &str, expected: &str) {
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped: no /usr/bin/python3");
        return;
    }
    for user in users() {
        let outcome = Warden::start_as(user).finish(plan(&["/usr/bin/python3", "-c", program]));
        assert_eq!(outcome.output, expected, "as {user:?}: {outcome:?}");
    }
}

#[test]
fn the_kernel_confirms_that_privileges_are_gone() {
    output_of_each(
        "grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig(Blk|Ign))' /proc/self/status | tr '\\n\\t' '; '",
        "SigBlk: 0000000000000000;SigIgn: 0000000000000000;CapInh: 0000000000000000;CapPrm: 0000000000000000;\
         CapEff: 0000000000000000;CapBnd: 0000000000000000;CapAmb: 0000000000000000;NoNewPrivs: 1;Seccomp: 2;",
    );
}

#[test]
fn only_named_and_private_places_can_be_written() {
    for user in users() {
        let project = folder_of(user);
        fs::write(project.path().join("seen"), "yes").unwrap();
        let path = text(project.path());
        let script = format!(
            "cd {path} && cat seen && echo new > made && mkdir -p sub/deep && mv made sub/deep/moved && rm seen
             for f in /x /etc/x /usr/x /var/x /dev/x /proc/x /sys/x /run/x /var/lib/x; do (echo no > $f) 2>/dev/null && echo wrote $f; done
             for d in /tmp /var/tmp /dev/shm; do echo yes > $d/x && cat $d/x || echo cannot write $d; done
             chmod 777 /etc 2>/dev/null && echo chmod; rm -rf /usr/share/doc 2>/dev/null && echo removed; true"
        );
        let plan = LaunchPlan { mounts: vec![step(Kind::BindWritable, &path, &path)], ..shell(&script) };
        let outcome = Warden::start_as(user).finish(plan);
        assert_eq!(outcome.output, "yesyes\nyes\nyes\n", "as {user:?}: {outcome:?}");
        assert_eq!(fs::read_to_string(project.path().join("sub/deep/moved")).unwrap(), "new\n");
        assert!(!project.path().join("seen").exists() && !Path::new("/tmp/x").exists());
    }
}

#[test]
fn read_only_binds_and_hidden_places_hold() {
    for user in users() {
        let (data, secret) = (folder_of(user), folder_of(user));
        for folder in [&data, &secret] {
            fs::write(folder.path().join("file"), "content").unwrap();
            chown(folder.path().join("file"), user, user).unwrap();
        }
        let (data, secret) = (text(data.path()), text(secret.path()));
        let mounts = vec![
            step(Kind::BindReadOnly, &data, "/mnt"),
            step(Kind::BindWritable, &secret, &secret),
            step(Kind::Hide, "", &secret),
            step(Kind::Hide, "", "/etc/passwd"),
            step(Kind::Hide, "", "/nowhere/at/all"),
            step(Kind::Tmpfs, "", "/srv"),
            step(Kind::BindReadOnly, &data, "/srv/deep/er"),
            step(Kind::Hide, "", "/opt"),
            step(Kind::BindReadOnly, &data, "/opt/inside/hidden"),
        ];
        let script = format!(
            "cat /mnt/file /srv/deep/er/file /opt/inside/hidden/file; (echo x >> /mnt/file) 2>/dev/null && echo wrote
             ls -A {secret} /opt; cat /etc/passwd; (echo x > /opt/new) 2>/dev/null && echo wrote; true"
        );
        let outcome = Warden::start_as(user).finish(LaunchPlan { mounts, ..shell(&script) });
        let expected = format!("contentcontentcontent/opt:\ninside\n\n{secret}:\n");
        assert_eq!(outcome.output, expected, "as {user:?}: {outcome:?}");
    }
}

#[test]
fn the_state_folder_is_never_visible() {
    for user in users() {
        let home = folder_of(user);
        let state = home.path().join("state");
        fs::create_dir(&state).unwrap();
        chown(&state, user, user).unwrap();
        let home = text(home.path());
        let mounts = vec![step(Kind::BindWritable, &home, &home), step(Kind::BindWritable, &home, "/mnt")];
        let script = format!(
            "ls -A {home} {home}/state /mnt/state; (echo x > {home}/state/exit) 2>/dev/null && echo wrote; true"
        );
        let outcome = Warden::start_as(user).finish(LaunchPlan { state_dir: text(&state), mounts, ..shell(&script) });
        let shown = format!("/mnt/state:\n\n{home}:\nstate\n\n{home}/state:\n");
        assert_eq!(outcome.output, shown, "as {user:?}: {outcome:?}");
    }
}

#[test]
fn a_mount_point_missing_in_the_read_only_view_is_named() {
    let plan =
        LaunchPlan { mounts: vec![step(Kind::BindReadOnly, "/etc", "/usr/no/such/place")], ..plan(&["/bin/true"]) };
    let outcome = Warden::start().finish(plan);
    assert_eq!(outcome.ended.cause(), Cause::SetupFailed);
    assert!(outcome.ended.what.contains("/usr/no/such/place"), "{outcome:?}");
    let missing = LaunchPlan {
        mounts: vec![step(Kind::BindReadOnly, "/no/source", "/mnt")],
        ..crate::common::plan(&["/bin/true"])
    };
    let outcome = Warden::start().finish(missing.clone());
    assert_eq!((outcome.ended.cause(), outcome.ended.code), (Cause::SetupFailed, libc::ENOENT), "{outcome:?}");
    let mut optional = missing;
    optional.mounts[0].optional = true;
    assert_eq!(Warden::start().finish(optional).ended.cause(), Cause::ByItself);
}

#[test]
fn processes_of_the_host_are_not_there() {
    each("ls /proc | grep -c '^[0-9]'; echo $$; kill -0 1 2>/dev/null && echo init; true", |user, outcome| {
        let lines: Vec<_> = outcome.output.lines().collect();
        assert!(lines[0].parse::<u32>().unwrap() <= 4, "as {user:?}: {outcome:?}");
        assert_eq!(lines[1..], ["2"], "as {user:?}: {outcome:?}");
    });
}

#[test]
fn sockets_and_secrets_in_run_are_hidden() {
    output_of_each(
        "ls -A /run | grep -v -e systemd -e resolvconf -e NetworkManager; ls -A /tmp /dev/shm",
        "/dev/shm:\n\n/tmp:\n",
    );
}

#[test]
fn devices_are_the_harmless_ones() {
    output_of_each(
        "cd /dev && echo * && head -c 3 zero | od -An -tx1 && echo x > null && (echo x > full) 2>/dev/null || echo full; test -e vda && echo disk; true",
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero\n 00 00 00\nfull\n",
    );
}

#[test]
fn kernel_settings_cannot_be_written() {
    output_of_each(
        "for f in /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /sys/kernel/mm/transparent_hugepage/enabled \
           /proc/1/oom_score_adj /sys/fs/cgroup/memory/tasks /sys/fs/cgroup/cgroup.procs; do
           (echo 1 > $f) 2>/dev/null && echo wrote $f; done
         head -c 1 /proc/kcore 2>/dev/null | wc -c; cat /proc/keys 2>/dev/null | wc -c; echo 5 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj",
        "0\n0\n5\n",
    );
}

#[test]
fn namespaces_show_only_the_run() {
    for user in users() {
        let script = "hostname; cut -d: -f3 /proc/self/cgroup | sort -u; cat /proc/self/uid_map | tr -s ' '; ls -l /proc/self/ns | wc -l; ipcs -m | wc -l; id -u";
        let outcome = Warden::start_as(user).sh(script);
        let lines: Vec<_> = outcome.output.lines().collect();
        let id = user.unwrap_or(rustix::process::geteuid().as_raw());
        assert_eq!(lines[0], "stoa-test", "{outcome:?}");
        assert_eq!(lines[1], "/", "{outcome:?}");
        assert_eq!(lines[2].trim(), format!("{id} {id} 1"));
        assert_eq!(lines.last().unwrap(), &id.to_string());
    }
}

#[test]
fn dangerous_calls_are_refused() {
    let program = r#"
import ctypes, os, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
def call(name, number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(number, *arguments)
    print(name, errno.errorcode.get(ctypes.get_errno(), answer) if answer < 0 else "DONE")
N = dict(mount=165, unshare=272, clone3=435, chroot=161, pivot_root=155, bpf=321, keyctl=250, perf=298, uring=425,
         userfaultfd=323, setns=308, kexec=246, module=175, unknown=999, iopl=172, handle=304, reboot=169) if x86 else \
    dict(mount=40, unshare=97, clone3=435, chroot=51, pivot_root=41, bpf=280, keyctl=219, perf=241, uring=425,
         userfaultfd=282, setns=268, kexec=104, module=105, unknown=999, iopl=40, handle=265, reboot=142)
call("mount", N["mount"], b"none", b"/tmp", b"tmpfs", 0, 0)
call("unshare", N["unshare"], 0x10000000)
call("unshare time", N["unshare"], 0x80)
for name in ["clone3", "chroot", "pivot_root", "bpf", "keyctl", "perf", "uring", "userfaultfd", "setns", "kexec", "module",
             "unknown", "iopl", "handle", "reboot"]:
    call(name, N[name], 0, 0, 0, 0, 0, 0)
import socket
for family, kind, protocol in [(17, 3, 0), (38, 5, 0), (40, 1, 0), (16, 3, 9), (16, 3, 0), (2, 1, 0), (10, 2, 0), (1, 1, 0)]:
    try:
        socket.socket(family, kind, protocol).close(); print(family, protocol, "DONE")
    except OSError as error:
        print(family, protocol, errno.errorcode[error.errno])
"#;
    let expected = "mount EPERM\nunshare EPERM\nunshare time EPERM\nclone3 ENOSYS\nchroot EPERM\npivot_root EPERM\nbpf EPERM\nkeyctl EPERM\n\
                    perf EPERM\nuring EPERM\nuserfaultfd EPERM\nsetns EPERM\nkexec EPERM\nmodule EPERM\nunknown ENOSYS\niopl EPERM\n\
                    handle EPERM\nreboot EPERM\n17 0 EAFNOSUPPORT\n38 0 EAFNOSUPPORT\n40 0 EAFNOSUPPORT\n16 9 EAFNOSUPPORT\n16 0 DONE\n\
                    2 0 DONE\n10 0 DONE\n1 0 DONE\n";
    python_of_each(program, expected);
}

#[test]
fn init_cannot_be_killed_traced_or_read() {
    let program = r#"
import ctypes, os, errno, signal
libc = ctypes.CDLL(None, use_errno=True)
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    try:
        os.kill(1, number); print("sent")
    except OSError as error:
        print(errno.errorcode[error.errno])
for request in (16, 0x4206):
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    print(libc.ptrace(request, 1, 0, 0), errno.errorcode[ctypes.get_errno()])
for name in ("mem", "environ", "fd", "maps", "root"):
    try:
        list(os.scandir(f"/proc/1/{name}")) if name in ("fd", "root") else open(f"/proc/1/{name}", "rb").read(1)
        print(name, "read")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
try:
    os.pidfd_open(1); print("pidfd")
except OSError as error:
    print(errno.errorcode[error.errno])
print("fds", sorted(map(int, os.listdir("/proc/self/fd")))[:4])
"#;
    python_of_each(
        program,
        "EPERM\nEPERM\nEPERM\n-1 EPERM\n-1 EPERM\nmem ENOENT\nenviron ENOENT\nfd ENOENT\nmaps ENOENT\nroot ENOENT\npidfd\nfds [0, 1, 2, 3]\n",
    );
}

#[test]
fn processes_of_the_run_can_be_traced() {
    let program = r#"
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
child = os.fork()
if child == 0:
    signal.pause()
libc.ptrace.argtypes = [ctypes.c_long] * 4
print(libc.ptrace(16, child, 0, 0))
os.waitpid(child, 0)
os.kill(child, signal.SIGKILL)
"#;
    python_of_each(program, "0\n");
}

#[test]
fn a_private_network_has_only_a_loopback_device_that_works() {
    let script = "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; \
                  /usr/bin/python3 -c 'import socket; s=socket.create_server((\"127.0.0.1\",0)); socket.create_connection(s.getsockname()); print(\"connected\")'";
    for user in users() {
        let outcome = Warden::start_as(user).finish(LaunchPlan { private_network: true, ..shell(script) });
        assert_eq!(outcome.output, "lo\nconnected\n", "as {user:?}: {outcome:?}");
    }
}

#[test]
fn terminal_injection_is_refused_and_the_terminal_works() {
    use stoa_proto::warden::{Terminal, to_init};
    let program = r#"
import fcntl, os, sys, termios, struct
print(os.isatty(0), os.isatty(1), os.ttyname(0), os.get_terminal_size())
for call in (termios.TIOCSTI, 0x541C):
    try:
        fcntl.ioctl(0, call, b"x"); print("typed")
    except OSError as error:
        print(error.strerror)
print(os.tcgetpgrp(0) == os.getpgrp(), os.open("/dev/tty", os.O_RDWR) > 2)
import signal
line = input()
try:
    print("got", line); sys.stdout.flush()
    signal.pause()
except KeyboardInterrupt:
    print("interrupted", os.get_terminal_size())
print(repr(sys.stdin.read()))
"#;
    for user in users() {
        let mut warden = Warden::start_as(user);
        let terminal = Some(Terminal { rows: 30, columns: 100 });
        let mut run =
            warden.launch(LaunchPlan { terminal, stdin: true, ..plan(&["/usr/bin/python3", "-c", program]) }).unwrap();
        run.wait_for("True True\r\n");
        assert!(run.terminal.is_some() && run.descriptors.is_empty());
        run.send(to_init::What::Stdin(b"line\n".to_vec()));
        run.wait_for("got line");
        run.send(to_init::What::Resize(Terminal { rows: 50, columns: 90 }));
        run.send(to_init::What::Stdin(vec![3]));
        run.wait_for("interrupted");
        run.send(to_init::What::StdinEnd(true));
        let ended = run.wait();
        let output = String::from_utf8_lossy(&run.output()).into_owned();
        assert_eq!(ended.code, 0, "{output}");
        assert!(output.contains("True True /dev/pts/0 os.terminal_size(columns=100, lines=30)\r\n"), "{output}");
        assert_eq!(output.matches("Operation not permitted").count(), 2, "{output}");
        assert!(output.contains("interrupted os.terminal_size(columns=90, lines=50)"), "{output}");
        assert!(output.ends_with("''\r\n"), "{output}");
        warden.remove(&run.id);
    }
}

#[test]
fn common_programs_work() {
    let checks = [
        ("bash", "bash -c 'sleep 0 & wait $!; echo $((1+1)); set -o pipefail; yes | head -n 1'", "2\ny\n"),
        (
            "git",
            "cd /tmp && git init -q x && cd x && git -c user.name=a -c user.email=b commit -q --allow-empty -m c && git log --oneline | wc -l",
            "1\n",
        ),
        ("gcc", "cd /tmp && echo 'int main(){return 0;}' > a.c && gcc a.c && ./a.out && echo ran", "ran\n"),
        ("perl", "perl -e 'print fork() ? wait() > 0 ? \"ok\\n\" : \"bad\" : \"\"'", "ok\n"),
        (
            "node",
            "node -e 'require(\"fs\").promises.readFile(\"/etc/hostname\").then(() => console.log(\"ok\"))'",
            "ok\n",
        ),
        ("Rscript", "Rscript -e 'cat(1+1, \"\\n\")'", "2 \n"),
        ("go", "HOME=/tmp PATH=$PATH:/usr/local/go/bin go version | cut -d' ' -f1,2", "go version\n"),
        ("gdb", "gdb -q -batch -ex run -ex 'info inferiors' /bin/true 2>&1 | grep -c 'exited normally'", "1\n"),
    ];
    let mut warden = Warden::start();
    for (name, script, expected) in checks {
        let found = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/local/go/bin"]
            .iter()
            .any(|folder| Path::new(folder).join(name).exists());
        if !found {
            eprintln!("skipped: no {name}");
            continue;
        }
        let outcome = warden.sh(script);
        assert_eq!(outcome.output, expected, "{name}: {outcome:?}");
    }
}

#[test]
fn python_can_use_threads_processes_and_shared_memory() {
    let program = r#"
import multiprocessing as mp, threading, socket, tempfile, mmap, ctypes, os
from multiprocessing import shared_memory
def work(x): return x * x
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool: print(sum(pool.map(work, range(10))))
    memory = shared_memory.SharedMemory(create=True, size=4096); memory.close(); memory.unlink()
    queue = mp.Queue(); queue.put(1); print(queue.get())
    t = threading.Thread(target=lambda: None, name="worker"); t.start(); t.join()
    print(len(socket.if_nameindex()) > 0, os.cpu_count() > 0)
"#;
    python_of_each(program, "285\n1\nTrue True\n");
}

#[test]
fn torch_trains_loads_data_in_workers_and_talks_between_processes() {
    let Ok(python) = std::env::var("STOA_TEST_TORCH") else {
        eprintln!("skipped: STOA_TEST_TORCH names no Python that has torch");
        return;
    };
    let program = r#"
import os, tempfile, torch, torch.distributed as dist, torch.multiprocessing as mp
from torch.utils.data import DataLoader, TensorDataset
def rank(number, path):
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=number, world_size=2)
    value = torch.ones(1); dist.all_reduce(value); print("sum", value.item(), flush=True)
if __name__ == "__main__":
    model = torch.nn.Linear(8, 1); optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = DataLoader(TensorDataset(torch.randn(64, 8), torch.randn(64, 1)), batch_size=16, num_workers=2)
    for x, y in data:
        loss = (model(x) - y).pow(2).mean(); optimizer.zero_grad(); loss.backward(); optimizer.step()
    print("trained", flush=True)
    mp.start_processes(rank, (os.path.join(tempfile.mkdtemp(), "meet"),), nprocs=2, start_method="fork")
"#;
    let outcome = Warden::start().finish(plan(&[&python, "-c", program]));
    // Gloo warns when the name of the machine does not resolve.
    let said: Vec<_> = outcome.output.lines().filter(|line| !line.contains("Warning")).collect();
    assert_eq!(said, ["trained", "sum 2.0", "sum 2.0"], "{outcome:?}");
}
