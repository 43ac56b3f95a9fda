//! Expressions as WGSL, and numbers at their ends.

use crate::expr::node::{Fold, Node};
use crate::expr::{Lanes, Printer, Tape};

#[test]
fn as_wgsl() {
    let tape = Tape::new();
    let (x, y) = (tape.operand(0), tape.operand(1));
    let (index, most) = (tape.whole_operand(2), tape.statistic(Fold::Max, x));
    let shifted = (x - most).exp() * 0.5;
    let chosen = index.less(tape.whole(7), shifted, y.sigmoid());
    let body = tape.finish(
        &[chosen.where_positive(-y, index.to_float()), shifted],
        &[most / 3.0],
    );
    let leaf = |node: &Node| match node {
        Node::Operand(index) => format!("t{index}[i0]"),
        Node::WholeOperand(index) => format!("u{index}[i0]"),
        Node::Statistic(index) => format!("s{index}"),
        Node::Number(index) => format!("params.n{index}"),
        Node::Whole(index) => format!("params.w{index}"),
        other => panic!("{other:?} is no leaf"),
    };
    let mut text = String::new();
    let mut printer = Printer::new(&body);
    printer.print(&mut text, "  ", body.elements.iter().copied(), leaf);
    assert_eq!(
        text,
        "  let v0 = t0[i0];
  let v1 = t1[i0];
  let v2 = u2[i0];
  let v3 = s0;
  let v4 = v0 - v3;
  let v5 = keep_nan(v4, exp(v4));
  let v6 = 0.5f;
  let v7 = v5 * v6;
  let v8 = params.w0;
  let v9 = sigmoid(v1);
  let v10 = select(v9, v7, v2 < v8);
  let v11 = -(v1);
  let v12 = f32(v2);
  let v13 = select(v11, v12, at_most_zero(v10));
"
    );
    // What has a name is not written again, until it is forgotten.
    let mut text = String::new();
    printer.print(&mut text, "", body.results.iter().copied(), leaf);
    assert_eq!(text, "let v14 = params.n0;\nlet v15 = v3 / v14;\n");
    printer.forget();
    let mut text = String::new();
    printer.print(&mut text, "", body.results.iter().copied(), leaf);
    assert_eq!(
        text,
        "let v3 = s0;\nlet v14 = params.n0;\nlet v15 = v3 / v14;\n"
    );
}

#[test]
fn extremes() {
    fn check<N: Lanes + PartialEq + std::fmt::Debug>(number: impl Fn(f64) -> N) {
        let infinity = f64::INFINITY;
        for (x, expected) in [
            (infinity, 1.0),
            (-infinity, -1.0),
            (10.0, 1.0),
            (-40.0, -1.0),
            (0.0, 0.0),
        ] {
            assert_eq!(number(x).erf(), number(expected), "erf {x}");
        }
        for (x, expected) in [
            (infinity, infinity),
            (-infinity, 0.0),
            (1e5, infinity),
            (-1e5, 0.0),
            (0.0, 1.0),
        ] {
            assert_eq!(number(x).exp(), number(expected), "exp {x}");
        }
        for (x, expected) in [
            (-infinity, -1.0),
            (infinity, infinity),
            (0.0, 0.0),
            (-1e5, -1.0),
        ] {
            assert_eq!(number(x).exp_m1(), number(expected), "exp_m1 {x}");
        }
        for (x, expected) in [
            (-infinity, 0.0),
            (infinity, infinity),
            (1e6, 1e6),
            (-1e6, 0.0),
        ] {
            assert_eq!(number(x).softplus(), number(expected), "softplus {x}");
        }
        for (x, expected) in [(-infinity, 0.0), (infinity, 1.0), (0.0, 0.5), (-1e6, 0.0)] {
            assert_eq!(number(x).sigmoid(), number(expected), "sigmoid {x}");
        }
        // A tiny argument keeps its digits.
        for function in [N::exp_m1, N::tanh, N::sqrt] {
            assert_ne!(function(number(1e-20)), number(0.0));
        }
        assert_eq!(number(0.5).max(number(-1.0)), number(0.5));
        assert_eq!(number(0.5).min(number(-1.0)), number(-1.0));
    }
    check(|x| x);
    check(|x| x as f32);
    for x in [f32::NAN, -f32::NAN] {
        let all = [
            x.exp(),
            Lanes::erf(x),
            Lanes::softplus(x),
            Lanes::sigmoid(x),
            Lanes::max(x, 1.0),
            Lanes::min(x, 1.0),
        ];
        assert!(all.iter().all(|y| y.is_nan()), "{all:?}");
    }
    // Known values, of which Abramowitz & Stegun's table has ten digits.
    for (x, expected) in [
        (0.5, 0.520_499_877_8),
        (1.0, 0.842_700_792_9),
        (2.0, 0.995_322_265_0),
    ] {
        assert!((Lanes::erf(x) - expected).abs() < 1e-10);
    }
}
