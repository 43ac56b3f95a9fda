//! Input products that a device may do as part of the recurrence behind them.

use super::{Op, Program, RecurrentForward, Role, Slice, TensorId, check};

impl Program {
    /// The operations that a device may fuse with the recurrence right behind them: its D input
    /// products, where their result is a temporary tensor that nothing but recurrences reads. What
    /// they read is in use until the recurrence is done.
    pub(crate) fn fused_products(&self) -> Vec<bool> {
        let mut fused = vec![false; self.ops.len()];
        let mut shut: Vec<TensorId> = vec![];
        for (index, op) in self.ops.iter().enumerate() {
            if let Op::RecurrentForward(recurrent) = op {
                match self.products(index, recurrent) {
                    Some(first) => fused[first..index].fill(true),
                    None => shut.push(recurrent.x_gates.tensor),
                }
            } else if let Ok(operands) = check::check(self, op) {
                shut.extend(operands.reads().iter().map(|(_, slice)| slice.tensor));
            }
        }
        for (op, fused) in self.ops.iter().zip(&mut fused) {
            if let Op::Gemm(product) = op {
                *fused &= !shut.contains(&product.c.tensor);
            }
        }
        fused
    }

    /// The first of the input products right before a recurrence.
    fn products(&self, index: usize, recurrent: &RecurrentForward) -> Option<usize> {
        let role = self.spec(recurrent.x_gates.tensor).role;
        let first = index.checked_sub(recurrent.shape.directions)?;
        let mut products = self.ops[first..index].iter().enumerate();
        let all = products.all(|(direction, op)| is_input(op, recurrent, direction));
        (role == Role::Temporary && all).then_some(first)
    }
}

/// Whether an operation is a direction's x_gates = x Wᵀ + b, of tensors that the recurrence does not write.
fn is_input(op: &Op, recurrent: &RecurrentForward, direction: usize) -> bool {
    let Op::Gemm(product) = op else { return false };
    let shape = &recurrent.shape;
    let width = recurrent.cell.gates() * shape.hidden;
    let all = recurrent.x_gates;
    let gates = all.matrix(shape.steps * shape.batch, shape.directions * width);
    let tensors = [
        Some(product.a.extent()),
        Some(product.b.extent()),
        product.bias,
    ];
    let written = [
        Some(recurrent.y),
        Some(recurrent.last),
        recurrent.saved,
        recurrent.inner,
    ];
    let apart = tensors.iter().flatten().all(|read| {
        let same = |written: &&Slice| written.tensor == read.tensor;
        written.iter().flatten().find(same).is_none()
    });
    let form = (product.transpose_a, product.transpose_b, product.accumulate);
    apart && form == (false, true, false) && product.c == gates.columns(direction * width, width)
}

#[cfg(test)]
mod tests;
