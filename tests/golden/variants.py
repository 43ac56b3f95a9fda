"""Writes variants/ by reference.py: what torch.nn lacks. See README.md.

    python variants.py [FOLDER]

Before a case is written it is checked: against finite differences, against torch.nn where it has
the configuration, and that every key of the case changes the result. reference.py itself is
checked against every case that torch.nn, Keras and ONNX Runtime gave.
"""

import itertools
import json
import math
import pathlib
import random
import sys

sys.dont_write_bytecode = True

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import generate
import reference

# How near reference.py must come to other frameworks' cases; ONNX Runtime's are float32.
GOLDEN = {"recurrent": 1e-11, "recurrent_options": 1e-11, "keras": 1e-11, "onnxruntime": 1e-5}
# No value closer than this to a kink of its activation or clip.
MARGIN = 1e-3


# ---------------------------------------------------------------------- cases


def item(name, alpha=None, beta=None):
    given = {"name": name, "alpha": alpha, "beta": beta}
    return {key: value for key, value in given.items() if value is not None}


RNN_ACTIVATIONS = {
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "hard_sigmoid": "hard_sigmoid",
    "softsign": "softsign",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "affine": item("affine", 0.5, 0.1),
    "scaled_tanh": item("scaled_tanh", 1.7159, 0.6667),
    "thresholded_relu": item("thresholded_relu", 0.1),
    "softplus": item("softplus"),
}
ACTIVATIONS = {
    "rnn_tanh": [
        [item("elu", 0.7)],
        [item("hard_sigmoid", 0.7, 0.4)],
        ["softsign"],
        [item("leaky_relu", 0.1)],
    ],
    "gru": [
        [item("hard_sigmoid", 0.8), "sigmoid", "softsign"],
        ["sigmoid", item("hard_sigmoid", 1.0, 0.45), item("leaky_relu", 0.1)],
        [item("scaled_tanh", 0.9, 0.7), "hard_sigmoid", item("elu", 0.7)],
        ["softplus", item("affine", 0.2, 0.5), item("thresholded_relu", 0.1)],
    ],
    "lstm": [
        [item("hard_sigmoid", 0.8), "sigmoid", "softsign", item("hard_sigmoid", 0.9, 0.4), "tanh"],
        ["sigmoid", item("affine", 0.2, 0.5), item("leaky_relu", 0.1), "softplus", "softsign"],
        ["tanh", "hard_sigmoid", item("elu", 0.7), "sigmoid", item("thresholded_relu", 0.1)],
        ["softplus", "softsign", "relu", "tanh", item("scaled_tanh", 1.2, 0.7)],
        ["affine", "sigmoid", item("scaled_tanh"), "sigmoid", item("affine", 0.8, -0.1)],
    ],
}
FURTHER = {
    "rnn_tanh": ["act", "clip", "skip", "bias1"],
    "gru": ["before", "act", "clip", "skip", "bias1"],
    "lstm": ["peep", "couple", "cclip", "act", "clip", "skip", "bias1"],
}
SHAPE = {
    "rnn_tanh": ["bidir", "lengths", "layers", "bfirst"],
    "gru": ["bidir", "lengths", "layers", "bfirst"],
    "lstm": ["bidir", "lengths", "layers", "proj", "bfirst"],
}
REGULARISERS = {
    "dropout": {"dropout": 0.4},
    "indrop": {"input_dropout": 0.3},
    "recdrop": {"recurrent_dropout": 0.35},
    "wdrop": {"weight_dropout": 0.2},
    "zone": {"zoneout": [0.25, 0.45]},
}
OPTIONS = {
    "before": {"reset_after": False},
    "clip": {"clip": 0.6},
    "peep": {"peepholes": True},
    "couple": {"input_forget": True},
    "cclip": {"cell_clip": 0.4},
    "skip": {"skip_input": True},
    "bias1": {"bias": "one"},
    "nobias": {"bias": False},
    "bidir": {"bidirectional": True},
    "layers": {"num_layers": 2},
    "bfirst": {"batch_first": True},
    "relu": {"cell": "rnn_relu"},
} | REGULARISERS
# Both halves of both numbers count.
TRAIN = [
    {"seed": 42, "step": 0},
    {"seed": 0x9E3779B97F4A7C15, "step": 7},
    {"seed": 1 << 32, "step": 1},
    {"seed": 0xFFFFFFFFFFFFFFFF, "step": 0x123456789AB},
]


def groups(further, shape, size):
    """Sets of options in which every pair meets but for those of `shape` alone."""
    everything = further + shape
    pairs = itertools.combinations(everything, 2)
    left = [set(pair) for pair in pairs if not set(pair) <= set(shape)]
    while left:
        group = set(left[0])
        while len(group) < size:
            gain = {o: sum(pair <= group | {o} for pair in left) for o in everything}
            group.add(max((o for o in everything if o not in group), key=gain.get))
        left = [pair for pair in left if not pair <= group]
        yield [o for o in everything if o in group]


def plan():
    """(name, cell, options), further keys first."""
    for name in RNN_ACTIVATIONS:
        yield "rnn_tanh", [f"act_{name}"]
    for cell, further in FURTHER.items():
        for o in further:
            if cell != "rnn_tanh" or o != "act":
                yield cell, [o]
        for group in groups(further, SHAPE[cell], 5 if cell == "lstm" else 4):
            yield cell, group
    yield "rnn_tanh", ["relu", "clip", "bidir", "lengths"]
    yield "gru", ["before", "nobias", "bidir"]
    yield "lstm", ["lengths", "nostates"]
    yield "lstm", ["peep", "act", "nody"]
    # Off without `train`: as torch.nn.
    yield "lstm", ["layers", "off", "dropout", "indrop", "recdrop", "wdrop"]
    yield "gru", ["layers", "off", "dropout", "indrop", "recdrop", "wdrop"]

    for cell in FURTHER:
        for o in REGULARISERS:
            yield cell, ["train", o] + ["layers"] * (o == "dropout")
        yield cell, ["zone", "lengths"]
    for o in ["indrop", "recdrop", "wdrop"]:
        yield "gru", ["train", "before", o]
    yield "rnn_tanh", ["train", "relu", "zone", "recdrop"]
    together = ["bidir", "layers", "lengths", *REGULARISERS]
    yield "rnn_tanh", ["train", *together]
    yield "gru", ["train", *together]
    yield "gru", ["train", "before", *together]
    yield "lstm", ["train", *together]
    yield "lstm", together
    yield "rnn_tanh", ["train", "relu", "clip", "skip", "bias1", "bfirst", *together]
    yield "gru", ["train", "before", "act", "clip", "skip", "bias1", "bfirst", *together]
    yield "lstm", ["train", *[o for o in FURTHER["lstm"] if o != "couple"], "proj", "bfirst", *together]
    yield "lstm", ["train", "peep", "couple", "cclip", "proj", "bfirst", *together]


def spell(options):
    words = " ".join(options)
    words = words.replace("bidir layers lengths " + " ".join(REGULARISERS), "together")
    return words.replace(" ", "_")


def cases():
    """(name, metadata, and the arguments of reference.draw but for the seed)"""
    acts = {cell: itertools.cycle(lists) for cell, lists in ACTIVATIONS.items()}
    trains = itertools.cycle(TRAIN)
    for n, (cell, options) in enumerate(plan()):
        name = f"{cell.removesuffix('_tanh')}_{spell(options)}"
        rng = random.Random(name)
        big = {"bidir", "layers"} <= set(options)
        hidden = rng.randint(4, 5 if big else 7)
        t, b = rng.randint(4, 6), rng.randint(2, 3)
        meta = {
            "cell": cell,
            "input_size": hidden if "skip" in options else rng.randint(3, 5),
            "hidden_size": hidden,
        }
        for o in options:
            meta |= OPTIONS.get(o, {})
            if o == "act":
                meta["activations"] = next(acts[cell])
            if o.startswith("act_"):
                meta["activations"] = [RNN_ACTIVATIONS[o.removeprefix("act_")]]
            if o == "proj":
                meta["proj_size"] = rng.randint(2, 3)
            if o == "train":
                meta["train"] = next(trains)
        if "zoneout" in meta and cell != "lstm":
            meta["zoneout"] = [meta["zoneout"][0], 0.0]
        lengths = None
        if "lengths" in options:
            b = 3
            lengths = [0, rng.choice([t - 1, t]), rng.randint(1, t)]
            rng.shuffle(lengths)
        absent = []
        if "nostates" in options:
            absent = ["h0", "c0", "dhn", "dcn"]
        if "nody" in options:
            absent = ["dy", "dhn", "dcn"]
        # Both ends of the slope, at -2.5 and 2.5, are to be seen.
        scale = 2.5 if options == ["act_hard_sigmoid"] else 1.5
        yield name, meta, dict(t=t, b=b, lengths=lengths, without=absent, scale=scale)


# --------------------------------------------------------------------- checks


def check_differences(name, meta, tensors, out, step=1e-5):
    """A random element of every gradient against (L(v + step) - L(v - step)) / 2 step."""
    rng = random.Random(name)
    wide = {k: v if k == "lengths" else v.double() for k, v in tensors.items()}
    for state in ["h0", "c0"]:
        if f"d{state}" in out:
            wide.setdefault(state, torch.zeros_like(out[f"d{state}"]))

    def loss(key, element, delta):
        moved = wide[key].clone()
        moved.view(-1)[element] += delta
        result, _ = reference.evaluate(meta, wide | {key: moved}, gradients=False)
        return reference.loss(result, wide).item()

    for result, gradient in out.items():
        if not result.startswith("d"):
            continue
        key = result.removeprefix("d.") if result.startswith("d.") else result[1:]
        element = rng.randrange(gradient.numel())
        found = (loss(key, element, step) - loss(key, element, -step)) / (2 * step)
        expected = gradient.reshape(-1)[element].item()
        assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-7), (
            name,
            result,
            element,
            found,
            expected,
        )


def same(name, out, other, tolerance=1e-11):
    assert out.keys() == other.keys(), name
    for key, value in out.items():
        torch.testing.assert_close(value, other[key], rtol=tolerance, atol=tolerance, msg=name)


def check_torch(name, meta, tensors, out):
    if not reference.plain(meta) or 0 in tensors.get("lengths", torch.ones(1)):
        return False
    same(name, out, generate.by_torch(generate.DEFAULTS | meta, tensors))
    return True


def check_golden(root):
    count = 0
    for folder, tolerance in GOLDEN.items():
        for path in sorted((root / folder).glob("*.case.safetensors")):
            with safe_open(path, "pt") as file:
                meta = json.loads(file.metadata()["bptt"])
            expected = load_file(str(path).replace(".case.", ".out."))
            same(path.name, reference.run(meta, load_file(path)), expected, tolerance)
            count += 1
    return count


def check_matters(name, meta, tensors, out):
    """The same without each key is something else."""
    for key in [*reference.FURTHER, *reference.DROPPED]:
        unused = key in reference.DROPPED and "train" not in meta
        # The first two come and go with a tensor.
        if key not in meta or unused or key in ("skip_input", "peepholes"):
            continue
        if key == "activations" and reference.plain(meta):
            continue
        without = {k: v for k, v in meta.items() if k != key}
        other, _ = reference.evaluate(without, tensors, gradients=False)
        assert not torch.allclose(other["y"], out["y"], rtol=1e-3, atol=1e-4), (name, key)


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    folder = root / "variants"
    folder.mkdir(parents=True, exist_ok=True)
    golden = check_golden(pathlib.Path(__file__).parent)
    seen, by_torch = set(), 0
    for n, (name, meta, shape) in enumerate(cases()):
        assert name not in seen, name
        seen.add(name)
        for attempt in range(1000):
            seed = 20_000 + n + 1_000_000 * attempt
            tensors = reference.draw(meta, seed=seed, **shape)
            _, margin = reference.evaluate(meta, tensors, gradients=False)
            if margin > MARGIN:
                break
        else:
            raise SystemExit(f"{name}: no seed keeps clear of the kinks")
        out = reference.run(meta, tensors)
        assert all(value.abs().max() < 1e3 for value in out.values()), name
        check_differences(name, meta, tensors, out)
        check_matters(name, meta, tensors, out)
        by_torch += check_torch(name, meta, tensors, out)
        generate.write(folder / f"{name}.case.safetensors", tensors, {"bptt": json.dumps(meta)})
        generate.write(folder / f"{name}.out.safetensors", out)
    print(f"{len(seen)} cases, {by_torch} of them as by torch.nn; {golden} of other frameworks")


if __name__ == "__main__":
    main()
