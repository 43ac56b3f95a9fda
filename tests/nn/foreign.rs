//! wgpu objects of the program around the crate: whose they are, and in what state.

use crate::common::gpu;
use bptt::{Device, Error, Tensor};
use ndarray::arr1;

const USAGES: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

fn buffer(device: &wgpu::Device, mapped_at_creation: bool) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: USAGES,
        mapped_at_creation,
    })
}

fn refusal(device: &Device, buffer: wgpu::Buffer) -> String {
    Tensor::from_wgpu(device, buffer, &[4])
        .unwrap_err()
        .to_string()
}

/// A device of the program's own, of the same adapter, with wgpu's own error handler, which panics.
fn own(name: &str) -> (wgpu::Device, wgpu::Queue) {
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters = adapters.into_iter();
    let adapter = adapters.find(|adapter| adapter.get_info().name == name);
    pollster::block_on(adapter.unwrap().request_device(&Default::default())).unwrap()
}

#[test]
fn a_buffer_of_another_device_is_refused() {
    let Some(device) = gpu() else { return };
    let other = Device::gpu().unwrap();
    // Many, so that the numbers that wgpu gives them are those of buffers of the other one too.
    let tensors: Vec<_> = (0..20)
        .map(|index| Tensor::from_array(&other, &arr1(&[index as f32; 4])).unwrap())
        .collect();
    for tensor in &tensors {
        let message = refusal(&device, tensor.wgpu_buffer().unwrap().clone());
        let start = "buffer: a buffer of another wgpu device, expected one made by the wgpu device of GPU: ";
        assert!(message.starts_with(start), "{message}");
    }
    // Neither device is the worse for it.
    for (index, tensor) in tensors.iter().enumerate() {
        assert_eq!(
            tensor.to_array::<f32>().unwrap(),
            arr1(&[index as f32; 4]).into_dyn()
        );
    }
    Tensor::zeros(&device, &[4])
        .unwrap()
        .to_array::<f32>()
        .unwrap();
    let name = &device.adapter().unwrap().name;
    let (theirs, _queue) = own(name);
    assert!(refusal(&device, buffer(&theirs, false)).contains("another wgpu device"));
}

#[test]
fn tensors_of_two_devices_of_one_adapter_are_told_apart() {
    let Some(device) = gpu() else { return };
    let other = Device::gpu().unwrap();
    let lstm = bptt::nn::Lstm::new(3, 4).build(&device, 0).unwrap();
    let x = Tensor::zeros(&other, &[2, 1, 3]).unwrap();
    let message = lstm.forward(&x, None).unwrap_err().to_string();
    let (got, expected) = message.split_once(", expected ").unwrap();
    let number = |text: &str| {
        text.rsplit(", device ")
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert_ne!(number(got), number(expected), "{message}");
}

#[test]
fn mapped_and_destroyed_buffers_are_refused() {
    let Some(device) = gpu() else { return };
    let (wgpu, _) = device.wgpu().unwrap();
    let mapped = buffer(wgpu, true);
    assert!(refusal(&device, mapped.clone()).starts_with("buffer: a mapped buffer"));
    let view = mapped.get_mapped_range_mut(..).unwrap();
    assert!(refusal(&device, mapped.clone()).starts_with("buffer: a mapped buffer"));
    drop(view);
    mapped.unmap();
    let tensor = Tensor::from_wgpu(&device, mapped.clone(), &[4]).unwrap();
    tensor.write(&arr1(&[1.0_f32, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(tensor.to_array::<f32>().unwrap()[3], 4.0);
    mapped.destroy();
    assert!(refusal(&device, mapped).starts_with("buffer: a destroyed buffer"));
    // One that is destroyed while it is a tensor.
    let fault = tensor.to_array::<f32>().unwrap_err().to_string();
    assert!(fault.contains("destroyed"), "{fault}");
    Tensor::zeros(&device, &[4])
        .unwrap()
        .to_array::<f32>()
        .unwrap();
}

#[test]
fn the_queue_of_another_device_is_refused_by_every_call() {
    let Some(gpu) = gpu() else { return };
    let name = &gpu.adapter().unwrap().name;
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters
        .iter()
        .find(|adapter| adapter.get_info().name == *name);
    let open = || pollster::block_on(adapter.unwrap().request_device(&Default::default())).unwrap();
    let ((one, own_queue), (_two, queue)) = (open(), open());
    for queue in [queue, own(name).1] {
        let device = Device::from_wgpu(one.clone(), queue);
        for _ in 0..2 {
            let fault = Tensor::zeros(&device, &[4]).unwrap_err().to_string();
            assert!(
                fault.starts_with("queue: a queue of another wgpu device"),
                "{fault}"
            );
        }
    }
    Tensor::zeros(&Device::from_wgpu(one, own_queue), &[4]).unwrap();
}

/// wgpu tells only the owner of a device's handlers that it was lost.
#[test]
fn after_a_loss_the_next_call_says_so_on_devices_of_the_programs_own_too() {
    let Some(gpu) = gpu() else { return };
    let (theirs, queue) = own(&gpu.adapter().unwrap().name);
    let calls: [fn(&Tensor, &bptt::Executable) -> bptt::Result<()>; 6] = [
        |_, program| program.run(),
        |x, _| x.write(&arr1(&[1.0_f32; 4])),
        |x, _| x.to_array::<f32>().map(drop),
        |x, _| Tensor::zeros(x.device(), &[4]).map(drop),
        |x, _| Tensor::from_wgpu(x.device(), x.wgpu_buffer().unwrap().clone(), &[4]).map(drop),
        |x, _| x.device().wait(),
    ];
    for (index, call) in calls.iter().enumerate() {
        let devices = match index {
            // The rest are calls of the same devices.
            0 => vec![
                Device::gpu().unwrap(),
                Device::from_wgpu(theirs.clone(), queue.clone()),
            ],
            _ => vec![Device::gpu().unwrap()],
        };
        for device in devices {
            let x = Tensor::zeros(&device, &[4]).unwrap();
            let mut program = bptt::Program::new();
            let slice = program.external(0, "x", &[4]);
            program.push(bptt::program::Map::fill(slice, 1.0));
            let program =
                bptt::Executable::new(&device, program, std::slice::from_ref(&x)).unwrap();
            program.run().unwrap();
            device.wgpu().unwrap().0.destroy();
            for _ in 0..2 {
                let lost = call(&x, &program);
                assert!(
                    matches!(lost, Err(Error::DeviceLost { .. })),
                    "call {index}: {lost:?}"
                );
            }
        }
    }
    let device = Device::from_wgpu(theirs, queue);
    let lost = Tensor::zeros(&device, &[4]);
    assert!(matches!(lost, Err(Error::DeviceLost { .. })), "{lost:?}");
}
