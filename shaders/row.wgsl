// Reductions over a row by one workgroup, in a fixed order. Every invocation of the workgroup must call them.

const ROW_SIZE: u32 = 64u;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> row_values: array<f32, ROW_SIZE>;

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
            row_values[local] = max(row_values[local], row_values[local + width]);
        }
    }
    return workgroupUniformLoad(&row_values[0]);
}
