//! What a cell applied to a whole row reads and writes.

/// One batch row of one step, all H units. Planar: gate g of unit j is at `g·H + j`.
pub struct ForwardRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`
    pub r: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, old states in, new out.
    pub state: &'a mut [F],
    /// `[K, H]`, out; `None` where nothing is kept.
    pub saved: Option<&'a mut [F]>,
}

/// One batch row of one step back, planar like [`ForwardRow`].
pub struct BackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, gradient of the new states in, direct gradient of the old out.
    pub d_state: &'a mut [F],
    /// `[G, H]`, out.
    pub d_x: &'a mut [F],
    /// `[G, H]`, out; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
    /// `[V, H]`, added to.
    pub d_diagonal: &'a mut [F],
}

/// One batch row between the products of a step, planar like [`ForwardRow`].
pub struct InnerRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`, of which the early gates count.
    pub r: &'a [F],
    /// `[S, H]`
    pub state: &'a [F],
    /// `[H]`, out.
    pub inner: &'a mut [F],
}

/// One batch row between the products of a step back, planar like [`ForwardRow`].
pub struct InnerBackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[H]`
    pub d_inner: &'a [F],
    /// `[S, H]`, added to.
    pub d_state: &'a mut [F],
    /// `[G, H]`, added to.
    pub d_x: &'a mut [F],
    /// `[G, H]`, added to; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
}
