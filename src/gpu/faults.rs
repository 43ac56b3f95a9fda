//! What wgpu says of errors: which there are, and whose.

use crate::error::Error;
use futures::FutureExt;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether an error is being provoked on this thread.
    static PROVOKING: Cell<bool> = const { Cell::new(false) };
}

/// Says whether an error that a device's handler is told of was provoked, and means nothing.
pub(super) fn provoked() -> bool {
    PROVOKING.get()
}

/// Runs a function that creates wgpu objects, and gives the first error of the device that came of it.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    // In a browser a scope's outcome arrives later than it could be awaited here: there the device's handler keeps it.
    if cfg!(target_arch = "wasm32") {
        return (create(), None);
    }
    let scopes = [
        wgpu::ErrorFilter::Validation,
        wgpu::ErrorFilter::OutOfMemory,
        wgpu::ErrorFilter::Internal,
    ]
    .map(|filter| device.push_error_scope(filter));
    let created = create();
    // Innermost first: wgpu wants scopes popped in the opposite order, all of them.
    let errors: Vec<_> = scopes
        .into_iter()
        .rev()
        .filter_map(|scope| scope.pop().now_or_never().flatten())
        .collect();
    (created, errors.into_iter().next())
}

/// The error that a call gives, where the device hears of it. An object's errors go to the device that made it, wherever it is used, and
/// those of a lost device to nobody.
fn heard(device: &wgpu::Device, provoke: impl FnOnce()) -> Option<wgpu::Error> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    PROVOKING.set(true);
    // The handler of another device may panic, as wgpu's own does; so does wgpu itself on objects of another instance.
    catch_unwind(AssertUnwindSafe(provoke)).ok();
    PROVOKING.set(false);
    scope.pop().now_or_never().flatten()
}

/// Says whether a device is not lost, which wgpu tells nobody who does not own the device's handlers.
pub(super) fn is_alive(device: &wgpu::Device) -> bool {
    let impossible = wgpu::BufferDescriptor {
        label: None,
        size: 4,
        usage: wgpu::BufferUsages::empty(),
        mapped_at_creation: false,
    };
    let hears = || heard(device, || drop(device.create_buffer(&impossible))).is_some();
    cfg!(target_arch = "wasm32") || hears()
}

/// Says whether a queue is the device's, which is not lost.
pub(super) fn owns_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> bool {
    if cfg!(target_arch = "wasm32") {
        return true;
    }
    let (buffer, error) = scoped(device, || {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    });
    // Nothing is written, and not at this place.
    error.is_some() || heard(device, || queue.write_buffer(&buffer, 1, &[])).is_some()
}

/// What keeps a buffer from being used with a device that is not lost; nothing where it may be.
pub(super) fn unusable(device: &wgpu::Device, buffer: &wgpu::Buffer) -> Option<&'static str> {
    if cfg!(target_arch = "wasm32") {
        return None;
    }
    // A buffer that may be used is not mapped: then both calls fail, and say so.
    let range = buffer.get_mapped_range(..4);
    let reason = range.map_or_else(|reason| reason.to_string(), |_| String::new());
    if reason.contains("destroyed") {
        return Some("a destroyed buffer");
    }
    if !reason.contains("not mapped") {
        return Some("a mapped buffer");
    }
    let own = heard(device, || buffer.unmap()).is_some();
    (!own).then_some("a buffer of another wgpu device")
}

/// An error of wgpu's as one of this crate's.
pub(super) fn describe(what: &str, error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { source } => Error::OutOfMemory {
            what: what.to_owned(),
            reason: source.to_string(),
        },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Gpu(format!("{what}: {description}"))
        }
    }
}
