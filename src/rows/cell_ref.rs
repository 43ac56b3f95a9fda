//! Cells behind a pointer, applied to whole rows.

use super::{RowCell, RowScalar};
use crate::cell::{
    self, Activation, Cell, Counts, Derived, GruUnit, LstmUnit, Reset, RnnUnit, WgslSource,
};
use std::fmt::Debug;
use std::sync::Arc;

/// A shared [`Cell`] of any type.
#[derive(Clone)]
pub struct CellRef {
    cell: Arc<dyn ErasedCell>,
    /// Says whether the cell's WGSL is recorded although it has its own.
    recorded: bool,
}

macro_rules! forwarded {
    ($($name:ident: $result:ty),*) => {
        impl CellRef {
            $(
                #[doc = concat!("See [`Cell::", stringify!($name), "`].")]
                pub fn $name(&self) -> $result {
                    self.cell.$name()
                }
            )*
        }
        /// [`Cell`] without its generic methods, so that operations can hold any cell.
        pub trait ErasedCell: Debug + Send + RowCell<f32> + RowCell<f64> {
            $(fn $name(&self) -> $result;)*
            fn wgsl(&self) -> Option<WgslSource>;
            fn recorded_wgsl(&self) -> String;
        }
        impl<C: Cell> ErasedCell for C {
            $(fn $name(&self) -> $result {
                Cell::$name(self)
            })*
            fn wgsl(&self) -> Option<WgslSource> {
                Cell::wgsl(self)
            }
            fn recorded_wgsl(&self) -> String {
                cell::recorded_wgsl(self)
            }
        }
    };
}
forwarded! {
    name: &'static str, gates: usize, states: usize, saved: usize, diagonals: usize,
    early_gates: usize, shared_gradient: bool, wgsl_constants: String
}

impl CellRef {
    /// Shares a cell. One whose counts are out of range is refused where it is used.
    pub fn new(cell: impl Cell) -> Self {
        if !Counts::to_derive(&cell).outside().is_empty() {
            return Self::share(cell);
        }
        if cell.saved() == 0 {
            return Self::share(Derived::new(&cell));
        }
        cell.fastest().unwrap_or_else(|| Self::share(cell))
    }
    /// Shares a cell as it is.
    pub(crate) fn share(cell: impl Cell) -> Self {
        let cell = Arc::new(cell);
        Self {
            cell,
            recorded: false,
        }
    }
    /// The same cell with WGSL recorded from its Rust half, if it has its own.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self {
            recorded: true,
            ..self
        }
    }
    /// The WGSL that the cell has of its own.
    pub fn wgsl(&self) -> Option<WgslSource> {
        self.cell.wgsl().filter(|_| !self.recorded)
    }
    /// WGSL that comes from the Rust half: constants before its own, or the whole.
    pub(crate) fn generated_wgsl(&self) -> String {
        match self.wgsl() {
            Some(_) => self.cell.wgsl_constants(),
            None => self.cell.recorded_wgsl(),
        }
    }
    /// Whether the recurrent product of some gates takes [`Cell::inner`].
    pub fn has_late_gates(&self) -> bool {
        self.early_gates() < self.gates()
    }
    /// The cell for rows of a scalar type.
    pub(crate) fn rows<F: RowScalar>(&self) -> &dyn RowCell<F> {
        F::rows(&*self.cell)
    }
    /// The cells of the crate, each WGSL file at least once. Shader validation, gradient checks and
    /// comparisons run over this list.
    pub fn builtin() -> Vec<Self> {
        use Activation::{Elu, Relu, ScaledTanh, Sigmoid, Softplus, Softsign, Tanh};
        const HARD: Activation = Activation::HARD_SIGMOID;
        let rnn = |activation, clip| Self::new(RnnUnit { activation, clip });
        let scaled = ScaledTanh {
            alpha: 1.3,
            beta: 0.7,
        };
        let (lstm, gru) = (LstmUnit::default(), GruUnit::default());
        vec![
            rnn(Tanh, None),
            rnn(Relu, None),
            Self::new(lstm),
            Self::new(gru),
            rnn(scaled, Some(1.5)),
            Self::new(LstmUnit {
                peepholes: true,
                clip: Some(1.5),
                cell_clip: Some(0.8),
                activations: [HARD, Sigmoid, Softsign, Softplus, Elu { alpha: 0.7 }],
                ..lstm
            }),
            Self::new(LstmUnit {
                input_forget: true,
                ..lstm
            }),
            Self::new(GruUnit {
                reset: Reset::Before,
                ..gru
            }),
            Self::new(GruUnit {
                activations: [HARD, Sigmoid, Softsign],
                clip: Some(1.2),
                ..gru
            }),
        ]
    }
}

impl Debug for CellRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
