//! Which of several ways to do the same work is the fastest on the device in hand: measured once, then remembered.

mod choices;

pub(crate) use choices::Choices;

use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A way to do one kind of work. All ways that [`Tuner::choose`] is given must leave the same bits:
/// what is measured may differ from run to run, results may not.
pub(crate) trait Choice: Copy + PartialEq + std::fmt::Debug + Send + 'static {
    /// What the choices do, one word.
    const FAMILY: &'static str;
    /// What tells this choice from the others, without tabs.
    fn name(self) -> String;
}

/// How much is measured, from the environment variable `BPTT_TUNE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Nothing: the first candidate is taken, no file is read or written.
    Off,
    /// What a short time a device allows; the next process measures the rest. On a software adapter nothing, as shaders take it
    /// long to compile and the first candidates are known to do.
    Quick,
    /// Everything, with longer measurements.
    Full,
}

impl Effort {
    pub(crate) fn from_environment() -> Result<Self> {
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

    /// The class that a choice is remembered for: what `full` found stays apart and comes first.
    fn class(self, class: &str) -> String {
        if self == Self::Full {
            format!("{class} full")
        } else {
            class.to_owned()
        }
    }
}

/// What one device chose.
#[derive(Default)]
pub(crate) struct Tuner(Mutex<TunerState>);

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
    pub(crate) fn force<C: Choice>(&self, choice: Option<C>) {
        let forced = &mut self.0.lock().forced;
        match choice {
            Some(choice) => forced.insert(C::FAMILY, Box::new(choice)),
            None => forced.remove(C::FAMILY),
        };
    }

    /// The choice that is forced.
    pub(crate) fn forced<C: Choice>(&self) -> Option<C> {
        let state = self.0.lock();
        state.forced.get(C::FAMILY)?.downcast_ref().copied()
    }

    /// The choice for a class of work: what was forced, else remembered, else measured, where `measure` is given. `candidates` begin
    /// with the best guess.
    pub(crate) fn choose<C: Choice>(
        &self,
        (effort, choices): (Effort, &Choices),
        class: &str,
        candidates: &[C],
        measure: Option<impl FnOnce(Measuring<'_, C>) -> Result<Measured<C>>>,
    ) -> Result<C> {
        let named = |name: &String| candidates.iter().copied().find(|c| c.name() == *name);
        let key = (C::FAMILY, class.to_owned());
        let forced = self.forced().filter(|choice| candidates.contains(choice));
        let spent = {
            let state = self.0.lock();
            if let Some(choice) = forced.or_else(|| state.chosen.get(&key).and_then(named)) {
                return Ok(choice);
            }
            // In a browser nothing can be waited for here.
            if candidates.len() < 2 || effort == Effort::Off || cfg!(target_arch = "wasm32") {
                return Ok(candidates[0]);
            }
            state.spent
        };
        let full = choices.get(C::FAMILY, &Effort::Full.class(class));
        let stored = full
            .filter(|name| named(name).is_some())
            .or_else(|| choices.get(C::FAMILY, &effort.class(class)));
        if let Some(choice) = stored.as_ref().and_then(named) {
            self.0.lock().chosen.insert(key, choice.name());
            return Ok(choice);
        }
        let Some(measure) = measure else {
            return Ok(candidates[0]);
        };
        let start = Instant::now();
        let Measured { best, complete } = measure(Measuring { candidates, spent })?;
        let mut state = self.0.lock();
        state.spent += start.elapsed();
        state.chosen.insert(key, best.name());
        drop(state);
        if complete {
            choices.put(C::FAMILY, &effort.class(class), &best.name());
        }
        Ok(best)
    }
}

/// What is to be measured.
pub(crate) struct Measuring<'a, C> {
    pub(crate) candidates: &'a [C],
    /// Time that the device's measurements took so far.
    pub(crate) spent: Duration,
}

/// What was found.
pub(crate) struct Measured<C> {
    pub(crate) best: C,
    /// Whether all that was to be measured was: else the next process tries again.
    pub(crate) complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_a_known_word() {
        assert_eq!(Effort::parse("off").unwrap(), Effort::Off);
        assert_eq!(Effort::parse(" quick").unwrap(), Effort::Quick);
        assert_eq!(Effort::parse("full").unwrap(), Effort::Full);
        let error = Effort::parse("on").unwrap_err().to_string();
        assert_eq!(error, "BPTT_TUNE: \"on\", expected off, quick or full");
    }

    impl Choice for u8 {
        const FAMILY: &'static str = "number";
        fn name(self) -> String {
            self.to_string()
        }
    }

    #[test]
    fn what_was_measured_to_its_end_is_remembered_by_the_next_process() {
        let folder = std::env::temp_dir().join(format!("bptt-tuner-{}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        let choices = Choices::of(Some(folder.clone()), "a\tb\t0");
        // The choice of a process, and whether it measured.
        let choose = |tuner: &Tuner, effort: Effort, complete: bool| {
            let mut measured = false;
            let measure = |of: Measuring<'_, u8>| {
                measured = true;
                let best = of.candidates[2];
                Ok(Measured { best, complete })
            };
            let choice = tuner.choose((effort, &choices), "c", &[1, 2, 3], Some(measure));
            (choice.unwrap(), measured)
        };
        let first = Tuner::default();
        assert_eq!(choose(&first, Effort::Off, true), (1, false));
        assert_eq!(choose(&first, Effort::Quick, false), (3, true));
        assert_eq!(choose(&first, Effort::Quick, false), (3, false));
        assert_eq!(choose(&Tuner::default(), Effort::Quick, true), (3, true));
        assert_eq!(choose(&Tuner::default(), Effort::Quick, true), (3, false));
        assert_eq!(choose(&Tuner::default(), Effort::Full, true), (3, true));
        first.force(Some(2_u8));
        assert_eq!(choose(&first, Effort::Quick, true), (2, false));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
