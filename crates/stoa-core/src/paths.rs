//! Where Stoa keeps its state and its socket. Pure: the environment is an argument.

use std::path::{Path, PathBuf};

/// The folders and files that client and daemon must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// All state: `$STOA_HOME`, else `/var/lib/stoa` for root, else `$XDG_DATA_HOME/stoa`, else `~/.local/share/stoa`.
    pub home: PathBuf,
    /// The daemon's socket: `$XDG_RUNTIME_DIR/stoa/stoad.sock`. Root without one: `/run/stoa/`. Others without one: `run/` in
    /// `home`. A home that is not the default one has a socket of its own, named after it.
    pub socket: PathBuf,
}

/// The longest path a Unix socket can be bound to on Linux, in bytes.
pub const LONGEST_SOCKET_PATH: usize = 107;

impl Paths {
    /// Finds the paths of a user. `variable` reads the environment; an empty value counts as unset.
    pub fn find(variable: impl Fn(&str) -> Option<PathBuf>, uid: u32) -> Self {
        let variable = |name: &str| variable(name).filter(|value| value.is_absolute());
        let user_home = variable("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let default_home = match variable("XDG_DATA_HOME") {
            _ if uid == 0 => PathBuf::from("/var/lib/stoa"),
            Some(data) => data.join("stoa"),
            None => user_home.join(".local/share/stoa"),
        };
        let home = variable("STOA_HOME").unwrap_or_else(|| default_home.clone());
        let folder = match variable("XDG_RUNTIME_DIR") {
            Some(runtime) => runtime.join("stoa"),
            None if uid == 0 => PathBuf::from("/run/stoa"),
            None => home.join("run"),
        };
        let name =
            if home == default_home { "stoad.sock".to_owned() } else { format!("stoad-{:08x}.sock", digest(&home)) };
        Self { socket: folder.join(name), home }
    }

    /// Held by the daemon while it lives: two never share a home.
    pub fn daemon_lock(&self) -> PathBuf {
        self.home.join("stoad.lock")
    }

    /// Held by a client while it starts the daemon.
    pub fn start_lock(&self) -> PathBuf {
        self.home.join("start.lock")
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.home.join("stoad.log")
    }
}

/// 32-bit FNV-1a of a path (Fowler, Noll, Vo: draft-eastlake-fnv). Homes of one user are few; a clash is found by the daemon's
/// lock and the home in its status.
fn digest(path: &Path) -> u32 {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(uid: u32, variables: &[(&str, &str)]) -> (String, String) {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value));
        let paths = Paths::find(lookup, uid);
        (paths.home.display().to_string(), paths.socket.display().to_string())
    }

    #[test]
    fn defaults_follow_the_xdg_folders() {
        let user = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
        assert_eq!(find(1000, &user), ("/home/ada/.local/share/stoa".into(), "/run/user/1000/stoa/stoad.sock".into()));
        assert_eq!(find(0, &[("HOME", "/root")]), ("/var/lib/stoa".into(), "/run/stoa/stoad.sock".into()));
        let bare = find(1000, &[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "")]);
        assert_eq!(bare.1, "/home/ada/.local/share/stoa/run/stoad.sock");
    }

    #[test]
    fn two_homes_have_two_sockets() {
        let at = |home: &str| {
            find(1000, &[("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000"), ("STOA_HOME", home)]).1
        };
        assert_ne!(at("/tmp/a"), at("/tmp/b"));
        assert_eq!(at("/home/ada/.local/share/stoa"), "/run/user/1000/stoa/stoad.sock");
    }
}
