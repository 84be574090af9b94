//! Turns what a failed preparation printed into error, cause and hint.

use super::prepare::FINDING_PYTHON;
use stoa_core::port::{Resolved, Step};
use stoa_core::{Exit, Failure};

/// Lines of output that are shown when no pattern fits.
const LAST_LINES: usize = 8;

const DISK_HINT: &str = "free some space, or set STOA_HOME to a folder on another disk";

/// A cause is cut here; the whole output is in the run's log.
const LONGEST_CAUSE: usize = 600;

/// What goes wrong with a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    DiskFull,
    TooOld,
    StaleLock,
    NoSuchPython,
    BadRequirement,
    NoSuchPackage,
    Offline,
    Forbidden,
    Certificate,
    Network,
    Unresolvable,
    Build,
    Killed,
}

/// Texts that give a trouble away; the first that appears decides, so the narrow ones stand before the wide ones.
const SIGNS: [(Trouble, &[&str]); 12] = [
    (Trouble::DiskFull, &["No space left on device", "os error 28", "Disk quota exceeded", "os error 122"]),
    (Trouble::TooOld, &["unexpected argument", "unrecognized subcommand"]),
    (Trouble::StaleLock, &["needs to be updated, but `--locked`", "Unable to find lockfile"]),
    (
        Trouble::NoSuchPython,
        &["No interpreter found for", "No download found for", "is incompatible with the project's Python requirement"],
    ),
    (
        Trouble::BadRequirement,
        &["Couldn't parse requirement", "Failed to parse", "Expected package name", "TOML parse error"],
    ),
    (Trouble::Offline, &["network was disabled", "network connectivity is disabled"]),
    (Trouble::Certificate, &["invalid peer certificate", "CERTIFICATE_VERIFY_FAILED"]),
    (Trouble::Forbidden, &["401 Unauthorized", "403 Forbidden"]),
    (
        Trouble::Network,
        &[
            "dns error",
            "tcp connect error",
            "Request failed after",
            "Failed to fetch",
            "Failed to download",
            "NewConnectionError",
            "operation timed out",
        ],
    ),
    (
        Trouble::NoSuchPackage,
        &["was not found in the package registry", "was not found in the provided package locations"],
    ),
    (Trouble::Unresolvable, &["No solution found", "requirements are unsatisfiable", "ResolutionImpossible"]),
    (Trouble::Build, &["Failed to build", "Build backend failed", "build backend returned an error"]),
];

/// What the user should read when a step of a preparation failed.
pub(crate) fn explain(resolved: &Resolved, step: &Step, output: &str) -> Failure {
    let output = plain(output);
    let source = resolved.environment.as_ref().map_or("the script", |environment| environment.source.as_str());
    let installing_uv = step.title.starts_with("Installing uv");
    let trouble = SIGNS.iter().find(|(_, texts)| texts.iter().any(|text| output.contains(text)));
    match trouble.map(|(trouble, _)| *trouble).or_else(|| killed(&output)) {
        Some(trouble) if installing_uv => about_uv(trouble, &output),
        Some(Trouble::Network | Trouble::NoSuchPython) if step.title.starts_with(FINDING_PYTHON) => {
            no_python(&step.title, &output)
        }
        Some(trouble) => about_dependencies(trouble, source, &output),
        None if installing_uv => about_uv(Trouble::Network, &output),
        None => Failure::new(Exit::Failed, format!("cannot prepare the environment: `{}` failed", step.title))
            .cause(last_lines(&output))
            .hint(format!("correct the dependencies in {source}, then run the command again")),
    }
}

/// No Python here fits, and none could be downloaded.
fn no_python(title: &str, output: &str) -> Failure {
    let wanted = title.strip_prefix(FINDING_PYTHON).unwrap_or_default().trim();
    let cause = if output.contains("://") { unreachable(output) } else { cause_of(output) };
    Failure::new(Exit::Unavailable, format!("no Python {wanted} is here, and none can be downloaded"))
        .cause(cause)
        .hint("install such a Python, connect to the network, or change `requires-python`")
}

fn killed(output: &str) -> Option<Trouble> {
    output.trim_end().ends_with("Killed").then_some(Trouble::Killed)
}

/// uv itself could not be installed.
fn about_uv(trouble: Trouble, output: &str) -> Failure {
    let failure = Failure::new(Exit::Unavailable, "cannot install uv, which installs the dependencies");
    match trouble {
        Trouble::DiskFull => failure.cause("the disk is full").hint(DISK_HINT),
        _ => failure.cause(cause_of(output)).hint(
            "connect to the network and run the command again, or install uv yourself, or activate a virtual environment",
        ),
    }
}

fn about_dependencies(trouble: Trouble, source: &str, output: &str) -> Failure {
    let fail = |exit, error: String| Failure::new(exit, error);
    match trouble {
        Trouble::DiskFull => fail(Exit::Unavailable, "cannot install the dependencies: the disk is full".into())
            .cause(
                ["space left", "quota", "os error"].iter().find_map(|sign| matching(output, sign)).unwrap_or_default(),
            )
            .hint(DISK_HINT),
        Trouble::TooOld => fail(Exit::Unavailable, "the uv on PATH is too old".into())
            .cause(cause_of(output))
            .hint("run `uv self update`, or take it off PATH: Stoa then installs its own"),
        Trouble::StaleLock => fail(Exit::Config, "the lock file no longer fits the declared dependencies".into())
            .cause(cause_of(output))
            .hint(match source.strip_prefix("PEP 723 block of ") {
                Some(script) => format!("run `uv lock --script {script}`, then run the command again"),
                None => "run `uv lock`, then run the command again".to_owned(),
            }),
        Trouble::NoSuchPython => fail(Exit::Unavailable, format!("no Python fits what {source} requires"))
            .cause(cause_of(output))
            .hint("install such a Python, or change `requires-python`"),
        Trouble::BadRequirement => fail(Exit::Config, format!("a dependency in {source} is not written correctly"))
            .cause(cause_of(output))
            .hint("write it like `numpy>=1.26`"),
        Trouble::NoSuchPackage => no_such_package(source, output),
        Trouble::Offline | Trouble::Network => {
            fail(Exit::Unavailable, "cannot reach the package index, and the dependencies are not cached".into())
                .cause(unreachable(output))
                .hint("connect to the network (or check the proxy) and run again; what is installed once runs without")
        }
        Trouble::Certificate => fail(Exit::Unavailable, "the certificate of the package index is not trusted".into())
            .cause(matching(output, "ertificate").unwrap_or_else(|| cause_of(output)))
            .hint("behind an inspecting proxy, set SSL_CERT_FILE to its certificate, or UV_SYSTEM_CERTS=1"),
        Trouble::Forbidden => fail(Exit::NotPermitted, "the package index refused access".into())
            .cause(cause_of(output))
            .hint("secrets are kept from runs: name them, such as `--env UV_INDEX_INTERNAL_PASSWORD`"),
        Trouble::Unresolvable => fail(Exit::Config, format!("the dependencies in {source} cannot be resolved"))
            .cause(cause_of(output))
            .hint("loosen the version that excludes the others"),
        Trouble::Build => fail(Exit::Failed, format!("a dependency in {source} cannot be built"))
            .cause(last_lines(output))
            .hint("choose a version with a wheel for this Python, or install what its build needs"),
        Trouble::Killed => fail(Exit::Failed, "installing the dependencies was killed".into())
            .cause("it ran into the memory limit, or somebody killed it")
            .hint("raise `--memory`"),
    }
}

/// `Because no-such-thing was not found in the package registry and ...`
fn no_such_package(source: &str, output: &str) -> Failure {
    let before = output.split(" was not found in the p").next().unwrap_or_default();
    let name = before.split_whitespace().next_back().unwrap_or("a dependency").trim_matches('`');
    Failure::new(Exit::Config, format!("the dependency `{name}` does not exist"))
        .cause(format!("{name} was not found in the package index"))
        .hint(format!("check its spelling in {source}"))
}

/// The host that could not be reached, where the output names one.
fn unreachable(output: &str) -> String {
    let host = output.split("://").nth(1).and_then(|rest| rest.split(['/', '`', ')', ' ', '\n']).next());
    let host = host.map(|host| host.rsplit('@').next().unwrap_or(host)).filter(|host| !host.is_empty());
    let why = ["failed to lookup address information", "Connection refused", "timed out", "network was disabled"];
    let why = why.iter().find(|why| output.contains(**why)).copied().unwrap_or("no connection");
    host.map_or_else(|| why.to_owned(), |host| format!("{host}: {why}"))
}

/// The text of uv's `cause:` line with what follows it, or of its `error:` line, or the last lines.
fn cause_of(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !is_drawing(line)).collect();
    let at =
        |marks: &[&str]| lines.iter().position(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark)));
    let Some(start) = at(&["cause:", "Caused by:", "╰─▶", "× "]).or_else(|| at(&["error:", "ERROR:"])) else {
        return last_lines(output);
    };
    let first = lines[start].trim_start().trim_start_matches(['×', '╰', '─', '▶', ' ']);
    // The number counts lines of a file that uv was given, not of the user's.
    let first = if first.contains("TOML parse error") { "" } else { first };
    let first =
        ["cause:", "Caused by:", "error:", "ERROR:"].iter().find_map(|mark| first.strip_prefix(mark)).unwrap_or(first);
    let rest = lines[start + 1..].iter().map(|line| line.trim());
    let rest = rest.take_while(|line| {
        !line.is_empty() && !["hint:", "cause:", "error:"].iter().any(|mark| line.starts_with(mark))
    });
    shorten(std::iter::once(first.trim()).chain(rest).collect::<Vec<_>>().join(" ").trim())
}

/// Whether a line only points into a quoted source: `1 | dependencies = [...]`, `  ^^^^`.
fn is_drawing(line: &str) -> bool {
    let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let marks = line.contains('^') && line.chars().all(|c| " |^".contains(c));
    marks || rest.starts_with('|')
}

fn matching(output: &str, text: &str) -> Option<String> {
    output.lines().find(|line| line.contains(text)).map(|line| shorten(line.trim().trim_start_matches("cause:").trim()))
}

fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let start = lines.len().saturating_sub(LAST_LINES);
    if lines.is_empty() { "it printed nothing".to_owned() } else { shorten(&lines[start..].join("\n    ")) }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_CAUSE) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Output without colours and without what a progress display overwrote.
fn plain(output: &str) -> String {
    let mut text = String::with_capacity(output.len());
    let mut chars = output.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' => text.push('\n'),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stoa_core::run::EnvironmentRef;

    fn explained(title: &str, output: &str) -> (String, u8) {
        let environment = EnvironmentRef {
            language: "python".into(),
            interpreter: "/x".into(),
            key: None,
            source: "PEP 723 block of train.py".into(),
            lock: Vec::new(),
        };
        let resolved = Resolved {
            argv: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            environment: Some(environment),
            preparation: None,
        };
        let step = Step { title: title.into(), argv: Vec::new(), env: Vec::new(), mounts: Vec::new() };
        let failure = explain(&resolved, &step, output);
        (failure.to_string(), failure.exit.code())
    }

    /// Output as uv 0.13.9 prints it.
    const NOT_FOUND: &str = "\u{1b}[31merror\u{1b}[0m: No solution found when resolving dependencies\n  cause: Because no-such-thing was not found in the package registry and you require no-such-thing, we can conclude that your requirements are unsatisfiable.\n";
    const CONFLICT: &str = "error: No solution found when resolving dependencies\n  cause: Because you require numpy<2 and numpy>=2.1, we can conclude that your requirements are unsatisfiable.\n";
    const NO_DNS: &str = "error: Request failed after 3 retries in 8.1s\n  cause: Failed to fetch: https://index.example/simple/numpy/\n  cause: client error (Connect)\n  cause: dns error\n  cause: failed to lookup address information: Name or service not known\n";
    const DISABLED: &str = "error: No solution found when resolving dependencies\n  cause: Because numpy needs to be downloaded from a registry, we can conclude that your requirements are unsatisfiable.\n\nhint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may only be read from the cache.\n";
    const SYNTAX: &str = "error: Couldn't parse requirement in `script.py` at position 0\n  cause: no such comparison operator \">=<\"\n         numpy >=< 3\n               ^^^^^\n";
    const NO_PYTHON: &str = "error: No interpreter found for Python >=3.99 in managed installations or search path\n\nhint: uv embeds available Python downloads\n";
    const STALE: &str = "Resolved 4 packages in 104ms\nerror: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.\n\nhint: To update the lockfile, run `uv lock`.\n";

    #[test]
    fn every_trouble_has_its_words_and_code() {
        for (output, error, code) in [
            (NOT_FOUND, "the dependency `no-such-thing` does not exist", 78),
            (CONFLICT, "the dependencies in PEP 723 block of train.py cannot be resolved", 78),
            (NO_DNS, "cannot reach the package index, and the dependencies are not cached", 69),
            (DISABLED, "cannot reach the package index, and the dependencies are not cached", 69),
            (SYNTAX, "a dependency in PEP 723 block of train.py is not written correctly", 78),
            (NO_PYTHON, "no Python fits what PEP 723 block of train.py requires", 69),
            (STALE, "the lock file no longer fits the declared dependencies", 78),
            (
                "error: failed to write\n  cause: No space left on device (os error 28)\n",
                "cannot install the dependencies: the disk is full",
                69,
            ),
            ("strange\n", "cannot prepare the environment: `Resolving dependencies` failed", 1),
        ] {
            let (text, exit) = explained("Resolving dependencies", output);
            assert!(text.starts_with(&format!("error: {error}\n  cause: ")), "{text}");
            assert!(text.contains("\n  hint: "), "{text}");
            assert_eq!(exit, code, "{text}");
        }
    }

    #[test]
    fn causes_are_those_that_uv_gave() {
        assert!(explained("x", CONFLICT).0.contains("cause: Because you require numpy<2 and numpy>=2.1"));
        assert!(explained("x", NO_DNS).0.contains("cause: index.example: failed to lookup address information"));
        assert!(explained("x", SYNTAX).0.contains("no such comparison operator"));
    }

    #[test]
    fn what_only_points_into_a_quoted_source_is_left_out() {
        let output = "error: TOML parse error at line 1, column 17\n  |\n1 | dependencies = [\"demo >=< 3\"]\n  |                 ^^^^\nno such comparison operator \">=<\"\ndemo >=< 3\n     ^^^\n";
        let (text, code) = explained("x", output);
        assert!(text.contains("cause: no such comparison operator \">=<\" demo >=< 3\n"), "{text}");
        assert_eq!(code, 78);
    }

    #[test]
    fn a_password_in_an_index_address_is_not_shown() {
        let (text, _) =
            explained("x", "error: Failed to fetch: https://me:pw@index.example/simple/a/\n  cause: dns error\n");
        assert!(text.contains("index.example") && !text.contains("pw"), "{text}");
    }

    #[test]
    fn a_python_that_cannot_be_downloaded_is_told_from_a_package() {
        let output = "error: Request failed after 3 retries in 10.4s\n  cause: Failed to download `https://host.example/cpython.tar.gz`\n  cause: dns error\n  cause: failed to lookup address information\n";
        let (text, code) = explained("Finding Python >=3.99", output);
        assert!(
            text.starts_with(
                "error: no Python >=3.99 is here, and none can be downloaded\n  cause: host.example: failed"
            ),
            "{text}"
        );
        assert_eq!(code, 69);
    }

    #[test]
    fn a_failed_installation_of_uv_is_told_apart() {
        let (text, code) = explained(
            "Installing uv 0.13.9",
            "ERROR: Could not find a version that satisfies the requirement uv==0.13.9\n",
        );
        assert!(text.starts_with("error: cannot install uv"), "{text}");
        assert_eq!(code, 69);
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(output in "(error: |cause: |\u{1b}\\[|://|@| was not found in the p|.|\n|\r){0,30}") {
            let _ = explained("x", &output);
        }
    }
}
