//! What must hold of an operation before it runs. Behind this check, devices may index without asking again.

use super::check_recurrent::{recurrent_backward, recurrent_forward};
use super::{
    Adam, ClipNorm, ColumnSum, Dropout, Fill, GatherLast, Gemm, Matrix, Mse, Multiply, Op,
    PerDirection, Program, Repeat, RepeatBackward, ScatterLast, Sgd, Slice, Softmax,
    SoftmaxBackward, SoftmaxCrossEntropy, SwapAxes,
};
use crate::philox::RNG_LEN;

pub(super) type Check = std::result::Result<(), String>;

/// Collects the operands of an operation and judges them together.
pub(super) struct Operands<'a> {
    program: &'a Program,
    reads: Vec<(&'static str, Slice)>,
    writes: Vec<(&'static str, Slice)>,
}

impl Operands<'_> {
    /// What the operation reads, by operand; what shares a tensor with another operand may be missing.
    pub(super) fn reads(&self) -> &[(&'static str, Slice)] {
        &self.reads
    }

    /// What it writes.
    pub(super) fn writes(&self) -> &[(&'static str, Slice)] {
        &self.writes
    }

    /// What it reads or writes.
    pub(super) fn all(&self) -> impl Iterator<Item = &(&'static str, Slice)> {
        self.reads.iter().chain(&self.writes)
    }

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

    pub(super) fn read(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        self.reads.push((name, slice));
        Ok(())
    }

    pub(super) fn write(&mut self, name: &'static str, slice: Slice, len: usize) -> Check {
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

    /// An operand that shares its tensor, and so its binding, with another of the same access that is known already, where both are
    /// present.
    pub(super) fn shares(
        &mut self,
        name: &str,
        slice: Slice,
        with: Option<Slice>,
        len: usize,
    ) -> Check {
        Self::length(name, slice, len)?;
        self.inside(name, slice)?;
        match with {
            Some(with) if with.tensor != slice.tensor => Err(format!(
                "{name} is in another tensor than what it shares a binding with"
            )),
            Some(with)
                if slice.offset < with.offset + with.len
                    && with.offset < slice.offset + slice.len =>
            {
                Err(format!("{name} overlaps what it shares a tensor with"))
            }
            _ => Ok(()),
        }
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

    pub(super) fn read_optional(
        &mut self,
        name: &'static str,
        slice: Option<Slice>,
        len: usize,
    ) -> Check {
        slice.map_or(Ok(()), |slice| self.read(name, slice, len))
    }

    pub(super) fn write_optional(
        &mut self,
        name: &'static str,
        slice: Option<Slice>,
        len: usize,
    ) -> Check {
        slice.map_or(Ok(()), |slice| self.write(name, slice, len))
    }

    pub(super) fn read_per_direction(
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

/// The operands of an operation that is consistent.
pub(super) fn check<'a>(
    program: &'a Program,
    op: &Op,
) -> std::result::Result<Operands<'a>, String> {
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
            o.read_matrix("input", *input, input.rows, output.columns)?;
            o.write_matrix("output", *output, output.rows.max(1), output.columns)?;
        }
        Op::RecurrentForward(op) => recurrent_forward(o, op)?,
        Op::RecurrentBackward(op) => recurrent_backward(o, op)?,
        Op::GatherLast(GatherLast {
            input,
            lengths,
            output,
            ..
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
            row_weights,
            loss,
            gradient,
            ..
        }) => {
            o.read("prediction", *prediction, prediction.len)?;
            o.read("target", *target, prediction.len)?;
            if let Some(weights) = row_weights {
                let rows = weights.len.max(1);
                if !prediction.len.is_multiple_of(rows) {
                    return Err(format!(
                        "row_weights has {rows} elements, which do not divide {}",
                        prediction.len
                    ));
                }
                o.read("row_weights", *weights, weights.len)?;
            }
            o.write("loss", *loss, 1)?;
            o.write_optional("gradient", *gradient, prediction.len)?;
        }
        Op::SoftmaxCrossEntropy(SoftmaxCrossEntropy {
            logits,
            classes,
            row_weights,
            loss,
            gradient,
            ..
        }) => {
            o.read_matrix("logits", *logits, logits.rows, logits.columns)?;
            o.read_optional("row_weights", *row_weights, logits.rows)?;
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
        Op::Dropout(op) => dropout(o, op)?,
        Op::Multiply(Multiply {
            input,
            factor,
            output,
        }) => {
            o.read_matrix("input", *input, output.rows, output.columns)?;
            o.read_matrix("factor", *factor, factor.rows.max(1), output.columns)?;
            o.write_matrix("output", *output, output.rows, output.columns)?;
        }
        Op::Repeat(Repeat {
            input,
            bias,
            output,
        }) => {
            repeats(*input, *output)?;
            o.read_matrix("input", *input, output.rows, input.columns)?;
            o.read_optional("bias", *bias, output.columns)?;
            o.write_matrix("output", *output, output.rows, output.columns)?;
        }
        Op::RepeatBackward(RepeatBackward {
            d_output, d_input, ..
        }) => {
            repeats(*d_input, *d_output)?;
            o.read_matrix("d_output", *d_output, d_input.rows, d_output.columns)?;
            o.write_matrix("d_input", *d_input, d_input.rows, d_input.columns)?;
        }
        Op::ScatterLast(ScatterLast {
            d_output,
            lengths,
            d_input,
        }) => {
            let steps = d_input.rows / lengths.len.max(1);
            o.read_matrix("d_output", *d_output, d_output.rows, d_input.columns)?;
            o.read("lengths", *lengths, d_output.rows)?;
            o.write_matrix("d_input", *d_input, steps * lengths.len, d_input.columns)?;
        }
        Op::SwapAxes(SwapAxes {
            input,
            output,
            shape,
        }) => {
            let len = shape.iter().product();
            o.read("input", *input, len)?;
            o.write("output", *output, len)?;
        }
    }
    operands.disjoint()?;
    Ok(operands)
}

fn dropout(o: &mut Operands<'_>, op: &Dropout) -> Check {
    rate("rate", op.rate)?;
    if op.period == 0 || op.period > u32::MAX as usize {
        return Err(format!("period is {}, not 1 to {}", op.period, u32::MAX));
    }
    o.read_optional("input", op.input, op.output.len)?;
    o.read("rng", op.rng, RNG_LEN)?;
    o.write("output", op.output, op.output.len)
}

/// `Ok` for a probability below 1.
pub(super) fn rate(name: &str, rate: f64) -> Check {
    if (0.0..1.0).contains(&rate) {
        Ok(())
    } else {
        Err(format!("{name} is {rate}, not 0 to below 1"))
    }
}

fn repeats(one: Matrix, many: Matrix) -> Check {
    if one.columns > 0 && many.columns.is_multiple_of(one.columns) {
        return Ok(());
    }
    Err(format!(
        "{} columns are no repetition of {}",
        many.columns, one.columns
    ))
}

fn gemm(o: &mut Operands<'_>, op: &Gemm) -> Check {
    let (m, n, k) = op.dimensions();
    let (a_rows, a_columns) = if op.transpose_a { (k, m) } else { (m, k) };
    let (b_rows, b_columns) = if op.transpose_b { (n, k) } else { (k, n) };
    o.read_matrix("a", op.a, a_rows, a_columns)?;
    o.read_matrix("b", op.b, b_rows, b_columns)?;
    o.read_optional("bias", op.bias, n)?;
    o.write_matrix("c", op.c, m, n)
}
