//! The operations. Each has one name, found in `src/cpu/`, `src/gpu/ops/`, `shaders/` and `tests/`.

use super::recurrent::{RecurrentBackward, RecurrentForward};
use super::{Matrix, Slice};

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
    Dropout(Dropout),
    Multiply(Multiply),
    Repeat(Repeat),
    RepeatBackward(RepeatBackward),
    ScatterLast(ScatterLast),
    SwapAxes(SwapAxes),
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
    Dropout = "dropout",
    Multiply = "multiply",
    Repeat = "repeat",
    RepeatBackward = "repeat_backward",
    ScatterLast = "scatter_last",
    SwapAxes = "swap_axes",
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
    /// Whether b holds weights, which a device may be told to read in f16 ([`Precision`](crate::Precision)).
    pub weights: bool,
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
            weights: false,
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
    /// Says that b holds weights.
    #[must_use]
    pub fn weights(self) -> Self {
        Self {
            weights: true,
            ..self
        }
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

/// output\[r, n\] = Σ_m input\[m, n\] (+ output\[0, n\]) for every row r.
#[derive(Clone, Debug)]
pub struct ColumnSum {
    /// `[M, N]`
    pub input: Matrix,
    /// `[R, N]`, all rows alike, as the two biases of a cell have one gradient.
    pub output: Matrix,
    /// Whether the sums are added to the output's first row instead of replacing it.
    pub accumulate: bool,
}

/// output\[b\] = input\[length_b − 1 − first, b\], the row of the last step of each sequence; 0 for a length of 0, or where that step is
/// none of the input's.
#[derive(Clone, Debug)]
pub struct GatherLast {
    /// `[T·B, N]`
    pub input: Matrix,
    /// `[B]`, floats, 0 … T, of the whole sequence where the input is a part of one.
    pub lengths: Slice,
    /// Which step of the sequence the input's first is.
    pub first: usize,
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
    /// `[M]`, M dividing N: what each of M rows of N/M elements is multiplied by besides; 1 where absent.
    pub row_weights: Option<Slice>,
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
    /// `[M]`: what each row counts, instead of 1/M.
    pub row_weights: Option<Slice>,
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

/// output\[i\] = input\[i\] · m\[i mod period\], the elements of m being 0 with probability `rate`, else 1 / (1 − rate)
/// (Srivastava et al., 2014; a period of `[B, F]` under `[T, B, F]` is variational dropout, Gal & Ghahramani, 2016).
///
/// m\[i\] is kept iff word i mod 4 of Philox4x32-10 is at least ⌊rate·2³²⌋; the key is the seed, the counter
/// (i div 4, site, the step's low word, its high word).
#[derive(Clone, Debug)]
pub struct Dropout {
    /// `[N]`; ones where absent, so that the output is m itself.
    pub input: Option<Slice>,
    /// `[N]`, out.
    pub output: Slice,
    /// `[8]`: seed and step, 16 bits an element, low ones first.
    pub rng: Slice,
    /// Which of a program's sites this is, so that no two share their masks.
    pub site: u32,
    /// The probability of dropping, 0 to below 1.
    pub rate: f64,
    /// The elements of m.
    pub period: usize,
}

/// output\[m, n\] = input\[m, n\] · factor\[m mod K, n\]
#[derive(Clone, Debug)]
pub struct Multiply {
    /// `[M, N]`
    pub input: Matrix,
    /// `[K, N]`
    pub factor: Matrix,
    /// `[M, N]`, out.
    pub output: Matrix,
}

/// output\[m, r·N + n\] = input\[m, n\] (+ bias\[r·N + n\]) for every r: a row repeated, as where a layer has no input weights.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// `[M, N]`
    pub input: Matrix,
    /// `[R·N]`
    pub bias: Option<Slice>,
    /// `[M, R·N]`, out.
    pub output: Matrix,
}

/// d_input\[m, n\] = Σ_r d_output\[m, r·N + n\] (+ d_input\[m, n\]).
#[derive(Clone, Debug)]
pub struct RepeatBackward {
    /// `[M, R·N]`
    pub d_output: Matrix,
    /// `[M, N]`, out.
    pub d_input: Matrix,
    /// Whether the sums are added to `d_input` instead of replacing it.
    pub accumulate: bool,
}

/// output\[b, a, n\] = input\[a, b, n\]
#[derive(Clone, Debug)]
pub struct SwapAxes {
    /// `[A, B, N]`
    pub input: Slice,
    /// `[B, A, N]`, out.
    pub output: Slice,
    /// A, B and N.
    pub shape: [usize; 3],
}

/// d_input\[length_b − 1, b\] = d_output\[b\], 0 at every other step: the gradient of [`GatherLast`].
#[derive(Clone, Debug)]
pub struct ScatterLast {
    /// `[B, N]`
    pub d_output: Matrix,
    /// `[B]`, floats, 0 … T.
    pub lengths: Slice,
    /// `[T·B, N]`, out.
    pub d_input: Matrix,
}
