//! Man pages, shell completions and the command reference: `tests/docs.rs` makes and checks them.

use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Writes every generated document.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    match run(workspace, true)? {
        None => Ok(()),
        Some(message) => bail!("{message}"),
    }
}

/// Says which documents differ from what the commands say now.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    Ok(run(workspace, false)?.into_iter().collect())
}

/// Runs the test; answers with its message when it fails.
fn run(workspace: &Workspace, write: bool) -> Result<Option<String>> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--package", "xtask", "--test", "docs", "documents_are_fresh"]);
    if write {
        command.env("STOA_WRITE_DOCS", "1");
    }
    let done =
        command.env("RUST_BACKTRACE", "0").current_dir(&workspace.root).output().context("cannot run cargo test")?;
    if done.status.success() {
        return Ok(None);
    }
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Ok(Some(message(&text)))
}

/// What the test says, or the end of what the compiler says.
fn message(text: &str) -> String {
    let said = text.lines().find(|line| line.starts_with("run `cargo xtask docs`"));
    let tail = || {
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    };
    said.map_or_else(tail, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_a_failed_test_is_found() {
        let text = "running 1 test\npanicked at x:1:\nrun `cargo xtask docs`: these differ: [\"a\"]\nnote: x\n";
        assert_eq!(message(text), "run `cargo xtask docs`: these differ: [\"a\"]");
        assert_eq!(message("error: no such command"), "error: no such command");
    }
}
