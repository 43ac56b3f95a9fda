//! LSTM weights in the layout of textbooks and tutorials.

use crate::Real;
use crate::error::{Error, Result, check_shape};
use ndarray::{Array1, Array2, ArrayD, ArrayView2, Axis, concatenate};
use std::collections::BTreeMap;

/// An LSTM whose gates each have one matrix that acts on \[h₋; x\], h₋ above x:
///
/// ```text
/// f = σ(W_f [h₋; x] + b_f)   i = σ(W_i [h₋; x] + b_i)   C̃ = tanh(W_C [h₋; x] + b_C)   o = σ(W_o [h₋; x] + b_o)
/// ```
///
/// (Olah, "Understanding LSTM Networks", 2015, and the tutorials after it.)
#[derive(Clone, Debug)]
pub struct ConcatenatedLstm<F> {
    /// W_f `[H, H + I]`
    pub forget: Array2<F>,
    /// W_i `[H, H + I]`
    pub input: Array2<F>,
    /// W_C `[H, H + I]`
    pub candidate: Array2<F>,
    /// W_o `[H, H + I]`
    pub output: Array2<F>,
    /// b_f, b_i, b_C, b_o, `[H]` each; zeros where absent.
    pub biases: Option<[Array1<F>; 4]>,
}

impl<F: Real> ConcatenatedLstm<F> {
    /// The same LSTM in PyTorch's layout: gates in the order i, f, g, o; `weight_ih_l0 [4·H, I]` the last I columns,
    /// `weight_hh_l0 [4·H, H]` the first H; the biases in `bias_ih_l0 [4·H]`, `bias_hh_l0` zeros.
    ///
    /// # Errors
    /// [`Error::Shape`] where the matrices' shapes differ or leave no column for x, or a bias has another length than H.
    pub fn to_pytorch(&self) -> Result<BTreeMap<String, ArrayD<F>>> {
        let (hidden, columns) = self.forget.dim();
        if columns <= hidden {
            let expected = "[H, H + I] with I at least 1";
            return Err(Error::shape("forget", self.forget.shape(), expected));
        }
        for (name, gate) in [
            ("input", &self.input),
            ("candidate", &self.candidate),
            ("output", &self.output),
        ] {
            check_shape(name, gate.shape(), &[hidden, columns])?;
        }
        let gates =
            [&self.input, &self.forget, &self.candidate, &self.output].map(|gate| gate.view());
        let gates = join(&gates);
        let zeros = Array1::zeros(4 * hidden);
        let bias = match &self.biases {
            None => zeros.clone(),
            Some([forget, input, candidate, output]) => {
                for (name, bias) in [
                    ("b_f", forget),
                    ("b_i", input),
                    ("b_C", candidate),
                    ("b_o", output),
                ] {
                    check_shape(name, bias.shape(), &[hidden])?;
                }
                let columns =
                    [input, forget, candidate, output].map(|bias| bias.view().insert_axis(Axis(1)));
                join(&columns).remove_axis(Axis(1))
            }
        };
        let (of_h, of_x) = gates.view().split_at(Axis(1), hidden);
        let weights = [
            ("weight_ih_l0", of_x.to_owned().into_dyn()),
            ("weight_hh_l0", of_h.to_owned().into_dyn()),
            ("bias_ih_l0", bias.into_dyn()),
            ("bias_hh_l0", zeros.into_dyn()),
        ];
        Ok(weights
            .map(|(name, values)| (name.to_owned(), values))
            .into())
    }
}

fn join<F: Real>(parts: &[ArrayView2<'_, F>]) -> Array2<F> {
    concatenate(Axis(0), parts).expect("the shapes were checked")
}
