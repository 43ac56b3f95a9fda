//! What a device leaves on disk for the next process: the tuner's choices, and compiled pipelines
//! where the driver gives them away.
//!
//! Two files in the user's cache directory, `bptt/choices.tsv` and `bptt/` with wgpu's name for the adapter's pipelines. A file
//! that cannot be read is as good as none; one that cannot be written is left.

use super::ops::KERNELS;
use super::tuner::Effort;
use crate::{files, trusted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const HEADER: &str = "bptt choices 1";

pub(super) struct Store {
    folder: Option<PathBuf>,
    /// Adapter, driver and kernels: what a choice holds for.
    adapter: String,
    pipelines: Option<(PathBuf, wgpu::PipelineCache)>,
}

impl Store {
    /// The store of a device: in memory only where `BPTT_TUNE` is off or there is no cache directory.
    pub(super) fn open(device: &wgpu::Device) -> Self {
        let wanted = Effort::from_environment().is_ok_and(|effort| effort != Effort::Off);
        let folder = dirs::cache_dir().filter(|_| wanted && !cfg!(target_arch = "wasm32"));
        let folder = folder.map(|cache| cache.join("bptt"));
        let info = device.adapter_info();
        let adapter = format!(
            "{}\t{} {} {}\t{:016x}",
            info.name,
            info.backend,
            info.driver,
            info.driver_info,
            kernels()
        );
        let pipelines = folder.as_ref().and_then(|folder| {
            let has = device.features().contains(wgpu::Features::PIPELINE_CACHE);
            let name = wgpu::util::pipeline_cache_key(&info).filter(|_| has)?;
            let path = folder.join(name);
            let data = std::fs::read(&path).ok();
            Some((path, trusted::pipeline_cache(device, data.as_deref())))
        });
        Self {
            folder,
            adapter,
            pipelines,
        }
    }

    /// Leaves nothing on disk and takes nothing from it.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        (self.folder, self.pipelines) = (None, None);
    }

    pub(super) fn pipelines(&self) -> Option<&wgpu::PipelineCache> {
        self.pipelines.as_ref().map(|(_, cache)| cache)
    }

    fn key(&self, family: &str, class: &str) -> String {
        format!("{}\t{family}\t{class}", self.adapter)
    }

    /// The name of the choice that an earlier process made.
    pub(super) fn get(&self, family: &str, class: &str) -> Option<String> {
        read(self.folder.as_ref()?).remove(&self.key(family, class))
    }

    /// Remembers a choice, beside what other processes remembered meanwhile.
    pub(super) fn put(&self, family: &str, class: &str, choice: &str) {
        let Some(folder) = &self.folder else { return };
        let mut choices = read(folder);
        choices.insert(self.key(family, class), choice.to_owned());
        let lines: String = choices
            .iter()
            .map(|(key, choice)| format!("{key}\t{choice}\n"))
            .collect();
        let data = format!("{HEADER}\n{lines}");
        write(&folder.join("choices.tsv"), data.as_bytes());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some((path, cache)) = &self.pipelines else {
            return;
        };
        if let Some(data) = cache.get_data() {
            write(path, &data);
        }
    }
}

/// The choices in a folder: adapter, driver, kernels, family, class, then the choice. None where
/// the file is missing or not one of ours.
fn read(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join("choices.tsv")).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return BTreeMap::new();
    }
    lines
        .filter(|line| line.matches('\t').count() == 5)
        .filter_map(|line| line.rsplit_once('\t'))
        .map(|(key, choice)| (key.to_owned(), choice.to_owned()))
        .collect()
}

/// Writes a file where that is possible: without it the next process does the work again.
fn write(path: &Path, data: &[u8]) {
    let folder = path.parent().map(std::fs::create_dir_all);
    if matches!(folder, Some(Ok(()))) {
        files::replace(path, data).ok();
    }
}

/// A number of all kernels' text (FNV-1a): choices made for other text are not taken.
fn kernels() -> u64 {
    KERNELS
        .iter()
        .flat_map(|kernel| {
            std::iter::once(&kernel.source)
                .chain(kernel.libraries)
                .chain(kernel.weights)
        })
        .flat_map(|source| source.text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: Option<PathBuf>, adapter: &str) -> Store {
        Store {
            folder,
            adapter: adapter.to_owned(),
            pipelines: None,
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bptt-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    #[test]
    fn choices_outlive_the_store_and_hold_for_their_adapter_alone() {
        let folder = folder("choices");
        store(Some(folder.clone()), "a\tb\t0").put("gemm", "nn 1", "scalar");
        store(Some(folder.clone()), "a\tc\t0").put("gemm", "nn 1", "workgroup 8");
        let get = |adapter: &str| store(Some(folder.clone()), adapter).get("gemm", "nn 1");
        assert_eq!(get("a\tb\t0").as_deref(), Some("scalar"));
        assert_eq!(get("a\tc\t0").as_deref(), Some("workgroup 8"));
        assert_eq!(get("a\tb\t1"), None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_is_not_ours_is_ignored_and_replaced() {
        let folder = folder("corrupt");
        std::fs::create_dir_all(&folder).unwrap();
        for text in [
            &b"\xff\xfe\0nonsense"[..],
            b"",
            b"bptt choices 2\na\tb\t0\tgemm\tnn 1\tx",
        ] {
            std::fs::write(folder.join("choices.tsv"), text).unwrap();
            let store = store(Some(folder.clone()), "a\tb\t0");
            assert_eq!(store.get("gemm", "nn 1"), None);
            store.put("gemm", "nn 1", "scalar");
            assert_eq!(store.get("gemm", "nn 1").as_deref(), Some("scalar"));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_nothing_is_kept_and_nothing_fails() {
        let nowhere = std::env::temp_dir().join("bptt-no-such").join("\0");
        for folder in [None, Some(nowhere)] {
            let store = store(folder, "a\tb\t0");
            store.put("gemm", "nn 1", "scalar");
            assert_eq!(store.get("gemm", "nn 1"), None);
        }
    }
}
