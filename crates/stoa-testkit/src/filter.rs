//! Makes output comparable: what differs from run to run is replaced by its kind.

/// Characters of a run's id after `r-`.
const ID_LENGTH: usize = 8;

/// Replaces ids of runs by `[ID]`, moments by `[MOMENT]` and spans and sizes by `[SPAN]` and `[SIZE]`; runs of spaces
/// (columns whose width depends on those) become two, and spaces at the end of a line go.
pub fn without_ids(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(filter_line).collect();
    lines.join("\n") + if text.ends_with('\n') { "\n" } else { "" }
}

fn filter_line(line: &str) -> String {
    let mut filtered = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let before = filtered.chars().next_back();
        let inside_word = before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/'));
        if let (false, Some((length, kind))) = (inside_word, recognized(rest)) {
            filtered.push_str(kind);
            rest = &rest[length..];
        } else {
            filtered.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    narrow(filtered.trim_end())
}

/// Replaces three and more spaces inside a line by two.
fn narrow(line: &str) -> String {
    let mut narrowed = String::new();
    let mut spaces = 0;
    for c in line.chars() {
        spaces = if c == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            narrowed.push(c);
        }
    }
    narrowed
}

fn recognized(text: &str) -> Option<(usize, &'static str)> {
    id(text).map(|length| (length, "[ID]")).or_else(|| moment(text)).or_else(|| quantity(text))
}

fn id(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("r-")?;
    let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()).count();
    (length == ID_LENGTH).then_some(ID_LENGTH + 2)
}

/// `2026-01-31 12:00:00`, with or without a fraction.
fn moment(text: &str) -> Option<(usize, &'static str)> {
    const FORM: &[u8] = b"dddd-dd-dd dd:dd";
    let bytes = text.as_bytes();
    let fits = bytes.len() >= FORM.len()
        && bytes.iter().zip(FORM).all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == form });
    let rest = || text[FORM.len()..].bytes().take_while(|byte| byte.is_ascii_digit() || b":.".contains(byte)).count();
    fits.then(|| (FORM.len() + rest(), "[MOMENT]"))
}

/// `12 ms`, `1.5 s`, `4 m 02 s`, `3 MiB`.
fn quantity(text: &str) -> Option<(usize, &'static str)> {
    let (first, unit) = number_and_unit(text)?;
    let kind = match unit {
        "ms" | "s" | "m" | "h" | "d" => "[SPAN]",
        "B" | "KiB" | "MiB" | "GiB" | "TiB" => return Some((first, "[SIZE]")),
        _ => return None,
    };
    let second = text[first..].strip_prefix(' ').and_then(number_and_unit);
    match second {
        Some((length, "s" | "m" | "h")) if unit != "ms" && unit != "s" => Some((first + 1 + length, kind)),
        _ => Some((first, kind)),
    }
}

/// The length of a number with its unit, and the unit.
fn number_and_unit(text: &str) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let rest = text[digits..].strip_prefix(' ')?;
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    (digits > 0 && letters > 0).then(|| (digits + 1 + letters, &rest[..letters]))
}

/// Whether `text` contains one of `parts`.
pub fn has_one_of(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_replaced() {
        let text = "r-7f3a9b2c  train   ended 2026-01-31 12:00:05 after 4 m 02 s\n12.5 ms 3 MiB 2 CPUs r-short    \n";
        assert_eq!(without_ids(text), "[ID]  train  ended [MOMENT] after [SPAN]\n[SPAN] [SIZE] 2 CPUs r-short\n");
    }

    #[test]
    fn what_stays_the_same_is_kept() {
        for text in ["exit code 3", "train-1 failed", "v1.5 seconds", "memory 64M"] {
            assert_eq!(without_ids(text), text);
        }
    }
}
