//! "Did you mean": the nearest name by edit distance.

use std::path::{Path, PathBuf};

/// A folder with more entries than this is not searched for a similar name.
const MOST_ENTRIES: usize = 5_000;

/// The names in a folder; empty when it cannot be read.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.take(MOST_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The name nearest to `wanted`, at most a third of its letters away; ties go to the first in the alphabet.
pub(crate) fn nearest(wanted: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
    let most = (wanted.chars().count() / 3).clamp(1, 3);
    let close = names.into_iter().filter(|name| name != wanted).map(|name| (distance(wanted, &name, most), name));
    close.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

/// The file in the same folder whose name is nearest to that of `path`.
pub(crate) fn neighbour(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let dir = path.parent()?;
    nearest(name, names_in(dir)).map(|near| dir.join(near))
}

/// Edits (insert, delete, replace, swap of neighbours) between two names, case ignored; anything above `most` counts as
/// `most + 1`. The restricted Damerau-Levenshtein distance.
fn distance(left: &str, right: &str, most: usize) -> usize {
    let fold = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (left, right) = (fold(left), fold(right));
    if left.len().abs_diff(right.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = previous[column] + usize::from(letter != other);
            let mut best = replaced.min(previous[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == right[column - 1] && left[row - 1] == *other;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(wanted: &str, names: &[&str]) -> Option<String> {
        nearest(wanted, names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn typing_errors_are_understood() {
        assert_eq!(near("tarin.py", &["eval.py", "train.py", "model.py"]).as_deref(), Some("train.py"));
        assert_eq!(near("train", &["train.py"]).as_deref(), None);
        assert_eq!(near("Train.py", &["train.py"]).as_deref(), Some("train.py"));
        assert_eq!(near("x", &["unrelated"]), None);
    }

    proptest! {
        #[test]
        fn the_distance_is_symmetric(left in "[a-c]{0,6}", right in "[a-c]{0,6}") {
            prop_assert_eq!(distance(&left, &right, 9), distance(&right, &left, 9));
            prop_assert_eq!(distance(&left, &left, 9), 0);
        }
    }
}
