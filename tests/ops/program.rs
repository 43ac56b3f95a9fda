use crate::common::gpu;
use bptt::program::{Fill, Gemm, Program};
use bptt::{Device, Error, Executable, Tensor};

/// Why a program is refused.
pub fn reason(program: Program) -> String {
    match Executable::new(&Device::cpu(), program, &[]) {
        Err(error @ Error::Argument { .. }) => error.to_string(),
        other => panic!("expected an argument error, got {other:?}"),
    }
}

#[test]
fn inconsistent_operations_are_refused_by_name() {
    let mut program = Program::new();
    let a = program.tensor("a", &[3, 4]).matrix(3, 4);
    let b = program.tensor("b", &[5, 6]).matrix(5, 6);
    let c = program.tensor("c", &[3, 6]).matrix(3, 6);
    program.push(Gemm::new(a, b, c));
    assert!(reason(program).contains("operation 0 (gemm): b is [5, 6], not [4, 6]"));

    let mut program = Program::new();
    let a = program.tensor("a", &[4, 4]).matrix(4, 4);
    let b = program.tensor("b", &[4, 4]).matrix(4, 4);
    program.push(Gemm::new(a, b, a));
    assert!(reason(program).contains("c and a are in one tensor"));

    let mut program = Program::new();
    let mut target = program.tensor("target", &[4]);
    target.len = 5;
    program.push(Fill { target, value: 0.0 });
    assert!(reason(program).contains("past the 4 elements of target"));
}

#[test]
fn external_tensors_are_checked() {
    let mut program = Program::new();
    program.external(0, "x", &[3]);
    let device = Device::cpu();
    let missing = Executable::new(&device, program.clone(), &[]).unwrap_err();
    assert!(missing.to_string().contains("one for x"), "{missing}");
    let short = Tensor::zeros(&device, &[2]).unwrap();
    let shape = Executable::new(&device, program.clone(), &[short]).unwrap_err();
    assert_eq!(shape.to_string(), "x: shape [2], expected [3]");
    let elsewhere = Tensor::zeros(&Device::cpu_f64(), &[3]).unwrap();
    let device_error = Executable::new(&device, program, &[elsewhere]).unwrap_err();
    assert!(
        device_error
            .to_string()
            .contains("x: a tensor on CPU (f64), expected one on CPU (f32)")
    );
}

#[test]
fn a_run_is_one_submit_and_creates_nothing() {
    let Some(device) = gpu() else { return };
    let mut program = Program::new();
    let target = program.tensor("target", &[4]);
    (0..5).for_each(|value| {
        program.push(Fill {
            target,
            value: value as f32,
        })
    });
    // A device of its own: other tests run beside this one.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let device = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let executable = Executable::new(&device, program, &[]).unwrap();
    assert_eq!(executable.kernels(), ["fill"; 5]);
    assert_eq!(executable.program().ops().len(), 5);
    executable.run().unwrap();
    let before = device.counters();
    executable.run().unwrap();
    let mut expected = before;
    expected.submits += 1;
    expected.dispatches += 5;
    assert_eq!(device.counters(), expected);
    assert_eq!(
        executable
            .tensor(target.tensor)
            .to_array::<f32>()
            .unwrap()
            .as_slice()
            .unwrap(),
        [4.0; 4]
    );
}

#[test]
fn a_tensor_over_a_limit_is_refused() {
    let Some(device) = gpu() else { return };
    for shape in [
        &[1 << 40][..],
        &[1 << 30, 1],
        &[usize::MAX, 2],
        &[1 << 33, 1 << 33],
    ] {
        let error = Tensor::zeros(&device, shape).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
}

#[test]
fn one_tensor_given_twice_is_refused() {
    for device in crate::common::devices() {
        let mut program = Program::new();
        program.external(0, "x", &[3]);
        program.external(1, "y", &[3, 1]);
        let tensor = Tensor::zeros(&device, &[3]).unwrap();
        let again = tensor.reshape(&[3, 1]).unwrap();
        let error = Executable::new(&device, program, &[tensor, again]).unwrap_err();
        assert!(error.to_string().starts_with("y: given twice"), "{error}");
    }
}
