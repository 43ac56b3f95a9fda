//! What was compiled for a shape stays, however many there are.

use crate::common::gpu;
use bptt::data::Batch;
use bptt::nn::{Linear, Sequential};
use bptt::train::{Sgd, Trainer};
use ndarray::Array3;

#[test]
fn forty_shapes_in_turn_are_compiled_once() {
    let Some(gpu) = gpu() else { return };
    // A device of its own, as other tests create buffers meanwhile.
    let (device, queue) = gpu.wgpu().unwrap();
    let device = bptt::Device::from_wgpu(device.clone(), queue.clone());
    let model = Sequential::new(2).add(Linear::new(1));
    let model = model.build(&device, 1).unwrap();
    let mut trainer = Trainer::new(model, Sgd::new(0.1)).build().unwrap();
    let mut created = vec![];
    for _ in 0..2 {
        let before = device.counters().buffers;
        for steps in 1..=40 {
            let zeros = |features| Array3::<f32>::zeros((steps, 2, features));
            trainer.step(&Batch::new(zeros(2), zeros(1))).unwrap();
            trainer.model().predict(&zeros(2)).unwrap();
        }
        created.push(device.counters().buffers - before);
    }
    // The second time what is given alone is new, an output and room to read it a call at most.
    assert!(created[1] <= 80 && created[0] > 3 * 80, "{created:?}");
}
