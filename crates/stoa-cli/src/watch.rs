//! Live curves: `stoa watch` on the whole screen, and `stoa run --watch` in place.

use crate::Ended;
use crate::attach::{Change, Follower};
use crate::connect::connect;
use crate::curves::Curves;
use crate::failure::failed;
use crate::output::{Output, now};
use crate::terminal::{self, KeyMode};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;
use stoa_core::metric::Series;
use stoa_core::run::RunRecord;
use stoa_core::{Exit, Failure};
use stoa_proto::stoa as pb;
use stoa_view::{Action, Dashboard, Line, Watching, inline_view, to_text};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tonic::Streaming;

/// Points asked for per series.
const POINTS: u32 = 2000;
/// Pictures a second, at the most.
const RATE: u32 = 4;
/// Lines of output a viewer can scroll back.
const LOG_LINES: usize = 2000;
/// A line of output longer than this is cut: a program that prints without line ends must not fill our memory.
const LOG_LINE_BYTES: usize = 4096;
/// Lines of the view in place.
const INLINE_HEIGHT: u16 = 18;

/// Erases what a shorter line left, and what is below the last.
const ERASE_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// The last lines of a program's output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    /// Bytes of a line without its end yet.
    open: Vec<u8>,
}

impl Tail {
    fn add(&mut self, data: &[u8]) {
        for byte in data {
            match byte {
                b'\n' => self.close_line(),
                // A progress bar writes its line again.
                b'\r' => self.open.clear(),
                _ if self.open.len() < LOG_LINE_BYTES => self.open.push(*byte),
                _ => {}
            }
        }
    }

    fn close_line(&mut self) {
        self.lines.push_back(String::from_utf8_lossy(&self.open).into_owned());
        self.open.clear();
        if self.lines.len() > LOG_LINES {
            self.lines.pop_front();
        }
    }

    fn lines(&self) -> Vec<String> {
        let open = (!self.open.is_empty()).then(|| String::from_utf8_lossy(&self.open).into_owned());
        self.lines.iter().cloned().chain(open).collect()
    }
}

async fn metrics_of(run: String) -> Result<Streaming<pb::MetricsReply>, Failure> {
    let request = pb::MetricsRequest { run, names: Vec::new(), max_points: POINTS, per_second: RATE };
    Ok(connect().await?.watch_metrics(request).await.map_err(failed)?.into_inner())
}

/// `stoa watch`.
pub(crate) async fn watch(run: String, output: &Output) -> Ended {
    if !terminal::is_terminal(io::stdout()) || !terminal::is_terminal(io::stdin()) {
        return Err(Failure::new(Exit::Usage, "`stoa watch` needs a terminal")
            .hint(format!("`stoa plot {run}` draws the curves once, `stoa logs -f {run}` follows the output")));
    }
    let mut metrics = metrics_of(run.clone()).await?;
    let logs = pb::LogsRequest { run, follow: true, tail: Some(LOG_LINES as u64) };
    let mut logs = connect().await?.logs(logs).await.map_err(failed)?.into_inner();
    let Some(first) = metrics.message().await.map_err(failed)? else {
        return Err(Failure::new(Exit::Internal, "the daemon sent no metrics"));
    };
    let mut curves = Curves::try_from(first)?;
    let screen = Screen::enter();
    let mut keys = read_keys()?;
    let mut resized = signal(SignalKind::window_change())
        .map_err(|error| Failure::new(Exit::Internal, "cannot listen for signals").caused_by(&error))?;
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(Exit::Internal, "cannot listen for signals").caused_by(&error))?;
    let (mut tail, mut watching) = (Tail::default(), Watching::default());
    let (mut metrics_open, mut logs_open) = (true, true);
    loop {
        draw(&curves, &tail, &watching, output);
        tokio::select! {
            reply = metrics.message(), if metrics_open => match reply {
                Ok(Some(reply)) if !watching.paused => curves = Curves::try_from(reply)?,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => metrics_open = false,
            },
            piece = logs.message(), if logs_open => match piece {
                Ok(Some(piece)) => tail.add(&piece.data),
                Ok(None) | Err(_) => logs_open = false,
            },
            key = keys.recv() => match key {
                Some(Action::Quit) | None => break,
                Some(action) => watching.apply(action, dashboard(&curves, &tail.lines(), &watching, output).1),
            },
            _ = resized.recv() => {}
            _ = interrupt.recv() => break,
        }
    }
    drop(screen);
    Ok(Exit::Ok.code())
}

fn draw(curves: &Curves, tail: &Tail, watching: &Watching, output: &Output) {
    let lines = dashboard(curves, &tail.lines(), watching, output).0;
    let text = to_text(&lines, output.theme.color);
    let mut page = String::from("\x1b[H");
    page.push_str(&text.trim_end_matches('\n').replace('\n', &format!("{ERASE_LINE}\r\n")));
    page.push_str(ERASE_LINE);
    page.push_str(ERASE_BELOW);
    output.text(&page);
}

fn dashboard(curves: &Curves, log: &[String], watching: &Watching, output: &Output) -> (Vec<Line>, stoa_view::Layout) {
    let size = terminal::size();
    let (width, height) = (usize::from(size.columns), usize::from(size.rows));
    let dashboard =
        Dashboard { record: &curves.record, series: &curves.series, log, watching, now: now(), theme: output.theme };
    (dashboard.render(width, height), dashboard.layout(width, height))
}

/// The alternate screen with a hidden cursor, left again when dropped.
struct Screen {
    _keys: Option<KeyMode>,
}

impl Screen {
    fn enter() -> Self {
        let keys = KeyMode::enter();
        print("\x1b[?1049h\x1b[?25l\x1b[2J");
        Self { _keys: keys }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print("\x1b[?25h\x1b[?1049l");
    }
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _terminal_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Keys as actions, from a thread that blocks in `read` and is not joined.
fn read_keys() -> Result<mpsc::Receiver<Action>, Failure> {
    let (send, keys) = mpsc::channel(8);
    let read = move || {
        let mut bytes = [0; 16];
        while let Ok(got @ 1..) = io::stdin().read(&mut bytes) {
            let action = action_of(&bytes[..got]);
            if action.is_some_and(|action| send.blocking_send(action).is_err()) {
                return;
            }
        }
    };
    let started = thread::Builder::new().name("keys".into()).spawn(read);
    started.map_err(|error| Failure::new(Exit::TryAgain, "cannot read keys").caused_by(&error))?;
    Ok(keys)
}

/// What a terminal sends for a key, as an action.
fn action_of(bytes: &[u8]) -> Option<Action> {
    match bytes {
        [0x1b] | [0x03] => Some(Action::Quit),
        b"\x1b[A" | b"\x1bOA" => Some(Action::Up),
        b"\x1b[B" | b"\x1bOB" => Some(Action::Down),
        b"\x1b[C" | b"\x1bOC" | b"\x1b[6~" => Some(Action::More),
        b"\x1b[D" | b"\x1bOD" | b"\x1b[5~" => Some(Action::Less),
        [key] => Action::of_key(char::from(*key)),
        _ => None,
    }
}

/// `stoa run --watch`: a curve that is drawn in place while the run goes on. Where the output is no terminal, the run's
/// output is shown as usual and the curve once, at the end.
pub(crate) async fn inline(mut follower: Follower, output: &Output) -> Ended {
    let mut metrics = metrics_of(follower.record.id.to_string()).await?;
    let mut view =
        Inline { series: Vec::new(), drawn: 0, live: output.width.is_some(), output: *output, open: Vec::new() };
    let mut metrics_open = true;
    view.draw(&follower.record);
    let code = loop {
        tokio::select! {
            reply = metrics.message(), if metrics_open => match reply {
                Ok(Some(reply)) => view.series = Curves::try_from(reply)?.series,
                Ok(None) | Err(_) => metrics_open = false,
            },
            change = follower.next_change() => match change? {
                Change::Output(piece) => view.show(&piece),
                Change::Interrupt => follower.interrupt().await,
                Change::Leave => return Ok(follower.leave()),
                Change::Record => {}
                Change::Ended(code) => break code,
            },
        }
        view.draw(&follower.record);
    };
    view.finish(&follower.record, metrics, metrics_open).await?;
    follower.report(false, &[])?;
    Ok(code)
}

struct Inline {
    series: Vec<Series>,
    /// Lines of the picture that stands on the terminal.
    drawn: usize,
    live: bool,
    output: Output,
    /// The beginning of a line whose end has not come yet.
    open: Vec<u8>,
}

impl Inline {
    /// Draws the view over the last one.
    fn draw(&mut self, record: &RunRecord) {
        if self.live && record.state == stoa_core::run::RunState::Running {
            self.draw_now(record);
        }
    }

    fn draw_now(&mut self, record: &RunRecord) {
        let size = terminal::size();
        // One line less than there are, so that the terminal does not scroll.
        let height = usize::from(INLINE_HEIGHT.min(size.rows.saturating_sub(1)).max(3));
        let width = self.output.width.unwrap_or_else(|| usize::from(size.columns)).min(usize::from(size.columns));
        let lines = inline_view(record, &self.series, now(), width, height, self.output.theme);
        let erase = if self.live { ERASE_LINE } else { "" };
        let text = to_text(&lines, self.output.theme.color).replace('\n', &format!("{erase}\n"));
        let back = self.back();
        self.output.text(&format!("{back}{text}"));
        self.drawn = lines.len();
    }

    /// Moves to the first line of the picture and erases it.
    fn back(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\r\x1b[{lines}A{ERASE_BELOW}"),
        }
    }

    /// Output scrolls by above the picture: that of the preparation as it comes (progress bars move), the program's by lines.
    fn show(&mut self, piece: &pb::Output) {
        self.open.extend_from_slice(&piece.data);
        let by_lines = self.live && piece.stream() != pb::Stream::Preparation;
        let end = match self.open.iter().rposition(|byte| *byte == b'\n') {
            Some(last) if by_lines => last + 1,
            None if by_lines && self.open.len() < LOG_LINE_BYTES => return,
            _ => self.open.len(),
        };
        let mut text = self.back().into_bytes();
        text.extend(self.open.drain(..end));
        let mut out = io::stdout().lock();
        let _reader_left = out.write_all(&text).and_then(|()| out.flush());
    }

    /// Shows what is left of a last line without an end.
    fn show_rest(&mut self) {
        if !self.open.is_empty() {
            self.open.push(b'\n');
            self.show(&pb::Output::default());
        }
    }

    /// The last picture, with the last points.
    async fn finish(
        &mut self,
        record: &RunRecord,
        mut metrics: Streaming<pb::MetricsReply>,
        open: bool,
    ) -> Result<(), Failure> {
        const LAST_POINTS: Duration = Duration::from_secs(5);
        let until = tokio::time::Instant::now() + LAST_POINTS;
        while open && let Ok(Ok(Some(reply))) = tokio::time::timeout_at(until, metrics.message()).await {
            self.series = Curves::try_from(reply)?.series;
        }
        self.show_rest();
        let shown = self.series.iter().any(|series| series.summary.origin != stoa_core::metric::Origin::System);
        if self.live || shown {
            self.draw_now(record);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_lines_and_the_last_state_of_a_progress_bar() {
        let mut tail = Tail::default();
        tail.add(b"one\ntw");
        tail.add(b"o\n10%\r20%\r");
        tail.add(b"30%");
        assert_eq!(tail.lines(), ["one", "two", "30%"]);
    }

    #[test]
    fn a_tail_is_bounded() {
        let mut tail = Tail::default();
        tail.add(&vec![b'x'; 3 * LOG_LINE_BYTES]);
        tail.add(&b"\n".repeat(LOG_LINES * 2));
        assert_eq!(tail.lines().len(), LOG_LINES);
    }

    #[test]
    fn arrow_and_page_keys_act() {
        assert_eq!(action_of(b"\x1b[A"), Some(Action::Up));
        assert_eq!(action_of(b"q"), Some(Action::Quit));
        assert_eq!(action_of(b"\x1b[Z"), None);
    }
}
