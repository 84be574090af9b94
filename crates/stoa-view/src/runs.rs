//! Runs as a table and in detail.

use crate::moment::Now;
use crate::style::{Line, Style, Theme, Tint};
use crate::table::{Cell, Column, Table};
use crate::text::{sanitize, take_width, text_width};
use stoa_core::run::{EndReason, Enforcement, Limits, Network, RunRecord, RunState};
use stoa_core::units::show_span;

/// How a state looks: a sign, for those who do not see colours, and a colour.
pub(crate) const fn state_look(state: RunState) -> (&'static str, Tint) {
    match state {
        RunState::Queued => ("○", Tint::Muted),
        RunState::Preparing => ("◌", Tint::Accent),
        RunState::Running => ("●", Tint::Accent),
        RunState::Succeeded => ("✓", Tint::Good),
        RunState::Failed => ("✗", Tint::Bad),
        RunState::Stopped => ("■", Tint::Warning),
        RunState::Lost => ("?", Tint::Bad),
    }
}

/// Sign and word of a state; the word alone in ASCII.
pub(crate) fn state_text(state: RunState, theme: Theme) -> (String, Style) {
    let (sign, tint) = state_look(state);
    let text = if theme.unicode { format!("{sign} {state}") } else { state.to_string() };
    (text, Style::tint(tint))
}

/// The end of a run in a few words; empty for success, which its state says.
fn end_text(record: &RunRecord) -> String {
    match &record.end {
        None | Some(EndReason::Exited { code: 0 } | EndReason::Stopped { killed: false }) => String::new(),
        Some(end) => end.to_string(),
    }
}

/// A run in a table.
#[derive(Debug, Clone)]
pub struct RunRow<'a> {
    /// The run.
    pub record: &'a RunRecord,
    /// Its last metric, such as `loss 0.81`; the column is left out when no run has one.
    pub metric: Option<String>,
}

/// The answer of `stoa ps`.
#[derive(Debug, Clone)]
pub struct RunTable<'a> {
    /// In the order to show them.
    pub rows: Vec<RunRow<'a>>,
}

impl RunTable<'_> {
    /// A line per run below the headings; one line that says so when there is none.
    pub fn render(&self, width: Option<usize>, now: Now, theme: Theme) -> Vec<Line> {
        if self.rows.is_empty() {
            let mut line = Line::of("no runs yet; start one with ", Style::tint(Tint::Muted));
            line.push("stoa run SCRIPT", Style::tint(Tint::Accent));
            return vec![line];
        }
        let with_metric = self.rows.iter().any(|row| row.metric.is_some());
        let with_end = self.rows.iter().any(|row| !end_text(row.record).is_empty());
        let mut columns =
            vec![Column::left("RUN"), Column::elastic("NAME"), Column::left("STATE"), Column::elastic("WHAT")];
        columns.extend(with_metric.then(|| Column::left("LAST")));
        columns.extend([Column::right("AGE"), Column::right("TOOK")]);
        columns.extend(with_end.then(|| Column::elastic("END")));
        let mut table = Table::new(columns);
        for row in &self.rows {
            let record = row.record;
            let (state, style) = state_text(record.state, theme);
            let mut cells = vec![
                Cell::new(record.id.as_str(), Style::tint(Tint::Accent)),
                Cell::new(&record.name, Style::bold(Tint::Plain)),
                Cell::new(state, style),
                Cell::plain(record.spec.program.summary()),
            ];
            cells.extend(with_metric.then(|| Cell::plain(row.metric.as_deref().unwrap_or_default())));
            cells.push(Cell::new(now.age(record.created), Style::tint(Tint::Muted)));
            cells.push(Cell::plain(record.duration(now.time).map(show_span).unwrap_or_default()));
            cells.extend(with_end.then(|| Cell::new(end_text(record), style)));
            table.row(cells);
        }
        table.render(width, theme)
    }
}

/// The answer of `stoa show`.
#[derive(Debug, Clone)]
pub struct RunDetail<'a> {
    /// The run.
    pub record: &'a RunRecord,
}

/// Cells of the names of the fields.
const FIELD: usize = 12;

/// Collects fields under headings.
struct Page {
    lines: Vec<Line>,
    width: usize,
    heading: Option<&'static str>,
}

impl Page {
    /// Fields that follow stand below this heading; without any, it is left out.
    fn group(&mut self, heading: &'static str) {
        self.heading = Some(heading);
    }

    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.styled(name, value, Style::PLAIN);
    }

    fn styled(&mut self, name: &str, value: impl AsRef<str>, style: Style) {
        let value = sanitize(value.as_ref());
        if value.is_empty() {
            return;
        }
        if let Some(heading) = self.heading.take() {
            self.lines.push(Line::new());
            self.lines.push(Line::of(heading, Style::bold(Tint::Plain)));
        }
        let room = self.width.saturating_sub(FIELD + 4).max(16);
        for (index, part) in wrap(&value, room).into_iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let mut line = Line::of(format!("  {name:<FIELD$}  "), Style::tint(Tint::Muted));
            line.push(part, style);
            self.lines.push(line);
        }
    }
}

/// Breaks a text at blanks; inside a word only when it is longer than a line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let mut word = word;
        if let Some(last) = lines.last_mut()
            && text_width(last) + 1 + text_width(word) <= width
        {
            last.push(' ');
            last.push_str(word);
            continue;
        }
        while text_width(word) > width {
            // A character wider than the line is taken as it is, so that the loop ends.
            let most = take_width(word, width).len().max(word.chars().next().map_or(0, char::len_utf8));
            lines.push(word[..most].to_owned());
            word = &word[most..];
        }
        lines.push(word.to_owned());
    }
    lines
}

impl RunDetail<'_> {
    /// Everything known of the run, in groups.
    pub fn render(&self, width: usize, now: Now, theme: Theme) -> Vec<Line> {
        let record = self.record;
        let mut page = Page { lines: Vec::new(), width, heading: None };
        let mut first = Line::of(sanitize(&record.name), Style::bold(Tint::Plain));
        first.push(format!("  {}  ", record.id), Style::tint(Tint::Accent));
        let (state, style) = state_text(record.state, theme);
        first.push(state, style);
        page.lines.push(first);
        self.end(&mut page, style);
        self.what(&mut page);
        self.times(&mut page, now);
        self.resources(&mut page);
        self.isolation(&mut page);
        self.code_and_environment(&mut page);
        self.host(&mut page);
        self.next(&mut page);
        page.lines
    }

    fn end(&self, page: &mut Page, style: Style) {
        let Some(end) = &self.record.end else { return };
        page.styled("end", end.to_string(), style);
        if let EndReason::Infrastructure { failure } = end {
            failure.causes.iter().for_each(|cause| page.field("cause", cause));
            page.styled("hint", failure.hint.as_deref().unwrap_or_default(), Style::tint(Tint::Accent));
        }
        if let Some(code) = self.record.exit_code {
            page.field("exit code", code.to_string());
        }
    }

    fn what(&self, page: &mut Page) {
        let record = self.record;
        page.group("What");
        page.field("program", record.spec.program.summary());
        page.field("command", record.command.join(" "));
        page.field("folder", record.spec.cwd.display().to_string());
        page.field("kept files", record.dir.display().to_string());
        page.field("repeats", record.spec.repeats.as_ref().map(ToString::to_string).unwrap_or_default());
    }

    fn times(&self, page: &mut Page, now: Now) {
        let record = self.record;
        page.group("Times");
        page.field("accepted", format!("{} ({} ago)", now.date_time(record.created), now.age(record.created)));
        page.field("started", record.started.map(|time| now.date_time(time)).unwrap_or_default());
        page.field("ended", record.ended.map(|time| now.date_time(time)).unwrap_or_default());
        page.field("took", record.duration(now.time).map(show_span).unwrap_or_default());
        if record.attempt > 1 || record.spec.retries > 0 {
            page.field("attempt", format!("{} of at most {}", record.attempt, record.spec.retries + 1));
        }
    }

    fn resources(&self, page: &mut Page) {
        let usage = &self.record.usage;
        page.group("Resources");
        if self.record.started.is_some() {
            page.field("cpu", format!("{} user, {} system", show_span(usage.cpu_user), show_span(usage.cpu_system)));
            page.field("memory", usage.peak_memory.map(|peak| format!("{peak} at most")).unwrap_or_default());
            page.field("storage", format!("{} read, {} written", usage.read, usage.written));
            page.field("gpu memory", usage.peak_gpu_memory.map(|peak| format!("{peak} at most")).unwrap_or_default());
            page.field("output", format!("{} kept", self.record.output));
        }
        if self.record.output_lost.0 > 0 {
            page.styled(
                "output",
                format!("{} lost: the disk was full", self.record.output_lost),
                Style::tint(Tint::Bad),
            );
        }
        page.field("limits", limits_text(&self.record.spec.limits));
    }

    fn isolation(&self, page: &mut Page) {
        page.group("Isolation");
        let network = if self.record.spec.network == Network::None { "none" } else { "the host's" };
        page.field("network", network);
        for mechanism in &self.record.isolation {
            let (style, text) = match mechanism.enforcement {
                Enforcement::InForce => (Style::PLAIN, "in force"),
                Enforcement::NotAsked => (Style::tint(Tint::Muted), "not asked for"),
                Enforcement::Degraded => (Style::bold(Tint::Warning), "NOT in force, accepted by --allow-degraded"),
            };
            let detail = if mechanism.detail.is_empty() { String::new() } else { format!(" ({})", mechanism.detail) };
            page.styled(&sanitize(&mechanism.name), format!("{text}{detail}"), style);
        }
        for mount in &self.record.spec.mounts {
            let how = if mount.writable { "writable" } else { "read-only" };
            page.field("mount", format!("{} ({how})", mount.path.display()));
        }
    }

    fn code_and_environment(&self, page: &mut Page) {
        page.group("Code");
        if let Some(code) = &self.record.code {
            let commit = code.commit.as_deref().map_or("no commit yet", |commit| take_width(commit, 12));
            let branch = code.branch.as_ref().map(|branch| format!(" on {branch}")).unwrap_or_default();
            page.field("commit", format!("{commit}{branch}"));
            page.field("changes", if code.changed { "uncommitted, kept as code/changes.patch" } else { "none" });
            if !code.untracked_kept.is_empty() {
                page.field("untracked", format!("{} kept in code/untracked", code.untracked_kept.len()));
            }
            if code.untracked_left > 0 {
                page.styled(
                    "not kept",
                    format!("{} untracked, too large or too many", code.untracked_left),
                    Style::tint(Tint::Warning),
                );
            }
        }
        page.group("Environment");
        if let Some(environment) = &self.record.environment {
            page.field("language", &environment.language);
            page.field("interpreter", environment.interpreter.display().to_string());
            page.field("packages", format!("{} from {}", environment.lock.len(), environment.source));
            page.field("key", environment.key.as_deref().unwrap_or_default());
        }
        let named: Vec<String> = self.record.spec.named_env.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
        page.field("variables", named.join(" "));
        page.field("hidden", self.record.spec.hidden_env.join(" "));
    }

    fn host(&self, page: &mut Page) {
        let host = &self.record.host;
        page.group("Host");
        page.field("name", &host.name);
        page.field("system", join(&[&host.system, &host.kernel]));
        if host.cpus > 0 {
            page.field("processors", format!("{} ({})", host.cpus, host.cpu));
            page.field("memory", host.memory.to_string());
        }
        host.gpus.iter().for_each(|gpu| page.field("gpu", gpu));
    }

    /// Commands that make sense now.
    fn next(&self, page: &mut Page) {
        let id = &self.record.id;
        page.group("Next");
        let commands: &[(&str, &str)] = if self.record.state.ended() {
            &[("output", "logs"), ("curves", "plot"), ("repeat it", "again")]
        } else {
            &[("output", "logs -f"), ("live curves", "watch"), ("end it", "stop")]
        };
        for (what, command) in commands {
            page.styled(what, format!("stoa {command} {id}"), Style::tint(Tint::Accent));
        }
    }
}

fn join(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(", ")
}

fn limits_text(limits: &Limits) -> String {
    let parts = [
        limits.cpus.map(|cpus| format!("{cpus} CPUs")),
        limits.memory.map(|memory| format!("{memory} memory")),
        limits.pids.map(|pids| format!("{pids} processes")),
        limits.gpus.map(|gpus| format!("{gpus} GPUs")),
        limits.time.map(|time| format!("{} wall clock", show_span(time))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{NOW, record};
    use crate::style::{ColorDepth, to_text};
    use expect_test::expect;
    use proptest::prelude::*;

    const UNICODE: Theme = Theme { unicode: true, ..Theme::PLAIN };

    #[test]
    fn a_list_of_runs_is_one_line_each() {
        let running = record("cartpole-ppo", RunState::Running, None);
        let failed = record("sweep\u{1b}[31m", RunState::Failed, Some(EndReason::Signaled { signal: 9 }));
        let row = |record, metric: Option<&str>| RunRow { record, metric: metric.map(str::to_owned) };
        let table = RunTable { rows: vec![row(&running, Some("reward 475")), row(&failed, None)] };
        expect![[r#"
            RUN         NAME          STATE      WHAT                 LAST        AGE      TOOK  END
            r-01234567  cartpole-ppo  ● running  train.py --epochs 3  reward 475   5m  4 m 02 s
            r-01234567  sweep         ✗ failed   train.py --epochs 3               5m  1 m 00 s  killed by signal 9 (SIGKILL)
        "#]]
        .assert_eq(&to_text(&table.render(None, NOW, UNICODE), ColorDepth::None));
        let none = RunTable { rows: Vec::new() }.render(Some(80), NOW, UNICODE);
        assert_eq!(to_text(&none, ColorDepth::None), "no runs yet; start one with stoa run SCRIPT\n");
    }

    #[test]
    fn a_run_in_detail_has_all_groups() {
        let limit = EndReason::OutOfMemory { limit: Some(stoa_core::units::Bytes(64 << 20)) };
        let record = record("big", RunState::Failed, Some(limit));
        let text = to_text(&RunDetail { record: &record }.render(72, NOW, UNICODE), ColorDepth::None);
        expect![[r#"
            big  r-01234567  ✗ failed
              end           out of memory (limit 64 MiB)
              exit code     137

            What
              program       train.py --epochs 3
              command       /opt/python3.12/bin/python3 train.py --epochs 3
              folder        /srv/cartpole
              kept files    /srv/.local/share/stoa/runs/r-01234567/files

            Times
              accepted      2025-12-31 23:55:00 (5m ago)
              started       2025-12-31 23:55:58
              ended         2025-12-31 23:56:58
              took          1 m 00 s

            Resources
              cpu           3 m 44 s user, 5.3 s system
              memory        612 MiB at most
              storage       96 MiB read, 3 MiB written
              output        48 KiB kept
              limits        2 CPUs, 2 GiB memory

            Isolation
              network       the host's
              landlock      in force (ABI 7)
              seccomp       in force
              memory-limit  NOT in force, accepted by --allow-degraded (no cgroup
                            controller)
              mount         /data/sets (read-only)

            Code
              commit        4f2a9c81d0e3 on main
              changes       uncommitted, kept as code/changes.patch
              untracked     1 kept in code/untracked
              not kept      2 untracked, too large or too many

            Environment
              language      python
              interpreter   /opt/python3.12/bin/python3
              packages      2 from PEP 723 block of train.py
              key           9f86d081884c
              variables     SEED=7
              hidden        AWS_SECRET_ACCESS_KEY

            Host
              name          workstation
              system        Debian 12, 6.12.0
              processors    16 (x86-64)
              memory        64 GiB

            Next
              output        stoa logs r-01234567
              curves        stoa plot r-01234567
              repeat it     stoa again r-01234567
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn long_texts_break_at_blanks() {
        assert_eq!(wrap("a long line of words", 7), ["a long", "line of", "words"]);
        assert_eq!(wrap("unbreakable", 5), ["unbre", "akabl", "e"]);
    }

    proptest! {
        #[test]
        fn details_fit_any_width(width in 32usize..200, name in ".{0,40}") {
            let record = record(&name, RunState::Running, None);
            let lines = (RunDetail { record: &record }).render(width, NOW, Theme::PLAIN);
            for line in lines.iter().skip(1) {
                prop_assert!(line.width() <= width, "{}", line.to_plain());
            }
        }

        #[test]
        fn wrapping_always_ends(text in ".{0,40}", width in 0usize..10) {
            prop_assert!(wrap(&text, width).iter().all(|line| text_width(line) <= width.max(2)));
        }
    }
}
