//! Operations lowered to dispatches, with their parameters and bind groups.

use super::memo::Memo;
use super::{Dispatch, Plan};
use crate::device::Precision;
use crate::error::Result;
use crate::gpu::buffer::{Buffer, Editions};
use crate::gpu::context::{Context, check_limit};
use crate::gpu::generate::Generated;
use crate::gpu::kernel::{Kernel, KernelInfo};
use crate::gpu::pipeline::{Pipeline, Variant};
use crate::program::{Slice, TensorId};
use parking_lot::Mutex;
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
    dispatches: Vec<Dispatch>,
    /// The buffers that pipelines are used with.
    bound: Vec<(Arc<Pipeline>, Vec<wgpu::Buffer>)>,
    editions: Vec<Editions>,
    /// For each tensor, whether nothing reads it; empty where that is not known.
    pub(in crate::gpu) unread: Vec<bool>,
    /// What the operations so far write to.
    written: Vec<TensorId>,
    /// Index of the operation that is being lowered.
    pub(in crate::gpu) operation: usize,
    /// Name and elements of all scratch memory.
    scratch: Vec<(String, usize)>,
}

impl<'a> PlanBuilder<'a> {
    /// A builder without dispatches yet.
    pub(in crate::gpu) fn new(context: &'a Context, buffers: &'a [Buffer]) -> Result<Self> {
        // Four numbers, as some kernels read vectors.
        let unused = || context.storage("an unused binding", 4);
        Ok(Self {
            context,
            buffers,
            unused: [unused()?, unused()?],
            reusable: vec![],
            half: context.precision() == Precision::F16,
            memo: Memo::default(),
            params: vec![],
            dispatches: vec![],
            bound: vec![],
            editions: vec![],
            unread: vec![],
            written: vec![],
            operation: 0,
            scratch: vec![],
        })
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

    fn buffer_or(&self, unused: usize, slice: Option<Slice>) -> wgpu::Buffer {
        let of = |slice: Slice| self.buffer(slice.tensor);
        slice.map_or(&self.unused[unused], of).clone()
    }

    /// A slice's buffer, or the stand-in for reading.
    pub(in crate::gpu) fn read_or_unused(&self, slice: Option<Slice>) -> wgpu::Buffer {
        self.buffer_or(0, slice)
    }

    /// A slice's buffer, or the stand-in for writing.
    pub(in crate::gpu) fn write_or_unused(&self, slice: Option<Slice>) -> wgpu::Buffer {
        self.buffer_or(1, slice)
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
        let limit = "max_compute_workgroups_per_dimension";
        check_limit("a dispatch", rows as u64, limit, most as u64)?;
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
        self.dispatch_as(&K::INFO, kernel, variant, params, workgroups)
    }

    /// Appends a dispatch of another kernel with the parameters and bindings of a declared one.
    pub(in crate::gpu) fn dispatch_as<K: Kernel>(
        &mut self,
        info: &KernelInfo,
        kernel: &K,
        variant: &Variant<'_>,
        params: K::Params,
        workgroups: [u32; 3],
    ) -> Result<()> {
        let pipeline = || self.context.pipeline(info, variant);
        let buffers = kernel.buffers().into_iter().cloned().collect();
        self.append(pipeline, buffers, bytemuck::bytes_of(&params), workgroups)
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
        let index = self.dispatches.len();
        self.dispatch(kernel, variant, params, workgroups)?;
        if let Some(dispatch) = self.dispatches.get_mut(index) {
            dispatch.editions = Some(self.editions.len());
            let sources = of.into_iter().map(|tensor| self.buffers[tensor.0].clone());
            self.editions.push(Editions::new(sources.collect()));
        }
        Ok(())
    }

    /// Appends a dispatch of a generated kernel; one of no workgroups is left out.
    pub(in crate::gpu) fn dispatch_generated(
        &mut self,
        kernel: &Generated,
        buffers: Vec<wgpu::Buffer>,
        workgroups: [u32; 3],
    ) -> Result<()> {
        let pipeline = || self.context.generated(kernel);
        let params = bytemuck::cast_slice(&kernel.params);
        self.append(pipeline, buffers, params, workgroups)
    }

    fn append(
        &mut self,
        pipeline: impl FnOnce() -> Result<Arc<Pipeline>>,
        buffers: Vec<wgpu::Buffer>,
        params: &[u8],
        workgroups: [u32; 3],
    ) -> Result<()> {
        if workgroups.contains(&0) {
            return Ok(());
        }
        let pipeline = pipeline()?;
        let alignment = self.context.limits.min_storage_buffer_offset_alignment as usize;
        let params_offset = self.params.len().next_multiple_of(alignment);
        self.params.resize(params_offset, 0);
        self.params.extend_from_slice(params);
        let same = |(known, with): &(Arc<Pipeline>, Vec<_>)| {
            Arc::ptr_eq(known, &pipeline) && *with == buffers
        };
        let known = self.bound.iter().rposition(same);
        let bind_group = known.unwrap_or(self.bound.len());
        if known.is_none() {
            self.bound.push((Arc::clone(&pipeline), buffers));
        }
        self.dispatches.push(Dispatch {
            operation: self.operation,
            pipeline,
            bind_group,
            params_offset: params_offset as u32,
            workgroups,
            editions: None,
        });
        Ok(())
    }

    /// Writes the parameters into one buffer and makes the bind groups, one for each set of buffers a pipeline is used with.
    pub(in crate::gpu) fn finish(self) -> Result<Plan> {
        let context = self.context;
        // A buffer is not empty.
        let size = (self.params.len() as u64).max(4);
        let what = "a plan's parameters";
        let most = context.limits.max_buffer_size;
        check_limit(what, size, "max_buffer_size", most)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let params = context.buffer(what, size, usage)?;
        context.guarded(what, || {
            context.queue.write_buffer(&params, 0, &self.params)
        })?;
        let bind_groups = (self.bound.iter())
            .map(|(pipeline, buffers)| bind_group(context, pipeline, &params, buffers))
            .collect::<Result<_>>()?;
        let mut scratch = self.scratch;
        scratch.push(("parameters of the dispatches".to_owned(), size as usize / 4));
        let written = self.written.iter();
        Ok(Plan {
            dispatches: self.dispatches,
            bind_groups,
            editions: Mutex::new(self.editions),
            written: written.map(|id| self.buffers[id.0].clone()).collect(),
            scratch,
        })
    }
}

fn bind_group(
    context: &Context,
    pipeline: &Pipeline,
    params: &wgpu::Buffer,
    buffers: &[wgpu::Buffer],
) -> Result<wgpu::BindGroup> {
    context.counters.lock().bind_groups += 1;
    let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
        buffer: params,
        offset: 0,
        size: std::num::NonZeroU64::new(pipeline.params_size as u64),
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
