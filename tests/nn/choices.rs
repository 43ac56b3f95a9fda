//! Every way of running the steps on a GPU against the reference: walked by the device, a workgroup
//! and an invocation, with and without subgroups.

use crate::common::gpu;
use crate::runs::{Arrays, Run, SINGLE_THROUGH_TIME, check};
use bptt::cell::Cell;
use bptt::gpu::{RecurrentChoice, RecurrentWalk};
use bptt::nn::{Gru, Lstm, Recurrent, Sequential};
use bptt::{Device, Error, Precision, Tensor};
use ndarray::ArrayD;

/// A device that no other test works on, whose choice can be set.
fn own_gpu() -> Option<Device> {
    gpu().map(|_| Device::gpu().unwrap())
}

fn has_subgroups(device: &Device) -> bool {
    let choice = RecurrentChoice::new(RecurrentWalk::Device, 1, 1, true).unwrap();
    let found = device.set_recurrent_choice(Some(choice)).is_ok();
    device.set_recurrent_choice(None).unwrap();
    found
}

/// Runs a layer on the device as it chooses, which a choice may change.
fn compare<C: Cell>(place: &str, device: &Device, config: Recurrent<C>, size: [usize; 3]) {
    let ragged = Run::new(config.clone().bidirectional(true), size).ragged();
    for (kind, run) in [("", Run::new(config, size)), (", ragged", ragged)] {
        let expected = run.on(&Device::cpu_f64());
        let got = run.on(device);
        check(
            &format!("{place}{kind}"),
            &got,
            &expected,
            SINGLE_THROUGH_TIME,
        );
    }
}

/// One product a step, late gates, a projection: each way of cutting a step into phases.
fn every_kind(place: &str, device: &Device, size: [usize; 3]) {
    compare(
        &format!("{place}: lstm"),
        device,
        Lstm::new(size[2], 9),
        size,
    );
    let gru = Gru::new(size[2], 5).reset_after(false);
    compare(&format!("{place}: gru, reset before"), device, gru, size);
    let projected = Lstm::new(size[2], 7).proj_size(3);
    compare(&format!("{place}: projected lstm"), device, projected, size);
}

#[test]
fn steps_as_dispatches() {
    let Some(device) = own_gpu() else { return };
    let choices = [(4, 1, false), (2, 4, false), (16, 2, true)];
    for (rows, outputs, subgroups) in choices {
        if subgroups && !has_subgroups(&device) {
            continue;
        }
        let choice = RecurrentChoice::new(RecurrentWalk::Device, rows, outputs, subgroups).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        every_kind(&format!("{choice:?}"), &device, [5, 3, 4]);
    }
}

#[test]
fn by_workgroup() {
    let Some(device) = own_gpu() else { return };
    let choice = RecurrentChoice::new(RecurrentWalk::Workgroup, 1, 1, false).unwrap();
    device.set_recurrent_choice(Some(choice)).unwrap();
    every_kind("by workgroup", &device, [5, 3, 4]);
    // More units than a workgroup has invocations.
    compare("wide", &device, Lstm::new(2, 261), [3, 2, 2]);
    if has_subgroups(&device) {
        let choice = RecurrentChoice::new(RecurrentWalk::Workgroup, 3, 2, true).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        every_kind("by workgroup, subgroups", &device, [5, 4, 4]);
    }
}

#[test]
fn by_invocation() {
    let Some(device) = own_gpu() else { return };
    // Several workgroups, the last not full; an invocation for several rows and units.
    for (rows, outputs, batch) in [(1, 1, 3), (2, 2, 3), (1, 4, 70)] {
        let choice = RecurrentChoice::new(RecurrentWalk::Invocation, rows, outputs, false);
        device.set_recurrent_choice(Some(choice.unwrap())).unwrap();
        every_kind(
            &format!("by invocation, {rows} rows"),
            &device,
            [5, batch, 4],
        );
    }
    // More rounds of loops a step than some drivers do in a dispatch, so steps are dispatches after
    // all.
    compare("wide", &device, Lstm::new(2, 301), [3, 2, 2]);
}

/// Runs a layer twice that nobody gives states or their gradients: the second time, on other
/// numbers, what steps hand on is used memory.
fn compare_second<C: Cell>(place: &str, device: &Device, config: Recurrent<C>, size: [usize; 3]) {
    let plain = Run {
        initial: false,
        d_last: false,
        ..Run::new(config, size)
    };
    let ragged = plain.clone().ragged();
    let least = Some(plain.least_budget(device));
    for (kind, run, budget) in [
        ("plain", &plain, None),
        ("ragged", &ragged, None),
        ("frugal", &plain, least),
    ] {
        let second = |device: &Device, budget| {
            let layer = run.layer(device).memory_budget(budget);
            let first = run.arrays(&layer);
            let both = |arrays: &Arrays| {
                let mut results = run.forward(&layer, arrays, device);
                results.extend(run.vjp(&layer, arrays, device));
                results
            };
            if device.is_gpu() {
                both(&first);
            }
            let other = |values: &ArrayD<f64>| values.mapv(|value| 0.25 - value);
            let (x, d_y) = (other(&first.x), other(&first.d_y));
            both(&Arrays { x, d_y, ..first })
        };
        let got = second(device, budget);
        let expected = second(&Device::cpu_f64(), None);
        let place = format!("{place}, {kind}");
        check(&place, &got, &expected, SINGLE_THROUGH_TIME);
    }
}

#[test]
fn a_first_step_takes_zeros_from_used_memory() {
    let Some(device) = own_gpu() else { return };
    for walk in [
        RecurrentWalk::Device,
        RecurrentWalk::Workgroup,
        RecurrentWalk::Invocation,
    ] {
        let choice = RecurrentChoice::new(walk, 2, 2, false).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        let size = [6, 3, 4];
        let lstm = Lstm::new(4, 7).proj_size(3).peepholes(true).layers(2);
        let lstm = lstm.bidirectional(true);
        compare_second(&format!("{walk:?}: lstm"), &device, lstm, size);
        let gru = Gru::new(4, 5).reset_after(false);
        compare_second(&format!("{walk:?}: gru"), &device, gru, size);
    }
}

/// Where a workgroup or an invocation walks the steps, dispatches do not grow with T, but for a
/// limit on the rounds of a dispatch.
#[test]
fn dispatches_do_not_grow_with_steps() {
    for walk in [RecurrentWalk::Workgroup, RecurrentWalk::Invocation] {
        dispatches_do_not_grow_of(walk);
    }
}

fn dispatches_do_not_grow_of(walk: RecurrentWalk) {
    let Some(device) = own_gpu() else { return };
    let choice = RecurrentChoice::new(walk, 1, 1, false).unwrap();
    device.set_recurrent_choice(Some(choice)).unwrap();
    let dispatches = |steps: usize| {
        let run = Run::new(Lstm::new(2, 3), [steps, 1, 2]);
        let before = device.counters().dispatches;
        let got = run.on(&device);
        let count = device.counters().dispatches - before;
        let expected = run.on(&Device::cpu_f64());
        check(&format!("{steps} steps"), &got, &expected, 1e-3);
        count
    };
    let few = dispatches(10);
    assert_eq!(dispatches(100), few);
    // Several dispatches, each going on where the one before stopped.
    let many = dispatches(3000);
    assert!(many > few && many < few + 40, "{many}, of 10 steps {few}");
}

/// Nobody gives a `Sequential` states or reads them, and its weights stay as they are: no dispatch
/// is for those. An invocation that walks the steps takes the little product too.
#[test]
fn inference_takes_a_product_and_a_recurrence_a_layer() {
    let Some(device) = own_gpu() else { return };
    for (walk, expected) in [
        (RecurrentWalk::Workgroup, [6, 4]),
        (RecurrentWalk::Invocation, [4, 2]),
    ] {
        let choice = RecurrentChoice::new(walk, 1, 1, false).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        let model = Sequential::new(3).gru(Gru::hidden(5)).lstm(Lstm::hidden(4));
        let model = model.build(&device, 1).unwrap();
        let x = Tensor::zeros(&device, &[6, 2, 3]).unwrap();
        let dispatches = || {
            let before = device.counters().dispatches;
            model.forward(&x).unwrap();
            device.counters().dispatches - before
        };
        assert_eq!([dispatches(), dispatches()], expected, "{walk:?}");
    }
}

/// The dispatches of a forward pass and a vector-Jacobian product that invocations which walk the
/// steps save beside workgroups which do; the results of all ways must have the same bits.
fn saved<C: Cell>(device: &Device, run: &Run<C>) -> u64 {
    let runs = [
        RecurrentWalk::Invocation,
        RecurrentWalk::Workgroup,
        RecurrentWalk::Device,
    ];
    let [invocation, workgroup, by_device] = runs.map(|walk| {
        let choice = RecurrentChoice::new(walk, 2, 1, false).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        let layer = run.layer(device);
        let arrays = run.arrays(&layer);
        let before = device.counters().dispatches;
        let mut results = run.forward(&layer, &arrays, device);
        results.extend(run.vjp(&layer, &arrays, device));
        (results, device.counters().dispatches - before)
    });
    assert_eq!(invocation.0, by_device.0);
    assert_eq!(invocation.0, workgroup.0);
    workgroup.1 - invocation.1
}

/// Input products that go with the steps of an invocation give what products of their own do, to
/// the bit: with biases and without, lengths, masks, projections, late gates, both directions,
/// parts of a sequence.
#[test]
fn input_products_go_with_the_steps() {
    let Some(device) = own_gpu() else { return };
    let size = [6, 3, 3];
    let lstm = Lstm::new(3, 5);
    let all = lstm.clone().layers(2).bidirectional(true).proj_size(2);
    let all = Run {
        train: Some((1, 1)),
        ..Run::new(all.recurrent_dropout(0.3).peepholes(true), size).ragged()
    };
    // Both passes have a product a layer and direction.
    assert_eq!(saved(&device, &all), 8);
    assert_eq!(saved(&device, &Run::new(lstm.clone().bias(false), size)), 2);
    let gru = Gru::new(3, 5).reset_after(false).bidirectional(true);
    let gru = Run::new(gru, size);
    assert_eq!(saved(&device, &gru), 4);
    let frugal = Run {
        memory_budget: Some(gru.least_budget(&device)),
        ..gru
    };
    assert!(saved(&device, &frugal) > 4);
    let plain = Run::new(lstm.clone(), size);
    assert_eq!(saved(&device, &plain), 2);
    // More work than a dispatch, more rows than a workgroup, and a sum that a product of its own
    // takes in parts.
    assert_eq!(saved(&device, &Run::new(Lstm::new(70, 5), [6, 3, 70])), 0);
    assert_eq!(saved(&device, &Run::new(lstm, [6, 33, 3])), 0);
    assert_eq!(saved(&device, &Run::new(Lstm::new(512, 2), [2, 1, 512])), 0);
    // In f16 weights are rounded first.
    device.set_precision(Precision::F16).unwrap();
    assert_eq!(saved(&device, &plain), 0);
}

#[test]
fn choices_that_cannot_be() {
    let rows = RecurrentChoice::new(RecurrentWalk::Workgroup, 17, 1, false)
        .unwrap_err()
        .to_string();
    assert!(rows.contains("rows") && rows.contains("17"), "{rows}");
    let outputs = RecurrentChoice::new(RecurrentWalk::Workgroup, 8, 3, false)
        .unwrap_err()
        .to_string();
    assert!(
        outputs.contains("outputs") && outputs.contains('3'),
        "{outputs}"
    );
    let subgroups = RecurrentChoice::new(RecurrentWalk::Invocation, 1, 1, true)
        .unwrap_err()
        .to_string();
    assert!(subgroups.contains("subgroups: true"), "{subgroups}");
    let mut choice = RecurrentChoice::new(RecurrentWalk::Workgroup, 1, 1, false).unwrap();
    let cpu = Device::cpu().set_recurrent_choice(Some(choice));
    assert!(matches!(cpu, Err(Error::Argument { .. })), "{cpu:?}");
    let Some(device) = own_gpu() else { return };
    choice.rows = 0;
    let error = device.set_recurrent_choice(Some(choice)).unwrap_err();
    assert!(error.to_string().contains("rows"), "{error}");
}
