//! The operations. Each has one name, found in `src/cpu/`, `src/gpu/ops/`, `shaders/` and `tests/`.

use super::{Matrix, Slice};
use crate::cell::CellRef;

/// One operation.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each variant is the struct of its name")]
pub enum Op {
    Fill(Fill),
    Gemm(Gemm),
    ColumnSum(ColumnSum),
    RecurrentForward(RecurrentForward),
    RecurrentBackward(RecurrentBackward),
    GatherLast(GatherLast),
    Softmax(Softmax),
    SoftmaxBackward(SoftmaxBackward),
    Mse(Mse),
    SoftmaxCrossEntropy(SoftmaxCrossEntropy),
    ClipNorm(ClipNorm),
    Sgd(Sgd),
    Adam(Adam),
}

macro_rules! conversions {
    ($($op:ident = $name:literal),* $(,)?) => {
        $(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self::$op(op)
            }
        })*
        impl Op {
            /// The operation's name, that of its files.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$op(_) => $name,)*
                }
            }
        }
    };
}

conversions! {
    Fill = "fill",
    Gemm = "gemm",
    ColumnSum = "column_sum",
    RecurrentForward = "recurrent_forward",
    RecurrentBackward = "recurrent_backward",
    GatherLast = "gather_last",
    Softmax = "softmax",
    SoftmaxBackward = "softmax_backward",
    Mse = "mse",
    SoftmaxCrossEntropy = "softmax_cross_entropy",
    ClipNorm = "clip_norm",
    Sgd = "sgd",
    Adam = "adam",
}

/// Sets every element to `value`.
#[derive(Clone, Debug)]
pub struct Fill {
    /// What is set.
    pub target: Slice,
    /// To what.
    pub value: f32,
}

/// c = op(a) · op(b) (+ bias in every row) (+ c), op being the transposition where asked for. Not both may be transposed.
#[derive(Clone, Debug)]
pub struct Gemm {
    /// `[M, K]`, or `[K, M]` where transposed.
    pub a: Matrix,
    /// Whether a is read transposed.
    pub transpose_a: bool,
    /// `[K, N]`, or `[N, K]` where transposed.
    pub b: Matrix,
    /// Whether b is read transposed.
    pub transpose_b: bool,
    /// `[N]`
    pub bias: Option<Slice>,
    /// `[M, N]`
    pub c: Matrix,
    /// Whether the product is added to c instead of replacing it.
    pub accumulate: bool,
}

impl Gemm {
    /// c = a · b
    pub fn new(a: Matrix, b: Matrix, c: Matrix) -> Self {
        Self {
            a,
            transpose_a: false,
            b,
            transpose_b: false,
            bias: None,
            c,
            accumulate: false,
        }
    }
    /// Reads a transposed.
    #[must_use]
    pub fn transpose_a(self) -> Self {
        Self {
            transpose_a: true,
            ..self
        }
    }
    /// Reads b transposed.
    #[must_use]
    pub fn transpose_b(self) -> Self {
        Self {
            transpose_b: true,
            ..self
        }
    }
    /// Adds a bias `[N]` to every row.
    #[must_use]
    pub fn bias(self, bias: Option<Slice>) -> Self {
        Self { bias, ..self }
    }
    /// Adds to c.
    #[must_use]
    pub fn accumulate(self, accumulate: bool) -> Self {
        Self { accumulate, ..self }
    }
    /// M, N and K.
    pub fn dimensions(&self) -> (usize, usize, usize) {
        let k = if self.transpose_a {
            self.a.rows
        } else {
            self.a.columns
        };
        (self.c.rows, self.c.columns, k)
    }
}

/// output\[n\] = Σ_m input\[m, n\] (+ output\[n\]).
#[derive(Clone, Debug)]
pub struct ColumnSum {
    /// `[M, N]`
    pub input: Matrix,
    /// `[N]`
    pub output: Slice,
    /// Whether the sums are added to the output instead of replacing it.
    pub accumulate: bool,
}

/// A weight or bias of each direction: direction d's starts `d · stride` elements after direction 0's.
#[derive(Clone, Copy, Debug)]
pub struct PerDirection {
    /// Direction 0's.
    pub first: Slice,
    /// Elements from one direction's to the next's.
    pub stride: usize,
}

impl PerDirection {
    /// Direction `direction`'s.
    pub fn of(&self, direction: usize) -> Slice {
        Slice {
            offset: self.first.offset + direction * self.stride,
            ..self.first
        }
    }
}

/// The sizes of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecurrentShape {
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// H
    pub hidden: usize,
    /// D: 1, or 2 where a second set of weights runs from the last step to the first.
    pub directions: usize,
    /// Elements from one state to the next in the state tensors `[S, L·D, B, H]`: `L·D·B·H`.
    pub state_stride: usize,
}

/// The steps of one layer, all directions: r = R h₋ + b_hh, then the cell. D is 1 or 2; direction 1 runs from T − 1 to 0.
#[derive(Clone, Debug)]
pub struct RecurrentForward {
    /// The cell.
    pub cell: CellRef,
    /// T, B, H, D.
    pub shape: RecurrentShape,
    /// `[T, B, D, G·H]`: W x + b_ih.
    pub x_gates: Slice,
    /// `[G·H, H]` for each direction.
    pub weight_hh: PerDirection,
    /// `[G·H]` for each direction.
    pub bias_hh: Option<PerDirection>,
    /// `[B]`, the steps of each row as floats, 0 … T; all T where absent. Past its length a row holds its states and gives y = 0.
    pub lengths: Option<Slice>,
    /// `[S][D, B, H]`, states `state_stride` apart; zeros where absent.
    pub initial: Option<Slice>,
    /// Like `initial`: the states after the last step, out.
    pub last: Slice,
    /// `[T, B, D, H]`: every h, out.
    pub y: Slice,
    /// `[D·K·T·B·H]` in an order that is the device's own; for [`RecurrentBackward`].
    pub saved: Option<Slice>,
}

/// The steps of [`RecurrentForward`] backwards.
#[derive(Clone, Debug)]
pub struct RecurrentBackward {
    /// The cell.
    pub cell: CellRef,
    /// T, B, H, D.
    pub shape: RecurrentShape,
    /// `[G·H, H]` for each direction.
    pub weight_hh: PerDirection,
    /// As the forward pass left it.
    pub saved: Slice,
    /// `[T, B, D, H]`
    pub d_y: Slice,
    /// `[B]`, as in the forward pass. Past its length a row has no gradient but that of its states.
    pub lengths: Option<Slice>,
    /// `[S][D, B, H]`, states `state_stride` apart: the gradient of the last states in, of the initial states out (that of h complete
    /// only with `wants_initial`).
    pub d_state: Slice,
    /// Whether `d_state` holds the gradient of the last states; else that is taken for zeros, whatever is there.
    pub has_d_last: bool,
    /// Whether the gradient of the initial h is wanted (one more product).
    pub wants_initial: bool,
    /// `[T, B, D, G·H]`: the gradient of `x_gates`, out.
    pub d_x: Slice,
    /// `[T, B, D, G·H]`: the gradient of r, out. Absent exactly where the cell's gradients are shared; then it is `d_x`.
    pub d_r: Option<Slice>,
}

/// output\[b\] = input\[length_b − 1, b\], the row of the last step of each sequence; 0 for a length of 0.
#[derive(Clone, Debug)]
pub struct GatherLast {
    /// `[T·B, N]`
    pub input: Matrix,
    /// `[B]`, floats, 0 … T.
    pub lengths: Slice,
    /// `[B, N]`, out.
    pub output: Matrix,
}

/// output = softmax of each row of the input, the row's maximum subtracted first.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// `[M, N]`
    pub input: Matrix,
    /// `[M, N]`
    pub output: Matrix,
}

/// d_input = output ⊙ (d_output − Σ_row output ⊙ d_output).
#[derive(Clone, Debug)]
pub struct SoftmaxBackward {
    /// `[M, N]`, what [`Softmax`] gave.
    pub output: Matrix,
    /// `[M, N]`
    pub d_output: Matrix,
    /// `[M, N]`, out.
    pub d_input: Matrix,
}

/// loss += weight · scale · Σ (prediction − target)², gradient = 2 · scale · (prediction − target).
#[derive(Clone, Debug)]
pub struct Mse {
    /// `[N]`
    pub prediction: Slice,
    /// `[N]`
    pub target: Slice,
    /// 1/N for a mean, 1 for a sum, ½ for the tutorial's half sum.
    pub scale: f64,
    /// What the loss is multiplied by before it is added up; the gradient is not.
    pub loss_weight: f64,
    /// `[1]`, added to.
    pub loss: Slice,
    /// `[N]`, out.
    pub gradient: Option<Slice>,
}

/// loss += weight · mean over rows of −log softmax(logits)\[class\], gradient = (softmax(logits) − onehot(class)) / M.
#[derive(Clone, Debug)]
pub struct SoftmaxCrossEntropy {
    /// `[M, N]`
    pub logits: Matrix,
    /// `[M]`, class numbers 0 … N − 1 as floats (exact to 2²⁴). A number outside gives a NaN loss and gradient.
    pub classes: Slice,
    /// What the loss is multiplied by before it is added up; the gradient is not.
    pub loss_weight: f64,
    /// `[1]`, added to.
    pub loss: Slice,
    /// `[M, N]`, out.
    pub gradient: Option<Matrix>,
}

/// clip = [‖gradient‖₂, min(1, max_norm / (‖gradient‖₂ + 1e-6))]: PyTorch's `clip_grad_norm_`, the scale applied by the optimizer.
#[derive(Clone, Debug)]
pub struct ClipNorm {
    /// `[N]`, all gradients.
    pub gradient: Slice,
    /// The bound.
    pub max_norm: f64,
    /// `[2]`, out.
    pub clip: Slice,
}

/// Stochastic gradient descent as PyTorch's `torch.optim.SGD` (dampening 0):
/// g += weight_decay·p; v = momentum·v + g; p −= lr·(g + momentum·v, or v, or g without momentum).
#[derive(Clone, Debug)]
pub struct Sgd {
    /// `[N]`, p, updated.
    pub parameter: Slice,
    /// `[N]`
    pub gradient: Slice,
    /// `[N]`, v, updated; absent without momentum.
    pub momentum: Option<Slice>,
    /// Whether the step looks ahead (Nesterov).
    pub nesterov: bool,
    /// `[3]`: learning rate, momentum, weight decay.
    pub scalars: Slice,
    /// What [`ClipNorm`] gave; the gradient is multiplied by its second element.
    pub clip: Option<Slice>,
}

/// Adam (Kingma & Ba, 2015) and AdamW (Loshchilov & Hutter, 2019) as PyTorch's, with c = 1 − βᵗ at step t:
///
/// ```text
/// g += gradient_decay·p;  p *= kept
/// m = β₁m + (1−β₁)g;  v = β₂v + (1−β₂)g²;  p −= (lr/c₁)·m / (√v/√c₂ + ε)
/// ```
///
/// Adam's weight decay is `gradient_decay` with `kept` = 1; AdamW's is `kept` = 1 − lr·decay with `gradient_decay` = 0.
#[derive(Clone, Debug)]
pub struct Adam {
    /// `[N]`, p, updated.
    pub parameter: Slice,
    /// `[N]`
    pub gradient: Slice,
    /// `[N]`, m, updated.
    pub first_moment: Slice,
    /// `[N]`, v, updated.
    pub second_moment: Slice,
    /// `[9]`: lr/c₁, β₁, 1−β₁, β₂, 1−β₂, ε, √c₂, gradient_decay, kept. Differences are taken by the host in f64, as f32 would lose
    /// digits of 1 − 0.999.
    pub scalars: Slice,
    /// What [`ClipNorm`] gave; the gradient is multiplied by its second element.
    pub clip: Option<Slice>,
}
