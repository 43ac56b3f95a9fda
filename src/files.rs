//! Files that appear whole or not at all.

use std::io::{Result, Write};
use std::path::Path;

/// Replaces a file, so that nobody sees half of it, not even after a crash.
pub(crate) fn replace(path: &Path, data: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut draft = tempfile::Builder::new();
    // A draft is its owner's alone unless told otherwise; the process' mask still applies.
    #[cfg(unix)]
    draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut draft = draft.tempfile_in(folder)?;
    draft.write_all(data)?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    // Only Unix opens a folder, to make its new entry last.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
