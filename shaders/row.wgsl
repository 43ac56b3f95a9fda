// The entry point of kernels in which a workgroup works on a row: `each_group` takes the row's index, which may be past the last.
// Reductions over a row, in a fixed order, which every invocation of the workgroup must call.

const ROW_SIZE: u32 = 64u;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> row_values: array<f32, ROW_SIZE>;

@compute @workgroup_size(ROW_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    each_group(linear_workgroup(workgroup, workgroups), local);
}

fn row_sum(local: u32, value: f32) -> f32 {
    row_values[local] = value;
    for (var width = ROW_SIZE / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if local < width {
            row_values[local] += row_values[local + width];
        }
    }
    return workgroupUniformLoad(&row_values[0]);
}

fn row_max(local: u32, value: f32) -> f32 {
    row_values[local] = value;
    for (var width = ROW_SIZE / 2u; width > 0u; width /= 2u) {
        workgroupBarrier();
        if local < width {
            row_values[local] = larger(row_values[local], row_values[local + width]);
        }
    }
    return workgroupUniformLoad(&row_values[0]);
}
