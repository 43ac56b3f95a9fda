//! A program on a GPU: dispatches that are built once and submitted together.

mod builder;
mod memo;

pub(super) use builder::PlanBuilder;

use super::Context;
use super::buffer::{Buffer, Editions};
use super::pipeline::Pipeline;
use super::transfer::BufferCopy;
use crate::error::Result;
use crate::profile::Launch;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;

/// A program's dispatches, in order, ready to be submitted any number of times.
#[derive(Debug)]
pub(crate) struct Plan {
    dispatches: Vec<Dispatch>,
    bind_groups: Vec<wgpu::BindGroup>,
    /// The editions of which the results of some dispatches were made: those need not run again while they hold.
    editions: Mutex<Vec<Editions>>,
    /// The tensors that a run writes to.
    written: Vec<Buffer>,
    /// Name and elements of the memory that operations have for themselves.
    scratch: Vec<(String, usize)>,
}

#[derive(Debug)]
struct Dispatch {
    /// Index in the program.
    operation: usize,
    pipeline: Arc<Pipeline>,
    /// Index in the bind groups.
    bind_group: usize,
    params_offset: u32,
    workgroups: [u32; 3],
    /// Index in the editions.
    editions: Option<usize>,
}

impl Plan {
    /// Submits the copies and all dispatches but for those whose results still hold, in one compute
    /// pass, as one submit, without waiting.
    pub(crate) fn run(
        &self,
        context: &Context,
        before: &[BufferCopy<'_>],
        after: &[BufferCopy<'_>],
    ) -> Result<()> {
        if let Err(fault) = context.check().and_then(|()| context.make_room()) {
            // Earlier work may not have been done.
            self.forget();
            return Err(fault);
        }
        let _order = context.order.lock();
        before.iter().for_each(|copy| copy.to.0.writes());
        let mut editions = self.editions.lock();
        let hold: Vec<_> = editions.iter_mut().map(Editions::holds).collect();
        drop(editions);
        self.writes(after);
        let submitted = context.guarded("a run", || {
            context.submit(|encoder| {
                before.iter().for_each(|copy| copy.encode(encoder));
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                self.encode(&mut pass, 0..self.dispatches.len(), &hold);
                drop(pass);
                after.iter().for_each(|copy| copy.encode(encoder));
            })
        });
        if submitted.is_err() {
            self.forget();
        }
        let left_out = hold.into_iter().filter(|holds| *holds).count();
        self.count(context, left_out);
        submitted.map(|_| ())
    }

    /// Makes the next run leave nothing out.
    fn forget(&self) {
        self.editions.lock().iter_mut().for_each(Editions::forget);
    }

    /// Encodes some of the dispatches, without those whose results hold, as `hold` says.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        which: Range<usize>,
        hold: &[bool],
    ) {
        let mut current: Option<&Arc<Pipeline>> = None;
        let holds = |editions: usize| hold.get(editions).is_some_and(|holds| *holds);
        for dispatch in &self.dispatches[which] {
            if dispatch.editions.is_some_and(holds) {
                continue;
            }
            if current.is_none_or(|current| !Arc::ptr_eq(current, &dispatch.pipeline)) {
                pass.set_pipeline(&dispatch.pipeline.pipeline);
                current = Some(&dispatch.pipeline);
            }
            let bind_group = &self.bind_groups[dispatch.bind_group];
            pass.set_bind_group(0, bind_group, &[dispatch.params_offset]);
            let [x, y, z] = dispatch.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    /// Says that the next submit writes to all that a run and the copies behind it write to.
    pub(super) fn writes(&self, after: &[BufferCopy<'_>]) {
        self.written.iter().for_each(Buffer::writes);
        after.iter().for_each(|copy| copy.to.0.writes());
    }

    /// Counts the dispatches of a run.
    pub(super) fn count(&self, context: &Context, left_out: usize) {
        context.counters.lock().dispatches += (self.dispatches.len() - left_out) as u64;
    }

    /// The kernels in the order they run.
    pub(crate) fn kernels(&self) -> impl Iterator<Item = &str> {
        self.dispatches
            .iter()
            .map(|dispatch| dispatch.pipeline.name.as_str())
    }

    /// The dispatches in the order they run.
    pub(crate) fn launches(&self) -> Vec<Launch<'_>> {
        (self.dispatches.iter())
            .map(|dispatch| {
                let workgroups = dispatch.workgroups.map(u64::from).iter().product();
                Launch {
                    operation: dispatch.operation,
                    kernel: (&*dispatch.pipeline.name).into(),
                    workgroups,
                    invocations: workgroups * dispatch.pipeline.workgroup_size,
                }
            })
            .collect()
    }

    /// Name and elements of the memory that operations have for themselves.
    pub(crate) fn scratch(&self) -> &[(String, usize)] {
        &self.scratch
    }
}
