"""Writes golden files from Keras 3 in float64 on the PyTorch backend. See README.md.

    python keras_cases.py [FOLDER]
"""

import json
import math
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "torch"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import torch
from keras.src.backend.common import dtypes

# generate.py is a script: leave no __pycache__ beside it.
sys.dont_write_bytecode = True
from generate import DEFAULTS, F64, GATES, collect, draw_case, leaves, sizes, with_states, write

# But for the TensorFlow backend Keras takes float64 times float64 to be float32, and
# so rounds every matrix product of a float64 layer.
dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
# No activation's argument closer than this to a kink or a jump.
MARGIN = 1e-3
# Keras' gates in its order: ifco, zrh.
ORDER = {"rnn_tanh": [0], "rnn_relu": [0], "gru": [1, 0, 2], "lstm": [0, 1, 2, 3]}
# The slots in this project's order, and what fills them by default; Keras has one
# activation for the gates, and one for the rest.
SLOTS = {
    "rnn_tanh": {"h": "tanh"},
    "rnn_relu": {"h": "relu"},
    "gru": {"r": "sigmoid", "z": "sigmoid", "n": "tanh"},
    "lstm": {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "c": "tanh"},
}
GATE_SLOTS = "rzifo"


# keras.activations.hard_sigmoid by its definition: PyTorch's fused one, which Keras
# calls, has float32's 1/6 for its slope in the backward pass (see left_out).
@keras.saving.register_keras_serializable()
def hard_sigmoid(x):
    return keras.activations.relu6(x + 3.0) / 6.0


# Keras' own functions with numbers that are not its defaults, or combined.
@keras.saving.register_keras_serializable()
def leaky_relu_numbers(x):
    return keras.activations.leaky_relu(x, negative_slope=0.125)


@keras.saving.register_keras_serializable()
def elu_numbers(x):
    return keras.activations.elu(x, alpha=0.75)


@keras.saving.register_keras_serializable()
def relu_threshold(x):
    return keras.activations.relu(x, threshold=0.25)


@keras.saving.register_keras_serializable()
def scaled_tanh(x):
    return 1.75 * keras.activations.tanh(0.625 * x)


@keras.saving.register_keras_serializable()
def affine(x):
    return 0.75 * keras.activations.linear(x) - 0.25


def number(name, alpha, beta=None):
    return {"name": name, "alpha": alpha} | ({} if beta is None else {"beta": beta})


# What a case gives to Keras: how its metadata says it.
ACTIVATIONS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softsign": "softsign",
    "softplus": "softplus",
    "elu": "elu",
    hard_sigmoid: number("hard_sigmoid", 1 / 6, 0.5),
    "leaky_relu": number("leaky_relu", 0.2),
    "linear": number("affine", 1.0, 0.0),
    leaky_relu_numbers: number("leaky_relu", 0.125),
    elu_numbers: number("elu", 0.75),
    relu_threshold: number("thresholded_relu", 0.25),
    scaled_tanh: number("scaled_tanh", 1.75, 0.625),
    affine: number("affine", 0.75, -0.25),
}


# -------------------------------------------------------------------- Keras


def to_keras(weight, order):
    parts = weight.chunk(max(order) + 1)
    return torch.cat([parts[k] for k in order]).permute(*range(weight.ndim)[::-1])


def from_keras(weight, order):
    parts = weight.permute(*range(weight.ndim)[::-1]).chunk(max(order) + 1)
    return torch.cat([parts[order.index(k)] for k in range(len(order))])


def new_layer(cfg, case, **more):
    kinds = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
    kind = kinds.get(cfg["cell"], keras.layers.SimpleRNN)
    args = {"activation": "relu" if cfg["cell"] == "rnn_relu" else "tanh"}
    for k in ["activation", "recurrent_activation"]:
        if k in case:
            args[k] = case[k]
    if cfg["cell"] == "gru":
        args["reset_after"] = cfg["reset_after"]
    return kind(
        cfg["hidden_size"],
        use_bias=cfg["bias"],
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=True,
        dtype="float64",
        **args,
        **more,
    )


def two_biases(cfg):
    """Only this cell of Keras' has them."""
    return cfg["bias"] and cfg["cell"] == "gru" and cfg["reset_after"]


def by_keras(cfg, case, tensors):
    ten = leaves(tensors)
    absent = "h0" not in ten and "c0" not in ten
    with_states(cfg, ten)
    order, d, h = ORDER[cfg["cell"]], 1 + cfg["bidirectional"], cfg["hidden_size"]
    names = [n for n in ["h0", "c0"] if n in ten]
    variables, stack = {}, []
    for k in range(cfg["num_layers"]):
        layer = new_layer(cfg, case)
        if cfg["bidirectional"]:
            backward = new_layer(cfg, case, go_backwards=True)
            layer = keras.layers.Bidirectional(layer, backward_layer=backward, dtype="float64")
        layer.build((None, None, cfg["input_size"] if k == 0 else d * h))
        pair = [layer.forward_layer, layer.backward_layer] if d == 2 else [layer]
        for one, suffix in zip(pair, [f"l{k}", f"l{k}_reverse"]):
            cell = one.cell
            found = {f"weight_ih_{suffix}": cell.kernel}
            found[f"weight_hh_{suffix}"] = cell.recurrent_kernel
            for name, variable in found.items():
                variable.assign(to_keras(ten[name].detach(), order))
            if cfg["bias"]:
                both = [to_keras(ten[f"bias_{s}_{suffix}"].detach(), order) for s in ("ih", "hh")]
                assert two_biases(cfg) or not both[1].any()
                cell.bias.assign(torch.stack(both) if two_biases(cfg) else both[0])
                found[f"bias_{suffix}"] = cell.bias
            variables |= {name: v.value for name, v in found.items()}
        stack.append(layer)

    def run(given):
        x, finals = ten["x"] if cfg["batch_first"] else ten["x"].transpose(0, 1), []
        mask = None
        if "lengths" in ten:
            mask = torch.arange(x.shape[1]) < ten["lengths"][:, None]
        for k, layer in enumerate(stack):
            state = None
            if given:
                state = [ten[n][k * d + rev] for rev in range(d) for n in names]
            x, *last = layer(x, initial_state=state, mask=mask)
            finals += last
        y = x if cfg["batch_first"] else x.transpose(0, 1)
        return y, *(torch.stack(finals[n :: len(names)]) for n in range(len(names)))

    y, hn, cn = [*run(True), None][:3]
    if absent:
        for one, other in zip(run(False), (y, hn, cn)):
            assert torch.equal(one, other)

    out = {"y": y, "hn": hn} | ({} if cn is None else {"cn": cn})
    loss = (y * ten["dy"]).sum() + (hn * ten["dhn"]).sum()
    if cn is not None:
        loss = loss + (cn * ten["dcn"]).sum()
    found = torch.autograd.grad(loss, [ten["x"], *(ten[n] for n in names), *variables.values()])
    out |= dict(zip([f"d{n}" for n in ["x", *names]], found))
    for name, grad in zip(variables, found[1 + len(names) :]):
        if not name.startswith("bias_"):
            out[f"d.{name}"] = from_keras(grad, order)
            continue
        # One bias stands for the sum of two: each has its gradient.
        pair = grad if two_biases(cfg) else (grad, grad)
        for s, g in zip(("ih", "hh"), pair):
            out[f"d.bias_{s}_{name.removeprefix('bias_')}"] = from_keras(g, order)
    return out


# ------------------------------------------------------------------ by hand


def parse(item):
    item = {"name": item} if isinstance(item, str) else item
    return item["name"], item.get("alpha", 1.0), item.get("beta", 0.0)


def activate(name, alpha, beta, x):
    match name:
        case "sigmoid":
            return 1 / (1 + torch.exp(-x))
        case "tanh":
            return x.tanh()
        case "relu":
            return torch.where(x > 0, x, 0)
        case "hard_sigmoid":
            return torch.clamp(alpha * x + beta, 0, 1)
        case "softsign":
            return x / (1 + x.abs())
        case "leaky_relu":
            return torch.where(x > 0, x, alpha * x)
        case "elu":
            return torch.where(x > 0, x, alpha * x.expm1())
        case "affine":
            return alpha * x + beta
        case "scaled_tanh":
            return alpha * (beta * x).tanh()
        case "thresholded_relu":
            return torch.where(x > alpha, x, 0)
        case "softplus":
            return x.exp().log1p()


def kinks(name, alpha, beta):
    if name == "hard_sigmoid":
        return [-beta / alpha, (1 - beta) / alpha]
    if name == "thresholded_relu":
        return [alpha]
    return [0.0] if name in ("relu", "leaky_relu", "elu") else []


def by_hand(cfg, tensors):
    """The same from the equations, one row and one step at a time; and whether every
    activation's arguments are clear of its kinks, and on all sides of them."""
    ten = leaves(tensors)
    with_states(cfg, ten)
    default = SLOTS[cfg["cell"]]
    given = cfg.get("activations", default.values())
    acts = {s: parse(a) for s, a in zip(default, given, strict=True)}
    seen = {s: [] for s in acts}

    def act(slot, a):
        seen[slot].append(a.detach())
        return activate(*acts[slot], a)

    h, d = cfg["hidden_size"], 1 + cfg["bidirectional"]
    zero = torch.zeros(GATES[cfg["cell"]] * h, dtype=F64)

    def step(suffix, x, hid, c):
        w, u = ten[f"weight_ih_{suffix}"], ten[f"weight_hh_{suffix}"]
        bw, bu = ten.get(f"bias_ih_{suffix}", zero), ten.get(f"bias_hh_{suffix}", zero)
        a, e = w @ x + bw, u @ hid + bu
        if cfg["cell"] == "gru":
            (ar, az, an), (er, ez, en) = a.split(h), e.split(h)
            r, z = act("r", ar + er), act("z", az + ez)
            en = r * en if cfg["reset_after"] else u[2 * h :] @ (r * hid) + bu[2 * h :]
            return (1 - z) * act("n", an + en) + z * hid, c
        if cfg["cell"] != "lstm":
            return act("h", a + e), c
        i, f, g, o = (a + e).split(h)
        c = act("f", f) * c + act("i", i) * act("g", g)
        return act("o", o) * act("c", c), c

    x = ten["x"].transpose(0, 1) if cfg["batch_first"] else ten["x"]
    t, b = x.shape[:2]
    lengths = ten["lengths"].tolist() if "lengths" in ten else [t] * b
    rows, hn, cn = [], {}, {}
    for r in range(b):
        seq = [x[s, r] for s in range(lengths[r])]
        for k in range(cfg["num_layers"]):
            outs = []
            for rev in range(d):
                n, suffix = k * d + rev, f"l{k}" + "_reverse" * rev
                hid, c = ten["h0"][n, r], ten["c0"][n, r] if "c0" in ten else None
                out = [None] * len(seq)
                order = range(len(seq))
                for s in reversed(order) if rev else order:
                    hid, c = step(suffix, seq[s], hid, c)
                    out[s] = hid
                outs.append(out)
                hn[n, r], cn[n, r] = hid, c
            seq = [torch.cat(parts) for parts in zip(*outs)]
        rows.append(torch.stack(seq + [torch.zeros(d * h, dtype=F64)] * (t - len(seq))))
    y = torch.stack(rows, 0 if cfg["batch_first"] else 1)

    def stack(v):
        n = cfg["num_layers"] * d
        return torch.stack([torch.stack([v[i, r] for r in range(b)]) for i in range(n)])

    fits = True
    for slot, values in seen.items():
        points, values = torch.tensor(kinks(*acts[slot]), dtype=F64), torch.cat(values)
        near = (values[:, None] - points).abs().min().item() if len(points) else math.inf
        sides = set(torch.bucketize(values, points).tolist())
        fits = fits and near > MARGIN and len(sides) == len(points) + 1
    return collect(cfg, ten, y, stack(hn), stack(cn) if "c0" in ten else None), fits


def every_option_counts(name, cfg, tensors, out):
    """Without any one of the case's options the result is another, and every
    gradient is worth comparing."""
    without = {"reset_after": cfg | {"reset_after": True}}
    default = list(SLOTS[cfg["cell"]].values())
    given = cfg.get("activations", default)
    for k, (mine, item) in enumerate(zip(default, given)):
        if mine != item:
            without[f"activations {k}"] = cfg | {"activations": [*given[:k], mine, *given[k + 1 :]]}
    for option, less in without.items():
        if less != cfg:
            other, _ = by_hand(less, tensors)
            assert max((other[k] - out[k]).abs().max() for k in ["y", "hn"]) > 1e-2, (name, option)
    for key, value in out.items():
        assert 1e-2 < value.abs().max() < 1e3, (name, key)


# -------------------------------------------------------------------- cases


def one(folder, name, seed, meta, case):
    cell = meta["cell"]
    kinds = {s: "recurrent_activation" if s in GATE_SLOTS else "activation" for s in SLOTS[cell]}
    chosen = {s: case.get(kinds[s], default) for s, default in SLOTS[cell].items()}
    if chosen != SLOTS[cell]:
        meta = meta | {"activations": [ACTIVATIONS[a] for a in chosen.values()]}
    cfg = DEFAULTS | meta
    assert case["T"] != case["B"]
    for attempt in range(2000):
        tensors = draw_case(cfg, case, seed + 1_000_000 * attempt)
        for key in tensors:
            if key.startswith("bias_hh") and not two_biases(cfg):
                tensors[key] = torch.zeros_like(tensors[key])
        checked, fits = by_hand(cfg, tensors)
        if fits:
            break
    else:
        raise SystemExit(f"{name}: no seed visits all sides of every kink, clear of them")
    every_option_counts(name, cfg, tensors, checked)
    out = by_keras(cfg, case, tensors)
    assert out.keys() == checked.keys(), name
    for key, value in out.items():
        assert value.dtype == F64, (name, key)
        torch.testing.assert_close(
            value, checked[key], rtol=1e-11, atol=1e-12, msg=lambda m: f"{name} {key}: {m}"
        )
    write(folder / f"{name}.case.safetensors", tensors, {"bptt": json.dumps(meta)})
    write(folder / f"{name}.out.safetensors", out)


BIDIR = {"bidirectional": True}
BEFORE = {"reset_after": False}
NOBIAS = {"bias": False}
LAYERS = {"num_layers": 2}
BFIRST = {"batch_first": True}
NOSTATES = {"without": ["h0", "c0"]}


def lengths(*values):
    return {"lengths": list(values)}


def acts(activation, recurrent=None, scale=1.5):
    out = {"activation": activation, "scale": scale}
    return out | ({"recurrent_activation": recurrent} if recurrent else {})


CASES = [
    ("rnn_tanh", "plain", {}, {}),
    ("rnn_relu", "plain", {}, {}),
    ("rnn_tanh", "nobias_nostates", NOBIAS, NOSTATES),
    ("rnn_tanh", "lengths_zero", {}, lengths(3, 0, 5)),
    ("rnn_tanh", "bidir_lengths", BIDIR, lengths(2, 5, 1)),
    ("rnn_relu", "layers_bidir_bfirst", LAYERS | BIDIR | BFIRST, {"scale": 1.0}),
    ("rnn_tanh", "sigmoid", {}, acts("sigmoid")),
    ("rnn_tanh", "hard_sigmoid_lengths", {}, acts(hard_sigmoid, scale=4.0) | lengths(4, 5, 3)),
    ("rnn_tanh", "softsign_bidir", BIDIR, acts("softsign")),
    ("rnn_tanh", "elu_nobias", NOBIAS, acts("elu")),
    ("rnn_tanh", "elu_numbers", {}, acts(elu_numbers)),
    ("rnn_tanh", "softplus_layers", LAYERS, acts("softplus", scale=1.0)),
    ("rnn_tanh", "leaky_relu_bidir", BIDIR, acts("leaky_relu")),
    ("rnn_tanh", "scaled_tanh_bfirst_lengths", BFIRST, acts(scaled_tanh) | lengths(1, 5, 2)),
    ("rnn_tanh", "affine_linear", {}, acts("linear", scale=1.0)),
    ("rnn_tanh", "thresholded_relu", {}, acts(relu_threshold)),
    ("lstm", "plain", {}, {}),
    ("lstm", "nobias_nostates", NOBIAS, NOSTATES),
    ("lstm", "lengths_zero", {}, lengths(0, 4, 2)),
    ("lstm", "bidir", BIDIR, {}),
    ("lstm", "bidir_lengths_zero", BIDIR, lengths(5, 1, 0)),
    ("lstm", "hard_sigmoid_tanh", {}, acts("tanh", hard_sigmoid, 4.0)),
    (
        "lstm",
        "hard_sigmoid_tanh_bidir_lengths",
        BIDIR,
        acts("tanh", hard_sigmoid, 4.0) | lengths(3, 4, 5),
    ),
    ("lstm", "sigmoid_relu", {}, acts("relu")),
    (
        "lstm",
        "hard_sigmoid_softsign_lengths",
        {},
        acts("softsign", hard_sigmoid, 4.0) | lengths(5, 2, 3),
    ),
    ("lstm", "sigmoid_elu_numbers_bidir", BIDIR, acts(elu_numbers)),
    ("lstm", "sigmoid_softplus_nobias", NOBIAS, acts("softplus", scale=1.0)),
    ("lstm", "hard_sigmoid_leaky_relu_bfirst", BFIRST, acts("leaky_relu", hard_sigmoid, 4.0)),
    ("lstm", "softsign_scaled_tanh", {}, acts(scaled_tanh, "softsign")),
    ("lstm", "sigmoid_thresholded_relu", {}, acts(relu_threshold)),
    ("lstm", "leaky_relu_affine", {}, acts(affine, leaky_relu_numbers, 1.0)),
    (
        "lstm",
        "all",
        LAYERS | BIDIR | BFIRST,
        acts("softsign", hard_sigmoid, 4.0) | lengths(2, 5, 4),
    ),
    ("gru", "plain", {}, {}),
    ("gru", "before", BEFORE, {}),
    ("gru", "nobias_nostates", NOBIAS, NOSTATES),
    ("gru", "before_nobias_bidir", BEFORE | NOBIAS | BIDIR, {}),
    ("gru", "lengths_zero", {}, lengths(4, 0, 1)),
    ("gru", "before_lengths_zero", BEFORE, lengths(5, 3, 0)),
    ("gru", "bidir_lengths", BIDIR, lengths(1, 5, 3)),
    ("gru", "before_bidir_lengths", BEFORE | BIDIR, lengths(4, 2, 5)),
    ("gru", "hard_sigmoid_tanh_bidir", BIDIR, acts("tanh", hard_sigmoid, 4.0)),
    ("gru", "before_hard_sigmoid_tanh", BEFORE, acts("tanh", hard_sigmoid, 4.0)),
    ("gru", "sigmoid_relu", {}, acts("relu")),
    ("gru", "before_sigmoid_relu_lengths", BEFORE, acts("relu") | lengths(3, 5, 2)),
    ("gru", "hard_sigmoid_softsign", {}, acts("softsign", hard_sigmoid, 4.0)),
    ("gru", "before_sigmoid_elu", BEFORE, acts("elu")),
    ("gru", "sigmoid_softplus_nobias", NOBIAS, acts("softplus", scale=1.0)),
    (
        "gru",
        "before_hard_sigmoid_leaky_relu_bfirst",
        BEFORE | BFIRST,
        acts("leaky_relu", hard_sigmoid, 4.0),
    ),
    ("gru", "softsign_scaled_tanh_layers", LAYERS, acts(scaled_tanh, "softsign")),
    ("gru", "before_tanh_thresholded_relu", BEFORE, acts(relu_threshold, "tanh", 1.0)),
    (
        "gru",
        "all",
        LAYERS | BIDIR | BFIRST,
        acts("softsign", hard_sigmoid, 4.0) | lengths(2, 4, 5),
    ),
    (
        "gru",
        "before_all",
        BEFORE | LAYERS | BIDIR | BFIRST,
        acts(scaled_tanh, hard_sigmoid, 4.0) | lengths(5, 3, 1),
    ),
]


def left_out():
    """What README.md says of Keras and PyTorch and no case can show."""
    x = torch.linspace(-4, 4, 101, dtype=F64, requires_grad=True)
    y, mine = keras.activations.hard_sigmoid(x), hard_sigmoid(x)
    torch.testing.assert_close(y, mine, rtol=1e-15, atol=1e-16)
    (dx,) = torch.autograd.grad(y.sum(), [x])
    assert dx.max().item() == torch.tensor(1 / 6).item() != 1 / 6


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    folder = root / "keras"
    folder.mkdir(parents=True, exist_ok=True)
    left_out()
    assert keras.backend.backend() == "torch"
    assert keras.backend.result_type("float64", "float64") == "float64"
    for n, (cell, name, meta, case) in enumerate(CASES):
        # Sizes in turn; lengths belong to the first of them.
        i, h, t, b = [(3, 4, 5, 3), (5, 7, 4, 2)][n % 2 and "lengths" not in case]
        one(folder, f"{cell}_{name}", 10000 + n, sizes(cell, i, h, **meta), dict(T=t, B=b) | case)


if __name__ == "__main__":
    main()
