//! Pipelines, made once a device and variant.

use super::Context;
use super::compose::{Shader, Tile, compose};
use super::context::check_limit;
use super::generate::Generated;
use super::kernel::{Access, KernelInfo};
use crate::CellRef;
use crate::error::{Error, Result};
use crate::trusted;
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A compute pipeline and the layout of its one bind group.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) name: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) params_size: usize,
    /// Invocations of a workgroup.
    pub(super) workgroup_size: u64,
}

/// What a kernel is specialised for.
#[derive(Clone, Debug, Default)]
pub(super) struct Variant<'a> {
    /// The cell, and what an invocation works on.
    pub(super) cell: Option<(&'a CellRef, Tile)>,
    /// Values of override constants.
    pub(super) overrides: Vec<(&'static str, f64)>,
    /// Whether the weights are f16.
    pub(super) half: bool,
}

impl Variant<'_> {
    fn key(&self, kernel: &KernelInfo) -> String {
        // The address of a text of its own stands for it: it is a constant of the program.
        let cell = self.cell.map(|(cell, tile)| {
            (
                cell.wgsl()
                    .map(|wgsl| (wgsl.text.as_ptr(), wgsl.text.len())),
                cell.generated_wgsl(),
                [
                    cell.gates(),
                    cell.states(),
                    cell.saved(),
                    cell.diagonals(),
                    cell.early_gates(),
                ],
                cell.shared_gradient(),
                tile,
            )
        });
        let half = if self.half { " half" } else { "" };
        format!("{}{half} {cell:?} {:?}", kernel.name, self.overrides)
    }
}

/// What a pipeline is made of.
struct Request {
    shader: Shader,
    overrides: Vec<(&'static str, f64)>,
    /// For each storage binding behind the parameters, whether it is written to.
    writes: Vec<bool>,
    params_size: usize,
}

#[derive(Default)]
pub(super) struct PipelineCache(Mutex<HashMap<String, Arc<Pipeline>>>);

impl Context {
    /// The pipeline of a kernel's variant.
    pub(super) fn pipeline(
        &self,
        kernel: &KernelInfo,
        variant: &Variant<'_>,
    ) -> Result<Arc<Pipeline>> {
        self.known_or(variant.key(kernel), || {
            let is_text = |name: &str| kernel.constants.iter().any(|(known, _)| *known == name);
            let (text, overrides): (Vec<_>, Vec<_>) =
                (variant.overrides.iter().copied()).partition(|(name, _)| is_text(name));
            let text: Vec<_> =
                (text.into_iter().map(|(name, value)| (name, value as u32))).collect();
            Request {
                shader: compose(kernel, variant.cell, &text, variant.half),
                overrides,
                writes: (kernel.bindings.iter())
                    .map(|binding| binding.access == Access::ReadWrite)
                    .collect(),
                params_size: kernel.params_size,
            }
        })
    }

    /// The pipeline of a generated kernel.
    pub(super) fn generated(&self, kernel: &Generated) -> Result<Arc<Pipeline>> {
        self.known_or(kernel.shader.text.clone(), || Request {
            shader: kernel.shader.clone(),
            overrides: vec![],
            writes: kernel.bindings.iter().map(|bound| bound.writes).collect(),
            params_size: 4 * kernel.params.len(),
        })
    }

    fn known_or(&self, key: String, request: impl FnOnce() -> Request) -> Result<Arc<Pipeline>> {
        let mut cache = self.pipelines.0.lock();
        if let Some(pipeline) = cache.get(&key) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(self.create_pipeline(request())?);
        cache.insert(key, Arc::clone(&pipeline));
        Ok(pipeline)
    }

    fn create_pipeline(&self, request: Request) -> Result<Pipeline> {
        let Request {
            mut shader,
            overrides,
            writes,
            params_size,
        } = request;
        self.counters.lock().pipelines += 1;
        // The parameters are storage too.
        let storage = writes.len() as u64 + 1;
        let most = self.limits.max_storage_buffers_per_shader_stage.into();
        let limit = "max_storage_buffers_per_shader_stage";
        check_limit(&format!("kernel {}", shader.name), storage, limit, most)?;
        if shader.subgroups && !self.device.features().contains(wgpu::Features::SUBGROUP) {
            let reason = format!("{}: the device has no subgroups", shader.name);
            return Err(Error::Gpu(reason));
        }
        if shader.subgroups && cfg!(target_arch = "wasm32") {
            // Browsers want it, naga knows no such directive. On the line of the first file's comment, so that lines keep their
            // numbers.
            shader.text.insert_str(0, "enable subgroups; ");
        }
        let module = self.shader_module(&shader)?;
        self.guarded(&format!("the pipeline of {}", shader.name), || {
            let layout = self
                .device
                .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: Some(&shader.name),
                    entries: &layout_entries(&writes, params_size),
                });
            let pipeline_layout =
                self.device
                    .create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                        label: Some(&shader.name),
                        bind_group_layouts: &[Some(&layout)],
                        ..Default::default()
                    });
            let pipeline = self
                .device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(&shader.name),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &overrides,
                        ..Default::default()
                    },
                    cache: self.store.pipelines(),
                });
            Pipeline {
                name: shader.name.clone(),
                pipeline,
                layout,
                params_size,
                workgroup_size: shader.workgroup_size(&overrides).unwrap_or(0),
            }
        })
    }

    /// Compiles a shader; an error names the file and line it came from.
    fn shader_module(&self, shader: &Shader) -> Result<wgpu::ShaderModule> {
        let mut module = None;
        let outcome = self.guarded(&shader.name, || {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(&shader.name),
                source: wgpu::ShaderSource::Wgsl(shader.text.as_str().into()),
            };
            module = Some(if shader.own {
                trusted::shader_module(&self.device, descriptor)
            } else {
                self.device.create_shader_module(descriptor)
            });
        });
        let Some(module) = module else {
            return Err(Error::Gpu(format!("{}: no module", shader.name)));
        };
        let Err(error) = outcome else {
            return Ok(module);
        };
        let messages = module
            .get_compilation_info()
            .now_or_never()
            .map(|info| info.messages)
            .unwrap_or_default();
        let first = messages
            .iter()
            .find(|m| m.message_type == wgpu::CompilationMessageType::Error);
        Err(
            match first.and_then(|message| Some((message, message.location?))) {
                Some((message, location)) => {
                    let (file, line) = shader.locate(location.line_number as usize);
                    Error::Shader {
                        file,
                        line,
                        column: location.line_position,
                        reason: message.message.trim().to_owned(),
                    }
                }
                None => error,
            },
        )
    }
}

fn layout_entries(writes: &[bool], params_size: usize) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |binding, read_only, has_dynamic_offset, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset,
            min_binding_size: std::num::NonZeroU64::new(size),
        },
        count: None,
    };
    let params = entry(0, true, true, params_size as u64);
    // The least size of a binding is its element's, which differs: wgpu asks the shader.
    let storage = (1..).zip(writes);
    let storage = storage.map(|(binding, writes)| entry(binding, !writes, false, 0));
    std::iter::once(params).chain(storage).collect()
}
