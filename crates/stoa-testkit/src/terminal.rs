//! A terminal for a command: a pseudo-terminal whose other side the test holds.

use crate::command::{Cmd, code, ended};
use crate::wait::LIMIT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};
use std::time::Instant;

/// What Ctrl-C sends.
const CTRL_C: &[u8] = b"\x03";

/// A command on a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    pidfd: OwnedFd,
    master: Option<OwnedFd>,
    seen: Vec<u8>,
    /// Up to where [`Terminal::expect`] has matched.
    matched: usize,
}

impl Terminal {
    /// Starts a command as the leader of a session whose terminal this is.
    pub fn start(command: Cmd, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("it has a name");
        let slave = open(std::ffi::OsStr::from_bytes(name.as_bytes()).as_ref());
        tcsetwinsize(&master, size(rows, columns)).expect("its size");
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor"));
        // It executes the command in its own place.
        let mut child = command.under(&["setsid", "--ctty"]).into_inner();
        child.stdin(copy()).stdout(copy()).stderr(copy());
        let child = child.spawn().expect("setsid starts");
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it was not waited for");
        Self { child, pidfd, master: Some(master), seen: Vec::new(), matched: 0 }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn send(&self, bytes: &[u8]) {
        let master = self.master.as_ref().expect("the terminal is open");
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(master, rest).expect("the terminal takes input");
            rest = &rest[written..];
        }
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        self.send(CTRL_C);
    }

    /// Changes its size; the command gets SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(self.master.as_ref().expect("the terminal is open"), size(rows, columns)).expect("its size");
    }

    /// Waits until `text` was shown, after what earlier calls waited for.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            if let Some(at) = find(&self.seen[self.matched..], text.as_bytes()) {
                self.matched += at + text.len();
                return;
            }
            let more = began.elapsed() < LIMIT && self.read();
            assert!(more, "the terminal never showed {text:?} but:\n{}", self.shown());
        }
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Closes the terminal, as when its window is closed: the command gets SIGHUP.
    pub fn close(&mut self) {
        self.master = None;
    }

    /// Waits for the end of the command; its exit code, 128+n for signal n.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        while self.read() {}
        assert!(ended(&self.pidfd, LIMIT), "the command on the terminal did not end:\n{}", self.shown());
        code(self.child.wait().expect("a child is waited for once"))
    }

    /// Reads what is shown next. False at its end, and after a limit.
    fn read(&mut self) -> bool {
        let Some(master) = &self.master else { return false };
        let mut fds = [PollFd::new(master, PollFlags::IN)];
        let limit = Timespec { tv_sec: LIMIT.as_secs().try_into().expect("a short limit"), tv_nsec: 0 };
        if poll(&mut fds, Some(&limit)).expect("poll") == 0 {
            return false;
        }
        let mut piece = [0; 16 << 10];
        // EIO: nobody has the other side open any more.
        let got = rustix::io::read(master, &mut piece).unwrap_or(0);
        self.seen.extend_from_slice(&piece[..got]);
        got > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ended_now = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

fn open(path: &std::path::Path) -> File {
    let flags = rustix::fs::OFlags::NOCTTY.bits();
    let flags = i32::try_from(flags).expect("a flag");
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).expect("the terminal opens")
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
