// The lengths of rows and zoneout, in the recurrence kernels of both directions. They have `params` with batch, hidden, output,
// directions, steps, rng, site, zoneout_random, zoneout_rate_h, zoneout_rate_c, zoneout_threshold_h, zoneout_threshold_c,
// segment_first and segment_total, and `lengths`.

// The place in time, in the whole sequence, of the earliest of a direction's steps.
fn segment_start(direction: u32) -> u32 {
    return select(params.segment_first, params.segment_total - params.segment_first - params.steps, direction == 1u);
}

// How many of these steps a row has.
fn row_steps(direction: u32, b: u32) -> u32 {
    let start = segment_start(direction);
    return min(max(lengths[params.lengths + b], start) - start, params.steps);
}

fn rng_words(part: u32) -> vec2<u32> {
    return vec2<u32>(lengths[params.rng + part], lengths[params.rng + part + 1u]);
}

// Zoneout's m of states h (x) and the others (y): new = (1 − m) old + m computed.
fn zoneout_keep(direction: u32, t: u32, b: u32, unit: u32) -> vec2<f32> {
    if params.zoneout_random == 0u {
        return vec2<f32>(1.0 - params.zoneout_rate_h, 1.0 - params.zoneout_rate_c);
    }
    let row = (direction * params.segment_total + segment_start(direction) + t) * params.batch + b;
    let key = rng_words(0u);
    let step = rng_words(2u);
    let h = philox(vec4<u32>(row * params.output + unit, params.site, step), key).x;
    // One block serves both unless a projection gives them other widths.
    let c = philox(vec4<u32>(row * params.hidden + unit, params.site, step), key).y;
    return select(
        vec2<f32>(1.0),
        vec2<f32>(0.0),
        vec2<u32>(h, c) < vec2<u32>(params.zoneout_threshold_h, params.zoneout_threshold_c),
    );
}
