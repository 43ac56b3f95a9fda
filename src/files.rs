//! Files that appear whole or not at all.

use std::fs::{self, File, Metadata};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// Links followed before a path is taken for a circle of them, as on Linux.
const MOST_LINKS: usize = 40;

/// Folders of what a process has open: what their links stand for can be written to, and not be replaced.
const OPEN_FILES: [&str; 2] = ["/proc", "/dev/fd"];

/// Replaces what is in a file, so that nobody sees half of it, not even after a crash. A link stays, and what it leads to is replaced;
/// mode and, where the process may say so, owner stay. What is no file, such as a pipe, is written to.
#[allow(
    dead_code,
    reason = "without the feature safetensors, and in programs that take this file by its path, one of the two is enough"
)]
pub(crate) fn replace(path: &Path, data: &[u8]) -> Result<()> {
    replace_by(path, data, true)
}

/// Replaces a file as [`replace`] does, without waiting for the disk: for what can be made again, and tells by itself what a crash left of it.
#[allow(
    dead_code,
    reason = "without the feature safetensors, and in programs that take this file by its path, one of the two is enough"
)]
pub(crate) fn replace_unsynced(path: &Path, data: &[u8]) -> Result<()> {
    replace_by(path, data, false)
}

fn replace_by(path: &Path, data: &[u8], synced: bool) -> Result<()> {
    match file(path)? {
        Some(file) => exchange(&file, data, synced),
        // A file that is the output of the process may have something in it already.
        None => File::options().append(true).open(path)?.write_all(data),
    }
}

/// The file that a path leads to, there or not; none where it leads to something else.
fn file(path: &Path) -> Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let parent = folder(&path);
                let real = parent.canonicalize()?;
                if OPEN_FILES.iter().any(|open| real.starts_with(open)) {
                    return Ok(None);
                }
                path = parent.join(fs::read_link(&path)?);
            }
            Ok(found) => return Ok(found.is_file().then_some(path)),
            Err(reason) if reason.kind() == ErrorKind::NotFound => return Ok(Some(path)),
            Err(reason) => return Err(reason),
        }
    }
    Err(Error::other("a circle of links"))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Puts a new file in the place of an old one, where there is one. The draft has a name that no other file has.
fn exchange(path: &Path, data: &[u8], synced: bool) -> Result<()> {
    // What may not be written to is not replaced either.
    let old = match File::options().write(true).open(path) {
        Ok(old) => Some(old.metadata()?),
        Err(reason) if reason.kind() == ErrorKind::NotFound => None,
        Err(reason) => return Err(reason),
    };
    let mut draft = tempfile::Builder::new();
    #[cfg(unix)]
    if old.is_none() {
        // A draft is its owner's alone unless told otherwise; the process' mask still applies.
        draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    let mut draft = draft.tempfile_in(folder(path))?;
    draft.write_all(data)?;
    if let Some(old) = old {
        take_after(draft.as_file(), &old)?;
    }
    if synced {
        draft.as_file().sync_all()?;
    }
    draft.persist(path)?;
    if !synced {
        return Ok(());
    }
    // Makes the folder's new entry last, on systems that open folders; the file is in its place either way.
    #[cfg(unix)]
    File::open(folder(path))
        .and_then(|folder| folder.sync_all())
        .ok();
    Ok(())
}

/// Gives a file the owner, as far as the process may, and the mode of another.
fn take_after(file: &File, old: &Metadata) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let own = file.metadata()?;
        if own.gid() != old.gid() {
            fchown(file, None, Some(old.gid())).ok();
        }
        if own.uid() != old.uid() {
            fchown(file, Some(old.uid()), None).ok();
        }
    }
    // Last, as a change of owner takes some bits away.
    file.set_permissions(old.permissions())
}
