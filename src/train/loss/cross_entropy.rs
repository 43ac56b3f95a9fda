//! Cross-entropy of classes.

use super::Loss;
use crate::error::Result;
use crate::expr::Lanes;
use crate::graph::{Type, Var};
use crate::nn::Scope;

/// −log softmax(output)\[class\] of every row (PyTorch's `nn.CrossEntropyLoss`), or −log output\[class\] where the output is a
/// distribution already, as behind [`Softmax`](crate::nn::Softmax). Targets are class numbers (u32), of the output's shape
/// without the last axis. In arrays a class past the last is an error. Tensors on the device are not looked at: there a row of such
/// a class is left out, with a loss and a gradient of 0; it stays among those that a mean divides by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrossEntropy;

impl Loss for CrossEntropy {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        let distribution = s.ty(output).distribution;
        let columns = s.ty(output).features() as u32;
        s.fold_rows_of_class("cross_entropy", output, target, |row, x, class| {
            let zero = x.zero();
            let picked = row.sum(row.is(class, x, zero));
            let loss = if distribution {
                -picked.ln()
            } else {
                let max = row.max(x);
                row.sum((x - max).exp()).ln() + max - picked
            };
            class.less(class.constant(columns), loss, zero)
        })
    }

    fn target(&self, output: &Type) -> Type {
        let rank = output.shape.len();
        Type::index(&output.shape[..rank.saturating_sub(1)])
    }

    fn classes(&self, output: &Type) -> Option<usize> {
        Some(output.features())
    }
}
