//! Kernels measured on an adapter.

use super::plan::Plan;
use super::{AdapterKind, Context};
use crate::error::{Error, Result};
use crate::tuning::{Choice, Effort, Measured, Measuring};
use std::time::{Duration, Instant};

impl Effort {
    /// Time for all measurements of a GPU.
    fn gpu_budget(self) -> Duration {
        match self {
            Self::Off => Duration::ZERO,
            Self::Quick => Duration::from_millis(500),
            Self::Full => Duration::from_secs(60),
        }
    }

    /// How many candidates are measured on a GPU.
    fn gpu_candidates(self) -> usize {
        if self == Self::Full { usize::MAX } else { 4 }
    }

    /// Multiply-adds that a trial should have at most: a shape class is measured at a part of its work.
    pub(super) fn gpu_work(self) -> usize {
        if self == Self::Full { 1 << 30 } else { 1 << 26 }
    }

    /// How long one candidate runs on a GPU.
    fn gpu_span(self) -> Duration {
        Duration::from_millis(if self == Self::Full { 100 } else { 10 })
    }
}

impl Context {
    /// The choice for a class of work: see [`Tuner::choose`](crate::tuning::Tuner::choose). `trial` makes a plan that does the work
    /// of the class a number of times, over memory of its own.
    pub(super) fn choose<C: Choice>(
        &self,
        class: &str,
        candidates: &[C],
        trial: impl FnMut(Effort, C, usize) -> Result<Plan>,
    ) -> Result<C> {
        self.choose_by(Effort::from_environment()?, class, candidates, trial)
    }

    fn choose_by<C: Choice>(
        &self,
        effort: Effort,
        class: &str,
        candidates: &[C],
        mut trial: impl FnMut(Effort, C, usize) -> Result<Plan>,
    ) -> Result<C> {
        // wgpu's device that does nothing has nothing to measure.
        let idle = self.device.adapter_info().backend == wgpu::Backend::Noop;
        let soft = effort == Effort::Quick && self.info.kind == AdapterKind::Software;
        let measure = |of: Measuring<'_, C>| {
            let (start, mut best) = (Instant::now(), (of.candidates[0], Duration::MAX));
            for candidate in of.candidates.iter().take(effort.gpu_candidates()) {
                let complete = of.spent + start.elapsed() < effort.gpu_budget();
                if !complete {
                    let best = best.0;
                    return Ok(Measured { best, complete });
                }
                let time = time(self, effort, |repeats| trial(effort, *candidate, repeats))?;
                if time < best.1 {
                    best = (*candidate, time);
                }
            }
            Ok(Measured {
                best: best.0,
                complete: true,
            })
        };
        let measure = (!idle && !soft).then_some(measure);
        let remembered = (effort, self.store.choices());
        self.tuner.choose(remembered, class, candidates, measure)
    }
}

/// The shortest time of one repeat. The plan is as long as needed for the cost of a submit not to count.
fn time(
    context: &Context,
    effort: Effort,
    mut trial: impl FnMut(usize) -> Result<Plan>,
) -> Result<Duration> {
    let run = |plan: &Plan| {
        let start = Instant::now();
        plan.run(context, &[], &[])?;
        context.wait(None)?;
        Ok::<_, Error>(start.elapsed())
    };
    let once = trial(1)?;
    // The first run compiles on some drivers.
    run(&once)?;
    let mut best = run(&once)?;
    let repeats =
        (effort.gpu_span().as_nanos() / (4 * best.as_nanos()).max(1)).clamp(1, 64) as usize;
    let plan = if repeats > 1 { trial(repeats)? } else { once };
    let start = Instant::now();
    while start.elapsed() < effort.gpu_span() {
        best = best.min(run(&plan)? / repeats as u32);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::gpu::Buffer;
    use crate::gpu::adapter::Wish;
    use crate::gpu::ops;
    use crate::gpu::plan::PlanBuilder;
    use crate::program::{Map, Op, Slice, TensorId};

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Wait {
        Long,
        Short,
    }
    impl Choice for Wait {
        const FAMILY: &'static str = "wait";
        fn name(self) -> String {
            format!("{self:?}")
        }
    }

    #[test]
    fn a_device_that_does_nothing_is_not_measured() {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let context = Context::new(device, queue);
        let candidates = [Wait::Long, Wait::Short];
        let choice = context.choose_by(Effort::Full, "a", &candidates, |_, _, _| {
            unreachable!("nothing is tried")
        });
        assert_eq!(choice.unwrap(), Wait::Long);
    }

    #[test]
    fn the_faster_candidate_is_taken_and_measured_once() {
        let wish = Wish::from_environment(Wish::Any);
        let Ok(mut context) = pollster::block_on(Context::open(&wish, Precision::F32)) else {
            return;
        };
        // Away from what this user's other processes remember.
        context.store.forget();
        let buffers = [Buffer::new(context.storage("work", 1 << 20).unwrap())];
        let target = Slice {
            tensor: TensorId(0),
            offset: 0,
            len: 1 << 20,
        };
        let work = Op::from(Map::fill(target, 1.0));
        let candidates = [Wait::Long, Wait::Short];
        let choose = |effort| {
            let mut trials = 0;
            let choice = context.choose_by(effort, "a", &candidates, |_, wait, _| {
                trials += 1;
                let times = if wait == Wait::Long { 20 } else { 0 };
                let mut plan = PlanBuilder::new(&context, &buffers)?;
                for _ in 0..times {
                    ops::append(&work, &mut plan)?;
                }
                plan.finish()
            });
            (choice.unwrap(), trials > 0)
        };
        assert_eq!(choose(Effort::Off), (Wait::Long, false));
        assert_eq!(choose(Effort::Full), (Wait::Short, true));
        assert_eq!(choose(Effort::Quick), (Wait::Short, false));
        context.tuner.force(Some(Wait::Long));
        assert_eq!(choose(Effort::Quick), (Wait::Long, false));
        context.tuner.force::<Wait>(None);
        assert_eq!(choose(Effort::Full), (Wait::Short, false));
    }
}
