// Global gradient norm. First pass (FINISH false): partial[i] = Σ over this invocation's elements of gradient². Second pass, one
// workgroup: clip = [norm, min(1, max_norm / (norm + 1e-6))].

struct ClipNormParams {
    len: u32,
    invocations: u32,
    gradient: u32,
    clip: u32,
    max_norm: f32,
}

@group(0) @binding(0) var<storage, read> params: ClipNormParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;      // [N]
@group(0) @binding(2) var<storage, read_write> partial: array<f32>; // [invocations]
@group(0) @binding(3) var<storage, read_write> clip: array<f32>;    // [2]

override FINISH: bool = false;

@compute @workgroup_size(ROW_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var sum = 0.0;
    if FINISH {
        for (var i = local; i < params.invocations; i += ROW_SIZE) {
            sum += partial[i];
        }
        let norm = sqrt(row_sum(local, sum));
        if local == 0u {
            clip[params.clip] = norm;
            let scale = params.max_norm / (norm + 1e-6);
            // A NaN norm stays a NaN scale.
            clip[params.clip + 1u] = select(scale, 1.0, scale > 1.0);
        }
    } else {
        let index = linear_workgroup(workgroup, workgroups) * ROW_SIZE + local;
        if index < params.invocations {
            for (var i = index; i < params.len; i += params.invocations) {
                let value = gradient[params.gradient + i];
                sum = fma(value, value, sum);
            }
            partial[index] = sum;
        }
    }
}
