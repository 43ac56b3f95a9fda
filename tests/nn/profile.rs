//! What operations cost, what an executable says it will do, and how long it says that took.

use crate::common::{devices, every_device, gpu};
use bptt::data::Batch;
use bptt::gpu::{GemmKernel, RecurrentChoice, RecurrentWalk};
use bptt::nn::{Gru, Lstm, Sequential};
use bptt::profile::{Owner, Profile};
use bptt::program::{Map, Operand, Program, View};
use bptt::train::{self, Trainer};
use bptt::{Device, Error};
use ndarray::Array3;

fn trainer(device: &Device) -> (Trainer, Batch) {
    let model = Sequential::new(4)
        .lstm(Lstm::hidden(7))
        .gru(Gru::hidden(3))
        .last_step()
        .linear(2);
    let model = model.build(device, 1).unwrap();
    let trainer = Trainer::new(model, train::Adam::new(0.01)).clip_norm(1.0);
    let x = Array3::from_shape_fn((5, 3, 4), |(t, b, i)| (t + 2 * b + 3 * i) as f32 / 10.0);
    let target = ndarray::Array2::<f32>::ones((3, 2));
    (trainer.build().unwrap(), Batch::new(x, target))
}

#[test]
fn a_plan_is_what_a_step_does() {
    // Counters are counted alone on a device of this test's own.
    let own = |device: Device| match device.wgpu() {
        Some((device, queue)) => Device::from_wgpu(device.clone(), queue.clone()),
        None => device,
    };
    let flops = every_device().into_iter().map(own).map(|device| {
        let (mut trainer, batch) = trainer(&device);
        let plan = trainer.plan(&batch).unwrap();
        assert_eq!(trainer.steps(), 0);
        let before = device.counters();
        trainer.step(&batch).unwrap();
        let after = device.counters();
        if device.is_gpu() {
            assert_eq!(plan.dispatches(), after.dispatches - before.dispatches);
            assert_eq!(after.buffers, before.buffers, "the plan had them made");
            assert!(
                plan.tensors
                    .iter()
                    .any(|tensor| tensor.owner == Owner::Scratch)
            );
        }
        for kernel in &plan.kernels {
            assert_eq!(kernel.workgroups > 0, device.is_gpu(), "{kernel:?}");
            assert!(kernel.invocations >= kernel.workgroups / kernel.dispatches);
        }
        let width = if device.to_string().contains("f64") {
            8
        } else {
            4
        };
        let of = |name: &str| {
            let tensor = plan.tensors.iter().find(|tensor| tensor.name == name);
            let tensor = tensor.unwrap_or_else(|| panic!("no tensor {name}"));
            (tensor.bytes, tensor.owner)
        };
        // On a GPU one write takes x and the target, at multiples of 4, and behind them the step's 9 numbers.
        let fed = match device.is_gpu() {
            true => ("what is fed", 4 * (5 * 3 * 4 + 3 * 2 + 9)),
            false => ("x", width * 5 * 3 * 4),
        };
        assert_eq!(of(fed.0), (fed.1, Owner::Executable));
        assert_eq!(of("the gradient norm"), (width * 3, Owner::Shared));
        assert!(plan.own_memory() < plan.memory());
        let operations: Vec<_> = plan.kernels.iter().map(|kernel| kernel.operation).collect();
        assert!(operations.is_sorted());
        let text = plan.to_string();
        for name in ["gemm", "recurrent_backward", "update", "x_gates", "shared"] {
            assert!(text.contains(name), "{name} not in\n{text}");
        }
        plan.flops()
    });
    let flops: Vec<u64> = flops.collect();
    assert!(
        flops[0] > 0 && flops.iter().all(|count| *count == flops[0]),
        "{flops:?}"
    );
}

#[test]
fn every_operation_has_its_part_of_the_work() {
    let Some(device) = gpu() else { return };
    let of = |device: &Device| {
        let (trainer, batch) = trainer(device);
        let mut parts = std::collections::BTreeMap::new();
        for kernel in trainer.plan(&batch).unwrap().kernels {
            let part: &mut (_, u64) = parts.entry(kernel.operation).or_insert((kernel.name, 0));
            part.1 += kernel.flops;
        }
        parts
    };
    let got = of(&device);
    // A product that goes with the recurrence behind it is counted there.
    let mut gone = 0;
    let expected = of(&Device::cpu()).into_iter();
    let expected = expected.filter_map(|(operation, (name, flops))| {
        if !got.contains_key(&operation) {
            assert_eq!(name, "gemm");
            gone += flops;
            return None;
        }
        Some((operation, (name, flops + std::mem::take(&mut gone))))
    });
    assert_eq!(got, expected.collect());
}

/// The numbers between a product and the recurrence that it goes with are not moved.
#[test]
fn a_product_that_goes_with_the_steps_is_part_of_them() {
    let Some(device) = gpu().map(|_| Device::gpu().unwrap()) else {
        return;
    };
    let cost = |walk| {
        let choice = RecurrentChoice::new(walk, 1, 1, false).unwrap();
        device.set_recurrent_choice(Some(choice)).unwrap();
        let (trainer, batch) = trainer(&device);
        let plan = trainer.plan(&batch).unwrap();
        let kernels = plan.kernels.iter();
        let forward = kernels.filter(|kernel| kernel.kernel.starts_with("recurrent_forward"));
        let forward: Vec<_> = forward.filter(|kernel| kernel.flops > 0).collect();
        (plan.flops(), forward[0].bytes, forward[0].flops)
    };
    let [invocation, workgroup] = [RecurrentWalk::Invocation, RecurrentWalk::Workgroup].map(cost);
    assert_eq!(invocation.0, workgroup.0);
    // T = 5, B = 3, I = 4, G·H = 28: x, W and b_ih come in where x_gates did.
    assert_eq!(
        invocation.1 + 4 * 15 * 28,
        workgroup.1 + 4 * (15 * 4 + 28 * 4 + 28)
    );
    assert_eq!(invocation.2, workgroup.2 + 2 * 15 * 28 * 4 + 15 * 28);
}

/// Where sizes are multiples of 4, nothing that is fed lies between them.
#[test]
fn products_of_a_step_read_four_numbers_at_once() {
    let Some(device) = gpu().map(|_| Device::gpu().unwrap()) else {
        return;
    };
    let kernel = GemmKernel::Register {
        blocks: 2,
        group: 8,
    };
    device.set_gemm_kernel(Some(kernel)).unwrap();
    for lengths in [None, Some(vec![3; 8])] {
        let model = Sequential::new(8).lstm(Lstm::hidden(16)).linear(4);
        let model = model.build(&device, 1).unwrap();
        let trainer = Trainer::new(model, train::Adam::new(0.01)).build().unwrap();
        let [x, y] = [8, 4].map(|size| Array3::<f32>::ones((20, 8, size)));
        let mut batch = Batch::new(x, y);
        batch.inputs[0].lengths = lengths;
        let kernels = trainer.plan(&batch).unwrap().kernels;
        let products = kernels
            .iter()
            .filter(|kernel| kernel.kernel.starts_with("gemm"));
        let products: Vec<_> = products.map(|kernel| kernel.kernel.as_str()).collect();
        assert!(products.len() >= 6, "{products:?}");
        assert!(
            products.iter().all(|name| *name == "gemm_register"),
            "{products:?}"
        );
    }
}

fn check(profile: &Profile, operations: &[usize]) {
    let mut profiled: Vec<_> = profile
        .times
        .iter()
        .map(|time| time.kernel.operation)
        .collect();
    profiled.dedup();
    assert_eq!(profiled, operations, "{profile}");
    for time in &profile.times {
        assert!(time.duration > 0, "{time:?}");
    }
    for pair in profile.times.windows(2) {
        assert!(
            pair[1].start >= pair[0].start + pair[0].duration,
            "{pair:?}"
        );
    }
    assert!(profile.duration() <= profile.wall, "{profile}");

    let trace: serde_json::Value = serde_json::from_str(&profile.to_chrome_trace()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.len(), profile.times.len() + 1);
    assert_eq!(events[0]["args"]["name"], profile.device);
    for (event, time) in events[1..].iter().zip(&profile.times) {
        assert_eq!(event["name"], time.kernel.kernel);
        assert_eq!(event["ph"], "X");
        let microseconds = event["dur"].as_f64().unwrap();
        assert!((microseconds - time.duration as f64 / 1e3).abs() < 1e-3);
    }

    let totals = profile.kernels();
    let duration: u64 = totals.iter().map(|total| total.duration).sum();
    assert_eq!(duration, profile.duration());
    assert!(totals.is_sorted_by(|a, b| a.duration >= b.duration));
    let (table, csv) = (profile.to_string(), profile.to_csv());
    for total in &totals {
        assert!(table.contains(&total.kernel), "{table}");
        assert!(csv.contains(&format!("\n{},{},", total.kernel, total.dispatches)));
    }
}

#[test]
fn a_profile_has_every_operation_and_changes_nothing() {
    for device in devices() {
        let (mut profiled, batch) = trainer(&device);
        let plan = profiled.plan(&batch).unwrap();
        let mut operations: Vec<_> = plan.kernels.iter().map(|kernel| kernel.operation).collect();
        operations.dedup();
        let profile = profiled.profile_step(&batch).unwrap();
        check(&profile, &operations);
        assert_eq!(profiled.steps(), 1);
        let dispatches: u64 = profile
            .times
            .iter()
            .map(|time| time.kernel.dispatches)
            .sum();
        assert_eq!(dispatches, plan.dispatches());

        let (mut plain, batch) = trainer(&device);
        plain.step(&batch).unwrap();
        assert_eq!(profiled.take_loss().unwrap(), plain.take_loss().unwrap());
        assert_eq!(
            profiled.gradients::<f64>().unwrap(),
            plain.gradients::<f64>().unwrap(),
            "{device}"
        );
    }
}

#[test]
fn a_trace_takes_names_of_any_characters() {
    let (mut trainer, batch) = trainer(&Device::cpu());
    let mut profile = trainer.profile_step(&batch).unwrap();
    let name = "a \"quoted\" \\ name\n\tof two lines, é";
    profile.device = name.to_owned();
    profile.times[0].kernel.kernel = name.to_owned();
    let trace: serde_json::Value = serde_json::from_str(&profile.to_chrome_trace()).unwrap();
    assert_eq!(trace["traceEvents"][0]["args"]["name"], name);
    assert_eq!(trace["traceEvents"][1]["name"], name);
}

#[test]
fn a_forward_pass_is_profiled_alone() {
    for device in devices() {
        let model = Sequential::new(4).lstm(Lstm::hidden(7));
        let model = model.build(&device, 1).unwrap();
        let x = bptt::Tensor::zeros(&device, &[5, 3, 4]).unwrap();
        let plan = model.plan(&[5, 3, 4]).unwrap();
        let profile = model.profile(&x).unwrap();
        let flops: u64 = profile.times.iter().map(|time| time.kernel.flops).sum();
        assert_eq!(flops, plan.flops());
        assert!(!profile.to_csv().contains("backward"));
        let error = model.plan(&[5, 3, 5]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
}

#[test]
fn more_passes_than_one_set_of_queries_holds() {
    // Every sum beside a transposition is a pass: 2 · 2,100 of 2,048 a set.
    let Some(device) = gpu() else { return };
    let mut program = Program::new();
    let (a, b) = (program.tensor("a", &[6]), program.tensor("b", &[6]));
    let (rows, columns) = (View::new(a, [3, 1]), View::new(b, [1, 2]));
    for _ in 0..2100 {
        let all = View::new(a, [1]);
        let operands = vec![Operand::Float(all.clone())];
        program.push(Map::new("count", &[6], operands, vec![all], |tape| {
            vec![tape.operand(0) + 1.0]
        }));
        let operands = vec![Operand::Float(rows.clone())];
        let output = vec![columns.clone()];
        program.push(Map::new("transpose", &[2, 3], operands, output, |tape| {
            vec![tape.operand(0)]
        }));
    }
    let executable = bptt::Executable::new(&device, program, &[]).unwrap();
    let profile = executable.profile().unwrap();
    let operations: Vec<_> = (0..4200).collect();
    check(&profile, &operations);
    let last = executable.tensor(executable.program().ids().last().unwrap());
    assert!(
        last.to_array::<f32>()
            .unwrap()
            .iter()
            .all(|value| *value == 2100.0)
    );
}

#[test]
fn a_device_without_timestamps_says_so() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let device = Device::from_wgpu(device, queue);
    let (mut trainer, batch) = trainer(&device);
    let error = trainer.profile_step(&batch).unwrap_err();
    assert!(matches!(
        error,
        Error::Feature {
            feature: "TIMESTAMP_QUERY",
            ..
        }
    ));
    assert!(
        error
            .to_string()
            .starts_with("a profile needs the feature TIMESTAMP_QUERY")
    );
    assert_eq!(trainer.steps(), 0);
}
