//! Files of the user's cache directory: they may be missing, damaged or another's, and nothing is lost with them.
//!
//! Each begins with a seal: what it is, whose it is, its length and checksum. A file that cannot be read, or whose seal is not that of its
//! data, is as good as none, and replaced; one that cannot be written is left.

use crate::files;
use std::path::Path;

/// What is in a file; nothing where there is none. What is no file, such as a pipe, might be waited for without end.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    let file = path.is_file().then(|| std::fs::read(path));
    file.and_then(Result::ok).unwrap_or_default()
}

/// Writes a file where that is possible: without it the next process does the work again.
pub(crate) fn write(path: &Path, what: &str, whose: &str, data: &[u8]) {
    let folder = path.parent().map(std::fs::create_dir_all);
    if matches!(folder, Some(Ok(()))) && (path.is_file() || !path.exists()) {
        let seal = seal(what, whose, data).into_bytes();
        files::replace_unsynced(path, &[&seal, data].concat()).ok();
    }
}

/// What stands before the data of a file.
fn seal(what: &str, whose: &str, data: &[u8]) -> String {
    let checksum = checksum(data.iter().copied());
    format!("{what}\n{whose}\n{:016x} {checksum:016x}\n", data.len())
}

/// The data of a file, where its seal is the one that it should have.
pub(crate) fn unsealed<'a>(what: &str, whose: &str, file: &'a [u8]) -> Option<&'a [u8]> {
    let (found, data) = file.split_at_checked(seal(what, whose, &[]).len())?;
    (found == seal(what, whose, data).as_bytes()).then_some(data)
}

/// FNV-1a, of 64 bits: another byte anywhere is another number.
pub(crate) fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
