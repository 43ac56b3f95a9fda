//! Data to and from the GPU.

use super::{Buffer, Context};
use crate::error::Result;
use futures::channel::oneshot;

/// A copy of `len` floats between two buffers, each with the float it starts at.
pub(crate) struct BufferCopy<'a> {
    pub(crate) from: (&'a Buffer, usize),
    pub(crate) to: (&'a Buffer, usize),
    pub(crate) len: usize,
}

impl BufferCopy<'_> {
    pub(super) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        if self.len > 0 {
            let bytes = |floats: usize| 4 * floats as u64;
            let (from, to) = (self.from, self.to);
            encoder.copy_buffer_to_buffer(
                from.0,
                bytes(from.1),
                to.0,
                bytes(to.1),
                Some(bytes(self.len)),
            );
        }
    }
}

/// Memory that a queue takes words from, written once from front to back.
pub(crate) struct Words<'a>(wgpu::WriteOnly<'a, [u8]>);

impl Words<'_> {
    /// Puts the next words: as many as there are, of which it is known how many.
    pub(crate) fn put(&mut self, words: impl ExactSizeIterator<Item = u32>) {
        if let Some(part) = self.0.split_off(..4 * words.len()) {
            part.into_chunks().0.write_iter(words.map(u32::to_ne_bytes));
        }
    }

    /// Puts so many zeros.
    pub(crate) fn zeros(&mut self, len: usize) {
        self.put((0..len).map(|_| 0));
    }

    /// Puts the next words, which lie as they should.
    pub(crate) fn copy<T: bytemuck::Pod>(&mut self, words: &[T]) {
        if let Some(mut part) = self.0.split_off(..size_of_val(words)) {
            part.copy_from_slice(bytemuck::cast_slice(words));
        }
    }
}

impl Context {
    /// Writes floats into storage, `offset` floats from its start; ordered before the next submit.
    pub(crate) fn write(&self, buffer: &Buffer, offset: usize, values: &[f32]) -> Result<()> {
        self.write_with(buffer, offset, values.len(), |words| words.copy(values))
    }

    /// Writes `len` words into storage, `offset` words from its start: `fill` puts all of them where the queue takes them from.
    /// Ordered before the next submit.
    pub(crate) fn write_with(
        &self,
        buffer: &Buffer,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut Words<'_>),
    ) -> Result<()> {
        if let Some(size) = std::num::NonZeroU64::new(4 * len as u64) {
            self.make_room()?;
            let _order = self.order.lock();
            buffer.writes();
            self.guarded("writing to a tensor", || {
                let at = 4 * offset as u64;
                match self.queue.write_buffer_with(buffer, at, size) {
                    Some(mut view) => fill(&mut Words(view.slice(..))),
                    None => {
                        let mut bytes = vec![0; 4 * len];
                        fill(&mut Words(wgpu::WriteOnly::from_mut(&mut bytes[..])));
                        self.queue.write_buffer(buffer, at, &bytes);
                    }
                }
                self.count_written(size.get());
            })?;
        }
        self.check()
    }

    /// Copies between tensors, as a submit of its own.
    pub(crate) fn copy(&self, copies: &[BufferCopy<'_>]) -> Result<()> {
        self.make_room()?;
        let _order = self.order.lock();
        copies.iter().for_each(|copy| copy.to.0.writes());
        self.guarded("copying a tensor", || {
            self.submit(|encoder| copies.iter().for_each(|copy| copy.encode(encoder)));
        })
    }

    /// Reads `len` floats, `offset` floats from the start, once all work submitted so far is done.
    pub(crate) async fn read(
        &self,
        buffer: &wgpu::Buffer,
        offset: usize,
        len: usize,
    ) -> Result<Vec<f32>> {
        self.check()?;
        if len == 0 {
            return Ok(vec![]);
        }
        let bytes = 4 * len as u64;
        self.idle().await?;
        let staging = self.take_staging(bytes)?;
        let (sender, receiver) = oneshot::channel();
        let index = self.guarded("reading a tensor", || {
            let at = 4 * offset as u64;
            let index = self.submit(|encoder| {
                encoder.copy_buffer_to_buffer(buffer, at, &staging, 0, Some(bytes));
            });
            staging.map_async(wgpu::MapMode::Read, ..bytes, move |outcome| {
                // The receiver is gone only where the reading future was dropped.
                sender.send(outcome).ok();
            });
            index
        })?;
        self.counters.lock().readbacks += 1;
        self.wait_for(index).await?;
        match receiver.await {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(self.lost(reason)),
            Err(_) => return Err(self.lost("the readback was dropped")),
        }
        self.check()?;
        let values = {
            let view = staging
                .get_mapped_range(..bytes)
                .map_err(|reason| self.lost(reason))?;
            // The mapped bytes may lie anywhere, so they are collected instead of cast.
            bytemuck::pod_collect_to_vec(&view)
        };
        staging.unmap();
        self.staging.lock().push(staging);
        Ok(values)
    }

    /// An idle readback buffer of at least `bytes`, or a new one.
    fn take_staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let mut idle = self.staging.lock();
        if let Some(index) = idle.iter().position(|buffer| buffer.size() >= bytes) {
            return Ok(idle.swap_remove(index));
        }
        // Whatever is idle is too small: keep one, the larger.
        idle.clear();
        drop(idle);
        self.buffer(
            "a readback",
            bytes,
            wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        )
    }
}
