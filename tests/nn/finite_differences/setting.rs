//! A configuration and how it is called, against central differences.

use super::{TOLERANCE, check_weights, differences, dot};
use crate::common::{array, rng, uniform};
use bptt::cell::Cell;
use bptt::nn::{Input, Recurrent, RecurrentConfig, State};
use bptt::verify::{Mismatch, compare};
use bptt::{Device, Tensor};
use ndarray::ArrayD;

fn random(seed: u64, shape: &[usize]) -> ArrayD<f64> {
    array(shape, uniform(&mut rng(seed), shape.iter().product(), 1.0)).mapv(f64::from)
}

/// A stack and how it is called.
#[derive(Clone)]
pub(super) struct Setting<C> {
    pub(super) config: RecurrentConfig<C>,
    pub(super) steps: usize,
    pub(super) batch: usize,
    pub(super) input: usize,
    pub(super) batch_first: bool,
    /// Whether rows have lengths, of every kind, or all T.
    pub(super) ragged: bool,
    pub(super) initial: bool,
    pub(super) d_last: bool,
    pub(super) train: bool,
    pub(super) seed: u64,
}

/// Of what is dropped at random.
const RANDOM: (u64, u64) = (0x1234_5678_9abc, 5);

impl<C: Cell> Setting<C> {
    pub(super) fn new(
        config: RecurrentConfig<C>,
        (steps, batch, input): (usize, usize, usize),
    ) -> Self {
        Self {
            config,
            steps,
            batch,
            input,
            batch_first: false,
            ragged: false,
            initial: true,
            d_last: true,
            train: false,
            seed: 0,
        }
    }

    /// The gradients of x, the initial states and every weight.
    pub(super) fn check(&self) -> Result<(), Mismatch> {
        let device = Device::cpu_f64();
        let layer = Recurrent::new(&device, self.config.clone(), self.seed + 3).unwrap();
        let lengths: Vec<usize> = (0..self.batch)
            .map(|row| (3 * row + 2) % (self.steps + 1))
            .collect();
        let tensor = |values: &ArrayD<f64>| Tensor::from_array(&device, values).unwrap();
        let forward = |x: &Tensor, initial: Option<&State>| {
            layer.forward(self.input(x, &lengths), initial).unwrap()
        };
        let lead = match self.batch_first {
            true => [self.batch, self.steps],
            false => [self.steps, self.batch],
        };
        let x = random(self.seed + 1, &[lead[0], lead[1], self.input]);
        // The shapes are those of the outputs.
        let (y, last) = forward(&tensor(&x), None);
        let like = |tensor: &Tensor, seed: u64| random(self.seed + seed, tensor.shape());
        let d_y = like(&y, 10);
        let of_states = |seed: u64, given: bool| -> Vec<ArrayD<f64>> {
            let part = |(index, part)| like(part, seed + index as u64) * f64::from(u8::from(given));
            last.parts().iter().enumerate().map(part).collect()
        };
        let (initial, d_last) = (of_states(2, self.initial), of_states(11, self.d_last));
        let state = |parts: &[ArrayD<f64>]| State::from_parts(parts.iter().map(tensor).collect());
        let value = |x: &ArrayD<f64>, initial: &[ArrayD<f64>]| {
            let (y, last) = forward(&tensor(x), Some(&state(initial)));
            let states = last.parts().iter().zip(&d_last);
            let states = states.map(|(last, d)| dot(&last.to_array().unwrap(), d));
            dot(&y.to_array().unwrap(), &d_y) + states.sum::<f64>()
        };
        let given = |parts: &[ArrayD<f64>], given: bool| given.then(|| state(parts));
        let (x_tensor, d_y_tensor) = (tensor(&x), tensor(&d_y));
        let vjp = layer
            .vjp(
                self.input(&x_tensor, &lengths),
                given(&initial, self.initial).as_ref(),
                &d_y_tensor,
                given(&d_last, self.d_last).as_ref(),
            )
            .unwrap();

        let expected = differences(&x, |x| value(x, &initial));
        compare("dx", &vjp.d_x.to_array().unwrap(), &expected, TOLERANCE)?;
        for (index, got) in vjp.d_state.parts().iter().enumerate() {
            let expected = differences(&initial[index], |moved| {
                let mut initial = initial.clone();
                initial[index] = moved.clone();
                value(&x, &initial)
            });
            let name = format!("initial state {index}");
            compare(&name, &got.to_array().unwrap(), &expected, TOLERANCE)?;
        }
        let gradients = vjp.d_weights.to_arrays::<f64>().unwrap();
        check_weights(layer.parameters(), &gradients, || value(&x, &initial))
    }

    fn input<'a>(&self, x: &'a Tensor, lengths: &'a [usize]) -> Input<'a> {
        let input = if self.ragged {
            Input::with_lengths(x, lengths)
        } else {
            Input::from(x)
        };
        if self.train {
            input.train(RANDOM.0, RANDOM.1)
        } else {
            input
        }
    }
}
