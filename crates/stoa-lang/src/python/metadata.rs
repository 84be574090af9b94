//! Inline script metadata: the `# /// script` block of [PEP 723](https://peps.python.org/pep-0723/).
//!
//! Finds exactly the blocks that the reference regular expression of the PEP finds:
//! `(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$`. A block without end is therefore no block,
//! and the last `# ///` of a run of comment lines ends it.

use super::specifier::Specifiers;
use crate::spelling;

/// What a script says it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The TOML text of the block, without comment signs.
    pub text: String,
    /// Its `dependencies`, as written.
    pub dependencies: Vec<String>,
    /// Its `requires-python`.
    pub requires_python: Option<Specifiers>,
    /// Whether it has settings for uv (`[tool.uv]`).
    pub uv_settings: bool,
    /// Whether `[tool.uv]` names sources on this machine, so that the block means something else elsewhere.
    pub local_sources: bool,
    /// Those of them that are copied when they are installed, relative to the script.
    pub copied_sources: Vec<String>,
}

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct BadMetadata {
    /// The line in the script, counted from 1.
    pub line: usize,
    /// What is wrong, in words.
    pub message: String,
}

/// One block: its type, the line of its opening counted from 0, and its content.
struct Block {
    kind: String,
    line: usize,
    content: String,
}

/// Reads the `script` block of a Python source; `None` when it has none.
pub fn read(source: &[u8]) -> Result<Option<Metadata>, BadMetadata> {
    // Most scripts have no block; they pay for one search.
    if !source.windows(7).any(|window| window == b"# /// s") {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(source).replace("\r\n", "\n").replace('\r', "\n");
    let mut scripts = blocks(&text).into_iter().filter(|block| block.kind == "script");
    let Some(block) = scripts.next() else { return Ok(None) };
    if let Some(second) = scripts.next() {
        let message = format!("a second `# /// script` block; the first is on line {}", block.line + 1);
        return Err(BadMetadata { line: second.line + 1, message });
    }
    parse(&block).map(Some)
}

fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let block = opening(lines[at]).and_then(|kind| Some((kind, closing(&lines, at)?)));
        let Some((kind, end)) = block else {
            at += 1;
            continue;
        };
        let content = lines[at + 1..end].iter().map(|line| uncomment(line)).collect::<Vec<_>>().join("\n");
        found.push(Block { kind: kind.to_owned(), line: at, content });
        at = end + 1;
    }
    found
}

/// The type of a block that this line opens.
fn opening(line: &str) -> Option<&str> {
    let kind = line.strip_prefix("# /// ")?;
    let good = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    good.then_some(kind)
}

/// The last `# ///` of the comment lines that follow `start`, with at least one line between.
fn closing(lines: &[&str], start: usize) -> Option<usize> {
    let comments = lines[start + 1..].iter().take_while(|line| **line == "#" || line.starts_with("# ")).count();
    (start + 2..=start + comments).rev().find(|&at| lines[at] == "# ///")
}

fn uncomment(line: &str) -> &str {
    line.strip_prefix("# ").or_else(|| line.strip_prefix('#')).unwrap_or(line)
}

fn parse(block: &Block) -> Result<Metadata, BadMetadata> {
    // The content starts on the line after the opening; both are counted from 1 for people.
    let first = block.line + 2;
    let bad = |line: usize, message: String| BadMetadata { line, message };
    let table: toml::Table = block.content.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        bad(first + line_of(&block.content, offset), error.message().to_owned())
    })?;
    let line = |key: &str| first + line_of_key(&block.content, key);
    for key in table.keys().filter(|key| !["dependencies", "requires-python", "tool"].contains(&key.as_str())) {
        let known = ["dependencies", "requires-python", "tool"].map(str::to_owned);
        if let Some(near) = spelling::nearest(key, known) {
            return Err(bad(line(key), format!("`{key}` is not a known field; did you mean `{near}`?")));
        }
    }
    let dependencies = match table.get("dependencies") {
        None => Vec::new(),
        Some(value) => strings(value)
            .ok_or_else(|| bad(line("dependencies"), "`dependencies` must be a list of strings".to_owned()))?,
    };
    let requires_python = match table.get("requires-python") {
        None => None,
        Some(toml::Value::String(text)) => {
            Some(text.parse().map_err(|error| bad(line("requires-python"), format!("`requires-python`: {error}")))?)
        }
        Some(_) => return Err(bad(line("requires-python"), "`requires-python` must be a string".to_owned())),
    };
    let (uv_settings, sources) = match table.get("tool") {
        None => (false, Vec::new()),
        Some(toml::Value::Table(tool)) => (tool.contains_key("uv"), local_sources(tool)),
        Some(_) => return Err(bad(line("tool"), "`tool` must be a table".to_owned())),
    };
    if block.content.lines().any(|line| line.starts_with("tool.")) {
        return Err(bad(line("tool."), "write settings of tools as a table: `[tool.uv]`".to_owned()));
    }
    Ok(Metadata {
        text: block.content.clone(),
        dependencies,
        requires_python,
        uv_settings,
        local_sources: !sources.is_empty(),
        copied_sources: copied(&sources),
    })
}

/// The strings of a list; `None` for anything else.
pub(crate) fn strings(value: &toml::Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The entries of `[tool.uv.sources]` with `path` or `workspace`.
fn local_sources(tool: &toml::Table) -> Vec<&toml::Value> {
    let sources = tool.get("uv").and_then(|uv| uv.get("sources")).and_then(toml::Value::as_table);
    let entries = sources.into_iter().flat_map(toml::Table::values);
    let single = entries.flat_map(|entry| entry.as_array().map_or_else(|| vec![entry], |list| list.iter().collect()));
    single.filter(|entry| entry.get("path").is_some() || entry.get("workspace").is_some()).collect()
}

/// The paths of those that are not linked (`editable`): their content at the time of installation counts.
fn copied(sources: &[&toml::Value]) -> Vec<String> {
    let linked = |entry: &toml::Value| entry.get("editable").and_then(toml::Value::as_bool) == Some(true);
    let copied = sources.iter().filter(|entry| !linked(entry));
    copied.filter_map(|entry| entry.get("path")?.as_str().map(str::to_owned)).collect()
}

/// The paths that a project file installs by copying.
pub(crate) fn copied_by(project: &toml::Table) -> Vec<String> {
    let tool = project.get("tool").and_then(toml::Value::as_table);
    tool.map(|tool| copied(&local_sources(tool))).unwrap_or_default()
}

/// How many lines precede a byte of the text.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

fn line_of_key(text: &str, key: &str) -> usize {
    let names = [key.to_owned(), format!("\"{key}\""), format!("[{key}"), format!("[[{key}")];
    text.lines().position(|line| names.iter().any(|name| line.trim_start().starts_with(name.as_str()))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn good(source: &str) -> Metadata {
        read(source.as_bytes()).unwrap().unwrap()
    }

    fn bad(source: &str) -> String {
        read(source.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_block_is_read_as_the_pep_shows_it() {
        let source = "#!/usr/bin/env python\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#\n#   \"rich\",\n# ]\n# ///\n\nimport requests\n";
        let metadata = good(source);
        assert_eq!(metadata.dependencies, ["requests<3", "rich"]);
        assert_eq!(metadata.requires_python.unwrap().to_string(), ">=3.11");
        assert_eq!(good(&source.replace('\n', "\r\n")).dependencies, ["requests<3", "rich"]);
    }

    #[test]
    fn what_the_reference_expression_does_not_match_is_no_block() {
        for source in [
            "import os\n",
            "# /// script\n# dependencies = []\n",
            "# /// script\n# ///\n",
            " # /// script\n # dependencies = []\n # ///\n",
            "# /// script\n#dependencies = []\n# ///\n",
            "# /// script \n# dependencies = []\n# ///\n",
            "# /// script\n\n# dependencies = []\n# ///\n",
            "# /// other\n# /// script\n# dependencies = []\n# ///\n",
            "# /// s",
        ] {
            assert_eq!(read(source.as_bytes()), Ok(None), "{source:?}");
        }
    }

    #[test]
    fn the_last_end_of_a_run_of_comments_counts() {
        let source = "# /// script\n# dependencies = [\"a\"]\n# ///\n# text = 1\n# ///\n";
        assert_eq!(bad(source), "line 3: key with no value, expected `=`");
        assert_eq!(good("# /// script\n# dependencies = [\"a\"]\n# ///").dependencies, ["a"]);
    }

    #[test]
    fn errors_name_the_line_of_the_script() {
        let block = |body: &str| format!("import x\n\n# /// script\n{body}\n# ///\n");
        assert!(
            bad(&block("# dependencies = [\"a\"\n# b = 1")).starts_with("line 5: "),
            "{}",
            bad(&block("# dependencies = [\"a\"\n# b = 1"))
        );
        assert_eq!(bad(&block("#\n# dependencies = \"a\"")), "line 5: `dependencies` must be a list of strings");
        assert_eq!(bad(&block("# dependencies = [1]")), "line 4: `dependencies` must be a list of strings");
        assert_eq!(bad(&block("# requires-python = 3.11")), "line 4: `requires-python` must be a string");
        assert_eq!(
            bad(&block("# requires-python = \"three\"")),
            "line 4: `requires-python`: `three` does not start with one of ~= == != <= >= < > ==="
        );
        assert_eq!(
            bad(&block("# dependecies = []")),
            "line 4: `dependecies` is not a known field; did you mean `dependencies`?"
        );
        let twice = block("# dependencies = []").repeat(2);
        assert_eq!(bad(&twice), "line 8: a second `# /// script` block; the first is on line 3");
    }

    #[test]
    fn settings_of_uv_are_noticed() {
        let settings = |rest: &str| {
            let metadata = good(&format!("# /// script\n# dependencies = [\"a\"]\n{rest}# ///\n"));
            (metadata.uv_settings, metadata.local_sources)
        };
        assert_eq!(settings("# [tool.ruff]\n# x = 1\n"), (false, false));
        assert_eq!(settings("# [tool.uv]\n# exclude-newer = \"2025-01-01\"\n"), (true, false));
        assert_eq!(settings("# [tool.uv.sources]\n# a = { index = \"mine\" }\n"), (true, false));
        assert_eq!(settings("# [tool.uv.sources]\n# a = { path = \"../a\" }\n"), (true, true));
        assert_eq!(
            bad("# /// script\n# dependencies = []\n# tool.uv.x = 1\n# ///\n"),
            "line 3: write settings of tools as a table: `[tool.uv]`"
        );
    }

    #[test]
    fn a_source_that_is_not_utf_8_is_read() {
        let mut source = b"# -*- coding: latin-1 -*-\n# \xe9\n\n# /// script\n# dependencies = []\n# ///\n".to_vec();
        source.extend_from_slice(b"x = '\xff'\n");
        assert!(read(&source).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn no_source_makes_the_parser_panic(source in "(# /// script\n|# ///\n|# dependencies = \\[\n|#\n|# \"a\"\\]\n|.*\n){0,12}") {
            let _ = read(source.as_bytes());
        }
    }
}
