// Numbering of workgroups and invocations. A dispatch has at most 65,535 workgroups a dimension, so the host spreads a count
// over x and y; the last row may hold workgroups past the count, which callers must skip.

fn linear_workgroup(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}
