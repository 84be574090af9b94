//! Processes: forking into namespaces, starting a program, signals, capabilities.
//!
//! For processes with one thread: the child of [`fork`] goes on with this program's memory, and locks that another
//! thread held would stay locked in it forever. [`single_threaded`] checks.
#![expect(unsafe_code, reason = "fork, clone, exec, signal masks and ioctls have no safe interface")]

use crate::raw::{check, close_range, owned};
use crate::{Errno, Result};
use std::ffi::{CString, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

pub use rustix::process::Pid;

/// Kinds of namespaces, as in `clone(2)`.
pub mod namespace {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Host name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Users and capabilities.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Processes.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Network.
    pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
}

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The process that forked.
    Parent {
        /// The child's process id.
        child: Pid,
        /// A descriptor of the child, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Whether the calling process has exactly one thread.
pub fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Forks into new `namespaces`.
///
/// # Errors
/// EPERM, ENOSPC or EUSERS where the host forbids user namespaces, EAGAIN at a process limit.
pub fn fork(namespaces: u64) -> Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let flags = namespaces | libc::CLONE_PIDFD as u64 | libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM and with a null stack this is fork(2); the kernel writes one int to `pidfd`, in the parent.
    let child = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            std::ptr::null::<c_void>(),
            std::ptr::from_mut(&mut pidfd),
            0usize,
            0usize,
        )
    })?;
    match i32::try_from(child).ok().and_then(Pid::from_raw) {
        None => Ok(Fork::Child),
        Some(child) => Ok(Fork::Parent { child, pidfd: owned(pidfd.into())? }),
    }
}

/// Ends the process at once, without destructors and exit handlers: the way out of a forked child.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: always sound; no memory is touched.
    unsafe { libc::_exit(code) }
}

/// Why a program was not started: the step that failed, as its closure named it, and the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// As the closure numbered it.
    pub step: u8,
    /// The error.
    pub errno: Errno,
}

/// Stack of a process that [`spawn`] starts, until it executes its program.
const STACK: usize = 256 << 10;

/// One page that parent and child share.
struct Shared(*mut c_void);
const PAGE: usize = 4096;
/// CLONE_INTO_CGROUP.
const INTO_CGROUP: u64 = 1 << 33;
/// Marks the shared cell as filled.
const FILLED: u64 = 1 << 63;

impl Shared {
    fn new() -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), PAGE, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
        };
        if page == libc::MAP_FAILED { Err(Errno::NOMEM) } else { Ok(Self(page)) }
    }
    fn cell(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped as long as `self` lives, zeroed, aligned, and only ever used as this atomic.
        unsafe { &*self.0.cast::<AtomicU64>() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: maps exactly the page that `new` made.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

struct Start<'a> {
    run: &'a mut dyn FnMut() -> Failed,
    shared: Shared,
}

extern "C" fn enter(argument: *mut c_void) -> libc::c_int {
    // SAFETY: `spawn` passes a `Start` that it keeps alive and does not touch until this process has left its memory.
    let start = unsafe { &mut *argument.cast::<Start<'_>>() };
    let failed = (start.run)();
    let code = FILLED | u64::from(failed.step) << 32 | u64::from(failed.errno.raw_os_error().cast_unsigned());
    start.shared.cell().store(code, Ordering::Release);
    exit_now(127)
}

/// Starts a program: runs `start` in a new process, which ends in [`Exec::run`]; answers when the program was executed or
/// `start` has failed. With `cgroup` (the folder of a cgroup v2) the process starts in it.
///
/// The new process borrows this one's memory until then (as `posix_spawn` does), so `start` must not allocate much, and
/// what it changes in memory stays changed.
///
/// # Errors
/// [`Failed`] as `start` answered it, or step 0 when the process could not be made.
pub fn spawn(cgroup: Option<BorrowedFd<'_>>, start: &mut dyn FnMut() -> Failed) -> std::result::Result<Pid, Failed> {
    let none = |errno| Failed { step: 0, errno };
    let mut start = Start { run: start, shared: Shared::new().map_err(none)? };
    let child = match cgroup {
        Some(cgroup) => clone_into(cgroup, &mut start),
        None => clone_sharing(&mut start),
    };
    let child = i32::try_from(child.map_err(none)?).ok().and_then(Pid::from_raw).ok_or(none(Errno::SRCH))?;
    let code = start.shared.cell().load(Ordering::Acquire);
    if code & FILLED == 0 {
        return Ok(child);
    }
    // The process has ended; reaping it is the caller's business like that of every other child.
    Err(Failed { step: (code >> 32) as u8, errno: Errno::from_raw_os_error((code as u32).cast_signed()) })
}

/// `clone(2)` with CLONE_VM and CLONE_VFORK on a stack of its own.
fn clone_sharing(start: &mut Start<'_>) -> Result<libc::c_long> {
    let mut stack = vec![0u128; STACK / size_of::<u128>()];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is aligned for both architectures and lives until the child has left this memory, which
    // CLONE_VFORK waits for; `enter` gets the `Start` it expects.
    let child =
        unsafe { libc::clone(enter, stack.as_mut_ptr_range().end.cast(), flags, std::ptr::from_mut(start).cast()) };
    check(child.into())
}

/// `clone3(2)` with CLONE_INTO_CGROUP: a copy of the memory, since a stack of its own would need assembly.
fn clone_into(cgroup: BorrowedFd<'_>, start: &mut Start<'_>) -> Result<libc::c_long> {
    // SAFETY: `clone_args` is plain data, for which all zeros are valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = INTO_CGROUP | libc::CLONE_VFORK as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: `arguments` outlives the call; without CLONE_VM and without a stack this is fork(2).
    let child = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size_of::<libc::clone_args>())
    })?;
    if child == 0 {
        enter(std::ptr::from_mut(start).cast());
    }
    Ok(child)
}

/// A program with arguments and environment, laid out for `execve(2)`.
pub struct Exec {
    arguments: Strings,
    environment: Strings,
}

/// A null-terminated array of C strings.
struct Strings {
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    fn new(texts: &[String]) -> Result<Self> {
        let texts = texts.iter().map(|text| CString::new(text.as_str()).map_err(|_| Errno::INVAL));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { _texts: texts, pointers })
    }
}

impl Exec {
    /// # Errors
    /// EINVAL when a text contains a zero byte.
    pub fn new(arguments: &[String], environment: &[String]) -> Result<Self> {
        Ok(Self { arguments: Strings::new(arguments)?, environment: Strings::new(environment)? })
    }

    /// Executes the first of `paths` that exists and may be executed. Returns only when none can be.
    pub fn run(&self, paths: &[CString]) -> Errno {
        let mut answer = Errno::NOENT;
        for path in paths {
            let (arguments, environment) = (self.arguments.pointers.as_ptr(), self.environment.pointers.as_ptr());
            // SAFETY: both arrays end with a null pointer and point to strings that `self` owns.
            let error = check(unsafe { libc::execve(path.as_ptr(), arguments, environment) }.into());
            match error.err().unwrap_or(Errno::IO) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => answer = Errno::ACCESS,
                other => return other,
            }
        }
        answer
    }
}

/// Puts every signal back to its default action. Rust programs start with SIGPIPE ignored, which children inherit.
pub fn default_signals() {
    // `struct sigaction` of the kernel, all zeros: SIG_DFL without flags. The C library refuses signals 32 and 33.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no handler of ours; `default` is as large as the kernel's structure on every architecture.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8usize) };
    }
}

/// Blocks every signal of the calling thread, or none.
pub fn block_signals(block: bool) {
    // SAFETY: `set` is plain data that sigfillset or sigemptyset fills; the old mask is not asked for.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        if block {
            libc::sigfillset(&raw mut set)
        } else {
            libc::sigemptyset(&raw mut set)
        };
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Blocks SIGCHLD and answers a descriptor that is readable while one is pending.
///
/// # Errors
/// EMFILE and ENFILE when no descriptor is left.
pub fn watch_children() -> Result<OwnedFd> {
    // SAFETY: `set` is plain data that sigemptyset fills and outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        owned(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Which.
    pub pid: Pid,
    /// Its exit code, or 0.
    pub code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
}

/// Reaps one child that has ended, without waiting; `None` when none has.
///
/// # Errors
/// ECHILD when there is no child at all.
pub fn reap() -> Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int to `status`.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) }.into())?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 0 };
    Ok(Some(Reaped { pid, code, signal }))
}

/// Resources that reaped children used, with theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildrenUsage {
    /// Microseconds in user code.
    pub user_us: u64,
    /// Microseconds in the kernel.
    pub system_us: u64,
    /// Largest resident size of one process, in bytes.
    pub max_rss: u64,
    /// Blocks of 512 bytes read from storage.
    pub blocks_in: u64,
    /// Blocks of 512 bytes written to storage.
    pub blocks_out: u64,
}

/// What all reaped children used.
pub fn children_usage() -> ChildrenUsage {
    // SAFETY: `rusage` is plain data that the kernel fills; the call cannot fail for RUSAGE_CHILDREN.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    ChildrenUsage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss: usage.ru_maxrss as u64 * 1024,
        blocks_in: usage.ru_inblock as u64,
        blocks_out: usage.ru_oublock as u64,
    }
}

/// Sends `signal` to the process group `group`.
///
/// # Errors
/// ESRCH when it is empty, EINVAL for a number that is no signal.
pub fn signal_group(group: Pid, signal: i32) -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::kill(-group.as_raw_nonzero().get(), signal) }.into()).map(drop)
}

/// Sends SIGKILL to every process of the PID namespace whose first process the caller is.
///
/// # Errors
/// ESRCH when there is no other, EPERM when the caller is not the first process of a namespace: the signal
/// would reach every process of the user.
pub fn kill_namespace() -> Result<()> {
    if std::process::id() != 1 {
        return Err(Errno::PERM);
    }
    // SAFETY: takes integers only.
    check(unsafe { libc::kill(-1, libc::SIGKILL) }.into()).map(drop)
}

/// Empties the bounding and ambient capability sets and locks them, so that no program gains a capability from being
/// executed as user 0.
///
/// # Errors
/// EPERM without CAP_SETPCAP.
pub fn drop_bounding_set() -> Result<()> {
    const LOCKED: libc::c_ulong = 0b10_1111; // noroot, no_setuid_fixup, both locked, keep_caps locked
    for capability in 0..64 {
        // SAFETY: takes integers only.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Err(Errno::INVAL) => break,
            answer => answer?,
        };
    }
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }.into())?;
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, LOCKED, 0, 0, 0) }.into()).map(drop)
}

/// Gives up all capabilities of the calling thread.
///
/// # Errors
/// None is known; the kernel lets every process drop capabilities.
pub fn drop_capabilities() -> Result<()> {
    let none = rustix::thread::CapabilitySet::empty();
    let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)
}

/// Closes every descriptor from 3 on except `keep`, and puts `null` on 0, 1 and 2.
///
/// For the child of a [`fork`] that from then on uses only what is in `keep` and never runs the destructors of what its
/// parent owned.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_others(keep: &mut [i32], null: BorrowedFd<'_>) -> Result<()> {
    for standard in 0..3 {
        // SAFETY: takes integers only; 0 to 2 are not owned by anything in this process.
        check(unsafe { libc::dup2(null.as_raw_fd(), standard) }.into())?;
    }
    keep.sort_unstable();
    let mut next = 3u32;
    for fd in keep.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
        if fd > next {
            close_range(next, fd - 1, 0)?;
        }
        next = next.max(fd + 1);
    }
    close_range(next, u32::MAX, 0)
}

/// Marks every descriptor from 3 on close-on-exec.
///
/// # Errors
/// ENOSYS before Linux 5.9, EINVAL before 5.11.
pub fn cloexec_others() -> Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Takes over a descriptor that this program was started with; it becomes close-on-exec. Works once for each number.
///
/// # Errors
/// EBADF when it is not open, was taken before, or is a standard stream.
pub fn take_descriptor(number: i32) -> Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bit = 1u64.checked_shl(number.cast_unsigned()).filter(|_| number > 2).ok_or(Errno::BADF)?;
    if TAKEN.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: takes integers only; fails with EBADF when the number is not open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    owned(number.into())
}

/// Lets `command` start with `descriptor` open as `number`, which must not be a standard stream.
///
/// # Errors
/// EINVAL for the number of a standard stream.
pub fn give_descriptor(command: &mut std::process::Command, descriptor: OwnedFd, number: i32) -> Result<()> {
    use std::os::unix::process::CommandExt;
    if number < 3 {
        return Err(Errno::INVAL);
    }
    let give = move || {
        let old = descriptor.as_raw_fd();
        // dup2 of a descriptor onto itself would leave it close-on-exec.
        // SAFETY: takes integers only; nothing in the child, which only executes, owns `number`.
        let given = unsafe { if old == number { libc::fcntl(old, libc::F_SETFD, 0) } else { libc::dup2(old, number) } };
        check(given.into()).map(drop).map_err(std::io::Error::from)
    };
    // SAFETY: `give` only makes system calls, which is sound between fork and exec.
    unsafe { command.pre_exec(give) };
    Ok(())
}

/// Puts `from` on the standard descriptor `to` (0, 1 or 2), open across exec.
///
/// # Errors
/// EINVAL when `to` is none of the three.
pub fn onto_standard(from: BorrowedFd<'_>, to: i32) -> Result<()> {
    if !(0..3).contains(&to) {
        return Err(Errno::INVAL);
    }
    // SAFETY: takes integers only; 0 to 2 are not owned by anything in this process.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into()).map(drop)
}

/// Makes the descriptor `old` another one for what `new` refers to, which closes what it referred to.
///
/// # Errors
/// EBADF is not possible for borrowed descriptors; EMFILE and EINTR are not either.
pub fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes integers only. `old` stays a valid descriptor, so that its owner may still close it.
    check(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }.into()).map(drop)
}

/// Moves the calling thread into a cgroup namespace whose root is its present cgroup.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub fn unshare_cgroup() -> Result<()> {
    // SAFETY: a cgroup namespace has no bearing on memory or descriptors.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// Switches the loopback device of the current network namespace on.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN.
pub fn loopback_up() -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    use std::os::fd::AsFd;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    crate::raw::loopback_up(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_program_is_executed_and_reaped() {
        let exec = Exec::new(&texts(&["sh", "-c", "exit 7"]), &[]).unwrap();
        let paths = [CString::new("/nowhere/sh").unwrap(), CString::new("/bin/sh").unwrap()];
        let child = spawn(None, &mut || Failed { step: 3, errno: exec.run(&paths) }).unwrap();
        let (_, status) =
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn why_a_program_was_not_executed_is_told() {
        let exec = Exec::new(&texts(&["x"]), &[]).unwrap();
        let paths = [CString::new("/nowhere/x").unwrap()];
        let failed = spawn(None, &mut || Failed { step: 3, errno: exec.run(&paths) }).unwrap_err();
        assert_eq!(failed, Failed { step: 3, errno: Errno::NOENT });
        let folder = [CString::new("/etc").unwrap()];
        let failed = spawn(None, &mut || Failed { step: 3, errno: exec.run(&folder) }).unwrap_err();
        assert_eq!(failed.errno, Errno::ACCESS);
    }

    #[test]
    fn a_program_starts_in_the_group_of_version_2_it_is_given() {
        use std::os::fd::AsFd;
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::Path::new);
        let Some(root) = mounts.into_iter().find(|mount| mount.join("cgroup.subtree_control").exists()) else {
            eprintln!("skipped: no cgroup version 2 is mounted");
            return;
        };
        let folder = root.join(format!("stoa-test-{}", std::process::id()));
        if let Err(error) = std::fs::create_dir(&folder) {
            eprintln!("skipped: no cgroup can be made: {error}");
            return;
        }
        let group = std::fs::File::open(&folder).unwrap();
        let script = format!("grep -q '^0::.*/stoa-test-{}$' /proc/self/cgroup", std::process::id());
        let exec = Exec::new(&texts(&["sh", "-c", &script]), &texts(&["PATH=/bin:/usr/bin"])).unwrap();
        let paths = [CString::new("/bin/sh").unwrap()];
        let child = spawn(Some(group.as_fd()), &mut || Failed { step: 3, errno: exec.run(&paths) }).unwrap();
        let (_, status) =
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap().unwrap();
        let failed = spawn(Some(group.as_fd()), &mut || Failed { step: 4, errno: Errno::PERM }).unwrap_err();
        assert_eq!(failed, Failed { step: 4, errno: Errno::PERM });
        while rustix::process::wait(rustix::process::WaitOptions::NOHANG).is_ok_and(|reaped| reaped.is_none()) {}
        // A process leaves its group a moment after it was reaped.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let removed = loop {
            match std::fs::remove_dir(&folder) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    assert!(std::time::Instant::now() < patience, "the group stays busy");
                    std::thread::yield_now();
                }
                other => break other,
            }
        };
        assert_eq!(status.exit_status(), Some(0));
        removed.unwrap();
    }

    #[test]
    fn a_zero_byte_in_an_argument_is_refused() {
        assert_eq!(Exec::new(&texts(&["a\0b"]), &[]).err(), Some(Errno::INVAL));
    }

    #[test]
    fn only_the_first_process_of_a_namespace_kills_everything() {
        assert_eq!(kill_namespace(), Err(Errno::PERM));
    }
}
