//! Licence expressions, after the SPDX specification, annex "SPDX license expressions".

use anyhow::{Result, bail};

/// Whether somebody who accepts the licences in `accepted` may use what carries this expression. Entries with an
/// exception read `LICENCE WITH EXCEPTION`. The old `A/B` of crates is read as `A OR B`.
pub(super) fn satisfied(expression: &str, accepted: &[&str]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_ascii_whitespace().collect();
    let mut parser = Parser { words: &words, accepted };
    let verdict = parser.any()?;
    match parser.words.first() {
        None => Ok(verdict),
        Some(word) => bail!("`{word}` is not expected in the licence expression `{expression}`"),
    }
}

struct Parser<'a> {
    words: &'a [&'a str],
    accepted: &'a [&'a str],
}

impl Parser<'_> {
    fn any(&mut self) -> Result<bool> {
        let mut verdict = self.all()?;
        while self.take("OR") {
            verdict |= self.all()?;
        }
        Ok(verdict)
    }

    fn all(&mut self) -> Result<bool> {
        let mut verdict = self.one()?;
        while self.take("AND") {
            verdict &= self.one()?;
        }
        Ok(verdict)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("(") {
            let verdict = self.any()?;
            if !self.take(")") {
                bail!("a parenthesis is not closed in a licence expression");
            }
            return Ok(verdict);
        }
        let licence = self.name()?;
        if self.take("WITH") {
            let whole = format!("{licence} WITH {}", self.name()?);
            return Ok(self.accepted.contains(&whole.as_str()));
        }
        Ok(self.accepted.contains(&licence.as_str()))
    }

    fn name(&mut self) -> Result<String> {
        match self.words.split_first() {
            Some((word, rest)) if !["AND", "OR", "WITH", "(", ")"].contains(word) => {
                self.words = rest;
                Ok((*word).to_owned())
            }
            _ => bail!("a licence name is missing in a licence expression"),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCEPTED: [&str; 4] = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"];

    #[test]
    fn expressions_are_judged() {
        for (expression, verdict) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("Apache-2.0 WITH Classpath-exception-2.0", false),
            ("GPL-2.0-only WITH Classpath-exception-2.0 OR MIT", true),
            // AND binds closer than OR.
            ("GPL-3.0-only AND MIT OR ISC", true),
            ("GPL-3.0-only AND (MIT OR ISC)", false),
            ("(MIT OR Apache-2.0) AND ISC", true),
            ("MIT+", false),
        ] {
            assert_eq!(satisfied(expression, &ACCEPTED).unwrap(), verdict, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND", "MIT WITH", "MIT OR OR ISC"] {
            assert!(satisfied(expression, &ACCEPTED).is_err(), "{expression}");
        }
    }
}
