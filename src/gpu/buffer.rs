//! A tensor's buffer, and when it was last written to.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A tensor's buffer, shared between programs.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    buffer: wgpu::Buffer,
    written: Arc<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    count: AtomicU64,
    /// Says whether there may be writes that were not counted, as the program around this crate has the buffer too.
    unseen: AtomicBool,
}

impl Buffer {
    /// A buffer that nobody else has.
    pub(crate) fn new(buffer: wgpu::Buffer) -> Self {
        let written = Arc::default();
        Self { buffer, written }
    }

    /// A buffer of the program around this crate.
    pub(crate) fn shared(buffer: wgpu::Buffer) -> Self {
        let buffer = Self::new(buffer);
        buffer.share();
        buffer
    }

    /// The buffer for the program around this crate, which may write to it from now on.
    pub(crate) fn share(&self) -> &wgpu::Buffer {
        self.written.unseen.store(true, Ordering::Relaxed);
        &self.buffer
    }

    /// Says that what is queued next writes to the buffer. Called under [`Context::order`](super::Context), or others would take
    /// the new edition for one that they can read.
    pub(super) fn writes(&self) {
        self.written.count.fetch_add(1, Ordering::Release);
    }

    /// A number that changes with every write; none where writes may go unseen.
    pub(super) fn edition(&self) -> Option<u64> {
        let seen = !self.written.unseen.load(Ordering::Relaxed);
        seen.then(|| self.written.count.load(Ordering::Acquire))
    }
}

impl Deref for Buffer {
    type Target = wgpu::Buffer;
    fn deref(&self) -> &wgpu::Buffer {
        &self.buffer
    }
}

/// The tensors that a dispatch reads and the editions of which its results were made, while those hold.
#[derive(Debug)]
pub(super) struct Editions {
    sources: Vec<Buffer>,
    editions: Option<Vec<u64>>,
}

impl Editions {
    pub(super) fn new(sources: Vec<Buffer>) -> Self {
        let editions = None;
        Self { sources, editions }
    }

    /// Says whether the results still hold; if not, they do once the dispatch is submitted.
    pub(super) fn holds(&mut self) -> bool {
        let now: Option<Vec<_>> = self.sources.iter().map(Buffer::edition).collect();
        let holds = now.is_some() && now == self.editions;
        self.editions = now;
        holds
    }

    pub(super) fn forget(&mut self) {
        self.editions = None;
    }
}
