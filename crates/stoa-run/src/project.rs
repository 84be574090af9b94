//! Which folder a run may write to: the project it was started in.

use std::path::{Path, PathBuf};

/// System folders that are never a project, though a shell may stand in them.
const SYSTEM: [&str; 13] =
    ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root/..", "/run", "/sbin", "/sys", "/usr", "/var"];

/// The project of a working folder: the git work tree around it, else the folder itself.
///
/// `None` where writing would mean writing to the system: `/`, `/etc`, `/usr` and the like, and the folder that
/// holds the homes. A git work tree that is the home folder itself (dot files under git) does not count.
pub(crate) fn find(cwd: &Path, user_home: &Path) -> Option<PathBuf> {
    let candidate = git_root(cwd).filter(|root| !user_home.starts_with(root)).unwrap_or_else(|| cwd.to_owned());
    writable(&candidate, user_home).then_some(candidate)
}

/// The top folder of the git work tree around `folder`. `.git` may be a file: worktrees and submodules.
pub(crate) fn git_root(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|ancestor| ancestor.join(".git").exists()).map(Path::to_owned)
}

fn writable(folder: &Path, user_home: &Path) -> bool {
    let holds_the_home = user_home != folder && user_home.starts_with(folder);
    let below_system = SYSTEM.iter().any(|system| folder.starts_with(system)) && !below_var_data(folder);
    !holds_the_home && folder.parent().is_some() && !below_system
}

/// Below `/var`, data of users is common: `/var/tmp/x`, `/var/lib/jenkins/job`, `/var/www`.
fn below_var_data(folder: &Path) -> bool {
    folder.starts_with("/var") && folder.components().count() > 3 || folder == Path::new("/var/tmp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_system_is_no_project() {
        let home = Path::new("/home/ada");
        for folder in ["/", "/etc", "/usr/lib", "/home", "/var", "/var/lib", "/proc/1"] {
            assert_eq!(find(Path::new(folder), home), None, "{folder}");
        }
        for folder in ["/home/ada", "/srv/x", "/tmp", "/var/tmp", "/var/lib/jenkins/job", "/data"] {
            assert_eq!(find(Path::new(folder), home), Some(PathBuf::from(folder)), "{folder}");
        }
    }

    #[test]
    fn a_work_tree_is_the_project_unless_it_is_the_home() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        let inner = home.join("project/src");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir(home.join(".git")).unwrap();
        assert_eq!(find(&inner, &home), Some(inner.clone()), "dot files under git are no project");
        fs::write(home.join("project/.git"), "gitdir: elsewhere").unwrap();
        assert_eq!(find(&inner, &home), Some(home.join("project")));
    }
}
