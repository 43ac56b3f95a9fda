//! What was chosen, left on disk for the next process: the file `bptt/choices.tsv` of the user's cache directory.

use super::Effort;
use crate::sealed::{read, unsealed, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the file is, with the version of its format.
const CHOICES: &str = "bptt choices 2";

/// What one device's choices are kept in.
pub(crate) struct Choices {
    folder: Option<PathBuf>,
    /// What a choice holds for, of the file's columns the first three: for a GPU adapter, driver and kernels.
    whose: String,
}

impl Choices {
    /// The choices of a device: in memory only where `BPTT_TUNE` is off or there is no cache directory.
    pub(crate) fn open(whose: [String; 3]) -> Self {
        let wanted = Effort::from_environment().is_ok_and(|effort| effort != Effort::Off);
        let folder = dirs::cache_dir().filter(|_| wanted && !cfg!(target_arch = "wasm32"));
        // Tabs and line ends part the columns.
        let whose = whose.map(|column| column.replace(char::is_control, " "));
        Self {
            folder: folder.map(|cache| cache.join("bptt")),
            whose: whose.join("\t"),
        }
    }

    /// Choices in a folder, or such that leave nothing on disk and take nothing from it.
    #[cfg(test)]
    pub(crate) fn of(folder: Option<PathBuf>, whose: &str) -> Self {
        Self {
            folder,
            whose: whose.to_owned(),
        }
    }

    /// Where files are kept.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whose the choices are.
    pub(crate) fn whose(&self) -> &str {
        &self.whose
    }

    fn key(&self, family: &str, class: &str) -> String {
        format!("{}\t{family}\t{class}", self.whose)
    }

    /// The name of the choice that an earlier process made.
    pub(super) fn get(&self, family: &str, class: &str) -> Option<String> {
        choices(self.folder.as_ref()?).remove(&self.key(family, class))
    }

    /// Remembers a choice, beside what other processes remembered meanwhile.
    pub(super) fn put(&self, family: &str, class: &str, choice: &str) {
        let Some(folder) = &self.folder else { return };
        let mut choices = choices(folder);
        choices.insert(self.key(family, class), choice.to_owned());
        let lines: String = choices
            .iter()
            .map(|(key, choice)| format!("{key}\t{choice}\n"))
            .collect();
        write(&folder.join("choices.tsv"), CHOICES, "", lines.as_bytes());
    }
}

/// The choices in a folder: whose (three columns), family, class, then the choice. None where
/// the file is missing or not one of ours.
fn choices(folder: &Path) -> BTreeMap<String, String> {
    let file = read(&folder.join("choices.tsv"));
    let data = unsealed(CHOICES, "", &file).unwrap_or_default();
    let lines = str::from_utf8(data).unwrap_or_default().lines();
    lines
        .filter(|line| line.matches('\t').count() == 5)
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(key, choice)| (key.to_owned(), choice.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bptt-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn choices_outlive_the_process_and_hold_for_their_device_alone() {
        let folder = folder("choices");
        Choices::of(Some(folder.clone()), "a\tb\t0").put("gemm", "nn 1", "scalar");
        Choices::of(Some(folder.clone()), "a\tc\t0").put("gemm", "nn 1", "workgroup 8");
        let get = |adapter: &str| Choices::of(Some(folder.clone()), adapter).get("gemm", "nn 1");
        assert_eq!(get("a\tb\t0").as_deref(), Some("scalar"));
        assert_eq!(get("a\tc\t0").as_deref(), Some("workgroup 8"));
        assert_eq!(get("a\tb\t1"), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_not_ours_is_ignored_and_replaced() {
        let folder = folder("corrupt");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("choices.tsv");
        let kept = Choices::of(Some(folder.clone()), "a\tb\t0");
        kept.put("gemm", "nn 1", "scalar");
        let good = std::fs::read(&path).unwrap();
        let flipped = (0..good.len()).map(|place| {
            let mut file = good.clone();
            file[place] ^= 1;
            file
        });
        let cut = (0..good.len()).map(|len| good[..len].to_vec());
        let other = [
            b"\xff\xfe\0nonsense".to_vec(),
            b"bptt choices 1\na\tb\t0\tgemm\tnn 1\tx".to_vec(),
            [&good[..], b"\n"].concat(),
        ];
        for (index, file) in flipped.chain(cut).chain(other).enumerate() {
            std::fs::write(&path, &file).unwrap();
            assert_eq!(kept.get("gemm", "nn 1"), None, "{index}");
            if index % 16 == 0 {
                kept.put("gemm", "nn 1", "scalar");
                assert_eq!(std::fs::read(&path).unwrap(), good);
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_nothing_is_kept_and_nothing_fails() {
        let nowhere = std::env::temp_dir().join("bptt-no-such").join("\0");
        for folder in [None, Some(nowhere)] {
            let kept = Choices::of(folder, "a\tb\t0");
            kept.put("gemm", "nn 1", "scalar");
            assert_eq!(kept.get("gemm", "nn 1"), None);
        }
    }
}
