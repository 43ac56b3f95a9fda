//! What a device leaves on disk for the next process: the tuner's choices, and compiled pipelines
//! where the driver gives them away.
//!
//! Two files in the user's cache directory, `bptt/choices.tsv` and `bptt/` with wgpu's name for the adapter's pipelines. Each begins
//! with a seal: what it is, whose it is, its length and checksum. A file that cannot be read, or whose seal is not that of its data, is
//! as good as none, and replaced; one that cannot be written is left.

use super::faults::scoped;
use super::ops::KERNELS;
use super::tuner::Effort;
use crate::{files, trusted};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the files are, with the version of their format.
const CHOICES: &str = "bptt choices 2";
const PIPELINES: &str = "bptt pipelines 1";

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
        let adapter = [
            info.name.clone(),
            format!("{} {} {}", info.backend, info.driver, info.driver_info),
            format!("{:016x}", checksum(kernels())),
        ]
        // Tabs and line ends part the columns of the file of choices.
        .map(|column| column.replace(char::is_control, " "))
        .join("\t");
        let pipelines = folder.as_ref().and_then(|folder| {
            let has = device.features().contains(wgpu::Features::PIPELINE_CACHE);
            let name = wgpu::util::pipeline_cache_key(&info).filter(|_| has)?;
            let path = folder.join(name);
            let file = read(&path);
            let data = unsealed(PIPELINES, &adapter, &file);
            let create = |data| match scoped(device, || trusted::pipeline_cache(device, data)) {
                (cache, None) => Some(cache),
                (_, Some(_)) => None,
            };
            // What wgpu or the driver does not take is left out.
            let cache = create(data).or_else(|| data.and_then(|_| create(None)))?;
            Some((path, cache))
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

impl Drop for Store {
    fn drop(&mut self) {
        let Some((path, cache)) = &self.pipelines else {
            return;
        };
        if let Some(data) = cache.get_data() {
            write(path, PIPELINES, &self.adapter, &data);
        }
    }
}

/// The choices in a folder: adapter, driver, kernels, family, class, then the choice. None where
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

/// What is in a file; nothing where there is none. What is no file, such as a pipe, might be waited for without end.
fn read(path: &Path) -> Vec<u8> {
    let file = path.is_file().then(|| std::fs::read(path));
    file.and_then(Result::ok).unwrap_or_default()
}

/// Writes a file where that is possible: without it the next process does the work again.
fn write(path: &Path, what: &str, whose: &str, data: &[u8]) {
    let folder = path.parent().map(std::fs::create_dir_all);
    if matches!(folder, Some(Ok(()))) && (path.is_file() || !path.exists()) {
        let seal = seal(what, whose, data).into_bytes();
        files::replace(path, &[&seal, data].concat()).ok();
    }
}

/// What stands before the data of a file.
fn seal(what: &str, whose: &str, data: &[u8]) -> String {
    let checksum = checksum(data.iter().copied());
    format!("{what}\n{whose}\n{:016x} {checksum:016x}\n", data.len())
}

/// The data of a file, where its seal is the one that it should have.
fn unsealed<'a>(what: &str, whose: &str, file: &'a [u8]) -> Option<&'a [u8]> {
    let (found, data) = file.split_at_checked(seal(what, whose, &[]).len())?;
    (found == seal(what, whose, data).as_bytes()).then_some(data)
}

/// All kernels' text: choices made for other text are not taken.
fn kernels() -> impl Iterator<Item = u8> {
    KERNELS
        .iter()
        .flat_map(|kernel| {
            std::iter::once(&kernel.source)
                .chain(kernel.libraries)
                .chain(kernel.weights)
        })
        .flat_map(|source| source.text.bytes())
}

/// FNV-1a, of 64 bits: another byte anywhere is another number.
fn checksum(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
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
        let path = folder.join("choices.tsv");
        let store = store(Some(folder.clone()), "a\tb\t0");
        store.put("gemm", "nn 1", "scalar");
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
            assert_eq!(store.get("gemm", "nn 1"), None, "{index}");
            if index % 16 == 0 {
                store.put("gemm", "nn 1", "scalar");
                assert_eq!(std::fs::read(&path).unwrap(), good);
            }
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
