//! `PROMISES.md`: one table, read by the check and by the benches.
//!
//! | Measure | Peer | Promise | Measured | Repeat with |
//! |---|---|---|---|---|
//! | `run-true` wall | bwrap | ratio <= 1 | not measured | `cargo xtask bench run-true` |

use crate::bench;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs;
use std::str::FromStr;

/// What is compared with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The figure itself.
    Figure,
    /// Ours divided by the peer's.
    Ratio,
    /// Ours minus the peer's.
    Adds,
}

/// The limit of a promise: `<= 5 ms`, `ratio <= 0.5`, `adds <= 15 ms`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) kind: Kind,
    pub(crate) most: f64,
    /// Empty for a ratio.
    pub(crate) unit: String,
}

impl FromStr for Bound {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let (kind, rest) = match text.trim() {
            rest if rest.starts_with("ratio") => (Kind::Ratio, &rest["ratio".len()..]),
            rest if rest.starts_with("adds") => (Kind::Adds, &rest["adds".len()..]),
            rest => (Kind::Figure, rest),
        };
        let Some(rest) = rest.trim().strip_prefix("<=") else { bail!("`{text}` has no `<=`") };
        let mut words = rest.split_ascii_whitespace();
        let most = words.next().context("the limit is missing")?.parse().context("the limit is not a number")?;
        let unit = words.collect::<Vec<_>>().join(" ");
        if unit.is_empty() != (kind == Kind::Ratio) {
            bail!("`{text}`: a ratio has no unit, and every other limit has one");
        }
        Ok(Self { kind, most, unit })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lead = match self.kind {
            Kind::Figure => "",
            Kind::Ratio => "ratio ",
            Kind::Adds => "adds ",
        };
        let space = if self.unit.is_empty() { "" } else { " " };
        write!(f, "{lead}<= {}{space}{}", self.most, self.unit)
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Promise {
    pub(crate) measure: String,
    pub(crate) peer: String,
    pub(crate) bound: Bound,
    pub(crate) bench: String,
}

/// The promises as written down.
pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Promise>> {
    let text = fs::read_to_string(workspace.path("PROMISES.md")).context("cannot read PROMISES.md")?;
    let (promises, findings) = parse(&text);
    if let Some(finding) = findings.first() {
        bail!("{finding}");
    }
    Ok(promises)
}

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace.path("PROMISES.md")).context("cannot read PROMISES.md")?;
    let (promises, mut findings) = parse(&text);
    findings.extend(unknown_benches(&promises, &bench::NAMES));
    if promises.is_empty() {
        findings.push("PROMISES.md: no promise found".to_owned());
    }
    Ok(findings)
}

fn unknown_benches(promises: &[Promise], known: &[&str]) -> Vec<String> {
    let unknown = promises.iter().filter(|promise| !known.contains(&promise.bench.as_str()));
    unknown
        .map(|promise| {
            format!("PROMISES.md: `{}` names the bench `{}`, which does not exist", promise.measure, promise.bench)
        })
        .collect()
}

fn parse(text: &str) -> (Vec<Promise>, Vec<String>) {
    let (mut promises, mut findings) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let Some(cells) = cells(line) else { continue };
        if cells[0] == "Measure" || cells[0].chars().all(|c| c == '-' || c == ':') {
            continue;
        }
        match row(&cells) {
            Ok(promise) => promises.push(promise),
            Err(error) => findings.push(format!("PROMISES.md:{}: {error:#}", number + 1)),
        }
    }
    (promises, findings)
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().replace('`', "")).collect())
}

fn row(cells: &[String]) -> Result<Promise> {
    let [measure, peer, bound, _measured, command] = cells else {
        bail!("a promise has five columns: Measure, Peer, Promise, Measured, Repeat with");
    };
    let bench = command.strip_prefix("cargo xtask bench ").context("the last column is no `cargo xtask bench NAME`")?;
    Ok(Promise { measure: measure.clone(), peer: peer.clone(), bound: bound.parse()?, bench: bench.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "text\n\n| Measure | Peer | Promise | Measured | Repeat with |\n|---|---|---|---|---|\n";

    #[test]
    fn rows_are_read() {
        let text = format!("{TABLE}| `run-true` wall | bwrap | ratio <= 0.5 | 3 ms | `cargo xtask bench run-true` |\n");
        let (promises, findings) = parse(&text);
        assert_eq!(findings, [""; 0]);
        assert_eq!((promises[0].measure.as_str(), promises[0].bench.as_str()), ("run-true wall", "run-true"));
        assert_eq!(promises[0].bound, Bound { kind: Kind::Ratio, most: 0.5, unit: String::new() });
        assert_eq!(unknown_benches(&promises, &["run-true"]), [""; 0]);
        assert_eq!(unknown_benches(&promises, &["cli"]).len(), 1);
    }

    #[test]
    fn broken_rows_are_named_with_their_line() {
        for row in [
            "| a | b | ratio <= 1 | x |",
            "| a | b | soon | x | cargo xtask bench cli |",
            "| a | b | <= 5 | x | cargo xtask bench cli |",
            "| a | b | ratio <= 5 ms | x | cargo xtask bench cli |",
            "| a | b | <= 5 ms | x | by hand |",
        ] {
            let (promises, findings) = parse(&format!("{TABLE}{row}\n"));
            assert!(promises.is_empty() && findings[0].starts_with("PROMISES.md:5: "), "{row}: {findings:?}");
        }
    }

    #[test]
    fn bounds_print_as_they_are_written() {
        for text in ["<= 5 ms", "ratio <= 0.5", "adds <= 15 ms"] {
            assert_eq!(text.parse::<Bound>().unwrap().to_string(), text);
        }
    }
}
