//! Python versions and the specifiers of `requires-python`, after [PEP 440](https://peps.python.org/pep-0440/).
//!
//! Only as much as choosing an interpreter needs: release numbers are compared, suffixes such as `rc1` are dropped. An
//! interpreter whose patch number is not known from its path may leave a question open; uv then judges.

use std::fmt;
use std::str::FromStr;

/// A Python version; the patch number may be unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 of `3.12.1`.
    pub major: u32,
    /// 12 of `3.12.1`.
    pub minor: u32,
    /// 1 of `3.12.1`.
    pub patch: Option<u32>,
}

impl Version {
    /// Reads `3.12` or `3.12.1`, with anything after that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers = release(text);
        let [major, minor, rest @ ..] = numbers.as_slice() else { return None };
        Some(Self { major: *major, minor: *minor, patch: rest.first().copied() })
    }

    fn triple(self, patch: u32) -> [u32; 3] {
        [self.major, self.minor, self.patch.unwrap_or(patch)]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Compatible,
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Below,
    Above,
}

/// Longer operators before those they begin with.
const OPERATORS: [(&str, Operator); 8] = [
    ("===", Operator::Equal),
    ("~=", Operator::Compatible),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Below),
    (">", Operator::Above),
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    operator: Operator,
    numbers: Vec<u32>,
    wildcard: bool,
}

/// A version specifier such as `>=3.10,<4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Specifiers {
    text: String,
    clauses: Vec<Clause>,
}

/// Why a text is not a version specifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpecifier {
    /// No operator.
    #[error("`{0}` does not start with one of ~= == != <= >= < > ===")]
    Operator(String),
    /// No version after the operator.
    #[error("`{0}` does not name a version such as 3.12")]
    Version(String),
}

impl FromStr for Specifiers {
    type Err = BadSpecifier;
    fn from_str(text: &str) -> Result<Self, BadSpecifier> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let clauses = parts.map(clause).collect::<Result<_, _>>()?;
        Ok(Self { text: text.trim().to_owned(), clauses })
    }
}

fn clause(text: &str) -> Result<Clause, BadSpecifier> {
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((text.strip_prefix(sign)?, *operator)));
    let (version, operator) = found.ok_or_else(|| BadSpecifier::Operator(text.to_owned()))?;
    let version = version.trim();
    let (version, wildcard) = version.strip_suffix(".*").map_or((version, false), |version| (version, true));
    let numbers = release(version);
    let sensible = match operator {
        Operator::Compatible => numbers.len() >= 2 && !wildcard,
        Operator::Equal | Operator::NotEqual => !numbers.is_empty(),
        _ => !numbers.is_empty() && !wildcard,
    };
    if sensible { Ok(Clause { operator, numbers, wildcard }) } else { Err(BadSpecifier::Version(text.to_owned())) }
}

/// The leading numbers of a version: `3.13.0rc1` gives 3, 13, 0.
fn release(text: &str) -> Vec<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].split('.').map_while(|part| part.parse().ok()).collect()
}

impl Specifiers {
    /// A specifier for "this version or a patch of it": `3.12` gives `==3.12.*`.
    pub(crate) fn pinned(version: &str) -> Option<Self> {
        let all_numbers =
            version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        let suffix = if version.split('.').count() >= 3 { "" } else { ".*" };
        if all_numbers { format!("=={version}{suffix}").parse().ok() } else { None }
    }

    /// Both together.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let text = if self.text.is_empty() { other.text.clone() } else { format!("{},{}", self.text, other.text) };
        Self { text, clauses: self.clauses.iter().chain(&other.clauses).cloned().collect() }
    }

    /// Whether the version fits; `None` when that depends on a patch number that is not known.
    pub fn admit(&self, version: Version) -> Option<bool> {
        let answers: Vec<Option<bool>> = self.clauses.iter().map(|clause| clause.admits(version)).collect();
        if answers.contains(&Some(false)) {
            return Some(false);
        }
        answers.into_iter().try_fold(true, |all, answer| answer.map(|answer| all && answer))
    }
}

impl fmt::Display for Specifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Clause {
    fn admits(&self, version: Version) -> Option<bool> {
        // With an unknown patch number every one has to give the same answer: the smallest, the largest, and the one named.
        let named = self.numbers.get(2).copied().unwrap_or(0);
        let patches = [0, named, named.saturating_add(1), u32::MAX];
        let first = self.holds(version.triple(patches[0]));
        patches.iter().all(|&patch| self.holds(version.triple(patch)) == first).then_some(first)
    }

    fn holds(&self, version: [u32; 3]) -> bool {
        let wanted = [0, 1, 2].map(|place| self.numbers.get(place).copied().unwrap_or(0));
        let prefix = |length: usize| (0..length.min(3)).all(|place| version[place] == wanted[place]);
        match self.operator {
            Operator::AtLeast => version >= wanted,
            Operator::AtMost => version <= wanted,
            Operator::Below => version < wanted,
            Operator::Above => version > wanted,
            Operator::Equal if self.wildcard => prefix(self.numbers.len()),
            Operator::NotEqual if self.wildcard => !prefix(self.numbers.len()),
            Operator::Equal => version == wanted,
            Operator::NotEqual => version != wanted,
            Operator::Compatible => version >= wanted && prefix(self.numbers.len() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admit(specifiers: &str, version: &str) -> Option<bool> {
        specifiers.parse::<Specifiers>().unwrap().admit(Version::parse(version).unwrap())
    }

    #[test]
    fn specifiers_admit_as_pep_440_says() {
        for (specifiers, version, answer) in [
            (">=3.10", "3.11.7", true),
            (">=3.10", "3.9.18", false),
            (">=3.10,<3.12", "3.12.0", false),
            ("~=3.10", "3.13.1", true),
            ("~=3.10.2", "3.10.9", true),
            ("~=3.10.2", "3.11.0", false),
            ("==3.11.*", "3.11.7", true),
            ("==3.11", "3.11.7", false),
            ("!=3.11.*", "3.11.7", false),
            ("!=3.11.3", "3.11.7", true),
            (">3.11", "3.11.7", true),
            ("<4", "3.14.0", true),
            ("===3.11.7", "3.11.7", true),
            (" >= 3.8 , < 4 ", "3.8.0", true),
            (">=3.13.0rc1", "3.13.0", true),
            ("", "3.8.0", true),
        ] {
            assert_eq!(admit(specifiers, version), Some(answer), "{specifiers} {version}");
        }
    }

    #[test]
    fn an_unknown_patch_number_leaves_a_question_open_only_where_it_matters() {
        assert_eq!(admit(">=3.10", "3.11"), Some(true));
        assert_eq!(admit(">=3.12.1", "3.11"), Some(false));
        assert_eq!(admit(">=3.11.4", "3.11"), None);
        assert_eq!(admit("==3.11.4", "3.11"), None);
        assert_eq!(admit("!=3.11.4", "3.11"), None);
        assert_eq!(admit("==3.11.*", "3.11"), Some(true));
        assert_eq!(admit(">=3.11.4,<3.11", "3.11"), Some(false));
    }

    #[test]
    fn what_is_no_specifier_is_refused() {
        for text in ["3.11", ">=", ">=x", "~=3", ">=3.*", "=3.11", "python"] {
            assert!(text.parse::<Specifiers>().is_err(), "{text}");
        }
        assert_eq!(Specifiers::pinned("3.12").unwrap().to_string(), "==3.12.*");
        assert_eq!(Specifiers::pinned("3.12.1").unwrap().to_string(), "==3.12.1");
        assert_eq!(Specifiers::pinned("pypy3.9"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<Specifiers>();
        }

        /// What is said of an unknown patch number holds for every patch number.
        #[test]
        fn a_closed_question_is_answered_right(
            sign in prop::sample::select(vec![">=", "<=", "<", ">", "==", "!=", "~="]),
            minor in 9u32..13, wanted in 0u32..5, patch in 0u32..9, of in 9u32..13,
        ) {
            let specifiers: Specifiers = format!("{sign}3.{minor}.{wanted}").parse().unwrap();
            if let Some(answer) = specifiers.admit(Version { major: 3, minor: of, patch: None }) {
                prop_assert_eq!(specifiers.admit(Version { major: 3, minor: of, patch: Some(patch) }), Some(answer));
            }
        }
    }
}
