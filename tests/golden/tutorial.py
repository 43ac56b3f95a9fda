"""A published tutorial's numbers, from its own draw: an Elman network (forward
pass and 201 epochs of back-propagation through time) and one LSTM step.

    python tutorial.py [FILE]

Asserts every published number in float64, writes the drawn arrays, then repeats
the training with other summation orders in float64 and float32 to show how far
its losses may move: from about epoch 70 on the step is too long for the curvature
and rounding errors grow tenfold an epoch. See README.md.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
import numpy as np
from generate import replace
from safetensors.numpy import save

H_LAST = [0.95516432, -0.99182894, -0.03554066, -0.99213409, -0.12484929]
OUTPUTS = [
    [2.70878155, -0.35994001],
    [0.41051732, -3.81326106],
    [1.45961374, 1.14008039],
    [1.95410691, -1.2282841],
]
# Mean square over the 8 outputs before the update of epochs 0, 10, … 200.
LOSSES = """5.5586 1.6068 1.0345 0.7091 0.4858 0.3457 0.2433 0.1678 0.1156 0.1289 0.1353
0.1073 0.0860 0.0688 0.0548 0.0436 0.0347 0.0277 0.0221 0.0177 0.0142"""
LOSS_LAST = 0.01239  # after epoch 200's update
LSTM_H = [0.10300916, 0.03630028, -0.49784764, -0.19816366, -0.08696417]
LSTM_C = [0.77549715, 0.0670822, -0.65920812, -0.39389873, -0.67070856]

RNN_NAMES = ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]


def draw():
    np.random.seed(42)
    shapes = [
        ("W_xh", (5, 3)), ("W_hh", (5, 5)), ("W_hy", (2, 5)), ("b_h", (5, 1)), ("b_y", (2, 1)),
        ("X", (4, 3, 1)), ("Y", (4, 2, 1)),
        ("W_f", (5, 8)), ("W_i", (5, 8)), ("W_C", (5, 8)), ("W_o", (5, 8)), ("x", (3, 1)),
    ]  # fmt: skip
    return {name: np.random.randn(*shape) for name, shape in shapes}


def forward(p, xs, dot, tanh):
    w_xh, w_hh, w_hy, b_h, b_y = p
    h = np.zeros((5, 1), w_xh.dtype)
    hs, os = [h], []
    for x in xs:
        h = tanh(dot(w_xh, x) + dot(w_hh, h) + b_h)
        hs.append(h)
        os.append(dot(w_hy, h) + b_y)
    return hs, os


def gradients(p, xs, ys, hs, os, dot):
    """Of half the sum of squares: no mean, no clipping."""
    _, w_hh, w_hy, _, _ = p
    g = [np.zeros_like(a) for a in p]
    dh = np.zeros_like(hs[0])
    for t in reversed(range(len(xs))):
        d = os[t] - ys[t]
        da = (dot(w_hy.T, d) + dh) * (1 - hs[t + 1] ** 2)
        for total, part in zip(g, [da @ xs[t].T, da @ hs[t].T, d @ hs[t + 1].T, da, d]):
            total += part
        dh = dot(w_hh.T, da)
    return g


def train(arrays, dtype=np.float64, dot=np.matmul, tanh=np.tanh):
    """The 21 printed losses, the loss after the last update, and the largest
    |gradient| and gradient norm seen."""
    p = [arrays[n].astype(dtype) for n in RNN_NAMES]
    xs, ys = arrays["X"].astype(dtype), arrays["Y"].astype(dtype)

    def mean_square(os):
        return float(np.mean((np.array(os, np.float64) - ys.astype(np.float64)) ** 2))

    losses, largest = [], np.zeros(2)
    for epoch in range(201):
        hs, os = forward(p, xs, dot, tanh)
        if epoch % 10 == 0:
            losses.append(mean_square(os))
        g = gradients(p, xs, ys, hs, os, dot)
        flat = np.concatenate([a.ravel() for a in g])
        largest = np.maximum(largest, [np.abs(flat).max(), np.linalg.norm(flat)])
        for a, b in zip(p, g):
            a -= dtype(0.01) * b
        assert all(a.dtype == dtype for a in [*p, *g, *hs, *os])
    return np.array(losses + [mean_square(forward(p, xs, dot, tanh)[1])]), largest


def lstm_step(arrays):
    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    z = np.vstack([np.zeros((5, 1)), arrays["x"]])
    f, i, o = (sigmoid(arrays[n] @ z) for n in ["W_f", "W_i", "W_o"])
    c = f * np.zeros((5, 1)) + i * np.tanh(arrays["W_C"] @ z)
    return o * np.tanh(c), c


def in_order(order):
    """A matrix-vector product that adds its terms one by one in this order."""

    def dot(a, b):
        total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
        for k in order(a.shape[1]):
            total = total + a[:, k : k + 1] * b[k : k + 1]
        return total

    return dot


def pairwise(a, b):
    parts = [a[:, k : k + 1] * b[k : k + 1] for k in range(a.shape[1])]
    while len(parts) > 1:
        rest = parts[len(parts) // 2 * 2 :]
        parts = [u + v for u, v in zip(parts[::2], parts[1::2])] + rest
    return parts[0]


def wide(a, b):
    """One rounding an element."""
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)


def noisy_tanh(rng, error):
    def tanh(v):
        exact = np.tanh(v.astype(np.float64))
        return (exact + rng.uniform(-error, error, v.shape)).astype(v.dtype)

    return tanh


def report(arrays, exact):
    rng = np.random.RandomState(0)
    orders = [
        np.matmul,
        in_order(range),
        in_order(lambda n: reversed(range(n))),
        pairwise,
        wide,
    ] + [in_order(rng.permutation)] * 25

    def runs(dtype, **more):
        return np.array([train(arrays, dtype, **more)[0]])

    def worst(losses):
        return np.abs(losses / exact - 1).max(axis=0)

    f64 = np.concatenate([runs(np.float64, dot=d) for d in orders])
    f32 = np.concatenate([runs(np.float32, dot=d) for d in orders])
    columns = [("f64 orders", worst(f64)), ("f32 orders", worst(f32))]
    for error in [1e-7, 1e-6, 1e-5]:
        noisy = [runs(np.float32, tanh=noisy_tanh(rng, error)) for _ in range(10)]
        columns.append((f"f32 tanh ±{error:g}", worst(np.concatenate(noisy))))
    print("largest relative deviation of each loss over summation orders,")
    print("over errors added to tanh, and the range of the f32 orders")
    print("epoch      loss  " + "  ".join(name for name, _ in columns) + "  f32 least … most")
    for n, loss in enumerate(exact):
        label = 10 * n if n < 21 else "end"
        cells = "  ".join(f"{column[n]:{len(name)}.1e}" for name, column in columns)
        print(f"{label:>5}  {loss:.6f}  {cells}  {f32[:, n].min():.5f} … {f32[:, n].max():.5f}")


def main():
    default = pathlib.Path(__file__).parent / "tutorial.safetensors"
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    arrays = draw()

    hs, os = forward([arrays[n] for n in RNN_NAMES], arrays["X"], np.matmul, np.tanh)
    np.testing.assert_allclose(hs[-1].ravel(), H_LAST, rtol=0, atol=6e-9)
    np.testing.assert_allclose(np.array(os)[:, :, 0], OUTPUTS, rtol=0, atol=6e-9)

    exact, (element, norm) = train(arrays)
    assert [f"{v:.4f}" for v in exact[:21]] == LOSSES.split()
    assert f"{exact[21]:.5f}" == f"{LOSS_LAST:.5f}"

    h, c = lstm_step(arrays)
    np.testing.assert_allclose(h.ravel(), LSTM_H, rtol=0, atol=6e-9)
    np.testing.assert_allclose(c.ravel(), LSTM_C, rtol=0, atol=6e-9)

    replace(path, save(arrays))
    print("every published number holds")
    print(f"largest |gradient| {element:.3f}, largest gradient norm {norm:.3f}")
    report(arrays, exact)


if __name__ == "__main__":
    main()
