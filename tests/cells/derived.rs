//! What is derived and recorded from a cell's forward functions.

use super::accepts;
use super::forward_only::ForwardOnly;
use super::mgu::Mgu;
use bptt::CellRef;
use bptt::cell::{
    Activation, Backward, Cell, Forward, GruUnit, Inner, InnerBackward, Lanes, LstmUnit, Reset,
    RnnUnit,
};

#[test]
fn backward_functions_are_derived() {
    accepts(&ForwardOnly(RnnUnit::default()));
    accepts(&ForwardOnly(LstmUnit::default()));
    accepts(&ForwardOnly(GruUnit::default()));
    accepts(&ForwardOnly(Mgu));
    accepts(&ForwardOnly(GruUnit {
        reset: Reset::Before,
        ..GruUnit::default()
    }));
    accepts(&ForwardOnly(LstmUnit {
        peepholes: true,
        clip: Some(0.9),
        activations: [
            Activation::HARD_SIGMOID,
            Activation::Softsign,
            Activation::Elu { alpha: 0.7 },
            Activation::Softplus,
            Activation::ScaledTanh {
                alpha: 1.3,
                beta: 0.7,
            },
        ],
        ..LstmUnit::default()
    }));
}

#[test]
fn derived_cells_keep_what_their_derivatives_read() {
    let of = |cell: CellRef| (cell.saved(), cell.shared_gradient());
    // x + r of i, f, g, o and c₋.
    assert_eq!(
        of(CellRef::new(ForwardOnly(LstmUnit::default()))),
        (5, true)
    );
    // x + r of r and z, x and r of n apart, h₋.
    assert_eq!(
        of(CellRef::new(ForwardOnly(GruUnit::default()))),
        (5, false)
    );
    assert_eq!(of(CellRef::new(ForwardOnly(Mgu))), (3, true));
}

/// The cells' own WGSL gives what their Rust halves give in other tests. Here what is recorded of
/// the Rust halves does, in the same check.
#[test]
fn recorded_wgsl_is_that_of_the_cells() {
    /// A cell without WGSL of its own.
    #[derive(Clone, Debug)]
    struct Recorded<C>(C);

    impl<C: Cell> Cell for Recorded<C> {
        fn name(&self) -> &'static str {
            "recorded"
        }
        fn gates(&self) -> usize {
            self.0.gates()
        }
        fn states(&self) -> usize {
            self.0.states()
        }
        fn saved(&self) -> usize {
            self.0.saved()
        }
        fn diagonals(&self) -> usize {
            self.0.diagonals()
        }
        fn early_gates(&self) -> usize {
            self.0.early_gates()
        }
        fn shared_gradient(&self) -> bool {
            self.0.shared_gradient()
        }
        fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
            self.0.forward(unit);
        }
        fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
            self.0.backward(unit);
        }
        fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
            self.0.inner(unit)
        }
        fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
            self.0.inner_backward(unit);
        }
    }

    accepts(&Recorded(RnnUnit::default()));
    accepts(&Recorded(RnnUnit {
        activation: Activation::Relu,
        ..RnnUnit::default()
    }));
    accepts(&Recorded(LstmUnit {
        peepholes: true,
        clip: Some(0.9),
        cell_clip: Some(0.7),
        ..LstmUnit::default()
    }));
    accepts(&Recorded(GruUnit::default()));
    accepts(&Recorded(GruUnit {
        reset: Reset::Before,
        ..GruUnit::default()
    }));
    accepts(&Recorded(Mgu));
}
