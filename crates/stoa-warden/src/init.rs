//! The init of a run: first process of its PID namespace, its supervisor until the end.
//!
//! It needs neither warden nor daemon. It is not dumpable and has no capabilities, the program is in a Landlock domain that
//! cannot signal it, and what the program hands over is only ever moved, never parsed.

use crate::control::{Connections, Feed};
use crate::host::{Host, Level};
use crate::isolate::{self, Broken, Doing, View};
use crate::kept::{Kept, Moved};
use crate::order::{self, Files};
use crate::plan;
use crate::program::{self, NotStarted, Start};
use crate::remains;
use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, fcntl_setfl, flock, openat};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use stoa_proto::output::Stream;
use stoa_proto::warden::{Ended, Hello, LaunchPlan, Started, Stop, ended::Cause, from_init, to_init};
use stoa_sys::landlock::Rules;
use stoa_sys::process::{self, Pid, Reaped};
use stoa_sys::{Errno, exit_record, output};

/// How long processes that were killed may take to die before the run ends without them.
const DYING_MS: u64 = 10_000;
/// Bytes of flowing output after which the daemon is told.
const TELL_EVERY: u64 = 1 << 20;
/// The longest text of a failed step in a record.
const MAX_WHAT: usize = 1024;

/// Runs in the child of the warden: prepares everything that does not depend on a plan, waits for an order on `orders`, and
/// ends with the run, or with the warden when no order has come.
pub(crate) fn main(host: &Host, private_network: bool, orders: &OwnedFd) -> ! {
    process::block_signals(true);
    rustix::process::umask(Mode::empty());
    let base = Base::prepare(host, private_network, orders);
    let Some((files, groups)) = order::receive(orders) else { process::exit_now(0) };
    let code = match plan::read(&files.plan) {
        // The warden has read and checked the same plan; what has changed it since then is not to be obeyed.
        Err(_) => 1,
        Ok(plan) => carry_out(host, &plan, base, &files, &groups),
    };
    process::exit_now(code)
}

fn carry_out(
    host: &Host,
    plan: &LaunchPlan,
    base: Result<Base, Broken>,
    files: &Files,
    groups: &[(String, String)],
) -> i32 {
    let Err(broken) = base.and_then(|base| supervise(host, plan, base, files, groups)) else { return 0 };
    let errno = broken.errno.raw_os_error();
    let what = broken.what.chars().take(MAX_WHAT).collect();
    let ended =
        Ended { cause: Cause::SetupFailed.into(), code: errno, what, attempt: plan.attempt, ..Ended::default() };
    let connections = files.control.try_clone().map(|control| Connections::new(control, host.user.0));
    conclude(files, connections.ok().as_ref(), ended);
    1
}

/// What is prepared before the plan is known.
struct Base {
    /// The process id of init as the daemon sees it.
    pid: i32,
    null: OwnedFd,
    children: OwnedFd,
    /// None where there are no namespaces.
    view: Option<View>,
}

impl Base {
    fn prepare(host: &Host, private_network: bool, orders: &OwnedFd) -> Result<Self, Broken> {
        use rustix::process::set_child_subreaper;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = openat(CWD, "/dev/null", flags, Mode::empty()).doing("open /dev/null")?;
        let keep = &mut [orders.as_raw_fd(), null.as_raw_fd()];
        process::close_others(keep, null.as_fd()).doing("close descriptors")?;
        rustix::process::setsid().doing("begin a session")?;
        // The old `/proc` is still there, and in it the process id of the namespace outside.
        let pid = std::fs::read_link("/proc/self").doing("read the own process id")?;
        let pid = pid.to_str().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        let children = process::watch_children().doing("watch for the end of processes")?;
        let mut view = None;
        if host.level == Level::None {
            set_child_subreaper(Some(rustix::process::getpid())).doing("adopt orphaned processes")?;
        } else {
            isolate::enter_namespaces(host.level, host.user, private_network)?;
            view = Some(View::base(private_network, host.landlock)?);
            process::drop_bounding_set().doing("drop capabilities")?;
        }
        rustix::thread::set_no_new_privs(true).doing("set no_new_privs")?;
        forbid_tracing()?;
        Ok(Self { pid, null, children, view })
    }
}

fn forbid_tracing() -> Result<(), Broken> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("forbid tracing")
}

/// Writes the record, gives the lock up and tells the daemon, in this order: who finds the lock free finds the record, and who is
/// told may start the next attempt.
fn conclude(files: &Files, connections: Option<&Connections>, mut ended: Ended) {
    ended.ended_unix_nanos = output::now();
    let _daemon_sees_no_record = exit_record::write(&files.exit, &ended.encode_to_vec());
    let _freed_by_exit = flock(&files.lock, FlockOperation::Unlock);
    if let Some(connections) = connections {
        connections.tell(from_init::What::Ended(ended), &[]);
    }
}

fn supervise(
    host: &Host,
    plan: &LaunchPlan,
    base: Base,
    files: &Files,
    groups: &[(String, String)],
) -> Result<(), Broken> {
    let Base { pid, null, children, view } = base;
    let rules = isolate(host, plan, view, groups)?;
    let connections = Connections::new(files.control.try_clone().doing("open the control socket")?, host.user.0);
    let kept = Kept::new(files.output.as_fd(), files.index.as_fd(), plan.attempt).doing("open the output")?;
    let told = kept.length();
    let mut supervisor = Supervisor {
        level: host.level,
        pid,
        plan,
        files,
        null,
        children,
        connections,
        kept,
        streams: Vec::new(),
        terminal: None,
        feed: Feed::new(None, false),
        time_limit: timer("time limit")?,
        grace: timer("grace time")?,
        program: None,
        result: None,
        cause: Cause::ByItself,
        killed: false,
        ended: Ended { attempt: plan.attempt, ..Ended::default() },
        told,
    };
    match supervisor.start(host, rules.as_ref())? {
        Err(errno) => {
            let ended = Ended { cause: Cause::ExecFailed.into(), code: errno.raw_os_error(), ..supervisor.ended };
            let what = plan.argv[0].chars().take(MAX_WHAT).collect();
            conclude(files, Some(&supervisor.connections), Ended { what, ..ended });
        }
        Ok(program) => {
            supervisor.program = Some(program);
            supervisor.run()?;
        }
    }
    Ok(())
}

/// Everything of the plan that comes before the program; answers the Landlock rules for it.
fn isolate(
    host: &Host,
    plan: &LaunchPlan,
    view: Option<View>,
    groups: &[(String, String)],
) -> Result<Option<Rules>, Broken> {
    let rules = match view {
        None => host.landlock.map(|abi| isolate::rules_without_view(plan, abi)).transpose()?,
        Some(view) => {
            if !plan.hostname.is_empty() {
                rustix::system::sethostname(plan.hostname.as_bytes()).doing("set the host name")?;
            }
            view.enter(plan, groups)?
        }
    };
    rustix::process::chdir(plan.cwd.as_str()).doing(&format!("enter {}", plan.cwd))?;
    rustix::process::umask(Mode::from(if plan.umask == 0 { 0o022 } else { plan.umask & 0o777 }));
    Ok(rules)
}

fn timer(what: &str) -> Result<OwnedFd, Broken> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    timerfd_create(TimerfdClockId::Boottime, flags).doing(&format!("make a timer for the {what}"))
}

/// Lets `timer` fire once in `milliseconds`; at once for 0.
fn arm(timer: &OwnedFd, milliseconds: u64) {
    let nanos = i64::try_from(milliseconds.saturating_mul(1_000_000).max(1)).unwrap_or(i64::MAX);
    let value = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).expect("a timer takes every time from 1 ns on");
}

/// Whether `timer` has fired since it was asked last.
fn fired(timer: &OwnedFd) -> bool {
    rustix::io::read(timer, &mut [0u8; 8][..]).is_ok()
}

struct Supervisor<'a> {
    level: Level,
    /// The process id of init as the daemon sees it.
    pid: i32,
    plan: &'a LaunchPlan,
    files: &'a Files,
    null: OwnedFd,
    children: OwnedFd,
    connections: Connections,
    kept: Kept<'a>,
    /// Where output comes from, as long as it is open.
    streams: Vec<(Stream, OwnedFd)>,
    /// Our side of the terminal.
    terminal: Option<OwnedFd>,
    feed: Feed,
    time_limit: OwnedFd,
    grace: OwnedFd,
    program: Option<Pid>,
    /// How the program ended.
    result: Option<Reaped>,
    cause: Cause,
    /// Whether SIGKILL was sent to everything.
    killed: bool,
    ended: Ended,
    /// Length of the output as it was told last.
    told: u64,
}

/// What to look at after waiting.
struct Ready {
    listener: bool,
    connections: bool,
    children: bool,
    time_limit: bool,
    grace: bool,
    streams: bool,
}

impl Supervisor<'_> {
    /// Starts the program; the inner error is that of its execution.
    fn start(&mut self, host: &Host, rules: Option<&Rules>) -> Result<Result<Pid, Errno>, Broken> {
        let ends = self.open_stdio()?;
        let stdio = match &ends {
            Ends::Terminal(slave) => [slave.as_fd(); 3],
            Ends::Pipes { input } => {
                let [(_, out), (_, err)] = self.files.pipes.as_ref().expect("made unless there is a terminal");
                [input.as_ref().unwrap_or(&self.null).as_fd(), out.as_fd(), err.as_fd()]
            }
        };
        let limit = self.plan.limits.unwrap_or_default().pids;
        let counted = host.groups.can(stoa_sys::cgroup::Controller::Pids).is_ok();
        let start = Start {
            stdio,
            terminal: matches!(ends, Ends::Terminal(_)),
            cgroup: &self.files.cgroup,
            level: self.level,
            landlock: rules,
            seccomp: host.seccomp.as_ref(),
            // Init is one of the processes that the kernel counts.
            processes: (limit > 0 && !counted).then(|| u64::from(limit) + 1),
        };
        exit_record::begin(&self.files.exit).doing("note the start of the program")?;
        let program = match program::start(self.plan, &start) {
            Ok(program) => program,
            Err(NotStarted::Exec(errno)) => return Ok(Err(errno)),
            Err(NotStarted::Setup(what, errno)) => return Err(Broken { what: what.into(), errno }),
        };
        self.close_program_side()?;
        self.ended.started_unix_nanos = output::now();
        let started = Started { unix_nanos: self.ended.started_unix_nanos };
        let master: Vec<_> = self.terminal.iter().map(AsFd::as_fd).collect();
        self.connections.tell(from_init::What::Started(started), &master);
        if self.plan.time_limit_ms > 0 {
            arm(&self.time_limit, self.plan.time_limit_ms);
        }
        Ok(Ok(program))
    }

    /// Opens a terminal, or the pipe of standard input, and takes the sides of init.
    fn open_stdio(&mut self) -> Result<Ends, Broken> {
        if let Some(size) = &self.plan.terminal {
            let (master, slave) = program::open_terminal(size, self.level).doing("open a terminal")?;
            let copy = |master: &OwnedFd| master.try_clone().doing("open a terminal");
            self.streams.push((Stream::Terminal, copy(&master)?));
            self.feed = Feed::new(Some(copy(&master)?), true);
            self.terminal = Some(master);
            return Ok(Ends::Terminal(slave));
        }
        let pipes = self.files.pipes.iter().flatten();
        for ((read, _), stream) in pipes.zip([Stream::Stdout, Stream::Stderr]) {
            self.streams.push((stream, read.try_clone().doing("open the pipes of the program")?));
        }
        if !self.plan.stdin {
            return Ok(Ends::Pipes { input: None });
        }
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("open a pipe")?;
        fcntl_setfl(&write, OFlags::NONBLOCK).doing("open a pipe")?;
        self.feed = Feed::new(Some(write), false);
        Ok(Ends::Pipes { input: Some(read) })
    }

    /// Closes what only the program may hold, and gives the last capabilities up.
    fn close_program_side(&self) -> Result<(), Broken> {
        let null = self.null.as_fd();
        for (_, write) in self.files.pipes.iter().flatten() {
            process::replace(write.as_fd(), null).doing("close the program's side of its pipes")?;
        }
        process::drop_capabilities().doing("drop capabilities")?;
        // A change of capabilities can make a process dumpable by the system's setting.
        forbid_tracing()
    }

    /// Supervises until the end.
    fn run(&mut self) -> Result<(), Broken> {
        loop {
            let Some(ready) = self.wait().doing("wait")? else {
                self.tell_output();
                continue;
            };
            if ready.listener {
                self.connections.accept(self.files.listener.as_fd(), self.level != Level::None);
            }
            if ready.connections {
                self.obey();
            }
            if self.feed.wanted().is_some() && self.feed.pump() {
                self.connections.tell(from_init::What::StdinPassed(self.feed.passed), &[]);
            }
            if ready.time_limit && fired(&self.time_limit) && self.result.is_none() {
                self.stop(Cause::TimeLimit, &Stop { signal: 0, grace_ms: self.plan.grace_ms });
            }
            let out_of_time = ready.grace && fired(&self.grace);
            if out_of_time && self.result.is_none() {
                self.kill();
            }
            if ready.streams {
                self.move_output();
            }
            let alone = ready.children && self.reap();
            if self.result.is_some() && (alone || out_of_time) {
                return self.finish().doing("record the end");
            }
        }
    }

    /// Waits for anything to happen; `None` when nothing has happened yet and kept output was not told.
    fn wait(&self) -> Result<Option<Ready>, Errno> {
        let untold = self.kept.length() > self.told;
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let sockets: Vec<_> = self.connections.sockets().collect();
        let single = [&self.files.listener, &self.children, &self.time_limit, &self.grace];
        let readable = single.into_iter().chain(sockets.iter().copied()).chain(self.streams.iter().map(|(_, fd)| fd));
        let mut fds: Vec<_> = readable.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        fds.extend(self.feed.wanted().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        match poll(&mut fds, untold.then_some(&at_once)) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let happened = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (single, rest) = fds.split_at(4);
        let (sockets, rest) = rest.split_at(sockets.len());
        Ok(Some(Ready {
            listener: happened(&single[0]),
            children: happened(&single[1]),
            time_limit: happened(&single[2]),
            grace: happened(&single[3]),
            connections: sockets.iter().any(happened),
            streams: rest[..self.streams.len()].iter().any(happened),
        }))
    }

    /// Carries out what the daemon says.
    fn obey(&mut self) {
        for (place, what) in self.connections.receive() {
            match what {
                to_init::What::Stdin(bytes) => self.feed.push(&bytes),
                to_init::What::StdinEnd(_) => self.feed.end(),
                to_init::What::Resize(size) => {
                    if let Some(terminal) = &self.terminal {
                        let _gone = program::resize(terminal.as_fd(), &size);
                    }
                }
                to_init::What::Signal(signal) => self.signal(signal),
                to_init::What::Stop(stop) => self.stop(Cause::Stopped, &stop),
                to_init::What::Hello(_) => self.hello(place),
            }
        }
    }

    fn hello(&self, place: usize) {
        let hello = Hello { init_pid: self.pid, started: self.program.is_some(), output: self.kept.length() };
        let pipes = self.files.pipes.iter().flatten().map(|(read, _)| read.as_fd());
        let descriptors: Vec<_> = pipes.chain(self.terminal.iter().map(AsFd::as_fd)).collect();
        self.connections.answer(place, from_init::What::Hello(hello), &descriptors);
    }

    fn signal(&self, signal: i32) {
        if let Some(program) = self.program.filter(|_| self.result.is_none()) {
            let _gone = process::signal_group(program, signal);
        }
    }

    /// Asks the program to end, and sees to it that it does.
    fn stop(&mut self, cause: Cause, stop: &Stop) {
        if self.result.is_some() {
            return;
        }
        if self.cause == Cause::ByItself {
            self.cause = cause;
        }
        if stop.grace_ms == 0 {
            return self.kill();
        }
        self.signal(if stop.signal > 0 { stop.signal } else { libc::SIGTERM });
        // A program that Ctrl-Z has stopped gets no signal before it goes on.
        self.signal(libc::SIGCONT);
        arm(&self.grace, stop.grace_ms);
    }

    /// Kills everything.
    fn kill(&mut self) {
        self.killed = true;
        self.sweep();
    }

    fn sweep(&self) {
        match self.level {
            Level::None => remains::kill_descendants(),
            // ESRCH: there is nothing left.
            _ => drop(process::kill_namespace()),
        }
    }

    /// Moves what has arrived.
    fn move_output(&mut self) {
        self.streams.retain(|(stream, fd)| {
            // A stream that never pauses must not keep the other waiting.
            for _turn in 0..4 {
                match self.kept.take(fd.as_fd(), *stream) {
                    Moved::Some => {}
                    Moved::All | Moved::Empty => return true,
                    Moved::End => return false,
                }
            }
            true
        });
        if self.kept.length() - self.told > TELL_EVERY {
            self.tell_output();
        }
    }

    /// Tells how much output has been kept: when it pauses, and now and then while it flows.
    fn tell_output(&mut self) {
        self.told = self.kept.length();
        self.kept.seal();
        self.connections.tell(from_init::What::Output(self.told), &[]);
    }

    /// Reaps what has ended; once the program has, the rest is killed. Answers whether no process is left.
    fn reap(&mut self) -> bool {
        let _already_read = rustix::io::read(&self.children, &mut [0u8; 1024][..]);
        loop {
            match process::reap() {
                Ok(Some(reaped)) if Some(reaped.pid) == self.program => {
                    self.result = Some(reaped);
                    arm(&self.grace, DYING_MS);
                    self.sweep();
                }
                Ok(Some(_)) => {}
                Ok(None) if self.result.is_some() => {
                    self.sweep();
                    return false;
                }
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Everything has ended: moves the rest of the output, records the end and tells it.
    fn finish(&mut self) -> Result<(), Errno> {
        let streams = std::mem::take(&mut self.streams);
        for (stream, fd) in &streams {
            while matches!(self.kept.take(fd.as_fd(), *stream), Moved::Some | Moved::All) {}
        }
        let _told_in_the_record = self.kept.record_loss();
        let usage = process::children_usage();
        let result = self.result.ok_or(Errno::CHILD)?;
        let cause = if self.cause == Cause::Stopped && self.killed { Cause::Killed } else { self.cause };
        let ended = Ended {
            cause: cause.into(),
            code: result.code,
            signal: result.signal,
            cpu_user_us: usage.user_us,
            cpu_system_us: usage.system_us,
            max_rss: usage.max_rss,
            blocks_in: usage.blocks_in,
            blocks_out: usage.blocks_out,
            output: self.kept.length(),
            output_lost: self.kept.lost,
            ..self.ended.clone()
        };
        conclude(self.files, Some(&self.connections), ended);
        Ok(())
    }
}

/// The program's side of its standard streams.
enum Ends {
    Terminal(OwnedFd),
    Pipes { input: Option<OwnedFd> },
}
