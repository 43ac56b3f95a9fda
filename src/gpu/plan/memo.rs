//! What operations of a plan made that later ones can take as well.

use crate::program::TensorId;
use std::any::Any;

/// Values of any type, each with the tensors that it was made of.
#[derive(Default)]
pub(in crate::gpu) struct Memo(Vec<(Vec<TensorId>, Box<dyn Any>)>);

impl Memo {
    /// The first value of a type that fits.
    pub(in crate::gpu) fn find<T: Any>(&self, fits: impl Fn(&T) -> bool) -> Option<&T> {
        let mut values = self.0.iter().filter_map(|(_, value)| value.downcast_ref());
        values.find(|value| fits(value))
    }

    /// Keeps a value until an operation writes to one of the tensors that it was made of.
    pub(in crate::gpu) fn keep<T: Any>(&mut self, value: T, made_of: Vec<TensorId>) {
        self.0.push((made_of, Box::new(value)));
    }

    /// Forgets what was made of tensors that an operation has written.
    pub(super) fn forget(&mut self, written: &[TensorId]) {
        self.0
            .retain(|(made_of, _)| !made_of.iter().any(|tensor| written.contains(tensor)));
    }
}
