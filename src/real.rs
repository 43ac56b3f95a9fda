//! The two scalar types of the CPU path.

/// `f32` or `f64`: what the CPU path computes in. Sealed.
pub trait Real: ndarray::NdFloat + bytemuck::Pod + Default + sealed::Sealed {
    /// A double, rounded.
    fn from_double(value: f64) -> Self;
    /// The number as a double, exact.
    fn to_double(self) -> f64;
    /// The number whose bits are those of a whole number, as tensors carry them. Nothing is computed with it.
    fn from_whole(whole: u32) -> Self;
    /// The whole number that was carried.
    fn to_whole(self) -> u32;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    #[inline(always)]
    fn from_whole(whole: u32) -> Self {
        Self::from_bits(whole)
    }
    #[inline(always)]
    fn to_whole(self) -> u32 {
        self.to_bits()
    }
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn from_whole(whole: u32) -> Self {
        Self::from_bits(u64::from(whole))
    }
    #[inline(always)]
    fn to_whole(self) -> u32 {
        self.to_bits() as u32
    }
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        self
    }
}
