//! Typed ids. An id is short enough to type and never reused within a store.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Characters of an id: no `i l o u`, so that an id read aloud or copied by hand stays the same.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Eight characters are 40 bits: a store of a million runs meets a collision with a chance of 5e-7 per new run, and the
/// store refuses a duplicate anyway.
const LENGTH: usize = 8;

/// The id of a run: `r-` and eight characters of [Crockford's base 32](https://www.crockford.com/base32.html).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Makes an id from 40 random bits (the low ones of `random`).
    pub fn from_random(random: u64) -> Self {
        let digits = (0..LENGTH).map(|place| ALPHABET[(random >> (5 * place)) as usize & 31] as char);
        Self("r-".chars().chain(digits).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id: it is `r-` and eight characters of 0-9 and a-z without i, l, o and u")]
pub struct BadId(String);

impl FromStr for RunId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let good = text
            .strip_prefix("r-")
            .is_some_and(|rest| rest.len() == LENGTH && rest.bytes().all(|byte| ALPHABET.contains(&byte)));
        if good { Ok(Self(text.to_owned())) } else { Err(BadId(text.to_owned())) }
    }
}

impl TryFrom<String> for RunId {
    type Error = BadId;
    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_random_id_reads_back(random: u64) {
            let id = RunId::from_random(random);
            prop_assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        }
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = text.parse::<RunId>();
        }
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "r-", "r-1234567", "r-123456789", "x-12345678", "r-1234567i", "../../etc"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }
}
