// Cross-entropy of softmax and class numbers: partial[row] = weight · w (log Σ eˣ − x[class]),
// gradient = w (softmax(x) − onehot(class)), w being 1/M or the row's weight. One workgroup a row; column_sum adds the partials up.

struct SoftmaxCrossEntropyParams {
    rows: u32,
    columns: u32,
    logits: u32,
    classes: u32,
    gradient: u32,
    logits_stride: u32,
    gradient_stride: u32,
    has_gradient: u32,
    loss_weight: f32,
    row_weights: u32,
    has_row_weights: u32,
}

@group(0) @binding(0) var<storage, read> params: SoftmaxCrossEntropyParams;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // [M, N]
@group(0) @binding(2) var<storage, read> classes: array<f32>;        // [M], whole numbers
@group(0) @binding(3) var<storage, read> row_weights: array<f32>;    // [M]
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;  // [M]
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // [M, N]

@compute @workgroup_size(ROW_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups);
    let live = row < params.rows;
    let columns = select(0u, params.columns, live);
    let logits_at = params.logits + row * params.logits_stride;
    let class_value = classes[params.classes + min(row, params.rows - 1u)];
    let inside = class_value >= 0.0 && class_value < f32(params.columns);
    // A class outside gives NaN, made at run time: a constant one is an error in WGSL.
    let nan = bitcast<f32>(0x7fc00000u | params.rows);
    let class_number = u32(select(0.0, class_value, inside));

    var largest = LOWEST;
    for (var i = local; i < columns; i += ROW_SIZE) {
        largest = max(largest, logits[logits_at + i]);
    }
    largest = row_max(local, largest);
    var sum = 0.0;
    for (var i = local; i < columns; i += ROW_SIZE) {
        sum += exp(logits[logits_at + i] - largest);
    }
    sum = row_sum(local, sum);

    var weight = 1.0 / f32(params.rows);
    if params.has_row_weights != 0u {
        weight = row_weights[params.row_weights + min(row, params.rows - 1u)];
    }
    // A weight of 0 leaves the row out, whatever it holds.
    let counts = weight != 0.0;
    if params.has_gradient != 0u {
        for (var i = local; i < columns; i += ROW_SIZE) {
            let target_value = select(0.0, 1.0, inside && i == class_number);
            let value = (exp(logits[logits_at + i] - largest) / sum - target_value) * weight;
            gradient[params.gradient + row * params.gradient_stride + i] = select(0.0, select(nan, value, inside), counts);
        }
    }
    if live && local == 0u {
        let loss = (log(sum) - (logits[logits_at + class_number] - largest)) * weight;
        partial[row] = params.loss_weight * select(0.0, select(nan, loss, inside), counts);
    }
}
