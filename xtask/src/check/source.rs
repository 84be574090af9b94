//! Rust source as the rules see it: code without comments, strings and tests.

/// The part of a file before its tests. Tests come last in a file, as the house style has it.
pub(super) fn without_tests(text: &str) -> &str {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim() == "#[cfg(test)]" {
            return &text[..start];
        }
        start += line.len();
    }
    text
}

/// How many lines hold code.
pub(super) fn code_lines(text: &str) -> usize {
    code_only(text).lines().filter(|line| !line.trim().is_empty()).count()
}

/// The text with everything in comments, strings and characters blanked out; lines keep their numbers. A string
/// leaves its quotes, so that a line that holds only text still counts as code.
pub(super) fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => blank(&mut out, &rest[..rest.find('\n').unwrap_or(rest.len())]),
            '/' if rest.starts_with("/*") => blank(&mut out, &rest[..block_comment(rest)]),
            '"' => quoted(&mut out, &rest[..string(rest)]),
            'r' | 'b' | 'c' if !ends_in_word(&out) => match raw_string(rest) {
                Some(length) => quoted(&mut out, &rest[..length]),
                None => keep(&mut out, first),
            },
            '\'' => match character(rest) {
                Some(length) => quoted(&mut out, &rest[..length]),
                None => keep(&mut out, first),
            },
            _ => keep(&mut out, first),
        };
        rest = &rest[length..];
    }
    out
}

fn keep(out: &mut String, c: char) -> usize {
    out.push(c);
    c.len_utf8()
}

fn blank(out: &mut String, part: &str) -> usize {
    out.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    part.len()
}

fn quoted(out: &mut String, part: &str) -> usize {
    out.extend(part.chars().map(|c| if c == '\n' || c == '"' { c } else { ' ' }));
    part.len()
}

fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The length of a comment that may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a string that starts at a quote.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"..."`, `br#"..."#` and the like; `None` when this is a word.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let inner = after.trim_start_matches('#');
    let hashes = after.len() - inner.len();
    let inner = inner.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - inner.len();
    Some(inner.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// The length of a character such as `'x'`, `'\n'` or `'\u{41}'`; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inner = &text[1..];
    let first = inner.chars().next()?;
    if first == '\\' {
        let escape = inner.chars().nth(1)?.len_utf8();
        return Some(1 + 1 + escape + inner[1 + escape..].find('\'')? + 1);
    }
    let length = first.len_utf8();
    inner[length..].starts_with('\'').then_some(1 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_stays() {
        for (text, code) in [
            ("a // unsafe\nb", "a          \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            ("f(\"unsafe \\\" x\") + 1", "f(\"        \"  \") + 1"),
            ("r#\"a \" b\"# c", "  \"  \"  \"  c"),
            ("bar(b\"x\", '\"', '\\'', 'a)", "bar(b\" \",  \" ,     , 'a)"),
            ("'\\u{41}' x", "         x"),
            ("for<'a> &'a str", "for<'a> &'a str"),
        ] {
            assert_eq!(code_only(text), code, "{text}");
        }
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for text in ["\"", "/*", "r#\"x", "'", "'\\", "b", "\"\\", "'\\u{é"] {
            assert_eq!(code_only(text).chars().count(), text.chars().count(), "{text}");
        }
    }

    #[test]
    fn lines_of_code_are_counted() {
        let text = "//! Doc.\n\nuse a;\n/* x\n y */\nfn f() {\n    g(\"\n    text\");\n}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(code_lines(without_tests(text)), 5);
    }
}
