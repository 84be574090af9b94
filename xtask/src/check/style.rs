//! What every file has to look like, beyond what rustfmt and clippy enforce.

use super::source::{code_only, without_tests};
use crate::proto::GENERATED;
use crate::workspace::Workspace;
use anyhow::Result;
use std::fs;

/// Longer files are split by idea; a reader holds about this much in mind at once.
const MOST_LINES: usize = 900;

/// The only crates that may contain `unsafe`; every other crate forbids it.
const UNSAFE_CRATES: [&str; 4] = ["stoa-bpf", "stoa-hw", "stoa-sys", "stoa-vmm"];

/// Marks of unfinished work, in two halves so that this list does not find itself.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("to", "do!("),
    concat!("un", "implemented!("),
    concat!("db", "g!("),
];

/// Hosts of package registries; which ones are used is the user's configuration.
const REGISTRIES: [&str; 6] = [
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("crates", ".io/"),
    concat!("index.crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("proxy.go", "lang.org"),
];

/// Folders of people: a path below one of these is right on one machine only.
const HOMES: [&str; 3] = ["/home/", "/root/", "/Users/"];

/// Files whose content is not ours to style.
const FOREIGN: [&str; 4] = ["Cargo.lock", "uv.lock", "LICENSE-APACHE", "LICENSE-MIT"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in workspace.files()? {
        if file.starts_with(GENERATED) && !file.ends_with("/mod.rs") || foreign(&file) {
            continue;
        }
        // What is not text has no style.
        let Ok(text) = fs::read_to_string(workspace.path(&file)) else { continue };
        findings.extend(any_file(&file, &text));
        if file.ends_with(".rs") {
            findings.extend(rust_file(&file, &text));
        }
        if file.ends_with("/Cargo.toml") {
            findings.extend(manifest(&file, &text));
        }
    }
    Ok(findings)
}

fn foreign(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    FOREIGN.contains(&name)
}

/// Whether a file only serves tests, where paths of other machines are examples.
fn serves_tests(file: &str) -> bool {
    file.split('/').any(|part| ["tests", "tests.rs", "fixture.rs", "fixtures"].contains(&part))
        || file.starts_with("crates/stoa-testkit/")
}

fn any_file(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        for mark in UNFINISHED.iter().filter(|mark| contains_word(line, mark)) {
            findings.push(format!("{place}: `{mark}` marks unfinished work: finish it or open an issue"));
        }
        for host in REGISTRIES.iter().filter(|host| line.contains(*host)) {
            findings.push(format!("{place}: `{host}` is a registry: which one is used is the user's configuration"));
        }
    }
    if is_code(file) && !serves_tests(file) {
        findings.extend(homes(file, text));
    }
    findings
}

fn is_code(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    [".rs", ".py", ".sh", ".proto"].iter().any(|extension| name.ends_with(extension)) || !name.contains('.')
}

fn homes(file: &str, text: &str) -> Vec<String> {
    let code = if file.ends_with(".rs") { without_tests(text) } else { text };
    let mut findings = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let start = line.trim_start();
        if start.starts_with("//") || start.starts_with('#') {
            continue;
        }
        let line = line.split(" // ").next().unwrap_or(line);
        let named = |home: &&&str| line.match_indices(**home).any(|(at, _)| names_someone(line, at, home.len()));
        if let Some(home) = HOMES.iter().find(named) {
            let place = format!("{file}:{}", number + 1);
            findings.push(format!("{place}: a path below `{home}` is right on one machine only"));
        }
    }
    findings
}

/// Whether the folder at `at` starts a path and a name follows: not `/proc/1/root/tmp`, `/root/..` or `/home/`.
fn names_someone(line: &str, at: usize, length: usize) -> bool {
    let before = line[..at].chars().next_back();
    let starts = before.is_none_or(|c| !c.is_alphanumeric() && !"}_*.~".contains(c));
    let after = line[at + length..].trim_start_matches(['.', '_']);
    let dots = line.len() - at - length - after.len();
    starts && dots <= 1 && after.starts_with(char::is_alphanumeric)
}

fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joins(before) && (word.ends_with(['(', ':']) || !joins(after))
    })
}

fn rust_file(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push(format!("{file}:1: the first line is not a `//!` line that says what the file is for"));
    }
    let lines = text.lines().count();
    if lines > MOST_LINES {
        findings.push(format!("{file}: {lines} lines, {MOST_LINES} at most: split it by idea"));
    }
    let code = code_only(text);
    let may_be_unsafe = UNSAFE_CRATES.iter().any(|name| file.starts_with(&format!("crates/{name}/")));
    if !may_be_unsafe {
        findings.extend(
            lines_with(&code, "unsafe")
                .map(|line| format!("{file}:{line}: `unsafe` is only for {}", UNSAFE_CRATES.join(", "))),
        );
        let root = file.ends_with("/src/lib.rs") || file.ends_with("/src/main.rs");
        if root && !code.contains("#![forbid(unsafe_code)]") {
            findings.push(format!("{file}: `#![forbid(unsafe_code)]` is missing"));
        }
    }
    findings.extend(attributes(file, text, &code));
    findings
}

/// The numbers of the lines that hold `word`.
fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines().enumerate().filter(move |(_, line)| contains_word(line, word)).map(|(number, _)| number + 1)
}

/// Lints are silenced by `expect` with a reason, so that the silence ends with its cause.
fn attributes(file: &str, text: &str, code: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let code_lines: Vec<&str> = code.lines().collect();
    let text_lines: Vec<&str> = text.lines().collect();
    for (at, line) in code_lines.iter().enumerate() {
        let place = format!("{file}:{}", at + 1);
        let attribute = line.trim_start();
        if attribute.starts_with("#[allow(") || attribute.starts_with("#![allow(") {
            findings.push(format!(
                "{place}: use `#[expect(..., reason = \"...\")]`, which complains when it is not needed"
            ));
        }
        if attribute.starts_with("#[expect(") || attribute.starts_with("#![expect(") {
            let rest = code_lines.iter().zip(&text_lines).skip(at);
            let whole: Vec<&str> = rest
                .scan(false, |done, (code, text)| {
                    let more = !*done;
                    *done = code.contains(")]");
                    more.then_some(*text)
                })
                .collect();
            if !whole.iter().any(|line| line.contains("reason =")) {
                findings.push(format!("{place}: this `expect` gives no reason"));
            }
        }
    }
    findings
}

fn manifest(file: &str, text: &str) -> Vec<String> {
    let lints = text.lines().skip_while(|line| line.trim() != "[lints]").any(|line| line.trim() == "workspace = true");
    let mut findings = Vec::new();
    if !lints {
        findings.push(format!("{file}: `[lints] workspace = true` is missing"));
    }
    for key in ["edition", "license", "rust-version"] {
        if !text.lines().any(|line| line.trim() == format!("{key}.workspace = true")) {
            findings.push(format!("{file}: `{key}.workspace = true` is missing"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! Reads.\n#![forbid(unsafe_code)]\n";

    fn rust(file: &str, body: &str) -> Vec<String> {
        rust_file(file, &format!("{GOOD}{body}"))
    }

    #[test]
    fn a_good_file_has_no_findings() {
        assert_eq!(rust("crates/stoa-x/src/lib.rs", "#[expect(dead_code, reason = \"x\")]\nfn f() {}\n"), [""; 0]);
        assert_eq!(any_file("crates/stoa-x/src/lib.rs", "let x = \"/home/\"; // /home/ada\n"), [""; 0]);
        assert_eq!(any_file("crates/stoa-x/tests/a.rs", "let x = \"/home/ada\";\n"), [""; 0]);
    }

    #[test]
    fn each_rule_is_seen_to_fail() {
        for (file, body, part) in [
            ("crates/stoa-x/src/a.rs", "fn f() { unsafe { g() } }\n", ":3: `unsafe` is only for"),
            ("crates/stoa-x/src/a.rs", "#[allow(dead_code)]\n", ":3: use `#[expect("),
            ("crates/stoa-x/src/a.rs", "#[expect(dead_code)]\nfn reason() {}\n", ":3: this `expect` gives no reason"),
            (
                "crates/stoa-x/src/a.rs",
                "#[expect(\n    dead_code\n)]\nconst X: &str = \"reason =\";\n",
                "gives no reason",
            ),
        ] {
            let found = rust(file, body);
            assert!(found.len() == 1 && found[0].contains(part), "{body}: {found:?}");
        }
        assert!(rust_file("crates/stoa-x/src/a.rs", "use a;\n")[0].contains("first line"));
        assert!(rust_file("crates/stoa-x/src/lib.rs", "//! A.\n")[0].contains("forbid(unsafe_code)"));
        assert!(rust("crates/stoa-x/src/a.rs", &"x;\n".repeat(900))[0].contains("902 lines"));
        assert!(rust_file("crates/stoa-sys/src/a.rs", "//! A.\nunsafe { g() }\n").is_empty());
        for line in [
            concat!("// TO", "DO: later"),
            concat!("db", "g!(x)"),
            concat!("fetch(\"https://pypi", ".org/simple\")"),
            concat!("open(\"/ho", "me/ada/x\")"),
            concat!("open(\"/ro", "ot/.cache\")"),
        ] {
            assert_eq!(any_file("crates/stoa-x/src/a.rs", line).len(), 1, "{line}");
        }
        assert_eq!(manifest("crates/stoa-x/Cargo.toml", "[package]\n").len(), 4);
    }

    #[test]
    fn folders_that_name_nobody_are_no_findings() {
        for line in ["\"/root/..\"", "format!(\"/proc/{pid}/root/tmp\")", "\"/home/\"", "\"/proc/self/root/tmp\""] {
            assert_eq!(any_file("crates/stoa-x/src/a.rs", line), [""; 0], "{line}");
        }
    }

    #[test]
    fn words_inside_words_are_no_findings() {
        assert!(contains_word("an unsafe block", "unsafe"));
        assert!(!contains_word("unsafe_code", "unsafe"));
        assert!(!contains_word("mastodon", concat!("to", "do!(")));
    }
}
