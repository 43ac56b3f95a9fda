//! Choice of adapter, devices of the program's own, and lost devices.

use crate::common::gpu;
use bptt::nn::Lstm;
use bptt::{AdapterKind, Device, Error, Tensor};
use ndarray::{Array3, arr1};

#[test]
fn a_software_adapter_is_never_the_best() {
    let best = Device::best();
    assert!(!best.reason().is_empty());
    if std::env::var_os("BPTT_ADAPTER").is_none()
        && let Some(adapter) = best.adapter()
    {
        assert_ne!(adapter.kind, AdapterKind::Software, "{best}");
    }
}

#[test]
fn adapters_are_listed_and_chosen_by_name() {
    let Some(device) = gpu() else { return };
    let adapter = device.adapter().unwrap();
    assert!(Device::adapters().contains(adapter));
    let upper = adapter.name.to_uppercase();
    assert_eq!(
        Device::gpu_named(&upper).unwrap().adapter().unwrap().name,
        adapter.name
    );
}

#[test]
fn an_unknown_name_is_an_error_that_lists_what_there_is() {
    let error = Device::gpu_named("no such adapter").unwrap_err();
    assert!(matches!(error, Error::NoAdapter { .. }));
    assert!(
        error
            .to_string()
            .contains("an adapter named \"no such adapter\""),
        "{error}"
    );
    if let Some(adapter) = Device::adapters().first() {
        assert!(error.to_string().contains(&adapter.name), "{error}");
    }
}

#[test]
fn the_programs_own_device_and_buffers_work() {
    let Some(device) = gpu() else { return };
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let own = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let buffer = wgpu_device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 4 * 2 * 3,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let x = Array3::from_shape_fn((4, 2, 3), |(t, b, i)| (t + 2 * b + 3 * i) as f32 / 10.0);
    queue.write_buffer(&buffer, 0, bytemuck::cast_slice(x.as_slice().unwrap()));
    let x_own = Tensor::from_wgpu(&own, buffer.clone(), &[4, 2, 3]).unwrap();
    let y = |device: &Device, x: &Tensor| {
        let lstm = Lstm::new(3, 5).build(device, 1).unwrap();
        lstm.forward(x, None).unwrap().0.to_array::<f32>().unwrap()
    };
    assert_eq!(
        y(&own, &x_own),
        y(&device, &Tensor::from_array(&device, &x).unwrap())
    );
    let error = Tensor::from_wgpu(&own, buffer.clone(), &[5, 2, 3]).unwrap_err();
    assert!(error.to_string().starts_with("buffer: 96 bytes"), "{error}");
    assert!(Tensor::from_wgpu(&Device::cpu(), buffer, &[1]).is_err());
    let unusable = wgpu_device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 64,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: false,
    });
    assert!(
        Tensor::from_wgpu(&own, unusable, &[2])
            .unwrap_err()
            .to_string()
            .contains("STORAGE")
    );
}

#[test]
fn a_lost_device_is_an_error_and_not_a_wrong_number() {
    if gpu().is_none() {
        return;
    }
    let device = Device::gpu().unwrap();
    let tensor = Tensor::from_array(&device, &arr1(&[1.0_f32, 2.0])).unwrap();
    device.wgpu().unwrap().0.destroy();
    let lost = tensor
        .to_array::<f32>()
        .and_then(|_| tensor.to_array::<f32>());
    assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");
    let again = tensor.to_array::<f32>().unwrap_err();
    assert!(matches!(again, Error::DeviceLost { .. }), "{again}");
}

#[test]
fn f64_values_reach_and_leave_every_device() {
    for device in crate::common::devices()
        .into_iter()
        .chain([Device::cpu_f64()])
    {
        let values = arr1(&[0.5, -1.25, 3.0]).into_dyn();
        let tensor = Tensor::from_array(&device, &values).unwrap();
        assert_eq!(tensor.to_array::<f64>().unwrap(), values, "{device}");
        assert!(tensor.write(&arr1(&[1.0_f32])).is_err());
        assert_eq!(tensor.reshape(&[3, 1]).unwrap().shape(), [3, 1]);
        assert!(tensor.reshape(&[2, 2]).is_err());
        // A transposed view is written in its own order.
        let matrix = ndarray::arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let transposed = Tensor::from_array(&device, &matrix.t()).unwrap();
        assert_eq!(
            transposed.to_array::<f64>().unwrap(),
            matrix.t().to_owned().into_dyn()
        );
    }
}

#[test]
fn webgpus_default_limits_suffice() {
    let Some(gpu) = gpu() else { return };
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let name = &gpu.adapter().unwrap().name;
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters
        .into_iter()
        .find(|adapter| adapter.get_info().name == *name)
        .unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_limits: wgpu::Limits {
            max_compute_invocations_per_workgroup: 128,
            max_compute_workgroup_size_x: 128,
            ..wgpu::Limits::default()
        },
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    assert_eq!(device.limits().max_storage_buffers_per_shader_stage, 8);
    let small = Device::from_wgpu(device, queue);
    // A workgroup of a whole sequence would like to have 192 invocations.
    let by_workgroup =
        bptt::gpu::RecurrentChoice::new(bptt::gpu::RecurrentWalk::Workgroup, 1, 1, false).unwrap();
    small.set_recurrent_choice(Some(by_workgroup)).unwrap();
    let x = Array3::from_shape_fn((4, 3, 3), |(t, b, i)| (t + 2 * b + 3 * i) as f32 / 10.0);
    let losses = [small.clone(), gpu].map(|device| {
        let model = bptt::nn::Sequential::new(3)
            .lstm(Lstm::hidden(161))
            .gru(bptt::nn::Gru::hidden(5))
            .softmax();
        let model = model.build(&device, 1).unwrap();
        let mut trainer = bptt::train::Trainer::new(model, bptt::train::Adam::new(0.01))
            .clip_norm(1.0)
            .build()
            .unwrap();
        let batch = bptt::data::Batch::new(x.clone(), Array3::<f32>::zeros((4, 3, 5)));
        (0..3).for_each(|_| trainer.step(&batch).unwrap());
        trainer.take_loss().unwrap()
    });
    assert_eq!(losses[0], losses[1]);
    // 128 MiB a binding: more is an error that says so.
    let error = Tensor::zeros(&small, &[(1 << 25) + 1]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Limit {
                limit: "max_storage_buffer_binding_size",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn the_bytes_of_buffers_are_counted() {
    let Some(device) = gpu() else { return };
    // A device of its own, as other tests create buffers meanwhile.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let own = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let before = own.counters();
    let _tensor = Tensor::zeros(&own, &[3, 7, 11]).unwrap();
    let after = own.counters();
    assert_eq!(after.buffers, before.buffers + 1);
    assert_eq!(after.buffer_bytes, before.buffer_bytes + 4 * 3 * 7 * 11);
}
