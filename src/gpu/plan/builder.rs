//! Operations lowered to dispatches, with their parameters and bind groups.

use super::memo::Memo;
use super::{Dispatch, Plan};
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::gpu::buffer::{Buffer, Editions};
use crate::gpu::context::Context;
use crate::gpu::generate::Generated;
use crate::gpu::kernel::Kernel;
use crate::gpu::pipeline::{Pipeline, Variant};
use crate::program::{Program, Slice, TensorId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Collects dispatches while operations are lowered.
pub(in crate::gpu) struct PlanBuilder<'a> {
    context: &'a Context,
    buffers: &'a [Buffer],
    /// Stand-ins for bindings that a dispatch does not use: one for reading and one for writing, as
    /// WebGPU forbids one buffer in both roles.
    unused: [wgpu::Buffer; 2],
    /// What operations worked in, and whether the one being lowered does not.
    reusable: Vec<(wgpu::Buffer, bool)>,
    /// Whether weights are read in f16.
    pub(in crate::gpu) half: bool,
    /// What operations share.
    pub(in crate::gpu) memo: Memo,
    params: Vec<u8>,
    pending: Vec<Pending>,
    editions: Vec<Editions>,
    /// For each tensor, whether nothing reads it; empty where that is not known.
    unread: Vec<bool>,
    /// What the operations so far write to.
    written: Vec<TensorId>,
    /// Index of the operation that is being lowered.
    operation: usize,
    /// Name and elements of all scratch memory.
    scratch: Vec<(String, usize)>,
}

struct Pending {
    operation: usize,
    pipeline: Arc<Pipeline>,
    buffers: Vec<wgpu::Buffer>,
    params_offset: usize,
    params_size: usize,
    workgroups: [u32; 3],
    editions: Option<usize>,
}

impl<'a> PlanBuilder<'a> {
    /// A builder without dispatches yet.
    pub(in crate::gpu) fn new(context: &'a Context, buffers: &'a [Buffer]) -> Result<Self> {
        // Four numbers, as some kernels read vectors.
        let unused = [
            context.storage("an unused binding", 4)?,
            context.storage("an unused binding", 4)?,
        ];
        Ok(Self {
            context,
            buffers,
            unused,
            reusable: vec![],
            half: context.precision() == Precision::F16,
            memo: Memo::default(),
            params: vec![],
            pending: vec![],
            editions: vec![],
            unread: vec![],
            written: vec![],
            operation: 0,
            scratch: vec![],
        })
    }

    /// A builder for a program, of which it is known what nothing reads.
    pub(in crate::gpu) fn of(
        context: &'a Context,
        program: &Program,
        buffers: &'a [Buffer],
    ) -> Result<Self> {
        let unread = program.unread();
        let builder = Self::new(context, buffers)?;
        Ok(Self { unread, ..builder })
    }

    /// Begins the lowering of an operation.
    pub(in crate::gpu) fn begin(&mut self, operation: usize) {
        self.operation = operation;
    }

    /// Ends the lowering of an operation that writes to some tensors.
    pub(in crate::gpu) fn end(&mut self, written: &[TensorId]) {
        self.memo.forget(written);
        for tensor in written {
            if !self.written.contains(tensor) {
                self.written.push(*tensor);
            }
        }
        self.reusable.iter_mut().for_each(|(_, free)| *free = true);
    }

    pub(in crate::gpu) fn context(&self) -> &'a Context {
        self.context
    }

    pub(in crate::gpu) fn buffer(&self, id: TensorId) -> &'a wgpu::Buffer {
        &self.buffers[id.0]
    }

    /// A slice's buffer, or the stand-in for reading.
    pub(in crate::gpu) fn read_or_unused(&self, slice: Option<Slice>) -> wgpu::Buffer {
        slice
            .map_or(&self.unused[0], |slice| self.buffer(slice.tensor))
            .clone()
    }

    /// A slice's buffer, or the stand-in for writing.
    pub(in crate::gpu) fn write_or_unused(&self, slice: Option<Slice>) -> wgpu::Buffer {
        slice
            .map_or(&self.unused[1], |slice| self.buffer(slice.tensor))
            .clone()
    }

    /// Whether nothing reads what is written to a tensor.
    pub(in crate::gpu) fn is_unread(&self, id: TensorId) -> bool {
        self.unread.get(id.0).is_some_and(|unread| *unread)
    }

    /// Memory for this operation alone: no other one reads what it leaves there.
    pub(in crate::gpu) fn scratch(&mut self, what: &str, len: usize) -> Result<wgpu::Buffer> {
        let fits =
            |(buffer, free): &&mut (wgpu::Buffer, bool)| *free && buffer.size() >= 4 * len as u64;
        if let Some((buffer, free)) = self.reusable.iter_mut().find(fits) {
            *free = false;
            return Ok(buffer.clone());
        }
        let buffer = self.lasting(what, len)?;
        self.reusable.push((buffer.clone(), false));
        Ok(buffer)
    }

    /// Memory that later operations read too.
    pub(in crate::gpu) fn lasting(&mut self, what: &str, len: usize) -> Result<wgpu::Buffer> {
        self.scratch.push((what.to_owned(), len.max(1)));
        self.context.storage(what, len)
    }

    /// Workgroups for `count` of them, spread over two dimensions where one does not hold them.
    pub(in crate::gpu) fn workgroups(&self, count: usize, z: usize) -> Result<[u32; 3]> {
        let most = self.context.limits.max_compute_workgroups_per_dimension as usize;
        let rows = count.div_ceil(most);
        if rows > most {
            return Err(Error::Limit {
                what: "a dispatch".to_owned(),
                needed: rows as u64,
                limit: "max_compute_workgroups_per_dimension",
                available: most as u64,
            });
        }
        let columns = count.div_ceil(rows.max(1));
        Ok([columns as u32, rows as u32, z as u32])
    }

    /// Appends a dispatch; one of no workgroups is left out.
    pub(in crate::gpu) fn dispatch<K: Kernel>(
        &mut self,
        kernel: &K,
        variant: &Variant<'_>,
        params: K::Params,
        workgroups: [u32; 3],
    ) -> Result<()> {
        self.add(kernel, variant, params, workgroups, None)
    }

    /// Appends a dispatch that makes something of tensors `of` which lasts from run to run, and
    /// which later runs leave out until one of the tensors is written to.
    pub(in crate::gpu) fn dispatch_once<K: Kernel>(
        &mut self,
        kernel: &K,
        variant: &Variant<'_>,
        params: K::Params,
        workgroups: [u32; 3],
        of: impl IntoIterator<Item = TensorId>,
    ) -> Result<()> {
        if workgroups.contains(&0) {
            return Ok(());
        }
        let sources = of.into_iter().map(|tensor| self.buffers[tensor.0].clone());
        self.editions.push(Editions::new(sources.collect()));
        let editions = Some(self.editions.len() - 1);
        self.add(kernel, variant, params, workgroups, editions)
    }

    fn add<K: Kernel>(
        &mut self,
        kernel: &K,
        variant: &Variant<'_>,
        params: K::Params,
        workgroups: [u32; 3],
        editions: Option<usize>,
    ) -> Result<()> {
        if workgroups.contains(&0) {
            return Ok(());
        }
        let pipeline = self.context.pipeline::<K>(variant)?;
        let buffers = kernel.buffers().into_iter().cloned().collect();
        self.append(
            pipeline,
            buffers,
            bytemuck::bytes_of(&params),
            workgroups,
            editions,
        );
        Ok(())
    }

    /// Appends a dispatch of a generated kernel; one of no workgroups is left out.
    pub(in crate::gpu) fn dispatch_generated(
        &mut self,
        kernel: &Generated,
        buffers: Vec<wgpu::Buffer>,
        workgroups: [u32; 3],
    ) -> Result<()> {
        if workgroups.contains(&0) {
            return Ok(());
        }
        let pipeline = self.context.generated(kernel)?;
        let params = bytemuck::cast_slice(&kernel.params);
        self.append(pipeline, buffers, params, workgroups, None);
        Ok(())
    }

    fn append(
        &mut self,
        pipeline: Arc<Pipeline>,
        buffers: Vec<wgpu::Buffer>,
        params: &[u8],
        workgroups: [u32; 3],
        editions: Option<usize>,
    ) {
        let alignment = self.context.limits.min_storage_buffer_offset_alignment as usize;
        let params_offset = self.params.len().next_multiple_of(alignment);
        self.params.resize(params_offset, 0);
        self.params.extend_from_slice(params);
        self.pending.push(Pending {
            operation: self.operation,
            pipeline,
            buffers,
            params_offset,
            params_size: params.len(),
            workgroups,
            editions,
        });
    }

    /// Writes the parameters into one buffer and makes the bind groups, one for each set of buffers
    /// a pipeline is used with.
    pub(in crate::gpu) fn finish(self) -> Result<Plan> {
        let context = self.context;
        // A binding reaches past the last parameters by no more than the largest of them.
        let size = (self.params.len() as u64 + 512).next_multiple_of(4);
        if size > context.limits.max_buffer_size {
            return Err(Error::Limit {
                what: "a plan's parameters".to_owned(),
                needed: size,
                limit: "max_buffer_size",
                available: context.limits.max_buffer_size,
            });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let params = context.buffer("a plan's parameters", size, usage)?;
        context.guarded("a plan's parameters", || {
            context.queue.write_buffer(&params, 0, &self.params)
        })?;
        #[allow(
            clippy::mutable_key_type,
            reason = "buffers are compared and hashed by identity"
        )]
        let mut bind_groups = HashMap::new();
        let mut dispatches = Vec::with_capacity(self.pending.len());
        for pending in self.pending {
            let key = (Arc::as_ptr(&pending.pipeline), pending.buffers);
            if !bind_groups.contains_key(&key) {
                let bind_group = bind_group(
                    context,
                    &pending.pipeline,
                    &params,
                    pending.params_size,
                    &key.1,
                )?;
                bind_groups.insert(key.clone(), bind_group);
            }
            dispatches.push(Dispatch {
                operation: pending.operation,
                pipeline: pending.pipeline,
                bind_group: bind_groups[&key].clone(),
                params_offset: pending.params_offset as u32,
                workgroups: pending.workgroups,
                editions: pending.editions,
            });
        }
        let mut scratch = self.scratch;
        scratch.push(("parameters of the dispatches".to_owned(), size as usize / 4));
        let written = self.written.iter();
        Ok(Plan {
            dispatches,
            editions: Mutex::new(self.editions),
            written: written.map(|id| self.buffers[id.0].clone()).collect(),
            scratch,
        })
    }
}

fn bind_group(
    context: &Context,
    pipeline: &Pipeline,
    all_params: &wgpu::Buffer,
    params_size: usize,
    buffers: &[wgpu::Buffer],
) -> Result<wgpu::BindGroup> {
    context.counters.lock().bind_groups += 1;
    let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: all_params,
        offset: 0,
        size: std::num::NonZeroU64::new(params_size as u64),
    });
    let storage = buffers.iter().map(wgpu::Buffer::as_entire_binding);
    let entries: Vec<_> = std::iter::once(params)
        .chain(storage)
        .zip(0..)
        .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor {
        label: Some(&pipeline.name),
        layout: &pipeline.layout,
        entries: &entries,
    };
    context.guarded(&format!("the bindings of {}", pipeline.name), || {
        context.device.create_bind_group(&descriptor)
    })
}
