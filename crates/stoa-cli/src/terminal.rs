//! The terminal: what it can show, its size, and a mode in which keys arrive as they are pressed.

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use stoa_core::run::TerminalSize;
use stoa_view::{ColorDepth, Theme};

/// The size of a terminal that does not tell.
const USUAL_SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

pub(crate) fn is_terminal(stream: impl AsFd) -> bool {
    termios::isatty(stream)
}

/// What an output can show, by the conventions `NO_COLOR`, `CLICOLOR_FORCE`, `COLORTERM`, `TERM` and the locale.
pub(crate) fn theme(is_terminal: bool) -> Theme {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let term = variable("TERM").unwrap_or_default();
    let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    let color = if variable("NO_COLOR").is_some() || !(forced || is_terminal && term != "dumb" && !term.is_empty()) {
        ColorDepth::None
    } else if variable("COLORTERM").is_some_and(|value| value == "truecolor" || value == "24bit") {
        ColorDepth::TrueColor
    } else if term.contains("256color") {
        ColorDepth::Ansi256
    } else {
        ColorDepth::Ansi16
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
    let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    Theme { color, unicode: utf8 && term != "dumb" && (!is_terminal || term != "linux") }
}

/// The size of the terminal on standard output, or on standard error.
pub(crate) fn size() -> TerminalSize {
    let ask = |stream: io::Result<termios::Winsize>| stream.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let out = ask(termios::tcgetwinsize(io::stdout()).map_err(io::Error::from));
    let known = out.or_else(|| ask(termios::tcgetwinsize(io::stderr()).map_err(io::Error::from)));
    known.map_or(USUAL_SIZE, |size| TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// Whether this process may read the terminal on standard input: a background job that does is stopped.
pub(crate) fn in_foreground() -> bool {
    termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Whether the terminal shows what is written as it is.
static IN_KEY_MODE: AtomicBool = AtomicBool::new(false);

/// Lines of ours among the run's output: while keys are handed over they must end at the left edge by themselves.
pub(crate) fn own_lines(text: &[u8]) -> Cow<'_, [u8]> {
    if IN_KEY_MODE.load(Ordering::Relaxed) { Cow::Owned(with_returns(text)) } else { Cow::Borrowed(text) }
}

fn with_returns(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(text.len() + 2);
    for &byte in text {
        if byte == b'\n' && lines.last() != Some(&b'\r') {
            lines.push(b'\r');
        }
        lines.push(byte);
    }
    lines
}

/// The terminal hands over keys one by one and does not echo; restored when this is dropped.
#[derive(Debug)]
pub(crate) struct KeyMode {
    terminal: OwnedFd,
    before: Termios,
}

impl KeyMode {
    /// Ctrl-C still comes as a signal. `None` where standard input is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let before = termios::tcgetattr(&terminal).ok()?;
        let mut mode = before.clone();
        mode.make_raw();
        mode.local_modes |= LocalModes::ISIG;
        // Only Ctrl-C is for us. The run's own terminal knows the others.
        mode.special_codes[SpecialCodeIndex::VQUIT] = 0;
        mode.special_codes[SpecialCodeIndex::VSUSP] = 0;
        // Output passes unchanged: the run's own terminal has ended its lines, and a full-screen program counts on it.
        termios::tcsetattr(&terminal, OptionalActions::Now, &mode).ok()?;
        IN_KEY_MODE.store(true, Ordering::Relaxed);
        Some(Self { terminal, before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        let _terminal_gone = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        IN_KEY_MODE.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_get_the_return_they_lack() {
        assert_eq!(with_returns(b"a\nb\r\n\n"), b"a\r\nb\r\n\r\n");
    }
}
