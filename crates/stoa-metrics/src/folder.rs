//! Opens files below folders that a run can write, without being led elsewhere by links, pipes or devices.
//!
//! A run may put anything into its folders. Everything here is opened relative to a folder's descriptor, one name at
//! a time, never through a symbolic link, and must be a regular file.

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The name of the folder of metric files in a run's folder.
const METRICS: &CStr = c"metrics";
const SAFE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

/// One name in a folder.
pub(crate) struct Entry {
    pub(crate) name: CString,
    pub(crate) folder: bool,
    pub(crate) file: bool,
}

impl Folder {
    /// Opens a folder; the last part of its path may not be a link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, SAFE | OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?))
    }

    /// Opens a folder whose path ends in a link of the kernel's, such as `/proc/1/root`.
    pub(crate) fn open_following(path: &Path) -> io::Result<Self> {
        let flags = OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::RDONLY;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The folder of metric files of a run; `None` when the run has none.
    pub(crate) fn metrics_of(run: &Path) -> io::Result<Option<Self>> {
        let found = Self::open(run).and_then(|folder| folder.folder(METRICS));
        match found {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder of metric files of a run, made when it is missing; it belongs to whom the run's folder belongs.
    pub(crate) fn make_metrics_of(run: &Path) -> io::Result<Self> {
        if let Some(folder) = Self::metrics_of(run)? {
            return Ok(folder);
        }
        let run = Self::open(run)?;
        match rustix::fs::mkdirat(&run.0, METRICS, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let made = run.folder(METRICS)?;
        made.give_to_owner_of(&run)?;
        Ok(made)
    }

    /// When we are root and the run is not, a folder we make has to be the run's.
    fn give_to_owner_of(&self, other: &Self) -> io::Result<()> {
        let (owner, own) = (fstat(&other.0)?, fstat(&self.0)?);
        if (owner.st_uid, owner.st_gid) == (own.st_uid, own.st_gid) {
            return Ok(());
        }
        let (user, group) = (rustix::fs::Uid::from_raw(owner.st_uid), rustix::fs::Gid::from_raw(owner.st_gid));
        Ok(rustix::fs::fchown(&self.0, Some(user), Some(group))?)
    }

    /// A folder in this one.
    pub(crate) fn folder(&self, name: &CStr) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name, SAFE | OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?))
    }

    /// A regular file in this folder, for reading.
    pub(crate) fn file(&self, name: &CStr) -> io::Result<File> {
        regular(openat(&self.0, name, SAFE | OFlags::RDONLY, Mode::empty())?)
    }

    /// A regular file in this folder for reading and writing, made when it is missing.
    pub(crate) fn own_file(&self, name: &CStr) -> io::Result<File> {
        let flags = SAFE | OFlags::RDWR | OFlags::CREATE;
        let file = regular(openat(&self.0, name, flags, Mode::from_raw_mode(0o644))?)?;
        if fstat(&file)?.st_nlink != 1 {
            return Err(io::Error::other("the file has a second name elsewhere"));
        }
        Ok(file)
    }

    /// When the file was last written or changed in any way, in nanoseconds since 1970; 0 when that cannot be found
    /// out.
    pub(crate) fn changed(&self, name: &CStr) -> u64 {
        let Ok(stat) = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) else { return 0 };
        let nanos = |seconds: i64, nanos: u64| u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + nanos;
        nanos(stat.st_mtime, stat.st_mtime_nsec).max(nanos(stat.st_ctime, stat.st_ctime_nsec))
    }

    /// The names in it, without `.` and `..`, in no order. Names that cannot be read are left out.
    pub(crate) fn entries(&self) -> io::Result<impl Iterator<Item = Entry>> {
        let entries = Dir::read_from(self.0.as_fd())?;
        Ok(entries.filter_map(Result::ok).filter_map(|entry| {
            let name = entry.file_name();
            if name == c"." || name == c".." {
                return None;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                kind = FileType::from_raw_mode(stat.st_mode);
            }
            Some(Entry {
                folder: kind == FileType::Directory,
                file: kind == FileType::RegularFile,
                name: name.to_owned(),
            })
        }))
    }
}

impl Entry {
    /// The name as text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// The name as a path.
    pub(crate) fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(self.name.as_bytes()))
    }
}

fn regular(file: OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_pipes_and_second_names_are_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        let run = root.path().join("run");
        std::fs::create_dir_all(run.join("metrics")).unwrap();
        let metrics = Folder::metrics_of(&run).unwrap().unwrap();
        symlink("../../secret", run.join("metrics/link")).unwrap();
        std::fs::hard_link(root.path().join("secret"), run.join("metrics/hard")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, run.join("metrics/pipe"), Mode::from_raw_mode(0o600)).unwrap();
        assert!(metrics.file(c"link").is_err() && metrics.file(c"pipe").is_err());
        assert!(metrics.own_file(c"link").is_err() && metrics.own_file(c"hard").is_err());
        assert!(metrics.own_file(c"new").is_ok());
    }

    #[test]
    fn a_metrics_folder_that_is_a_link_is_an_error_and_a_missing_one_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(Folder::metrics_of(root.path()).unwrap().is_none());
        symlink("/tmp", root.path().join("metrics")).unwrap();
        assert!(Folder::metrics_of(root.path()).is_err());
    }
}
