//! Text in character cells: how wide it is, cutting it to a width, and taking control sequences out of untrusted text.

use crate::width_table::{WIDE, ZERO};

/// Marks on top of one character that are kept; more is how a text draws over its neighbours.
const MOST_MARKS: usize = 3;

/// How many cells a character takes: 0, 1 or 2. Control characters take none.
pub fn char_width(c: char) -> usize {
    if (' '..='~').contains(&c) {
        return 1;
    }
    if c.is_control() || within(&ZERO, c) {
        return 0;
    }
    if within(&WIDE, c) { 2 } else { 1 }
}

fn within(borders: &[u32], c: char) -> bool {
    borders.partition_point(|border| *border <= c as u32) % 2 == 1
}

/// How many cells a text takes.
pub fn text_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// The longest beginning of a text that takes at most `width` cells.
pub fn take_width(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (index, c) in text.char_indices() {
        used += char_width(c);
        if used > width {
            return &text[..index];
        }
    }
    text
}

/// The text itself when it fits, else its beginning and an ellipsis: `…`, or `..` where there is no Unicode.
pub fn truncate(text: &str, width: usize, unicode: bool) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let ellipsis = if unicode { "…" } else { ".." };
    let Some(rest) = width.checked_sub(text_width(ellipsis)) else {
        return take_width(text, width).to_owned();
    };
    format!("{}{ellipsis}", take_width(text, rest).trim_end())
}

/// Like [`truncate`], but keeps the end: of `train/policy_gradient_loss` the last part says most.
pub fn truncate_start(text: &str, width: usize, unicode: bool) -> String {
    let full = text_width(text);
    if full <= width {
        return text.to_owned();
    }
    let ellipsis = if unicode { "…" } else { ".." };
    let Some(rest) = width.checked_sub(text_width(ellipsis)) else {
        return take_width(text, width).to_owned();
    };
    let mut left = full;
    let kept = text.char_indices().find(|(_, c)| {
        let fits = left <= rest && char_width(*c) > 0;
        left -= char_width(*c);
        fits
    });
    format!("{ellipsis}{}", kept.map_or("", |(index, _)| &text[index..]))
}

/// Takes out of a text what could steer a terminal or deceive a reader: escape sequences (CSI, OSC, DCS and the like),
/// control characters, direction overrides, invisible characters and towers of combining marks.
///
/// Line breaks and tabs become a space, so that the answer is one line.
pub fn sanitize(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut marks = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_control_sequence(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            _ if c.is_control() || invisible(c) => {}
            _ if char_width(c) == 0 => {
                marks += 1;
                if marks <= MOST_MARKS && !clean.is_empty() {
                    clean.push(c);
                }
            }
            _ => {
                marks = 0;
                clean.push(c);
            }
        }
    }
    clean
}

/// Format characters: joiners, direction controls, byte order marks, tags; variation selectors, whose width differs between
/// terminals; and the two that XML forbids.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control_sequence(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        // Intermediate bytes and one final byte: `ESC ( B`.
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters, intermediate bytes and the final byte; stops before anything that cannot belong to the sequence.
fn skip_control_sequence(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// Everything up to the string terminator. A string that is never ended takes the rest of its line only.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n' && *c != '\u{1b}') {
        if matches!(c, '\u{7}' | '\u{9c}') {
            return;
        }
    }
    if chars.next_if_eq(&'\u{1b}').is_some() {
        chars.next_if_eq(&'\\');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn widths_are_those_of_terminals() {
        for (text, width) in [
            ("abc", 3),
            ("日本語", 6),
            ("한국", 4),
            ("e\u{301}", 1),
            ("🚀", 2),
            ("⠿▁…│", 4),
            ("ａ", 2),
            ("", 0),
            ("ñ", 1),
        ] {
            assert_eq!(text_width(text), width, "{text}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_wide_character() {
        assert_eq!(take_width("日本", 3), "日");
        assert_eq!(truncate("日本語", 5, true), "日本…");
        assert_eq!(truncate("日本語", 6, true), "日本語");
        assert_eq!(truncate("abcdef", 4, false), "ab..");
        assert_eq!(truncate("abcdef", 1, false), "a");
        assert_eq!(truncate("hello world", 7, true), "hello…");
        assert_eq!(truncate_start("train/loss", 5, true), "…loss");
        assert_eq!(truncate_start("日本語", 4, true), "…語");
    }

    #[test]
    fn hostile_text_loses_its_teeth() {
        for (hostile, clean) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;owned\u{7}title", "title"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pq#0\u{1b}\\after", "after"),
            ("\u{9b}2Jc1", "c1"),
            ("\u{1b}(Bplain", "plain"),
            ("a\u{1b}", "a"),
            ("\u{1b}[12;", ""),
            ("a\u{1b}[\u{1b}[31mb", "ab"),
            ("one\ntwo\tthree\r", "one two three "),
            ("evil\u{202e}gpj.exe", "evilgpj.exe"),
            ("zero\u{200b}width", "zerowidth"),
            ("no\u{ffff}char", "nochar"),
            ("bell\u{7}\u{8}\u{7f}", "bell"),
            ("\u{1b}]0;never ended\nnext", " next"),
        ] {
            assert_eq!(sanitize(hostile), clean, "{hostile:?}");
        }
        assert_eq!(sanitize(&format!("z{}", "\u{301}".repeat(50))).chars().count(), 1 + MOST_MARKS);
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_is_left(text in "(\u{1b}|\u{9b}|\\[|\\]|;|[0-9]|m|\u{7}|\n|.){0,40}") {
            let clean = sanitize(&text);
            prop_assert!(clean.chars().all(|c| !c.is_control()), "{clean:?}");
            prop_assert_eq!(sanitize(&clean), clean.clone());
        }

        #[test]
        fn a_truncated_text_fits(text in ".{0,30}", width in 0usize..40, unicode: bool) {
            prop_assert!(text_width(&truncate(&text, width, unicode)) <= width);
            prop_assert!(text_width(&truncate_start(&text, width, unicode)) <= width);
        }
    }
}
