//! The state of the project's code: captured when a run is accepted, checked out again for `stoa again`.
//!
//! Captured are the commit, the difference of tracked files to it as a patch, and small untracked files. The capture starts
//! before the program does and runs beside it, so that it costs the run no time.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use stoa_core::run::CodeState;
use stoa_core::{Exit, Failure};
use tokio::process::Command;

/// Untracked files above this size are counted, not kept: data does not belong into a record.
const LARGEST_UNTRACKED: u64 = 1 << 20;
/// All untracked files of a run together.
const UNTRACKED_TOTAL: u64 = 16 << 20;
/// A patch above this size is refused: it would be a data set under version control.
const LARGEST_PATCH: usize = 256 << 20;

/// Captures the state of the work tree at `root` into `folder`. `None` where git is missing or does not answer.
pub(crate) async fn capture(root: PathBuf, folder: PathBuf) -> Option<CodeState> {
    let status = ["status", "--porcelain=v2", "--branch", "--untracked-files=all", "--ignore-submodules=all", "-z"];
    let status = Status::parse(&git(&root, &status).await?);
    let patch = match status.changed {
        true => git(&root, &["diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD"]).await?,
        false => Vec::new(),
    };
    let mut state = CodeState {
        root: root.clone(),
        commit: status.commit,
        branch: status.branch,
        changed: !patch.is_empty(),
        ..CodeState::default()
    };
    let untracked = status.untracked;
    let kept = tokio::task::spawn_blocking(move || keep(&root, &folder, &patch, untracked, &mut state).map(|()| state));
    match kept.await {
        Ok(Ok(state)) => Some(state),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the state of the code was not kept");
            None
        }
        Err(_) => None,
    }
}

/// What `git status --porcelain=v2 --branch -z` says, see git-status(1).
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    commit: Option<String>,
    branch: Option<String>,
    /// Whether a tracked file differs from the commit. Without a commit there is nothing to differ from.
    changed: bool,
    untracked: Vec<String>,
}

impl Status {
    fn parse(output: &[u8]) -> Self {
        let mut status = Self::default();
        let mut entries = output.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        while let Some(entry) = entries.next() {
            let (kind, rest) = entry.split_once(' ').unwrap_or((&entry, ""));
            match (kind, rest.split_once(' ')) {
                ("#", Some(("branch.oid", oid))) if oid != "(initial)" => status.commit = Some(oid.to_owned()),
                ("#", Some(("branch.head", head))) if head != "(detached)" => status.branch = Some(head.to_owned()),
                ("?", _) => status.untracked.push(rest.to_owned()),
                ("1" | "u", _) => status.changed = true,
                ("2", _) => {
                    status.changed = true;
                    // A renamed file is followed by the name it had.
                    entries.next();
                }
                _ => {}
            }
        }
        status.changed &= status.commit.is_some();
        status
    }
}

fn keep(root: &Path, folder: &Path, patch: &[u8], untracked: Vec<String>, state: &mut CodeState) -> io::Result<()> {
    if !patch.is_empty() {
        if patch.len() > LARGEST_PATCH {
            return Err(io::Error::other("the uncommitted changes are larger than 256 MiB"));
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join("changes.patch"), patch)?;
    }
    let mut total = 0;
    for name in untracked {
        let size = fs::symlink_metadata(root.join(&name)).ok().filter(fs::Metadata::is_file).map(|data| data.len());
        match size {
            Some(size) if size <= LARGEST_UNTRACKED && total + size <= UNTRACKED_TOTAL && stays_below(&name) => {
                let target = folder.join("untracked").join(&name);
                fs::create_dir_all(target.parent().unwrap_or(folder))?;
                // A file that the run has removed meanwhile is counted as left.
                if fs::copy(root.join(&name), &target).is_ok() {
                    total += size;
                    state.untracked_kept.push(name);
                } else {
                    state.untracked_left += 1;
                }
            }
            _ => state.untracked_left += 1,
        }
    }
    Ok(())
}

fn stays_below(name: &str) -> bool {
    Path::new(name).components().all(|component| matches!(component, Component::Normal(_)))
}

/// Makes a checkout of a captured state at `target`: a clone that shares the objects of the project's repository.
pub(crate) async fn checkout(state: &CodeState, kept: &Path, target: &Path) -> Result<(), Failure> {
    let failed = |what: &str| Failure::new(Exit::Failed, format!("cannot check out the code of that run: {what}"));
    let commit = state.commit.as_deref().ok_or_else(|| {
        failed("there was no commit")
            .hint("repeat it in the project folder as it is: `stoa run` with the same arguments")
    })?;
    let root = state.root.display().to_string();
    let destination = target.display().to_string();
    run_git(Path::new("/"), &["clone", "--quiet", "--shared", "--no-checkout", &root, &destination])
        .await
        .map_err(|why| failed("git clone failed").cause(why).hint(format!("the repository was at {root}")))?;
    run_git(target, &["checkout", "--quiet", "--detach", commit])
        .await
        .map_err(|why| failed(&format!("commit {commit} is gone")).cause(why))?;
    let patch = kept.join("changes.patch");
    if state.changed {
        run_git(target, &["apply", "--binary", "--whitespace=nowarn", &patch.display().to_string()])
            .await
            .map_err(|why| failed("its uncommitted changes do not apply").cause(why))?;
    }
    for name in state.untracked_kept.iter().filter(|name| stays_below(name)) {
        let file = target.join(name);
        let copied = fs::create_dir_all(file.parent().unwrap_or(target))
            .and_then(|()| fs::copy(kept.join("untracked").join(name), &file));
        copied.map_err(|error| failed(&format!("cannot restore `{name}`")).caused_by(&error))?;
    }
    Ok(())
}

/// Gives a repeated run what was kept of the code of the run it repeats, which may be removed before it.
pub(crate) fn share(kept: &Path, target: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(target)?;
    for entry in entries {
        let entry = entry?;
        let target = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            share(&entry.path(), &target)?;
        } else {
            fs::hard_link(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The output of a git command that succeeded. Never runs hooks, a pager or a file-system monitor of the repository.
async fn git(root: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = command(root, arguments).stderr(Stdio::null()).output().await.ok()?;
    output.status.success().then_some(output.stdout)
}

async fn run_git(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = command(root, arguments).output().await.map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"])
        .arg("-C")
        .arg(root)
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn repository() -> Option<tempfile::TempDir> {
        let folder = tempfile::tempdir().expect("a folder");
        run_git(folder.path(), &["init", "--quiet"]).await.ok()?;
        fs::write(folder.path().join("train.py"), "print(1)\n").unwrap();
        run_git(folder.path(), &["add", "."]).await.unwrap();
        let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "first"];
        run_git(folder.path(), &identity).await.unwrap();
        Some(folder)
    }

    #[test]
    fn the_status_of_git_is_read() {
        let output = b"# branch.oid abc\0# branch.head main\x001 .M N... 100644 100644 100644 h h train.py\0\
            2 R. N... 100644 100644 100644 h h R100 new.py\0? not.py\0? notes/a b.txt\0";
        let expected = Status {
            commit: Some("abc".into()),
            branch: Some("main".into()),
            changed: true,
            untracked: vec!["notes/a b.txt".into()],
        };
        assert_eq!(Status::parse(output), expected);
        let fresh = b"# branch.oid (initial)\0# branch.head main\x001 A. N... 0 1 1 h h a.py\0";
        assert_eq!((Status::parse(fresh).commit, Status::parse(fresh).changed), (None, false));
    }

    #[tokio::test]
    async fn a_changed_work_tree_is_restored_word_by_word() {
        let Some(project) = repository().await else {
            eprintln!("skipped: git is missing");
            return;
        };
        fs::write(project.path().join("train.py"), "print(2)\n").unwrap();
        fs::create_dir(project.path().join("conf")).unwrap();
        fs::write(project.path().join("conf/new.toml"), "a = 1\n").unwrap();
        fs::write(project.path().join("large.bin"), vec![0; (LARGEST_UNTRACKED + 1) as usize]).unwrap();
        let kept = tempfile::tempdir().unwrap();
        let state = capture(project.path().to_owned(), kept.path().join("code")).await.expect("captured");
        assert!(state.changed && state.commit.is_some());
        assert_eq!(
            (state.untracked_kept.as_slice(), state.untracked_left),
            (["conf/new.toml".to_owned()].as_slice(), 1)
        );

        let target = kept.path().join("checkout");
        checkout(&state, &kept.path().join("code"), &target).await.expect("checked out");
        assert_eq!(fs::read_to_string(target.join("train.py")).unwrap(), "print(2)\n");
        assert_eq!(fs::read_to_string(target.join("conf/new.toml")).unwrap(), "a = 1\n");
    }

    #[tokio::test]
    async fn a_commit_that_is_gone_is_named() {
        let Some(project) = repository().await else {
            eprintln!("skipped: git is missing");
            return;
        };
        let state = CodeState {
            root: project.path().to_owned(),
            commit: Some("0123456789012345678901234567890123456789".into()),
            ..CodeState::default()
        };
        let target = tempfile::tempdir().unwrap();
        let failure = checkout(&state, target.path(), &target.path().join("x")).await.expect_err("no such commit");
        assert!(failure.error.contains("0123456789"), "{failure}");
    }
}
