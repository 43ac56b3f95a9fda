use crate::common::gpu;
use bptt::program::{Gemm, Map, Program};
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
    program.push(Map::fill(target, 0.0));
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
    (0..5).for_each(|value| program.push(Map::fill(target, f64::from(value))));
    // A device of its own: other tests run beside this one.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let device = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let executable = Executable::new(&device, program, &[]).unwrap();
    assert_eq!(executable.kernels(), ["map.fill"; 5]);
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

#[test]
fn temporary_tensors_share_memory_where_their_times_do_not_meet() {
    let mut program = Program::new();
    let x = program.tensor("x", &[2, 2]).matrix(2, 2);
    let a = program.temporary("a", &[4]);
    let b = program.temporary("b", &[6]);
    let c = program.temporary("c", &[3]);
    let y = program.tensor("y", &[2, 2]).matrix(2, 2);
    let square = |slice: bptt::program::Slice| slice.part(0, 4).matrix(2, 2);
    let row = c.matrix(1, 2);
    program.push(Gemm::new(x, x, square(a)));
    program.push(Gemm::new(square(a), x, square(b)));
    program.push(Gemm::new(square(b).rows(0, 1), x, row));
    program.push(Gemm::new(row, x, y.rows(0, 1)));
    program.push(Gemm::new(row, x, y.rows(1, 1)));
    let memory = program.memory().unwrap();
    let block = |slice: bptt::program::Slice| memory.block_of(slice.tensor);
    assert_eq!(block(a), block(c));
    assert_ne!(block(a), block(b));
    assert_eq!(memory.len(), 4 + 4 + 4 + 6);
    let identity = ndarray::array![[0.0_f32, 1.0], [1.0, 0.0]];
    for device in std::iter::once(Device::cpu()).chain(gpu()) {
        let executable = Executable::new(&device, program.clone(), &[]).unwrap();
        executable.tensor(x.tensor).write(&identity).unwrap();
        executable.run().unwrap();
        // The fifth power of an exchange is the exchange, whose first row is in both.
        let got = executable.tensor(y.tensor).to_array::<f32>().unwrap();
        assert_eq!(got, ndarray::array![[0.0, 1.0], [0.0, 1.0]].into_dyn());
    }
    // Kept ones have memory of their own.
    program.keep(a.tensor);
    program.keep(c.tensor);
    assert_eq!(program.memory().unwrap().len(), 4 + 4 + 4 + 6 + 3);
}

#[test]
fn a_temporary_tensor_is_written_before_it_is_read() {
    let mut program = Program::new();
    let a = program.temporary("a", &[2, 2]).matrix(2, 2);
    let y = program.tensor("y", &[2, 2]).matrix(2, 2);
    let x = program.tensor("x", &[2, 2]).matrix(2, 2);
    program.push(Gemm::new(x, a, y));
    let expected = "operation 0 (gemm): b, the temporary a, has not been written";
    assert!(reason(program).contains(expected));
}
