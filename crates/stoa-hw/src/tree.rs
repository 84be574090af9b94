//! Reads of a file tree that may be a whole machine (`/`) or a copy of parts of one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Files under a root. Whatever is missing or unreadable is `None` or empty: an inventory has gaps, never errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a>(pub(crate) &'a Path);

impl Tree<'_> {
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    /// The whole file, trimmed; bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, relative: &str) -> Option<String> {
        let bytes = fs::read(self.path(relative)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned())
    }

    /// At most `limit` bytes from the start of a file.
    pub(crate) fn start(&self, relative: &str, limit: u64) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(relative)).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A number as sysfs prints it: decimal, or hexadecimal after `0x`.
    pub(crate) fn number(&self, relative: &str) -> Option<u64> {
        let text = self.text(relative)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The names in a folder, sorted so that `card2` comes before `card10`.
    pub(crate) fn names(&self, relative: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(relative)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        names
    }

    /// The last part of the path a link points to, such as the driver's name behind `device/driver`.
    pub(crate) fn link_name(&self, relative: &str) -> Option<String> {
        let target = fs::read_link(self.path(relative)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// Splits off the number at the end, so that names sort as people count.
fn natural(name: &str) -> (&str, u64, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem, name[stem.len()..].parse().unwrap_or(0), name)
}

/// The value of `key` in lines of the form `key : value`.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// How many numbers a list such as `0-3,8,10-11` names; 0 for what is not such a list.
pub(crate) fn count_list(list: &str) -> u32 {
    let count = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').filter_map(count).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted() {
        for (list, count) in [("0-1", 2), ("0", 1), ("0-3,8,10-11", 7), ("", 0), ("3-1", 0), ("a-b", 0)] {
            assert_eq!(count_list(list), count, "{list}");
        }
        assert_eq!(count_list("0-4294967295,0-4294967295"), 0);
        assert_eq!(count_list("0-4294967294,0-4294967294"), u32::MAX);
    }

    #[test]
    fn names_sort_as_people_count() {
        let mut names = ["card10", "card2", "renderD128", "card1"];
        names.sort_by(|a, b| natural(a).cmp(&natural(b)));
        assert_eq!(names, ["card1", "card2", "card10", "renderD128"]);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "cpu MHz\t\t: 2400\nmodel\t: 17\nmodel name\t: AMD EPYC: 2nd\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC: 2nd"));
        assert_eq!(field(text, "model"), Some("17"));
        assert_eq!(field(text, "name"), None);
    }
}
