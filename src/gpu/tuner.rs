//! Which of several kernels is the fastest on the adapter in hand: measured once, then remembered.

use super::plan::Plan;
use super::{AdapterKind, Context};
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A way to do one kind of work. All ways that [`Tuner::choose`] is given must leave the same bits:
/// what is measured may differ from run to run, results may not.
pub(super) trait Choice: Copy + PartialEq + std::fmt::Debug + Send + 'static {
    /// What the choices do, one word.
    const FAMILY: &'static str;
    /// What tells this choice from the others, without tabs.
    fn name(self) -> String;
}

/// How much is measured, from the environment variable `BPTT_TUNE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Nothing: the first candidate is taken, no file is read or written.
    Off,
    /// What half a second a device allows, on hardware; the next run measures the rest. On a software
    /// adapter nothing, as shaders take it long to compile and the first candidates are known to do.
    Quick,
    /// Everything, with longer measurements.
    Full,
}

impl Effort {
    pub(super) fn from_environment() -> Result<Self> {
        match std::env::var("BPTT_TUNE") {
            Err(std::env::VarError::NotPresent) => Ok(Self::Quick),
            Ok(text) => Self::parse(&text),
            Err(reason) => Err(Self::unknown(reason)),
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text.trim() {
            "off" => Ok(Self::Off),
            "" | "quick" => Ok(Self::Quick),
            "full" => Ok(Self::Full),
            _ => Err(Self::unknown(format!("{text:?}"))),
        }
    }

    fn unknown(got: impl ToString) -> Error {
        Error::argument("BPTT_TUNE", got, "off, quick or full")
    }

    /// Time for all measurements of a device; one is always finished.
    fn budget(self) -> Duration {
        match self {
            Self::Off => Duration::ZERO,
            Self::Quick => Duration::from_millis(500),
            Self::Full => Duration::from_secs(60),
        }
    }

    /// How many candidates are measured.
    fn candidates(self) -> usize {
        if self == Self::Full { usize::MAX } else { 4 }
    }

    /// The class that a choice is remembered for: what `full` found stays apart and comes first.
    fn class(self, class: &str) -> String {
        if self == Self::Full {
            format!("{class} full")
        } else {
            class.to_owned()
        }
    }

    /// How long one candidate runs.
    fn span(self) -> Duration {
        Duration::from_millis(if self == Self::Full { 100 } else { 10 })
    }

    /// Multiply-adds that a trial should have at most: a shape class is measured at a part of its work.
    pub(super) fn work(self) -> usize {
        if self == Self::Full { 1 << 30 } else { 1 << 26 }
    }
}

#[derive(Default)]
pub(super) struct Tuner(Mutex<TunerState>);

#[derive(Default)]
struct TunerState {
    /// The choice of a family and class, by name.
    chosen: HashMap<(&'static str, String), String>,
    /// The choice of a family that was forced.
    forced: HashMap<&'static str, Box<dyn Any + Send>>,
    spent: Duration,
}

impl Tuner {
    /// Takes one choice wherever it is a candidate, from now on; `None` ends that.
    pub(super) fn force<C: Choice>(&self, choice: Option<C>) {
        let forced = &mut self.0.lock().forced;
        match choice {
            Some(choice) => forced.insert(C::FAMILY, Box::new(choice)),
            None => forced.remove(C::FAMILY),
        };
    }

    /// The choice that is forced.
    pub(super) fn forced<C: Choice>(&self) -> Option<C> {
        let state = self.0.lock();
        state.forced.get(C::FAMILY)?.downcast_ref().copied()
    }

    /// The choice for a class of work: what was forced, else remembered, else measured. `candidates` begin with the best guess.
    /// `trial` makes a plan that does the work of the class a number of times, over memory of its own.
    pub(super) fn choose<C: Choice>(
        &self,
        context: &Context,
        class: &str,
        candidates: &[C],
        trial: impl FnMut(Effort, C, usize) -> Result<Plan>,
    ) -> Result<C> {
        self.choose_in(
            Effort::from_environment()?,
            context,
            class,
            candidates,
            trial,
        )
    }

    fn choose_in<C: Choice>(
        &self,
        effort: Effort,
        context: &Context,
        class: &str,
        candidates: &[C],
        trial: impl FnMut(Effort, C, usize) -> Result<Plan>,
    ) -> Result<C> {
        let named = |name: &String| candidates.iter().copied().find(|c| c.name() == *name);
        let key = (C::FAMILY, class.to_owned());
        let forced = self.forced().filter(|choice| candidates.contains(choice));
        {
            let state = self.0.lock();
            if let Some(choice) = forced.or_else(|| state.chosen.get(&key).and_then(named)) {
                return Ok(choice);
            }
            let alone = candidates.len() < 2;
            // In a browser nothing can be waited for here, and wgpu's device that does nothing has nothing to measure.
            let idle = context.device.adapter_info().backend == wgpu::Backend::Noop;
            if alone || effort == Effort::Off || idle || cfg!(target_arch = "wasm32") {
                return Ok(candidates[0]);
            }
            let full = context.store.get(C::FAMILY, &Effort::Full.class(class));
            let stored = full
                .filter(|name| named(name).is_some())
                .or_else(|| context.store.get(C::FAMILY, &effort.class(class)));
            if let Some(choice) = stored.as_ref().and_then(named) {
                drop(state);
                self.0.lock().chosen.insert(key, choice.name());
                return Ok(choice);
            }
        }
        if effort == Effort::Quick && context.info.kind == AdapterKind::Software {
            return Ok(candidates[0]);
        }
        let (choice, complete) = self.measure(context, effort, candidates, trial)?;
        self.0.lock().chosen.insert(key, choice.name());
        if complete {
            context
                .store
                .put(C::FAMILY, &effort.class(class), &choice.name());
        }
        Ok(choice)
    }

    /// The fastest candidate, and whether all were measured.
    fn measure<C: Choice>(
        &self,
        context: &Context,
        effort: Effort,
        candidates: &[C],
        mut trial: impl FnMut(Effort, C, usize) -> Result<Plan>,
    ) -> Result<(C, bool)> {
        let mut best = (candidates[0], Duration::MAX);
        for candidate in candidates.iter().take(effort.candidates()) {
            if self.0.lock().spent >= effort.budget() {
                return Ok((best.0, false));
            }
            let start = Instant::now();
            let time = time(context, effort, |repeats| {
                trial(effort, *candidate, repeats)
            })?;
            self.0.lock().spent += start.elapsed();
            if time < best.1 {
                best = (*candidate, time);
            }
        }
        Ok((best.0, true))
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
    let repeats = (effort.span().as_nanos() / (4 * best.as_nanos()).max(1)).clamp(1, 64) as usize;
    let plan = if repeats > 1 { trial(repeats)? } else { once };
    let start = Instant::now();
    while start.elapsed() < effort.span() {
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

    #[test]
    fn a_mode_is_a_known_word() {
        assert_eq!(Effort::parse("off").unwrap(), Effort::Off);
        assert_eq!(Effort::parse(" quick").unwrap(), Effort::Quick);
        assert_eq!(Effort::parse("full").unwrap(), Effort::Full);
        let error = Effort::parse("on").unwrap_err().to_string();
        assert_eq!(error, "BPTT_TUNE: \"on\", expected off, quick or full");
    }

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
        let choice =
            Tuner::default().choose_in(Effort::Full, &context, "a", &candidates, |_, _, _| {
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
        let tuner = Tuner::default();
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
            let choice = tuner.choose_in(effort, &context, "a", &candidates, |_, wait, _| {
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
        tuner.force(Some(Wait::Long));
        assert_eq!(choose(Effort::Quick), (Wait::Long, false));
        tuner.force::<Wait>(None);
        assert_eq!(choose(Effort::Full), (Wait::Short, false));
    }
}
