//! Recordings and their derivatives, against an interpreter of their own and finite differences.

use super::node::{Body, Fold, Function, Node, Operator, Relation};
use super::{Expr, Lanes, Tape};

mod printed;

/// What is read: floats along a row by operand, and whole numbers.
type Row<'a> = (&'a [Vec<f64>], &'a [Vec<u32>]);

/// The elements and results of a body over one row, in f64, one node after the other.
fn interpret(body: &Body, (floats, wholes): Row<'_>) -> (Vec<Vec<f64>>, Vec<f64>) {
    let len = floats.iter().map(Vec::len).max().unwrap_or(1);
    let mut statistics = vec![];
    let node_at = |statistics: &[f64], place: usize| {
        let mut values: Vec<f64> = vec![];
        for node in &body.nodes {
            let whole = |id: usize| match body.nodes[id] {
                Node::WholeOperand(index) => wholes[index][place % wholes[index].len()],
                Node::Whole(index) => body.wholes[index],
                other => panic!("{other:?} is no whole number"),
            };
            values.push(match *node {
                Node::Operand(index) => floats[index][place % floats[index].len()],
                Node::WholeOperand(_) | Node::Whole(_) => f64::NAN,
                // Those to come are not read before they are there.
                Node::Statistic(index) => statistics.get(index).copied().unwrap_or(f64::NAN),
                Node::Constant(bits) => f64::from_bits(bits),
                Node::Number(index) => body.numbers[index],
                Node::Apply(function, x) => function.of(values[x]),
                Node::Combine(Operator::Add, [a, b]) => values[a] + values[b],
                Node::Combine(Operator::Sub, [a, b]) => values[a] - values[b],
                Node::Combine(Operator::Mul, [a, b]) => values[a] * values[b],
                Node::Combine(Operator::Div, [a, b]) => values[a] / values[b],
                Node::WherePositive([x, yes, no]) => {
                    values[if values[x] <= 0.0 { no } else { yes }]
                }
                Node::Where(Relation::Less, [a, b, yes, no]) => {
                    values[if whole(a) < whole(b) { yes } else { no }]
                }
                Node::Where(Relation::Equal, [a, b, yes, no]) => {
                    values[if whole(a) == whole(b) { yes } else { no }]
                }
                Node::Float(of) => f64::from(whole(of)),
            });
        }
        values
    };
    for (fold, of) in &body.statistics {
        let values = (0..len).map(|place| node_at(&statistics, place)[*of]);
        statistics.push(match fold {
            Fold::Sum => values.sum(),
            Fold::Max => values.fold(f64::NEG_INFINITY, f64::max),
        });
    }
    let of = |ids: &[usize], place: usize| {
        let values = node_at(&statistics, place);
        ids.iter().map(|id| values[*id]).collect::<Vec<_>>()
    };
    let by_place: Vec<_> = (0..len).map(|place| of(&body.elements, place)).collect();
    let elements = (0..body.elements.len())
        .map(|index| by_place.iter().map(|values| values[index]).collect())
        .collect();
    (elements, of(&body.results, 0))
}

fn element(record: impl for<'t> FnOnce(&'t Tape) -> Expr<'t>) -> Body {
    let tape = Tape::new();
    let y = record(&tape);
    tape.finish(&[y], &[])
}

/// The derivative of f at 0, exact to the fourth power of a small step.
fn difference(f: impl Fn(f64) -> f64) -> f64 {
    let step = 1e-3;
    (8.0 * (f(step) - f(-step)) - (f(2.0 * step) - f(-2.0 * step))) / (12.0 * step)
}

/// Seeds that differ everywhere.
fn seeds(len: usize, shift: usize) -> Vec<f64> {
    (0..len)
        .map(|index| ((index * 7 + shift * 3) % 11) as f64 / 5.0 - 1.03)
        .collect()
}

/// Every derivative of Σ ⟨seed, output⟩ over a row, to 1e-9. Operands of one number repeat along the row.
fn check_gradient(name: &str, body: &Body, floats: &[Vec<f64>], wholes: &[Vec<u32>]) {
    let len = floats.iter().map(Vec::len).max().unwrap_or(1);
    // Whole numbers are read by the numbers of their operands, which are behind the floats.
    let wholes_at: Vec<_> = [vec![vec![0]; floats.len()], wholes.to_vec()].concat();
    let of: Vec<_> = floats
        .iter()
        .enumerate()
        .map(|(index, x)| (index, x.len() > 1))
        .collect();
    let first = floats.len() + wholes.len();
    let gradient = body.gradient(first, &of);
    let mut operands = floats.to_vec();
    operands.extend(wholes.iter().map(|_| vec![f64::NAN]));
    let of_elements: Vec<_> = (0..body.elements.len())
        .map(|index| seeds(len, index))
        .collect();
    let of_results = seeds(body.results.len(), 5);
    operands.extend(of_elements.iter().cloned());
    operands.extend(of_results.iter().map(|seed| vec![*seed]));
    let (elements, results) = interpret(&gradient, (&operands, &wholes_at));
    let (mut elements, mut results) = (elements.into_iter(), results.into_iter());
    for (index, along_row) in of {
        let got = match along_row {
            true => elements.next().unwrap(),
            false => vec![results.next().unwrap()],
        };
        for (place, got) in got.iter().enumerate() {
            let expected = difference(|step| {
                let mut moved = floats.to_vec();
                moved[index][place] += step;
                let (elements, results) = interpret(body, (&moved, &wholes_at));
                let products = elements.iter().zip(&of_elements);
                let products = products.flat_map(|(values, seeds)| values.iter().zip(seeds));
                products
                    .chain(results.iter().zip(&of_results))
                    .map(|(value, seed)| value * seed)
                    .sum()
            });
            let near = (got - expected).abs() <= 1e-9 * expected.abs().max(1.0);
            assert!(
                near,
                "{name}, operand {index} at {place}: {got}, expected {expected}"
            );
        }
    }
}

#[test]
fn the_same_step_is_recorded_once_and_simple_ones_not_at_all() {
    let nodes =
        |record: for<'t> fn(Expr<'t>) -> Expr<'t>| element(|tape| record(tape.operand(0))).nodes;
    let x = vec![Node::Operand(0)];
    for (name, record) in [
        ("x + 0", (|x| x + 0.0) as for<'t> fn(Expr<'t>) -> Expr<'t>),
        ("0 + x", |x| 0.0 + x),
        ("x − 0", |x| x - 0.0),
        ("x · 1", |x| x * 1.0),
        ("1 · x", |x| 1.0 * x),
        ("x / 1", |x| x / 1.0),
        ("− − x", |x| -(-x)),
        ("where both are one", |x| x.exp().where_positive(x, x)),
        ("x + (2 − 2)", |x| x + (x.constant(2.0) - 2.0)),
        ("x · e⁰", |x| x * x.zero().exp()),
        ("what nothing asks for", |x| {
            let _ = (x.exp() + 3.0).tanh();
            x
        }),
    ] {
        assert_eq!(nodes(record), x, "{name}");
    }
    let negated = vec![Node::Operand(0), Node::Apply(Function::Neg, 0)];
    assert_eq!(nodes(|x| x * -1.0), negated);
    assert_eq!(nodes(|x| -1.0 * x), negated);
    // Two exponentials are one; what only looks like a zero is not left out.
    assert_eq!(nodes(|x| x.exp() * x.exp()).len(), 3);
    assert_eq!(nodes(|x| x * 0.0).len(), 3);
    let body = element(|tape| (tape.operand(0) + 0.3) * 0.3 + tape.constant(0.1 + 0.2));
    assert_eq!(body.numbers, [0.3, 0.1 + 0.2]);
    // A zero has no sign, and numbers that are common are part of the form.
    let zero = element(|tape| tape.operand(0).max(tape.constant(-0.0)));
    assert!(zero.nodes.contains(&Node::Constant(0)) && zero.numbers.is_empty());
    // Statistics that nothing reads go, the others keep their order.
    let tape = Tape::new();
    let x = tape.operand(0);
    tape.statistic(Fold::Sum, x.exp());
    let most = tape.statistic(Fold::Max, x);
    let sum = tape.statistic(Fold::Sum, x - most);
    assert_eq!(tape.statistic(Fold::Max, x).id(), most.id());
    let body = tape.finish(&[x - sum], &[]);
    assert_eq!(
        body.statistics
            .iter()
            .map(|(fold, _)| *fold)
            .collect::<Vec<_>>(),
        [Fold::Max, Fold::Sum]
    );
    assert_eq!(body.turns(), [[0], [1]]);
}

#[test]
fn the_derivative_of_each_function() {
    type Unary = for<'t> fn(Expr<'t>) -> Expr<'t>;
    let functions: [(&str, Unary, &[f64]); 13] = [
        ("neg", |x| -x, &[-1.0, 0.0, 2.0]),
        ("abs", |x| x.abs(), &[-1.0, 0.0, 0.5]),
        ("sqrt", |x| x.sqrt(), &[0.3, 2.0, 30.0]),
        ("exp", |x| x.exp(), &[-3.0, 0.0, 2.0]),
        ("exp_m1", |x| x.exp_m1(), &[-3.0, 0.0, 2.0]),
        ("ln", |x| x.ln(), &[0.3, 1.0, 20.0]),
        ("softplus", |x| x.softplus(), &[-4.0, 0.0, 3.0]),
        ("sigmoid", |x| x.sigmoid(), &[-4.0, 0.0, 3.0]),
        ("tanh", |x| x.tanh(), &[-2.0, 0.0, 1.0]),
        ("erf", |x| x.erf(), &[-2.0, 0.0, 0.7]),
        (
            "where_positive",
            |x| x.where_positive(x * x, x * 3.0),
            &[-1.0, 1.0],
        ),
        ("max", |x| x.max(x * x), &[-1.0, 0.5, 2.0]),
        ("min", |x| x.min(x * x), &[-1.0, 0.5, 2.0]),
    ];
    for (name, function, places) in functions {
        let body = element(|tape| function(tape.operand(0)));
        for place in places {
            check_gradient(name, &body, &[vec![*place, place + 0.01]], &[]);
        }
    }
    type Binary = for<'t> fn(Expr<'t>, Expr<'t>) -> Expr<'t>;
    let operators: [(&str, Binary); 6] = [
        ("add", |x, y| x + y),
        ("sub", |x, y| x - y),
        ("mul", |x, y| x * y),
        ("div", |x, y| x / y),
        ("twice", |x, y| x * x * y + x / (y * y) - x),
        ("where", |x, y| (x - y).where_positive(x * y, x - y)),
    ];
    for (name, operator) in operators {
        let body = element(|tape| operator(tape.operand(0), tape.operand(1)));
        check_gradient(
            name,
            &body,
            &[vec![0.7, -1.2, 2.0], vec![1.1, -0.8, 0.6]],
            &[],
        );
        // One of them repeats along the row.
        check_gradient(name, &body, &[vec![0.7, -1.2, 2.0], vec![1.1]], &[]);
        check_gradient(name, &body, &[vec![0.7], vec![1.1, 0.8, 0.6]], &[]);
    }
}

#[test]
fn relations_of_whole_numbers_choose_the_gradient() {
    let body = element(|tape| {
        let (x, y) = (tape.operand(0), tape.operand(1));
        let (a, b) = (tape.whole_operand(2), tape.whole_operand(3));
        let less = a.less(b, x * y, y.exp() * a.to_float());
        less + b.equal(tape.whole(3), x.tanh(), less * x)
    });
    let x = vec![0.5, -0.3, 0.9, 1.4];
    let y = vec![0.2, 0.7, -0.6, -0.1];
    check_gradient(
        "relations",
        &body,
        &[x, y],
        &[vec![1, 4, 3, 2], vec![3, 4, 1, 3]],
    );
}

/// Rows whose elements and results depend on all of them, by the rule for statistics.
#[test]
fn gradients_through_statistics() {
    let x = vec![0.3, -1.2, 0.8, 2.1, -0.4];
    let weight = vec![1.3, 0.4, -0.7, 0.2, 0.9];
    let of = |record: for<'t> fn(&'t Tape) -> (Vec<Expr<'t>>, Vec<Expr<'t>>)| {
        let tape = Tape::new();
        let (elements, results) = record(&tape);
        tape.finish(&elements, &results)
    };
    let one = |body: &Body, name: &str| check_gradient(name, body, std::slice::from_ref(&x), &[]);

    let softmax = of(|tape| {
        let x = tape.operand(0);
        let e = (x - tape.statistic(Fold::Max, x)).exp();
        (vec![e / tape.statistic(Fold::Sum, e)], vec![])
    });
    one(&softmax, "softmax");

    let log_softmax = of(|tape| {
        let x = tape.operand(0);
        let shifted = x - tape.statistic(Fold::Max, x);
        (
            vec![shifted - tape.statistic(Fold::Sum, shifted.exp()).ln()],
            vec![],
        )
    });
    one(&log_softmax, "log-softmax");

    let layer_norm = of(|tape| {
        let x = tape.operand(0);
        let centered = x - tape.statistic(Fold::Sum, x) * 0.2;
        let variance = tape.statistic(Fold::Sum, centered * centered) * 0.2;
        (
            vec![centered / (variance + 1e-5).sqrt() * tape.operand(1) + tape.operand(2)],
            vec![],
        )
    });
    let bias = vec![0.1, 0.2, 0.3, 0.4, 0.5];
    check_gradient(
        "layer norm",
        &layer_norm,
        &[x.clone(), weight.clone(), bias],
        &[],
    );
    check_gradient(
        "layer norm with one weight",
        &layer_norm,
        &[x.clone(), vec![1.3], vec![0.2]],
        &[],
    );

    let rms_norm = of(|tape| {
        let x = tape.operand(0);
        let square = tape.statistic(Fold::Sum, x * x) * 0.2;
        (vec![x / (square + 1e-5).sqrt() * tape.operand(1)], vec![])
    });
    check_gradient("rms norm", &rms_norm, &[x.clone(), weight.clone()], &[]);

    let cross_entropy = of(|tape| {
        let (x, class, position) = (
            tape.operand(0),
            tape.whole_operand(1),
            tape.whole_operand(2),
        );
        let most = tape.statistic(Fold::Max, x);
        let picked = tape.statistic(Fold::Sum, position.equal(class, x, x.zero()));
        let loss = tape.statistic(Fold::Sum, (x - most).exp()).ln() + most - picked;
        (vec![], vec![loss])
    });
    let wholes = [vec![2], (0..5).collect()];
    check_gradient(
        "cross-entropy",
        &cross_entropy,
        std::slice::from_ref(&x),
        &wholes,
    );

    let norm = of(|tape| {
        let x = tape.operand(0);
        (vec![], vec![tape.statistic(Fold::Sum, x * x).sqrt()])
    });
    one(&norm, "L2 norm");

    // Elements and results at once, of a chain of sums each of which reads two before it, and of an operand of the row.
    let chain = of(|tape| {
        let (x, y) = (tape.operand(0), tape.operand(1));
        let first = tape.statistic(Fold::Sum, x * y);
        let second = tape.statistic(Fold::Sum, (x - first * 0.1).tanh());
        let third = tape.statistic(Fold::Sum, x * second + first * y);
        (
            vec![x * third, (first - second) * y],
            vec![third * y, first * second],
        )
    });
    check_gradient("chain", &chain, &[x.clone(), vec![0.6]], &[]);
    // What nothing depends on has a gradient of 0.
    let none = of(|tape| (vec![tape.operand(0).exp()], vec![]));
    check_gradient("nothing", &none, &[x, weight], &[]);
}
