use crate::common::Case;
use bptt::program::Fill;
use bptt::verify::SINGLE;

#[test]
fn fills_its_part_only() {
    for len in [1, 3, 65, 257] {
        let mut case = Case::new(1);
        let target = case.random("target", &[len + 5], 1.0);
        case.also_output(target);
        case.program.push(Fill {
            target: target.part(2, len),
            value: 0.5,
        });
        case.check(SINGLE);
    }
}
