//! Which states zoneout keeps (Krueger et al., 2016): new = (1 − m) old + m computed.

use super::Memory;
use crate::Real;
use crate::philox::{Stream, threshold};
use crate::program::{RecurrentShape, Segment, Zoneout};

/// Zoneout of a layer in one run.
#[derive(Clone, Copy)]
pub(super) struct ZoneoutMask {
    rates: [f64; 2],
    stream: Option<Stream>,
    shape: RecurrentShape,
    segment: Segment,
}

/// m of one row and step.
pub(super) struct Keep<F> {
    blocks: Vec<[u32; 4]>,
    /// m of h, `[P]`.
    h: Vec<F>,
    /// m of every other state, `[H]`.
    others: Vec<F>,
}

impl<F> Keep<F> {
    /// m of a state.
    pub(super) fn of(&self, state: usize) -> &[F] {
        if state == 0 { &self.h } else { &self.others }
    }
}

impl ZoneoutMask {
    pub(super) fn new<F: Real>(
        zoneout: Option<Zoneout>,
        shape: &RecurrentShape,
        segment: Segment,
        memory: &Memory<'_, F>,
    ) -> Option<Self> {
        let Zoneout { rates, random } = zoneout?;
        let stream = random.map(|(rng, site)| Stream::new(&memory.read(rng), site));
        let shape = *shape;
        Some(Self {
            rates,
            stream,
            shape,
            segment,
        })
    }

    /// Room for m, which without random numbers is the same for all rows and steps.
    pub(super) fn room<F: Real>(&self) -> Keep<F> {
        let mean = |kind: usize| F::from_double(1.0 - self.rates[kind]);
        Keep {
            blocks: vec![],
            h: vec![mean(0); self.shape.output],
            others: vec![mean(1); self.shape.hidden],
        }
    }

    /// Draws m of a row at a time: of each unit a block, whose first word is h's and whose second
    /// the others'.
    pub(super) fn draw<F: Real>(
        &self,
        keep: &mut Keep<F>,
        (direction, t, row): (usize, usize, usize),
    ) {
        let Some(stream) = self.stream else { return };
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            ..
        } = self.shape;
        let t = self.segment.start(steps, direction) + t;
        let row = (direction * self.segment.total + t) * batch + row;
        keep.blocks.resize(hidden, [0; 4]);
        stream.blocks((row * hidden) as u32, &mut keep.blocks);
        let [of_h, of_others] = self.rates.map(threshold);
        let kept = |word: u32, threshold| {
            if word < threshold {
                F::zero()
            } else {
                F::one()
            }
        };
        for (m, block) in keep.others.iter_mut().zip(&keep.blocks) {
            *m = kept(block[1], of_others);
        }
        if output != hidden {
            keep.blocks.resize(output, [0; 4]);
            stream.blocks((row * output) as u32, &mut keep.blocks);
        }
        for (m, block) in keep.h.iter_mut().zip(&keep.blocks) {
            *m = kept(block[0], of_h);
        }
    }
}
