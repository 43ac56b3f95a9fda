//! A plan's run between timestamps.

use super::plan::Plan;
use super::transfer::BufferCopy;
use super::{AdapterInfo, Context};
use crate::error::{Error, Result};
use std::time::{Duration, Instant};

/// Passes whose two timestamps one query set holds.
const PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// When each group started and ended, in nanoseconds after the first started, and how long the host waited.
pub(crate) struct Timestamps {
    pub(crate) passes: Vec<[u64; 2]>,
    pub(crate) wall: Duration,
}

impl Plan {
    /// Runs like [`Plan::run`], but with each group of consecutive dispatches in a pass of its own,
    /// and waits. `groups`: their numbers of dispatches.
    pub(crate) fn profile(
        &self,
        context: &Context,
        before: &[BufferCopy<'_>],
        after: &[BufferCopy<'_>],
        groups: &[usize],
    ) -> Result<Timestamps> {
        context.check()?;
        check_feature(&context.device, &context.info)?;
        let sets = query_sets(context, groups.len())?;
        let bytes = 16 * groups.len().max(1) as u64;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let ticks = context.buffer("the timestamps", bytes, usage)?;
        let start = Instant::now();
        let order = context.order.lock();
        before.iter().for_each(|copy| copy.to.0.writes());
        self.writes(after);
        let index = context.guarded("a profiled run", || {
            context.submit(|encoder| {
                before.iter().for_each(|copy| copy.encode(encoder));
                let mut first = 0;
                for (group, count) in groups.iter().enumerate() {
                    let query = 2 * (group % PASSES) as u32;
                    let descriptor = wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &sets[group / PASSES],
                            beginning_of_pass_write_index: Some(query),
                            end_of_pass_write_index: Some(query + 1),
                        }),
                    };
                    let mut pass = encoder.begin_compute_pass(&descriptor);
                    self.encode(&mut pass, first..first + count, &[]);
                    first += count;
                }
                after.iter().for_each(|copy| copy.encode(encoder));
                for (index, passes) in groups.chunks(PASSES).enumerate() {
                    let queries = 0..2 * passes.len() as u32;
                    let at = (16 * PASSES * index) as u64;
                    encoder.resolve_query_set(&sets[index], queries, &ticks, at);
                }
            })
        })?;
        drop(order);
        self.count(context, 0);
        context.wait(Some(index))?;
        let wall = start.elapsed();
        // A timestamp is 64 bits; they are read as two floats each, of which nothing is computed.
        let words = crate::waiting::block_on(context.read(&ticks, 0, 4 * groups.len()))?;
        let period = f64::from(context.queue.get_timestamp_period());
        let ticks: Vec<u64> = words
            .chunks_exact(2)
            .map(|word| u64::from(word[0].to_bits()) | u64::from(word[1].to_bits()) << 32)
            .collect();
        let origin = ticks.iter().copied().min().unwrap_or(0);
        let nanoseconds = |tick: u64| ((tick - origin) as f64 * period) as u64;
        let passes = ticks.chunks_exact(2);
        Ok(Timestamps {
            passes: passes
                .map(|pass| [pass[0], pass[1]].map(nanoseconds))
                .collect(),
            wall,
        })
    }
}

fn check_feature(device: &wgpu::Device, info: &AdapterInfo) -> Result<()> {
    if device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        return Ok(());
    }
    Err(Error::Feature {
        what: "a profile".to_owned(),
        feature: "TIMESTAMP_QUERY",
        device: info.to_string(),
    })
}

fn query_sets(context: &Context, passes: usize) -> Result<Vec<wgpu::QuerySet>> {
    context.guarded("the timestamps", || {
        let sizes = (0..passes).step_by(PASSES);
        let sizes = sizes.map(|first| (passes - first).min(PASSES));
        let set = |passes: usize| {
            context.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * passes as u32,
            })
        };
        sizes.map(set).collect()
    })
}
