//! What a GPU leaves on disk for the next process: the tuner's choices, and compiled pipelines where the driver gives them away, in a file
//! `bptt/` with wgpu's name for the adapter's pipelines.

use super::faults::scoped;
use super::ops::KERNELS;
use crate::sealed::{checksum, read, unsealed, write};
use crate::trusted;
use crate::tuning::Choices;
use std::path::PathBuf;

/// What the file is, with the version of its format.
const PIPELINES: &str = "bptt pipelines 1";

pub(super) struct Store {
    /// What holds for this adapter, its driver and the kernels.
    choices: Choices,
    pipelines: Option<(PathBuf, wgpu::PipelineCache)>,
}

impl Store {
    /// The store of a device.
    pub(super) fn open(device: &wgpu::Device) -> Self {
        let info = device.adapter_info();
        let choices = Choices::open([
            info.name.clone(),
            format!("{} {} {}", info.backend, info.driver, info.driver_info),
            format!("{:016x}", checksum(kernels())),
        ]);
        let pipelines = choices.folder().and_then(|folder| {
            let has = device.features().contains(wgpu::Features::PIPELINE_CACHE);
            let name = wgpu::util::pipeline_cache_key(&info).filter(|_| has)?;
            let path = folder.join(name);
            let file = read(&path);
            let data = unsealed(PIPELINES, choices.whose(), &file);
            let create = |data| match scoped(device, || trusted::pipeline_cache(device, data)) {
                (cache, None) => Some(cache),
                (_, Some(_)) => None,
            };
            // What wgpu or the driver does not take is left out.
            let cache = create(data).or_else(|| data.and_then(|_| create(None)))?;
            Some((path, cache))
        });
        Self { choices, pipelines }
    }

    /// Leaves nothing on disk and takes nothing from it.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        (self.choices, self.pipelines) = (Choices::of(None, ""), None);
    }

    /// What the tuner chose.
    pub(super) fn choices(&self) -> &Choices {
        &self.choices
    }

    pub(super) fn pipelines(&self) -> Option<&wgpu::PipelineCache> {
        self.pipelines.as_ref().map(|(_, cache)| cache)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let Some((path, cache)) = &self.pipelines else {
            return;
        };
        if let Some(data) = cache.get_data() {
            write(path, PIPELINES, self.choices.whose(), &data);
        }
    }
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
