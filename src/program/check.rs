//! What must hold of an operation before it runs. Behind this check, devices may index without asking again.

use super::{
    Adam, ClipNorm, ColumnSum, Fill, GatherLast, Gemm, Matrix, Mse, Op, PerDirection, Program,
    RecurrentBackward, RecurrentForward, RecurrentShape, Sgd, Slice, Softmax, SoftmaxBackward,
    SoftmaxCrossEntropy,
};
use crate::cell::{CellRef, MAX_COUNT};

type Check = std::result::Result<(), String>;

/// Collects the operands of an operation and judges them together.
struct Operands<'a> {
    program: &'a Program,
    reads: Vec<(&'static str, Slice)>,
    writes: Vec<(&'static str, Slice)>,
}

impl Operands<'_> {
    fn inside(&self, name: &str, slice: Slice) -> Check {
        let Some(spec) = self.program.tensors().get(slice.tensor.0) else {
            return Err(format!("{name} is a tensor of another program"));
        };
        let end = slice.offset.saturating_add(slice.len);
        if end > spec.len() {
            return Err(format!(
                "{name} ends at {}, past the {} elements of {}",
                end,
                spec.len(),
                spec.name
            ));
        }
        Ok(())
    }

    fn length(name: &str, slice: Slice, len: usize) -> Check {
        if slice.len == len {
            Ok(())
        } else {
            Err(format!("{name} has {} elements, not {len}", slice.len))
        }
    }

    fn read(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        self.reads.push((name, slice));
        Ok(())
    }

    fn write(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        self.writes.push((name, slice));
        Ok(())
    }

    fn matrix(name: &str, matrix: Matrix, rows: usize, columns: usize) -> Check {
        if (matrix.rows, matrix.columns) != (rows, columns) {
            return Err(format!(
                "{name} is [{}, {}], not [{rows}, {columns}]",
                matrix.rows, matrix.columns
            ));
        }
        if matrix.row_stride < columns {
            return Err(format!(
                "{name}'s row stride {} is less than its {columns} columns",
                matrix.row_stride
            ));
        }
        Ok(())
    }

    fn read_matrix(
        &mut self,
        name: &'static str,
        matrix: Matrix,
        rows: usize,
        columns: usize,
    ) -> Check {
        Self::matrix(name, matrix, rows, columns)?;
        let extent = matrix.extent();
        self.read(name, extent, extent.len)
    }

    fn write_matrix(
        &mut self,
        name: &'static str,
        matrix: Matrix,
        rows: usize,
        columns: usize,
    ) -> Check {
        Self::matrix(name, matrix, rows, columns)?;
        let extent = matrix.extent();
        self.write(name, extent, extent.len)
    }

    fn read_optional(&mut self, name: &'static str, slice: Option<Slice>, len: usize) -> Check {
        slice.map_or(Ok(()), |slice| self.read(name, slice, len))
    }

    fn write_optional(&mut self, name: &'static str, slice: Option<Slice>, len: usize) -> Check {
        slice.map_or(Ok(()), |slice| self.write(name, slice, len))
    }

    fn read_per_direction(
        &mut self,
        name: &'static str,
        weight: PerDirection,
        len: usize,
        directions: usize,
    ) -> Check {
        (0..directions).try_for_each(|direction| self.read(name, weight.of(direction), len))
    }

    /// WebGPU binds a whole tensor either for reading or for writing, so one operation may not do both through two operands.
    fn disjoint(&self) -> Check {
        for (index, (name, written)) in self.writes.iter().enumerate() {
            let others = self.reads.iter().chain(&self.writes[index + 1..]);
            if let Some((other, _)) = others
                .into_iter()
                .find(|(_, slice)| slice.tensor == written.tensor)
            {
                return Err(format!(
                    "{name} and {other} are in one tensor and one of them is written"
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn check(program: &Program, op: &Op) -> Check {
    let mut operands = Operands {
        program,
        reads: vec![],
        writes: vec![],
    };
    let o = &mut operands;
    match op {
        Op::Fill(Fill { target, .. }) => o.write("target", *target, target.len)?,
        Op::Gemm(op) => gemm(o, op)?,
        Op::ColumnSum(ColumnSum { input, output, .. }) => {
            o.read_matrix("input", *input, input.rows, output.len)?;
            o.write("output", *output, output.len)?;
        }
        Op::RecurrentForward(op) => recurrent_forward(o, op)?,
        Op::RecurrentBackward(op) => recurrent_backward(o, op)?,
        Op::GatherLast(GatherLast {
            input,
            lengths,
            output,
        }) => {
            let steps = input.rows / lengths.len.max(1);
            o.read_matrix("input", *input, steps * lengths.len, output.columns)?;
            o.read("lengths", *lengths, output.rows)?;
            o.write_matrix("output", *output, output.rows, output.columns)?;
        }
        Op::Softmax(Softmax { input, output }) => {
            o.read_matrix("input", *input, output.rows, output.columns)?;
            o.write_matrix("output", *output, output.rows, output.columns)?;
        }
        Op::SoftmaxBackward(SoftmaxBackward {
            output,
            d_output,
            d_input,
        }) => {
            o.read_matrix("output", *output, d_input.rows, d_input.columns)?;
            o.read_matrix("d_output", *d_output, d_input.rows, d_input.columns)?;
            o.write_matrix("d_input", *d_input, d_input.rows, d_input.columns)?;
        }
        Op::Mse(Mse {
            prediction,
            target,
            loss,
            gradient,
            ..
        }) => {
            o.read("prediction", *prediction, prediction.len)?;
            o.read("target", *target, prediction.len)?;
            o.write("loss", *loss, 1)?;
            o.write_optional("gradient", *gradient, prediction.len)?;
        }
        Op::SoftmaxCrossEntropy(SoftmaxCrossEntropy {
            logits,
            classes,
            loss,
            gradient,
            ..
        }) => {
            o.read_matrix("logits", *logits, logits.rows, logits.columns)?;
            o.read("classes", *classes, logits.rows)?;
            o.write("loss", *loss, 1)?;
            if let Some(gradient) = gradient {
                o.write_matrix("gradient", *gradient, logits.rows, logits.columns)?;
            }
        }
        Op::ClipNorm(ClipNorm { gradient, clip, .. }) => {
            o.read("gradient", *gradient, gradient.len)?;
            o.write("clip", *clip, 2)?;
        }
        Op::Sgd(Sgd {
            parameter,
            gradient,
            momentum,
            scalars,
            clip,
            nesterov,
        }) => {
            if *nesterov && momentum.is_none() {
                return Err("nesterov is set without a momentum tensor".into());
            }
            o.write("parameter", *parameter, parameter.len)?;
            o.read("gradient", *gradient, parameter.len)?;
            o.write_optional("momentum", *momentum, parameter.len)?;
            o.read("scalars", *scalars, 3)?;
            o.read_optional("clip", *clip, 2)?;
        }
        Op::Adam(Adam {
            parameter,
            gradient,
            first_moment,
            second_moment,
            scalars,
            clip,
        }) => {
            o.write("parameter", *parameter, parameter.len)?;
            o.read("gradient", *gradient, parameter.len)?;
            o.write("first_moment", *first_moment, parameter.len)?;
            o.write("second_moment", *second_moment, parameter.len)?;
            o.read("scalars", *scalars, 9)?;
            o.read_optional("clip", *clip, 2)?;
        }
    }
    operands.disjoint()
}

fn gemm(o: &mut Operands<'_>, op: &Gemm) -> Check {
    let (m, n, k) = op.dimensions();
    if op.transpose_a && op.transpose_b {
        return Err("a and b are both transposed".into());
    }
    let (a_rows, a_columns) = if op.transpose_a { (k, m) } else { (m, k) };
    let (b_rows, b_columns) = if op.transpose_b { (n, k) } else { (k, n) };
    o.read_matrix("a", op.a, a_rows, a_columns)?;
    o.read_matrix("b", op.b, b_rows, b_columns)?;
    o.read_optional("bias", op.bias, n)?;
    o.write_matrix("c", op.c, m, n)
}

fn cell_counts(cell: &CellRef) -> Check {
    for (name, count) in [
        ("gates", cell.gates()),
        ("states", cell.states()),
        ("saved values", cell.saved()),
    ] {
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(format!(
                "cell {} has {count} {name}, not 1 to {MAX_COUNT}",
                cell.name()
            ));
        }
    }
    Ok(())
}

/// The length of the state operands, from the first state's first element to the last state's last.
fn state_len(cell: &CellRef, shape: &RecurrentShape) -> usize {
    (cell.states() - 1) * shape.state_stride + shape.directions * shape.batch * shape.hidden
}

fn recurrent_shape(cell: &CellRef, shape: &RecurrentShape) -> Check {
    cell_counts(cell)?;
    let RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        state_stride,
    } = *shape;
    if steps == 0 || batch == 0 || hidden == 0 {
        return Err(format!(
            "T {steps}, B {batch}, H {hidden}: each must be at least 1"
        ));
    }
    if !(1..=2).contains(&directions) {
        return Err(format!("directions is {directions}, not 1 or 2"));
    }
    if state_stride < directions * batch * hidden {
        return Err(format!(
            "state_stride {state_stride} is less than D·B·H = {}",
            directions * batch * hidden
        ));
    }
    Ok(())
}

fn recurrent_forward(o: &mut Operands<'_>, op: &RecurrentForward) -> Check {
    recurrent_shape(&op.cell, &op.shape)?;
    let RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        ..
    } = op.shape;
    let gate_width = op.cell.gates() * hidden;
    let rows = steps * batch * directions;
    o.read("x_gates", op.x_gates, rows * gate_width)?;
    o.read_per_direction("weight_hh", op.weight_hh, gate_width * hidden, directions)?;
    if let Some(bias) = op.bias_hh {
        o.read_per_direction("bias_hh", bias, gate_width, directions)?;
    }
    o.read_optional("lengths", op.lengths, batch)?;
    o.read_optional("initial", op.initial, state_len(&op.cell, &op.shape))?;
    o.write("last", op.last, state_len(&op.cell, &op.shape))?;
    o.write("y", op.y, rows * hidden)?;
    o.write_optional("saved", op.saved, rows * hidden * op.cell.saved())
}

fn recurrent_backward(o: &mut Operands<'_>, op: &RecurrentBackward) -> Check {
    recurrent_shape(&op.cell, &op.shape)?;
    let RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        ..
    } = op.shape;
    let gate_width = op.cell.gates() * hidden;
    let rows = steps * batch * directions;
    o.read_per_direction("weight_hh", op.weight_hh, gate_width * hidden, directions)?;
    o.read("saved", op.saved, rows * hidden * op.cell.saved())?;
    o.read("d_y", op.d_y, rows * hidden)?;
    o.read_optional("lengths", op.lengths, batch)?;
    o.write("d_state", op.d_state, state_len(&op.cell, &op.shape))?;
    o.write("d_x", op.d_x, rows * gate_width)?;
    if op.d_r.is_some() == op.cell.shared_gradient() {
        return Err(format!(
            "d_r must be {} for cell {}",
            if op.d_r.is_some() {
                "absent"
            } else {
                "present"
            },
            op.cell.name()
        ));
    }
    o.write_optional("d_r", op.d_r, rows * gate_width)
}
