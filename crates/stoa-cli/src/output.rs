//! Where a command prints: data on standard output, everything else on standard error.

use crate::terminal;
use serde::Serialize;
use std::io::{self, Write};
use stoa_core::run::UnixNanos;
use stoa_core::{Exit, Failure};
use stoa_view::{ColorDepth, Line, Now, Style, Theme, Tint, to_text};

/// The two outputs and what they can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Of standard output.
    pub(crate) theme: Theme,
    /// Columns of the terminal; `None` where standard output is none.
    pub(crate) width: Option<usize>,
    error_color: ColorDepth,
}

impl Output {
    pub(crate) fn new() -> Self {
        let out = terminal::is_terminal(io::stdout());
        let error = terminal::is_terminal(io::stderr());
        Self {
            theme: terminal::theme(out),
            width: out.then(|| terminal::size().columns.into()),
            error_color: terminal::theme(error).color,
        }
    }

    /// Prints data. A reader that has gone away ends the printing, not the command with an error.
    pub(crate) fn text(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _reader_left = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    pub(crate) fn lines(&self, lines: &[Line]) {
        self.text(&to_text(lines, self.theme.color));
    }

    pub(crate) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Failure> {
        let json = stoa_view::to_json(value)
            .map_err(|error| Failure::new(Exit::Internal, "the answer cannot be written as JSON").caused_by(&error))?;
        self.text(&format!("{json}\n"));
        Ok(())
    }

    /// Says something that is no data.
    pub(crate) fn note(&self, text: &str) {
        self.error_lines(&[Line::of(text, Style::tint(Tint::Muted))]);
    }

    /// Shows `error`, `cause` and `hint`.
    pub(crate) fn failure(&self, failure: &Failure) {
        let mut lines = vec![labelled("error", Tint::Bad, &failure.error)];
        lines.extend(failure.causes.iter().map(|cause| labelled("  cause", Tint::Warning, cause)));
        lines.extend(failure.hint.iter().map(|hint| labelled("  hint", Tint::Accent, hint)));
        self.error_lines(&lines);
    }

    fn error_lines(&self, lines: &[Line]) {
        let mut error = io::stderr().lock();
        let text = to_text(lines, self.error_color);
        let _nobody_reads = error.write_all(&terminal::own_lines(text.as_bytes())).and_then(|()| error.flush());
    }
}

fn labelled(label: &str, tint: Tint, text: &str) -> Line {
    let mut line = Line::of(label, Style::tint(tint));
    line.push(format!(": {text}"), Style::PLAIN);
    line
}

/// The clock and the time zone.
pub(crate) fn now() -> Now {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let utc_offset = time::UtcOffset::current_local_offset().map_or(0, time::UtcOffset::whole_seconds);
    Now { time: UnixNanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)), utc_offset }
}
