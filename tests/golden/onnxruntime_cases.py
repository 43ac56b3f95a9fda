"""Writes golden files from ONNX Runtime's CPU provider. See README.md.

    python onnxruntime_cases.py [FOLDER]

Its kernels for RNN, GRU and LSTM compute in float32 only: the results are float32
numbers, widened. Forward only.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper

# generate.py is a script: leave no __pycache__ beside it.
sys.dont_write_bytecode = True
from generate import DEFAULTS, F64, GATES, draw_case, sizes, uniform, write

TOLERANCE = 1e-5
# No activation's argument closer than this to a kink or a jump.
MARGIN = 1e-3
OPERATORS = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "gru": "GRU", "lstm": "LSTM"}
# ONNX' gates in its order: iofc, zrh; the peepholes iof.
ORDER = {"rnn_tanh": [0], "rnn_relu": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}
DIAG_ORDER = [0, 2, 1]
# The slots in this project's order, and what fills them by default.
SLOTS = {
    "rnn_tanh": {"h": "tanh"},
    "rnn_relu": {"h": "relu"},
    "gru": {"r": "sigmoid", "z": "sigmoid", "n": "tanh"},
    "lstm": {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "c": "tanh"},
}
# Of each operator's activations, the slot to read it from.
READ = {"RNN": ["h"], "GRU": ["z", "n"], "LSTM": ["i", "g", "c"]}
# Name in ONNX; alpha and beta by default, for those that have them.
ACTIVATIONS = {
    "sigmoid": ("Sigmoid",),
    "tanh": ("Tanh",),
    "relu": ("Relu",),
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "softsign": ("Softsign",),
    "leaky_relu": ("LeakyRelu", 0.01),
    "elu": ("Elu", 1.0),
    "affine": ("Affine", None, None),
    "scaled_tanh": ("ScaledTanh", None, None),
    "thresholded_relu": ("ThresholdedRelu", 1.0),
    "softplus": ("Softplus",),
}


def parse(item):
    """An item of `activations`: its name and the numbers that it takes."""
    item = {"name": item} if isinstance(item, str) else item
    values = [item.get(k, d) for k, d in zip(["alpha", "beta"], ACTIVATIONS[item["name"]][1:])]
    assert None not in values, item
    return item["name"], values


def slots(cfg):
    default = SLOTS[cfg["cell"]]
    given = cfg.get("activations", default.values())
    return {s: parse(item) for s, item in zip(default, given, strict=True)}


# ------------------------------------------------------------- ONNX Runtime


def reorder(array, order):
    parts = np.split(array, max(order) + 1)
    return np.concatenate([parts[k] for k in order])


def operator(op, inputs, attributes):
    """Runs one operator; an absent optional input is None."""
    present = {k: v for k, v in inputs.items() if v is not None}
    names = [k if k in present else "" for k in inputs]
    dims = {"Y": "tdbh", "Y_h": "dbh", "Y_c": "dbh"}
    if op != "LSTM":
        del dims["Y_c"]
    node = helper.make_node(op, names, list(dims), **attributes)
    kinds = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in present.items()}
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info(k, kinds[k], v.shape) for k, v in present.items()],
        [helper.make_tensor_value_info(k, kinds["X"], list(d)) for k, d in dims.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(dims, run.run(None, present)))


def attributes(cfg):
    op, d = OPERATORS[cfg["cell"]], 1 + cfg["bidirectional"]
    out = {"hidden_size": cfg["hidden_size"], "direction": ["forward", "bidirectional"][d - 1]}
    chosen = [slots(cfg)[s] for s in READ[op]]
    # Gates that share a slot of ONNX' share the activation.
    assert {json.dumps(a) for a in slots(cfg).values()} == {json.dumps(a) for a in chosen}
    out["activations"] = [ACTIVATIONS[name][0] for name, _ in chosen] * d
    # Always spelt out; taken in turn by the activations that have an alpha, a beta.
    for k, name in enumerate(["activation_alpha", "activation_beta"]):
        values = [v[k] for _, v in chosen if len(v) > k] * d
        if values:
            out[name] = values
    if "clip" in cfg:
        out["clip"] = cfg["clip"]
    if op == "GRU":
        out["linear_before_reset"] = int(cfg["reset_after"])
    if op == "LSTM":
        out["input_forget"] = int(cfg.get("input_forget", False))
    return out


def by_onnxruntime(cfg, ten):
    op, order, d = OPERATORS[cfg["cell"]], ORDER[cfg["cell"]], 1 + cfg["bidirectional"]
    x, states = ten["x"], {"hn": [], "cn": []}
    for k in range(cfg["num_layers"]):
        suffixes = [f"l{k}", f"l{k}_reverse"][:d]

        def stack(name, order=order):
            return np.stack([reorder(ten[f"{name}_{s}"], order) for s in suffixes])

        def state(name):
            return ten[name][k * d : (k + 1) * d] if name in ten else None

        inputs = {"X": x, "W": stack("weight_ih"), "R": stack("weight_hh"), "B": None}
        if cfg["bias"]:
            inputs["B"] = np.concatenate([stack("bias_ih"), stack("bias_hh")], 1)
        inputs["sequence_lens"] = ten["lengths"].astype(np.int32) if "lengths" in ten else None
        inputs["initial_h"] = state("h0")
        if op == "LSTM":
            inputs["initial_c"] = state("c0")
            inputs["P"] = stack("weight_diag", DIAG_ORDER) if cfg.get("peepholes") else None
        result = operator(op, inputs, attributes(cfg))
        x = result["Y"].transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
        states["hn"].append(result["Y_h"])
        if op == "LSTM":
            states["cn"].append(result["Y_c"])
    return {"y": x} | {n: np.concatenate(v) for n, v in states.items() if v}


# ------------------------------------------------------------------ by hand


def activate(name, values, x):
    a, b = [*values, None, None][:2]
    match name:
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "tanh":
            return np.tanh(x)
        case "relu":
            return np.maximum(x, 0)
        case "hard_sigmoid":
            return np.clip(a * x + b, 0, 1)
        case "softsign":
            return x / (1 + np.abs(x))
        case "leaky_relu":
            return np.where(x >= 0, x, a * x)
        case "elu":
            return np.where(x >= 0, x, a * np.expm1(x))
        case "affine":
            return a * x + b
        case "scaled_tanh":
            return a * np.tanh(b * x)
        case "thresholded_relu":
            return np.where(x > a, x, 0)
        case "softplus":
            return np.log1p(np.exp(x))


def kinks(name, values):
    if name == "hard_sigmoid":
        return [-values[1] / values[0], (1 - values[1]) / values[0]]
    if name == "thresholded_relu":
        return values
    return [0.0] if name in ("relu", "leaky_relu", "elu") else []


class Seen:
    """The arguments that each slot's activation and clip were given."""

    def __init__(self):
        self.values = {}

    def add(self, slot, points, x):
        points, old = self.values.setdefault(slot, (points, []))
        old.append(x)

    def fits(self):
        """Clear of every kink, and on all sides of each slot's."""
        for points, xs in self.values.values():
            x = np.concatenate(xs)
            if np.abs(x[:, None] - np.array(points)).min(initial=np.inf) < MARGIN:
                return False
            if len(set(np.searchsorted(points, x))) <= len(points):
                return False
        return True


def by_hand(cfg, tensors):
    """The same from the equations, one row and one step at a time, in float64."""
    ten = {k: v if k == "lengths" else v.astype(np.float64) for k, v in tensors.items()}
    acts, clip, seen = slots(cfg), cfg.get("clip"), Seen()
    h, d, layers = cfg["hidden_size"], 1 + cfg["bidirectional"], cfg["num_layers"]
    t, b, _ = ten["x"].shape
    zero = np.zeros(GATES[cfg["cell"]] * h)
    lengths = ten.get("lengths", np.full(b, t))
    hn, cn = np.zeros((layers * d, b, h)), np.zeros((layers * d, b, h))

    def act(slot, a, clipped=True):
        if clip is not None and clipped:
            seen.add(f"{slot} clip", [-clip, clip], a)
            a = np.clip(a, -clip, clip)
        seen.add(slot, kinks(*acts[slot]), a)
        return activate(*acts[slot], a)

    def step(suffix, x, hid, c):
        w, u = ten[f"weight_ih_{suffix}"], ten[f"weight_hh_{suffix}"]
        bw, bu = ten.get(f"bias_ih_{suffix}", zero), ten.get(f"bias_hh_{suffix}", zero)
        a, e = w @ x + bw, u @ hid + bu
        if cfg["cell"] == "gru":
            (ar, az, an), (er, ez, en) = np.split(a, 3), np.split(e, 3)
            r, z = act("r", ar + er), act("z", az + ez)
            en = r * en if cfg["reset_after"] else u[2 * h :] @ (r * hid) + bu[2 * h :]
            return (1 - z) * act("n", an + en) + z * hid, c
        if cfg["cell"] != "lstm":
            return act("h", a + e), c
        ai, af, ag, ao = np.split(a + e, 4)
        pi, pf, po = np.split(ten.get(f"weight_diag_{suffix}", np.zeros(3 * h)), 3)
        i = act("i", ai + pi * c)
        f = 1 - i if cfg.get("input_forget") else act("f", af + pf * c)
        c = f * c + i * act("g", ag)
        o = act("o", ao + po * c)
        # The cell is not clipped on its way out.
        return o * act("c", c, clipped=False), c

    y = ten["x"]
    for k in range(layers):
        out = np.zeros((t, b, d * h))
        for rev in range(d):
            n, suffix = k * d + rev, f"l{k}" + "_reverse" * rev
            for r in range(b):
                hid = ten["h0"][n, r] if "h0" in ten else np.zeros(h)
                c = ten["c0"][n, r] if "c0" in ten else np.zeros(h)
                order = range(lengths[r])
                for s in reversed(order) if rev else order:
                    hid, c = step(suffix, y[s, r], hid, c)
                    out[s, r, rev * h : (rev + 1) * h] = hid
                hn[n, r], cn[n, r] = hid, c
        y = out
    return {"y": y, "hn": hn} | ({"cn": cn} if cfg["cell"] == "lstm" else {}), seen


def differ(one, two):
    return max(np.abs(one[k] - two[k]).max() for k in one)


def every_option_counts(name, cfg, tensors, out):
    """Without any one of the case's options the result is another."""
    without = {o: {k: v for k, v in cfg.items() if k != o} for o in ["clip", "input_forget"]}
    without["reset_after"] = cfg | {"reset_after": True}
    default = list(SLOTS[cfg["cell"]].values())
    given = cfg.get("activations", default)
    for k, (mine, item) in enumerate(zip(default, given)):
        if mine != item and not (k == 1 and cfg.get("input_forget")):
            changed = [*given[:k], mine, *given[k + 1 :]]
            without[f"activations {k}"] = cfg | {"activations": changed}
    for option, less in without.items():
        if less != cfg:
            assert differ(by_hand(less, tensors)[0], out) > 1e-2, (name, option)
    for tensor in tensors.keys() - {"x", "lengths"}:
        less = tensors | {tensor: 0 * tensors[tensor]}
        assert differ(by_hand(cfg, less)[0], out) > 1e-3, (name, tensor)


# -------------------------------------------------------------------- cases


def draw(cfg, case, seed):
    case = case | {"without": case.get("without", []) + ["dy", "dhn", "dcn"]}
    out = draw_case(cfg, case, seed)
    if cfg.get("peepholes"):
        for k in range(cfg["num_layers"]):
            for suffix in [f"l{k}", f"l{k}_reverse"][: 1 + cfg["bidirectional"]]:
                out[f"weight_diag_{suffix}"] = uniform(3 * cfg["hidden_size"])
    return out


def one(folder, name, seed, meta, case):
    cfg = DEFAULTS | meta
    assert case["T"] != case["B"]
    for attempt in range(2000):
        drawn = draw(cfg, case, seed + 1_000_000 * attempt)
        tensors = {k: v.numpy() for k, v in drawn.items()}
        checked, seen = by_hand(cfg, tensors)
        if seen.fits():
            break
    else:
        raise SystemExit(f"{name}: no seed visits all sides of every kink, clear of them")
    every_option_counts(name, cfg, tensors, checked)
    out = by_onnxruntime(cfg, tensors)
    assert out.keys() == checked.keys(), name
    for key, value in out.items():
        assert value.dtype == np.float32 and value.shape == checked[key].shape
        np.testing.assert_allclose(
            value, checked[key], rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"{name} {key}"
        )
        assert np.abs(value).max() < 50, (name, key)
    write(folder / f"{name}.case.safetensors", drawn, {"bptt": json.dumps(meta)})
    write(
        folder / f"{name}.out.safetensors",
        {k: torch.from_numpy(v).to(F64) for k, v in out.items()},
    )


def number(name, alpha, beta=None):
    return {"name": name, "alpha": alpha} | ({} if beta is None else {"beta": beta})


BIDIR = {"bidirectional": True}
BEFORE = {"reset_after": False}
PEEP = {"peepholes": True}
COUPLED = {"input_forget": True}
NOBIAS = {"bias": False}
LAYERS = {"num_layers": 2}
NOSTATES = {"without": ["h0", "c0"]}


def clip(value):
    return {"clip": value}


def h(item):
    return {"activations": [item]}


def fg(f, g):
    return {"activations": [f, f, g]}


def fgh(f, g, h):
    return {"activations": [f, f, g, f, h]}


def lengths(*values):
    return {"lengths": list(values)}


# Numbers that float32 holds exactly.
HARD = number("hard_sigmoid", 0.3125, 0.375)
STEEP = number("hard_sigmoid", 1.25, 0.5)
LEAKY = number("leaky_relu", 0.125)
ELU = number("elu", 0.75)
AFFINE = number("affine", 0.75, -0.25)
GATE = number("affine", 0.25, 0.5)
SCALED = number("scaled_tanh", 1.75, 0.625)
SCALED_GATE = number("scaled_tanh", 0.75, 1.25)
THRESHOLD = number("thresholded_relu", 0.25)

RNN = [
    ("rnn_tanh", "plain", {}, {}),
    ("rnn_relu", "plain", {}, {}),
    ("rnn_tanh", "bidir_lengths", BIDIR, lengths(3, 5, 1)),
    ("rnn_tanh", "bidir_lengths_zero", BIDIR, lengths(4, 0, 2) | NOSTATES),
    ("rnn_relu", "layers_lengths", LAYERS, lengths(1, 4, 5)),
    ("rnn_tanh", "clip", clip(0.75), {}),
    ("rnn_relu", "clip_bidir_lengths", clip(0.5) | BIDIR, lengths(5, 2, 4)),
    ("rnn_tanh", "sigmoid", h("sigmoid"), {}),
    ("rnn_tanh", "hard_sigmoid", h("hard_sigmoid"), {"scale": 4.0}),
    ("rnn_tanh", "hard_sigmoid_numbers_bidir", h(HARD) | BIDIR, {"scale": 3.0}),
    ("rnn_tanh", "softsign_lengths", h("softsign"), lengths(2, 5, 3)),
    ("rnn_tanh", "leaky_relu_bidir", h("leaky_relu") | BIDIR, {}),
    ("rnn_tanh", "elu_nobias", h("elu") | NOBIAS, {}),
    ("rnn_tanh", "affine_bidir_lengths", h(AFFINE) | BIDIR, lengths(2, 3, 5)),
    ("rnn_tanh", "scaled_tanh_clip", h(SCALED) | clip(1.25), {}),
    ("rnn_tanh", "thresholded_relu", h("thresholded_relu"), {"scale": 2.0}),
    ("rnn_tanh", "softplus_layers", h("softplus") | LAYERS, {"scale": 1.0}),
]
GRU = [
    ("gru", "plain", {}, {}),
    ("gru", "before", BEFORE, {}),
    ("gru", "nobias_bidir", NOBIAS | BIDIR, NOSTATES),
    ("gru", "before_nobias", BEFORE | NOBIAS, {}),
    ("gru", "bidir_lengths", BIDIR, lengths(5, 1, 3)),
    ("gru", "before_bidir_lengths", BEFORE | BIDIR, lengths(2, 5, 3)),
    ("gru", "lengths_zero", {}, lengths(0, 5, 2) | NOSTATES),
    ("gru", "before_bidir_lengths_zero", BEFORE | BIDIR, lengths(3, 4, 0) | NOSTATES),
    ("gru", "clip", clip(0.75), {}),
    ("gru", "before_clip_lengths", BEFORE | clip(0.625), lengths(4, 1, 5)),
    ("gru", "before_layers_bidir", BEFORE | LAYERS | BIDIR, {}),
    ("gru", "before_hard_sigmoid_tanh", BEFORE | fg("hard_sigmoid", "tanh"), {"scale": 4.0}),
    ("gru", "hard_sigmoid_numbers_softsign", fg(HARD, "softsign"), {"scale": 3.0}),
    ("gru", "sigmoid_relu_bidir", fg("sigmoid", "relu") | BIDIR, {}),
    ("gru", "before_relu_sigmoid", BEFORE | fg("relu", "sigmoid"), {"scale": 1.0}),
    ("gru", "tanh_leaky_relu_lengths", fg("tanh", "leaky_relu"), lengths(1, 5, 4)),
    ("gru", "before_leaky_relu_affine", BEFORE | fg(LEAKY, AFFINE), {"scale": 1.0}),
    ("gru", "affine_elu", fg(GATE, "elu"), {"scale": 1.0}),
    ("gru", "before_elu_scaled_tanh", BEFORE | fg(ELU, SCALED), {"scale": 1.0}),
    ("gru", "scaled_tanh_thresholded_relu", fg(SCALED_GATE, "thresholded_relu"), {}),
    (
        "gru",
        "before_thresholded_relu_softplus",
        BEFORE | fg(THRESHOLD, "softplus"),
        {"scale": 1.0},
    ),
    ("gru", "softplus_hard_sigmoid", fg("softplus", STEEP), {"scale": 1.0}),
    (
        "gru",
        "before_softsign_elu_clip_bidir_lengths",
        BEFORE | fg("softsign", ELU) | clip(0.75) | BIDIR,
        lengths(5, 4, 2),
    ),
]
LSTM = [
    ("lstm", "plain", {}, {}),
    ("lstm", "bidir_lengths", BIDIR, lengths(4, 1, 5)),
    ("lstm", "bidir_lengths_zero", BIDIR, lengths(5, 3, 0) | NOSTATES),
    ("lstm", "h0only_nobias", NOBIAS, {"without": ["c0"]}),
    ("lstm", "peepholes", PEEP, {}),
    ("lstm", "peepholes_c0only_nobias", PEEP | NOBIAS, {"without": ["h0"]}),
    ("lstm", "peepholes_bidir_lengths", PEEP | BIDIR, lengths(2, 5, 3)),
    ("lstm", "peepholes_layers_bidir", PEEP | LAYERS | BIDIR, {}),
    ("lstm", "input_forget", COUPLED, {}),
    ("lstm", "input_forget_peepholes_lengths", COUPLED | PEEP, lengths(1, 4, 2)),
    ("lstm", "clip", clip(0.75), {}),
    ("lstm", "clip_peepholes_bidir", clip(0.625) | PEEP | BIDIR, {}),
    ("lstm", "clip_input_forget_lengths", clip(0.5) | COUPLED, lengths(5, 3, 4)),
    ("lstm", "hard_sigmoid_tanh_tanh", fgh("hard_sigmoid", "tanh", "tanh"), {"scale": 4.0}),
    ("lstm", "sigmoid_relu_softsign_bidir", fgh("sigmoid", "relu", "softsign") | BIDIR, {}),
    ("lstm", "softsign_elu_leaky_relu", fgh("softsign", "elu", "leaky_relu"), {}),
    (
        "lstm",
        "softplus_softsign_scaled_tanh_lengths",
        fgh("softplus", "softsign", SCALED),
        lengths(3, 1, 5) | {"scale": 1.0},
    ),
    (
        "lstm",
        "hard_sigmoid_scaled_tanh_affine_peepholes",
        fgh(HARD, SCALED_GATE, AFFINE) | PEEP,
        {"scale": 3.0},
    ),
    ("lstm", "leaky_relu_affine_elu", fgh(LEAKY, AFFINE, ELU), {"scale": 1.0}),
    ("lstm", "affine_leaky_relu_hard_sigmoid", fgh(GATE, LEAKY, HARD), {"scale": 3.0}),
    (
        "lstm",
        "elu_thresholded_relu_sigmoid_bidir",
        fgh("elu", THRESHOLD, "sigmoid") | BIDIR,
        {"scale": 1.0},
    ),
    ("lstm", "scaled_tanh_softplus_relu", fgh(SCALED_GATE, "softplus", "relu"), {}),
    (
        "lstm",
        "thresholded_relu_hard_sigmoid_softplus",
        fgh(THRESHOLD, STEEP, "softplus"),
        {"scale": 1.5},
    ),
    ("lstm", "relu_sigmoid_thresholded_relu", fgh("relu", "sigmoid", THRESHOLD), {}),
    (
        "lstm",
        "tanh_tanh_elu_input_forget_peepholes",
        fgh("tanh", "tanh", ELU) | COUPLED | PEEP,
        {"scale": 1.0},
    ),
    (
        "lstm",
        "all",
        fgh("softsign", SCALED, ELU) | PEEP | BIDIR | clip(0.75),
        lengths(5, 2, 4),
    ),
    (
        "lstm",
        "all_input_forget",
        fgh(SCALED_GATE, "leaky_relu", "softsign") | COUPLED | PEEP | BIDIR | clip(0.75),
        lengths(3, 5, 1),
    ),
]


# ----------------------------------------------------------------- left out


def left_out():
    """What README.md says of ONNX Runtime and no case can show."""
    ones = np.ones((1, 1, 1), np.float32)

    def rnn(bias, **more):
        inputs = {"X": 0 * ones, "W": ones, "R": ones, "B": np.float32([[bias, 0]])}
        return operator("RNN", inputs, {"hidden_size": 1} | more)["Y"].item()

    # thresholded_relu at its threshold gives 0, and its threshold is 0 by default.
    name = {"activations": ["ThresholdedRelu"]}
    assert rnn(1.0, activation_alpha=[1.0], **name) == 0.0
    assert rnn(1.5, activation_alpha=[1.0], **name) == 1.5
    assert rnn(0.5, **name) == 0.5
    # A row of length 0 loses its initial states.
    for op, gates in [("RNN", 1), ("GRU", 3), ("LSTM", 4)]:
        w = np.ones((1, gates, 1), np.float32)
        inputs = {"X": ones, "W": w, "R": w, "B": None, "sequence_lens": np.int32([0])}
        inputs |= {"initial_h": ones} | ({"initial_c": ones} if op == "LSTM" else {})
        assert not any(v.any() for v in operator(op, inputs, {"hidden_size": 1}).values())
        # No double kernels.
        # No kernel in double, though GRU and LSTM say so only when they run.
        double = {k: v.astype(float) for k, v in inputs.items() if k in "XWR"}
        try:
            operator(op, double, {"hidden_size": 1})
        except Exception as e:
            assert "not find an implementation" in str(e) or "not support double" in str(e), e
        else:
            raise SystemExit(f"{op} has a kernel in double: use it")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    onnxruntime.set_default_logger_severity(4)
    folder = root / "onnxruntime"
    folder.mkdir(parents=True, exist_ok=True)
    left_out()
    used = {}
    for c, cases in enumerate([RNN, GRU, LSTM]):
        for n, (cell, name, meta, case) in enumerate(cases):
            # Sizes in turn; lengths belong to the first of them.
            i, h, t, b = [(3, 5, 5, 3), (5, 4, 6, 2)][n % 2 and "lengths" not in case]
            meta, case = sizes(cell, i, h, **meta), dict(T=t, B=b) | case
            one(folder, f"{cell}_{name}", 20000 + 100 * c + n, meta, case)
            for activation in {parse(item)[0] for item in meta.get("activations", [])}:
                used[activation] = used.get(activation, 0) + 1
    assert used.keys() == ACTIVATIONS.keys() and min(used.values()) >= 2, used


if __name__ == "__main__":
    main()
