//! One recurrent layer in a program, forward and backward.

use super::config::Regularisers;
use crate::cell::CellRef;
use crate::nn::module::{Backward, Mode, Value};
use crate::nn::parameters::Parameter;
use crate::program::{
    ColumnSum, Dropout, GatesLayout, Gemm, Matrix, Multiply, PerDirection, Program,
    RecurrentBackward, RecurrentForward, RecurrentShape, RecurrentWeights, Repeat, RepeatBackward,
    Slice, Zoneout,
};

/// The weights of one direction of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirectionWeights {
    /// `[G·H, F]`; absent where x enters the gates as it is.
    pub(super) weight_ih: Option<Parameter>,
    /// `[G·H, P]`
    pub(super) weight_hh: Parameter,
    /// `[G·H]`
    pub(super) bias_ih: Option<Parameter>,
    /// `[G·H]`
    pub(super) bias_hh: Option<Parameter>,
    /// `[P, H]`
    pub(super) weight_hr: Option<Parameter>,
    /// `[V·H]`
    pub(super) weight_diag: Option<Parameter>,
}

/// One layer in a program.
pub(super) struct Layer {
    pub(super) cell: CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) weights: Vec<DirectionWeights>,
    /// `[T, B, F]`
    pub(super) x: Value,
    /// `[T, B, D·P]`
    pub(super) y: Value,
    pub(super) mode: Mode,
    pub(super) regularisers: Regularisers,
    pub(super) initial: Option<Slice>,
    pub(super) last: Slice,
    pub(super) d_state: Option<Slice>,
    pub(super) has_d_last: bool,
    pub(super) wants_initial: bool,
}

/// What a layer's forward pass leaves to its backward pass.
pub(super) struct Trace {
    pub(super) layer: Layer,
    pub(super) saved: Option<Slice>,
    /// `[T, B, D, H]`: what the late gates' product or the projection takes.
    pub(super) inner: Option<Slice>,
    pub(super) weights: RecurrentWeights,
    /// `[D, B, G, P]`
    pub(super) mask: Option<Slice>,
    pub(super) zoneout: Option<Zoneout>,
    /// `[D, G·H, P]`: DropConnect's.
    pub(super) weight_mask: Option<Slice>,
}

/// A weight of every direction.
fn per_direction(
    weights: &[DirectionWeights],
    select: impl Fn(&DirectionWeights) -> Option<Parameter>,
) -> Option<PerDirection> {
    let first = select(&weights[0])?.value;
    let last = select(weights.last()?)?.value;
    Some(PerDirection {
        first,
        stride: last.offset - first.offset,
    })
}

impl Layer {
    pub(super) fn gate_width(&self) -> usize {
        self.cell.gates() * self.shape.hidden
    }

    /// A direction's columns of `[T·B, D·width]`.
    pub(super) fn columns(&self, of: Slice, width: usize, direction: usize) -> Matrix {
        let RecurrentShape {
            steps,
            batch,
            directions,
            ..
        } = self.shape;
        of.matrix(steps * batch, directions * width)
            .columns(direction * width, width)
    }

    /// Writes the forward pass. Returns the backward pass.
    pub(super) fn emit(self, program: &mut Program) -> Backward {
        let x_gates = self.input_gates(program);
        let mask = self.random_mask(program, 2, self.regularisers.recurrent_dropout, |shape| {
            shape.directions * shape.batch * self.cell.gates() * shape.output
        });
        let zoneout = self.zoneout();
        let weight_mask = self.random_mask(program, 4, self.regularisers.weight_dropout, |shape| {
            shape.directions * self.gate_width() * shape.output
        });
        let weight_hh = per_direction(&self.weights, |weights| Some(weights.weight_hh))
            .expect("every layer has recurrent weights");
        let weights = RecurrentWeights {
            weight_hh: match weight_mask {
                Some(mask) => self.masked_weight(program, weight_hh, mask),
                None => weight_hh,
            },
            bias_hh: per_direction(&self.weights, |weights| weights.bias_hh),
            weight_hr: per_direction(&self.weights, |weights| weights.weight_hr),
            weight_diag: per_direction(&self.weights, |weights| weights.weight_diag),
        };
        let (saved, inner) = self.kept(program, weights.weight_hr.is_some());
        program.push(RecurrentForward {
            cell: self.cell.clone(),
            shape: self.shape,
            x_gates,
            weights,
            mask,
            zoneout,
            lengths: self.mode.lengths,
            initial: self.initial,
            last: self.last,
            y: self.y.slice,
            inner,
            saved,
        });
        let trace = Trace {
            saved,
            inner,
            weights,
            mask,
            zoneout,
            weight_mask,
            layer: self,
        };
        Box::new(move |program: &mut Program| trace.backward(program))
    }

    /// W x + b_ih of all steps, `[T, B, D, G·H]`.
    fn input_gates(&self, program: &mut Program) -> Slice {
        let RecurrentShape {
            steps,
            batch,
            directions,
            ..
        } = self.shape;
        let x_gates = program.temporary("x_gates", &[steps, batch, directions * self.gate_width()]);
        for (direction, weights) in self.weights.iter().enumerate() {
            let output = self.columns(x_gates, self.gate_width(), direction);
            let bias = weights.bias_ih.map(|bias| bias.value);
            match weights.weight_ih {
                Some(weight) => {
                    let weight = weight.value.matrix(self.gate_width(), self.x.features());
                    let product = Gemm::new(self.x.matrix(), weight, output);
                    program.push(product.transpose_b().bias(bias));
                }
                None => program.push(Repeat {
                    input: self.x.matrix(),
                    bias,
                    output,
                }),
            }
        }
        x_gates
    }

    /// A mask of one of the layer's sites, where it is random and switched on.
    fn random_mask(
        &self,
        program: &mut Program,
        site: u32,
        rate: f64,
        len: impl Fn(&RecurrentShape) -> usize,
    ) -> Option<Slice> {
        let rng = self.mode.rng.filter(|_| rate > 0.0)?;
        let len = len(&self.shape);
        let output = program.temporary("mask", &[len]);
        program.push(Dropout {
            input: None,
            output,
            rng,
            site: self.mode.site + site,
            rate,
            period: len,
        });
        Some(output)
    }

    fn zoneout(&self) -> Option<Zoneout> {
        let rates = self.regularisers.zoneout;
        (rates != [0.0; 2]).then(|| Zoneout {
            rates,
            random: self.mode.rng.map(|rng| (rng, self.mode.site + 3)),
        })
    }

    /// weight_hh ⊙ mask, `[D, G·H, P]`.
    fn masked_weight(
        &self,
        program: &mut Program,
        weight: PerDirection,
        mask: Slice,
    ) -> PerDirection {
        let len = self.gate_width() * self.shape.output;
        let masked = program.temporary("masked weight_hh", &[self.shape.directions * len]);
        for direction in 0..self.shape.directions {
            let part = |slice: Slice| slice.part(direction * len, len).matrix(1, len);
            program.push(Multiply {
                input: weight.of(direction).matrix(1, len),
                factor: part(mask),
                output: part(masked),
            });
        }
        PerDirection {
            first: masked.part(0, len),
            stride: len,
        }
    }

    /// What the backward pass needs of the cell, and what late gates or a projection take: one tensor.
    fn kept(&self, program: &mut Program, projected: bool) -> (Option<Slice>, Option<Slice>) {
        let saved_len = if self.mode.train {
            self.shape.rows() * self.shape.hidden * self.cell.saved()
        } else {
            0
        };
        let inner_len = RecurrentForward::inner_len(&self.cell, &self.shape, projected);
        if saved_len + inner_len == 0 {
            return (None, None);
        }
        let kept = program.temporary("saved", &[saved_len + inner_len]);
        (
            (saved_len > 0).then(|| kept.part(0, saved_len)),
            (inner_len > 0).then(|| kept.part(saved_len, inner_len)),
        )
    }
}

impl Trace {
    fn backward(&self, program: &mut Program) {
        let layer = &self.layer;
        let (Some(saved), Some(d_state)) = (self.saved, layer.d_state) else {
            unreachable!("a training program keeps what its backward pass needs")
        };
        let projected = self.weights.weight_hr.is_some();
        let layout = GatesLayout::new(&layer.cell, &layer.shape, projected);
        let d_gates = program.temporary("d.gates", &[layout.len]);
        program.push(RecurrentBackward {
            cell: layer.cell.clone(),
            shape: layer.shape,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            saved,
            d_y: layer.y.known_gradient(),
            lengths: layer.mode.lengths,
            d_state,
            has_d_last: layer.has_d_last,
            wants_initial: layer.wants_initial,
            d_gates,
        });
        let gates_len = layer.shape.rows() * layer.gate_width();
        for (direction, weights) in layer.weights.iter().enumerate() {
            let columns = |first: usize| {
                let part = d_gates.part(first, gates_len);
                layer.columns(part, layer.gate_width(), direction)
            };
            let (d_x_gates, d_r) = (columns(layout.d_x), columns(layout.d_r));
            self.input_gradients(program, direction, d_x_gates);
            self.recurrent_weight_gradient(program, direction, d_r);
            for (gates, bias) in [(d_x_gates, weights.bias_ih), (d_r, weights.bias_hh)] {
                let Some(output) = bias.and_then(|bias| bias.gradient) else {
                    continue;
                };
                program.push(ColumnSum {
                    input: gates,
                    output,
                    accumulate: false,
                });
            }
            self.projection_gradient(program, direction, d_gates, layout.d_h);
            self.diagonal_gradient(program, direction, d_state);
        }
    }

    /// The gradients of weight_ih and of x.
    fn input_gradients(&self, program: &mut Program, direction: usize, d_x_gates: Matrix) {
        let x = &self.layer.x;
        let accumulate = direction > 0;
        let Some(weight) = self.layer.weights[direction].weight_ih else {
            if let Some(d_input) = x.gradient_matrix() {
                program.push(RepeatBackward {
                    d_output: d_x_gates,
                    d_input,
                    accumulate,
                });
            }
            return;
        };
        let as_matrix = |slice: Slice| slice.matrix(self.layer.gate_width(), x.features());
        if let Some(d_weight) = weight.gradient {
            program.push(Gemm::new(d_x_gates, x.matrix(), as_matrix(d_weight)).transpose_a());
        }
        if let Some(d_x) = x.gradient_matrix() {
            let product = Gemm::new(d_x_gates, as_matrix(weight.value), d_x);
            program.push(product.accumulate(accumulate));
        }
    }

    /// d_weight_hr = Σ_t d_h_tᵀ m_t.
    fn projection_gradient(
        &self,
        program: &mut Program,
        direction: usize,
        d_gates: Slice,
        d_h: usize,
    ) {
        let layer = &self.layer;
        let RecurrentShape { hidden, output, .. } = layer.shape;
        let weight = layer.weights[direction].weight_hr;
        if let (Some(inner), Some(d_weight)) = (self.inner, weight.and_then(|w| w.gradient)) {
            let d_h = d_gates.part(d_h, layer.shape.rows() * output);
            let d_h = layer.columns(d_h, output, direction);
            let m = layer.columns(inner, hidden, direction);
            let d_weight = d_weight.matrix(output, hidden);
            program.push(Gemm::new(d_h, m, d_weight).transpose_a());
        }
    }

    /// d_weight_diag is left by row behind the gradients of the states.
    fn diagonal_gradient(&self, program: &mut Program, direction: usize, d_state: Slice) {
        let layer = &self.layer;
        let RecurrentShape { batch, hidden, .. } = layer.shape;
        let weight = layer.weights[direction].weight_diag;
        if let Some(output) = weight.and_then(|weight| weight.gradient) {
            let width = layer.cell.diagonals() * hidden;
            let first = layer.shape.state_offset(layer.cell.states()) + direction * batch * width;
            program.push(ColumnSum {
                input: d_state.part(first, batch * width).matrix(batch, width),
                output,
                accumulate: false,
            });
        }
    }
}
